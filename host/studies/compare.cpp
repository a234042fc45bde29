#include "host/studies/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "host/data/npy.h"
#include "host/lab/trial_options.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/compare_figures.h"
#include "host/studies/compare_findings.h"
#include "host/studies/compare_page.h"
#include "host/studies/study.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

Model knn_model(int k) { return parse_model(fmt::format("knn-{}", k)); }

// A seed's first start in the first world.
Draw home_draw(const CompareOptions& options, std::uint64_t seed) {
  return {.world = options.worlds[0], .seed = seed, .start = 0};
}
// Whether a trial is trained as its size asks for, and not for the second time.
bool first_budget(const CompareOptions& options, const Trial& trial) {
  return !trial.is_network() || trial.epochs == options.epochs_at(trial.n);
}

// Whether a trial's network is one of those that are drawn.
bool is_drawn(const CompareOptions& options, const Trial& trial) {
  return draw_of(trial) == home_draw(options, options.seeds[0]) && first_budget(options, trial);
}

// Whether it is one of two starts on the same points, which are held against each other.
bool is_twin(const CompareOptions& options, const Trial& trial) {
  return trial.is_network() && trial.world == options.worlds[0] && trial.n == options.sizes.front() &&
         options.starts > 1 && trial.start < 2;
}

std::vector<SweepRow> home_rows(const std::vector<SweepRow>& rows, const CompareOptions& options) {
  std::vector<SweepRow> home;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(home), [&](const SweepRow& row) {
    return row.trial.world == options.worlds.at(0) && first_budget(options, row.trial);
  });
  return home;
}

fs::path parameters_file(const fs::path& out, const Trial& trial) {
  return out / "networks" / (trial_id(trial) + ".npy");
}

void keep_parameters(const fs::path& out, const Trial& trial, const Measurement& measurement) {
  if (measurement.parameters.empty()) return;
  make_output_folder(out / "networks");
  NpyWriter<float> file(parameters_file(out, trial), {std::ssize(measurement.parameters)});
  file.write(measurement.parameters);
  file.commit();
}

// As they are: those of a network that diverged may be NaN.
std::vector<float> parameters_in(const fs::path& file) {
  const NpyMatrix matrix(file);
  const auto values = matrix.mapped();
  return {values.begin(), values.end()};
}

// The networks of the first seed: from their files, or trained once more where a file is missing.
void load_networks(Comparison& comparison, const fs::path& out, Session& session) {
  const CompareOptions& options = comparison.options;
  std::vector<Trial> missing;
  const auto load = [&](const Trial& trial) {
    comparison.networks[{trial.model, trial.n}] = parameters_in(parameters_file(out, trial));
  };
  for (const std::int64_t n : options.sizes) {
    for (const Model& model : options.models) {
      const Measurement* measured = comparison.measurement(model.name, n, options.seeds[0]);
      if (model.is_knn() || measured == nullptr || measured->failed()) continue;
      const Trial trial = trial_of(options, model, n, home_draw(options, options.seeds[0]), options.noise);
      if (fs::exists(parameters_file(out, trial))) {
        load(trial);
      } else {
        missing.push_back(trial);
      }
    }
  }
  if (missing.empty()) return;
  evaluate(missing, session, [&](std::size_t i, const Measurement& measurement) {
    if (measurement.failed()) throw Failure(kFault, measurement.status);
    keep_parameters(out, missing[i], measurement);
    load(missing[i]);
  });
}

