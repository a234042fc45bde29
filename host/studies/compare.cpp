#include "host/studies/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>
#include <memory>
#include <set>
#include <tuple>

#include "host/data/dataset.h"
#include "host/lab/error_count.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/studies/compare_figures.h"
#include "host/studies/compare_page.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

// Test draws come from seeds with the top bit set, training sets from seeds below 2^32: the two never meet.
constexpr std::uint64_t kTestDraws = std::uint64_t{1} << 63;
constexpr std::int64_t kLargestSize = 10'000'000;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string knn_name(int k) { return fmt::format("knn-{}", k); }

// Everything kNN is asked for on the sets of one seed: (noise, n) -> neighbours.
using KnnWork = std::map<std::pair<double, std::int64_t>, std::set<int>>;

std::vector<std::int64_t> curve_sizes(const CompareOptions& options) {
  if (options.curve_to <= 0) return {};
  std::set<std::int64_t> sizes(options.sizes.begin(), options.sizes.end());
  for (std::int64_t n = 250; n <= options.curve_to; n *= 2) sizes.insert(n);
  return {sizes.begin(), sizes.end()};
}

KnnWork knn_work(const CompareOptions& options) {
  KnnWork work;
  for (const std::int64_t n : options.sizes) {
    for (const Model& model : options.models) {
      if (model.is_knn()) work[{options.noise, n}].insert(model.neighbours);
    }
    if (options.noise_panel > 0) {
      for (const double noise : {0.0, options.noise_panel}) {
        for (const int k : kPanelNeighbours) work[{noise, n}].insert(k);
      }
    }
  }
  for (const std::int64_t n : curve_sizes(options)) {
    for (const int k : kCurveNeighbours) work[{options.noise, n}].insert(k);
  }
  for (auto& [set, ks] : work) std::erase_if(ks, [n = set.second](int k) { return k > n; });
  return work;
}

// The points of one seed: every set is the first n of them. The labels exist once per noise level.
struct SeedData {
  SeedData(Context& context, std::uint64_t seed, std::int64_t n, const std::set<double>& noises) {
    for (const double noise : noises) {
      Dataset data = sample_spiral(default_mixture(), Spiral{}, n, seed, noise);
      if (!points) points.emplace(context, data.points, std::initializer_list<std::int64_t>{n, 2});
      Buffer<std::uint8_t> copy(context, data.labels, {n});
      labels.emplace(noise, std::make_pair(std::move(data.labels), std::move(copy)));
    }
  }
  View<const float> points_of(std::int64_t n) const { return points->view().rows(0, n); }
  View<const std::uint8_t> labels_of(double noise, std::int64_t n) const {
    return labels.at(noise).second.view().rows(0, n);
  }
  std::span<const std::uint8_t> host_labels(double noise, std::int64_t n) const {
    return std::span(labels.at(noise).first).first(static_cast<std::size_t>(n));
  }

  std::optional<Buffer<float>> points;
  std::map<double, std::pair<std::vector<std::uint8_t>, Buffer<std::uint8_t>>> labels;
};

// One network of the joint run.
struct Training {
  std::size_t model;
  std::int64_t n;
  std::uint64_t seed;
  Buffer<float> parameters;
  Buffer<int> diverged;
};

}  // namespace

StageClock::StageClock(Comparison& comparison) : comparison_(comparison), last_(now()) {}

void StageClock::charge(const std::string& stage) {
  auto& stages = comparison_.stages;
  auto found = std::find_if(stages.begin(), stages.end(), [&](const auto& one) { return one.first == stage; });
  if (found == stages.end()) found = stages.insert(stages.end(), {stage, 0.0});
  const double time = now();
  found->second += time - last_;
  last_ = time;
}

int CompareOptions::epochs_at(std::int64_t n) const {
  if (same_epochs) return epochs;
  return std::max(1, static_cast<int>(std::llround(static_cast<double>(epochs) * 1000.0 / static_cast<double>(n))));
}

