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

#include "host/evidence/law.h"
#include "host/lab/difficulty.h"
#include "host/lab/replica.h"
#include "host/lab/sweep.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/words.h"
#include "scalelab/math.h"

namespace scalelab::host {

namespace {

struct StudyOptions {
  std::string problem = "spiral", data, model, sizes, seeds = "0..4", keeps = "hard,easy";
  std::vector<std::string> scores, features = {"input"};
  std::vector<double> fractions = {0.2, 0.4}, angles = {0, 20};
  std::vector<int> clusters = {10, 100, 1000};
  std::int64_t samples = 1000000, grid = 512, density_points = 100000;
  int dimension = 200, width = 64, layers = 3;
  std::string precision = "fp32";
  double noise = 0;
  bool rule = false;
  SweepOptions sweep;
};

// The fraction of a row of the table that has none of its own: `boundary-rule` keeps what the rule keeps.
constexpr double kRule = 0;

nlohmann::json fraction_json(double fraction) {
  return fraction == kRule ? nlohmann::json("rule") : nlohmann::json(fraction);
}

// One way to choose, at one fraction: a row of the table.
struct Choice {
  std::string name;  // "kmeans(100) hard"
  std::string keep, score = "none", features = "input";
  int clusters = 0;
  double angle = 0;
  double fraction = 1;

  bool random() const { return keep == "random"; }
};

// What one choice measured at one size, by seed.
struct Cell {
  std::map<std::uint64_t, double> kept;
  std::map<std::string, std::map<std::uint64_t, double>> errors;  // by measure
  int collapsed = 0, left_out = 0;                                // left out: failed or diverged
  std::optional<double> theory;  // the exact error at infinite dimension, where it is known
};

struct Planned {
  std::size_t choice;
  std::int64_t n;
  Trial trial;
};

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    list.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

class Study {
 public:
  Study(const StudyOptions& options, Session& session) : options_(options), session_(session) {
    if (!options.data.empty()) options_.problem = "file";
    if (options_.model.empty()) options_.model = on("spiral") ? "mlp-polar" : on("file") ? "mlp-xy" : "perceptron";
    if (options_.scores.empty()) options_.scores = default_scores();
    for (const std::string& score : options_.scores) {
      const ScoreKind& kind = score_kind(score);
      if (score == "random") throw Failure(kMisuse, "--scores: random is always drawn; name the others");
      if (on("perceptron") && score != "margin") {
        throw Failure(kMisuse, fmt::format("--scores: {} is not for the perceptron, whose score is margin", score));
      }
      if (kind.clusters && options_.clusters.empty()) throw Failure(kMisuse, "--clusters: is empty");
    }
    for (const std::string& keep : words(options_.keeps)) {
      if (keep != "hard" && keep != "easy") {
        throw Failure(kMisuse, fmt::format("--keep: '{}' is neither hard nor easy", keep));
      }
    }
    std::set<double> fractions(options_.fractions.begin(), options_.fractions.end());
    if (fractions.size() != options_.fractions.size()) throw Failure(kMisuse, "--fractions: one is there twice");
    options_.fractions.assign(fractions.begin(), fractions.end());
    seeds_ = parse_seeds(options_.seeds);
    sizes_ = parse_sizes(options_.sizes.empty() ? default_sizes() : options_.sizes);
    measures_ =
        on("spiral") ? std::vector<std::string>{"grid_error", "density_error"} : std::vector<std::string>{"test_error"};
    choices_ = all_choices();
  }

  Outcome run() {
    const std::vector<Planned> plan = planned();
    std::vector<Trial> trials;
    std::set<std::string> seen;
    for (const Planned& p : plan) {
      if (seen.insert(trial_id(p.trial)).second) trials.push_back(p.trial);
    }
    const SweepResult result = run_sweep(trials, options_.sweep, session_);
    if (options_.sweep.dry_run) return {sweep_document("prune-study", result, session_), "", kDone};
    collect(plan, result);

    nlohmann::json document = sweep_document("prune-study", result, session_);
    document["choices"] = choices_document();
    std::string text = tables();
    text += laws(document);
    text += cluster_dependence(document);
    text += hard_or_easy(document);
    if (result.failed > 0) {
      text += fmt::format("{} trials failed and are left out; --retry failed runs them again.\n", result.failed);
    }
    if (!result.complete()) {
      text += fmt::format("{} of {} trials are done; the other shards have the rest.\n", result.rows.size(),
                          result.planned);
    }
    write_file(options_.sweep.out / "results.json", json_text(document));
    text += fmt::format("Every row: {}\n", (options_.sweep.out / "results.json").string());
    return {document, text, result.failed > 0 ? kSomeFailed : kDone};
  }

