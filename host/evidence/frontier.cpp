#include "host/evidence/frontier.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

std::set<std::uint64_t> shared_units(std::span<const Candidate> candidates) {
  std::set<std::uint64_t> units;
  for (const auto& [unit, error] : candidates[0].errors) units.insert(unit);
  for (const Candidate& one : candidates) {
    std::erase_if(units, [&](std::uint64_t unit) { return !one.errors.contains(unit); });
  }
  return units;
}

// Of those that keep at most `kept`: the one with the lowest mean over the units but for one, which is left out.
std::size_t lowest(std::span<const Candidate> candidates, double kept, const std::set<std::uint64_t>& units,
                   const std::uint64_t* left_out) {
  std::tuple<double, double, std::size_t> best{HUGE_VAL, HUGE_VAL, 0};
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].kept > kept) continue;
    double sum = 0;
    for (const std::uint64_t unit : units) {
      if (left_out == nullptr || unit != *left_out) sum += candidates[i].errors.at(unit);
    }
    best = std::min(best, std::tuple{sum, candidates[i].kept, i});
  }
  return std::get<2>(best);
}

}  // namespace

std::vector<FrontierPoint> frontier(std::span<const Candidate> candidates) {
  std::vector<FrontierPoint> points;
  if (candidates.empty()) return points;
  const std::set<std::uint64_t> units = shared_units(candidates);
  if (units.size() < 2) return points;
  std::set<double> places;
  for (const Candidate& one : candidates) places.insert(one.kept);
  for (const double kept : places) {
    if (std::count_if(candidates.begin(), candidates.end(), [&](const Candidate& c) { return c.kept <= kept; }) < 2) {
      continue;
    }
    FrontierPoint point{kept, lowest(candidates, kept, units, nullptr), {}};
    for (const std::uint64_t unit : units) {
      point.errors[unit] = candidates[lowest(candidates, kept, units, &unit)].errors.at(unit);
    }
    points.push_back(std::move(point));
  }
  return points;
}

RowsWorth rows_worth(const std::map<std::uint64_t, double>& errors,
                     const std::map<double, std::map<std::uint64_t, double>>& curve) {
  RowsWorth worth;
  if (curve.empty()) return worth;
  worth.first = curve.begin()->first;
  worth.last = curve.rbegin()->first;
  std::vector<double> rows;
  for (const auto& [unit, error] : errors) {
    std::vector<double> x, y;
    for (const auto& [size, at] : curve) {
      const auto found = at.find(unit);
      if (found == at.end()) continue;
      x.push_back(size);
      y.push_back(found->second);
    }
    if (x.size() < 2) continue;
    const double needed = crossing(x, y, error);
    worth.beyond += needed > x.back();
    worth.before += needed < x.front();
    rows.push_back(std::clamp(needed, x.front(), x.back()));
  }
  worth.units = static_cast<int>(rows.size());
  const GeometricMean mean = geometric_mean(rows);
  // What is known of the rows ends where the curve ends; NaN stays.
  const auto within = [&](double value) { return std::clamp(value, worth.first, worth.last); };
  worth.rows = within(mean.mean);
  worth.interval = mean.interval;
  if (std::isfinite(mean.interval.low)) worth.interval = {within(mean.interval.low), within(mean.interval.high)};
  return worth;
}

namespace {

// The unit of the second significant digit: 1,000 for 17,234.
double second_digit(double rows) { return std::pow(10, std::max(0.0, std::floor(std::log10(rows)) - 1)); }

std::string rounded(double rows) {
  const double unit = second_digit(rows);
  return grouped(static_cast<std::int64_t>(std::round(rows / unit) * unit));
}

std::string more_than(double last) { return "more than " + grouped(static_cast<std::int64_t>(last)); }
std::string fewer_than(double first) { return "fewer than " + grouped(static_cast<std::int64_t>(first)); }

}  // namespace

std::string RowsWorth::worded() const {
  if (units == 0) return "-";
  if (beyond > 0 && before > 0) return "about " + rounded(rows);
  // A bound is never rounded beyond itself, and the end of the curve is exact.
  if (beyond == units) return more_than(last);
  if (before == units) return fewer_than(first);
  const double unit = second_digit(rows);
  if (beyond > 0) return more_than(std::floor(rows / unit) * unit);
  if (before > 0) return fewer_than(std::ceil(rows / unit) * unit);
  return rounded(rows);
}

std::string RowsWorth::interval_worded() const {
  if (!std::isfinite(interval.low) || beyond == units || before == units) return "-";
  if (beyond > 0 && interval.low >= last) return more_than(last);
  if (before > 0 && interval.high <= first) return fewer_than(first);
  // Its ends are rounded outwards: what it says is never narrower than what is known.
  const auto outwards = [](double end, double (*round)(double)) {
    const double unit = second_digit(end);
    return grouped(static_cast<std::int64_t>(round(end / unit) * unit));
  };
  const std::string from = before > 0 && interval.low <= first ? fewer_than(first) : outwards(interval.low, std::floor);
  const std::string to = beyond > 0 && interval.high >= last ? more_than(last) : outwards(interval.high, std::ceil);
  return from + " to " + to;
}

}  // namespace scalelab::host