Comparison measure(const CompareOptions& options, Session& session) {
  Context& context = session.context;
  Progress& progress = session.progress;
  Comparison result{.options = options};
  StageClock clock(result);

  progress.update("truth", 0, 1);
  const GridTruth truth(context, Spiral{}, options.grid);
  const Dataset draws = sample_spiral(default_mixture(), Spiral{}, options.density_points, kTestDraws | options.seed);
  const Buffer<float> draw_points(context, draws.points, {options.density_points, 2});
  clock.charge("truth and test draws");

  const KnnWork work = knn_work(options);
  std::set<double> noises = {options.noise};
  std::int64_t largest = options.sizes.back();
  std::int64_t maps = 0;
  for (const auto& [set, ks] : work) {
    noises.insert(set.first);
    largest = std::max(largest, set.second);
    maps += static_cast<std::int64_t>(ks.size());
  }

  // kNN, one seed after the other, every (noise, n) once for all that ask for it.
  std::map<std::tuple<std::uint64_t, double, std::int64_t, int>, Row> knn;
  std::deque<SeedData> data;  // SeedData stays where it is: training runs hold views of it
  std::int64_t done = 0;
  for (const std::uint64_t seed : options.seeds) {
    const SeedData& points = data.emplace_back(context, seed, largest, noises);
    clock.charge("drawing points");
    for (const auto& [set, ks_set] : work) {
      const auto [noise, n] = set;
      if (ks_set.empty()) continue;
      const std::vector<int> ks(ks_set.begin(), ks_set.end());
      const auto references = points.points_of(n);
      const auto labels = points.host_labels(noise, n);
      const auto density = knn_point_errors(references, labels, ks, draw_points, draws.labels, context);
      const bool shown = std::find(options.sizes.begin(), options.sizes.end(), n) != options.sizes.end();
      const auto train = shown ? knn_point_errors(references, labels, ks, references, labels, context)
                               : std::vector<double>(ks.size(), std::nan(""));
      clock.charge("kNN: errors on points");
      for (std::size_t i = 0; i < ks.size(); ++i) {
        const double start = now();
        const GridScore score = truth.knn(references, points.labels_of(noise, n), ks[i]);
        Row row{knn_name(ks[i]), n, seed, noise, score.error, density[i], train[i], now() - start};
        if (score.one_class()) row.status = "collapsed";
        knn[{seed, noise, n, ks[i]}] = row;
        clock.charge("kNN: label maps");
        progress.update("nearest neighbours: label maps", ++done,
                        maps * static_cast<std::int64_t>(options.seeds.size()));
      }
    }
  }

  // Every network of every size and seed, in one call.
  std::deque<Training> trainings;
  std::vector<MlpRun> runs;
  std::vector<double> costs;
  for (const std::int64_t n : options.sizes) {
    for (std::size_t s = 0; s < options.seeds.size(); ++s) {
      for (std::size_t m = 0; m < options.models.size(); ++m) {
        const Model& model = options.models[m];
        if (model.is_knn()) continue;
        const std::vector<float> start = initial_parameters(model.shape, options.seeds[s]);
        const auto p = static_cast<std::int64_t>(start.size());
        Training& training = trainings.emplace_back(Training{m, n, options.seeds[s], Buffer<float>(context, start, {p}),
                                                             Buffer<int>(context, std::vector{-1}, {1})});
        MlpRun run;
        run.shape = model.shape;
        run.loss = model.loss;
        run.inputs = data[s].points_of(n);
        run.labels = data[s].labels_of(options.noise, n);
        run.parameters = training.parameters;
        run.epochs = options.epochs_at(n);
        run.batch_size = model.batch_size;
        run.learning_rate = model.learning_rate;
        run.schedule = model.schedule;
        run.optimizer = model.optimizer;
        run.weight_decay = model.weight_decay;
        run.precision = model.precision;
        run.seed = options.seeds[s];
        run.diverged = training.diverged;
        runs.push_back(run);
        costs.push_back(static_cast<double>(run.epochs) * static_cast<double>(n) * static_cast<double>(p));
      }
    }
  }
  std::map<std::tuple<std::size_t, std::int64_t, std::uint64_t>, Row> networks;
  if (!runs.empty()) {
    const double start = now();
    const std::string stage = fmt::format("training {} networks", runs.size());
    context.progress = [&](std::int64_t part, std::int64_t whole) { progress.update(stage, part, whole); };
    context.backend().mlp_train(runs, context);
    context.synchronize();
    context.progress = nullptr;
    const double seconds = now() - start;
    clock.charge("networks: training");
    double all = 0;
    for (const double cost : costs) all += cost;
    for (std::size_t i = 0; i < trainings.size(); ++i) {
      const Training& training = trainings[i];
      const Model& model = options.models[training.model];
      const auto s = static_cast<std::size_t>(std::find(options.seeds.begin(), options.seeds.end(), training.seed) -
                                              options.seeds.begin());
      const double map_start = now();
      const GridScore score = truth.network(model.shape, training.parameters);
      const double map_seconds = now() - map_start;
      clock.charge("networks: label maps");
      Row row{model.name, training.n, training.seed, options.noise};
      row.grid_error = score.error;
      row.density_error = network_point_error(model.shape, training.parameters, draw_points, draws.labels, context);
      row.train_error = network_point_error(model.shape, training.parameters, data[s].points_of(training.n),
                                            data[s].host_labels(options.noise, training.n), context);
      clock.charge("networks: errors on points");
      row.seconds = seconds * costs[i] / all + map_seconds;
      if (score.one_class()) row.status = "collapsed";
      if (training.diverged.to_host()[0] >= 0) row.status = "diverged";
      networks[{training.model, training.n, training.seed}] = row;
      if (training.seed == options.seeds[0]) {
        result.networks[{training.model, training.n}] = training.parameters.to_host();
      }
      progress.update("networks: label maps", static_cast<std::int64_t>(i) + 1,
                      static_cast<std::int64_t>(trainings.size()));
    }
  }

  for (const std::int64_t n : options.sizes) {
    for (const std::uint64_t seed : options.seeds) {
      for (std::size_t m = 0; m < options.models.size(); ++m) {
        const Model& model = options.models[m];
        result.rows.push_back(model.is_knn() ? knn.at({seed, options.noise, n, model.neighbours})
                                             : networks.at({m, n, seed}));
      }
    }
  }
  const auto take = [&](std::vector<Row>& rows, double noise, std::int64_t n, int k) {
    for (const std::uint64_t seed : options.seeds) {
      const auto found = knn.find({seed, noise, n, k});
      if (found != knn.end()) rows.push_back(found->second);
    }
  };
  for (const std::int64_t n : curve_sizes(options)) {
    for (const int k : kCurveNeighbours) take(result.curve, options.noise, n, k);
  }
  if (options.noise_panel > 0) {
    for (const std::int64_t n : options.sizes) {
      for (const double noise : {0.0, options.noise_panel}) {
        for (const int k : kPanelNeighbours) take(result.noise_panel, noise, n, k);
      }
    }
  }
  return result;
}