 private:
  bool on(const std::string& problem) const { return options_.problem == problem; }

  std::vector<std::string> default_scores() const {
    if (on("perceptron")) return {"margin"};
    std::vector<std::string> names;
    for (const ScoreKind& kind : score_kinds()) {
      const std::string name = kind.name;
      if (name == "random" || (name == "margin" && !on("spiral"))) continue;
      names.push_back(name);
    }
    return names;
  }

  std::string default_sizes() const {
    if (on("spiral")) return "1000,2000,4000,8000,16000";
    if (on("perceptron")) {
      return fmt::format("{},{},{},{},{}", options_.dimension, 2 * options_.dimension, 4 * options_.dimension,
                         8 * options_.dimension, 16 * options_.dimension);
    }
    const std::int64_t total = read_points_csv(options_.data).size(),
                       pool = total - std::max<std::int64_t>(1, total / 5);
    std::set<std::int64_t> sizes;
    for (const int part : {16, 8, 4, 2, 1}) sizes.insert(std::max<std::int64_t>(1, pool / part));
    return fmt::format("{}", fmt::join(sizes, ","));
  }

  std::vector<Choice> all_choices() const {
    std::vector<Choice> list = {{"all", "all"}};
    const auto at_every_fraction = [&](Choice choice) {
      for (const double fraction : options_.fractions) {
        choice.fraction = fraction;
        list.push_back(choice);
      }
    };
    at_every_fraction({"random", "random"});
    for (const std::string& score : options_.scores) {
      const ScoreKind& kind = score_kind(score);
      for (const std::string& keep : words(options_.keeps)) {
        for (const std::string& features : kind.features ? options_.features : std::vector<std::string>{"input"}) {
          for (const int k : kind.clusters ? options_.clusters : std::vector<int>{0}) {
            for (const double angle : on("perceptron") ? options_.angles : std::vector<double>{0}) {
              std::string name = score;
              if (k > 0) name += fmt::format("({})", k);
              if (features == "hidden") name += " hidden";
              if (on("perceptron")) name += fmt::format(" {:g} deg", angle);
              at_every_fraction({name + " " + keep, keep, score, features, k, angle});
            }
          }
        }
      }
    }
    if (options_.rule) {
      list.push_back({"random", "random", "none", "input", 0, 0, kRule});
      list.push_back({"boundary rule", "hard", "boundary", "input", 0, 0, kRule});
    }
    return list;
  }

  Trial base(std::int64_t n, std::uint64_t seed) const {
    Trial trial;
    trial.data = on("file") ? options_.data : options_.problem;
    trial.n = n;
    trial.seed = seed;
    trial.noise = options_.noise;
    trial.model = options_.model;
    trial.width = options_.width;
    trial.hidden_layers = options_.layers;
    trial.precision = options_.precision;
    trial.epochs =
        static_cast<int>(std::max(1.0, std::round(static_cast<double>(options_.samples) / static_cast<double>(n))));
    trial.grid = options_.grid;
    trial.density_points = options_.density_points;
    if (on("perceptron")) trial.dimension = options_.dimension;
    return trial;
  }

  // The share of rows that one of their 8 nearest contradicts.
  double rule_share(std::int64_t n, std::uint64_t seed) const {
    Trial trial = base(n, seed);
    trial.keep = "hard";
    trial.score = "boundary";
    const std::vector<float> score = difficulty(trial, load_data(trial).train, session_);
    const auto kept = std::count_if(score.begin(), score.end(), [](float value) { return value > 0; });
    return static_cast<double>(std::max<std::ptrdiff_t>(1, kept)) / static_cast<double>(n);
  }

  std::vector<Planned> planned() const {
    std::map<std::pair<std::int64_t, std::uint64_t>, double> rule;
    if (options_.rule) {
      for (const std::int64_t n : sizes_) {
        for (const std::uint64_t seed : seeds_) rule[{n, seed}] = rule_share(n, seed);
      }
    }
    std::vector<Planned> plan;
    for (const std::int64_t n : sizes_) {
      for (const std::uint64_t seed : seeds_) {
        for (std::size_t c = 0; c < choices_.size(); ++c) {
          const Choice& choice = choices_[c];
          if (choice.clusters > n) continue;
          Trial trial = base(n, seed);
          trial.keep = choice.keep;
          trial.score = choice.score;
          trial.features = choice.features;
          trial.clusters = choice.clusters;
          trial.probe_angle = choice.angle;
          trial.fraction = choice.fraction == kRule ? rule.at({n, seed}) : choice.fraction;
          plan.push_back({c, n, resolved(trial)});
        }
      }
    }
    return plan;
  }

