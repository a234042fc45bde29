// scalelab sweep: a declarative grid of trials, run once each, and what came of it by series.
#include "host/lab/sweep.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "embedded.h"
#include "host/evidence/statistics.h"
#include "host/lab/store.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// Trials that are run, and then on disk, together: this many core seconds, and bytes.
constexpr double kGroupSeconds = 20, kGroupBytes = 4e9;

std::string ready_sweep_names() {
  std::string names;
  for (const auto& ready : embedded::ready_sweeps) names += (names.empty() ? "" : ", ") + std::string(ready.name);
  return names;
}

std::pair<int, int> parse_shard(const std::string& text) {
  int shard = 0, shards = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard);
  if (first.ec == std::errc{} && first.ptr != end && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, end, shards);
    if (second.ec == std::errc{} && second.ptr == end && shards >= 1 && shards <= 100000 && shard >= 0 &&
        shard <= shards) {
      return {shard == 0 ? shards : shard, shards};  // 0/4 is 4/4, for arrays that count from 0
    }
  }
  throw Failure(kMisuse, fmt::format("--shard: '{}' is not i/n with i from 1 to n", text));
}

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

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// What a sweep leaves to do, in groups that keep trials of one work_key together.
std::vector<std::vector<std::size_t>> grouped_work(const std::vector<Trial>& trials,
                                                   const std::vector<std::size_t>& pending, int threads) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::size_t>> by_key;
  for (const std::size_t i : pending) {
    auto& members = by_key[work_key(trials[i])];
    if (members.empty()) order.push_back(work_key(trials[i]));
    members.push_back(i);
  }
  std::vector<std::vector<std::size_t>> groups;
  double seconds = 0, bytes = 0;
  for (const std::string& key : order) {
    if (groups.empty() || seconds > kGroupSeconds * threads || bytes > kGroupBytes) {
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
  app.add_option("--out", options.out, "Folder of the store and the results; what it holds is not run again")
      ->required();
  app.add_option("--shard", options.shard, "Run the i-th of n parts, as i/n");
  app.add_option("--retry", options.retry, "failed: run again what failed before")
      ->check(CLI::IsMember({"none", "failed"}));
  app.add_flag("--dry-run", options.dry_run, "Show the plan and stop");
}

std::vector<Trial> expand_sweep(const nlohmann::json& file, const std::string& name) {
  const auto refuse = [&](const std::string& why) { throw Failure(kMisuse, fmt::format("{}: {}", name, why)); };
  if (!file.is_object()) refuse("is not a JSON object with 'grids', as {\"grids\": [{\"n\": [250, 500]}]}");
  for (const auto& [key, value] : file.items()) {
    if (key != "name" && key != "title" && key != "grids") {
      refuse(fmt::format("'{}' is not known; known are name, title, grids", key));
    }
  }
  const auto grids = file.find("grids");
  if (grids == file.end() || !grids->is_array() || grids->empty()) refuse("'grids' must be a list of objects");
  std::vector<Trial> trials;
  std::set<std::string> ids;
  for (std::size_t g = 0; g < grids->size(); ++g) {
    const nlohmann::json& grid = (*grids)[g];
    if (!grid.is_object()) refuse(fmt::format("grid {}: is not an object", g + 1));
    double samples = 0;
    std::vector<std::pair<std::string, nlohmann::json>> axes;
    std::size_t combinations = 1;
    for (const auto& [key, value] : grid.items()) {
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
      if (key == "seeds") {
        if (!value.is_string()) refuse(fmt::format("grid {}: 'seeds' must be a text, as \"0..19\"", g + 1));
        member = "seed";
        list = parse_seeds(value.get<std::string>());
      }
      if (list.empty()) refuse(fmt::format("grid {}: '{}' is an empty list", g + 1, key));
      combinations *= list.size();
      if (combinations > 10'000'000) refuse(fmt::format("grid {}: stands for more than 10 million trials", g + 1));
      axes.emplace_back(member, std::move(list));
    }
    // The last axis runs quickest; seeds are last, so that a row's seeds stand together.
    std::stable_partition(axes.begin(), axes.end(), [](const auto& axis) { return axis.first != "seed"; });
    for (std::size_t c = 0; c < combinations; ++c) {
      nlohmann::json object = nlohmann::json::object();
      std::size_t rest = c;
      for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
        object[axis->first] = axis->second[rest % axis->second.size()];
        rest /= axis->second.size();
      }
      try {
        Trial trial = trial_from_json(object);
        if (samples > 0) {
          trial.epochs = static_cast<int>(std::clamp(std::round(samples / static_cast<double>(trial.n)), 1.0, 1e7));
        }
        trial = resolved(std::move(trial));
        if (ids.insert(trial_id(trial)).second) trials.push_back(std::move(trial));
      } catch (const Failure& failure) {
        throw Failure(failure.exit_code, fmt::format("{}: grid {}: {}", name, g + 1, failure.what()));
      }
    }
  }
  return trials;
}

