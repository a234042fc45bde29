// k-means against a scalar oracle that follows kmeans.h word for word, bit for bit; against fp64 within derived bounds;
// and against what must not matter: threads, vector targets, the order of the points.
#include "scalelab/kmeans.h"

#include <hwy/targets.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "kernels/cpu/byte_bounds.h"
#include "kernels/kmeans_total.h"
#include "scalelab/work.h"
#include "tests/byte_remainders.h"
#include "tests/support.h"

namespace scalelab::test {
namespace {

using Floats = std::vector<float>;

// --- the oracle

struct Assigned {
  std::vector<int> labels;
  Floats distances;
};

Assigned oracle_assign(const Floats& points, const Floats& centroids, std::int64_t d) {
  const std::size_t n = points.size() / d, k = centroids.size() / d;
  Assigned all{std::vector<int>(n), Floats(n)};
  for (std::size_t i = 0; i < n; ++i) {
    int best = -1;
    float least = 0;
    for (std::size_t j = 0; j < k; ++j) {
      float s = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        const float t = points[i * d + c] - centroids[j * d + c];
        s = std::fma(t, t, s);
      }
      if (best < 0 || s < least) {
        best = static_cast<int>(j);
        least = s;
      }
    }
    all.labels[i] = best;
    all.distances[i] = least;
  }
  return all;
}

// s of kmeans.h for n values up to `largest`.
int oracle_shift(float largest, std::size_t n) {
  int e = 0;
  if (largest > 0) {
    e = -150;
    while (std::ldexp(1.0, e) <= static_cast<double>(largest)) ++e;
  }
  const int b = static_cast<int>(std::ceil(std::log2(static_cast<double>(n))));
  return std::min(61 - b, 50) - e;
}

std::int64_t oracle_fixed(float x, int shift) { return std::llrint(std::ldexp(static_cast<double>(x), shift)); }

float oracle_mean(std::int64_t total, std::int64_t count, int shift) {
  return static_cast<float>(std::ldexp(static_cast<double>(total) / static_cast<double>(count), -shift));
}

std::vector<int> oracle_shifts(const Floats& points, std::int64_t d) {
  std::vector<int> shifts;
  for (std::int64_t c = 0; c < d; ++c) {
    float largest = 0;
    for (std::size_t i = c; i < points.size(); i += d) largest = std::max(largest, std::abs(points[i]));
    shifts.push_back(oracle_shift(largest, points.size() / d));
  }
  return shifts;
}

double oracle_inertia(const Floats& distances) {
  double all = 0;
  for (std::size_t i = 0; i < distances.size(); i += 4096) {
    double block = 0;
    for (std::size_t j = i; j < std::min(i + 4096, distances.size()); ++j) block += static_cast<double>(distances[j]);
    all += block;
  }
  return all;
}

struct Fitted {
  Floats centroids;
  std::vector<int> labels;
  KmeansResult result;
};

Fitted oracle_fit(const Floats& points, Floats centroids, std::int64_t d, const KmeansOptions& options) {
  const std::size_t n = points.size() / d, k = centroids.size() / d;
  const std::vector<int> shifts = oracle_shifts(points, d);
  Floats mean;
  for (std::int64_t c = 0; c < d; ++c) {
    std::int64_t total = 0;
    for (std::size_t i = 0; i < n; ++i) total += oracle_fixed(points[i * d + c], shifts[c]);
    mean.push_back(oracle_mean(total, static_cast<std::int64_t>(n), shifts[c]));
  }
  const double variance = oracle_inertia(oracle_assign(points, mean, d).distances) / (static_cast<double>(n) * d);
  KmeansResult result;
  while (result.iterations < options.max_iterations && !result.converged) {
    const Assigned now = oracle_assign(points, centroids, d);
    std::vector<std::int64_t> totals(k * d), counts(k);
    std::vector<bool> taken(n);
    const auto add = [&](std::size_t i, std::size_t j, int sign) {
      for (std::int64_t c = 0; c < d; ++c) totals[j * d + c] += sign * oracle_fixed(points[i * d + c], shifts[c]);
      counts[j] += sign;
    };
    for (std::size_t i = 0; i < n; ++i) add(i, now.labels[i], 1);
    for (std::size_t j = 0; j < k; ++j) {
      if (counts[j] != 0) continue;
      std::optional<std::size_t> farthest;
      for (std::size_t i = 0; i < n; ++i) {
        if (taken[i] || counts[now.labels[i]] < 2) continue;
        if (!farthest || now.distances[i] > now.distances[*farthest]) farthest = i;
      }
      taken[*farthest] = true;
      add(*farthest, now.labels[*farthest], -1);
      add(*farthest, j, 1);
      ++result.repaired;
    }
    double moved = 0;
    for (std::size_t j = 0; j < k; ++j) {
      double own = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        const float to = oracle_mean(totals[j * d + c], counts[j], shifts[c]);
        const double t = static_cast<double>(to) - static_cast<double>(centroids[j * d + c]);
        own = std::fma(t, t, own);
        centroids[j * d + c] = to;
      }
      moved += own;
    }
    result.converged = moved <= (options.tolerance > 0 ? options.tolerance * variance : 0);
    ++result.iterations;
  }
  const Assigned last = oracle_assign(points, centroids, d);
  result.inertia = oracle_inertia(last.distances);
  return {centroids, last.labels, result};
}

std::vector<std::size_t> oracle_plus_plus(const Floats& points, std::int64_t d, std::size_t k, std::uint64_t seed) {
  const std::size_t n = points.size() / d;
  std::vector<std::size_t> chosen;
  Floats least(n, INFINITY);
  int shift = 0;
  std::optional<std::uint64_t> last;  // W after the last change of units
  for (std::size_t j = 0; j < k; ++j) {
    const Words w = random_words(seed, Stream::kmeans, j);
    std::vector<std::int64_t> weights(n);
    std::uint64_t all = 0;
    const auto weigh = [&] {
      all = 0;
      for (std::size_t i = 0; j > 0 && i < n; ++i) {
        weights[i] = oracle_fixed(std::min(least[i], std::numeric_limits<float>::max()), shift);
        all += static_cast<std::uint64_t>(weights[i]);
      }
    };
    weigh();
    if (j > 0 && all < 4096 * n && (!last || 2 * all < *last)) {
      const float most = *std::max_element(least.begin(), least.end());
      shift = oracle_shift(std::min(most, std::numeric_limits<float>::max()), n);
      weigh();
      last = all;
    }
    std::size_t pick = 0;
    if (j == 0) {
      pick = uniform_below(n, w[0], w[1]);
    } else if (all == 0) {
      while (std::find(chosen.begin(), chosen.end(), pick) != chosen.end()) ++pick;
    } else {
      const auto draw = static_cast<std::int64_t>(uniform_below(all, w[0], w[1]));
      std::int64_t sum = weights[0];
      while (sum <= draw) sum += weights[++pick];
    }
    chosen.push_back(pick);
    const Floats centre(points.begin() + pick * d, points.begin() + (pick + 1) * d);
    const Floats distances = oracle_assign(points, centre, d).distances;
    for (std::size_t i = 0; i < n; ++i) least[i] = std::min(least[i], distances[i]);
    if (j == 0) {
      const float most = *std::max_element(least.begin(), least.end());
      shift = oracle_shift(std::min(most, std::numeric_limits<float>::max()), n);
    }
  }
  return chosen;
}

