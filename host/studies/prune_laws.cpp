// What prune-study finds along the number of rows: exponents, the frontier, and what a row kept is worth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "host/evidence/frontier.h"
#include "host/evidence/law.h"
#include "host/program/words.h"
#include "host/studies/prune_study.h"

namespace scalelab::host {

namespace {

// A choice's errors against the rows kept.
std::vector<LawPoint> points(const ChoiceTable& table, std::size_t choice, const std::string& measure) {
  std::vector<LawPoint> list;
  for (const std::int64_t n : table.sizes) {
    const ChoiceCell* cell = table.cell(choice, n);
    if (cell == nullptr) continue;
    const double kept = cell->kept.summary().mean;
    for (const auto& [seed, error] : cell->errors.at(measure).by_unit()) list.push_back({kept, seed, error});
  }
  return list;
}

// Exponents held against those of random choices: a line of a finding's table each, and those that differ by name.
class Steepness {
 public:
  // Adds the cells "exponent" to "verdict", and the members of result.json that say the same. Without a `name` the curve
  // is the random one itself, of which nothing is asked.
  void add(const std::string& name, const ExponentDifference& e, std::vector<std::string>& line,
           nlohmann::json& entry) {
    const bool asked = !name.empty(), known = asked && std::isfinite(e.interval.low);
    const std::string verdict = asked ? e.verdict() : "-";
    if (verdict == "steeper") steeper.push_back(fmt::format("{} (kept^{:.2f})", name, -e.x));
    if (verdict == "shallower") shallower.push_back(fmt::format("{} (kept^{:.2f})", name, -e.x));
    for (const std::string& cell :
         {fmt::format("{:.2f}", -e.x), fmt::format("{:.2f}", -e.y), asked ? fmt::format("{:.2f}", e.difference) : "-",
          known ? fmt::format("{:.2f} to {:.2f}", e.interval.low, e.interval.high) : "-", verdict}) {
      line.push_back(cell);
    }
    entry.update({{"exponent", number(e.x)},
                  {"random", number(e.y)},
                  {"difference", number(asked ? e.difference : std::nan(""))},
                  {"interval", {number(e.interval.low), number(e.interval.high)}},
                  {"seeds", e.seeds},
                  {"verdict", verdict}});
  }
  void name_in(Finding& f) const {
    if (!steeper.empty()) f.points.push_back("steeper: " + listed(steeper));
    if (!shallower.empty()) f.points.push_back("less steeply: " + listed(shallower));
  }

  std::vector<std::string> steeper{}, shallower{};
};

}  // namespace

// Whether a choice's error falls more steeply with the rows kept than that of a random choice.
std::optional<Finding> exponents_finding(const ChoiceTable& table, const std::string& measure, std::uint64_t seed,
                                         nlohmann::json& list) {
  Finding f{.id = "exponents-" + short_measure(measure)};
  f.columns = {"choice", "kept from", "kept to", "exponent", "random's", "steeper by", "95 % interval", "verdict"};
  Steepness found;
  if (table.sizes.size() < 3) return std::nullopt;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.all() || choice.random()) continue;
    const auto own = points(table, c, measure);
    if (own.empty()) continue;
    std::vector<std::string> line = {choice.titled(), grouped(std::llround(own.front().n)),
                                     grouped(std::llround(own.back().n))};
    nlohmann::json entry = {{"choice", choice.name},
                            {"fraction", fraction_json(choice.fraction)},
                            {"measure", measure},
                            {"kept_from", own.front().n},
                            {"kept_to", own.back().n}};
    found.add(choice.titled(), compare_exponents(own, points(table, table.control(c), measure), seed), line, entry);
    f.table.push_back(std::move(line));
    list.push_back(std::move(entry));
  }
  if (f.table.empty()) return std::nullopt;
  const std::size_t undecided = f.table.size() - found.steeper.size() - found.shallower.size();
  f.title = fmt::format(
      "Along the rows kept the {} error of {} of {} choices falls more steeply than that of a random choice of the same "
      "size, of {} less steeply, and {} {} undecided",
      short_measure(measure), found.steeper.size(), f.table.size(), found.shallower.size(), undecided,
      undecided == 1 ? "is" : "are");
  found.name_in(f);
  f.text = fmt::format(
      "Exponents of power laws fitted to mean errors against the rows kept, and their difference with its 95 % "
      "bootstrap interval over {}.",
      counted(std::ssize(table.seeds), "seed"));
  return f;
}

