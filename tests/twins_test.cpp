// twins: what the cuda backend answers is what the cpu backend answers, bit for bit: neighbours, labels, maps,
// assignments, whole k-means runs. With SCALELAB_SMALL=1 (tests/ptx, sanitizers) the sizes are small; otherwise a GPU also
// takes 10^8 queries.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "scalelab/grid.h"
#include "scalelab/kmeans.h"
#include "scalelab/knn.h"
#include "tests/support.h"

namespace scalelab::test {
namespace {

// How points lie: where kernels that sort, tile or bound could go wrong.
enum class Layout { uniform, lattice, line, one_place, clusters, far_off, count };

const char* name_of(Layout layout) {
  static const char* const names[] = {"uniform", "lattice", "line", "one place", "clusters", "far off"};
  return names[static_cast<int>(layout)];
}

std::vector<float> make_points(Layout layout, std::int64_t n, int d, std::uint64_t seed) {
  std::vector<float> points = uniform_floats(static_cast<std::size_t>(n * d), seed);
  for (std::int64_t i = 0; i < n; ++i) {
    float* x = &points[static_cast<std::size_t>(i * d)];
    for (int c = 0; c < d; ++c) {
      switch (layout) {
        case Layout::lattice: x[c] = std::rint(4 * x[c]) / 4; break;  // many ties, many copies
        case Layout::line: x[c] = x[0]; break;
        case Layout::one_place: x[c] = 0.25F; break;
        case Layout::clusters: x[c] = 1e-6F * x[c] + static_cast<float>(i % 3); break;
        case Layout::far_off: x[c] = 1e6F + x[c]; break;
        default: break;
      }
    }
  }
  return points;
}

class Twins : public TwinBackends {
 protected:
  // Runs `op(context, output buffers...)` on both and compares.
  void expect_same_knn(const std::vector<float>& references, const std::vector<float>& queries, int d, int k) {
    const auto run = [&](Context& context, bool with_distances) {
      const auto n = static_cast<std::int64_t>(references.size()) / d,
                 q = static_cast<std::int64_t>(queries.size()) / d;
      const Buffer<float> p(context, references, {n, d}), x(context, queries, {q, d});
      const Guarded<int> indices(context, {q, k});
      const Guarded<float> distances(context, {q, k});
      context.backend().knn(p, x, indices, with_distances ? distances.view() : View<float>(), context);
      return std::pair(indices.to_host(), distances.to_host());
    };
    const auto want = run(*cpu_, true), got = run(*cuda_, true);
    EXPECT_TRUE(same_bits(got.first, want.first)) << "indices";
    EXPECT_TRUE(same_bits(got.second, want.second)) << "distances";
    EXPECT_TRUE(same_bits(run(*cuda_, false).first, want.first)) << "indices alone";
  }

