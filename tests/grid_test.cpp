// grid: neighbours and labels of cell centres against knn and a plain vote, the spiral against its scalar definition,
// bands against the whole, and label_confusion against counting.
#include "scalelab/grid.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/support.h"

namespace scalelab {
namespace {

using test::cell_centres;
using test::expect_progress;
using test::Guarded;
using test::same_bits;
using test::uniform_floats;
using test::uniform_int;

class GridTest : public test::OnBackend {
 protected:
  // Cells along a side: `size`, but on the executor no more than `most`, and `fewest` where each cell takes a warp.
  std::int64_t shrunk(std::int64_t size, std::int64_t most, std::int64_t fewest, std::int64_t k) const {
    return on_executor() ? std::min(size, k > 32 ? fewest : most) : size;
  }
};
SCALELAB_ON_EACH_BACKEND(GridTest);

struct Points {
  std::vector<float> x;              // (n, 2)
  std::vector<std::uint8_t> labels;  // (n)
  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

std::vector<std::uint8_t> random_labels(std::size_t n, int classes, std::uint64_t seed) {
  std::vector<std::uint8_t> labels(n);
  for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::uint8_t>(uniform_int(seed, i, 0, classes - 1));
  return labels;
}

// Uniform points of the domain, labelled by the spiral, each label turned over with probability `noise`.
Points spiral_points(std::int64_t n, std::uint64_t seed, double noise) {
  Points points{uniform_floats(2 * n, seed), std::vector<std::uint8_t>(n)};
  for (std::int64_t i = 0; i < n; ++i) {
    const bool turned = uniform_int(seed + 1, i, 0, 999) < 1000 * noise;
    points.labels[i] = Spiral().inside(points.x[2 * i], points.x[2 * i + 1]) != turned;
  }
  return points;
}

struct Neighbours {
  std::vector<int> indices;
  std::vector<float> distances;
};

// The definition: every canonical distance, sorted by (distance, index).
Neighbours naive(const std::vector<float>& references, const std::vector<float>& queries, std::int64_t k) {
  Neighbours answer;
  std::vector<std::pair<float, int>> all(references.size() / 2);
  for (std::size_t q = 0; q < queries.size(); q += 2) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const float tx = queries[q] - references[2 * i], ty = queries[q + 1] - references[2 * i + 1];
      all[i] = {std::fmaf(ty, ty, tx * tx), static_cast<int>(i)};
    }
    std::partial_sort(all.begin(), all.begin() + k, all.end());
    for (std::int64_t j = 0; j < k; ++j) {
      answer.indices.push_back(all[j].second);
      answer.distances.push_back(all[j].first);
    }
  }
  return answer;
}

// Most votes, the smallest label of equally many.
std::vector<std::uint8_t> vote(const std::vector<int>& indices, std::int64_t k,
                               const std::vector<std::uint8_t>& labels) {
  std::vector<std::uint8_t> winners;
  for (std::size_t i = 0; i < indices.size(); i += k) {
    int counts[256] = {};
    for (std::int64_t j = 0; j < k; ++j) ++counts[labels[indices[i + j]]];
    winners.push_back(static_cast<std::uint8_t>(std::max_element(counts, counts + 256) - counts));
  }
  return winners;
}

Neighbours run_grid_knn(const Backend& backend, const std::vector<float>& references, const Grid& grid,
                        std::int64_t row_begin, std::int64_t rows, std::int64_t k, int threads = 0,
                        bool with_distances = true) {
  Context context(backend, 0, threads);
  const Guarded<float> r(context, references, {static_cast<std::int64_t>(references.size() / 2), 2});
  const Guarded<int> indices(context, {rows, grid.size, k});
  const Guarded<float> distances(context, {rows, grid.size, k});
  backend.grid_knn(r, grid, row_begin, indices, with_distances ? distances.view() : View<float>(), context);
  context.synchronize();
  return {indices.to_host(), distances.to_host()};
}

std::vector<std::uint8_t> run_labels(const Backend& backend, const Points& points, std::int64_t k, const Grid& grid,
                                     std::int64_t row_begin, std::int64_t rows, int threads = 0) {
  Context context(backend, 0, threads);
  const Guarded<float> r(context, points.x, {points.size(), 2});
  const Guarded<std::uint8_t> l(context, points.labels, {points.size()});
  const Guarded<std::uint8_t> labels(context, {rows, grid.size});
  backend.grid_knn_labels(r, l, static_cast<int>(k), grid, row_begin, labels, context);
  context.synchronize();
  return labels.to_host();
}

void expect_naive(const Backend& backend, const Points& points, const Grid& grid, std::int64_t k) {
  const Neighbours want = naive(points.x, cell_centres(grid, 0, grid.size), k);
  const Neighbours got = run_grid_knn(backend, points.x, grid, 0, grid.size, k);
  EXPECT_TRUE(same_bits(got.indices, want.indices));
  EXPECT_TRUE(same_bits(got.distances, want.distances));
  EXPECT_TRUE(same_bits(run_labels(backend, points, k, grid, 0, grid.size), vote(want.indices, k, points.labels)));
}

// --- neighbours and labels -------------------------------------------------------------------------------------------

TEST_P(GridTest, AwkwardSizesAndRectangles) {
  for (const std::int64_t size : {1, 2, 15, 16, 17, 31, 32, 33, 63, 65}) {
    for (const std::int64_t n : {1, 33, 200}) {
      for (const std::int64_t k : {std::int64_t{1}, std::min<std::int64_t>(n, 4), std::min<std::int64_t>(n, 128)}) {
        Points points{uniform_floats(2 * n, n), random_labels(n, 3, n)};
        for (const Grid& grid : {Grid{size}, Grid{size, -0.3F, 0.1F, 0.2F, 0.21F}, Grid{size, 5, 9, -3, -2}}) {
          if (leave_out(k > 32 && size > 2 ? 7 : 3) || size > shrunk(size, 33, 17, k)) continue;
          SCOPED_TRACE(testing::Message() << "G " << size << ", n " << n << ", k " << k << ", x_min " << grid.x_min);
          expect_naive(backend(), points, grid, k);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(GridTest, AwkwardReferences) {
  const std::int64_t n = on_executor() ? 150 : 500;
  const auto uniform = uniform_floats(2 * n, 5);
  const std::vector<std::pair<const char*, std::function<void(std::int64_t, float*)>>> clouds = {
      {"uniform", [](std::int64_t, float*) {}},
      {"all equal", [](std::int64_t, float* p) { p[0] = p[1] = 0.1F; }},
      {"every point four times", [&](std::int64_t i, float* p) { std::copy_n(&uniform[i / 4 * 8], 2, p); }},
      {"collinear", [](std::int64_t, float* p) { p[1] = 0.5F * p[0]; }},
      {"one row of cell centres",
       [](std::int64_t, float* p) {
         p[1] = 0;
         p[0] = std::round(p[0] * 25) / 25;
       }},
      {"clusters at 1e-6",
       [&](std::int64_t i, float* p) {
         for (int c = 0; c < 2; ++c) p[c] = uniform[i % 5 * 2 + c] + 1e-6F * p[c];
       }},
      {"half in clusters",
       [&](std::int64_t i, float* p) {
         for (int c = 0; c < 2 && i % 2 == 0; ++c) p[c] = uniform[i % 20 * 2 + c] + 1e-6F * p[c];
       }},
      {"lattice",
       [](std::int64_t, float* p) {
         for (int c = 0; c < 2; ++c) p[c] = std::round(p[c] * 5) / 5;
       }},
      {"all far to one side", [](std::int64_t, float* p) { p[0] += 40; }},
      {"one far outlier",
       [](std::int64_t i, float* p) {
         if (i == 0) p[0] = 1e6F;
       }},
  };
  for (const auto& [name, change] : clouds) {
    for (const std::int64_t k : {1, 2, 5, 9, 33, 128}) {
      for (const int classes : {1, 2, 5}) {
        if (leave_out(k > 32 ? 7 : 3)) continue;
        const std::int64_t size = shrunk(36, 20, 7, k);
        Points points{uniform, random_labels(n, classes, 9)};
        for (std::int64_t i = 0; i < n; ++i) change(i, &points.x[2 * i]);
        SCOPED_TRACE(testing::Message() << name << ", k " << k << ", classes " << classes);
        expect_naive(backend(), points, Grid{size}, k);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(GridTest, AtAMillion) {
  const std::int64_t n = on_executor() ? 100 : 400;
  Points points{uniform_floats(2 * n, 3, 1e6F, 1e6F + 2), random_labels(n, 2, 4)};
  expect_naive(backend(), points, Grid{on_executor() ? 16 : 70, 1e6F, 1e6F + 2, 1e6F, 1e6F + 2}, 5);
}

TEST_P(GridTest, RandomShapes) {
  const std::uint64_t seed = 4711;
  for (int round = 0; round < (on_executor() ? 20 : 150); ++round) {
    const std::int64_t n = uniform_int(seed, 8 * round, 1, on_executor() ? 150 : 1500);
    const std::int64_t k = uniform_int(seed, 8 * round + 2, 1, std::min<std::int64_t>(n, round % 2 == 0 ? 9 : 128));
    const std::int64_t size = uniform_int(seed, 8 * round + 1, 1, shrunk(48, 24, 6, k));
    const int classes = static_cast<int>(uniform_int(seed, 8 * round + 3, 1, round % 3 == 0 ? 200 : 3));
    Points points{uniform_floats(2 * n, seed + round), random_labels(n, classes, seed + round)};
    const float step = std::ldexp(1.0F, static_cast<int>(uniform_int(seed, 8 * round + 4, -20, -2)));
    for (float& x : points.x) x = std::round(x / step) * step;
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", round " << round << ": n " << n << ", G " << size << ", k "
                                    << k << ", classes " << classes << ", step " << step);
    expect_naive(backend(), points, Grid{size}, k);
    if (HasFailure()) return;
  }
}

// A million cells for every k against knn (which knn_test.cpp holds against its definition), with and without noise.
TEST_P(GridTest, AMillionCellsForEveryK) {
  for (const std::int64_t k : {1, 5, 8, 15, 31, 128}) {
    const Grid grid{shrunk(k > 15 ? 300 : 1009, 24, 6, k)};
    const Points points = spiral_points(on_executor() ? 300 : 5000, 60 + k, k % 5 == 0 ? 0.1 : 0);
    const std::vector<float> queries = cell_centres(grid, 0, grid.size);
    Context context(backend());
    const std::int64_t q = grid.size * grid.size;
    const Guarded<float> r(context, points.x, {points.size(), 2}), x(context, queries, {q, 2});
    const Guarded<int> indices(context, {q, k});
    const Guarded<float> distances(context, {q, k});
    backend().knn(r, x, indices, distances, context);
    context.synchronize();
    const std::vector<int> want = indices.to_host();
    const Neighbours got = run_grid_knn(backend(), points.x, grid, 0, grid.size, k);
    ASSERT_TRUE(same_bits(got.indices, want)) << "k " << k;
    ASSERT_TRUE(same_bits(got.distances, distances.to_host())) << "k " << k;
    ASSERT_TRUE(same_bits(run_labels(backend(), points, k, grid, 0, grid.size), vote(want, k, points.labels)))
        << "k " << k;
  }
}

TEST_P(GridTest, DistancesMayBeLeftOut) {
  const Points points = spiral_points(300, 1, 0);
  const Grid grid{on_executor() ? 20 : 100};
  for (const std::int64_t k : {3, 12}) {
    const Neighbours with = run_grid_knn(backend(), points.x, grid, 0, grid.size, k);
    const Neighbours without = run_grid_knn(backend(), points.x, grid, 0, grid.size, k, 0, false);
    EXPECT_TRUE(same_bits(without.indices, with.indices));
    for (const float distance : without.distances) EXPECT_TRUE(std::isnan(distance));
  }
}

// --- bands, threads, targets -----------------------------------------------------------------------------------------

TEST_P(GridTest, BandsJoinWithoutASeam) {
  const Grid grid{on_executor() ? 21 : 90, -1, 0.9F, -0.7F, 1};
  const Points points = spiral_points(on_executor() ? 100 : 800, 5, 0.05);
  const std::int64_t size = grid.size, k = 5;
  const Neighbours whole = run_grid_knn(backend(), points.x, grid, 0, size, k);
  const std::vector<std::uint8_t> whole_labels = run_labels(backend(), points, k, grid, 0, size);
  Context context(backend());
  const auto spiral_band = [&](std::int64_t begin, std::int64_t rows) {
    const Guarded<std::uint8_t> labels(context, {rows, size});
    backend().grid_spiral_labels(Spiral(), grid, begin, labels, context);
    context.synchronize();
    return labels.to_host();
  };
  const std::vector<std::uint8_t> whole_spiral = spiral_band(0, size);
  for (const std::int64_t height : {1, 7, 40}) {
    if (on_executor() && height == 1) continue;
    for (std::int64_t begin = 0; begin < size; begin += height) {
      const std::int64_t rows = std::min(height, size - begin);
      const auto slice = [&](const auto& all, std::int64_t per_cell) {
        return std::vector(all.begin() + begin * size * per_cell, all.begin() + (begin + rows) * size * per_cell);
      };
      const Neighbours band = run_grid_knn(backend(), points.x, grid, begin, rows, k);
      ASSERT_TRUE(same_bits(band.indices, slice(whole.indices, k))) << "rows from " << begin;
      ASSERT_TRUE(same_bits(band.distances, slice(whole.distances, k))) << "rows from " << begin;
      ASSERT_TRUE(same_bits(run_labels(backend(), points, k, grid, begin, rows), slice(whole_labels, 1)));
      ASSERT_TRUE(same_bits(spiral_band(begin, rows), slice(whole_spiral, 1)));
    }
  }
  EXPECT_TRUE(run_labels(backend(), points, k, grid, size, 0).empty());
  EXPECT_TRUE(run_grid_knn(backend(), points.x, grid, 3, 0, k).indices.empty());
}

TEST_P(GridTest, TheSameBitsOnAnyNumberOfThreadsAndInEveryRun) {
  const Grid grid{on_executor() ? 24 : 400};
  const Points points = spiral_points(on_executor() ? 100 : 2000, 6, 0.1);
  for (const std::int64_t k : {5, 20}) {
    const Neighbours once = run_grid_knn(backend(), points.x, grid, 0, grid.size, k, 1);
    const std::vector<std::uint8_t> labels = run_labels(backend(), points, k, grid, 0, grid.size, 1);
    for (const int threads : {1, 2, 5}) {
      if (on_executor() && threads != 2) continue;  // which it has no use for
      const Neighbours again = run_grid_knn(backend(), points.x, grid, 0, grid.size, k, threads);
      EXPECT_TRUE(same_bits(again.indices, once.indices));
      EXPECT_TRUE(same_bits(again.distances, once.distances));
      EXPECT_TRUE(same_bits(run_labels(backend(), points, k, grid, 0, grid.size, threads), labels));
    }
  }
}

TEST(GridTargetsTest, TheSameBitsOnEveryVectorTarget) {
  const Grid grid{50};
  for (const std::int64_t k : {1, 5, 8, 9, 40}) {
    for (const int classes : {2, 4}) {
      Points points{uniform_floats(1200, 8), random_labels(600, classes, 8)};
      for (std::int64_t i = 0; i < 300; ++i) points.x[4 * i] = std::round(points.x[4 * i] * 25) / 25;
      const Neighbours want = naive(points.x, cell_centres(grid, 0, grid.size), k);
      for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
        SCOPED_TRACE(testing::Message() << hwy::TargetName(left & -left) << ", k " << k);
        hwy::SetSupportedTargetsForTest(left & -left);
        const Neighbours got = run_grid_knn(cpu_backend(), points.x, grid, 0, grid.size, k);
        const auto labels = run_labels(cpu_backend(), points, k, grid, 0, grid.size);
        hwy::SetSupportedTargetsForTest(0);
        EXPECT_TRUE(same_bits(got.indices, want.indices));
        EXPECT_TRUE(same_bits(got.distances, want.distances));
        EXPECT_TRUE(same_bits(labels, vote(want.indices, k, points.labels)));
      }
    }
  }
}

// --- the spiral ------------------------------------------------------------------------------------------------------

TEST_P(GridTest, SpiralLabelsAreThoseOfItsDefinition) {
  Spiral other;
  other.turns = 2.5;
  other.tip_radius = 0.7;
  other.start_angle = -1;
  for (const Spiral& spiral : {Spiral(), other}) {
    // Odd sizes have a cell centred on the origin; the shifted rectangles have centres on both axes.
    for (const Grid& grid : {Grid{1}, Grid{31}, Grid{33}, Grid{on_executor() ? 48 : 1009},
                             Grid{16, -0.5F, 15.5F, -0.5F, 15.5F}, Grid{64, -0.01F, 0.01F, -0.01F, 0.01F}}) {
      Context context(backend());
      const Guarded<std::uint8_t> labels(context, {grid.size, grid.size});
      backend().grid_spiral_labels(spiral, grid, 0, labels, context);
      context.synchronize();
      const std::vector<float> x = cell_centres(grid, 0, grid.size);
      std::vector<std::uint8_t> want;
      for (std::size_t i = 0; i < x.size(); i += 2) want.push_back(spiral.inside(x[i], x[i + 1]));
      EXPECT_TRUE(same_bits(labels.to_host(), want)) << "G " << grid.size;
    }
  }
}

TEST(GridTargetsTest, SpiralLabelsAreTheSameBitsOnEveryVectorTarget) {
  const Grid grid{201};
  const std::vector<float> x = cell_centres(grid, 0, grid.size);
  std::vector<std::uint8_t> want;
  for (std::size_t i = 0; i < x.size(); i += 2) want.push_back(Spiral().inside(x[i], x[i + 1]));
  for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    Context context(cpu_backend());
    const Guarded<std::uint8_t> labels(context, {grid.size, grid.size});
    hwy::SetSupportedTargetsForTest(left & -left);
    cpu::grid_spiral_labels(Spiral(), grid, 0, labels, context);
    hwy::SetSupportedTargetsForTest(0);
    EXPECT_TRUE(same_bits(labels.to_host(), want)) << hwy::TargetName(left & -left);
  }
}

// --- confusion -------------------------------------------------------------------------------------------------------

TEST_P(GridTest, LabelConfusionCountsAndAdds) {
  for (const int classes : {1, 2, 7, 256}) {
    for (const std::int64_t n : {0, 1, 31, 33, 1009, on_executor() ? 2000 : 3000001}) {
      const auto a = random_labels(n, classes, 1), b = random_labels(n, classes, 2);
      std::vector<std::int64_t> want(classes * classes, std::int64_t{1} << 40);
      Context context(backend());
      const Guarded<std::int64_t> counts(context, want, {classes, classes});
      for (std::int64_t i = 0; i < n; ++i) ++want[a[i] * classes + b[i]];
      const Guarded<std::uint8_t> left(context, a, {n}), right(context, b, {n});
      backend().label_confusion(left, right, counts, context);
      context.synchronize();
      EXPECT_TRUE(same_bits(counts.to_host(), want)) << "n " << n << ", classes " << classes;
    }
  }
}

// --- statistics without a map ----------------------------------------------------------------------------------------

// A model and the map that it stands for.
struct Model {
  Points points;
  int k = 0;  // 0: the spiral
};

std::vector<std::int64_t> run_confusion(const Backend& backend, const Model& a, const Model& b, const Grid& grid,
                                        const std::vector<std::pair<std::int64_t, std::int64_t>>& bands, int classes,
                                        int threads = 0) {
  Context context(backend, 0, threads);
  const std::vector<std::int64_t> start(classes * classes, 5);
  const Guarded<std::int64_t> counts(context, start, {classes, classes});
  std::vector<Guarded<float>> references;
  std::vector<Guarded<std::uint8_t>> labels;
  std::vector<GridModel> models(2);
  for (const int side : {0, 1}) {
    const Model& model = side == 0 ? a : b;
    const std::int64_t n = model.points.size();
    references.emplace_back(context, model.points.x, Shape{n, 2});
    labels.emplace_back(context, model.points.labels, Shape{n});
    if (model.k > 0) models[side] = {references.back(), labels.back(), model.k, {}};
  }
  for (const auto& [begin, rows] : bands) {
    backend.grid_confusion(models[0], models[1], grid, begin, rows, counts, context);
  }
  context.synchronize();
  return counts.to_host();
}

std::vector<std::uint8_t> map_of(const Backend& backend, const Model& model, const Grid& grid) {
  if (model.k > 0) return run_labels(backend, model.points, model.k, grid, 0, grid.size);
  std::vector<std::uint8_t> labels;
  const std::vector<float> x = cell_centres(grid, 0, grid.size);
  for (std::size_t i = 0; i < x.size(); i += 2) labels.push_back(Spiral().inside(x[i], x[i + 1]));
  return labels;
}

std::vector<std::int64_t> pairs_of(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b,
                                   int classes) {
  std::vector<std::int64_t> counts(classes * classes, 5);
  for (std::size_t i = 0; i < a.size(); ++i) ++counts[a[i] * classes + b[i]];
  return counts;
}

// Against the maps, which are held against their definition above.
TEST_P(GridTest, ConfusionCountsWhatTheMapsWouldSay) {
  const auto points = [](std::int64_t n, int classes, std::uint64_t seed) {
    return Points{uniform_floats(2 * n, seed), random_labels(n, classes, seed)};
  };
  const Model truth, noisy{spiral_points(on_executor() ? 90 : 2000, 7, 0.1), 5},
      clean{spiral_points(on_executor() ? 200 : 9000, 8, 0), 1}, many{points(150, 200, 9), 4},
      wide{points(130, 3, 10), on_executor() ? 35 : 128};
  for (const std::int64_t size : {1, 10, 17, on_executor() ? 33 : 700}) {
    const Grid grid{size, -1, 0.9F, -0.8F, 1};
    int trial = 0;
    for (const auto& [a, b] : std::vector<std::pair<const Model*, const Model*>>{
             {&noisy, &truth}, {&truth, &clean}, {&noisy, &clean}, {&clean, &clean}, {&many, &wide}}) {
      const int classes = b == &wide ? 200 : 2 + trial % 2 * 70;
      SCOPED_TRACE(testing::Message() << "G " << size << ", pair " << trial++);
      if (size > shrunk(size, 33, 10, b->k)) continue;
      const auto want = pairs_of(map_of(backend(), *a, grid), map_of(backend(), *b, grid), classes);
      EXPECT_TRUE(same_bits(run_confusion(backend(), *a, *b, grid, {{0, size}}, classes), want));
      const std::vector<std::pair<std::int64_t, std::int64_t>> bands = {
          {0, size / 3}, {size / 3, 1}, {size / 3 + 1, 0}, {size / 3 + 1, size - size / 3 - 1}};
      EXPECT_TRUE(same_bits(run_confusion(backend(), *a, *b, grid, bands, classes), want)) << "in bands";
    }
  }
}

TEST(GridTargetsTest, ConfusionAndBitsAreTheSameOnEveryVectorTargetAndNumberOfThreads) {
  const Grid grid{300};
  const Model a{spiral_points(800, 3, 0.1), 3}, truth;
  const std::vector<std::uint8_t> map = map_of(cpu_backend(), a, grid);
  const auto want = pairs_of(map, map_of(cpu_backend(), truth, grid), 2);
  std::vector<std::uint8_t> want_bits(300 * 38);
  for (std::int64_t i = 0; i < 90000; ++i) want_bits[i / 300 * 38 + i % 300 / 8] |= (map[i] != 0) << i % 300 % 8;
  for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    for (const int threads : {1, 2, 5}) {
      SCOPED_TRACE(testing::Message() << hwy::TargetName(left & -left) << ", " << threads << " threads");
      hwy::SetSupportedTargetsForTest(left & -left);
      const auto got = run_confusion(cpu_backend(), a, truth, grid, {{0, 300}}, 2, threads);
      Context context(cpu_backend(), 0, threads);
      const Guarded<std::uint8_t> labels(context, map, {300, 300}), bits(context, {300, 38});
      cpu::pack_labels(labels, bits, context);
      hwy::SetSupportedTargetsForTest(0);
      EXPECT_TRUE(same_bits(got, want));
      EXPECT_TRUE(same_bits(bits.to_host(), want_bits));
    }
  }
}

// --- bits ------------------------------------------------------------------------------------------------------------

TEST_P(GridTest, PackedLabelsAreTheBitsOfEachRow) {
  for (const std::int64_t rows : {0, 1, 5, 33}) {
    for (const std::int64_t columns : {0, 1, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65, 129, 1009}) {
      const std::int64_t bytes = (columns + 7) / 8;
      auto labels = random_labels(rows * columns, 256, 3);
      for (std::size_t i = 0; i < labels.size(); i += 2) labels[i] = labels[i] < 128 ? 0 : 1;
      std::vector<std::uint8_t> want(rows * bytes);
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const std::int64_t column = i % columns;
        if (labels[i] != 0) want[i / columns * bytes + column / 8] |= 1 << column % 8;
      }
      Context context(backend());
      const Guarded<std::uint8_t> from(context, labels, {rows, columns}), bits(context, {rows, bytes});
      backend().pack_labels(from, bits, context);
      context.synchronize();
      EXPECT_TRUE(same_bits(bits.to_host(), want)) << rows << " x " << columns;
    }
  }
}

// --- progress and errors ---------------------------------------------------------------------------------------------

TEST(GridProgressTest, IsReportedUpToTheEndAndMayAbandonTheOp) {
  const Points points = spiral_points(3000, 1, 0);
  const Grid grid{600};
  Context context(cpu_backend(), 0, 1);
  std::vector<std::uint8_t> labels(grid.size * grid.size);
  const View<std::uint8_t> out(labels.data(), {grid.size, grid.size});
  const std::vector<std::function<void()>> ops = {
      [&] {
        cpu::grid_knn_labels({points.x.data(), {points.size(), 2}}, {points.labels.data(), {points.size()}}, 5, grid, 0,
                             out, context);
      },
      [&] { cpu::grid_spiral_labels(Spiral(), grid, 0, out, context); },
  };
  for (const auto& run : ops) expect_progress(context, run);
}

std::string complaint(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}
void expect_says(const std::string& what, const std::string& part) {
  EXPECT_NE(what.find(part), std::string::npos) << what;
}

TEST_P(GridTest, RefusesNeighboursThatDoNotFit) {
  Context context(backend());
  const Guarded<float> references(context, {10, 2}), flat(context, {20}), cubic(context, {10, 3});
  const Grid grid{8};
  const auto knn = [&](const Guarded<float>& r, std::int64_t row_begin, Shape shape, Shape distances) {
    return complaint([&] {
      const Guarded<int> i(context, shape);
      const Guarded<float> s(context, distances);
      backend().grid_knn(r, grid, row_begin, i, s, context);
    });
  };
  expect_says(knn(references, 0, {8, 8, 0}, {8, 8, 0}), "k = 0");
  expect_says(knn(references, 0, {8, 8, 11}, {8, 8, 11}), "k = 11");
  expect_says(knn(references, 0, {8, 8, 129}, {8, 8, 129}), "k = 129");
  expect_says(knn(references, 0, {8, 8, 2}, {8, 8, 3}), "distances");
  expect_says(knn(references, 0, {8, 9, 2}, {8, 9, 2}), "columns");
  expect_says(knn(references, 1, {8, 8, 2}, {8, 8, 2}), "rows 1 .. 9");
  expect_says(knn(references, -1, {4, 8, 2}, {4, 8, 2}), "rows -1 .. 3");
  expect_says(knn(flat, 0, {8, 8, 2}, {8, 8, 2}), "(n, 2)");
  expect_says(knn(cubic, 0, {8, 8, 2}, {8, 8, 2}), "(n, 2)");
}

TEST_P(GridTest, RefusesLabelsAndGridsThatDoNotFit) {
  Context context(backend());
  const Guarded<float> references(context, {10, 2});
  const Guarded<std::uint8_t> given(context, {10}), few(context, {9});
  const auto labels = [&](const Guarded<std::uint8_t>& l, int k, const Grid& on, std::int64_t row_begin,
                          std::int64_t rows) {
    return complaint([&] {
      const Guarded<std::uint8_t> out(context, {rows, 8});
      backend().grid_knn_labels(references, l, k, on, row_begin, out, context);
    });
  };
  const auto spiral = [&](const Grid& on, std::int64_t row_begin, std::int64_t rows) {
    return complaint([&] {
      const Guarded<std::uint8_t> out(context, {rows, 8});
      backend().grid_spiral_labels(Spiral(), on, row_begin, out, context);
    });
  };
  const Grid grid{8};
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  expect_says(labels(given, 0, grid, 0, 8), "k = 0");
  expect_says(labels(given, 11, grid, 0, 8), "k = 11");
  expect_says(labels(few, 3, grid, 0, 8), "9 labels");
  expect_says(labels(given, 3, grid, 5, 4), "rows 5 .. 9");
  for (const Grid& bad : {Grid{0}, Grid{-3}, Grid{kMaxGrid + 1}}) {
    expect_says(labels(given, 3, bad, 0, 8), "grid size");
    expect_says(spiral(bad, 0, 8), "grid size");
  }
  for (const Grid& bad : {Grid{8, 1, 1, 0, 1}, Grid{8, 0, 1, 1, 0}, Grid{8, nan, 1, 0, 1}, Grid{8, 0, 1, 0, infinity},
                          Grid{8, -3e38F, 3e38F, 0, 1}}) {
    expect_says(labels(given, 3, bad, 0, 8), "empty or not finite");
    expect_says(spiral(bad, 0, 8), "empty or not finite");
  }
  expect_says(spiral(grid, 1, 8), "rows 1 .. 9");
  expect_says(spiral(Grid{9}, 0, 8), "columns");
}

TEST_P(GridTest, RefusesConfusionsThatDoNotFit) {
  Context context(backend());
  const Guarded<float> references(context, {10, 2}), cubic(context, {10, 3});
  const Guarded<std::uint8_t> given(context, {10}), few(context, {9});
  const Grid grid{8};
  const auto confusion = [&](std::int64_t a, std::int64_t b, Shape shape) {
    return complaint([&] {
      const Guarded<std::uint8_t> left(context, {a}), right(context, {b});
      const Guarded<std::int64_t> counts(context, shape);
      backend().label_confusion(left, right, counts, context);
    });
  };
  expect_says(confusion(5, 6, {2, 2}), "5 labels");
  expect_says(confusion(5, 5, {2, 3}), "classes");
  expect_says(confusion(5, 5, {257, 257}), "classes");
  expect_says(confusion(5, 5, {4}), "classes");
  const auto statistics = [&](const GridModel& a, const GridModel& b, const Grid& on, std::int64_t row_begin,
                              std::int64_t rows, Shape shape) {
    return complaint([&] {
      const Guarded<std::int64_t> counts(context, shape);
      backend().grid_confusion(a, b, on, row_begin, rows, counts, context);
    });
  };
  const GridModel truth, three{references, given, 3, {}};
  expect_says(statistics(three, truth, grid, 3, 6, {2, 2}), "rows 3 .. 9");
  expect_says(statistics(three, truth, Grid{0}, 0, 0, {2, 2}), "grid size");
  expect_says(statistics(three, truth, grid, 0, 8, {2, 3}), "classes");
  expect_says(statistics(truth, three, grid, 0, 8, {1, 1}), "two classes");
  expect_says(statistics({references, given, 11, {}}, truth, grid, 0, 8, {2, 2}), "k = 11");
  expect_says(statistics(truth, {references, given, -1, {}}, grid, 0, 8, {2, 2}), "k = -1");
  expect_says(statistics({references, given, 0, {}}, truth, grid, 0, 8, {2, 2}), "k = 0");
  expect_says(statistics(truth, {cubic, given, 3, {}}, grid, 0, 8, {2, 2}), "(n, 2)");
  expect_says(statistics({references, few, 3, {}}, truth, grid, 0, 8, {2, 2}), "9 labels");
}

TEST_P(GridTest, RefusesPackedLabelsThatDoNotFit) {
  Context context(backend());
  const auto packing = [&](Shape from, Shape to) {
    return complaint([&] {
      const Guarded<std::uint8_t> cells(context, from), bits(context, to);
      backend().pack_labels(cells, bits, context);
    });
  };
  expect_says(packing({3, 9}, {3, 1}), "(3, 2)");
  expect_says(packing({3, 8}, {2, 1}), "(3, 1)");
  expect_says(packing({24}, {3, 1}), "bits of shape");
}

}  // namespace
}  // namespace scalelab
