#include "host/evidence/seed_errors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

// Points share a cell: a world and a seed.
using Cell = std::pair<std::uint64_t, std::uint64_t>;

// The mean over the starts of each cell, without some draws.
std::map<Cell, double> by_cell(const std::map<Draw, double>& values, const std::set<Draw>& without) {
  std::map<Cell, std::pair<double, int>> sums;
  for (const auto& [draw, value] : values) {
    if (without.contains(draw)) continue;
    auto& [sum, count] = sums[{draw.world, draw.seed}];
    sum += value;
    ++count;
  }
  std::map<Cell, double> means;
  for (const auto& [cell, sum] : sums) means[cell] = sum.first / sum.second;
  return means;
}

// The mean over the seeds of each world, where there are several worlds; else the one world's seeds.
std::map<std::uint64_t, double> by_unit_of(const std::map<Cell, double>& cells) {
  std::map<std::uint64_t, double> units;
  if (cells.empty()) return units;
  if (cells.begin()->first.first == cells.rbegin()->first.first) {
    for (const auto& [cell, value] : cells) units[cell.second] = value;
    return units;
  }
  std::map<std::uint64_t, std::pair<double, int>> sums;
  for (const auto& [cell, value] : cells) {
    auto& [sum, count] = sums[cell.first];
    sum += value;
    ++count;
  }
  for (const auto& [world, sum] : sums) units[world] = sum.first / sum.second;
  return units;
}

std::vector<double> values_of(const std::map<std::uint64_t, double>& units) {
  std::vector<double> values;
  for (const auto& [unit, value] : units) values.push_back(value);
  return values;
}

void keep_shared(std::map<Cell, double>& a, std::map<Cell, double>& b) {
  std::erase_if(a, [&](const auto& one) { return !b.contains(one.first); });
  std::erase_if(b, [&](const auto& one) { return !a.contains(one.first); });
}

// a minus b over the cells that both have.
Paired difference(std::map<Cell, double> a, std::map<Cell, double> b) {
  keep_shared(a, b);
  return paired_fractions(values_of(by_unit_of(a)), values_of(by_unit_of(b)));
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

// Errors, and shares of rows or of weights; others are counts and lengths.
bool is_fraction(const std::string& measure) {
  static const std::set<std::string> kShares = {"least_class", "most_class", "purity", "density", "start_overlap"};
  return measure.ends_with("_error") || kShares.contains(measure);
}

}  // namespace

Draw draw_of(const Trial& trial) { return {trial.world, trial.seed, trial.start}; }

void SeedErrors::add(const SweepRow& row, const std::string& measure) {
  fractions = is_fraction(measure);
  const auto value = row.measurement.values.find(measure);
  if (row.measurement.failed() || value == row.measurement.values.end() || !std::isfinite(value->second)) {
    ++missing;
    return;
  }
  const Draw draw = draw_of(row.trial);
  by_draw[draw] = value->second;
  const auto seen = row.measurement.values.find("train_error");
  if (row.trial.is_network() && seen != row.measurement.values.end() && std::isfinite(seen->second)) {
    train[draw] = seen->second;
  }
  if (row.measurement.status == "collapsed") collapsed.insert(draw);
  if (row.measurement.status == "diverged") diverged.insert(draw);
}

bool SeedErrors::over_worlds() const {
  return !empty() && by_draw.begin()->first.world != by_draw.rbegin()->first.world;
}

std::map<std::uint64_t, double> SeedErrors::by_unit() const { return by_unit_of(by_cell(by_draw, {})); }

std::set<Draw> SeedErrors::misfits() const {
  // Less is no failure, however small the median: a percentage point of training error.
  constexpr double kWorthNaming = 0.01;
  std::set<Draw> list;
  std::vector<double> values;
  for (const auto& [draw, error] : train) {
    if (!collapsed.contains(draw) && !diverged.contains(draw)) values.push_back(error);
  }
  if (values.size() < 3) return list;
  const double most = kWorthNaming + 3 * median_of(values);
  for (const auto& [draw, error] : train) {
    if (error > most && !collapsed.contains(draw) && !diverged.contains(draw)) list.insert(draw);
  }
  return list;
}

std::set<Draw> SeedErrors::failed() const {
  std::set<Draw> list = misfits();
  list.insert(collapsed.begin(), collapsed.end());
  list.insert(diverged.begin(), diverged.end());
  return list;
}

SeedErrors SeedErrors::without_failed() const {
  SeedErrors rest;
  const std::set<Draw> out = failed();
  for (const auto& [draw, error] : by_draw) {
    if (!out.contains(draw)) rest.by_draw[draw] = error;
  }
  return rest;
}