  void expect_same_grid(const std::vector<float>& references, int k, const Grid& grid, std::int64_t row_begin,
                        std::int64_t rows, int classes, std::uint64_t seed) {
    const auto n = static_cast<std::int64_t>(references.size()) / 2;
    std::vector<std::uint8_t> reference_labels(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      // Mostly by side, so that whole regions have one label; some at random.
      const bool random = uniform_int(seed, static_cast<std::uint64_t>(i), 0, 4) == 0;
      const std::int64_t label = random ? uniform_int(seed + 1, static_cast<std::uint64_t>(i), 0, classes - 1)
                                        : (references[2 * i] > 0 ? 1 : 0);
      reference_labels[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(label);
    }
    const auto run = [&](Context& context) {
      const Buffer<float> p(context, references, {n, 2});
      const Buffer<std::uint8_t> l(context, reference_labels, {n});
      const Guarded<int> indices(context, {rows, grid.size, k});
      const Guarded<float> distances(context, {rows, grid.size, k});
      const Guarded<std::uint8_t> labels(context, {rows, grid.size}), spiral(context, {rows, grid.size});
      const std::vector<std::int64_t> start(static_cast<std::size_t>(classes * classes), 5);
      const Guarded<std::int64_t> counts(context, start, {classes, classes});
      const Backend& backend = context.backend();
      backend.grid_knn(p, grid, row_begin, indices, distances, context);
      backend.grid_knn_labels(p, l, k, grid, row_begin, labels, context);
      backend.grid_spiral_labels(Spiral{}, grid, row_begin, spiral, context);
      if (classes > 1) backend.label_confusion(labels.view(), spiral.view(), counts, context);
      return std::tuple(indices.to_host(), distances.to_host(), labels.to_host(), spiral.to_host(), counts.to_host());
    };
    const auto want = run(*cpu_), got = run(*cuda_);
    EXPECT_TRUE(same_bits(std::get<0>(got), std::get<0>(want))) << "indices";
    EXPECT_TRUE(same_bits(std::get<1>(got), std::get<1>(want))) << "distances";
    EXPECT_TRUE(same_bits(std::get<2>(got), std::get<2>(want))) << "labels";
    EXPECT_TRUE(same_bits(std::get<3>(got), std::get<3>(want))) << "spiral";
    EXPECT_TRUE(same_bits(std::get<4>(got), std::get<4>(want))) << "confusion";
  }

  void expect_same_kmeans(const std::vector<float>& points, int d, int k, const KmeansOptions& options) {
    const auto n = static_cast<std::int64_t>(points.size()) / d;
    const auto run = [&](Context& context) {
      const Buffer<float> p(context, points, {n, d});
      const Guarded<float> centroids(context, {k, d}), distances(context, {n});
      const Guarded<int> assigned(context, {n}), labels(context, {n});
      const Backend& backend = context.backend();
      backend.kmeans_plus_plus(p, 7, centroids, context);
      const auto seeds = centroids.to_host();
      backend.kmeans_assign(p, centroids.view(), assigned, distances, context);
      const KmeansResult result = backend.kmeans_fit(p, centroids, labels, options, context);
      const std::vector<double> numbers = {result.inertia, static_cast<double>(result.iterations),
                                           static_cast<double>(result.converged), static_cast<double>(result.repaired)};
      return std::tuple(seeds, assigned.to_host(), distances.to_host(), centroids.to_host(), labels.to_host(), numbers);
    };
    const auto want = run(*cpu_), got = run(*cuda_);
    EXPECT_TRUE(same_bits(std::get<0>(got), std::get<0>(want))) << "k-means++ centroids";
    EXPECT_TRUE(same_bits(std::get<1>(got), std::get<1>(want))) << "assigned labels";
    EXPECT_TRUE(same_bits(std::get<2>(got), std::get<2>(want))) << "distances";
    EXPECT_TRUE(same_bits(std::get<3>(got), std::get<3>(want))) << "fitted centroids";
    EXPECT_TRUE(same_bits(std::get<4>(got), std::get<4>(want))) << "fitted labels";
    EXPECT_TRUE(same_bits(std::get<5>(got), std::get<5>(want))) << "inertia, iterations, converged, repaired";
  }
};

// Sizes about which warps, tiles, regions and levels of the tree end.
TEST_F(Twins, KnnAtAwkwardSizes) {
  std::uint64_t seed = 100;
  for (const int d : {1, 2, 3, 5, 17}) {
    for (const std::int64_t n : {1, 31, 32, 33, 129, 1009}) {
      for (const int k : {1, 4, 16, 33, 128}) {
        if (k > n || (k == 33 && n != 129)) continue;
        const Layout layout = static_cast<Layout>(seed % static_cast<int>(Layout::count));
        SCOPED_TRACE("d " + std::to_string(d) + " n " + std::to_string(n) + " k " + std::to_string(k) + " " +
                     name_of(layout));
        ++seed;
        expect_same_knn(make_points(layout, n, d, seed), make_points(layout, 33, d, seed + 1000), d, k);
      }
    }
  }
}

TEST_F(Twins, KnnOfNoQueries) { expect_same_knn(make_points(Layout::uniform, 10, 2, 1), {}, 2, 3); }

TEST_F(Twins, KnnOfAllPointsOrderedByIndexWhereTheyCoincide) {
  for (const int d : {2, 4}) {
    for (const int k : {5, 128}) {
      expect_same_knn(make_points(Layout::one_place, 1500, d, 3), make_points(Layout::uniform, 5, d, 4), d, k);
    }
  }
}

// Queries far sparser than references, far denser, and outside their box: the ways a warp can share its walk.
TEST_F(Twins, KnnOfQueriesUnlikeTheReferences) {
  const auto references = make_points(Layout::uniform, on_gpu_ ? 200000 : 4000, 2, 5);
  expect_same_knn(references, make_points(Layout::uniform, 40, 2, 6), 2, 5);
  expect_same_knn(references, make_points(Layout::clusters, 70, 2, 7), 2, 16);
  expect_same_knn(references, make_points(Layout::far_off, 40, 2, 8), 2, 3);
}

TEST_F(Twins, GridAtAwkwardSizes) {
  std::uint64_t seed = 200;
  for (const std::int64_t size : {1, 15, 16, 17, 63, 65}) {
    for (const int k : {1, 3, 5, 9, 16, 32, 40}) {
      const Layout layout = static_cast<Layout>(seed % static_cast<int>(Layout::count));
      const std::int64_t rows = std::min<std::int64_t>(size, on_gpu_ ? size : 18);
      SCOPED_TRACE("G " + std::to_string(size) + " k " + std::to_string(k) + " " + name_of(layout));
      ++seed;
      if (k > 16 && size > 17 && !on_gpu_) continue;
      expect_same_grid(make_points(layout, 61, 2, seed), k, Grid{.size = size}, size - rows, rows, 3, seed);
    }
  }
}

// Many tiles that some neighbours decide while the others disagree, and a boundary through the rest.
TEST_F(Twins, GridOfNoisyLabels) {
  for (const int k : {1, 3, 5, 9}) {
    expect_same_grid(make_points(Layout::uniform, 12, 2, 18), k, Grid{.size = 96}, 0, on_gpu_ ? 96 : 80, 3, 19 + k);
  }
}

// More references than a region's list holds: the cells search the tree.
TEST_F(Twins, GridOverDenseReferences) {
  expect_same_grid(make_points(Layout::uniform, 3000, 2, 9), 5, Grid{.size = 20}, 0, 20, 2, 10);
  expect_same_grid(make_points(Layout::clusters, 2000, 2, 9), 3, Grid{.size = 17, .x_max = 2.5F}, 0, 17, 2, 11);
}

TEST_F(Twins, KmeansAtAwkwardSizes) {
  std::uint64_t seed = 300;
  for (const int d : {1, 2, 3, 4, 20}) {
    for (const std::int64_t n : {1, 33, 257, 1009}) {
      for (const int k : {1, 2, 31, 140}) {
        if (k > n || (k == 140 && n > 257 && !on_gpu_)) continue;
        const Layout layout = static_cast<Layout>(seed % static_cast<int>(Layout::count));
        SCOPED_TRACE("d " + std::to_string(d) + " n " + std::to_string(n) + " k " + std::to_string(k) + " " +
                     name_of(layout));
        ++seed;
        expect_same_kmeans(make_points(layout, n, d, seed), d, k, {.max_iterations = 3});
      }
    }
  }
}

TEST_F(Twins, KmeansToConvergence) {
  expect_same_kmeans(make_points(Layout::uniform, on_gpu_ ? 20000 : 700, 2, 12), 2, 9, {});
  expect_same_kmeans(make_points(Layout::uniform, 300, 6, 13), 6, 5, {.tolerance = 0});
}

TEST_F(Twins, RandomShapes) {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    const auto draw = [&](std::uint64_t what, std::int64_t low, std::int64_t high) {
      return uniform_int(1000 + trial, what, low, high);
    };
    const auto layout = static_cast<Layout>(draw(0, 0, static_cast<int>(Layout::count) - 1));
    const std::int64_t n = draw(1, 1, on_gpu_ ? 5000 : 200), q = draw(2, 0, on_gpu_ ? 5000 : 40);
    const int d = static_cast<int>(trial % 2 == 0 ? draw(3, 1, 3) : draw(3, 4, 40));
    const int k = static_cast<int>(draw(4, 1, std::min<std::int64_t>(n, kMaxNeighbours)));
    SCOPED_TRACE("trial " + std::to_string(trial) + ": " + name_of(layout) + ", n " + std::to_string(n) + ", q " +
                 std::to_string(q) + ", d " + std::to_string(d) + ", k " + std::to_string(k));
    const auto points = make_points(layout, n, d, 2000 + trial);
    expect_same_knn(points, make_points(layout, q, d, 3000 + trial), d, k);
    if (trial % 4 == 0) {
      expect_same_kmeans(points, d, static_cast<int>(std::min<std::int64_t>(k, on_gpu_ ? 128 : 12)),
                         {.max_iterations = 2});
    }
    if (trial % 4 == 2) {
      const std::int64_t size = draw(5, 1, on_gpu_ ? 300 : 24), rows = draw(6, 0, std::min<std::int64_t>(size, 18));
      const float x_min = -1 - 0.1F * static_cast<float>(draw(7, 0, 20));
      expect_same_grid(make_points(layout, n, 2, 4000 + trial), static_cast<int>(std::min(k, on_gpu_ ? 128 : 36)),
                       Grid{.size = size, .x_min = x_min}, size - rows, rows, static_cast<int>(draw(8, 2, 70)), trial);
    }
    if (HasFailure()) return;
  }
}

// 10^8 queries of each kind; a GPU's work.
TEST_F(Twins, HundredMillionCells) {
  if (!on_gpu_) GTEST_SKIP() << "10^8 cells are for a GPU";
  const auto references = make_points(Layout::uniform, 10000, 2, 14);
  const Grid grid{.size = 10000};
  constexpr std::int64_t kRows = 1000;
  for (std::int64_t row = 0; row < grid.size; row += kRows) {
    expect_same_grid(references, 5, grid, row, kRows, 2, 15);
    if (HasFailure()) return;
  }
}

TEST_F(Twins, HundredMillionQueries) {
  if (!on_gpu_) GTEST_SKIP() << "10^8 queries are for a GPU";
  for (int part = 0; part < 10; ++part) {
    const int d = part % 2 == 0 ? 2 : 3;
    expect_same_knn(make_points(Layout::uniform, 1000000, d, 16), make_points(Layout::uniform, 10000000, d, 17 + part),
                    d, 5);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace scalelab::test
