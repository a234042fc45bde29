// The searches in up to three dimensions on inputs that defeat a grid of cells: far outliers, clusters, one spot,
// queries outside, lines, lattices, all scales at once. Their answers are the definition's, bit for bit, and their work,
// counted in references and boxes looked at, stays near that of uniform points.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/examined.h"
#include "scalelab/grid.h"
#include "scalelab/knn.h"
#include "tests/knn_oracle.h"
#include "tests/support.h"

namespace scalelab {
namespace {

using test::Answer;
using test::Guarded;
using test::naive;
using test::run_knn;
using test::same_bits;
using test::uniform_floats;
using test::uniform_int;

const std::vector<std::string> kKinds = {"uniform",          "outlier",  "farther outlier", "cluster",
                                         "small references", "one spot", "far queries",     "line",
                                         "lattice",          "scales",   "sphere"};

// References (n, d), or queries of the same kind.
std::vector<float> points_of(const std::string& kind, std::int64_t n, std::int64_t d, bool queries) {
  const std::uint64_t seed = queries ? 2 : 1;
  std::vector<float> points = uniform_floats(static_cast<std::size_t>(n * d), seed);
  for (std::int64_t i = 0; i < n; ++i) {
    float* p = &points[static_cast<std::size_t>(i * d)];
    float length = 0;
    for (std::int64_t c = 0; c < d; ++c) length += p[c] * p[c];
    for (std::int64_t c = 0; c < d; ++c) {
      if (kind == "outlier" && i == 7) p[c] = queries ? -1e6F : 1e6F;
      if (kind == "farther outlier" && i == 7)
        p[c] = queries ? -1e12F : 1e12F;  // every other is equally far from there
      if (kind == "cluster" && i % 2 == 0) p[c] *= 0.01F;
      if (kind == "small references" && !queries) p[c] *= 0.01F;
      if (kind == "one spot" && i % 2 == 0) p[c] = 0.25F;
      if (kind == "far queries" && queries) p[c] += 50;
      if (kind == "line") p[c] = p[0] * static_cast<float>(c + 1);
      if (kind == "lattice")
        p[c] = static_cast<float>(uniform_int(seed, i * d + c, 0, d == 1 ? 4000 : d == 2 ? 63 : 15));
      if (kind == "scales") p[c] *= std::ldexp(1.0F, static_cast<int>(i % 40) - 20);
      if (kind == "sphere" && !queries) p[c] /= std::sqrt(length);
    }
  }
  return points;
}

// A grid over the range of the references, or beyond it.
Grid grid_over(const std::vector<float>& references, std::int64_t size, float beyond) {
  Grid grid{size};
  grid.x_min = grid.x_max = references[0];
  grid.y_min = grid.y_max = references[1];
  for (std::size_t i = 0; i < references.size(); i += 2) {
    grid.x_min = std::min(grid.x_min, references[i] - beyond);
    grid.x_max = std::max(grid.x_max, references[i] + beyond);
    grid.y_min = std::min(grid.y_min, references[i + 1] - beyond);
    grid.y_max = std::max(grid.y_max, references[i + 1] + beyond);
  }
  return grid;
}

Answer run_grid(const Backend& backend, const std::vector<float>& references, const Grid& grid, std::int64_t k) {
  Context context(backend);
  const Guarded<float> r(context, references, {static_cast<std::int64_t>(references.size() / 2), 2});
  const Guarded<int> indices(context, {grid.size, grid.size, k});
  const Guarded<float> distances(context, {grid.size, grid.size, k});
  backend.grid_knn(r, grid, 0, indices, distances, context);
  context.synchronize();
  return {indices.to_host(), distances.to_host()};
}

std::vector<std::uint8_t> run_labels(const Backend& backend, const std::vector<float>& references,
                                     const std::vector<std::uint8_t>& labels, const Grid& grid, std::int64_t k) {
  Context context(backend);
  const auto n = static_cast<std::int64_t>(labels.size());
  const Guarded<float> r(context, references, {n, 2});
  const Guarded<std::uint8_t> l(context, labels, {n}), out(context, {grid.size, grid.size});
  backend.grid_knn_labels(r, l, static_cast<int>(k), grid, 0, out, context);
  context.synchronize();
  return out.to_host();
}

class NeighbourWorkTest : public test::OnBackend {};
SCALELAB_ON_EACH_BACKEND(NeighbourWorkTest);

TEST_P(NeighbourWorkTest, AwkwardPointsHaveTheNeighboursOfTheDefinition) {
  const std::int64_t n = on_executor() ? 1500 : 2500, q = on_executor() ? 70 : 100;  // more than one window's points
  for (const std::string& kind : kKinds) {
    for (const std::int64_t d : {1, 2, 3}) {
      for (const std::int64_t k : {1, 5, 40}) {
        if (leave_out(3)) continue;
        SCOPED_TRACE(testing::Message() << kind << ", d " << d << ", k " << k);
        const auto references = points_of(kind, n, d, false), queries = points_of(kind, q, d, true);
        const Answer got = run_knn(backend(), references, queries, d, k), want = naive(references, queries, d, k);
        EXPECT_TRUE(same_bits(got.indices, want.indices));
        EXPECT_TRUE(same_bits(got.distances, want.distances));
      }
    }
  }
}

TEST_P(NeighbourWorkTest, AwkwardReferencesGiveTheGridOfTheDefinition) {
  const std::int64_t n = on_executor() ? 1500 : 2500, size = on_executor() ? 17 : 21;
  for (const std::string& kind : kKinds) {
    for (const std::int64_t k : {1, 4, 40}) {
      for (const float beyond : {0.1F, 500.0F}) {
        if (leave_out(5)) continue;
        SCOPED_TRACE(testing::Message() << kind << ", k " << k << ", beyond " << beyond);
        const auto references = points_of(kind, n, 2, false);
        std::vector<std::uint8_t> labels(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint8_t>(uniform_int(3, i, 0, 2));
        const Grid grid = grid_over(references, size, beyond);
        std::vector<float> centres;
        for (std::int64_t cell = 0; cell < size * size; ++cell) {
          centres.push_back(std::fmaf(static_cast<float>(cell % size) + 0.5F, grid.step_x(), grid.x_min));
          centres.push_back(std::fmaf(static_cast<float>(cell / size) + 0.5F, grid.step_y(), grid.y_min));
        }
        const Answer got = run_grid(backend(), references, grid, k), want = naive(references, centres, 2, k);
        EXPECT_TRUE(same_bits(got.indices, want.indices));
        EXPECT_TRUE(same_bits(got.distances, want.distances));
        std::vector<std::uint8_t> winners;
        for (std::size_t i = 0; i < want.indices.size(); i += k) {
          int counts[3] = {};
          for (std::int64_t j = 0; j < k; ++j) ++counts[labels[want.indices[i + j]]];
          winners.push_back(static_cast<std::uint8_t>(std::max_element(counts, counts + 3) - counts));
        }
        EXPECT_TRUE(same_bits(run_labels(backend(), references, labels, grid, k), winners));
      }
    }
  }
}

// What one call looks at on the CPU, per query.
template <class Call>
double examined(double queries, const Call& call) {
  const std::int64_t before = cpu::references_examined;
  call();
  return static_cast<double>(cpu::references_examined - before) / queries;
}

TEST(NeighbourWorkCpuTest, NoPointsMakeKnnLookAtManyTimesMoreThanUniformOnes) {
  constexpr std::int64_t kPoints = 20000;
  for (const std::int64_t d : {2, 3}) {
    const auto work = [&](const std::string& kind) {
      const auto references = points_of(kind, kPoints, d, false), queries = points_of(kind, kPoints, d, true);
      return examined(kPoints, [&] { run_knn(cpu_backend(), references, queries, d, 5); });
    };
    const double uniform = work("uniform");
    for (const std::string& kind : kKinds) {
      // Many references are about as near as the nearest to a query amid a sphere: no tree can leave them out.
      const double limit = kind == "sphere" ? 0.1 * kPoints : 4 * uniform;
      const double got = work(kind);
      EXPECT_LE(got, limit) << kind << ", d " << d;
    }
  }
}

// Uniform references cost a cell 30: neighbouring cells share their lists. A search for every cell costs a few hundred.
TEST(NeighbourWorkCpuTest, NoReferencesMakeACellLookAtMoreThanASearchDoes) {
  constexpr std::int64_t kPoints = 20000, kSize = 256;
  for (const std::string& kind : kKinds) {
    for (const float beyond : {0.1F, 500.0F}) {
      const auto references = points_of(kind, kPoints, 2, false);
      const Grid grid = grid_over(references, kSize, beyond);
      EXPECT_LE(examined(kSize * kSize, [&] { run_grid(cpu_backend(), references, grid, 5); }), 400)
          << kind << ", beyond " << beyond;
    }
  }
}

}  // namespace
}  // namespace scalelab
