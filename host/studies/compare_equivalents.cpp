// How many points of kNN on (x, y) a model is worth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "host/program/words.h"
#include "host/studies/compare_findings.h"

namespace scalelab::host {

std::string Equivalent::factor_worded() const {
  if (units == 0) return "-";
  const auto size = static_cast<double>(n);
  const auto two = [](double value) { return fmt::format("{:.{}f}", value, value < 9.95 ? 1 : 0); };
  if (beyond == units) return "more than " + two(last / size);
  if (before == units) return "less than " + two(first / size);
  std::string text = beyond > 0   ? "more than " + two(rows / size)
                     : before > 0 ? "less than " + two(rows / size)
                                  : two(rows / size);
  if (std::isfinite(interval.low)) {
    text += fmt::format(" [{}, {}]", two(interval.low / size), two(interval.high / size));
  }
  return text;
}

namespace {

// The curve of kNN on (x, y): its error by n, then by unit.
using KnnCurve = std::map<double, std::map<std::uint64_t, double>>;

Equivalent equivalent(const std::string& model, std::int64_t n, const std::string& measure, const SeedErrors& errors,
                      const KnnCurve& curve) {
  Equivalent e;
  static_cast<RowsWorth&>(e) = rows_worth(errors.by_unit(), curve);
  e.model = model;
  e.n = n;
  e.measure = measure;
  e.over_worlds = errors.over_worlds();
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
  std::map<std::pair<std::string, std::string>, KnnCurve> curves;  // by kNN and measure
  for (const std::int64_t n : c.options.curve_sizes()) {
    for (const auto* measure : kMeasures) {
      for (const int k : kCurveNeighbours) {
        const std::string knn = fmt::format("knn-{}", k);
        const auto errors = c.errors(knn, n, measure).by_unit();
        if (!errors.empty()) curves[{knn, measure}][static_cast<double>(n)] = errors;
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
      KnnCurve curve;
      for (const std::int64_t size : c.options.world_sizes()) {
        const auto at = c.errors_over_worlds(curve_of(model), size, measure).by_unit();
        if (!at.empty()) curve[static_cast<double>(size)] = at;
      }
      Equivalent one = equivalent(model.name, n, measure, errors, curve);
      // A world without the curve, as where no encoding was asked about, leaves the model out.
      if (one.units == std::ssize(errors.by_unit())) result.push_back(std::move(one));
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
                      {"seeds", e.units},
                      {"knn_points", number(e.rows)},
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