// --- data

enum class Kind { uniform, offset, clusters, lattice, collinear, equal, scales, last };

std::string name_of(Kind kind) {
  return std::array{"uniform", "offset", "clusters", "lattice", "collinear", "equal", "scales"}[static_cast<int>(kind)];
}

Floats make(Kind kind, std::size_t n, std::int64_t d, std::uint64_t seed) {
  Floats x = uniform_floats(n * d, seed);
  const Floats centres = uniform_floats(8 * d, seed + 1000);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < d; ++c) {
      float& v = x[i * d + c];
      switch (kind) {
        case Kind::uniform: break;
        case Kind::offset: v = 1e6F + 4 * v; break;  // steps of 1/16: many duplicates and ties
        case Kind::clusters: v = centres[(i * 7 % 8) * d + c] + 1e-6F * v; break;
        case Kind::lattice: v = std::rint(2 * v); break;  // duplicates, and every tie there can be
        case Kind::collinear: v = x[i * d] * static_cast<float>(c + 1); break;
        case Kind::equal: v = 0.7F; break;
        case Kind::scales: v = std::ldexp(v, static_cast<int>(i * 37 % 60) - 40 + static_cast<int>(c % 3) * 8); break;
        case Kind::last: break;
      }
    }
  }
  return x;
}

// k of the points, spread over them; with fewer places than k some are equal.
Floats start_from(const Floats& points, std::int64_t d, std::size_t k) {
  const std::size_t n = points.size() / d;
  Floats centroids;
  for (std::size_t j = 0; j < k; ++j) {
    const std::size_t i = j * n / k;
    centroids.insert(centroids.end(), points.begin() + i * d, points.begin() + (i + 1) * d);
  }
  return centroids;
}

// --- the ops

class Kmeans : public OnBackend {
 protected:
  Assigned assign(const Floats& points, const Floats& centroids, std::int64_t d, int threads = 0) {
    Context context(backend(), 0, threads);
    const auto n = static_cast<std::int64_t>(points.size()) / d, k = static_cast<std::int64_t>(centroids.size()) / d;
    const Guarded<float> p(context, points, {n, d}), c(context, centroids, {k, d});
    Guarded<int> labels(context, {n}), labels_alone(context, {n});
    Guarded<float> distances(context, {n});
    backend().kmeans_assign(p, c, labels, distances, context);
    backend().kmeans_assign(p, c, labels_alone, {}, context);
    EXPECT_TRUE(same_bits(labels_alone.to_host(), labels.to_host())) << "without distances";
    EXPECT_TRUE(same_bits(p.to_host(), points)) << "the points were written to";
    return {labels.to_host(), distances.to_host()};
  }
  Fitted fit(const Floats& points, const Floats& start, std::int64_t d, const KmeansOptions& options = {},
             int threads = 0) {
    Context context(backend(), 0, threads);
    const auto n = static_cast<std::int64_t>(points.size()) / d, k = static_cast<std::int64_t>(start.size()) / d;
    const Guarded<float> p(context, points, {n, d});
    Guarded<float> c(context, start, {k, d});
    Guarded<int> labels(context, {n});
    const KmeansResult result = backend().kmeans_fit(p, c, labels, options, context);
    return {c.to_host(), labels.to_host(), result};
  }
  Floats plus_plus(const Floats& points, std::int64_t d, std::int64_t k, std::uint64_t seed, int threads = 0) {
    Context context(backend(), 0, threads);
    const auto n = static_cast<std::int64_t>(points.size()) / d;
    const Guarded<float> p(context, points, {n, d});
    Guarded<float> c(context, {k, d});
    backend().kmeans_plus_plus(p, seed, c, context);
    return c.to_host();
  }
  void expect_same(const Fitted& got, const Fitted& want, const std::string& what) {
    EXPECT_EQ(got.result.iterations, want.result.iterations) << what;
    EXPECT_EQ(got.result.converged, want.result.converged) << what;
    EXPECT_EQ(got.result.repaired, want.result.repaired) << what;
    EXPECT_EQ(got.result.inertia, want.result.inertia) << what;
    EXPECT_TRUE(same_bits(got.centroids, want.centroids)) << what << ": centroids";
    EXPECT_TRUE(same_bits(got.labels, want.labels)) << what << ": labels";
  }
};
SCALELAB_ON_EACH_BACKEND(Kmeans);

std::string shape(Kind kind, std::size_t n, std::int64_t d, std::size_t k) {
  return name_of(kind) + " n " + std::to_string(n) + " d " + std::to_string(d) + " k " + std::to_string(k);
}

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (int kind = 0; kind < static_cast<int>(Kind::last); ++kind) kinds.push_back(static_cast<Kind>(kind));
  return kinds;
}

// All kinds while they are cheap; of large shapes one each.
std::vector<Kind> kinds_for(std::size_t work) {
  if (work < 300000) return all_kinds();
  return {all_kinds()[work / 7 % all_kinds().size()]};
}

TEST_P(Kmeans, AssignmentIsTheCanonicalOne) {
  const std::vector<std::size_t> sizes = on_executor() ? std::vector<std::size_t>{1, 33, 129}
                                                       : std::vector<std::size_t>{1, 31, 32, 33, 127, 128, 129, 1009};
  const std::vector<std::int64_t> features =
      on_executor() ? std::vector<std::int64_t>{1, 2, 3, 17} : std::vector<std::int64_t>{1, 2, 3, 4, 17, 64, 512};
  for (const std::int64_t d : features) {
    for (const std::size_t n : sizes) {
      for (const std::size_t k : {1, 7, 16, 70}) {
        for (const Kind kind : kinds_for(n * k * d)) {
          const Floats points = make(kind, n, d, n + k), centroids = make(kind, k, d, 77 + k);
          const Assigned got = assign(points, centroids, d), want = oracle_assign(points, centroids, d);
          ASSERT_TRUE(same_bits(got.labels, want.labels)) << shape(kind, n, d, k);
          ASSERT_TRUE(same_bits(got.distances, want.distances)) << shape(kind, n, d, k);
        }
      }
    }
  }
}