namespace {

struct Scored {
  std::string name;
  std::vector<Candidate> candidates{};
  std::vector<std::pair<std::size_t, std::int64_t>> cells{};  // (choice, n) of each
};

// What each score, and a random choice, can be chosen from: its rows hard or easy, at every fraction of every n, and all.
std::vector<Scored> candidates_of(const ChoiceTable& table, const std::string& measure) {
  std::vector<Scored> list;
  const auto add = [&](Scored& scored, std::size_t c, std::int64_t n) {
    const ChoiceCell* cell = table.cell(c, n);
    if (cell == nullptr || cell->errors.at(measure).empty()) return;
    scored.candidates.push_back({cell->kept.summary().mean, cell->errors.at(measure).by_unit()});
    scored.cells.emplace_back(c, n);
  };
  for (std::size_t c = 1; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.ruled()) continue;
    auto found = std::find_if(list.begin(), list.end(), [&](const Scored& s) { return s.name == choice.scored(); });
    if (found == list.end()) {
      list.push_back({choice.scored()});
      found = std::prev(list.end());
      for (const std::int64_t n : table.sizes) add(*found, 0, n);
    }
    for (const std::int64_t n : table.sizes) add(*found, c, n);
  }
  return list;
}

std::vector<LawPoint> law_points(const std::vector<FrontierPoint>& points) {
  std::vector<LawPoint> list;
  for (const FrontierPoint& point : points) {
    for (const auto& [unit, error] : point.errors) list.push_back({point.kept, unit, error});
  }
  return list;
}

double mean_of(const std::map<std::uint64_t, double>& errors) {
  double sum = 0;
  for (const auto& [unit, error] : errors) sum += error;
  return sum / static_cast<double>(errors.size());
}