nlohmann::json ready_sweep(const std::string& name) {
  for (const auto& ready : embedded::ready_sweeps) {
    if (name == ready.name) return nlohmann::json::parse(ready.text);
  }
  throw Failure(kMisuse,
                fmt::format("{}: is neither a file nor a ready-made sweep; those are {}", name, ready_sweep_names()));
}

SweepResult run_sweep(const std::vector<Trial>& trials, const SweepOptions& options, Session& session) {
  const auto [shard, shards] = parse_shard(options.shard);
  std::vector<std::string> ids;
  for (const Trial& trial : trials) ids.push_back(trial_id(trial));

  std::optional<Store> store;
  std::map<std::string, nlohmann::json> records;
  if (options.dry_run) {
    records = Store::read(options.out);
  } else {
    store.emplace(options.out, shard, shards);
    records = store->records();
  }
  // A shard takes whole groups of trials that share work, dealt out in order.
  std::map<std::string, std::size_t> key_number;
  std::vector<std::size_t> pending;
  std::int64_t before = 0, networks = 0;
  double seconds = 0, bytes = 0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const std::size_t number = key_number.try_emplace(work_key(trials[i]), key_number.size()).first->second;
    if (number % static_cast<std::size_t>(shards) != static_cast<std::size_t>(shard - 1)) continue;
    const auto found = records.find(ids[i]);
    const bool done = found != records.end() && !(options.retry == "failed" && measurement_of(found->second).failed());
    before += done;
    if (done) continue;
    pending.push_back(i);
    networks += trials[i].is_network();
    seconds += estimated_seconds(trials[i]);
    bytes = std::max(bytes, estimated_bytes(trials[i]));
  }
  const int threads = session.context.threads();
  const auto groups = grouped_work(trials, pending, threads);
  for (const auto& group : groups) {
    double sum = 0;
    for (const std::size_t i : group) sum += estimated_bytes(trials[i]);
    bytes = std::max(bytes, sum);
  }
  if (!session.common.quiet || options.dry_run) {
    std::string plan = fmt::format("{} trials", grouped(std::ssize(trials)));
    if (shards > 1) plan += fmt::format(", shard {} of {}", shard, shards);
    plan += fmt::format("; {} done before, {} to run", grouped(before), grouped(std::ssize(pending)));
    if (!pending.empty()) {
      plan += fmt::format(" ({} networks) in {} groups: about {} on {} {}, {:.0f} MB; results in {}", grouped(networks),
                          groups.size(), duration(seconds / threads), threads, threads == 1 ? "thread" : "threads",
                          std::max(1.0, bytes / 1e6), options.out.string());
    }
    session.progress.say(plan);
  }

  if (!options.dry_run) {
    const auto surroundings = environment(session);
    double finished = 0;
    std::int64_t count = 0;
    for (const auto& group : groups) {
      double cost = 0;
      std::vector<Trial> members;
      for (const std::size_t i : group) {
        members.push_back(trials[i]);
        cost += estimated_seconds(trials[i]);
      }
      try {
        const auto outer = session.context.progress;
        session.context.progress = [&](std::int64_t done, std::int64_t whole) {
          const double share = whole > 0 ? static_cast<double>(done) / static_cast<double>(whole) : 0;
          session.progress.update("sweep", std::llround(1e6 * (finished + cost * share) / seconds), 1000000);
        };
        const std::string started = utc_now();
        evaluate(members, session, [&](std::size_t j, const Measurement& measurement) {
          const std::size_t i = group[j];
          store->append({{"schema", 1},
                         {"id", ids[i]},
                         {"params", to_json(trials[i])},
                         {"seed", trials[i].seed},
                         {"status", measurement.status},
                         {"metrics", metrics_json(measurement)},
                         {"seconds", measurement.seconds},
                         {"environment", surroundings},
                         {"started", started},
                         {"ended", utc_now()}});
          ++count;
        });
        session.context.progress = outer;
      } catch (const Interrupted&) {
        throw Failure(kStopped,
                      fmt::format("stopped by a signal with {} of {} trials on disk; the same command goes on "
                                  "from there",
                                  before + count, before + std::ssize(pending)));
      }
      finished += cost;
    }
    store.reset();
    records = Store::read(options.out);  // with what other shards have done meanwhile
  }

  SweepResult result;
  result.planned = std::ssize(trials);
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const auto found = records.find(ids[i]);
    if (found == records.end()) continue;
    result.rows.push_back({trials[i], measurement_of(found->second)});
    result.failed += result.rows.back().measurement.failed();
  }
  return result;
}