Summary SeedErrors::train_summary() const { return summarize_fractions(values_of(by_unit_of(by_cell(train, {})))); }

Summary SeedErrors::summary() const {
  return fractions ? summarize_fractions(values_of(by_unit())) : summarize(values_of(by_unit()));
}

Paired SeedErrors::minus(const SeedErrors& other) const {
  return difference(by_cell(by_draw, {}), by_cell(other.by_draw, {}));
}

Paired SeedErrors::minus_where_both_trained(const SeedErrors& other) const {
  return difference(by_cell(by_draw, failed()), by_cell(other.by_draw, other.failed()));
}

GeometricMean SeedErrors::ratio_to(const SeedErrors& other) const {
  auto own_cells = by_cell(by_draw, {}), other_cells = by_cell(other.by_draw, {});
  keep_shared(own_cells, other_cells);
  const auto others = by_unit_of(other_cells);
  std::vector<double> ratios;
  for (const auto& [unit, value] : by_unit_of(own_cells)) {
    const double against = others.at(unit);
    if (value > 0 && against > 0 && std::isfinite(value) && std::isfinite(against)) ratios.push_back(value / against);
  }
  return geometric_mean(ratios);
}

std::string SeedErrors::worded() const {
  std::vector<std::string> beside;
  if (!collapsed.empty()) beside.push_back(fmt::format("{} collapsed", collapsed.size()));
  if (!diverged.empty()) beside.push_back(fmt::format("{} diverged", diverged.size()));
  if (!misfits().empty()) beside.push_back(counted(std::ssize(misfits()), "misfit"));
  if (missing > 0) beside.push_back(fmt::format("{} missing", missing));
  return host::worded(summary()) + (beside.empty() ? "" : " (" + fmt::format("{}", fmt::join(beside, ", ")) + ")");
}

SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted) {
  SeedErrors errors;
  for (const SweepRow& row : rows) {
    if (wanted(row.trial)) errors.add(row, measure);
  }
  return errors;
}

SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure, const Trial& key) {
  Trial own = key;
  return seed_errors(rows, measure, [&](const Trial& trial) {
    own.world = trial.world;
    own.seed = trial.seed;
    own.start = trial.start;
    return trial == own;
  });
}

// Sums of squares between worlds, between the seeds of a world and between the starts of a seed, and what each expects
// (Searle, Casella and McCulloch, Variance Components, 3.6): a nested design whose groups may differ in size.
VarianceSources variance_sources(const SeedErrors& errors, std::int64_t test_draws) {
  struct Group {
    double sum = 0, count = 0;
  };
  std::map<std::uint64_t, Group> worlds;
  std::map<Cell, Group> cells;
  Group all;
  for (const auto& [draw, value] : errors.by_draw) {
    for (Group* group : {&all, &worlds[draw.world], &cells[{draw.world, draw.seed}]}) {
      group->sum += value;
      ++group->count;
    }
  }
  const double nan = std::nan("");
  VarianceSources sources{nan, nan, nan, 0};
  if (all.count == 0) return sources;
  const auto mean = [](const Group& group) { return group.sum / group.count; };
  double between_worlds = 0, between_cells = 0, between_starts = 0;
  double worlds_squared = 0, cells_squared = 0, cells_in_worlds = 0;  // sums of n_i^2 / N, n_ij^2 / N, n_ij^2 / n_i
  for (const auto& [world, group] : worlds) {
    between_worlds += group.count * std::pow(mean(group) - mean(all), 2);
    worlds_squared += group.count * group.count / all.count;
  }
  for (const auto& [cell, group] : cells) {
    const Group& world = worlds[cell.first];
    between_cells += group.count * std::pow(mean(group) - mean(world), 2);
    cells_squared += group.count * group.count / all.count;
    cells_in_worlds += group.count * group.count / world.count;
  }
  for (const auto& [draw, value] : errors.by_draw) {
    between_starts += std::pow(value - mean(cells[{draw.world, draw.seed}]), 2);
  }
  const auto count_worlds = static_cast<double>(worlds.size()), count_cells = static_cast<double>(cells.size());
  double start = 0, data = 0;  // of what was varied
  if (all.count > count_cells) sources.start = start = between_starts / (all.count - count_cells);
  if (count_cells > count_worlds) {
    const double freedom = count_cells - count_worlds;
    data = (between_cells / freedom - start) / ((all.count - cells_in_worlds) / freedom);
    sources.data = data = std::max(0.0, data);
  }
  if (count_worlds > 1) {
    const double freedom = count_worlds - 1;
    const double of_data = (cells_in_worlds - cells_squared) / freedom;
    sources.world =
        std::max(0.0, (between_worlds / freedom - start - of_data * data) / ((all.count - worlds_squared) / freedom));
  }
  if (test_draws > 0) sources.test = mean(all) * (1 - mean(all)) / static_cast<double>(test_draws);
  return sources;
}

