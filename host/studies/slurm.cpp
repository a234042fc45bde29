// scalelab slurm: a sweep as an array job of Slurm, as a script that submits it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <string>

#include "host/program/command.h"
#include "host/program/error.h"
#include "host/program/options.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

struct Options {
  std::string file, out, time = "3600";  // seconds
  int tasks = 0, gpus_per_task = 0, cpus_per_task = 0;
};

// As a shell reads it.
std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// Hours, minutes and seconds, as Slurm reads a limit.
std::string limit_of(const std::string& seconds) {
  const long all = std::stol(seconds);
  return fmt::format("{:02}:{:02}:{:02}", all / 3600, all / 60 % 60, all % 60);
}

// What each task of the array runs. Slurm signals the shell, which hands it on and waits for the program to leave all
// that it has; a task that did not finish, and one whose node is lost, runs again and goes on from there.
constexpr const char* kArray = R"(#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{tasks}
#SBATCH --time={limit}
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
{resources}{program} sweep {file} --shard "$SLURM_ARRAY_TASK_ID/{tasks}" --out {out} --quiet &
program=$!
trap 'asked=1; kill -USR1 "$program" 2>/dev/null' USR1 TERM
while :; do
  asked=''
  wait "$program"
  status=$?
  [ -n "$asked" ] || break
done
if [ "$status" = 75 ]; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
)";

constexpr const char* kScript = R"(#!/bin/sh
# Submits {title} as {tasks} tasks, and after them a job that makes the report. Run it where sbatch is.
set -eu
array=$(sbatch --parsable <<'ARRAY'
{array}ARRAY
)
array=${{array%%;*}}
sbatch --dependency="afterany:$array" <<'MERGE'
#!/bin/bash
#SBATCH --job-name={name}-merge
#SBATCH --time={limit}
#SBATCH --requeue
{resources}exec {program} sweep {file} --out {out} --quiet
MERGE
)";

Outcome run(const Options& options) {
  std::error_code unknown;
  if (!fs::is_regular_file(options.file, unknown)) {
    throw Failure(kBadData, options.file + ": cannot be read; name the file of a sweep");
  }
  std::string name = fs::path(options.file).stem().string();  // of the job: plain letters, which need no quotes
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  std::string resources;
  if (options.gpus_per_task > 0)
    resources += fmt::format("#SBATCH --gpus-per-task={}\n#SBATCH --ntasks=1\n", options.gpus_per_task);
  if (options.cpus_per_task > 0) resources += fmt::format("#SBATCH --cpus-per-task={}\n", options.cpus_per_task);
  const auto absolute = [](const fs::path& path) { return quoted(fs::absolute(path).string()); };
  const std::string program = absolute(fs::read_symlink("/proc/self/exe", unknown)), file = absolute(options.file),
                    out = absolute(options.out.empty() ? fs::path(options.file).stem() : fs::path(options.out));
  const std::string array = fmt::format(kArray, fmt::arg("name", name), fmt::arg("tasks", options.tasks),
                                        fmt::arg("limit", limit_of(options.time)), fmt::arg("resources", resources),
                                        fmt::arg("program", program), fmt::arg("file", file), fmt::arg("out", out));
  Outcome outcome;
  outcome.text =
      fmt::format(kScript, fmt::arg("title", name), fmt::arg("name", name), fmt::arg("tasks", options.tasks),
                  fmt::arg("array", array), fmt::arg("limit", limit_of(options.time)), fmt::arg("resources", resources),
                  fmt::arg("program", program), fmt::arg("file", file), fmt::arg("out", out));
  outcome.document = {{"tasks", options.tasks}, {"script", outcome.text}};
  return outcome;
}

}  // namespace

Command add_slurm(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("slurm", "Prints a script that runs a sweep as an array job of Slurm");
  app->add_option("file", options->file, "The sweep, a JSON file")->required();
  app->add_option("--tasks", options->tasks, "How many parts it is divided into, each a task of the array")
      ->required()
      ->check(whole_number(1, 100000))
      ->default_str("");
  app->add_option("--gpus-per-task", options->gpus_per_task, "GPUs of each task; 0: CPUs alone")
      ->check(whole_number(0, 1));
  app->add_option("--cpus-per-task", options->cpus_per_task, "CPUs of each task; 0: as many as Slurm gives")
      ->check(whole_number(0, 1024));
  app->add_option("--time", options->time,
                  "Limit of a task, as 55m or 4h. Two minutes before it the task leaves what it has and queues again")
      ->transform(duration())
      ->default_str("1h");
  app->add_option("-o,--out", options->out, "Folder of the rows and the report; the file's name where it is not given")
      ->default_str("");
  add_notes(*app, {"scalelab slurm mine.json --tasks 16 --time 4h | sh"});
  return {app, [options](Session&) { return run(*options); }};
}

}  // namespace scalelab::host