std::vector<Series> series_of(const SweepResult& result) {
  std::vector<Series> list;
  std::map<std::string, std::size_t> numbers;
  for (const SweepRow& row : result.rows) {
    Trial common = row.trial;
    common.seed = 0;
    const auto [found, added] = numbers.try_emplace(trial_id(common), list.size());
    if (added) list.push_back({common, {}, {}, {}});
    Series& series = list[found->second];
    if (row.measurement.failed()) continue;
    series.seeds.push_back(row.trial.seed);
    series.statuses.push_back(row.measurement.status);
    for (const auto& [name, value] : row.measurement.values) series.values[name].push_back(value);
  }
  return list;
}

namespace {

const std::set<std::string> kMayBeAbsent = {"width",    "hidden_layers", "epochs",        "dimension",
                                            "clusters", "grid",          "density_points"};

}  // namespace

std::vector<std::string> varying_members(const std::vector<Series>& list) {
  std::vector<std::string> names;
  std::map<std::string, std::set<std::string>> seen;
  for (const Series& series : list) {
    const nlohmann::json members = to_json(series.trial);
    for (const auto& [name, value] : members.items()) {
      // Zero is what these have where they do not apply.
      const bool absent = value.is_number() && value.get<double>() == 0 && kMayBeAbsent.contains(name);
      if (!absent) seen[name].insert(value.dump());
    }
  }
  for (const std::string& name : member_names()) {
    if (seen[name].size() > 1 && name != "fingerprint") names.push_back(name);
  }
  return names;
}

std::vector<Curve> curves_of(const SweepResult& result, std::uint64_t seed) {
  std::vector<Curve> curves;
  std::map<std::string, std::size_t> numbers;
  std::vector<std::map<std::int64_t, std::set<int>>> epochs;
  for (const SweepRow& row : result.rows) {
    Trial common = row.trial;
    common.n = 1;
    common.seed = 0;
    common.epochs = 0;
    const auto [found, added] = numbers.try_emplace(to_json(common).dump(), curves.size());
    if (added) {
      curves.push_back({common, "", {}, {}});
      epochs.emplace_back();
    }
    epochs[found->second][row.trial.n].insert(row.trial.epochs);
    if (row.measurement.status != "ok" && row.measurement.status != "unconverged") continue;
    for (const char* measure : {"grid_error", "density_error", "test_error"}) {
      const auto value = row.measurement.values.find(measure);
      if (value == row.measurement.values.end() || !(value->second > 0)) continue;
      curves[found->second].points[measure].push_back(
          {static_cast<double>(row.trial.n), row.trial.seed, value->second});
    }
  }
  std::vector<Series> commons;
  for (const Curve& curve : curves) commons.push_back({curve.trial, {}, {}, {}});
  const auto varying = varying_members(commons);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    Curve& curve = curves[i];
    const nlohmann::json members = to_json(curve.trial);
    for (const auto& name : varying) {
      const auto& value = members[name];
      curve.name += fmt::format("{}{}={}", curve.name.empty() ? "" : " ", name,
                                value.is_string() ? value.get<std::string>() : value.dump());
    }
    // Where a size was trained for several numbers of epochs, there is no one curve.
    const bool one =
        std::all_of(epochs[i].begin(), epochs[i].end(), [](const auto& n) { return n.second.size() == 1; });
    for (const auto& [measure, points] : curve.points) {
      std::set<double> sizes;
      for (const LawPoint& point : points) sizes.insert(point.n);
      if (one && sizes.size() >= 4) curve.laws.emplace(measure, fit_law(points, seed));
    }
  }
  return curves;
}

namespace {

std::string sweep_table(const std::vector<Series>& list) {
  const auto varying = varying_members(list);
  std::vector<std::string> measures;
  for (const char* name : {"grid_error", "density_error", "test_error"}) {
    const auto has = [&](const Series& series) { return series.values.count(name) != 0; };
    if (std::any_of(list.begin(), list.end(), has)) measures.push_back(name);
  }
  std::vector<std::vector<std::string>> cells(1);
  for (const auto& name : varying) cells[0].push_back(name);
  cells[0].push_back("seeds");
  for (const auto& name : measures) cells[0].push_back(name + " %");
  for (const Series& series : list) {
    const nlohmann::json members = to_json(series.trial);
    auto& row = cells.emplace_back();
    for (const auto& name : varying) row.push_back(text_of(members[name]));
    row.push_back(std::to_string(series.seeds.size()));
    for (const auto& name : measures) {
      const auto found = series.values.find(name);
      if (found == series.values.end()) {
        row.push_back("-");
        continue;
      }
      const Summary summary = summarize(found->second);
      row.push_back(summary.n < 2 ? percent(summary.mean)
                                  : fmt::format("{} +- {}", percent(summary.mean), percent(summary.standard_error)));
    }
  }
  std::vector<std::size_t> widths(cells[0].size());
  for (const auto& row : cells) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : cells) {
    for (std::size_t c = 0; c < row.size(); ++c) text += fmt::format("{}{:>{}}", c == 0 ? "" : "  ", row[c], widths[c]);
    text += "\n";
  }
  return text;
}

