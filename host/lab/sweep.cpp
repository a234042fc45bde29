#include "host/lab/sweep.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "embedded.h"
#include "host/data/source.h"
#include "host/lab/store.h"
#include "host/program/devices.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/file_lock.h"
#include "host/program/files.h"
#include "host/program/input.h"
#include "host/program/options.h"
#include "host/program/shard.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// Trials that are run, and then on disk, together: this many core seconds, bytes, and trials.
constexpr double kGroupSeconds = 20, kGroupBytes = 4e9;
constexpr std::size_t kGroupTrials = 1000;
// Of one grid: a mistyped list should not fill the memory.
constexpr std::size_t kMostTrials = 10'000'000;
// A disk takes milliseconds to confirm what it was given, longer than a small trial: it is asked after this many core
// seconds, the work that a power cut can cost.
constexpr double kFlushSeconds = 1;

Measurement measurement_of(const nlohmann::json& record) {
  Measurement measurement;
  measurement.status = record.value("status", std::string("failed: the record has no status"));
  measurement.seconds = record.value("seconds", 0.0);
  const auto metrics = record.find("metrics");
  if (metrics != record.end() && metrics->is_object()) {
    for (const auto& [name, value] : metrics->items()) {
      measurement.values[name] = value.is_number() ? value.get<double>() : std::nan("");
    }
  }
  return measurement;
}

nlohmann::json metrics_json(const Measurement& measurement) {
  nlohmann::json metrics = nlohmann::json::object();
  for (const auto& [name, value] : measurement.values) metrics[name] = number(value);
  return metrics;
}

// The members of a grid, each with the list of its values.
using Axes = std::vector<std::pair<std::string, nlohmann::json>>;

// Number c of their combinations: its digits, each in the base of its axis, say which values it takes.
nlohmann::json combination(const Axes& axes, std::size_t c) {
  nlohmann::json object = nlohmann::json::object();
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    object[axis->first] = axis->second[c % axis->second.size()];
    c /= axis->second.size();
  }
  return object;
}

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// What a sweep leaves to do, in groups that keep trials of one work_key together: for several devices, some for each.
std::vector<std::vector<std::size_t>> grouped_work(const std::vector<Trial>& trials,
                                                   const std::vector<std::size_t>& pending, int threads, int devices) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::size_t>> by_key;
  for (const std::size_t i : pending) {
    auto& members = by_key[work_key(trials[i])];
    if (members.empty()) order.push_back(work_key(trials[i]));
    members.push_back(i);
  }
  std::vector<std::vector<std::size_t>> groups;
  double seconds = 0, bytes = 0, most_seconds = kGroupSeconds * threads;
  if (devices > 1) {
    double all = 0;
    for (const std::size_t i : pending) all += estimated_seconds(trials[i]);
    most_seconds = std::min(most_seconds, all / (3 * devices));
  }
  for (const std::string& key : order) {
    if (groups.empty() || seconds > most_seconds || bytes > kGroupBytes || groups.back().size() >= kGroupTrials) {
      groups.emplace_back();
      seconds = bytes = 0;
    }
    for (const std::size_t i : by_key[key]) {
      groups.back().push_back(i);
      seconds += estimated_seconds(trials[i]);
      bytes += estimated_bytes(trials[i]);
    }
  }
  return groups;
}

}  // namespace

void add_sweep_options(CLI::App& app, SweepOptions& options) {
  CLI::Option* out =
      app.add_option("-o,--out", options.out, "Folder of the store and the results; what it holds is not run again");
  if (options.out.empty()) {
    out->required();
  } else {
    out->capture_default_str();
  }
  add_shard(app, options.shard, "Run the i-th of n parts, as 3/8; 0/8 is the last, for arrays that count from 0");
  app.add_option("--retry", options.retry, "failed: run again what failed before")
      ->check(CLI::IsMember({"none", "failed"}));
  app.add_flag("--dry-run", options.dry_run, "Show the plan and stop");
}

