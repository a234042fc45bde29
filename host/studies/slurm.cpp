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
#include "host/program/own_program.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

struct Options {
  std::string file, out, time = "3600";  // seconds
  int tasks = 0, gpus_per_task = 0, cpus_per_task = 0;
};

// Seconds before the limit at which Slurm signals, and the shortest limit that leaves time to work before.
constexpr long kWarning = 120, kShortest = 300;

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

// A job: a task of the array, or the last one. Before the limit Slurm signals the shell alone, which hands that on once and
// waits for the program to leave all that it has; what did not finish queues again, by the task's number in the array
// (SLURM_JOB_ID of the last task is that of the whole array). SIGTERM (a job that is cancelled, preempted or past its
// limit) Slurm sends to the program as well, and says itself what becomes of the job.
constexpr const char* kJob = R"(#!/bin/bash
#SBATCH --job-name={name}
{array}#SBATCH --time={limit}
#SBATCH --signal=B:USR1@{warning}
#SBATCH --requeue
#SBATCH --open-mode=append
{resources}export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-$SLURM_CPUS_ON_NODE}}"
limit='' ended='' program=''
trap 'heard=1; [ -n "$limit" ] || [ -z "$program" ] || kill -USR1 "$program"; limit=1' USR1
trap 'heard=1; ended=1' TERM
{program} sweep {file} {shard}--out {out} --quiet &
program=$!
[ -z "$limit" ] || kill -USR1 "$program"
while :; do
  heard=''
  wait "$program"
  status=$?
  [ -n "$heard" ] || break
done
[ -z "$ended" ] || exit 143
if [ "$status" = 75 ] && [ -n "$limit" ]; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}"
fi
exit "$status"
)";

constexpr const char* kScript = R"(#!/bin/sh
# Submits {name} as {tasks} tasks, and after them a job that does what they left undone and makes the report. Run it where
# sbatch is.
set -eu
array=$(sbatch --parsable <<'ARRAY'
{array}ARRAY
)
array=${{array%%;*}}
merge=$(sbatch --parsable --dependency="afterany:$array" <<'MERGE'
{merge}MERGE
)
merge=${{merge%%;*}}
echo "job $array: {tasks} tasks; job $merge: the report, after them; to stop both: scancel $array $merge"
)";

Outcome run(const Options& options) {
  if (std::stol(options.time) < kShortest) {
    throw Failure(kMisuse,
                  fmt::format("--time: {} s is too short: {} of them are kept to leave what there is; give 5m or more",
                              options.time, kWarning));
  }
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
  const auto job = [&](const std::string& job_name, const std::string& array, const std::string& shard) {
    return fmt::format(
        kJob, fmt::arg("name", job_name), fmt::arg("array", array), fmt::arg("limit", limit_of(options.time)),
        fmt::arg("warning", kWarning), fmt::arg("resources", resources), fmt::arg("program", absolute(own_program())),
        fmt::arg("file", absolute(options.file)), fmt::arg("shard", shard),
        fmt::arg("out", absolute(options.out.empty() ? fs::path(options.file).stem() : fs::path(options.out))));
  };
  Outcome outcome;
  outcome.text = fmt::format(kScript, fmt::arg("name", name), fmt::arg("tasks", options.tasks),
                             fmt::arg("array", job(name, fmt::format("#SBATCH --array=1-{}\n", options.tasks),
                                                   fmt::format("--shard \"$SLURM_ARRAY_TASK_ID/{}\" ", options.tasks))),
                             fmt::arg("merge", job(name + "-merge", "", "")));
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
  app->add_option("--cpus-per-task", options->cpus_per_task, "CPUs of each task; without it as many as Slurm gives")
      ->check(whole_number(0, 1024))
      ->default_str("");
  app->add_option("--time", options->time,
                  "Limit of a task, as 55m or 4h. Two minutes before it the task leaves what it has and queues again")
      ->transform(duration())
      ->type_name("TIME")
      ->default_str("1h");
  app->add_option("-o,--out", options->out, "Folder of the rows and the report; the file's name where it is not given")
      ->default_str("");
  add_notes(*app, {"scalelab slurm mine.json --tasks 16 --time 4h | sh"});
  return {app, [options](Session&) { return run(*options); }};
}

}  // namespace scalelab::host