TEST_P(Kmeans, AssignmentOfManyPointsIsTheCanonicalOne) {
  const std::size_t n = on_executor() ? 700 : 33001, k = on_executor() ? 40 : 260;
  for (const std::int64_t d : {2, 3}) {
    for (const Kind kind : all_kinds()) {
      const Floats points = make(kind, n, d, 5);
      Floats centroids = start_from(make(kind, n, d, 6), d, k);
      std::copy_n(centroids.begin(), 20 * d,
                  centroids.end() - 20 * d);  // copies of earlier ones are nearest to nothing
      const Assigned got = assign(points, centroids, d), want = oracle_assign(points, centroids, d);
      EXPECT_TRUE(same_bits(got.labels, want.labels)) << shape(kind, n, d, k);
      EXPECT_TRUE(same_bits(got.distances, want.distances)) << shape(kind, n, d, k);
    }
  }
}

// On the CPU scores propose here, and canonical distances decide what scores cannot (kernels/kmeans_rows.h): ties and
// what rounding makes of them, centroids that lie together, squares that overflow and that underflow.
TEST_P(Kmeans, AssignmentInManyFeaturesIsTheCanonicalOne) {
  struct Shape {
    std::int64_t d;
    std::size_t k;
  };
  const std::vector<Shape> shapes =
      on_executor() ? std::vector<Shape>{{65, 64}} : std::vector<Shape>{{24, 171}, {65, 64}, {128, 37}, {200, 130}};
  const std::size_t n = on_executor() ? 80 : 333;
  for (const auto [d, k] : shapes) {
    for (const Kind kind : all_kinds()) {
      for (const float scale : {1.0F, 1e-22F, 2e18F, 1e19F}) {
        Floats points = make(kind, n, d, 5 + k);
        for (float& x : points) x *= scale;
        Floats centroids = start_from(points, d, k);
        // The upper half of them are middles of two points, and so next to each other's ties.
        for (std::size_t i = k / 2 * d; i < centroids.size(); ++i) {
          centroids[i] = 0.5F * (centroids[i] + points[i % points.size()]);
        }
        const Assigned got = assign(points, centroids, d), want = oracle_assign(points, centroids, d);
        ASSERT_TRUE(same_bits(got.labels, want.labels)) << shape(kind, n, d, k) << " scale " << scale;
        ASSERT_TRUE(same_bits(got.distances, want.distances)) << shape(kind, n, d, k) << " scale " << scale;
        if (scale != 1.0F || kind == Kind::scales) continue;
        const KmeansOptions options{.max_iterations = 2, .tolerance = 0};
        expect_same(fit(points, centroids, d, options), oracle_fit(points, centroids, d, options),
                    shape(kind, n, d, k));
      }
    }
    // Centroids that lie together in the middle of all points: scores tell them apart where distances are rounded
    // alike. Every point has its opposite, so that the middle is 0 also for those that scores are centred on.
    Floats points = make(Kind::uniform, on_executor() ? 40 : 512, d, 5);
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (i / d % 4 >= 2) points[i] = -points[i - 2 * d];
    }
    Floats centroids = make(Kind::uniform, k, d, 6);
    for (float& x : centroids) x *= 1e-5F;
    const Assigned got = assign(points, centroids, d), want = oracle_assign(points, centroids, d);
    EXPECT_TRUE(same_bits(got.labels, want.labels)) << "together, d " << d;
    EXPECT_TRUE(same_bits(got.distances, want.distances)) << "together, d " << d;
  }
}

// Centroids that differ by less than a byte of a row can say, points midway between two, and rows in which one feature is
// so large that bytes say little of the others (kernels/cpu/byte_bounds.h): labels are those of the definition, and by
// fp64 within the rounding of the canonical distance, which is (d + 8) 2^-24 of it.
TEST_P(Kmeans, NearTiesInManyFeaturesAreDecidedByCanonicalDistances) {
  const std::size_t n = on_executor() ? 64 : 90, k = on_executor() ? 64 : 70;
  for (const std::int64_t d :
       on_executor() ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{64, 768, 1536}) {
    for (const float step : {1e-1F, 1e-3F, 1e-5F, 1e-7F}) {
      for (const float large : {1.0F, 1000.0F}) {
        Floats points = make(Kind::uniform, n, d, 3), centroids = make(Kind::uniform, k, d, 4);
        const Floats moves = uniform_floats(k * d, 5, -step, step);
        for (std::size_t i = 16 * d; i < centroids.size(); ++i) centroids[i] = centroids[i % (16 * d)] + moves[i];
        for (std::size_t i = 0; i < n * d / 2; ++i) {  // midway between a centroid and its double
          points[i] = 0.5F * (centroids[i % (16 * d)] + centroids[i % (16 * d) + 16 * d]);
        }
        for (auto* rows : {&points, &centroids}) {
          for (std::size_t i = 0; i < rows->size(); i += d) (*rows)[i] *= large;
        }
        SCOPED_TRACE(testing::Message() << "d " << d << ", step " << step << ", large " << large);
        const Assigned got = assign(points, centroids, d), want = oracle_assign(points, centroids, d);
        ASSERT_TRUE(same_bits(got.labels, want.labels));
        ASSERT_TRUE(same_bits(got.distances, want.distances));
        for (std::size_t i = 0; i < n; i += 7) {
          const auto distance = [&](std::size_t j) {
            double sum = 0;
            for (std::int64_t c = 0; c < d; ++c) {
              sum += std::pow(static_cast<double>(points[i * d + c]) - static_cast<double>(centroids[j * d + c]), 2);
            }
            return sum;
          };
          double least = INFINITY;
          for (std::size_t j = 0; j < k; ++j) least = std::min(least, distance(j));
          ASSERT_LE(distance(static_cast<std::size_t>(got.labels[i])), least * (1 + 2.02 * (d + 8) * 0x1p-24));
        }
        if (d == 1536) continue;
        const KmeansOptions options{.max_iterations = 3, .tolerance = 0};
        expect_same(fit(points, centroids, d, options), oracle_fit(points, centroids, d, options), "fit");
      }
    }
  }
}