std::vector<Trial> expand_sweep(const nlohmann::json& file, const std::string& name, const fs::path& folder,
                                std::uint64_t seed) {
  const auto refuse = [&](const std::string& why) { throw Failure(kMisuse, fmt::format("{}: {}", name, why)); };
  if (!file.is_object()) refuse("is not a JSON object with 'grids', as {\"grids\": [{\"n\": [250, 500]}]}");
  for (const auto& [key, value] : file.items()) {
    if (key != "name" && key != "title" && key != "grids") refuse(not_known(key, {"name", "title", "grids"}));
  }
  for (const char* text : {"name", "title"}) {
    if (file.contains(text) && !file[text].is_string()) refuse(fmt::format("'{}' must be a text", text));
  }
  const auto grids = file.find("grids");
  if (grids == file.end() || !grids->is_array() || grids->empty()) refuse("'grids' must be a list of objects");
  std::vector<std::string> keys = member_names();
  keys.insert(keys.end(), {"worlds", "seeds", "samples"});
  std::vector<Trial> trials;
  std::set<std::string> ids;
  // A grid's members are axes, of which every combination is a trial.
  for (std::size_t g = 0; g < grids->size(); ++g) {
    const nlohmann::json& grid = (*grids)[g];
    if (!grid.is_object()) refuse(fmt::format("grid {}: is not an object", g + 1));
    double samples = 0;
    Axes axes;
    std::size_t combinations = 1;
    if (!grid.contains("seed") && !grid.contains("seeds")) axes.emplace_back("seed", nlohmann::json::array({seed}));
    for (const auto& [key, value] : grid.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        refuse(fmt::format("grid {}: {}", g + 1, not_known(key, keys)));
      }
      if (key == "samples") {
        if (!value.is_number() || !(value.get<double>() >= 1)) {
          refuse(fmt::format("grid {}: 'samples' must be a number from 1", g + 1));
        }
        if (grid.contains("epochs")) refuse(fmt::format("grid {}: give 'samples' or 'epochs', not both", g + 1));
        samples = value.get<double>();
        continue;
      }
      nlohmann::json list = value.is_array() ? value : nlohmann::json::array({value});
      std::string member = key;
      if (key == "seeds" || key == "worlds") {
        if (!value.is_string()) refuse(fmt::format("grid {}: '{}' must be a text, as \"0..19\"", g + 1, key));
        member = key.substr(0, key.size() - 1);
        if (grid.contains(member)) {
          refuse(fmt::format("grid {}: give '{}' or '{}', not both", g + 1, member, key));
        }
        list = parse_seeds(value.get<std::string>(), key.c_str());
      }
      if (list.empty()) refuse(fmt::format("grid {}: '{}' is an empty list", g + 1, key));
      combinations *= list.size();
      if (combinations > kMostTrials) {
        refuse(fmt::format("grid {}: stands for more than {} million trials", g + 1, kMostTrials / 1'000'000));
      }
      axes.emplace_back(member, std::move(list));
    }
    // The last axis runs quickest; draws are last, so that those of a row stand together.
    std::stable_partition(axes.begin(), axes.end(), [](const auto& axis) {
      return axis.first != "world" && axis.first != "seed" && axis.first != "start";
    });
    for (std::size_t c = 0; c < combinations; ++c) {
      try {
        Trial trial = trial_from_json(combination(axes, c));
        if (samples > 0) {
          const double epochs = std::round(samples / static_cast<double>(trial.n));
          trial.epochs = static_cast<int>(std::clamp<double>(epochs, 1, kMostEpochs));
        }
        // Files are named as seen from the folder of the sweep.
        if (trial.is_file() && !is_known_data_set(trial.data)) trial.data = folder / trial.data;
        if (!trial.labels.empty() && trial.labels != "none") trial.labels = folder / trial.labels;
        trial = resolved(std::move(trial));
        if (ids.insert(trial_id(trial)).second) trials.push_back(std::move(trial));
      } catch (const Failure& failure) {
        throw Failure(failure.exit_code, fmt::format("{}: grid {}: {}", name, g + 1, failure.what()));
      }
    }
  }
  return trials;
}

std::vector<Trial> in_worlds(const std::vector<Trial>& trials, const std::vector<std::uint64_t>& worlds) {
  std::vector<Trial> all;
  std::set<std::string> ids;
  for (const Trial& trial : trials) {
    for (const std::uint64_t world : worlds) {
      Trial other = trial;
      if (trial.is_spiral()) other.world = world;
      if (ids.insert(trial_id(other)).second) all.push_back(std::move(other));
    }
  }
  return all;
}

std::string ready_sweep_names() {
  std::string names;
  for (const auto& ready : embedded::ready_sweeps) names += (names.empty() ? "" : ", ") + std::string(ready.name);
  return names;
}

