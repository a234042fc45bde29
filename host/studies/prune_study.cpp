// scalelab prune-study: what choosing the data is worth: every score of difficulty, kept hard or easy, at every
// fraction and size, beside a random choice of as many rows, which is always drawn.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "host/data/source.h"
#include "host/evidence/finding.h"
#include "host/evidence/law.h"
#include "host/evidence/series.h"
#include "host/lab/difficulty.h"
#include "host/lab/replica.h"
#include "host/lab/sweep.h"
#include "host/lab/trial_options.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"
#include "scalelab/math.h"

namespace scalelab::host {

namespace {

struct StudyOptions {
  std::string problem = "spiral", data, labels, model, sizes, worlds = "0", seeds = "0..4", keeps = "hard,easy";
  std::vector<std::string> scores, features = {"input"};
  std::vector<double> fractions = {0.2, 0.4}, angles = {0, 20};
  std::vector<int> clusters = {10, 100, 1000};
  std::int64_t samples = 1000000, grid = 512, density_points = 0;
  int dimension = 200, width = 64, layers = 3;
  std::string precision = "fp32";
  double noise = 0;
  bool rule = false, no_equal_steps = false;
  SweepOptions sweep;

  bool on(const std::string& which) const { return problem == which; }
};

// One way to choose rows, at one fraction (kByRule: as many as the boundary rule keeps).
struct Choice {
  std::string name{}, share{};  // "kmeans(100) hard", "20 %": as in every study (series.h)
  std::string keep, score = "none", features = "input";
  int clusters = 0;
  double angle = 0;
  double fraction = 1;

  bool all() const { return keep == "all"; }
  bool random() const { return keep == "random"; }
  bool ruled() const { return fraction == kByRule; }
  std::string titled() const { return all() ? name : name + " " + share; }
  // Of a trial, what this choice decides; its fraction is kByRule where a rule decides it.
  void apply_to(Trial& trial) const {
    trial.keep = keep;
    trial.score = score;
    trial.features = features;
    trial.clusters = clusters;
    trial.probe_angle = angle;
    trial.fraction = fraction;
  }
};

// With its names, for the problem of `trial`.
Choice named(Choice choice, Trial trial) {
  choice.apply_to(trial);
  choice.name = choice_name(trial);
  choice.share = share_name(trial);
  return choice;
}

// What one choice measured at one size.
struct Cell {
  SeedErrors kept;
  std::map<std::string, SeedErrors> errors;  // by measure
  std::optional<double> theory;              // the exact error at infinite dimension, where it is known
};

struct Planned {
  std::size_t choice;
  Trial trial;
  bool equal_steps = false;  // beside the plan proper: as many steps as on all rows, in place of as many epochs
};

// The whole study before it is worded: choices by sizes.
struct Table {
  StudyOptions options;
  std::vector<std::uint64_t> worlds{}, seeds{};
  std::vector<std::int64_t> sizes{};
  std::vector<std::string> measures{};
  std::vector<Choice> choices{};
  std::map<std::pair<std::size_t, std::int64_t>, Cell> cells{};  // (choice, n)
  std::map<std::size_t, Cell> equal_steps{};                     // by choice, at the largest n

  // Null where nothing was measured.
  const Cell* cell(std::size_t choice, std::int64_t n) const {
    const auto found = cells.find({choice, n});
    return found == cells.end() || found->second.kept.empty() ? nullptr : &found->second;
  }
  std::optional<std::size_t> find(const std::string& name, double fraction) const {
    for (std::size_t c = 0; c < choices.size(); ++c) {
      if (choices[c].name == name && (choices[c].fraction == fraction || choices[c].all())) return c;
    }
    return std::nullopt;
  }
  // As many rows at random, of the same n: what a choice is held against.
  std::size_t control(std::size_t choice) const { return *find("random", choices[choice].fraction); }

  // Every choice against as many rows at random, and against all rows, at one n: judged, those of one choice and measure
  // as a family.
  using Judged = std::map<std::tuple<std::string, std::size_t, std::int64_t>, Contrast>;  // by measure, choice, n
  Judged minus_random{}, minus_all{};
  void judge_choices();