std::string command_of(const CompareOptions& options) {
  std::vector<std::string> names;
  for (const Model& model : options.models) names.push_back(model.name);
  std::string command = fmt::format("scalelab compare --sizes {} --seeds {} --models {} --grid {} --epochs {}",
                                    fmt::join(options.sizes, ","), fmt::join(options.seeds, ","), fmt::join(names, ","),
                                    options.grid, options.epochs);
  if (options.same_epochs) command += " --same-epochs";
  if (!options.models.empty()) {
    const MlpShape& shape = options.models.back().shape;
    command += fmt::format(" --width {} --hidden-layers {}", shape.width, shape.hidden_layers);
  }
  if (options.precision != "fp32") command += " --precision " + options.precision;
  return command + fmt::format(" --noise {} --density-points {} --curve-to {} --noise-panel {} --seed {}",
                               options.noise, options.density_points, options.curve_to, options.noise_panel,
                               options.seed);
}

namespace {

nlohmann::json rows_json(const std::vector<Row>& rows, bool with_noise) {
  auto list = nlohmann::json::array();
  for (const Row& row : rows) {
    nlohmann::json entry = {{"model", row.model},
                            {"n", row.n},
                            {"seed", row.seed},
                            {"grid_error", number(row.grid_error)},
                            {"density_error", number(row.density_error)},
                            {"train_error", number(row.train_error)},
                            {"seconds", number(row.seconds)},
                            {"status", row.status}};
    if (with_noise) entry["noise"] = row.noise;
    list.push_back(std::move(entry));
  }
  return list;
}

nlohmann::json summary_json(const Comparison& comparison) {
  auto list = nlohmann::json::array();
  for (const std::int64_t n : comparison.options.sizes) {
    for (const Model& model : comparison.options.models) {
      nlohmann::json entry = {{"model", model.name}, {"n", n}, {"seeds", comparison.options.seeds.size()}};
      for (const std::string measure : {"grid", "density"}) {
        const auto errors = errors_of(comparison.rows, model.name, n, measure, comparison.options.noise);
        const Summary summary = summarize(errors);
        entry["trained"] = summary.n;
        entry[measure + "_error"] = {{"mean", number(summary.mean)},
                                     {"sd", number(summary.sd)},
                                     {"standard_error", number(summary.standard_error)}};
      }
      list.push_back(std::move(entry));
    }
  }
  return list;
}

}  // namespace