  void collect(const std::vector<Planned>& plan, const SweepResult& result) {
    std::map<std::string, const Measurement*> by_id;
    for (const SweepRow& row : result.rows) by_id[trial_id(row.trial)] = &row.measurement;
    for (const Planned& p : plan) {
      const auto found = by_id.find(trial_id(p.trial));
      if (found == by_id.end()) continue;
      const Measurement& m = *found->second;
      const auto [place, added] = cells_.try_emplace({p.choice, p.n});
      Cell& cell = place->second;
      if (added) cell.theory = theory(choices_[p.choice], p.n);
      if (m.failed() || m.status == "diverged") {
        ++cell.left_out;
        continue;
      }
      cell.collapsed += m.status == "collapsed";  // an outcome of the choice like any other: it counts
      cell.kept[p.trial.seed] = m.values.at("kept");
      for (const std::string& measure : measures_) cell.errors[measure][p.trial.seed] = m.values.at(measure);
    }
  }

  const Cell* cell(std::size_t choice, std::int64_t n) const {
    const auto found = cells_.find({choice, n});
    return found == cells_.end() || found->second.kept.empty() ? nullptr : &found->second;
  }
  // The random choice of as many rows.
  std::size_t control(std::size_t choice) const {
    for (std::size_t c = 0; c < choices_.size(); ++c) {
      if (choices_[c].random() && choices_[c].fraction == choices_[choice].fraction) return c;
    }
    return 0;  // `all`
  }

  static std::vector<double> values(const std::map<std::uint64_t, double>& by_seed) {
    std::vector<double> list;
    for (const auto& [seed, value] : by_seed) list.push_back(value);
    return list;
  }
  // a minus b over the seeds that both have.
  Paired difference(std::size_t a, std::size_t b, std::int64_t n, const std::string& measure) const {
    std::vector<double> x, y;
    const Cell *in_a = cell(a, n), *in_b = cell(b, n);
    if (in_a != nullptr && in_b != nullptr) {
      for (const auto& [seed, value] : in_a->errors.at(measure)) {
        const auto other = in_b->errors.at(measure).find(seed);
        if (other == in_b->errors.at(measure).end()) continue;
        x.push_back(value);
        y.push_back(other->second);
      }
    }
    return paired(x, y);
  }

  std::optional<double> theory(const Choice& choice, std::int64_t n) const {
    if (!on("perceptron")) return std::nullopt;
    Perceptron problem;
    problem.alpha_total = static_cast<double>(n) / options_.dimension;
    problem.fraction = choice.fraction;
    problem.keep = choice.keep == "hard" ? Keep::hard : choice.keep == "easy" ? Keep::easy : Keep::random;
    if (problem.keep == Keep::random) {  // fewer rows, none chosen
      problem.alpha_total *= choice.fraction;
      problem.fraction = 1;
    }
    problem.probe_angle = choice.angle * kPi / 180;
    return solve_replica(problem).error;
  }

  nlohmann::json choices_document() const {
    nlohmann::json list = nlohmann::json::array();
    for (const std::int64_t n : sizes_) {
      for (std::size_t c = 0; c < choices_.size(); ++c) {
        const Cell* found = cell(c, n);
        if (found == nullptr) continue;
        const Choice& choice = choices_[c];
        nlohmann::json entry = {{"choice", choice.name},
                                {"keep", choice.keep},
                                {"score", choice.score},
                                {"features", choice.features},
                                {"clusters", choice.clusters},
                                {"fraction", fraction_json(choice.fraction)},
                                {"n", n},
                                {"kept", summarize(values(found->kept)).mean},
                                {"seeds", found->kept.size()},
                                {"collapsed", found->collapsed},
                                {"left_out", found->left_out}};
        if (found->theory) {
          entry["probe_angle"] = choice.angle;
          entry["theory"] = *found->theory;
        }
        for (const std::string& measure : measures_) {
          const Summary summary = summarize(values(found->errors.at(measure)));
          const Paired against = difference(c, control(c), n, measure);
          entry[measure] = {{"mean", number(summary.mean)},
                            {"sd", number(summary.sd)},
                            {"standard_error", number(summary.standard_error)},
                            {"minus_random", number(against.mean)},
                            {"minus_random_interval", {number(against.interval.low), number(against.interval.high)}},
                            {"verdict", against.verdict()}};
        }
        list.push_back(std::move(entry));
      }
    }
    return list;
  }