nlohmann::json frontier_json(const ChoiceTable& table, const Scored& scored, const std::vector<FrontierPoint>& points,
                             const std::vector<FrontierPoint>& random) {
  nlohmann::json list = nlohmann::json::array();
  for (const FrontierPoint& point : points) {
    std::vector<double> values;
    for (const auto& [unit, error] : point.errors) values.push_back(error);
    nlohmann::json entry = to_json(summarize_fractions(values));
    const auto [choice, n] = scored.cells[point.candidate];
    const auto other =
        std::find_if(random.begin(), random.end(), [&](const FrontierPoint& r) { return r.kept == point.kept; });
    entry.update({{"kept", point.kept},
                  {"n", n},
                  {"choice", table.choices[choice].titled()},
                  {"random", number(other == random.end() ? std::nan("") : mean_of(other->errors))}});
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

// The lowest error with at most so many rows, the fraction and the n chosen for each number of rows; and whether it falls
// faster than without a choice.
std::optional<Finding> frontier_finding(const ChoiceTable& table, const std::string& measure, std::uint64_t seed,
                                        nlohmann::json& list) {
  const std::vector<Scored> all = candidates_of(table, measure);
  const auto control = std::find_if(all.begin(), all.end(), [](const Scored& s) { return s.name == "random"; });
  if (table.sizes.size() < 3 || control == all.end() || all.size() < 2) return std::nullopt;
  const std::vector<FrontierPoint> random = frontier(control->candidates);
  if (random.size() < 3) return std::nullopt;
  Finding f{.id = "frontier-" + short_measure(measure)};
  f.columns = {"score",    "law",        "chosen at the most rows", "exponent",
               "random's", "steeper by", "95 % interval",           "verdict"};
  Steepness found;
  std::string random_law;
  for (const Scored& scored : all) {
    const std::vector<FrontierPoint> points = frontier(scored.candidates);
    if (points.size() < 3) continue;
    const bool own = scored.name != "random";
    const CurveLaw law{fit_law(law_points(points), seed), "kept"};
    if (!own) random_law = law.worded();
    const nlohmann::json shown = frontier_json(table, scored, points, random);
    std::vector<std::string> line = {scored.name, law.law.verdict,
                                     fmt::format("{} of n {}", text_of(shown.back().at("choice")),
                                                 grouped(shown.back().at("n").get<std::int64_t>()))};
    nlohmann::json entry = {{"score", scored.name}, {"measure", measure}, {"points", shown}, {"law", to_json(law.law)}};
    found.add(own ? scored.name : "", compare_exponents(law_points(points), law_points(random), seed), line, entry);
    f.table.push_back(std::move(line));
    list.push_back(std::move(entry));
  }
  f.title = fmt::format(
      "With the fraction chosen for each number of rows, the {} error falls more steeply than without a choice for {} "
      "of {} scores",
      short_measure(measure), found.steeper.size(), f.table.size() - 1);
  found.name_in(f);
  f.points.push_back("without a choice: " + random_law);
  f.text = fmt::format(
      "The frontier: the lowest error that is had with at most so many rows, from {} to {}, hard or easy or all of any "
      "n. What is chosen for a seed is chosen by the other seeds, so that the lowest of many does not lie too low; "
      "where two choices are nearly tied, a point's interval holds the truth in some 90 of 100 cases, not 95. "
      "Exponents of power laws and their difference with its 95 % bootstrap interval over {}.",
      grouped(std::llround(random.front().kept)), grouped(std::llround(random.back().kept)),
      counted(std::ssize(table.seeds), "seed"));
  return f;
}

namespace {

// Errors of random rows by how many there are. Of networks with a fraction's own number of steps: random rows at that
// fraction of every n; with all steps, and of other models, which take none: every number of random rows there is.
std::map<double, std::map<std::uint64_t, double>> random_curve(const ChoiceTable& table, const std::string& measure,
                                                               const RowChoice& choice, bool steps) {
  const bool network = table.trains();
  std::map<double, std::map<std::uint64_t, std::vector<double>>> values;
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& other = table.choices[c];
    if (!other.all() && (!other.random() || other.ruled())) continue;
    if (network && (steps ? !other.all() : other.fraction != choice.fraction)) continue;
    for (const std::int64_t n : table.sizes) {
      const ChoiceCell* cell = table.cell(c, n);
      if (cell == nullptr) continue;
      for (const auto& [unit, error] : cell->errors.at(measure).by_unit()) {
        values[cell->kept.summary().mean][unit].push_back(error);
      }
    }
  }
  std::map<double, std::map<std::uint64_t, double>> curve;
  for (const auto& [kept, units] : values) {
    for (const auto& [unit, list] : units) {
      curve[kept][unit] = std::accumulate(list.begin(), list.end(), 0.0) / static_cast<double>(list.size());
    }
  }
  return curve;
}

// How many times as many rows that is: "1.86", "less than 0.12".
std::string times_words(const RowsWorth& worth, double kept) {
  const double number = worth.rows / kept;
  const std::string times = fmt::format("{:.{}f}", number, number < 10 ? 2 : 0);
  return (worth.beyond == worth.units ? "more than " : worth.before == worth.units ? "less than " : "") + times;
}

}  // namespace

// How many random rows have the error of those that a choice keeps.
std::optional<Finding> worth_finding(const ChoiceTable& table, const std::string& measure, nlohmann::json& list) {
  Finding f{.id = "worth-" + short_measure(measure)};
  f.columns = {"choice", "budget", "kept", "random rows with the same error", "95 % interval", "times as many"};
  // Of the largest n: the choices worth most and least, for the title.
  struct Best {
    double times = 0;
    std::string worded{}, words{};
  } best, least{HUGE_VAL};
  if (table.sizes.size() < 3) return std::nullopt;
  // Every n goes into the list, which is for result.json; into the table the largest alone.
  const auto add = [&](std::size_t c, std::int64_t n, const ChoiceCell& cell, bool steps) {
    const RowChoice& choice = table.choices[c];
    const RowsWorth worth = rows_worth(cell.errors.at(measure).by_unit(), random_curve(table, measure, choice, steps));
    if (worth.units == 0) return;
    const double kept = cell.kept.summary().mean, times = worth.rows / kept;
    list.push_back({{"choice", choice.name},
                    {"fraction", choice.fraction},
                    {"n", n},
                    {"measure", measure},
                    {"budget", steps ? "steps" : "epochs"},
                    {"kept", kept},
                    {"rows", number(worth.rows)},
                    {"low", number(worth.interval.low)},
                    {"high", number(worth.interval.high)},
                    {"curve_first", worth.first},
                    {"curve_last", worth.last},
                    {"seeds", worth.units},
                    {"seeds_beyond_curve", worth.beyond},
                    {"seeds_before_curve", worth.before}});
    if (n != table.sizes.back()) return;
    f.table.push_back({choice.titled(), steps ? "steps" : "epochs", grouped(std::llround(kept)), worth.worded(),
                       worth.interval_worded(), times_words(worth, kept)});
    const std::string words = fmt::format("{} is worth {} random rows ({} times as many, equal {})", choice.titled(),
                                          worth.worded(), times_words(worth, kept), steps ? "steps" : "epochs");
    if (times > best.times) best = {times, times_words(worth, kept), words};
    if (times < least.times) least = {times, times_words(worth, kept), words};
  };
  for (std::size_t c = 0; c < table.choices.size(); ++c) {
    const RowChoice& choice = table.choices[c];
    if (choice.all() || choice.random() || choice.ruled()) continue;
    for (const std::int64_t n : table.sizes) {
      if (const ChoiceCell* cell = table.cell(c, n); cell != nullptr) add(c, n, *cell, false);
    }
    // The largest n was also trained with as many steps as all rows.
    const auto steps = table.equal_steps.find(c);
    if (steps != table.equal_steps.end()) add(c, table.sizes.back(), steps->second, true);
  }
  if (f.table.empty()) return std::nullopt;
  f.title =
      fmt::format("What a row kept of n {} is worth in random rows ({} error): {}", grouped(table.sizes.back()),
                  short_measure(measure),
                  least.worded == best.worded ? best.worded : fmt::format("from {} to {}", least.worded, best.worded));
  f.points = {"most: " + best.words, "least: " + least.words};
  f.text =
      "The same seed's error of random rows, read where it equals that of the choice; geometric means over seeds. "
      "Equal epochs: random rows that a network sees in as many steps; equal steps: as many steps as all rows for "
      "both. What lies beyond the rows measured counts with their end. Each choice by itself; whether it beats as "
      "many random rows is tested in another finding.";
  return f;
}

}  // namespace scalelab::host