std::vector<std::string> error_measures(const std::string& data) {
  if (data == "spiral") return {"density_error", "grid_error"};
  return {"test_error"};
}

std::string short_measure(const std::string& measure) { return measure.substr(0, measure.find('_')); }

std::string density_words(std::int64_t density_points) {
  if (density_points == 0) {
    return "the same with each cell weighted by the share of the mixture's points that fall on it, which is computed "
           "and not drawn";
  }
  return fmt::format("the share of {} fresh draws from the mixture, one fixed set for all models",
                     grouped(density_points));
}

const char* verdict_word(Verdict verdict) {
  switch (verdict) {
    case Verdict::lower: return "lower";
    case Verdict::same: return "same";
    case Verdict::higher: return "higher";
    default: return "undecided";
  }
}

std::string draws_words(std::size_t worlds, std::size_t seeds) {
  const std::string text = counted(static_cast<std::int64_t>(seeds), "seed");
  return worlds < 2 ? text : fmt::format("{} in each of {} worlds", text, worlds);
}

std::string worded(const Paired& difference) {
  if (difference.n == 0) return "-";
  std::string text = signed_points(difference.mean);
  if (difference.n > 1) {
    text += fmt::format(" [{}, {}]", signed_points(difference.interval.low), signed_points(difference.interval.high));
  }
  return text;
}

std::string worded(const Summary& errors) { return worded(errors, percent); }

std::string worded(const Summary& mean, const std::function<std::string(double)>& number) {
  if (mean.n == 0) return "-";
  std::string text = number(mean.mean);
  if (mean.n > 1) text += fmt::format(" [{}, {}]", number(mean.interval.low), number(mean.interval.high));
  return text;
}

std::string worded(const Interval& interval, const std::function<std::string(double)>& number) {
  return std::isfinite(interval.low) ? number(interval.low) + " to " + number(interval.high) : "";
}

const char* const kVerdictMethods =
    "Verdicts, of differences paired over what is independent (worlds where there are several, else seeds; starts on "
    "the same points are averaged first). Lower or higher: Student's t test of the mean difference. Same: two "
    "one-sided t tests show that it lies within the margin that is stated. Undecided: neither, or fewer than three "
    "pairs. Each at 5 %, after Holm's correction within the family of tests that a finding names, so that an "
    "interval may leave zero out and the verdict still be undecided. How many seeds would settle it: those that make "
    "the 95 % interval no wider than the margin, by the spread that was seen.";

namespace {

constexpr double kLevel = 0.05;  // of every test
constexpr int kFewest = 3;       // units: one or two carry no estimate of their own spread worth the name

// "0.5", in percentage points.
std::string points_words(double margin) { return fmt::format("{:g}", 100 * margin); }

}  // namespace

std::int64_t rounded_up(std::int64_t count) {
  std::int64_t unit = 1;
  while (count / unit >= 100) unit *= 10;
  return (count + unit - 1) / unit * unit;
}

Verdict Contrast::verdict_of(const Paired& one) const {
  if (one.n < kFewest) return Verdict::undecided;
  if (one.p_differs() * factor_differs < kLevel) return one.mean < 0 ? Verdict::lower : Verdict::higher;
  const double p_same = std::max(one.p_below(margin), one.p_above(-margin));
  return p_same * factor_same < kLevel ? Verdict::same : Verdict::undecided;
}

Verdict Contrast::verdict() const { return verdict_of(difference); }

bool Contrast::not_worse() const {
  return difference.n >= kFewest && difference.p_below(margin) * factor_same < kLevel;
}

bool Contrast::depends_on_failed() const { return failed > 0 && verdict() != verdict_of(trained); }

std::int64_t Contrast::units_to_settle() const {
  if (!(difference.sd > 0)) return 0;
  // The half-width at n units is t(n - 1) sd / sqrt(n); t is 1.96 and a little more.
  const auto narrow = [&](double n) {
    return 2 * student_quantile(1 - kLevel / 2, n - 1) * difference.sd <= margin * std::sqrt(n);
  };
  auto n = static_cast<std::int64_t>(std::pow(2 * 1.96 * difference.sd / margin, 2));
  n = std::max<std::int64_t>(n, kFewest);
  if (n > 1000000) return n;
  while (!narrow(static_cast<double>(n))) ++n;
  return n;
}