  // The columns of a table: every fraction, and the rule's.
  std::vector<double> columns() const {
    std::vector<double> list = options_.fractions;
    if (options_.rule) list.push_back(kRule);
    return list;
  }
  std::vector<std::string> row_names() const {
    std::vector<std::string> names;
    for (const Choice& choice : choices_) {
      if (std::find(names.begin(), names.end(), choice.name) == names.end()) names.push_back(choice.name);
    }
    return names;
  }
  std::optional<std::size_t> find(const std::string& name, double fraction) const {
    for (std::size_t c = 0; c < choices_.size(); ++c) {
      if (choices_[c].name == name && (choices_[c].fraction == fraction || name == "all")) return c;
    }
    return std::nullopt;
  }

  std::string tables() const {
    std::string text;
    const int column = on("perceptron") ? 42 : 32;  // with the theory's value, or without
    std::size_t width = 0;
    for (const std::string& name : row_names()) width = std::max(width, name.size());
    for (const std::string& measure : measures_) {
      for (const std::int64_t n : sizes_) {
        if (n != sizes_.back() && n != sizes_.front()) continue;
        text += fmt::format(
            "{} in %, {}, N = {}, {} seed{}: mean +- standard error, and the paired difference from as "
            "many rows at random\n{:<{}}",
            measure, options_.model, grouped(n), seeds_.size(), seeds_.size() == 1 ? "" : "s", "", width);
        for (const double fraction : columns()) {
          std::string title = fraction == kRule ? "rule" : fmt::format("{:g} % kept", 100 * fraction);
          const Cell* some = cell(*find("random", fraction), n);
          if (some != nullptr) title += fmt::format(" ({})", grouped(std::llround(summarize(values(some->kept)).mean)));
          text += fmt::format("  {:<{}}", title, column);
        }
        text.erase(text.find_last_not_of(' ') + 1);
        text += "\n";
        for (const std::string& name : row_names()) {
          std::string line = fmt::format("{:<{}}", name, width);
          bool any = false;
          for (const double fraction : columns()) {
            const auto choice = find(name, fraction);
            const Cell* found = choice ? cell(*choice, n) : nullptr;
            std::string shown;
            if (found != nullptr) {
              any = true;
              const Summary summary = summarize(values(found->errors.at(measure)));
              shown = percent(summary.mean);
              if (summary.n > 1) shown += fmt::format(" +- {}", percent(summary.standard_error));
              if (!choices_[*choice].random() && name != "all") {
                const Paired against = difference(*choice, control(*choice), n, measure);
                const char* verdict[] = {"better", "open", "worse"};
                shown += fmt::format(" ({}{} {})", against.mean >= 0 ? "+" : "", percent(against.mean),
                                     verdict[against.verdict() + 1]);
              }
              if (found->theory) shown += fmt::format(" th {}", percent(*found->theory));
            }
            line += fmt::format("  {:<{}}", shown, column);
            if (name == "all") break;
          }
          if (!any) continue;
          line.erase(line.find_last_not_of(' ') + 1);
          text += line + "\n";
        }
        text += "\n";
      }
    }
    return text;
  }

  // A choice's errors against the points kept.
  std::vector<LawPoint> points(std::size_t choice, const std::string& measure) const {
    std::vector<LawPoint> list;
    for (const std::int64_t n : sizes_) {
      const Cell* found = cell(choice, n);
      if (found == nullptr) continue;
      const double kept = summarize(values(found->kept)).mean;
      for (const auto& [seed, error] : found->errors.at(measure)) list.push_back({kept, seed, error});
    }
    return list;
  }

