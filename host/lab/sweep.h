// sweep: many trials, run once each whatever happens in between.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/lab/evaluate.h"
#include "host/lab/trial.h"
#include "host/program/command.h"

namespace scalelab::host {

// Every command that sweeps takes these: --out (required unless `out` is set before), --shard i/n, --retry failed,
// --dry-run.
struct SweepOptions {
  std::filesystem::path out;
  std::string shard = "1/1";
  std::string retry = "none";
  bool dry_run = false;
};
void add_sweep_options(CLI::App& app, SweepOptions& options);

struct SweepRow {
  Trial trial;
  Measurement measurement;
};

struct SweepResult {
  std::vector<SweepRow> rows;  // in the order of the trials, of those that are done (by any shard)
  std::int64_t planned = 0, failed = 0;
  // The lock of the folder (file_lock.h), taken before the rows were read: kept until what is made of them is written.
  std::shared_ptr<const void> publishing{};
  bool complete() const { return static_cast<std::int64_t>(rows.size()) == planned; }
};

// Trials of a sweep file: `{"name": ..., "title": ..., "grids": [{member of Trial: value or list of values, ...}, ...]}`.
// A grid stands for every combination of its lists; trials that stand in several grids run once. `"worlds": "0..19"`,
// `"seeds": "0..19"` and `"samples": S` (epochs = S / n, at least 1) may stand for `world`, `seed` and `epochs`; a grid
// that names no seed has `seed`. Relative names of data and labels are taken from `folder`, where the file lies.
// Failure(kMisuse) names what is wrong.
std::vector<Trial> expand_sweep(const nlohmann::json& file, const std::string& name,
                                const std::filesystem::path& folder = {}, std::uint64_t seed = 0);

// The trials on the spiral once in each of these worlds; the others once.
std::vector<Trial> in_worlds(const std::vector<Trial>& trials, const std::vector<std::uint64_t>& worlds);

// A sweep that ships with the program (host/lab/sweeps/NAME.json); Failure(kMisuse) that lists them when there is none.
nlohmann::json ready_sweep(const std::string& name);
std::string ready_sweep_names();  // "a, b, c"

// Runs what the store in options.out does not hold yet, once all trials fit their data (require_fits): its plan on
// stderr first, then groups of trials, each row on disk as it is done, after `measured` (where given) has seen it. With
// --dry-run the plan is all. The first signal finishes the group and ends with Failure(kStopped); the same command goes
// on. Rows are the same bits resumed, sharded and in any order of trials.
SweepResult run_sweep(const std::vector<Trial>& trials, const SweepOptions& options, Session& session,
                      const std::function<void(const Trial&, const Measurement&)>& measured = {});

}  // namespace scalelab::host
