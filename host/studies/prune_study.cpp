// scalelab prune-study: what choosing the data is worth: every score of difficulty, kept hard or easy, at every
// fraction and size, beside a random choice of the same size, which is always drawn, and all rows.
#include "host/studies/prune_study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "host/data/source.h"
#include "host/lab/difficulty.h"
#include "host/lab/replica.h"
#include "host/lab/trial_options.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"
#include "scalelab/math.h"

namespace scalelab::host {

namespace {

// With its names, for the problem of `trial`.
RowChoice named(RowChoice choice, Trial trial) {
  choice.apply_to(trial);
  choice.name = choice_name(trial);
  choice.share = share_name(trial);
  return choice;
}

struct Planned {
  std::size_t choice;
  Trial trial;
  bool equal_steps = false;  // beside the plan proper: as many steps as on all rows, in place of as many epochs
};

std::vector<std::string> default_scores(const PruneOptions& options) {
  if (options.on("perceptron")) return {"margin"};
  std::vector<std::string> names;
  for (const ScoreKind& kind : score_kinds()) {
    const std::string name = kind.name;
    if (name == "random" || (name == "margin" && !options.on("spiral"))) continue;
    // Of two coordinates the direction alone says next to nothing.
    if (name == "kmeans-cosine" && options.on("spiral")) continue;
    names.push_back(name);
  }
  return names;
}

Trial base_trial(const PruneOptions& options, std::int64_t n, std::uint64_t world, std::uint64_t seed) {
  Trial trial;
  trial.world = world;
  trial.data = options.on("file") ? options.data : options.problem;
  trial.labels = options.labels;
  trial.n = n;
  trial.seed = seed;
  trial.noise = options.noise;
  trial.model = options.model;
  trial.width = options.width;
  trial.hidden_layers = options.layers;
  trial.precision = options.precision;
  trial.epochs =
      static_cast<int>(std::max(1.0, std::round(static_cast<double>(options.samples) / static_cast<double>(n))));
  trial.grid = options.grid;
  trial.density_points = options.density_points;
  if (options.on("perceptron")) trial.dimension = options.dimension;
  return trial;
}

std::string default_sizes(const PruneOptions& options) {
  if (options.on("spiral")) return "1000,2000,4000,8000,16000";
  std::set<std::int64_t> sizes;
  if (options.on("perceptron")) {
    for (const int part : {1, 2, 4, 8, 16}) sizes.insert(std::int64_t{part} * options.dimension);
  } else {
    const std::int64_t pool = training_rows(base_trial(options, 1, 0, 0));
    for (const int part : {16, 8, 4, 2, 1}) sizes.insert(std::max<std::int64_t>(1, pool / part));
  }
  return fmt::format("{}", fmt::join(sizes, ","));
}

// Options with what was left open filled in; Failure(kMisuse) on what does not fit.
PruneOptions checked(PruneOptions options) {
  if (!options.data.empty()) {
    if (options.on("perceptron")) throw Failure(kMisuse, "--problem perceptron and --data: give one of the two");
    options.problem = "file";
  }
  if (options.model.empty()) {
    options.model = options.on("spiral") ? "mlp-polar" : options.on("file") ? "mlp-xy" : "perceptron";
  }
  if (options.scores.empty()) options.scores = default_scores(options);
  for (const std::string& score : options.scores) {
    const ScoreKind& kind = score_kind(score);
    if (score == "random") throw Failure(kMisuse, "--scores: random is always drawn; name the others");
    if (options.on("perceptron") && score != "margin") {
      throw Failure(kMisuse, fmt::format("--scores: {} is not for the perceptron, whose score is margin", score));
    }
    if (kind.clusters && options.clusters.empty()) throw Failure(kMisuse, "--clusters: is empty");
  }
  const std::set<double> fractions(options.fractions.begin(), options.fractions.end());
  if (fractions.size() != options.fractions.size()) throw Failure(kMisuse, "--fractions: one is there twice");
  options.fractions.assign(fractions.begin(), fractions.end());
  return options;
}

// The class floors of a score. One that needs no labels is kept without looking at any, where nothing else is asked for.
std::vector<double> floors_of(const PruneOptions& options, const std::string& score, const std::string& features) {
  if (!options.class_floors.empty()) return options.class_floors;
  return {score_kind(score).clusters && !needs_labels(score, features) ? 0 : kClassFloor};
}

// The ways to keep rows by one score, at every fraction.
void add_choices(const PruneOptions& options, const std::string& score, std::vector<RowChoice>& list) {
  const ScoreKind& kind = score_kind(score);
  for (const std::string& keep : options.keeps) {
    for (const std::string& features : kind.features ? options.features : std::vector<std::string>{"input"}) {
      for (const int k : kind.clusters ? options.clusters : std::vector<int>{0}) {
        for (const double angle : options.on("perceptron") ? options.angles : std::vector<double>{0}) {
          for (const double floor : floors_of(options, score, features)) {
            for (const double fraction : options.fractions) {
              list.push_back({.keep = keep,
                              .score = score,
                              .features = features,
                              .clusters = k,
                              .angle = angle,
                              .floor = floor,
                              .fraction = fraction});
            }
          }
        }
      }
    }
  }
}

std::vector<RowChoice> choices_of(const PruneOptions& options) {
  std::vector<RowChoice> list = {{.keep = "all"}};
  for (const double fraction : options.fractions) list.push_back({.keep = "random", .fraction = fraction});
  for (const std::string& score : options.scores) add_choices(options, score, list);
  if (options.rule) {
    list.push_back({.keep = "random", .fraction = kByRule});
    list.push_back({.keep = "hard", .score = "boundary", .fraction = kByRule});
  }
  for (RowChoice& choice : list) choice = named(std::move(choice), base_trial(options, 1, 0, 0));
  return list;
}

// The share of rows that one of their 8 nearest contradicts.
double rule_share(const PruneOptions& options, std::int64_t n, std::uint64_t world, std::uint64_t seed,
                  Session& session) {
  Trial trial = base_trial(options, n, world, seed);
  trial.keep = "hard";
  trial.score = "boundary";
  const std::vector<float> score = difficulty(trial, load_data(trial).train, session);
  const auto kept = std::count_if(score.begin(), score.end(), [](float value) { return value > 0; });
  return static_cast<double>(std::max<std::ptrdiff_t>(1, kept)) / static_cast<double>(n);
}

std::vector<Planned> plan_of(const ChoiceTable& table, Session& session) {
  std::vector<Planned> plan;
  const auto add = [&](std::int64_t n, std::uint64_t world, std::uint64_t seed) {
    const double rule = table.options.rule ? rule_share(table.options, n, world, seed, session) : 1;
    for (std::size_t c = 0; c < table.choices.size(); ++c) {
      const RowChoice& choice = table.choices[c];
      if (choice.clusters > n) continue;
      Trial trial = base_trial(table.options, n, world, seed);
      choice.apply_to(trial);
      if (choice.ruled()) trial.fraction = rule;
      plan.push_back({c, resolved(trial)});
      const bool other = trial.is_network() && !choice.all() && n == table.sizes.back();
      if (!other || table.options.no_equal_steps) continue;
      // All rows' steps, of the rows kept.
      trial.epochs = static_cast<int>(std::max(1.0, std::round(trial.epochs / trial.fraction)));
      plan.push_back({c, resolved(trial), true});
    }
  };
  for (const std::int64_t n : table.sizes) {
    for (const std::uint64_t world : table.worlds) {
      for (const std::uint64_t seed : table.seeds) add(n, world, seed);
    }
  }
  return plan;
}

std::optional<double> theory_of(const ChoiceTable& table, const RowChoice& choice, std::int64_t n) {
  if (!table.options.on("perceptron")) return std::nullopt;
  Perceptron problem;
  problem.alpha_total = static_cast<double>(n) / table.options.dimension;
  problem.fraction = choice.fraction;
  problem.keep = choice.keep == "hard" ? Keep::hard : choice.keep == "easy" ? Keep::easy : Keep::random;
  if (problem.keep == Keep::random) {  // fewer rows, none chosen
    problem.alpha_total *= choice.fraction;
    problem.fraction = 1;
  }
  problem.probe_angle = choice.angle * kPi / 180;
  return solve_replica(problem).error;
}

// Fills the table's cells, and gives every row of the plan that is done: one that a rule chose is told by kByRule, for
// its fraction differs from seed to seed.
// What was trained for equal steps is kept apart, in `other`.
std::vector<SweepRow> collect(ChoiceTable& table, const std::vector<Planned>& plan, const SweepResult& result,
                              nlohmann::json& other) {
  std::map<std::string, const SweepRow*> by_id;
  for (const SweepRow& row : result.rows) by_id[trial_id(row.trial)] = &row;
  std::vector<SweepRow> rows;
  for (const Planned& planned : plan) {
    const auto found = by_id.find(trial_id(planned.trial));
    if (found == by_id.end()) continue;
    const RowChoice& choice = table.choices[planned.choice];
    if (planned.equal_steps) {
      ChoiceCell& cell = table.equal_steps[planned.choice];
      cell.kept.add(*found->second, "kept");
      for (const std::string& measure : table.measures) cell.errors[measure].add(*found->second, measure);
      nlohmann::json entry = {{"choice", choice.titled()}, {"params", to_json(found->second->trial)}};
      for (const auto& [name, value] : found->second->measurement.values) entry[name] = number(value);
      other.push_back(std::move(entry));
      continue;
    }
    SweepRow& row = rows.emplace_back(*found->second);
    if (choice.ruled()) row.trial.fraction = kByRule;
    ChoiceCell& cell = table.cells[{planned.choice, row.trial.n}];
    cell.kept.add(row, "kept");
    for (const std::string& measure : table.measures) cell.errors[measure].add(row, measure);
    for (const auto& [name, seen] : {std::pair{"least_class", &cell.least_class},
                                     std::pair{"most_class", &cell.most_class}, std::pair{"purity", &cell.purity}}) {
      if (row.measurement.values.contains(name)) seen->add(row, name);
    }
    if (!cell.theory) cell.theory = theory_of(table, choice, row.trial.n);
  }
  return rows;
}

Outcome run(const PruneOptions& given, Session& session) {
  ChoiceTable table{.options = checked(given)};
  const PruneOptions& options = table.options;
  table.worlds = parse_seeds(options.worlds, "--worlds");
  table.seeds = parse_seeds(options.seeds);
  table.sizes = parse_sizes(options.sizes.empty() ? default_sizes(options) : options.sizes);
  table.measures = options.on("spiral") ? std::vector<std::string>{"grid_error", "density_error"}
                                        : std::vector<std::string>{"test_error"};
  table.choices = choices_of(options);

  // Choices may ask for one trial twice (a rule that keeps just a fraction that is asked for): it runs once.
  const std::vector<Planned> plan = plan_of(table, session);
  std::vector<Trial> trials;
  std::set<std::string> ids;
  for (const Planned& planned : plan) {
    if (ids.insert(trial_id(planned.trial)).second) trials.push_back(planned.trial);
  }
  Study study{.command = "prune-study", .experiment = "prune-study", .title = "What choosing the data is worth"};
  study.result = run_sweep(trials, options.sweep, session);
  if (options.sweep.dry_run) return {planned_document(study, session), "", kDone};
  study.more["equal_steps_rows"] = nlohmann::json::array();
  study.result.rows = collect(table, plan, study.result, study.more["equal_steps_rows"]);
  table.judge_choices();
  study.result.planned = std::count_if(plan.begin(), plan.end(), [](const Planned& p) { return !p.equal_steps; });

  const std::uint64_t seed = session.common.seed;
  study.findings = prune_findings(table, seed, study.more);
  study.first = "control-" + short_measure(table.measures.front());
  const Curves curves = curves_of(study.result.rows, seed);
  std::string text = choices_text(table);
  return finish_study(std::move(study), curves, options.sweep, std::move(text), session);
}

}  // namespace

Command add_prune_study(CLI::App& program) {
  auto options = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand(
      "prune-study",
      "What choosing the data is worth: every score of difficulty beside a random choice of the same size");
  app->add_option("--problem", options->problem, "spiral, or perceptron: Gaussian inputs and a max-margin student")
      ->check(CLI::IsMember({"spiral", "perceptron"}));
  add_data(*app, options->data, options->labels);
  add_model(*app, options->model);
  add_sizes(*app, options->sizes);
  add_fractions(*app, options->fractions);
  add_scores(*app, options->scores);
  add_keeps(*app, options->keeps, {"hard", "easy"});
  add_clusters(*app, options->clusters);
  add_list(*app, "--features", options->features, {"input", "hidden"},
           "What scores see: input, hidden (a network's last hidden layer)")
      ->group("Difficulty");
  add_list(*app, "--class-floors", options->class_floors, 0.0, 1.0,
           "Shares of an equal part that hard and easy choices keep of each class at least; left out: 0 (no labels are "
           "looked at) for scores that need none, else 0.5")
      ->group("Difficulty");
  app->add_flag("--boundary-rule", options->rule,
                "Also keep exactly the rows that one of their 8 nearest contradicts, and as many at random")
      ->group("Difficulty");
  add_worlds(*app, options->worlds);
  add_seeds(*app, options->seeds);
  app->add_option("--samples", options->samples,
                  "Samples that a network sees of all n rows; kept rows are seen for as many epochs")
      ->check(whole_number(1, 1000000000000))
      ->group("Model and training");
  app->add_flag("--no-equal-steps", options->no_equal_steps,
                "Leave out the largest size's second training, with as many steps for kept rows as for all")
      ->group("Model and training");
  add_width(*app, options->width);
  add_hidden_layers(*app, options->layers);
  add_precision(*app, options->precision);
  add_noise(*app, options->noise);
  add_list(*app, "--angles", options->angles, 0.0, 89.0, "Degrees between the probe that scores and the teacher")
      ->group("Perceptron");
  add_dimension(*app, options->dimension)->group("Perceptron");
  add_grid(*app, options->grid);
  add_density_points(*app, options->density_points);
  add_sweep_options(*app, options->sweep);
  add_notes(*app, {"scalelab prune-study --scores margin,kmeans --clusters 100 --seeds 0..4 --out study"},
            {kModelsHelp, kScoresHelp, kFormatsHelp});
  return {.app = app, .run = [options](Session& session) { return run(*options, session); }, .deals = true};
}

}  // namespace scalelab::host
