// How many points of kNN on (x, y) a model is worth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "host/program/words.h"
#include "host/studies/compare_findings.h"

namespace scalelab::host {

namespace {

// The unit of the second significant digit: 1,000 for 17,234.
double second_digit(double points) { return std::pow(10, std::max(0.0, std::floor(std::log10(points)) - 1)); }

std::string rounded(double points) {
  const double unit = second_digit(points);
  return grouped(static_cast<std::int64_t>(std::round(points / unit) * unit));
}

}  // namespace

std::string Equivalent::worded() const {
  if (seeds == 0) return "-";
  // A bound is never rounded beyond itself, and the end of the curve is exact.
  const double unit = second_digit(points);
  const auto whole = [&](double count) { return grouped(static_cast<std::int64_t>(count * unit)); };
  if (beyond > 0 && before > 0) return "about " + rounded(points);
  if (beyond == seeds) return "more than " + grouped(static_cast<std::int64_t>(last));
  if (before == seeds) return "fewer than " + grouped(static_cast<std::int64_t>(first));
  if (beyond > 0) return "more than " + whole(std::floor(points / unit));
  if (before > 0) return "fewer than " + whole(std::ceil(points / unit));
  return rounded(points);
}

std::string Equivalent::factor_worded() const {
  if (seeds == 0) return "-";
  const auto size = static_cast<double>(n);
  const auto two = [](double value) { return fmt::format("{:.{}f}", value, value < 9.95 ? 1 : 0); };
  if (beyond == seeds) return "more than " + two(last / size);
  if (before == seeds) return "less than " + two(first / size);
  std::string text = beyond > 0   ? "more than " + two(points / size)
                     : before > 0 ? "less than " + two(points / size)
                                  : two(points / size);
  if (std::isfinite(interval.low))
    text += fmt::format(" [{}, {}]", two(interval.low / size), two(interval.high / size));
  return text;
}

std::string Equivalent::interval_worded() const {
  if (!std::isfinite(interval.low) || beyond == seeds || before == seeds) return "-";
  if (before > 0 && interval.low <= first && beyond > 0 && interval.high >= last) return "not known";
  // Its ends are rounded outwards, so that what it says is never narrower than what is known.
  const auto outwards = [](double points, double (*round)(double)) {
    const double unit = second_digit(points);
    return grouped(static_cast<std::int64_t>(round(points / unit) * unit));
  };
  const std::string from = before > 0 && interval.low <= first
                               ? "fewer than " + grouped(static_cast<std::int64_t>(first))
                               : outwards(interval.low, std::floor);
  const std::string to = beyond > 0 && interval.high >= last ? "more than " + grouped(static_cast<std::int64_t>(last))
                                                             : outwards(interval.high, std::ceil);
  return from + " to " + to;
}

namespace {

// By unit, the curve of kNN on (x, y).
using UnitCurves = std::map<std::uint64_t, std::map<double, double>>;

Equivalent equivalent(const std::string& model, std::int64_t n, const std::string& measure, const SeedErrors& errors,
                      const UnitCurves& curves) {
  Equivalent e{.model = model, .n = n, .measure = measure, .over_worlds = errors.over_worlds()};
  std::vector<double> points;
  for (const auto& [unit, error] : errors.by_unit()) {
    const auto curve = curves.find(unit);
    if (curve == curves.end()) continue;
    std::vector<double> x, y;
    for (const auto& [size, knn_error] : curve->second) {
      x.push_back(size);
      y.push_back(knn_error);
    }
    const double needed = crossing(x, y, error);
    e.first = x.front();
    e.last = x.back();
    e.beyond += needed > x.back();
    e.before += needed < x.front();
    points.push_back(std::clamp(needed, x.front(), x.back()));
  }
  e.seeds = static_cast<int>(points.size());
  // What is known of the points ends where the curve ends; NaN stays.
  const auto within = [&](double value) { return std::min(std::max(value, e.first), e.last); };
  const GeometricMean mean = geometric_mean(points);
  e.points = within(mean.mean);
  e.interval = mean.interval;
  if (std::isfinite(mean.interval.low)) e.interval = {within(mean.interval.low), within(mean.interval.high)};
  return e;
}

// The kNN whose curve a model's points are read from.
std::string curve_of(const Model& model) { return model.is_knn() ? on_coordinates(model.name) : "knn-1"; }
bool has_equivalent(const Comparison& c, const Model& model) {
  return (!model.is_knn() || is_encoded_knn(model)) &&
         !c.errors(curve_of(model), c.options.sizes.front(), "grid_error").empty();
}

}  // namespace

std::vector<Equivalent> equivalents(const Comparison& c) {
  std::map<std::pair<std::string, std::string>, UnitCurves> curves;  // by kNN and measure
  for (const std::int64_t n : c.options.curve_sizes()) {
    for (const auto* measure : kMeasures) {
      for (const int k : kCurveNeighbours) {
        const std::string knn = fmt::format("knn-{}", k);
        for (const auto& [seed, error] : c.errors(knn, n, measure).by_unit()) {
          curves[{knn, measure}][seed][static_cast<double>(n)] = error;
        }
      }
    }
  }
  std::vector<Equivalent> result;
  if (curves.empty()) return result;
  for (const std::int64_t n : c.options.sizes) {
    for (const Model& model : c.options.models) {
      for (const auto* measure : kMeasures) {
        const auto curve = curves.find({curve_of(model), measure});
        if (!has_equivalent(c, model) || curve == curves.end()) continue;
        result.push_back(equivalent(model.name, n, measure, c.errors(model.name, n, measure), curve->second));
      }
    }
  }
  return result;
}

std::vector<Equivalent> equivalents_over_worlds(const Comparison& c) {
  std::vector<Equivalent> result;
  const std::int64_t n = c.options.sizes.front();
  for (const Model& model : c.options.models) {
    for (const auto* measure : kMeasures) {
      const SeedErrors errors = c.errors_over_worlds(model.name, n, measure);
      if (!has_equivalent(c, model) || !errors.over_worlds()) continue;
      UnitCurves curves;
      for (const std::int64_t size : c.options.world_sizes()) {
        for (const auto& [world, error] : c.errors_over_worlds(curve_of(model), size, measure).by_unit()) {
          curves[world][static_cast<double>(size)] = error;
        }
      }
      // A world without the curve, as where no encoding was asked about, leaves the model out.
      if (curves.size() < errors.by_unit().size()) continue;
      result.push_back(equivalent(model.name, n, measure, errors, curves));
    }
  }
  return result;
}

nlohmann::json to_json(const std::vector<Equivalent>& list) {
  auto result = nlohmann::json::array();
  for (const Equivalent& e : list) {
    result.push_back({{"model", e.model},
                      {"n", e.n},
                      {"measure", e.measure},
                      {"unit", e.over_worlds ? "world" : "seed"},
                      {"seeds", e.seeds},
                      {"knn_points", number(e.points)},
                      {"low", number(e.interval.low)},
                      {"high", number(e.interval.high)},
                      {"curve_first", e.first},
                      {"curve_last", e.last},
                      {"seeds_beyond_curve", e.beyond},
                      {"seeds_before_curve", e.before}});
  }
  return result;
}

}  // namespace scalelab::host
