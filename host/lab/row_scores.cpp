#include "host/lab/row_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "host/program/error.h"
#include "scalelab/buffer.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Lanes of Stream::rows: 0 for `keep` random and the score `random`, 1 + j for the j-th halving, from 100 on for the
// splits of prune_check.
std::uint64_t random_key(std::uint64_t seed, std::int64_t row, int lane) {
  const Words words =
      random_words(seed, Stream::rows, static_cast<std::uint64_t>(row), static_cast<std::uint32_t>(lane));
  return static_cast<std::uint64_t>(words[0]) << 32 | words[1];
}

// k-means++ centroids, as k-means begins; `stage` is that of the whole fit.
std::vector<float> start_centroids(View<const float> points, int k, std::uint64_t seed, Stage& stage,
                                   Context& context) {
  const std::int64_t n = points.extent(0), d = points.extent(1);
  if (k < 1 || (k > n && context.ranks.size() == 1))
    throw Failure(kMisuse, fmt::format("{} clusters of {} rows", k, n));
  Buffer<float> centroids(context, {k, d});
  stage.part(0, 1, 3);
  context.backend().kmeans_plus_plus(points, seed, centroids, context);
  stage.part(1, 3, 3);
  return centroids.to_host();
}

}  // namespace

std::vector<float> rows_at(std::span<const float> rows, std::int64_t features, std::span<const int> which) {
  std::vector<float> some;
  some.reserve(which.size() * static_cast<std::size_t>(features));
  for (const int row : which)
    some.insert(some.end(), rows.begin() + row * features, rows.begin() + (row + 1) * features);
  return some;
}

std::vector<int> random_order(std::int64_t n, std::uint64_t seed, int lane) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(n));
  for (std::int64_t row = 0; row < n; ++row) keys[row] = random_key(seed, row, lane);
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] != keys[b] ? keys[a] < keys[b] : a < b; });
  return order;
}

std::vector<float> random_scores(std::int64_t n, std::uint64_t seed) {
  std::vector<float> scores;
  for (std::int64_t row = 0; row < n; ++row) {
    scores.push_back(uniform_float(static_cast<std::uint32_t>(random_key(seed, row, 0) >> 32)));
  }
  return scores;
}

namespace {

// Each row's nearest centroid, and the squared distance to it, beside what the fit did.
Prototypes assigned(const Input<float>& points, const Buffer<float>& centroids, const KmeansResult& fit,
                    Context& context) {
  Buffer<int> labels(context, {points.view().extent(0)});
  Buffer<float> distances(context, {points.view().extent(0)});
  context.backend().kmeans_assign(points, centroids, labels, distances, context);
  return {centroids.to_host(), labels.to_host(), distances.to_host(), fit.iterations, fit.repaired, fit.converged};
}

}  // namespace

Prototypes euclidean_prototypes(std::span<const float> rows, std::int64_t features, int k, std::uint64_t seed,
                                Session& session) {
  Context& context = session.context;
  const auto n = static_cast<std::int64_t>(rows.size()) / features;
  const Input<float> points(context, rows, {n, features});
  Stage stage(session, "clusters");
  Buffer<float> centroids(context, start_centroids(points, k, seed, stage, context), {k, features});
  Buffer<int> labels(context, {n});
  const KmeansResult fit = context.backend().kmeans_fit(points, centroids, labels, {}, context);
  Prototypes result = assigned(points, centroids, fit, context);
  for (float& distance : result.distances) distance = std::sqrt(distance);
  return result;
}

Prototypes cosine_prototypes(std::span<const float> unit, std::int64_t features, int k, std::uint64_t seed,
                             Session& session) {
  Context& context = session.context;
  const auto n = static_cast<std::int64_t>(unit.size()) / features;
  const Input<float> points(context, unit, {n, features});
  Stage stage(session, "clusters");
  Buffer<float> centroids(context, start_centroids(points, k, seed, stage, context), {k, features});
  Buffer<int> labels(context, {n});
  const KmeansResult fit = spherical_fit(points, centroids, labels, {}, context);
  Prototypes result = assigned(points, centroids, fit, context);
  make_one_minus_cosine(result.distances);
  return result;
}