  // Of two choices at one n, paired.
  Contrast against(std::size_t a, std::size_t b, std::int64_t n, const std::string& measure) const {
    const Cell *x = cell(a, n), *y = cell(b, n);
    const SeedErrors none;
    nlohmann::json place = {{"n", n}};
    place["fraction"] = choices[a].ruled() ? nlohmann::json("rule") : nlohmann::json(choices[a].fraction);
    return contrast(choices[a].titled(), x == nullptr ? none : x->errors.at(measure), choices[b].titled(),
                    y == nullptr ? none : y->errors.at(measure), measure, std::move(place));
  }
};

nlohmann::json fraction_json(double fraction) {
  return fraction == kByRule ? nlohmann::json("rule") : nlohmann::json(fraction);
}

// --- what is run -----------------------------------------------------------------------------------------------------

std::vector<std::string> default_scores(const StudyOptions& options) {
  if (options.on("perceptron")) return {"margin"};
  std::vector<std::string> names;
  for (const ScoreKind& kind : score_kinds()) {
    const std::string name = kind.name;
    if (name == "random" || (name == "margin" && !options.on("spiral"))) continue;
    names.push_back(name);
  }
  return names;
}

Trial base_trial(const StudyOptions& options, std::int64_t n, std::uint64_t world, std::uint64_t seed) {
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

std::string default_sizes(const StudyOptions& options) {
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
StudyOptions checked(StudyOptions options) {
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
  for (const std::string& keep : split(options.keeps)) {
    if (keep != "hard" && keep != "easy") {
      throw Failure(kMisuse, fmt::format("--keep: '{}' is neither hard nor easy", keep));
    }
  }
  const std::set<double> fractions(options.fractions.begin(), options.fractions.end());
  if (fractions.size() != options.fractions.size()) throw Failure(kMisuse, "--fractions: one is there twice");
  options.fractions.assign(fractions.begin(), fractions.end());
  return options;
}

// The ways to keep rows by one score, at every fraction.
void add_choices(const StudyOptions& options, const std::string& score, std::vector<Choice>& list) {
  const ScoreKind& kind = score_kind(score);
  for (const std::string& keep : split(options.keeps)) {
    for (const std::string& features : kind.features ? options.features : std::vector<std::string>{"input"}) {
      for (const int k : kind.clusters ? options.clusters : std::vector<int>{0}) {
        for (const double angle : options.on("perceptron") ? options.angles : std::vector<double>{0}) {
          for (const double fraction : options.fractions) {
            list.push_back({.keep = keep,
                            .score = score,
                            .features = features,
                            .clusters = k,
                            .angle = angle,
                            .fraction = fraction});
          }
        }
      }
    }
  }
}

std::vector<Choice> choices_of(const StudyOptions& options) {
  std::vector<Choice> list = {{.keep = "all"}};
  for (const double fraction : options.fractions) list.push_back({.keep = "random", .fraction = fraction});
  for (const std::string& score : options.scores) add_choices(options, score, list);
  if (options.rule) {
    list.push_back({.keep = "random", .fraction = kByRule});
    list.push_back({.keep = "hard", .score = "boundary", .fraction = kByRule});
  }
  for (Choice& choice : list) choice = named(std::move(choice), base_trial(options, 1, 0, 0));
  return list;
}

// The share of rows that one of their 8 nearest contradicts.
double rule_share(const StudyOptions& options, std::int64_t n, std::uint64_t world, std::uint64_t seed,
                  Session& session) {
  Trial trial = base_trial(options, n, world, seed);
  trial.keep = "hard";
  trial.score = "boundary";
  const std::vector<float> score = difficulty(trial, load_data(trial).train, session);
  const auto kept = std::count_if(score.begin(), score.end(), [](float value) { return value > 0; });
  return static_cast<double>(std::max<std::ptrdiff_t>(1, kept)) / static_cast<double>(n);
}

std::vector<Planned> plan_of(const Table& table, Session& session) {
  std::vector<Planned> plan;
  const auto add = [&](std::int64_t n, std::uint64_t world, std::uint64_t seed) {
    const double rule = table.options.rule ? rule_share(table.options, n, world, seed, session) : 1;
    for (std::size_t c = 0; c < table.choices.size(); ++c) {
      const Choice& choice = table.choices[c];
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

std::optional<double> theory_of(const Table& table, const Choice& choice, std::int64_t n) {
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

void Table::judge_choices() {
  const auto fill = [&](Judged& judged, const std::string& measure, std::size_t choice, std::size_t other) {
    std::vector<Contrast*> family;
    for (const std::int64_t n : sizes) {
      Contrast& one = judged[{measure, choice, n}] = against(choice, other, n, measure);
      family.push_back(&one);
    }
    judge(family);
  };
  for (const std::string& measure : measures) {
    for (std::size_t c = 0; c < choices.size(); ++c) {
      if (choices[c].all()) continue;
      fill(minus_all, measure, c, 0);
      if (!choices[c].random()) fill(minus_random, measure, c, control(c));
    }
  }
}

// Fills the table's cells, and gives every row of the plan that is done: one that a rule chose is told by kByRule, for
// its fraction differs from seed to seed.
// What was trained for equal steps is kept apart, in `other`.
std::vector<SweepRow> collect(Table& table, const std::vector<Planned>& plan, const SweepResult& result,
                              nlohmann::json& other) {
  std::map<std::string, const SweepRow*> by_id;
  for (const SweepRow& row : result.rows) by_id[trial_id(row.trial)] = &row;
  std::vector<SweepRow> rows;
  for (const Planned& planned : plan) {
    const auto found = by_id.find(trial_id(planned.trial));
    if (found == by_id.end()) continue;
    const Choice& choice = table.choices[planned.choice];
    if (planned.equal_steps) {
      Cell& cell = table.equal_steps[planned.choice];
      cell.kept.add(*found->second, "kept");
      for (const std::string& measure : table.measures) cell.errors[measure].add(*found->second, measure);
      nlohmann::json entry = {{"choice", choice.titled()}, {"params", to_json(found->second->trial)}};
      for (const auto& [name, value] : found->second->measurement.values) entry[name] = number(value);
      other.push_back(std::move(entry));
      continue;
    }
    SweepRow& row = rows.emplace_back(*found->second);
    if (choice.ruled()) row.trial.fraction = kByRule;
    Cell& cell = table.cells[{planned.choice, row.trial.n}];
    cell.kept.add(row, "kept");
    for (const std::string& measure : table.measures) cell.errors[measure].add(row, measure);
    if (!cell.theory) cell.theory = theory_of(table, choice, row.trial.n);
  }
  return rows;
}

// --- what is said ----------------------------------------------------------------------------------------------------

nlohmann::json choices_json(const Table& table) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::int64_t n : table.sizes) {
    for (std::size_t c = 0; c < table.choices.size(); ++c) {
      const Cell* cell = table.cell(c, n);
      if (cell == nullptr) continue;
      const Choice& choice = table.choices[c];
      nlohmann::json entry = {{"choice", choice.name},
                              {"keep", choice.keep},
                              {"score", choice.score},
                              {"features", choice.features},
                              {"clusters", choice.clusters},
                              {"fraction", fraction_json(choice.fraction)},
                              {"n", n},
                              {"kept", cell->kept.summary().mean}};
      if (cell->theory) {
        entry["probe_angle"] = choice.angle;
        entry["theory"] = *cell->theory;
      }
      for (const std::string& measure : table.measures) {
        entry[measure] = to_json(cell->errors.at(measure));
        if (choice.all()) continue;
        if (!choice.random()) entry[measure]["minus_random"] = to_json(table.minus_random.at({measure, c, n}));
        entry[measure]["minus_all"] = to_json(table.minus_all.at({measure, c, n}));
      }
      list.push_back(std::move(entry));
    }
  }
  return list;
}

// What stands in one place of the table on the terminal.
std::string shown_cell(const Table& table, std::size_t choice, std::int64_t n, const std::string& measure) {
  const Cell& cell = *table.cell(choice, n);
  std::string shown = cell.errors.at(measure).worded();
  if (!table.choices[choice].random() && !table.choices[choice].all()) {
    const Contrast& c = table.minus_random.at({measure, choice, n});
    shown += fmt::format(" ({} {}{})", signed_points(c.difference.mean), verdict_word(c.verdict()),
                         c.depends_on_failed() ? "*" : "");
  }
  if (cell.theory) shown += fmt::format(" th {}", percent(*cell.theory));
  return shown;
}

// One measure at one n: a line per choice, a column per fraction, left-aligned.
std::string table_text(const Table& table, const std::string& measure, std::int64_t n) {
  std::vector<double> fractions = table.options.fractions;
  if (table.options.rule) fractions.push_back(kByRule);
  std::vector<std::vector<std::string>> rows(1, {""});
  for (const double fraction : fractions) {
    rows[0].push_back(fraction == kByRule ? "by rule" : fmt::format("{:g} %", 100 * fraction));
    const Cell* some = table.cell(*table.find("random", fraction), n);
    if (some != nullptr) rows[0].back() += fmt::format(", {} kept", grouped(std::llround(some->kept.summary().mean)));
  }
  std::set<std::string> seen;
  for (const Choice& choice : table.choices) {
    if (!seen.insert(choice.name).second) continue;
    std::vector<std::string> row = {choice.name};
    bool any = false;
    for (const double fraction : fractions) {
      const auto found = table.find(choice.name, fraction);
      const bool measured = found && table.cell(*found, n) != nullptr;
      row.push_back(measured ? shown_cell(table, *found, n, measure) : "");
      any = any || measured;
      if (choice.all()) break;
    }
    if (any) rows.push_back(std::move(row));
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) line += fmt::format("{:<{}}  ", row[c], widths[c]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string tables_text(const Table& table) {
  std::string text;
  for (const std::string& measure : table.measures) {
    for (const std::int64_t n : std::set<std::int64_t>{table.sizes.front(), table.sizes.back()}) {
      text += fmt::format(
          "{} in %, {}, n = {}, {}: mean with its 95 % interval, and in points the paired difference from as many rows "
          "at random\n{}\n",
          measure, table.options.model, grouped(n), draws_words(table.worlds.size(), table.seeds.size()),
          table_text(table, measure, n));
    }
  }
  if (text.find("*)") == std::string::npos) return text;
  return text + "*: the verdict depends on networks that failed to train, which count with the error they have\n\n";
}

// Every choice against all rows of the same n.
std::optional<Finding> all_finding(const Table& table, const std::string& measure) {
  const std::string name = short_measure(measure);
  Finding f{.id = "all-" + name};
  f.columns = {"choice", "n", "error, %", "all rows, %"};
  Verdicts verdicts;
  for (std::size_t c = 1; c < table.choices.size(); ++c) {
    for (const std::int64_t n : table.sizes) {
      const Contrast& against = table.minus_all.at({measure, c, n});
      if (against.difference.n == 0) continue;
      verdicts.add(fmt::format("{} of n {}", against.what, grouped(n)), against);
      f.table.push_back({against.what, grouped(n), percent(against.mean_what), percent(against.mean_against)});
      f.contrasts.push_back(against);
    }
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.title = fmt::format("Against all rows the {} error of a choice is {}", name, verdicts.counted());
  if (!verdicts.lower().empty() && verdicts.lower().size() <= 5) {
    f.points.push_back("lower with " + listed(verdicts.lower()));
  }
  f.text =
      "A place is one choice of the rows of one n, held against all of the same rows. Fewer rows are passed over as "
      "often, so that fewer steps are made. A family of tests is one choice. " +
      verdicts.notes();
  settle(f, [](const Contrast& c) { return c.what; });
  return f;
}

// The largest n once more, with as many steps for every choice as for all rows: what is left of the effect of choosing
// when training is not cut with the data.
std::optional<Finding> budget_finding(const Table& table, const std::string& measure) {
  const std::string name = short_measure(measure);
  const std::int64_t n = table.sizes.back();
  Finding f{.id = "budget-" + name};
  f.columns = {"choice", "equal epochs: error, %", "less random's, in points", "equal steps: error, %", "random's, %"};
  for (const auto& [c, cell] : table.equal_steps) {
    const Choice& choice = table.choices[c];
    const auto control = table.equal_steps.find(choice.random() ? c : table.control(c));
    const Cell* epochs = table.cell(c, n);
    if (choice.random() || control == table.equal_steps.end() || epochs == nullptr) continue;
    Contrast one = contrast(choice.titled(), cell.errors.at(measure), table.choices[control->first].titled(),
                            control->second.errors.at(measure), measure, {{"n", n}, {"budget", "steps"}});
    if (one.difference.n == 0) continue;
    const Contrast& before = table.minus_random.at({measure, c, n});
    f.table.push_back({one.what, percent(before.mean_what),
                       fmt::format("{} {}", worded(before.difference), verdict_word(before.verdict())),
                       percent(one.mean_what), percent(one.mean_against)});
    f.contrasts.push_back(std::move(one));
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.text = fmt::format(
      "Fewer rows passed over as often are fewer steps. Here every choice of n = {} has as many steps as all of its "
      "rows.",
      grouped(n));
  settle(f);
  Verdicts verdicts, before;
  for (const Contrast& one : f.contrasts) verdicts.add(one.what, one);
  for (const auto& [c, cell] : table.equal_steps) {
    if (!table.choices[c].random()) before.add(table.choices[c].titled(), table.minus_random.at({measure, c, n}));
  }
  f.title =
      fmt::format("At n {} with equal steps, the {} error against as many rows at random is {}; with equal epochs, {}",
                  grouped(n), name, verdicts.counted(), before.counted());
  for (const auto& [c, cell] : table.equal_steps) {
    const Choice& choice = table.choices[c];
    if (!choice.random() || table.cell(c, n) == nullptr || table.cell(0, n) == nullptr) continue;
    f.points.push_back(fmt::format("{}: {} % with equal epochs, {} % with equal steps; all rows {} %", choice.titled(),
                                   percent(table.cell(c, n)->errors.at(measure).summary().mean),
                                   percent(cell.errors.at(measure).summary().mean),
                                   percent(table.cell(0, n)->errors.at(measure).summary().mean)));
  }
  f.text += " " + verdicts.notes();
  return f;
}

// A choice's errors against the rows kept.
std::vector<LawPoint> points(const Table& table, std::size_t choice, const std::string& measure) {
  std::vector<LawPoint> list;
  for (const std::int64_t n : table.sizes) {
    const Cell* cell = table.cell(choice, n);
    if (cell == nullptr) continue;
    const double kept = cell->kept.summary().mean;
    for (const auto& [seed, error] : cell->errors.at(measure).by_unit()) list.push_back({kept, seed, error});
  }
  return list;
}

// Whether a choice's error falls more steeply with the rows kept than that of as many at random.
std::optional<Finding> exponents_finding(const Table& table, const std::string& measure, std::uint64_t seed,
                                         nlohmann::json& list) {
  Finding f{.id = "exponents-" + short_measure(measure)};
  f.columns = {"choice", "exponent", "random's", "steeper by", "95 % interval", "kept from", "kept to", "verdict"};
  std::vector<std::string> steeper, shallower;
  if (table.sizes.size() < 3) return std::nullopt;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const Choice& choice = table.choices[c];
    if (choice.all() || choice.random()) continue;
    const auto own = points(table, c, measure);
    if (own.empty()) continue;
    const auto e = compare_exponents(own, points(table, table.control(c), measure), seed);
    const bool known = std::isfinite(e.interval.low) && e.seeds >= 3;
    const std::string verdict = known && e.interval.low > 0    ? "steeper"
                                : known && e.interval.high < 0 ? "shallower"
                                                               : "undecided";
    if (verdict == "steeper") steeper.push_back(choice.titled());
    if (verdict == "shallower") shallower.push_back(choice.titled());
    list.push_back({{"choice", choice.name},
                    {"fraction", fraction_json(choice.fraction)},
                    {"measure", measure},
                    {"exponent", number(e.x)},
                    {"random", number(e.y)},
                    {"difference", number(e.difference)},
                    {"interval", {number(e.interval.low), number(e.interval.high)}},
                    {"seeds", e.seeds},
                    {"kept_from", own.front().n},
                    {"kept_to", own.back().n},
                    {"verdict", verdict}});
    f.table.push_back({choice.titled(), fmt::format("{:.2f}", -e.x), fmt::format("{:.2f}", -e.y),
                       fmt::format("{:.2f}", e.difference),
                       std::isfinite(e.interval.low) ? fmt::format("{:.2f} to {:.2f}", e.interval.low, e.interval.high)
                                                     : std::string("-"),
                       grouped(std::llround(own.front().n)), grouped(std::llround(own.back().n)), verdict});
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format(
      "Along the rows kept the {} error of {} of {} choices falls more steeply than that of as many at random, of {} "
      "less steeply, and {} {} undecided",
      short_measure(measure), steeper.size(), f.table.size(), shallower.size(),
      f.table.size() - steeper.size() - shallower.size(),
      f.table.size() - steeper.size() - shallower.size() == 1 ? "is" : "are");
  if (!steeper.empty()) f.points.push_back("steeper: " + listed(steeper));
  if (!shallower.empty()) f.points.push_back("shallower: " + listed(shallower));
  f.text = fmt::format(
      "Exponents of power laws fitted to mean errors against the rows kept, and their difference with its 95 % "
      "bootstrap "
      "interval over {}.",
      counted(std::ssize(table.seeds), "seed"));
  return f;
}

// Whether the number of clusters matters: the worst against the best k of each clustering choice at the largest size.
std::optional<Finding> clusters_finding(const Table& table, nlohmann::json& list) {
  const std::int64_t n = table.sizes.back();
  const std::string measure = table.measures.back();
  Finding f{.id = "clusters-" + short_measure(measure)};
  f.columns = {"choice", "errors by k, %", "random, %"};
  std::map<std::string, std::vector<std::size_t>> groups;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const Choice& choice = table.choices[c];
    if (choice.clusters == 0 || table.cell(c, n) == nullptr) continue;
    Trial trial = base_trial(table.options, n, 0, 0);
    choice.apply_to(trial);
    groups[choice_name(trial, "clusters") + " " + choice.share].push_back(c);
  }
  std::vector<std::string> depends, none;
  for (const auto& [name, members] : groups) {
    if (members.size() < 2) continue;
    const auto mean = [&](std::size_t c) { return table.cell(c, n)->errors.at(measure).summary().mean; };
    const auto [best, worst] = std::minmax_element(members.begin(), members.end(),
                                                   [&](std::size_t a, std::size_t b) { return mean(a) < mean(b); });
    const Contrast apart = table.against(*worst, *best, n, measure);
    (apart.verdict() == Verdict::higher ? depends : none).push_back(name);
    nlohmann::json errors = nlohmann::json::array();
    std::vector<std::string> shown;
    for (const std::size_t c : members) {
      errors.push_back({{"clusters", table.choices[c].clusters}, {"error", mean(c)}});
      shown.push_back(fmt::format("k = {}: {}", table.choices[c].clusters, percent(mean(c))));
    }
    const std::size_t control = table.control(members[0]);
    const double random = table.cell(control, n) == nullptr ? std::nan("") : mean(control);
    list.push_back({{"choice", name},
                    {"n", n},
                    {"measure", measure},
                    {"errors", errors},
                    {"random", number(random)},
                    {"worst_minus_best", to_json(apart)}});
    f.table.push_back({name, fmt::format("{}", fmt::join(shown, ", ")), percent(random)});
    f.points.push_back(fmt::format("{}: {}; worst minus best {}", name, fmt::join(shown, ", "), apart.worded()));
    f.contrasts.push_back(apart);
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("At n {} the {} error depends on the number of clusters for {} of {} choices that cluster",
                        grouped(n), short_measure(measure), depends.size(), f.table.size());
  f.text =
      "The worst number of clusters against the best, picked as the extremes from the same seeds: the difference "
      "is larger than between two chosen beforehand. Each choice is a family of its own.";
  settle(f, [](const Contrast& c) { return c.what + c.against; });
  return f;
}

// For every score kept both ways: which way is better, by n.
std::optional<Finding> ways_finding(const Table& table, nlohmann::json& list) {
  const std::string measure = table.measures.back();
  Finding f{.id = "hard-or-easy-" + short_measure(measure)};
  f.columns = {"score", "n", "hard, %", "easy, %"};
  Verdicts all;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const Choice& hard = table.choices[c];
    if (hard.keep != "hard" || hard.ruled()) continue;
    const std::string score = hard.name.substr(0, hard.name.size() - 5);
    const auto easy = table.find(score + " easy", hard.fraction);
    if (!easy) continue;
    Verdicts own;
    std::vector<Contrast> family;
    for (const std::int64_t n : table.sizes) {
      family.push_back(table.against(c, *easy, n, measure));
      if (family.back().difference.n == 0) family.pop_back();
    }
    judge(family, {});
    for (const Contrast& apart : family) {
      const std::int64_t n = apart.place.at("n");
      own.add(grouped(n), apart);
      all.add(fmt::format("{} {} of n {}", score, hard.share, grouped(n)), apart);
      nlohmann::json entry = to_json(apart);
      entry["score"] = score;
      entry["fraction"] = hard.fraction;
      entry["n"] = n;
      list.push_back(std::move(entry));
      f.table.push_back(
          {fmt::format("{} {}", score, hard.share), grouped(n), percent(apart.mean_what), percent(apart.mean_against)});
      f.contrasts.push_back(apart);
    }
    if (!own.empty()) {
      f.points.push_back(
          fmt::format("{} {}: {}", score, hard.share,
                      own.worded("hard is better at n", "undecided at n", "easy is better at n", "the same at n")));
    }
  }
  if (f.contrasts.empty()) return std::nullopt;
  f.title = fmt::format("The {} error of keeping hard rows against keeping easy ones is {}", short_measure(measure),
                        all.counted());
  f.text =
      "A place is one score at one fraction of one n; hard against easy, paired. A family of tests is one score at one "
      "fraction. " +
      all.notes();
  settle(f, [](const Contrast& c) { return c.what; });
  return f;
}

// Measured beside the theory's error at infinite dimension.
std::optional<Finding> theory_finding(const Table& table) {
  const std::string measure = table.measures.back();
  Finding f{.id = "theory-" + short_measure(measure)};
  f.columns = {"choice", "n", "measured, %", "theory, %"};
  int within = 0;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    for (const std::int64_t n : table.sizes) {
      const Cell* cell = table.cell(c, n);
      if (cell == nullptr || !cell->theory) continue;
      const Summary s = cell->errors.at(measure).summary();
      within += s.interval.low <= *cell->theory && *cell->theory <= s.interval.high;
      f.table.push_back({table.choices[c].titled(), grouped(n), worded(s), percent(*cell->theory)});
    }
  }
  if (f.table.empty()) return std::nullopt;
  f.title = fmt::format("The theory's error lies within the measured mean's 95 % interval at {} of {} places", within,
                        f.table.size());
  f.text =
      "The theory is exact at infinite dimension; choices of one seed share their examples, so that places are not "
      "independent.";
  return f;
}

Outcome run(const StudyOptions& given, Session& session) {
  Table table{.options = checked(given)};
  const StudyOptions& options = table.options;
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
  study.more["choices"] = choices_json(table);
  for (const char* list : {"exponents", "cluster_dependence", "hard_or_easy"}) {
    study.more[list] = nlohmann::json::array();
  }
  const auto add = [&](std::optional<Finding> finding) {
    if (finding) study.findings.push_back(std::move(*finding));
  };
  for (const std::string& measure : table.measures) {
    add(all_finding(table, measure));
    add(budget_finding(table, measure));
    add(exponents_finding(table, measure, seed, study.more["exponents"]));
  }
  add(clusters_finding(table, study.more["cluster_dependence"]));
  add(ways_finding(table, study.more["hard_or_easy"]));
  add(theory_finding(table));
  study.first = "control-" + short_measure(table.measures.front());
  const Curves curves = curves_of(study.result.rows, seed);
  std::string text = tables_text(table);
  return finish_study(std::move(study), curves, options.sweep, std::move(text), session);
}

}  // namespace

Command add_prune_study(CLI::App& program) {
  auto options = std::make_shared<StudyOptions>();
  CLI::App* app = program.add_subcommand(
      "prune-study", "What choosing the data is worth: every score of difficulty beside a random choice of as many");
  app->add_option("--problem", options->problem, "spiral, or perceptron: Gaussian inputs and a max-margin student")
      ->check(CLI::IsMember({"spiral", "perceptron"}));
  add_data(*app, options->data, options->labels);
  add_model(*app, options->model);
  add_sizes(*app, options->sizes);
  add_fractions(*app, options->fractions);
  add_scores(*app, options->scores);
  app->add_option("--keep", options->keeps, "Rows to keep: hard, easy or both")->group("Difficulty");
  add_clusters(*app, options->clusters);
  add_list(*app, "--features", options->features, {"input", "hidden"},
           "What scores see: input, hidden (a network's last hidden layer)")
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
  add_list(*app, "--angles", options->angles, 0.0, 89.0,
           "Perceptron: degrees between the probe that scores and the teacher");
  app->add_option("--dimension", options->dimension, "Perceptron: of its inputs")->check(whole_number(2, 10000));
  add_grid(*app, options->grid);
  add_density_points(*app, options->density_points);
  add_sweep_options(*app, options->sweep);
  add_notes(*app, {"scalelab prune-study --scores margin,kmeans --clusters 100 --seeds 0..4 --out study"},
            {kModelsHelp, kScoresHelp, kFormatsHelp});
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