Outcome sweep_command(const std::string& file, const SweepOptions& options, Session& session) {
  nlohmann::json sweep;
  std::string name = file;
  if (fs::is_regular_file(file)) {
    std::ifstream input(file);
    sweep = nlohmann::json::parse(input, nullptr, false);
    name = fs::path(file).stem().string();
  } else if (file.ends_with(".json") || file.find('/') != std::string::npos) {
    throw Failure(kMisuse, fmt::format("{}: no such file", file));
  } else {
    sweep = ready_sweep(file);
  }
  if (sweep.is_discarded()) throw Failure(kMisuse, fmt::format("{}: is not JSON", file));
  const std::vector<Trial> trials = expand_sweep(sweep, file);
  const SweepResult result = run_sweep(trials, options, session);
  nlohmann::json document = sweep_document(sweep.value("name", name), result, session);
  std::string text;
  if (options.dry_run) return {document, text, kDone};
  const auto list = series_of(result);
  text = sweep.value("title", name) + "\n" + sweep_table(list);
  for (const Curve& curve : curves_of(result, session.common.seed)) {
    for (const auto& [measure, law] : curve.laws) {
      text += fmt::format("{}{}{}: {}\n", curve.name, curve.name.empty() ? "" : ", ", measure, worded(law));
    }
  }
  if (result.failed > 0) {
    text += fmt::format("{} trials failed; --retry failed runs them again. The first: {}\n", result.failed,
                        std::find_if(result.rows.begin(), result.rows.end(), [](const SweepRow& row) {
                          return row.measurement.failed();
                        })->measurement.status);
  }
  if (!result.complete()) {
    text +=
        fmt::format("{} of {} trials are done; the other shards have the rest.\n", result.rows.size(), result.planned);
  }
  write_file(options.out / "results.json", json_text(document));
  text += fmt::format("Every row: {}\n", (options.out / "results.json").string());
  return {document, text, result.failed > 0 ? kSomeFailed : kDone};
}

}  // namespace

nlohmann::json sweep_document(const std::string& name, const SweepResult& result, Session& session) {
  nlohmann::json document = {{"schema", 1},
                             {"experiment", name},
                             {"planned", result.planned},
                             {"complete", result.complete()},
                             {"failed", result.failed},
                             {"rows", nlohmann::json::array()},
                             {"summary", nlohmann::json::array()},
                             {"environment", environment(session)}};
  for (const SweepRow& row : result.rows) {
    nlohmann::json entry = {{"id", trial_id(row.trial)},
                            {"params", to_json(row.trial)},
                            {"status", row.measurement.status},
                            {"seconds", row.measurement.seconds}};
    for (const auto& [measure, value] : row.measurement.values) entry[measure] = number(value);
    document["rows"].push_back(std::move(entry));
  }
  for (const Series& series : series_of(result)) {
    nlohmann::json params = to_json(series.trial);
    params.erase("seed");
    nlohmann::json entry = {{"params", params}, {"seeds", series.seeds}};
    for (const auto& [measure, values] : series.values) {
      const Summary summary = summarize(values);
      entry[measure] = {{"mean", number(summary.mean)},
                        {"sd", number(summary.sd)},
                        {"standard_error", number(summary.standard_error)}};
    }
    document["summary"].push_back(std::move(entry));
  }
  document["laws"] = nlohmann::json::array();
  for (const Curve& curve : curves_of(result, session.common.seed)) {
    nlohmann::json params = to_json(curve.trial);
    for (const char* name : {"n", "seed", "epochs"}) params.erase(name);
    for (const auto& [measure, law] : curve.laws) {
      document["laws"].push_back(
          {{"series", curve.name}, {"params", params}, {"measure", measure}, {"law", to_json(law)}});
    }
  }
  return document;
}

Command add_sweep(CLI::App& program) {
  struct Options {
    std::string file;
    SweepOptions sweep;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("sweep", "Many trials from a file, each run once whatever happens in between");
  app->add_option("file", options->file, "A JSON file of grids, or a ready-made sweep: " + ready_sweep_names())
      ->required();
  add_sweep_options(*app, options->sweep);
  return {app, [options](Session& session) { return sweep_command(options->file, options->sweep, session); },
          // What a file asks for is known only when it is read; a sweep is long.
          [] {
            return Needs{{{Work::mlp_train, 1e12}}, "--shard"};
          }};
}

}  // namespace scalelab::host
