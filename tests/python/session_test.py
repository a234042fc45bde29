"""The first session of a new user runs, and says what it should."""

import pathlib
import re
import subprocess
import sys


def test_the_first_session(tmp_path):
    picture = tmp_path / "digits.png"
    script = pathlib.Path(__file__).with_name("session.py")
    done = subprocess.run([sys.executable, script, picture], check=True, capture_output=True, text=True)
    errors = [float(number) for number in re.findall(r"([0-9.]+) % errors", done.stdout)]
    assert len(errors) == 3 and max(errors) < 12 and errors[0] < 6, done.stdout
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 20_000