// Comparison::disagreement, of the networks in `out`.
std::map<std::string, std::map<std::uint64_t, double>> disagreement_of(const CompareOptions& options,
                                                                       const fs::path& out, Session& session) {
  std::map<std::string, std::map<std::uint64_t, double>> shares;
  Context& context = session.context;
  const Grid grid{.size = std::min<std::int64_t>(options.grid, 512)};
  Buffer<std::uint8_t> maps[] = {{context, {1, grid.size, grid.size}}, {context, {1, grid.size, grid.size}}};
  for (const Model& model : options.models) {
    for (const std::uint64_t seed : options.seeds) {
      Draw draw = home_draw(options, seed);
      int found = 0;
      for (auto& map : maps) {
        const auto file = parameters_file(out, trial_of(options, model, options.sizes.front(), draw, options.noise));
        ++draw.start;
        if (!is_plain(model) || options.starts < 2 || !fs::exists(file)) continue;
        const std::vector<float> network = parameters_in(file);
        context.backend().grid_mlp_labels(model.shape, Buffer<float>(context, network, {1, std::ssize(network)}), grid,
                                          0, map, context);
        ++found;
      }
      if (found < 2) continue;
      Buffer<std::int64_t> counts(context, std::vector<std::int64_t>(4), {2, 2});
      context.backend().label_confusion(maps[0], maps[1], counts, context);
      const auto c = counts.to_host();
      shares[model.name][seed] = static_cast<double>(c[1] + c[2]) / static_cast<double>(maps[0].size());
    }
  }
  return shares;
}

