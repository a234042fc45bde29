#include "host/own_data/projection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "host/lab/row_scores.h"

namespace scalelab::host {

namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Length 1; what has none stays as it is.
void normalize(std::vector<double>& v) {
  const double length = std::sqrt(dot(v, v));
  for (double& x : v) x /= length > 0 ? length : 1;
}

// Rows about their mean, (m, d).
struct Centred {
  std::vector<std::vector<double>> rows;

  std::vector<double> along(const std::vector<double>& direction) const {  // (m)
    std::vector<double> at;
    for (const auto& row : rows) at.push_back(dot(row, direction));
    return at;
  }
  double variance() const {
    double sum = 0;
    for (const auto& row : rows) sum += dot(row, row);
    return sum;
  }
};

// Power iteration with the first direction taken out: the covariance is never made, so that many features cost little.
std::vector<double> direction_of_largest_variance(const Centred& centred, const std::vector<double>& without) {
  constexpr int kIterations = 200;
  const std::size_t d = centred.rows[0].size();
  std::vector<double> direction(d);
  for (std::size_t c = 0; c < d; ++c) direction[c] = 1 + 0.5 * std::sin(1.0 + static_cast<double>(c));
  const auto deflate = [&] {
    const double common = without.empty() ? 0 : dot(direction, without);
    for (std::size_t c = 0; c < d && common != 0; ++c) direction[c] -= common * without[c];
    normalize(direction);
  };
  deflate();
  for (int i = 0; i < kIterations; ++i) {
    const std::vector<double> at = centred.along(direction);
    std::vector<double> next(d);
    for (std::size_t r = 0; r < at.size(); ++r) {
      for (std::size_t c = 0; c < d; ++c) next[c] += at[r] * centred.rows[r][c];
    }
    if (dot(next, next) == 0) break;
    direction = next;
    deflate();
  }
  return direction;
}

}  // namespace

Projection project(std::span<const float> values, std::int64_t features, std::uint64_t seed) {
  const std::int64_t n = std::ssize(values) / features;
  Projection result;
  const std::vector<int> order = random_order(n, seed, 0);
  result.rows.assign(order.begin(), order.begin() + std::min(n, kMostProjected));
  std::sort(result.rows.begin(), result.rows.end());
  if (features <= 2) {
    for (const std::int64_t row : result.rows) {
      const auto at = static_cast<std::size_t>(row * features);
      result.points.push_back({values[at], features == 2 ? values[at + 1] : 0.0F});
    }
    result.x_title = "first feature";
    result.y_title = features == 2 ? "second feature" : "";
    return result;
  }
  Centred centred;
  std::vector<double> mean(static_cast<std::size_t>(features));
  for (const std::int64_t row : result.rows) {
    const auto at = values.begin() + row * features;
    centred.rows.emplace_back(at, at + features);
    for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += centred.rows.back()[c] / std::size(result.rows);
  }
  for (auto& row : centred.rows) {
    for (std::size_t c = 0; c < mean.size(); ++c) row[c] -= mean[c];
  }
  const std::vector<double> first = direction_of_largest_variance(centred, {});
  const std::vector<double> second = direction_of_largest_variance(centred, first);
  const std::vector<double> x = centred.along(first), y = centred.along(second);
  for (std::size_t r = 0; r < x.size(); ++r) result.points.push_back({x[r], y[r]});
  const double all = centred.variance();
  const auto title = [&](const char* which, const std::vector<double>& along) {
    return fmt::format("{} principal component, {:.0f} % of the variance", which,
                       all > 0 ? 100 * dot(along, along) / all : 0.0);
  };
  result.x_title = title("first", x);
  result.y_title = title("second", y);
  return result;
}

}  // namespace scalelab::host