std::string Contrast::verdict_words() const {
  const Verdict said = verdict();
  if (said == Verdict::same) return fmt::format("same within {}", points_words(margin));
  if (said != Verdict::undecided || units_to_settle() == 0) return verdict_word(said);
  return fmt::format("undecided: about {} would settle it", counted(rounded_up(units_to_settle()), unit()));
}

std::string Contrast::worded() const {
  std::string text = host::worded(difference);
  if (difference.n == 0) return text;
  text += fmt::format(" {}", verdict_word(verdict()));
  if (depends_on_failed())
    text += fmt::format("; {} without those that failed to train", verdict_word(verdict_of(trained)));
  return text;
}

Contrast contrast(const std::string& what, const SeedErrors& a, const std::string& against, const SeedErrors& b,
                  const std::string& measure, nlohmann::json place) {
  Contrast c{.what = what, .against = against, .measure = measure, .place = std::move(place)};
  c.difference = a.minus(b);
  c.trained = a.minus_where_both_trained(b);
  c.of_what = a.summary();
  c.of_against = b.summary();
  c.train_what = a.train_summary();
  c.train_against = b.train_summary();
  c.failed = static_cast<int>(a.failed().size() + b.failed().size());
  c.over_worlds = a.over_worlds() && b.over_worlds();
  return c;
}

namespace {

// Holm: of m p values the smallest is multiplied by m, the next by m - 1, ..., and none becomes less than one before
// it. Returns what each was multiplied by.
std::vector<double> holm(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> factors(p.size(), 1);
  double least = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double value = p[order[rank]], times = static_cast<double>(p.size() - rank);
    least = std::max(least, value * times);
    factors[order[rank]] = value > 0 ? least / value : times;
  }
  return factors;
}

}  // namespace

void judge(std::span<Contrast* const> family) {
  std::vector<Contrast*> tested;
  std::vector<double> differs, same;
  for (Contrast* c : family) {
    if (c->difference.n < kFewest) continue;
    tested.push_back(c);
    differs.push_back(c->difference.p_differs());
    same.push_back(std::max(c->difference.p_below(c->margin), c->difference.p_above(-c->margin)));
  }
  const std::vector<double> by_differs = holm(differs), by_same = holm(same);
  for (std::size_t i = 0; i < tested.size(); ++i) {
    tested[i]->family = static_cast<int>(tested.size());
    tested[i]->factor_differs = by_differs[i];
    tested[i]->factor_same = by_same[i];
  }
}

std::string family_words(std::span<const Contrast> list) {
  int most = 1;
  for (const Contrast& c : list) most = std::max(most, c.family);
  return most == 1 ? "" : fmt::format("Tests are corrected after Holm in families of up to {}.", most);
}

void Verdicts::add(const std::string& place, const Contrast& contrast) {
  if (contrast.difference.n == 0) return;
  const Verdict said = contrast.verdict();
  (said == Verdict::lower    ? lower_
   : said == Verdict::higher ? higher_
   : said == Verdict::same   ? same_
                             : undecided_)
      .push_back(place);
  if (said == Verdict::same) margin_ = std::max(margin_, contrast.margin);
  if (said == Verdict::undecided && contrast.units_to_settle() > 0) {
    const std::int64_t units = rounded_up(contrast.units_to_settle());
    fewest_ = fewest_ == 0 ? units : std::min(fewest_, units);
    most_ = std::max(most_, units);
    unit_ = contrast.unit();
  }
  if (contrast.depends_on_failed()) {
    depending_.push_back(
        fmt::format("{} ({} without them)", place, verdict_word(contrast.verdict_of(contrast.trained))));
  }
}

std::string Verdicts::worded(const char* lower, const char* undecided, const char* higher, const char* same) const {
  std::string text;
  const auto append = [&](const std::vector<std::string>& places, const char* words) {
    if (!places.empty()) text += fmt::format("{}{} {}", text.empty() ? "" : "; ", words, listed(places));
  };
  append(lower_, lower);
  append(same_, same);
  append(undecided_, undecided);
  append(higher_, higher);
  return text;
}