nlohmann::json to_json(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::vector<std::string> names;
  for (const Model& model : options.models) names.push_back(model.name);
  nlohmann::json epochs = nlohmann::json::object();
  for (const std::int64_t n : options.sizes) epochs[std::to_string(n)] = options.epochs_at(n);
  nlohmann::json document = {
      {"schema", 1},
      {"experiment", "compare"},
      {"command", command_of(options)},
      {"options",
       {{"sizes", options.sizes},
        {"seeds", options.seeds},
        {"models", names},
        {"grid", options.grid},
        {"epochs", options.epochs},
        {"same_epochs", options.same_epochs},
        {"epochs_at", epochs},
        {"precision", options.precision},
        {"noise", options.noise},
        {"density_points", options.density_points},
        {"curve_to", options.curve_to},
        {"noise_panel", options.noise_panel},
        {"seed", options.seed}}},
      {"rows", rows_json(comparison.rows, false)},
      {"summary", summary_json(comparison)},
      {"curve", rows_json(comparison.curve, false)},
      {"noise_panel", rows_json(comparison.noise_panel, true)},
  };
  auto& list = document["equivalents"] = nlohmann::json::array();
  for (const Equivalent& e : equivalents(comparison)) {
    list.push_back({{"model", e.model},
                    {"n", e.n},
                    {"measure", e.measure},
                    {"seeds", e.seeds},
                    {"knn_points", number(e.points)},
                    {"low", number(e.interval.low)},
                    {"high", number(e.interval.high)},
                    {"curve_first", e.first},
                    {"curve_last", e.last},
                    {"seeds_beyond_curve", e.beyond},
                    {"seeds_before_curve", e.before}});
  }
  document["findings"] = to_json(findings(comparison));
  return document;
}