nlohmann::json ready_sweep(const std::string& name) {
  for (const auto& ready : embedded::ready_sweeps) {
    if (name == ready.name) return nlohmann::json::parse(ready.text);
  }
  throw Failure(kMisuse,
                fmt::format("{}: is neither a file nor a ready-made sweep; those are {}", name, ready_sweep_names()));
}

namespace {

using Measured = std::function<void(const Trial&, const Measurement&)>;

// What a shard has to do: trials by their index.
struct Plan {
  Shard shard;
  std::vector<std::string> ids;  // of all trials
  std::vector<std::size_t> pending;
  std::vector<std::vector<std::size_t>> groups;  // of those, run together
  std::int64_t before = 0, networks = 0;         // trials done before; networks among the pending
  std::int64_t known = 0, others = 0;            // rows of these trials, and of trials that are none of them
  double seconds = 0, bytes = 0;                 // core seconds of all, memory of the largest group
};

// A shard takes whole sets of trials that share work, dealt out in order.
Plan plan_of(const std::vector<Trial>& trials, const Records& records, const SweepOptions& options, int threads,
             int devices) {
  Plan plan;
  plan.shard = parse_shard(options.shard);
  std::map<std::string, std::size_t> key_number;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    plan.ids.push_back(trial_id(trials[i]));
    const std::size_t number = key_number.try_emplace(work_key(trials[i]), key_number.size()).first->second;
    if (number % static_cast<std::size_t>(plan.shard.of) != static_cast<std::size_t>(plan.shard.index - 1)) continue;
    const std::string& id = plan.ids[i];
    const bool done = records.contains(id) && !(options.retry == "failed" && records.failed(id));
    plan.before += done;
    if (done) continue;
    plan.pending.push_back(i);
    plan.networks += trials[i].is_network();
    plan.seconds += estimated_seconds(trials[i]);
  }
  std::set<std::string> known;
  for (const std::string& id : plan.ids) {
    if (records.contains(id)) known.insert(id);
  }
  plan.known = std::ssize(known);
  plan.others = static_cast<std::int64_t>(records.size()) - plan.known;
  plan.groups = grouped_work(trials, plan.pending, threads, devices);
  for (const auto& group : plan.groups) {
    double sum = 0;
    for (const std::size_t i : group) sum += estimated_bytes(trials[i]);
    plan.bytes = std::max(plan.bytes, sum);
  }
  return plan;
}

std::string worded(const Plan& plan, const SweepOptions& options, int threads) {
  std::string text = counted(std::ssize(plan.ids), "trial");
  if (!plan.shard.whole()) text += fmt::format(", shard {} of {}", plan.shard.index, plan.shard.of);
  text += fmt::format("; {} done before, {} to run", grouped(plan.before), grouped(std::ssize(plan.pending)));
  if (!plan.pending.empty()) {
    text += fmt::format(" ({}) in {}: about {} on {} of an idle machine, {:.0f} MB; results in {}",
                        counted(plan.networks, "network"), counted(std::ssize(plan.groups), "group"),
                        duration(plan.seconds / threads), counted(threads, "thread"), std::max(1.0, plan.bytes / 1e6),
                        options.out.string());
  }
  if (plan.others > 0) {
    text += fmt::format("; {} of other trials stay in {}, not on the page", counted(plan.others, "row"),
                        options.out.string());
  }
  return text;
}

// Runs group after group; each row is written to the store as soon as it is known. Progress is that of this run: what
// was done before is no part of its trials, its share or its time.
class GroupRuns {
 public:
  GroupRuns(const std::vector<Trial>& trials, const Plan& plan, Store& store, const Measured& measured,
            Session& session)
      : trials_(trials),
        plan_(plan),
        store_(store),
        measured_(measured),
        session_(session),
        surroundings_(environment(session)),
        written_(trials.size()) {}