std::string Verdicts::counted() const {
  const std::size_t all = lower_.size() + same_.size() + undecided_.size() + higher_.size();
  return fmt::format("lower at {} of {} places, higher at {}{} and undecided at {}", lower_.size(), all, higher_.size(),
                     same_.empty() ? "" : fmt::format(", the same at {}", same_.size()), undecided_.size());
}

std::string Verdicts::notes() const {
  std::vector<std::string> parts;
  if (!same_.empty()) {
    parts.push_back(fmt::format("The same: shown to differ by less than {} points.", points_words(margin_)));
  }
  if (!depending_.empty()) {
    constexpr std::size_t kMostNamed = 12;  // more would be a list that nobody reads; the table names all
    parts.push_back(
        "The verdict depends on networks that failed to train, which count with the error they have: at " +
        (depending_.size() > kMostNamed ? host::counted(std::ssize(depending_), "place") : listed(depending_)) + ".");
  }
  if (most_ > 0) {
    parts.push_back(fmt::format("What is undecided would be settled by about {}.",
                                fewest_ == most_
                                    ? host::counted(most_, unit_)
                                    : fmt::format("{} to {}", grouped(fewest_), host::counted(most_, unit_))));
  }
  return fmt::format("{}", fmt::join(parts, " "));
}

nlohmann::json to_json(const Summary& s) {
  return {{"mean", number(s.mean)},
          {"low", number(s.interval.low)},
          {"high", number(s.interval.high)},
          {"sd", number(s.sd)},
          {"standard_error", number(s.standard_error)},
          {"seeds", s.n}};
}

nlohmann::json to_json(const SeedErrors& errors) {
  nlohmann::json document = to_json(errors.summary());
  document.erase("seeds");  // in whose place their list stands
  document["unit"] = errors.over_worlds() ? "world" : "seed";
  auto &units = document[errors.over_worlds() ? "worlds" : "seeds"] = nlohmann::json::array(),
       &values = document["values"] = nlohmann::json::array();
  for (const auto& [unit, error] : errors.by_unit()) {
    units.push_back(unit);
    values.push_back(error);
  }
  document["collapsed"] = errors.collapsed.size();
  document["diverged"] = errors.diverged.size();
  document["misfit"] = errors.misfits().size();
  document["missing"] = errors.missing;
  return document;
}

namespace {

nlohmann::json numbers_of(const Contrast& c, const Paired& difference) {
  const double standard_error = difference.sd / std::sqrt(static_cast<double>(difference.n));
  nlohmann::json document =
      to_json(Summary{difference.n, difference.mean, difference.sd, standard_error, difference.interval});
  document["seeds_lower"] = difference.below;
  document["verdict"] = verdict_word(c.verdict_of(difference));
  return document;
}

}  // namespace

nlohmann::json to_json(const Contrast& c) {
  nlohmann::json document = numbers_of(c, c.difference);
  document["what"] = c.what;
  document["against"] = c.against;
  document["measure"] = c.measure;
  document["place"] = c.place;
  document["unit"] = c.unit();
  for (const auto& [side, mean] : {std::pair{"what", &c.of_what}, std::pair{"against", &c.of_against}}) {
    document[fmt::format("mean_{}", side)] = number(mean->mean);
    document[fmt::format("low_{}", side)] = number(mean->interval.low);
    document[fmt::format("high_{}", side)] = number(mean->interval.high);
  }
  for (const auto& [side, mean] : {std::pair{"what", &c.train_what}, std::pair{"against", &c.train_against}}) {
    document[fmt::format("train_{}", side)] = mean->n > 0 ? number(mean->mean) : nlohmann::json();
    document[fmt::format("train_low_{}", side)] = mean->n > 0 ? number(mean->interval.low) : nlohmann::json();
    document[fmt::format("train_high_{}", side)] = mean->n > 0 ? number(mean->interval.high) : nlohmann::json();
  }
  document["margin"] = c.margin;
  document["family"] = c.family;
  document["p_differs"] = number(std::min(1.0, c.difference.p_differs() * c.factor_differs));
  document["p_same"] =
      number(std::min(1.0, std::max(c.difference.p_below(c.margin), c.difference.p_above(-c.margin)) * c.factor_same));
  document["not_worse"] = c.not_worse();
  document["units_to_settle"] = c.verdict() == Verdict::undecided && c.units_to_settle() > 0
                                    ? nlohmann::json(c.units_to_settle())
                                    : nlohmann::json(nullptr);
  if (c.failed > 0) {
    document["without_failed"] = numbers_of(c, c.trained);
    document["depends_on_failed"] = c.depends_on_failed();
  }
  return document;
}

}  // namespace scalelab::host