std::string to_text(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::string text = fmt::format("Error in %, grid / density: mean +- sd over {} seed{}\n\n{:<24}",
                                 options.seeds.size(), options.seeds.size() == 1 ? "" : "s", "model");
  const auto end_line = [&text] {
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  for (const std::int64_t n : options.sizes) text += fmt::format("  {:<31}", "N = " + grouped(n));
  end_line();
  bool untrained = false;
  for (const Model& model : options.models) {
    text += fmt::format("{:<24}", model.name);
    for (const std::int64_t n : options.sizes) {
      std::string cell;
      std::size_t trained = 0;
      for (const std::string measure : {"grid", "density"}) {
        const Summary summary = summarize(errors_of(comparison.rows, model.name, n, measure, options.noise));
        trained = static_cast<std::size_t>(summary.n);
        cell += fmt::format("{}{}", cell.empty() ? "" : " / ", percent(summary.mean));
        if (summary.n > 1) cell += fmt::format(" +- {}", percent(summary.sd));
      }
      if (trained == 0) cell = "did not train";
      if (trained > 0 && trained < options.seeds.size()) cell += fmt::format(" ({} seeds)", trained);
      untrained = untrained || trained < options.seeds.size();
      text += fmt::format("  {:<31}", cell);
    }
    end_line();
  }
  if (untrained) text += "\nRuns that collapsed to one colour or diverged are left out of the means.\n";
  text += '\n';
  for (const Finding& finding : findings(comparison)) text += "* " + finding.title + '\n';
  return text;
}

namespace {

// Everything the command was given, still as text.
struct Arguments {
  std::string sizes = "1000,10000", seeds = "0..4", models = fmt::format("{}", fmt::join(default_models(), ","));
  std::int64_t grid = 1024, density_points = 100000, curve_to = 256000;
  int epochs = 1000, width = 64, hidden_layers = 3;
  bool same_epochs = false;
  double noise = 0, noise_panel = 0.1;
  std::string precision = "fp32", out = "./scalelab-compare";
};

template <class T>
void require(const char* option, T value, T low, T high) {
  if (!(value >= low && value <= high)) {
    throw Failure(kMisuse, fmt::format("{} {}: must be from {} to {}", option, value, low, high));
  }
}

CompareOptions checked(const Arguments& arguments, std::uint64_t seed) {
  CompareOptions options;
  options.sizes = parse_sizes(arguments.sizes);
  options.seeds = parse_seeds(arguments.seeds);
  options.models = parse_models(arguments.models);
  require<std::int64_t>("--grid", arguments.grid, 16, 16384);
  require<std::int64_t>("--density-points", arguments.density_points, 100, kLargestSize);
  require<std::int64_t>("--curve-to", arguments.curve_to, 0, kLargestSize);
  require("--epochs", arguments.epochs, 1, 10'000'000);
  require("--width", arguments.width, 2, kMaxWidth);
  require("--hidden-layers", arguments.hidden_layers, 1, kMaxHiddenLayers);
  require("--noise", arguments.noise, 0.0, 0.5);
  require("--noise-panel", arguments.noise_panel, 0.0, 0.5);
  for (Model& model : options.models) {
    model.shape.width = arguments.width;
    model.shape.hidden_layers = arguments.hidden_layers;
    model.precision = parse_precision(arguments.precision);
    if (model.neighbours > options.sizes.front()) {
      throw Failure(kMisuse, fmt::format("{} needs {} points or more, and --sizes asks for {}", model.name,
                                         model.neighbours, options.sizes.front()));
    }
  }
  options.grid = arguments.grid;
  options.epochs = arguments.epochs;
  options.same_epochs = arguments.same_epochs;
  options.precision = arguments.precision;
  options.noise = arguments.noise;
  options.density_points = arguments.density_points;
  options.curve_to = arguments.curve_to;
  options.noise_panel = arguments.noise_panel;
  options.seed = seed;
  if (seed >= kTestDraws) throw Failure(kMisuse, "--seed: must be below 2^63");
  return options;
}

Outcome run(const Arguments& arguments, Session& session) {
  const CompareOptions options = checked(arguments, session.common.seed);
  const fs::path out = arguments.out;
  make_output_folder(out / "figures");
  // A result of an earlier run must not stand beside figures of this one.
  std::error_code ignored;
  fs::remove(out / "results.json", ignored);

  Comparison comparison = measure(options, session);
  StageClock clock(comparison);
  nlohmann::json document = to_json(comparison);
  document["environment"] = environment(session);
  clock.charge("findings");
  const std::vector<Figure> figures = draw_figures(comparison, out / "figures", session);
  clock.charge("pictures");
  auto& list = document["figures"] = nlohmann::json::array();
  for (const Figure& figure : figures) {
    list.push_back({{"file", "figures/" + figure.file.filename().string()},
                    {"model", figure.model},
                    {"n", figure.n},
                    {"seed", options.seeds[0]}});
  }
  session.progress.update("report", 0, 1);
  write_page(out, comparison_page(comparison, document, figures));
  clock.charge("report");
  auto& stages = document["stages"] = nlohmann::json::array();
  for (const auto& [stage, seconds] : comparison.stages) stages.push_back({{"stage", stage}, {"seconds", seconds}});
  write_file(out / "results.json", document.dump(1) + "\n");
  session.progress.clear();

  Outcome outcome;
  outcome.text = to_text(comparison) + "\nSeconds:";
  for (const auto& [stage, seconds] : comparison.stages) {
    outcome.text += fmt::format("{} {} {:.2f}", &stage == &comparison.stages.front().first ? "" : ",", stage, seconds);
  }
  outcome.text += fmt::format("\n{}\n", (out / "report.html").string());
  outcome.document = std::move(document);
  return outcome;
}

}  // namespace

Command add_compare(CLI::App& program) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand(
      "compare", "The spiral, 1k against 10k: every model on the same data, errors, pictures and a report");
  app->add_option("--sizes", arguments->sizes, "training points, separated by commas")->capture_default_str();
  app->add_option("--seeds", arguments->seeds,
                  "seeds of data sets and network starts: 0..4, or 0,3,7; all models of a seed share its data")
      ->capture_default_str();
  app->add_option("--models", arguments->models,
                  "knn-K; mlp-xy, mlp-polar, mlp-polar-raw, mlp-polar-trig, each with any of +extras, +focal, "
                  "+layer-norm, +weight-decay, +sgd")
      ->capture_default_str();
  app->add_option("--grid", arguments->grid, "cells along each side of the grid that errors are counted on")
      ->capture_default_str();
  app->add_option("--epochs", arguments->epochs,
                  "epochs at N = 1000; at other N as many as see the same number of samples")
      ->capture_default_str();
  app->add_flag("--same-epochs", arguments->same_epochs, "take --epochs at every N as it is");
  app->add_option("--width", arguments->width, "units in each hidden layer, 2 .. 256")->capture_default_str();
  app->add_option("--hidden-layers", arguments->hidden_layers, "1 .. 4")->capture_default_str();
  app->add_option("--precision", arguments->precision, kPrecisionHelp)->check(precision_name())->capture_default_str();
  app->add_option("--noise", arguments->noise, "probability that a training label is turned over")
      ->capture_default_str();
  app->add_option("--density-points", arguments->density_points, "fresh draws that the density error is counted on")
      ->capture_default_str();
  app->add_option("--curve-to", arguments->curve_to, "largest N of the kNN curve behind the data equivalents; 0: none")
      ->capture_default_str();
  app->add_option("--noise-panel", arguments->noise_panel, "label noise at which the order of k is shown; 0: not shown")
      ->capture_default_str();
  app->add_option("--out", arguments->out, "folder for results.json, report.html and figures/")->capture_default_str();
  const auto needs = [arguments] {
    const CompareOptions options = checked(*arguments, 0);
    const auto maps = static_cast<double>(options.sizes.size() * options.seeds.size());
    const auto cells = maps * static_cast<double>(options.grid * options.grid);
    Needs needs{{}, "--grid"};
    for (const Model& model : options.models) {
      if (model.is_knn()) {
        needs.parts.push_back({Work::grid_knn, cells});
        continue;
      }
      const auto p = static_cast<double>(initial_parameters(model.shape, 0).size());
      needs.parts.push_back({Work::mlp_train, maps * options.epochs * 1000 * p});
      needs.parts.push_back({Work::grid_mlp, cells * p});
    }
    return needs;
  };
  return {app, [arguments](Session& session) { return run(*arguments, session); }, needs};
}

}  // namespace scalelab::host
