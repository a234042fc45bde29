#!/usr/bin/env python3
"""Does the steps of a Containerfile without a container engine: each stage in a root of its own, made by mmdebstrap, its RUN
lines in a chroot there, and at last the ENTRYPOINT, as `run` would. It says each step before it is done.

Usage: container.py CONTAINERFILE [--base IMAGE=FOLDER]... [--set NAME=VALUE]... [--bind FOLDER]... [--wrap COMMAND] [--then WORDS]
--base: a root made before stands for this image (a copy of it is used); else IMAGE must be debian:12 or ubuntu:24.04, or its
slim form. --set: in the environment of each RUN. --bind: a folder of this machine that each RUN sees in the same place.
--wrap: put before each RUN, as `nice`. --then: the words after the ENTRYPOINT, else `info`. Run as root, with mmdebstrap.
"""
import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MIRRORS = {  # what stands in for the images of a registry; Ubuntu's keys are not Debian's to have
    "debian:12": ["bookworm"],
    "ubuntu:24.04": ["noble", "-", "deb [trusted=yes] http://archive.ubuntu.com/ubuntu noble main universe"],
}


def steps_of(file):
    """(INSTRUCTION, the rest of its line), lines that end in a backslash joined and comments left out."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.M)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def make_root(image, into, bases):
    if image in bases:
        subprocess.run(["cp", "-a", "--reflink=auto", f"{bases[image]}/.", into], check=True)
        return
    known = MIRRORS.get(image.removesuffix("-slim"))
    if known is None:
        sys.exit(f"container.py: no root can be made for {image}: name one with --base {image}=FOLDER")
    suite, *source = known
    where = [suite, str(into), *(source[1:] if source else [])]
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=apt", *where], check=True)


def in_root(root, command, environment, workdir="/", binds=(), wrap=()):
    """A command in a root that sees /proc and /dev, in a mount namespace that ends with it."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    mounts = 'mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; '
    for folder in binds:
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mounts += f'mount --bind {shlex.quote(folder)} "$1"{shlex.quote(folder)}; '
    inner = mounts + 'root=$1; shift; exec chroot "$root" "$@"'
    clean = {"PATH": "/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment}
    command = ["/bin/sh", "-c", f"cd {shlex.quote(workdir)} && {command}"]
    whole = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", inner, "sh", str(root), *command]
    subprocess.run([*wrap, *whole], check=True, env=clean)


def copy(source, target, ignored=()):
    """COPY of one folder: what is in it, but for what .containerignore names."""

    def left_out(folder, names):
        return [n for n in names if Path(folder) == source and any(fnmatch.fnmatch(n, pattern) for pattern in ignored)]

    shutil.copytree(source, target, symlinks=True, ignore=left_out, dirs_exist_ok=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file", type=Path)
    for name in ("--base", "--set", "--bind"):
        arguments.add_argument(name, action="append", default=[])
    arguments.add_argument("--wrap", default="")
    arguments.add_argument("--then", default="info")
    given = arguments.parse_args()
    context = given.file.resolve().parent
    ignored = (context / ".containerignore").read_text().split()
    bases = dict(pair.split("=", 1) for pair in given.base)
    outside = dict(pair.split("=", 1) for pair in given.set)
    how = {"binds": given.bind, "wrap": shlex.split(given.wrap)}
    stages, root, environment, workdir = {}, None, {}, "/"
    with tempfile.TemporaryDirectory(prefix="scalelab_container_") as work:
        for number, (word, rest) in enumerate(steps_of(given.file)):
            print(f"=== {word} {rest}", flush=True)
            if word == "FROM":
                image, _, name = rest.partition(" AS ")
                root, environment, workdir = Path(work) / str(number), {}, "/"
                root.mkdir()
                stages[name or image] = root
                make_root(image, root, bases)
            elif word == "RUN":
                in_root(root, rest, {**outside, **environment}, workdir, **how)
            elif word == "COPY":
                *options, source, target = rest.split()
                if options:
                    copy(stages[options[0].removeprefix("--from=")] / source.lstrip("/"), root / target.lstrip("/"))
                else:
                    copy(context / source, root / target.lstrip("/"), ignored)
            elif word == "ENV":
                environment |= dict(pair.split("=", 1) for pair in rest.split())
            elif word == "WORKDIR":
                workdir = rest
                (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "ENTRYPOINT":
                in_root(root, shlex.join(json.loads(rest) + shlex.split(given.then)), environment, workdir)
            else:
                sys.exit(f"container.py: {word} is an instruction that this does not know")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("container.py: roots are made and entered by root alone")
    main()