  std::string laws(nlohmann::json& document) const {
    document["laws"] = nlohmann::json::object();
    document["exponents"] = nlohmann::json::array();
    if (sizes_.size() < 3) return "";
    std::string text =
        "Exponents against points kept (power law), and their difference from random choices of as many:\n";
    const std::uint64_t seed = session_.common.seed;
    for (std::size_t c = 0; c < choices_.size(); ++c) {
      const Choice& choice = choices_[c];
      const std::string at = choice.keep == "all"       ? ""
                             : choice.fraction == kRule ? ", rule"
                                                        : fmt::format(", {:g} %", 100 * choice.fraction);
      for (const std::string& measure : measures_) {
        const auto own = points(c, measure);
        if (own.empty()) continue;
        const Law law = fit_law(own, seed);
        document["laws"][fmt::format("{}{} | {}", choice.name, at, measure)] = to_json(law);
        const auto exponents = compare_exponents(own, points(control(c), measure), seed);
        document["exponents"].push_back(
            {{"choice", choice.name},
             {"fraction", fraction_json(choice.fraction)},
             {"measure", measure},
             {"exponent", number(exponents.x)},
             {"random", number(exponents.y)},
             {"difference", number(exponents.difference)},
             {"interval", {number(exponents.interval.low), number(exponents.interval.high)}},
             {"kept_from", own.front().n},
             {"kept_to", own.back().n},
             {"verdict", law.verdict}});
        text += fmt::format("  {:<36} {:<14} {}", choice.name + at, measure, worded(law));
        if (!choice.random() && choice.keep != "all" && std::isfinite(exponents.interval.low)) {
          const bool told = exponents.interval.low > 0 || exponents.interval.high < 0;
          text += fmt::format("; steeper than random by {:.2f} [{:.2f}, {:.2f}]{}", exponents.difference,
                              exponents.interval.low, exponents.interval.high, told ? "" : ": open");
        }
        text += "\n";
      }
    }
    return text + "\n";
  }

  // Whether the number of clusters matters: the best and the worst k of each clustering choice at the largest size.
  std::string cluster_dependence(nlohmann::json& document) const {
    auto& list = document["cluster_dependence"] = nlohmann::json::array();
    std::string text;
    const std::int64_t n = sizes_.back();
    const std::string measure = measures_.back();
    std::map<std::string, std::vector<std::size_t>> groups;
    std::vector<std::string> order;
    for (std::size_t c = 0; c < choices_.size(); ++c) {
      const Choice& choice = choices_[c];
      if (choice.clusters == 0 || cell(c, n) == nullptr) continue;
      const std::string name =
          fmt::format("{}{} {}, {:g} % kept", choice.score, choice.features == "hidden" ? " hidden" : "", choice.keep,
                      100 * choice.fraction);
      if (groups[name].empty()) order.push_back(name);
      groups[name].push_back(c);
    }
    for (const std::string& name : order) {
      const auto& members = groups[name];
      if (members.size() < 2) continue;
      const auto mean = [&](std::size_t c) { return summarize(values(cell(c, n)->errors.at(measure))).mean; };
      const auto [best, worst] = std::minmax_element(members.begin(), members.end(),
                                                     [&](std::size_t a, std::size_t b) { return mean(a) < mean(b); });
      const Paired apart = difference(*worst, *best, n, measure);
      nlohmann::json errors = nlohmann::json::array();
      std::string shown;
      for (const std::size_t c : members) {
        errors.push_back({{"clusters", choices_[c].clusters}, {"error", mean(c)}});
        shown += fmt::format("{}k = {}: {}", shown.empty() ? "" : ", ", choices_[c].clusters, percent(mean(c)));
      }
      const double random = mean(control(members[0]));
      list.push_back({{"choice", name},
                      {"n", n},
                      {"measure", measure},
                      {"errors", errors},
                      {"random", random},
                      {"worst_minus_best", apart.mean},
                      {"verdict", apart.verdict()}});
      text += fmt::format("{}: {}; random {}: {}\n", name, shown, percent(random),
                          apart.verdict() > 0 ? fmt::format("depends on k (worst - best +{} %, picked as the extremes)",
                                                            percent(apart.mean))
                                              : "no dependence on k shown");
    }
    return text.empty() ? text : fmt::format("Clusters, {}, N = {}:\n{}\n", measure, grouped(n), text);
  }