TEST_P(Kmeans, WhatBytesLeaveMayLieAlongTheOtherRow) {
  for (const bool of_row : {true, false}) {
    const ByteRemainders rows(of_row);
    Floats centroids = rows.rival, points;
    centroids.insert(centroids.end(), rows.others.begin(), rows.others.end());
    centroids.insert(centroids.end(), rows.nearest.begin(), rows.nearest.end());
    for (int i = 0; i < 40; ++i) points.insert(points.end(), rows.row.begin(), rows.row.end());
    points = with_opposites(points, rows.kFeatures);
    const Assigned got = assign(points, centroids, rows.kFeatures);
    EXPECT_EQ(got.labels[0], 63) << of_row;
    EXPECT_TRUE(same_bits(got.labels, oracle_assign(points, centroids, rows.kFeatures).labels)) << of_row;
  }
}

TEST_P(Kmeans, DistancesThatOverflowAreComparedAsInfinite) {
  const Floats points = {3e38F, 3e38F, -3e38F, -3e38F, 1, 1}, centroids = {-1e38F, 3e38F, -1e25F, 0, 2, 2};
  const Assigned got = assign(points, centroids, 2), want = oracle_assign(points, centroids, 2);
  EXPECT_TRUE(same_bits(got.labels, want.labels));
  EXPECT_TRUE(same_bits(got.distances, want.distances));
  EXPECT_EQ(got.labels[1], 0);  // infinite to all of them: the lowest index
  const KmeansOptions once{.max_iterations = 2, .tolerance = 1};
  expect_same(fit(points, {3e38F, 3e38F, 0, 0}, 2, once), oracle_fit(points, {3e38F, 3e38F, 0, 0}, 2, once), "fit");
  for (const int k : {130, 300}) {  // as many as a list of candidates holds, and more
    Floats many;
    for (int j = 0; j < k; ++j) many.insert(many.end(), {static_cast<float>(j), 1});
    const Floats beyond = {3e38F, 3e38F, 3e38F, 2e38F, 2e38F, 3e38F};
    EXPECT_TRUE(same_bits(assign(beyond, many, 2).labels, oracle_assign(beyond, many, 2).labels)) << k;
  }
}

TEST_P(Kmeans, FitIsTheScalarLloyd) {
  const std::vector<std::size_t> sizes = on_executor() ? std::vector<std::size_t>{1, 33, 129}
                                                       : std::vector<std::size_t>{1, 31, 32, 33, 127, 128, 129, 1009};
  const std::vector<std::int64_t> features =
      on_executor() ? std::vector<std::int64_t>{1, 2, 3, 17} : std::vector<std::int64_t>{1, 2, 3, 4, 17, 64, 512};
  int repaired = 0, converged = 0;
  for (const std::int64_t d : features) {
    for (const std::size_t n : sizes) {
      for (const std::size_t k : {std::size_t{1}, std::size_t{5}, std::size_t{20}, n}) {
        if (k > n || (k == n && n * n * static_cast<std::size_t>(d) > 2000000)) continue;
        for (const Kind kind : kinds_for(n * k * d)) {
          const Floats points = make(kind, n, d, n + k), start = start_from(points, d, k);
          const KmeansOptions options{.max_iterations = d > 100 ? 3 : 8, .tolerance = kind == Kind::offset ? 0.02 : 0};
          const Fitted want = oracle_fit(points, start, d, options);
          expect_same(fit(points, start, d, options), want, shape(kind, n, d, k));
          repaired += want.result.repaired > 0;
          converged += want.result.converged && want.result.iterations > 2;
          if (HasFailure()) return;
        }
      }
    }
  }
  // The shapes above exercise what they are meant to.
  EXPECT_GT(repaired, 20);
  EXPECT_GT(converged, 20);
}