std::vector<float> class_mean_distances(std::span<const float> rows, std::int64_t features, std::span<const int> labels,
                                        int classes) {
  const auto d = static_cast<std::size_t>(features), n = labels.size();
  std::vector<double> means(static_cast<std::size_t>(classes) * d);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
  for (std::size_t row = 0; row < n; ++row) {
    ++counts[labels[row]];
    for (std::size_t c = 0; c < d; ++c) means[labels[row] * d + c] += rows[row * d + c];
  }
  for (std::size_t i = 0; i < means.size(); ++i) means[i] /= std::max<std::int64_t>(1, counts[i / d]);
  std::vector<float> distances(n);
  for (std::size_t row = 0; row < n; ++row) {
    double squares = 0;
    for (std::size_t c = 0; c < d; ++c) {
      const double t = rows[row * d + c] - means[labels[row] * d + c];
      squares += t * t;
    }
    distances[row] = static_cast<float>(std::sqrt(squares));
  }
  return distances;
}

std::int64_t class_floor_rows(double class_floor, std::int64_t kept, int classes) {
  return static_cast<std::int64_t>(class_floor * static_cast<double>(kept) / classes);
}

std::vector<int> keep_rows(std::span<const float> difficulty, std::span<const int> labels, int classes,
                           const std::string& keep, double fraction, std::uint64_t seed, double class_floor) {
  const auto n = static_cast<std::int64_t>(labels.size());
  if (n == 0 || n > std::numeric_limits<int>::max()) throw std::invalid_argument("keep_rows: no rows, or too many");
  if (!(fraction > 0 && fraction <= 1)) throw std::invalid_argument("keep_rows: the fraction is not in (0, 1]");
  if (!(class_floor >= 0 && class_floor <= 1)) throw std::invalid_argument("keep_rows: class_floor is not in [0, 1]");
  std::vector<int> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  if (keep == "all") return order;
  const std::int64_t kept = std::clamp<std::int64_t>(std::llround(fraction * static_cast<double>(n)), 1, n);
  if (keep == "random") {
    order = random_order(n, seed, 0);
    order.resize(static_cast<std::size_t>(kept));
    std::sort(order.begin(), order.end());
    return order;
  }
  if (keep != "hard" && keep != "easy") {
    throw std::invalid_argument("keep_rows: keep is one of all, hard, easy, random, not '" + keep + "'");
  }
  if (difficulty.size() != labels.size()) throw std::invalid_argument("keep_rows: lengths differ");
  for (const float value : difficulty) {
    if (std::isnan(value)) throw std::invalid_argument("keep_rows: a difficulty is NaN");
  }
  const bool hard = keep == "hard";
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    if (difficulty[a] != difficulty[b]) return hard == (difficulty[a] > difficulty[b]);
    return a < b;
  });
  const auto floor = class_floor_rows(class_floor, kept, classes);
  std::vector<std::int64_t> taken(static_cast<std::size_t>(classes));
  std::vector<int> rows, rest;
  for (const int row : order) {
    auto& count = taken.at(static_cast<std::size_t>(labels[row]));
    (count < floor ? rows : rest).push_back(row);
    ++count;
  }
  rows.insert(rows.end(), rest.begin(), rest.begin() + (kept - static_cast<std::int64_t>(rows.size())));
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<int> keep_rows(std::span<const float> difficulty, std::span<const std::uint8_t> labels, int classes,
                           const std::string& keep, double fraction, std::uint64_t seed, double class_floor) {
  return keep_rows(difficulty, std::vector<int>(labels.begin(), labels.end()), classes, keep, fraction, seed,
                   class_floor);
}

}  // namespace scalelab::host