  // For every score kept both ways: which way is better, by size.
  std::string hard_or_easy(nlohmann::json& document) const {
    auto& list = document["hard_or_easy"] = nlohmann::json::array();
    std::string text;
    const std::string measure = measures_.back();
    for (std::size_t c = 0; c < choices_.size(); ++c) {
      const Choice& hard = choices_[c];
      if (hard.keep != "hard" || hard.fraction == kRule) continue;
      const auto easy = find(hard.name.substr(0, hard.name.size() - 4) + "easy", hard.fraction);
      if (!easy) continue;
      std::string shown;
      for (const std::int64_t n : sizes_) {
        const Paired apart = difference(c, *easy, n, measure);
        if (apart.n == 0) continue;
        const char* verdict[] = {"hard", "open", "easy"};
        shown += fmt::format("{}{} {}", shown.empty() ? "" : ", ", grouped(n), verdict[apart.verdict() + 1]);
        list.push_back({{"score", hard.name.substr(0, hard.name.size() - 5)},
                        {"fraction", hard.fraction},
                        {"n", n},
                        {"measure", measure},
                        {"hard_minus_easy", apart.mean},
                        {"verdict", apart.verdict()}});
      }
      text += fmt::format("  {:<28} {:>3g} % kept: {}\n", hard.name.substr(0, hard.name.size() - 5),
                          100 * hard.fraction, shown);
    }
    return text.empty() ? text : fmt::format("Which way is better, {}, by N:\n{}\n", measure, text);
  }

  StudyOptions options_;
  Session& session_;
  std::vector<std::uint64_t> seeds_;
  std::vector<std::int64_t> sizes_;
  std::vector<std::string> measures_;
  std::vector<Choice> choices_;
  std::map<std::pair<std::size_t, std::int64_t>, Cell> cells_;
};

}  // namespace

Command add_prune_study(CLI::App& program) {
  auto options = std::make_shared<StudyOptions>();
  CLI::App* app = program.add_subcommand(
      "prune-study", "What choosing the data is worth: every score of difficulty beside a random choice of as many");
  app->add_option("--problem", options->problem, "spiral, or perceptron: Gaussian inputs and a max-margin student")
      ->check(CLI::IsMember({"spiral", "perceptron"}));
  app->add_option("--data", options->data,
                  "In place of a problem: labelled points (CSV), a fifth held out for the test");
  app->add_option("--model", options->model, "mlp-polar for the spiral, mlp-xy for a file; any of compare's models");
  app->add_option("--sizes", options->sizes, "Rows before the choice; by default 1000,2000,...,16000");
  app->add_option("--fractions", options->fractions, "Shares kept")->delimiter(',')->check(real_number(1e-4, 1));
  app->add_option("--scores", options->scores, "Scores of difficulty; by default all that fit the problem")
      ->delimiter(',');
  app->add_option("--keep", options->keeps, "hard, easy or both");
  app->add_option("--clusters", options->clusters, "k of the scores that cluster; left out where above N")
      ->delimiter(',')
      ->check(whole_number(1, 1000000));
  app->add_option("--features", options->features, "What scores see: input, hidden (a network's last hidden layer)")
      ->delimiter(',')
      ->check(CLI::IsMember({"input", "hidden"}));
  app->add_flag("--boundary-rule", options->rule,
                "Also keep exactly the rows that one of their 8 nearest contradicts, and as many at random");
  app->add_option("--seeds", options->seeds, "Seeds: 0..4, or 0,3,7");
  app->add_option("--samples", options->samples,
                  "Samples that a network sees of all N rows; kept rows are seen for as many epochs")
      ->check(whole_number(1, 1000000000000));
  app->add_option("--width", options->width, "Units in each hidden layer")->check(whole_number(2, kMaxWidth));
  app->add_option("--hidden-layers", options->layers, "Hidden layers")->check(whole_number(1, kMaxHiddenLayers));
  app->add_option("--precision", options->precision, kPrecisionHelp)->check(precision_name());
  app->add_option("--noise", options->noise, "Probability that a training label is turned over (spiral)")
      ->check(real_number(0, 0.5));
  app->add_option("--angles", options->angles, "Perceptron: degrees between the probe that scores and the teacher")
      ->delimiter(',')
      ->check(real_number(0, 89));
  app->add_option("--dimension", options->dimension, "Perceptron: of its inputs")->check(whole_number(2, 10000));
  app->add_option("--grid", options->grid, "Cells along each side of the grid that errors are counted on")
      ->check(whole_number(16, 16384));
  app->add_option("--density-points", options->density_points, "Fresh draws that the density error is counted on")
      ->check(whole_number(100, 10000000));
  add_sweep_options(*app, options->sweep);
  return {app, [options](Session& session) { return Study(*options, session).run(); }};
}

}  // namespace scalelab::host