TEST_P(Kmeans, FitOfManyTilesIsTheScalarLloyd) {
  const std::vector<std::size_t> sizes =
      on_executor() ? std::vector<std::size_t>{600} : std::vector<std::size_t>{255, 256, 257, 513, 8191, 20011};
  const std::size_t most = on_executor() ? 260 : 150;  // 260: more than a block has threads
  for (const std::size_t n : sizes) {
    for (const std::int64_t d : {2, 3}) {
      for (const std::size_t k : {std::size_t{3}, std::size_t{40}, most}) {
        if (n > 10000 && k == 40) continue;
        for (const Kind kind : all_kinds()) {
          const Floats points = make(kind, n, d, n + k), start = start_from(points, d, k);
          const KmeansOptions options{.max_iterations = n > 5000 ? 2 : 3, .tolerance = 0};
          expect_same(fit(points, start, d, options), oracle_fit(points, start, d, options), shape(kind, n, d, k));
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(Kmeans, ThreadsAndRunsGiveTheSameBits) {
  const std::size_t n = on_executor() ? 300 : 12000;
  for (const std::int64_t d : {2, 3, 5, 64}) {
    const Floats points = make(Kind::uniform, n, d, 9);
    const KmeansOptions options{.max_iterations = 4, .tolerance = 0};
    const std::int64_t k = d == 64 ? 70 : 30;  // 70: scores propose
    const Floats start = plus_plus(points, d, k, 4, 1);
    const Fitted one = fit(points, start, d, options, 1);
    for (const int threads : {1, 2, 3}) {
      expect_same(fit(points, start, d, options, threads), one, "d " + std::to_string(d));
      EXPECT_TRUE(same_bits(plus_plus(points, d, k, 4, threads), start));
      EXPECT_TRUE(same_bits(assign(points, start, d, threads).distances, assign(points, start, d, 1).distances));
    }
  }
}

// Threads and vector targets are the CPU's alone.
class KmeansOnCpu : public Kmeans {};
INSTANTIATE_TEST_SUITE_P(, KmeansOnCpu, testing::Values("cpu"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(KmeansOnCpu, TotalsSharedByManyThreadsGiveTheSameBits) {
  // 64 threads' own totals would take more than the CPU backend allows them.
  const std::int64_t d = 512, k = 1030;
  const Floats points = make(Kind::uniform, 1100, d, 9), start = start_from(points, d, k);
  const KmeansOptions options{.max_iterations = 1, .tolerance = 0};
  expect_same(fit(points, start, d, options, 64), fit(points, start, d, options, 1), "64 threads");
}

TEST_P(KmeansOnCpu, BoundsSettleMostPairs) {
  const std::size_t n = 3000, k = 100;
  for (const Kind kind : {Kind::uniform, Kind::scales}) {
    const Floats points = make(kind, n, 128, 3);
    for (const int threads : {1, 3}) {
      const PairWork before = cpu::kmeans_work();
      const KmeansResult result = fit(points, start_from(points, 128, k), 128, {.max_iterations = 2}, threads).result;
      const PairWork work = cpu::kmeans_work() - before;
      const auto pass = static_cast<std::int64_t>(n * k);  // one more for an iteration that leaves a cluster empty
      EXPECT_GE(work.pairs, (result.iterations + 1) * pass);
      EXPECT_LE(work.pairs, (2 * result.iterations + 1) * pass);
      EXPECT_EQ(work.pairs % pass, 0);
      // Where bounds settle little they are soon left out.
      EXPECT_LE(work.full, work.pairs / 10 * (kind == Kind::scales ? 13 : cpu::has_byte_products() ? 1 : 11));
      EXPECT_GE(work.full, static_cast<std::int64_t>(n));
    }
  }
}

TEST_P(KmeansOnCpu, VectorTargetsGiveTheSameBits) {
  const std::int64_t best = hwy::SupportedTargets();
  int targets = 0;
  for (const std::int64_t d : {2, 3, 17, 64}) {
    for (const Kind kind : {Kind::uniform, Kind::lattice}) {
      const Floats points = make(kind, 700, d, 3);
      const KmeansOptions options{.max_iterations = 3, .tolerance = 0};
      const std::int64_t k = d == 64 ? 70 : 37;  // 70: scores propose
      const Floats start = plus_plus(points, d, k, 8);
      const Fitted want = fit(points, start, d, options);
      for (std::int64_t left = best; left != 0; left &= left - 1) {
        hwy::SetSupportedTargetsForTest(left & -left);
        expect_same(fit(points, start, d, options), want, hwy::TargetName(left & -left));
        EXPECT_TRUE(same_bits(plus_plus(points, d, k, 8), start)) << hwy::TargetName(left & -left);
        hwy::SetSupportedTargetsForTest(0);
        ++targets;
      }
    }
  }
  EXPECT_GE(targets, 16) << "fewer than two targets";
}

TEST_P(Kmeans, TheOrderOfThePointsDoesNotMatter) {
  const std::size_t n = on_executor() ? 200 : 2003;
  for (const std::int64_t d : {1, 2, 3, 20}) {
    for (const Kind kind : {Kind::uniform, Kind::offset, Kind::scales}) {
      const Floats points = make(kind, n, d, 13), start = start_from(points, d, 12);
      Floats shuffled(points.size());
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t from = shuffled_index(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(n), 5, 0);
        std::copy_n(points.begin() + from * d, d, shuffled.begin() + i * d);
      }
      const KmeansOptions options{.max_iterations = 20, .tolerance = 0};
      const Fitted straight = fit(points, start, d, options), mixed = fit(shuffled, start, d, options);
      EXPECT_TRUE(same_bits(mixed.centroids, straight.centroids)) << shape(kind, n, d, 12);
      EXPECT_EQ(mixed.result.iterations, straight.result.iterations);
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t from = shuffled_index(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(n), 5, 0);
        ASSERT_EQ(mixed.labels[i], straight.labels[from]) << shape(kind, n, d, 12);
      }
    }
  }
}

TEST_P(Kmeans, CentroidsAreTheMeansInDoublePrecision) {
  const std::size_t n = on_executor() ? 300 : 20011;
  for (const std::int64_t d : {2, 3, 33}) {
    for (const Kind kind : {Kind::uniform, Kind::offset, Kind::clusters}) {
      const std::size_t k = 11;
      const Floats points = make(kind, n, d, 21), start = start_from(points, d, k);
      const Fitted got = fit(points, start, d, {.max_iterations = 1, .tolerance = 0});
      if (got.result.repaired > 0) continue;
      const Assigned first = oracle_assign(points, start, d);
      std::vector<double> sums(k * d), magnitudes(k * d);
      std::vector<int> counts(k);
      for (std::size_t i = 0; i < n; ++i) {
        ++counts[first.labels[i]];
        for (std::int64_t c = 0; c < d; ++c) {
          sums[first.labels[i] * d + c] += static_cast<double>(points[i * d + c]);
          magnitudes[first.labels[i] * d + c] += std::abs(static_cast<double>(points[i * d + c]));
        }
      }
      for (std::size_t j = 0; j < k * static_cast<std::size_t>(d); ++j) {
        const int count = counts[j / d];
        // One rounding to fp32; 2^-32 of the largest coordinate for counting in integers, and the oracle's own n
        // roundings in fp64, both far below one more.
        EXPECT_TRUE(within_rounding(got.centroids[j], sums[j] / count, std::max(magnitudes[j] / count, 1e-6), 2))
            << shape(kind, n, d, k) << " at " << j;
      }
    }
  }
}

TEST_P(Kmeans, InertiaNeverRises) {
  const std::size_t n = on_executor() ? 200 : 3000;
  for (const std::int64_t d : {2, 3, 10}) {
    const Floats points = make(Kind::uniform, n, d, 31);
    Floats centroids = start_from(points, d, 15);
    double before = fit(points, centroids, d, {.max_iterations = 0, .tolerance = 0}).result.inertia;
    EXPECT_EQ(before, oracle_inertia(oracle_assign(points, centroids, d).distances));
    for (int iteration = 0; iteration < 25; ++iteration) {
      const Fitted now = fit(points, centroids, d, {.max_iterations = 1, .tolerance = 0});
      // A canonical distance is off by at most d + 2 roundings, and a centroid by one.
      EXPECT_LE(now.result.inertia, before * (1 + 2 * (static_cast<double>(d) + 4) * 0x1p-24));
      EXPECT_LT(now.result.inertia, before + 1e-9 * before + (now.result.converged ? 1 : 0));
      before = now.result.inertia;
      centroids = now.centroids;
    }
  }
}

TEST_P(Kmeans, StopsAsAsked) {
  const Floats points = make(Kind::uniform, 500, 2, 2), start = start_from(points, 2, 6);
  const Fitted none = fit(points, start, 2, {.max_iterations = 0, .tolerance = 0});
  EXPECT_EQ(none.result.iterations, 0);
  EXPECT_FALSE(none.result.converged);
  EXPECT_TRUE(same_bits(none.centroids, start));
  EXPECT_TRUE(same_bits(none.labels, oracle_assign(points, start, 2).labels));
  const Fitted exact = fit(points, start, 2, {.max_iterations = 300, .tolerance = 0});
  EXPECT_TRUE(exact.result.converged);
  EXPECT_TRUE(
      same_bits(fit(points, exact.centroids, 2, {.max_iterations = 5, .tolerance = 0}).centroids, exact.centroids));
  const Fitted loose = fit(points, start, 2, {.max_iterations = 300, .tolerance = 1e-2});
  EXPECT_TRUE(loose.result.converged);
  EXPECT_LT(loose.result.iterations, exact.result.iterations);
  EXPECT_EQ(loose.result.iterations,
            oracle_fit(points, start, 2, {.max_iterations = 300, .tolerance = 1e-2}).result.iterations);
}

TEST_P(Kmeans, EmptyClustersTakeTheFarthestPoints) {
  // Centroids 1 and 2 get nothing. Farthest from centroid 0 are the point at 9 and then, tied, those at 5 and -5, of
  // which the first comes first. Centroid 3 has the point at 100 alone: it stays, however far it is.
  const Floats points = {1, -1, 5, -5, 9, 100}, start = {0, 1000, 1000, 60};
  for (const std::int64_t d : {1, 2, 3}) {
    Floats wide, wide_start;
    for (const float x : points) {
      for (std::int64_t c = 0; c < d; ++c) wide.push_back(c == 0 ? x : 0);
    }
    for (const float x : start) {
      for (std::int64_t c = 0; c < d; ++c) wide_start.push_back(c == 0 ? x : 0);
    }
    const Fitted got = fit(wide, wide_start, d, {.max_iterations = 1, .tolerance = 0});
    EXPECT_EQ(got.result.repaired, 2);
    EXPECT_EQ(got.centroids[0], static_cast<float>(-5.0 / 3));
    EXPECT_EQ(got.centroids[d], 9);
    EXPECT_EQ(got.centroids[2 * d], 5);
    EXPECT_EQ(got.centroids[3 * d], 100);
  }
}

TEST_P(Kmeans, TotalsOfAHundredMillionEqualPointsAreExact) {
  const std::int64_t n = 100000000;
  for (const float x : {0.1F, 16777215.0F, -3.4e38F, 1e-45F}) {
    const FixedPoint fixed = fixed_point(std::abs(x), n);
    const std::int64_t one = to_fixed(x, fixed.units_per_one);
    std::int64_t total = 0;
    ASSERT_FALSE(__builtin_mul_overflow(one, n, &total));
    EXPECT_LE(std::abs(total), std::int64_t{1} << 61);
    EXPECT_EQ(mean_of_total(total, n, fixed.unit), x);
  }
  float saturated = 0x1p24F;
  EXPECT_EQ(saturated + 1, saturated);  // where a total in fp32 would have stopped
}

TEST_P(Kmeans, FixedPointHoldsAtItsEdges) {
  for (const std::int64_t n :
       {std::int64_t{1}, std::int64_t{2}, std::int64_t{2048}, std::int64_t{2049}, std::int64_t{0x7fffffff}}) {
    for (const float largest : {1.0F, std::nextafter(1.0F, 0.0F), 3.4028235e38F, 1e-45F, 1e-38F, 0.0F}) {
      const FixedPoint fixed = fixed_point(largest, n);
      const int shift = oracle_shift(largest, static_cast<std::size_t>(n));
      EXPECT_EQ(fixed.units_per_one, std::ldexp(1.0, shift)) << n << ' ' << largest;
      EXPECT_EQ(fixed.unit, std::ldexp(1.0, -shift));
      for (const float part : {1.0F, -1.0F, 0.3F, -0x1p-20F, 1e-9F}) {
        EXPECT_EQ(to_fixed(largest * part, fixed.units_per_one), oracle_fixed(largest * part, shift))
            << n << ' ' << part;
      }
      EXPECT_LE(static_cast<double>(n) * static_cast<double>(to_fixed(largest, fixed.units_per_one)), 0x1p61);
    }
  }
}

TEST_P(Kmeans, PlusPlusIsTheOracle) {
  const std::vector<std::size_t> sizes =
      on_executor() ? std::vector<std::size_t>{1, 33, 129} : std::vector<std::size_t>{1, 2, 31, 33, 1009, 4999};
  for (const std::int64_t d : {1, 2, 3, 4, 17, 64}) {
    for (const std::size_t n : sizes) {
      for (const Kind kind : kinds_for(n * d * 20)) {
        const std::size_t k = std::min<std::size_t>(n, 25);
        const Floats points = make(kind, n, d, n);
        Floats want;
        for (const std::size_t i : oracle_plus_plus(points, d, k, 99)) {
          want.insert(want.end(), points.begin() + i * d, points.begin() + (i + 1) * d);
        }
        ASSERT_TRUE(same_bits(plus_plus(points, d, k, 99), want)) << shape(kind, n, d, k);
      }
    }
  }
}

// Blobs and one row far from all: once it is chosen, the others must weigh what their distances are.
TEST_P(Kmeans, PlusPlusSeesTheOthersBesideOneFarRow) {
  for (const float far : {1e6F, 1e10F, 1e18F}) {
    const std::int64_t n = on_executor() ? 110 : 1100, d = 2, blobs = 10;
    Floats points = test::uniform_floats(static_cast<std::size_t>(n * d), 21, -0.3F, 0.3F);
    for (std::int64_t i = 0; i < n * d; ++i) points[i] += static_cast<float>(i / d * blobs / n * (i % d == 0 ? 10 : 7));
    points[n] = points[n + 1] = far;
    Floats want;
    for (const std::size_t i : oracle_plus_plus(points, d, blobs + 1, 3)) {
      want.insert(want.end(), points.begin() + i * d, points.begin() + (i + 1) * d);
    }
    const Floats got = plus_plus(points, d, blobs + 1, 3);
    EXPECT_TRUE(same_bits(got, want)) << far;
    std::set<std::int64_t> met;  // blobs with a centroid; the far row has one of its own
    for (std::int64_t j = 0; j <= blobs; ++j) met.insert(std::llround(std::min(got[j * d], 1000.0F) / 10));
    EXPECT_GE(met.size(), static_cast<std::size_t>(blobs)) << far;
  }
}

TEST_P(Kmeans, PlusPlusTakesEveryPointWhenAskedForAll) {
  // k = n with duplicates: the weights run out, and the rest come in index order.
  const Floats points = {3, 1, 3, 2, 1, 3};
  Floats got = plus_plus(points, 1, 6, 5);
  EXPECT_NE(got[0], got[1]);
  EXPECT_NE(got[1], got[2]);
  std::sort(got.begin(), got.end());
  EXPECT_TRUE(same_bits(got, Floats{1, 1, 2, 3, 3, 3}));
  // Distances beyond fp32 count as its largest, and do not stop the draw.
  const Floats far = {-3e38F, 3e38F, 0, 3e38F};
  Floats want;
  for (const std::size_t i : oracle_plus_plus(far, 1, 3, 6)) want.push_back(far[i]);
  EXPECT_TRUE(same_bits(plus_plus(far, 1, 3, 6), want));
}

TEST_P(Kmeans, PlusPlusDrawsInProportionToSquaredDistance) {
  const Floats points = {0, 1, 2.5F, 4, 7, 7.5F};
  const int n = 6, seeds = on_executor() ? 600 : 20000;
  std::vector<int> counts(n * n);
  for (int seed = 0; seed < seeds; ++seed) {
    const Floats c = plus_plus(points, 1, 2, static_cast<std::uint64_t>(seed), 1);
    const auto first = std::find(points.begin(), points.end(), c[0]),
               second = std::find(points.begin(), points.end(), c[1]);
    ++counts[(first - points.begin()) * n + (second - points.begin())];
  }
  double chi2 = 0;
  int cells = 0;
  for (int i = 0; i < n; ++i) {
    double all = 0;
    for (const float x : points) all += std::pow(x - points[i], 2);
    for (int j = 0; j < n; ++j) {
      const double expected = seeds / static_cast<double>(n) * std::pow(points[j] - points[i], 2) / all;
      if (i == j) {
        EXPECT_EQ(counts[i * n + j], 0);
      } else {
        chi2 += std::pow(counts[i * n + j] - expected, 2) / expected;
        ++cells;
      }
    }
  }
  // 29 degrees of freedom: mean 29, deviation sqrt(58); five of them.
  EXPECT_NEAR(chi2, cells - 1, 5 * std::sqrt(2.0 * (cells - 1)));
}

TEST_P(Kmeans, ProgressCountsIterationsAndMayStop) {
  Context context(backend());
  const Floats points = make(Kind::uniform, 300, 2, 2), start = start_from(points, 2, 5);
  const Buffer<float> p(context, points, {300, 2});
  Buffer<float> c(context, start, {5, 2});
  Buffer<int> labels(context, {300});
  std::vector<std::int64_t> seen;
  context.progress = [&](std::int64_t done, std::int64_t total) {
    seen.push_back(done);
    EXPECT_EQ(total, 4);
  };
  backend().kmeans_fit(p, c, labels, {.max_iterations = 4, .tolerance = 0}, context);
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 3, 4}));
  context.progress = [](std::int64_t, std::int64_t) { throw std::runtime_error("enough"); };
  EXPECT_THROW(backend().kmeans_fit(p, c, labels, {}, context), std::runtime_error);
}

TEST_P(Kmeans, MisuseThrows) {
  Context context(backend());
  Buffer<float> points(context, {10, 2}), narrow(context, {10, 1}), centroids(context, {3, 2}), many(context, {11, 2});
  Buffer<float> none(context, {0, 2}), distances(context, {9}), featureless(context, {10, 0});
  Buffer<int> labels(context, {10}), few(context, {9});
  points.upload(Floats(20, 1.0F));
  centroids.upload(Floats(6, 1.0F));
  const Backend& b = backend();
  using Bad = std::invalid_argument;
  EXPECT_THROW(b.kmeans_assign(narrow, centroids, labels, {}, context), Bad);
  EXPECT_THROW(b.kmeans_assign(points, none, labels, {}, context), Bad);
  EXPECT_THROW(b.kmeans_assign(points, centroids, few, {}, context), Bad);
  EXPECT_THROW(b.kmeans_assign(points, centroids, labels, distances, context), Bad);
  EXPECT_THROW(b.kmeans_assign(featureless, featureless, labels, {}, context), Bad);
  const std::int64_t huge = std::int64_t{1} << 31;
  EXPECT_THROW(
      b.kmeans_assign(View<const float>(nullptr, {huge, 2}), centroids, View<int>(nullptr, {huge}), {}, context), Bad);
  EXPECT_THROW(b.kmeans_plus_plus(points, 1, many, context), Bad);
  EXPECT_THROW(b.kmeans_plus_plus(points, 1, none, context), Bad);
  EXPECT_THROW(b.kmeans_plus_plus(narrow, 1, centroids, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, many, labels, {}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, none, labels, {}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, centroids, few, {}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(narrow, centroids, labels, {}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, centroids, labels, {.max_iterations = -1, .tolerance = 0}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, centroids, labels, {.max_iterations = 1, .tolerance = -1}, context), Bad);
  EXPECT_THROW(b.kmeans_fit(points, centroids, labels, {.max_iterations = 1, .tolerance = NAN}, context), Bad);
  EXPECT_NO_THROW(b.kmeans_assign(none, centroids, View<int>(), {}, context));
  EXPECT_NO_THROW(b.kmeans_fit(points, centroids, labels, {}, context));
}

// --- ranks

// Rows dealt in blocks of kKmeansBlockRows, the last of them to the last rank that has any.
std::vector<std::int64_t> deal(std::int64_t n, int ranks) {
  const std::int64_t blocks = (n + kKmeansBlockRows - 1) / kKmeansBlockRows;
  std::vector<std::int64_t> begin;
  for (int r = 0; r <= ranks; ++r) begin.push_back(std::min(n, blocks * r / ranks * kKmeansBlockRows));
  return begin;
}

// k-means++ and the fit from its centroids, by as many ranks.
Fitted fit_on_ranks(const Backend& backend, int size, const Floats& points, std::int64_t d, std::int64_t k,
                    const KmeansOptions& options, const std::optional<Floats>& start = {}) {
  const std::vector<std::int64_t> begin = deal(static_cast<std::int64_t>(points.size()) / d, size);
  std::vector<Fitted> of_rank(static_cast<std::size_t>(size));
  run_on_ranks(size, [&](Communicator& ranks) {
    Context context(backend, 0, 1);
    context.ranks = ranks;
    const std::int64_t first = begin[static_cast<std::size_t>(ranks.rank())];
    const std::int64_t rows = begin[static_cast<std::size_t>(ranks.rank()) + 1] - first;
    const Floats own(points.begin() + first * d, points.begin() + (first + rows) * d);
    const Guarded<float> p(context, own, {rows, d});
    Guarded<float> c(context, start.value_or(Floats(static_cast<std::size_t>(k * d))), {k, d});
    Guarded<int> labels(context, {rows});
    if (!start) backend.kmeans_plus_plus(p, 7, c, context);
    const KmeansResult result = backend.kmeans_fit(p, c, labels, options, context);
    of_rank[static_cast<std::size_t>(ranks.rank())] = {c.to_host(), labels.to_host(), result};
  });
  Fitted all = of_rank[0];
  for (std::size_t r = 1; r < of_rank.size(); ++r) {
    EXPECT_TRUE(same_bits(of_rank[r].centroids, all.centroids)) << "rank " << r;
    EXPECT_EQ(of_rank[r].result.inertia, all.result.inertia) << "rank " << r;
    EXPECT_EQ(of_rank[r].result.repaired, all.result.repaired) << "rank " << r;
    all.labels.insert(all.labels.end(), of_rank[r].labels.begin(), of_rank[r].labels.end());
  }
  return all;
}

TEST_P(Kmeans, AnyNumberOfRanksGivesTheSameBits) {
  int repaired = 0;
  const std::int64_t block = kKmeansBlockRows;
  const std::vector<std::int64_t> sizes =
      on_executor() ? std::vector<std::int64_t>{33, block + 1} : std::vector<std::int64_t>{1, 33, block, 3 * block + 1};
  for (const std::int64_t n : sizes) {
    for (const std::int64_t d : {2, 5, 64}) {
      if (on_executor() && d == 64) continue;
      const std::int64_t k = std::min<std::int64_t>(n, on_executor() ? 14 : 40);
      for (const Kind kind : {Kind::clusters, Kind::lattice, Kind::scales}) {
        if (leave_out(5)) continue;
        const Floats points = make(kind, static_cast<std::size_t>(n), d, 3);
        // Copies of one centroid: all but the first of them are empty.
        Floats same;
        for (std::int64_t j = 0; j < k; ++j) same.insert(same.end(), points.begin(), points.begin() + d);
        const KmeansOptions options{.max_iterations = 4, .tolerance = 1e-6};
        const Fitted seeded = fit_on_ranks(backend(), 1, points, d, k, options);
        const Fitted repairs = fit_on_ranks(backend(), 1, points, d, k, options, same);
        repaired += repairs.result.repaired > 10;
        for (const int size : on_executor() ? std::vector{2} : std::vector{2, 3, 4}) {
          const std::string what = shape(kind, static_cast<std::size_t>(n), d, static_cast<std::size_t>(k)) +
                                   " ranks " + std::to_string(size);
          expect_same(fit_on_ranks(backend(), size, points, d, k, options), seeded, what);
          expect_same(fit_on_ranks(backend(), size, points, d, k, options, same), repairs, what + ", repaired");
        }
      }
    }
  }
  EXPECT_GT(repaired, on_executor() ? 1 : 20);
}

TEST_P(Kmeans, AFitThatWasStoppedGoesOnToTheSameBits) {
  const std::int64_t n = 300, d = 3, k = 20;
  const Floats points = make(Kind::uniform, static_cast<std::size_t>(n), d, 3), start = start_from(points, d, k);
  KmeansOptions options{.max_iterations = 9, .tolerance = 0};
  const Fitted want = fit(points, start, d, options);
  Context context(backend());
  const Guarded<float> p(context, points, {n, d});
  Guarded<float> centroids(context, start, {k, d});
  Guarded<int> labels(context, {n});
  Floats left;
  options.after_iteration = [&](const KmeansResult& so_far) {
    left = centroids.to_host();
    if (so_far.iterations == 4) throw std::domain_error("enough");
  };
  EXPECT_THROW(backend().kmeans_fit(p, centroids, labels, options, context), std::domain_error);
  Fitted got = fit(points, left, d, {.max_iterations = 5, .tolerance = 0});
  got.result.iterations += 4;
  expect_same(got, want, "after a stop");
}

TEST_P(Kmeans, AnIterationHandsOverItsTotalsAndNothingElse) {
  const std::int64_t d = 5, k = 7, rows = on_executor() ? 40 : 900;  // of the second rank
  const Floats points = make(Kind::uniform, static_cast<std::size_t>(kKmeansBlockRows + rows), d, 3),
               start = start_from(points, d, k);
  const auto given = [&](int iterations) {
    std::vector<std::int64_t> bytes(2);
    run_on_ranks(2, [&](Communicator& ranks) {
      Context context(backend(), 0, 1);
      context.ranks = ranks;
      const std::int64_t own = ranks.rank() == 0 ? kKmeansBlockRows : rows;
      const auto begin = points.begin() + ranks.rank() * kKmeansBlockRows * d;
      const Guarded<float> p(context, Floats(begin, begin + own * d), {own, d});
      Guarded<float> c(context, start, {k, d});
      Guarded<int> labels(context, {own});
      const KmeansResult result =
          backend().kmeans_fit(p, c, labels, {.max_iterations = iterations, .tolerance = 0}, context);
      EXPECT_EQ(result.iterations, iterations);
      EXPECT_EQ(result.repaired, 0);
      bytes[static_cast<std::size_t>(ranks.rank())] = context.ranks.given();
    });
    EXPECT_EQ(bytes[0], bytes[1]);
    return bytes[0];
  };
  const std::int64_t iteration = 8 * k * (d + 1);  // as kmeans.h says
  EXPECT_EQ(given(2) - given(1), iteration);
  EXPECT_EQ(given(5) - given(1), 4 * iteration);
}

TEST_P(Kmeans, RanksThatAreDealtBadlyAreRefusedAndOneThatFailsEndsAll) {
  EXPECT_THROW(run_on_ranks(2,
                            [&](Communicator& ranks) {
                              Context context(backend(), 0, 1);
                              context.ranks = ranks;
                              const Guarded<float> p(context, Floats(200), {100, 2});
                              Guarded<float> c(context, {3, 2});
                              backend().kmeans_plus_plus(p, 7, c, context);
                            }),
               std::invalid_argument);
  EXPECT_THROW(run_on_ranks(3,
                            [&](Communicator& ranks) {
                              if (ranks.rank() == 1) throw std::domain_error("this rank");
                              std::int64_t one = 1;
                              ranks.sum(std::span(&one, 1));
                            }),
               std::domain_error);
}

}  // namespace
}  // namespace scalelab::test