nlohmann::json disagreement_json(const Comparison& comparison) {
  auto list = nlohmann::json::array();
  for (const auto& [model, by_seed] : comparison.disagreement) {
    std::vector<double> shares;
    auto seeds = nlohmann::json::array();
    for (const auto& [seed, share] : by_seed) {
      seeds.push_back({{"seed", seed}, {"share", share}});
      shares.push_back(share);
    }
    nlohmann::json entry = to_json(summarize_fractions(shares));
    entry.update({{"model", model}, {"n", comparison.options.sizes.front()}, {"seeds", seeds}});
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

int CompareOptions::epochs_at(std::int64_t n) const {
  if (same_epochs) return epochs;
  return std::max(1, static_cast<int>(std::llround(static_cast<double>(epochs) * 1000.0 / static_cast<double>(n))));
}

int CompareOptions::other_epochs() const {
  const auto small = static_cast<double>(sizes.front()), large = static_cast<double>(sizes.back());
  const int found =
      same_epochs ? std::max(1, static_cast<int>(std::llround(epochs * small / large))) : epochs_at(sizes.front());
  return found == epochs_at(sizes.back()) ? 0 : found;
}

std::vector<std::int64_t> CompareOptions::curve_sizes() const {
  if (curve_to <= 0) return {};
  std::set<std::int64_t> all(sizes.begin(), sizes.end());
  for (std::int64_t n = 250; n <= curve_to; n *= 2) all.insert(n);
  return {all.begin(), all.end()};
}

std::vector<std::int64_t> CompareOptions::world_sizes() const {
  std::vector<std::int64_t> list = curve_sizes();
  std::erase_if(list, [&](std::int64_t n) { return n < sizes.front() || n > 64 * sizes.front(); });
  return list;
}

std::vector<std::string> CompareOptions::network_names() const {
  std::vector<std::string> names;
  for (const Model& model : models) {
    if (!model.is_knn()) names.push_back(model.name);
  }
  return names;
}

int CompareOptions::network_seeds(std::int64_t n) const {
  const int all = static_cast<int>(seeds.size());
  return n == sizes.front() || large_seeds == 0 ? all : std::min(all, large_seeds);
}

bool is_encoded_knn(const Model& model) { return model.is_knn() && model.shape.encoding != Encoding::none; }

std::string on_coordinates(const std::string& model) {
  if (model.starts_with("knn-")) return model.substr(0, model.find('@'));
  const std::size_t extras = model.find('+');
  return "mlp-xy" + (extras == std::string::npos ? "" : model.substr(extras));
}

bool is_plain(const Model& model) { return !model.is_knn() && model.name.find('+') == std::string::npos; }

Trial trial_of(const CompareOptions& options, const Model& model, std::int64_t n, const Draw& draw, double noise) {
  Trial trial;
  trial.n = n;
  trial.world = draw.world;
  trial.seed = draw.seed;
  trial.start = draw.start;
  trial.noise = noise;
  trial.model = model.name;
  trial.width = model.shape.width;
  trial.hidden_layers = model.shape.hidden_layers;
  trial.epochs = options.epochs_at(n);
  trial.precision = kPrecisions[static_cast<std::size_t>(model.precision)];
  trial.grid = options.grid;
  trial.density_points = options.density_points;
  trial.test_seed = options.seed;
  return resolved(std::move(trial));
}

namespace {

// The trials of a comparison, each once, in the order in which they are added.
class Plan {
 public:
  explicit Plan(const CompareOptions& options) : options_(options) {}

  void add(Trial trial) {
    if (ids_.insert(trial_id(trial)).second) trials_.push_back(std::move(trial));
  }
  void add(const Model& model, std::int64_t n, const Draw& draw, double noise) {
    if (model.neighbours > n) return;  // of the curve and the panel: there are not so many neighbours
    add(trial_of(options_, model, n, draw, noise));
  }
  // In the first world, of every seed that the model has at n.
  void add_seeds(const Model& model, std::int64_t n, double noise) {
    const std::size_t seeds =
        model.is_knn() ? options_.seeds.size() : static_cast<std::size_t>(options_.network_seeds(n));
    for (std::size_t s = 0; s < seeds; ++s) add(model, n, home_draw(options_, options_.seeds[s]), noise);
  }
  std::vector<Trial> take() { return std::move(trials_); }

 private:
  const CompareOptions& options_;
  std::vector<Trial> trials_;
  std::set<std::string> ids_;
};

// Of a plain network: its further starts at the smallest size, and on (x, y) its second training at the largest.
void add_more_training(const CompareOptions& options, const Model& model, Plan& plan) {
  for (std::size_t s = 0; s < options.seeds.size(); ++s) {
    Draw draw = home_draw(options, options.seeds[s]);
    for (int start = 1; start < options.starts; ++start) {
      draw.start = static_cast<std::uint64_t>(start);
      plan.add(model, options.sizes.front(), draw, options.noise);
    }
    if (model.shape.encoding != Encoding::none || options.other_epochs() == 0) continue;
    if (static_cast<int>(s) >= options.budget_seeds) continue;
    Trial trial = trial_of(options, model, options.sizes.back(), home_draw(options, options.seeds[s]), options.noise);
    trial.epochs = options.other_epochs();
    plan.add(std::move(trial));
  }
}

// In another world: what the main questions need of the model. Kept apart where they cannot be asked: of kNN and
// networks at two sizes; of kNN on an encoding with the curve of the same k.
void add_in_world(const CompareOptions& options, const Model& model, std::uint64_t world, Plan& plan) {
  const Draw draw{.world = world, .seed = options.seeds[0]};
  const std::string knn = main_knn(options);
  const bool against_networks = !knn.empty() && !options.network_names().empty() && options.sizes.size() > 1;
  if (is_plain(model) && against_networks) plan.add(model, options.sizes.front(), draw, options.noise);
  if (model.name == knn && against_networks) plan.add(model, options.sizes.back(), draw, options.noise);
  if (!is_encoded_knn(model)) return;
  plan.add(model, options.sizes.front(), draw, options.noise);
  for (const std::int64_t n : options.world_sizes()) plan.add(knn_model(model.neighbours), n, draw, options.noise);
}

}  // namespace

std::vector<Trial> trials_of(const CompareOptions& options) {
  Plan plan(options);
  for (const std::int64_t n : options.sizes) {
    for (const Model& model : options.models) plan.add_seeds(model, n, options.noise);
  }
  for (const std::int64_t n : options.curve_sizes()) {
    for (const int k : kCurveNeighbours) plan.add_seeds(knn_model(k), n, options.noise);
  }
  for (const std::int64_t n : options.sizes) {
    for (const double noise : {0.0, options.noise_panel}) {
      for (const int k : kPanelNeighbours) {
        if (options.noise_panel > 0) plan.add_seeds(knn_model(k), n, noise);
      }
    }
  }
  for (const Model& model : options.models) {
    if (is_plain(model)) add_more_training(options, model, plan);
    for (std::size_t w = 1; w < options.worlds.size(); ++w) add_in_world(options, model, options.worlds[w], plan);
  }
  return plan.take();
}

std::string main_knn(const CompareOptions& options) {
  std::string knn;
  for (const Model& model : options.models) {
    if (!model.is_knn() || is_encoded_knn(model)) continue;
    if (knn.empty() || model.name == "knn-5") knn = model.name;
  }
  return knn;
}

SeedErrors Comparison::errors(const std::string& model, std::int64_t n, const std::string& measure) const {
  return errors(model, n, measure, options.noise);
}

SeedErrors Comparison::errors(const std::string& model, std::int64_t n, const std::string& measure,
                              double noise) const {
  return seed_errors(sweep.rows, measure, [&](const Trial& trial) {
    return trial.world == options.worlds[0] && trial.n == n && trial.noise == noise && trial.model == model &&
           first_budget(options, trial);
  });
}

SeedErrors Comparison::errors_over_worlds(const std::string& model, std::int64_t n, const std::string& measure) const {
  return seed_errors(sweep.rows, measure, [&](const Trial& trial) {
    return trial.n == n && trial.noise == options.noise && trial.model == model && first_budget(options, trial);
  });
}

SeedErrors Comparison::other_budget(const std::string& model, const std::string& measure) const {
  return seed_errors(sweep.rows, measure, [&](const Trial& trial) {
    return trial.world == options.worlds[0] && trial.n == options.sizes.back() && trial.noise == options.noise &&
           trial.model == model && trial.epochs == options.other_epochs();
  });
}

const Measurement* Comparison::measurement(const std::string& model, std::int64_t n, std::uint64_t seed) const {
  const auto found = std::find_if(sweep.rows.begin(), sweep.rows.end(), [&](const SweepRow& row) {
    return row.trial.n == n && draw_of(row.trial) == home_draw(options, seed) && row.trial.noise == options.noise &&
           row.trial.model == model && first_budget(options, row.trial);
  });
  return found == sweep.rows.end() ? nullptr : &found->measurement;
}

Comparison measure(const CompareOptions& options, const SweepOptions& store, Session& session) {
  Comparison comparison{.options = options};
  comparison.sweep =
      run_sweep(trials_of(options), store, session, [&](const Trial& trial, const Measurement& measurement) {
        if (is_drawn(options, trial) || is_twin(options, trial)) keep_parameters(store.out, trial, measurement);
      });
  if (store.dry_run) return comparison;
  comparison.curves = curves_of(home_rows(comparison.sweep.rows, options), options.seed);
  if (comparison.sweep.complete()) {
    load_networks(comparison, store.out, session);
    comparison.disagreement = disagreement_of(options, store.out, session);
  }
  return comparison;
}

Comparison comparison_from(const nlohmann::json& document, const fs::path& folder) {
  Comparison comparison;
  CompareOptions& options = comparison.options;
  const nlohmann::json& given = document.at("options");
  options.sizes = given.at("sizes").get<std::vector<std::int64_t>>();
  options.seeds = given.at("seeds").get<std::vector<std::uint64_t>>();
  options.worlds = given.value("worlds", options.worlds);  // results of earlier versions have one world and start
  options.starts = given.value("starts", options.starts);
  options.large_seeds = given.value("large_seeds", options.large_seeds);
  options.budget_seeds = given.value("budget_seeds", options.budget_seeds);
  options.grid = given.at("grid");
  options.epochs = given.at("epochs");
  options.same_epochs = given.at("same_epochs");
  options.noise = given.at("noise");
  options.density_points = given.at("density_points");
  options.curve_to = given.at("curve_to");
  options.noise_panel = given.at("noise_panel");
  options.seed = given.at("seed");
  for (const auto& name : given.at("models")) {
    Model model = parse_model(name.get<std::string>());
    model.shape.width = given.at("width");
    model.shape.hidden_layers = given.at("hidden_layers");
    model.precision = parse_precision(given.at("precision").get<std::string>());
    options.models.push_back(std::move(model));
  }
  comparison.sweep.rows = rows_from(document);
  comparison.sweep.planned = document.at("planned");
  comparison.sweep.failed = document.at("failed");
  comparison.curves = curves_of(home_rows(comparison.sweep.rows, options), options.seed);
  for (const auto& entry : document.value("disagreement", nlohmann::json::array())) {
    auto& by_seed = comparison.disagreement[entry.at("model").get<std::string>()];
    for (const auto& one : entry.at("seeds")) by_seed[one.at("seed").get<std::uint64_t>()] = one.at("share");
  }
  for (const SweepRow& row : comparison.sweep.rows) {
    if (!is_drawn(options, row.trial) || !fs::exists(parameters_file(folder, row.trial))) continue;
    comparison.networks[{row.trial.model, row.trial.n}] = parameters_in(parameters_file(folder, row.trial));
  }
  return comparison;
}

std::string compare_command(const CompareOptions& options) {
  std::vector<std::string> names;
  for (const Model& model : options.models) names.push_back(model.name);
  std::string command = fmt::format(
      "scalelab compare --sizes {} --seeds {} --worlds {} --starts {} --large-seeds {} --budget-seeds {} --models {} "
      "--grid {} --epochs {}",
      fmt::join(options.sizes, ","), fmt::join(options.seeds, ","), fmt::join(options.worlds, ","), options.starts,
      options.large_seeds, options.budget_seeds, fmt::join(names, ","), options.grid, options.epochs);
  if (options.same_epochs) command += " --same-epochs";
  if (!options.models.empty()) {
    const Model& model = options.models.back();
    command += fmt::format(" --width {} --hidden-layers {}", model.shape.width, model.shape.hidden_layers);
    if (model.precision != Precision::fp32) {
      command += fmt::format(" --precision {}", kPrecisions[static_cast<std::size_t>(model.precision)]);
    }
  }
  return command + fmt::format(" --noise {} --density-points {} --curve-to {} --noise-panel {} --seed {}",
                               options.noise, options.density_points, options.curve_to, options.noise_panel,
                               options.seed);
}

namespace {

// Where the variance of the main question's errors comes from, over all worlds.
nlohmann::json sources_json(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  nlohmann::json list = nlohmann::json::array();
  for (const Model& model : options.models) {
    const bool large = model.is_knn() && !is_encoded_knn(model);
    const std::int64_t n = large ? options.sizes.back() : options.sizes.front();
    for (const char* measure : {"grid_error", "density_error"}) {
      const SeedErrors errors = comparison.errors_over_worlds(model.name, n, measure);
      if (errors.empty()) continue;
      const bool drawn = measure == std::string("density_error");
      const VarianceSources variance = variance_sources(errors, drawn ? options.density_points : 0);
      list.push_back({{"model", model.name},
                      {"n", n},
                      {"measure", measure},
                      {"world", number(variance.world)},
                      {"data", number(variance.data)},
                      {"start", number(variance.start)},
                      {"test", number(variance.test)}});
    }
  }
  return list;
}

// What a comparison's result has beside those of all studies (study.h): the choices, the points that a model is worth,
// the sources of variance, and how far two starts on the same points disagree.
nlohmann::json own_members(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  nlohmann::json epochs = nlohmann::json::object();
  for (const std::int64_t n : options.sizes) epochs[std::to_string(n)] = options.epochs_at(n);
  std::vector<std::string> names;
  for (const Model& model : options.models) names.push_back(model.name);
  const Model model = options.models.empty() ? Model{} : options.models.back();
  std::vector<Equivalent> all_equivalents = equivalents(comparison);
  for (Equivalent& e : equivalents_over_worlds(comparison)) all_equivalents.push_back(std::move(e));
  return {{"command", compare_command(options)},
          {"equivalents", to_json(all_equivalents)},
          {"variance", sources_json(comparison)},
          {"disagreement", disagreement_json(comparison)},
          {"options",
           {{"sizes", options.sizes},
            {"seeds", options.seeds},
            {"worlds", options.worlds},
            {"starts", options.starts},
            {"large_seeds", options.large_seeds},
            {"budget_seeds", options.budget_seeds},
            {"models", names},
            {"grid", options.grid},
            {"epochs", options.epochs},
            {"same_epochs", options.same_epochs},
            {"epochs_at", epochs},
            {"width", model.shape.width},
            {"hidden_layers", model.shape.hidden_layers},
            {"precision", kPrecisions[static_cast<std::size_t>(model.precision)]},
            {"noise", options.noise},
            {"density_points", options.density_points},
            {"curve_to", options.curve_to},
            {"noise_panel", options.noise_panel},
            {"seed", options.seed}}}};
}

}  // namespace

std::string table_caption(const CompareOptions& options) {
  const int all = static_cast<int>(options.seeds.size()), large = options.network_seeds(options.sizes.back());
  return fmt::format("the mean over {}{} with its 95 % interval", counted(all, "seed"),
                     large == all || options.network_names().empty() ? ""
                     : options.sizes.size() > 2
                         ? fmt::format(" (of networks beyond n = {}: {})", grouped(options.sizes.front()), large)
                         : fmt::format(" (of networks at n = {}: {})", grouped(options.sizes.back()), large));
}

std::string error_table(const Comparison& comparison) {
  const CompareOptions& options = comparison.options;
  std::vector<std::vector<std::string>> table = {{"model"}};
  for (const std::int64_t n : options.sizes) {
    table[0].push_back(fmt::format("grid, n = {}", grouped(n)));
    table[0].push_back("density");
  }
  for (const Model& model : options.models) {
    auto& line = table.emplace_back(std::vector<std::string>{model.name});
    for (const std::int64_t n : options.sizes) {
      for (const char* measure : {"grid_error", "density_error"}) {
        line.push_back(comparison.errors(model.name, n, measure).worded());
      }
    }
  }
  return fmt::format("Errors in %: {}\n{}\n", table_caption(options), aligned(table));
}

namespace {

// What the command was given.
struct Arguments {
  std::string sizes = "1000,10000", seeds = "0..19", worlds = "0..19", precision = "fp32";
  std::vector<std::string> models = default_models();
  std::int64_t grid = 1024, density_points = 0, curve_to = 256000;
  int epochs = 1000, width = 64, hidden_layers = 3, starts = 2, large_seeds = 10, budget_seeds = 5;
  bool same_epochs = false;
  double noise = 0, noise_panel = 0.1;
  SweepOptions store{.out = "./scalelab-compare"};
};

CompareOptions checked(const Arguments& arguments, std::uint64_t seed) {
  CompareOptions options;
  options.sizes = parse_sizes(arguments.sizes);
  options.seeds = parse_seeds(arguments.seeds);
  options.worlds = parse_seeds(arguments.worlds, "--worlds");
  options.starts = arguments.starts;
  options.large_seeds = arguments.large_seeds;
  options.budget_seeds = arguments.budget_seeds;
  options.models = parse_models(fmt::format("{}", fmt::join(arguments.models, ",")));
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
  options.noise = arguments.noise;
  options.density_points = arguments.density_points;
  options.curve_to = arguments.curve_to;
  options.noise_panel = arguments.noise_panel;
  options.seed = seed;
  if (seed >> 63 != 0) throw Failure(kMisuse, "--seed: must be below 2^63");
  return options;
}

// The pictures in out/figures, and their list for the document.
std::vector<Figure> draw(const Comparison& comparison, const fs::path& out, nlohmann::json& list, Session& session) {
  make_output_folder(out / "figures");
  std::vector<Figure> figures = draw_figures(comparison, out / "figures", session);
  for (const Figure& figure : figures) {
    list.push_back({{"file", "figures/" + figure.file.filename().string()},
                    {"model", figure.model},
                    {"n", figure.n},
                    {"seed", comparison.options.seeds[0]}});
  }
  return figures;
}

Outcome run(const Arguments& arguments, Session& session) {
  const CompareOptions options = checked(arguments, session.common.seed);
  const fs::path out = arguments.store.out;
  Stage stage(session, "compare");
  stage.part(0, 95, 100);  // pictures and report take seconds
  const Comparison comparison = measure(options, arguments.store, session);
  Study study{.command = "compare",
              .experiment = "compare",
              .title = "More data against a better model",
              .result = comparison.sweep};
  if (arguments.store.dry_run) return {planned_document(study, session), "", kDone};
  if (!comparison.curves.errors.empty()) study.findings = findings(comparison);
  study.more = own_members(comparison);
  nlohmann::json document = study_document(study, comparison.curves, session);
  const std::string text = error_table(comparison) + to_text(study.findings);
  // Pictures and page are made of the whole; of a part (--shard) there are rows alone.
  std::shared_ptr<const Page> page;
  if (comparison.sweep.complete()) {
    stage.part(95, 99, 100);
    const std::vector<Figure> figures = draw(comparison, out, document["figures"], session);
    stage.rename("report");
    stage.part(99, 100, 100);
    page = std::make_shared<const Page>(comparison_page(comparison, study.findings, document, figures));
  }
  session.progress.clear();
  return end_study(study, std::move(document), arguments.store, text, std::move(page));
}

// What --backend auto weighs: label maps of kNN and of networks, and training.
Needs needs_of(const Arguments& arguments) {
  const CompareOptions options = checked(arguments, 0);
  const auto maps = static_cast<double>(options.sizes.size() * options.seeds.size());
  const auto cells = maps * static_cast<double>(options.grid * options.grid);
  Needs needs{{}, "--grid"};
  for (const Model& model : options.models) {
    if (is_encoded_knn(model)) continue;  // few cells of many
    if (model.is_knn()) {
      needs.parts.push_back({Work::grid_knn, cells});
      continue;
    }
    const auto p = static_cast<double>(parameter_count(model.shape));
    needs.parts.push_back({Work::mlp_train, maps * options.epochs * 1000 * p});
    needs.parts.push_back({Work::grid_mlp, cells * p});
  }
  return needs;
}

}  // namespace

Command add_compare(CLI::App& program) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* app = program.add_subcommand(
      "compare", "Does more data beat a better model? Every model on the same points of a spiral, at two sizes");
  add_sizes(*app, arguments->sizes)->description("Numbers of training points");
  add_seeds(*app, arguments->seeds)
      ->description("Repetitions: each seed draws its own points, starts and shuffles, the same points for all models");
  add_worlds(*app, arguments->worlds)
      ->description(
          "Mixtures that points come from, 0 the built-in one. The first is measured whole; in the others the "
          "first seed answers the main questions: kNN on many points against networks and encodings on few");
  app->add_option("--starts", arguments->starts,
                  "Starts of each network without extras at the smallest size, on each seed's points")
      ->check(whole_number(1, 1000));
  app->add_option("--large-seeds", arguments->large_seeds,
                  "Seeds, at most, whose networks also train on the larger sizes; 0: all of them")
      ->check(whole_number(0, 10000));
  app->add_option(
         "--budget-seeds", arguments->budget_seeds,
         "Seeds whose mlp-xy is trained on the largest size a second time, with the epochs of the smallest (with "
         "--same-epochs: with its steps); 0: none")
      ->check(whole_number(0, 10000))
      ->group("Beside the comparison");
  add_noise(*app, arguments->noise);
  add_list(*app, "--models", arguments->models, {}, "knn-K, mlp-xy, mlp-polar, ..., see the end")->group("Models");
  add_width(*app, arguments->width)->group("Models");
  add_hidden_layers(*app, arguments->hidden_layers)->group("Models");
  add_epochs(*app, arguments->epochs)
      ->description("Passes over 1000 points; over n points as many as see the same number of samples")
      ->group("Models");
  app->add_flag("--same-epochs", arguments->same_epochs, "Take --epochs at every n as it is")->group("Models");
  add_precision(*app, arguments->precision)->group("Models");
  add_grid(*app, arguments->grid);
  add_density_points(*app, arguments->density_points);
  app->add_option("--curve-to", arguments->curve_to,
                  "Largest n of the kNN curve that data equivalents are read from; 0: no curve")
      ->check(whole_number(0, kMostPoints))
      ->group("Beside the comparison");
  app->add_option("--noise-panel", arguments->noise_panel,
                  "Share of flipped labels at which values of k are compared; 0: not shown")
      ->check(real_number(0, 0.5))
      ->group("Beside the comparison");
  add_sweep_options(*app, arguments->store);
  add_notes(*app, {"scalelab compare --sizes 1000,10000 --seeds 0..4 --worlds 0 --out comparison"}, {kModelsHelp});
  return {.app = app,
          .run = [arguments](Session& session) { return run(*arguments, session); },
          .needs = [arguments] { return needs_of(*arguments); },
          .deals = true};
}

}  // namespace scalelab::host