  void run() {
    std::vector<double> costs;
    for (const auto& group : plan_.groups) {
      double& cost = costs.emplace_back(0);
      for (const std::size_t i : group) cost += estimated_seconds(trials_[i]);
    }
    const auto counts = [&] { return fmt::format("{} of {} trials", count_.load(), plan_.pending.size()); };
    Stage stage(session_, counts());
    const auto share = session_.context.progress;
    session_.context.progress = [&](std::int64_t done, std::int64_t whole) {
      stage.rename(counts());
      share(done, whole);
    };
    try {
      Devices(session_).deal(costs, [this](Session& own) -> Devices::Worker {
        return [this, &own](std::size_t group) -> Devices::Delivery {
          run_group(plan_.groups[group], own);
          return {};
        };
      });
    } catch (const Interrupted&) {
      throw Failure(kStopped, fmt::format("stopped by a signal with {} of {} trials on disk; the same command goes on "
                                          "from there",
                                          plan_.before + count_, plan_.before + std::ssize(plan_.pending)));
    }
    session_.context.progress = share;
  }

 private:
  // Those that are left, of a group whose device failed half way.
  std::vector<std::size_t> unwritten(const std::vector<std::size_t>& group) {
    const std::lock_guard hold(writing_);
    std::vector<std::size_t> left;
    std::copy_if(group.begin(), group.end(), std::back_inserter(left), [&](std::size_t i) { return !written_[i]; });
    return left;
  }

  void run_group(const std::vector<std::size_t>& group, Session& own) {
    const std::vector<std::size_t> left = unwritten(group);
    std::vector<Trial> members;
    for (const std::size_t i : left) members.push_back(trials_[i]);
    const std::string started = utc_now();
    evaluate(members, own, [&](std::size_t j, const Measurement& measurement) {
      if (measurement.failed()) require_answer(own.context);  // else it is no fault of the trial
      write(left[j], measurement, started);
    });
    const std::lock_guard hold(writing_);
    store_.flush();
  }

  void write(std::size_t i, const Measurement& measurement, const std::string& started) {
    const std::lock_guard hold(writing_);
    if (measured_) measured_(trials_[i], measurement);
    store_.append({{"schema", 1},
                   {"id", plan_.ids[i]},
                   {"params", to_json(trials_[i])},
                   {"seed", trials_[i].seed},
                   {"status", measurement.status},
                   {"metrics", metrics_json(measurement)},
                   {"seconds", measurement.seconds},
                   {"environment", surroundings_},
                   {"started", started},
                   {"ended", utc_now()}});
    written_[i] = true;
    ++count_;
    unconfirmed_ += estimated_seconds(trials_[i]);
    if (unconfirmed_ < kFlushSeconds) return;
    store_.flush();
    unconfirmed_ = 0;
  }

  const std::vector<Trial>& trials_;
  const Plan& plan_;
  Store& store_;
  const Measured& measured_;
  Session& session_;
  const nlohmann::json surroundings_;
  std::mutex writing_;  // of what follows, and of the store
  std::vector<bool> written_;
  double unconfirmed_ = 0;
  std::atomic<std::int64_t> count_ = 0;
};

}  // namespace

SweepResult run_sweep(const std::vector<Trial>& trials, const SweepOptions& options, Session& session,
                      const Measured& measured) {
  for (const Trial& trial : trials) require_fits(trial);
  const int threads = session.context.threads();
  std::optional<Store> store;
  if (!options.dry_run) {
    const Shard shard = parse_shard(options.shard);
    store.emplace(options.out, shard.index, shard.of);
    if (!store->locked()) {
      session.progress.say(
          fmt::format("{}: this file system has no locks: see to it that no other process runs the same "
                      "shard at the same time",
                      options.out.string()));
    }
  }
  const Plan plan = plan_of(trials, store ? store->records() : Records::in(options.out), options, threads,
                            static_cast<int>(session.common.devices.size()));
  if (plan.others > 0 && plan.known == 0) {
    throw Failure(kMisuse, fmt::format("{}: holds {} of another sweep and none of this one; choose another --out",
                                       options.out.string(), counted(plan.others, "trial")));
  }
  if (!session.common.quiet || options.dry_run) session.progress.say(worded(plan, options, threads));
  if (store) GroupRuns(trials, plan, *store, measured, session).run();
  store.reset();

  // With what other shards have done meanwhile.
  SweepResult result;
  if (!options.dry_run) result.publishing = lock_folder(options.out);
  const Records records = Records::in(options.out);
  result.planned = std::ssize(trials);
  result.rows.reserve(std::min(trials.size(), records.size()));
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (!records.contains(plan.ids[i])) continue;
    result.rows.push_back({trials[i], measurement_of(records.at(plan.ids[i]))});
    result.failed += result.rows.back().measurement.failed();
  }
  return result;
}

}  // namespace scalelab::host
