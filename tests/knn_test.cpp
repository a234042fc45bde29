// knn against its definition: every canonical distance by std::fmaf, sorted by (distance, index), bit for bit; against
// double precision; and against itself on other threads, vector targets and runs.
#include "scalelab/knn.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/byte_bounds.h"
#include "scalelab/work.h"
#include "tests/byte_remainders.h"
#include "tests/knn_oracle.h"
#include "tests/support.h"

namespace scalelab {
namespace {

using test::Answer;
using test::canonical;
using test::Guarded;
using test::naive;
using test::run_knn;
using test::same_bits;
using test::uniform_floats;
using test::uniform_int;

void expect_naive(const Backend& backend, const std::vector<float>& references, const std::vector<float>& queries,
                  std::int64_t d, std::int64_t k) {
  const Answer got = run_knn(backend, references, queries, d, k), want = naive(references, queries, d, k);
  EXPECT_TRUE(same_bits(got.indices, want.indices));
  EXPECT_TRUE(same_bits(got.distances, want.distances));
}

// Decides whether a claimed answer is the answer, without sorting: its pairs (distance, index) must be canonical and
// strictly ascending, and exactly k references must be as near as the last. Since that order is total, nothing else
// passes. Counting looks at the references of the square cells that the ball of the last distance can touch.
class Certifier {
 public:
  Certifier(const std::vector<float>& references, std::int64_t d) : references_(references), d_(d) {
    const std::int64_t n = static_cast<std::int64_t>(references.size()) / d;
    per_axis_ = std::max<std::int64_t>(1, std::llround(std::pow(n / 4.0, 1.0 / d)));
    cells_.resize(std::llround(std::pow(per_axis_, d)));
    for (std::int64_t i = 0; i < n; ++i) {
      std::int64_t cell = 0;
      for (std::int64_t c = 0; c < d; ++c) cell = cell * per_axis_ + place(references[i * d + c]);
      cells_[cell].push_back(static_cast<int>(i));
    }
  }

  bool holds(const float* query, const int* indices, const float* distances, std::int64_t k) const {
    const std::int64_t n = static_cast<std::int64_t>(references_.size()) / d_;
    for (std::int64_t j = 0; j < k; ++j) {
      if (indices[j] < 0 || indices[j] >= n) return false;
      if (canonical(query, &references_[indices[j] * d_], d_) != distances[j]) return false;
      if (j > 0 && !(std::pair(distances[j - 1], indices[j - 1]) < std::pair(distances[j], indices[j]))) return false;
    }
    const std::pair last(distances[k - 1], indices[k - 1]);
    const float reach = std::sqrt(last.first) * 1.00001F + 1e-30F;
    std::int64_t low[3] = {}, high[3] = {};
    for (std::int64_t c = 0; c < d_; ++c) {
      low[c] = place(query[c] - reach);
      high[c] = place(query[c] + reach);
    }
    std::int64_t count = 0;
    for (std::int64_t a = low[0]; a <= high[0]; ++a) {
      for (std::int64_t b = low[1]; b <= high[1]; ++b) {
        for (std::int64_t e = low[2]; e <= high[2]; ++e) {
          const std::int64_t cell = d_ == 1 ? a : d_ == 2 ? a * per_axis_ + b : (a * per_axis_ + b) * per_axis_ + e;
          for (const int i : cells_[cell]) count += at_most(query, i, last);
        }
      }
    }
    return count == k;
  }

 private:
  bool at_most(const float* query, int i, const std::pair<float, int>& last) const {
    float rough = 0;  // within 1e-6 of the canonical distance, relative: decides all but near ties without fma calls
    for (std::int64_t c = 0; c < d_; ++c) {
      const float t = query[c] - references_[i * d_ + c];
      rough += t * t;
    }
    if (rough < last.first * (1 - 1e-5F)) return true;
    if (rough > last.first * (1 + 1e-5F)) return false;
    return std::pair(canonical(query, &references_[i * d_], d_), i) <= last;
  }
  // Coordinates in [-1, 1) are spread over the cells of an axis; what lies outside goes to the outermost.
  std::int64_t place(float x) const {
    return std::clamp(static_cast<std::int64_t>((x + 1) * 0.5F * per_axis_), std::int64_t{0}, per_axis_ - 1);
  }

  const std::vector<float>& references_;
  std::int64_t d_, per_axis_;
  std::vector<std::vector<int>> cells_;
};

class KnnTest : public test::OnBackend {};
SCALELAB_ON_EACH_BACKEND(KnnTest);

// --- a million queries for every k -----------------------------------------------------------------------------------

TEST_P(KnnTest, AMillionRandomQueriesForEveryK) {
#if defined(__SANITIZE_ADDRESS__)
  const std::int64_t q = on_executor() ? 300 : 30000;  // the million of an ordinary build would take half an hour
#else
  const std::int64_t q = on_executor() ? 300 : 1000000;
#endif
  for (const std::int64_t k : {1, 3, 5, 8, 9, 16, 31, 33, 64, 128}) {
    // Most queries are in the plane, some in space; numbers of references above and below those of queries.
    for (const std::int64_t d : {2, 3}) {
      const std::int64_t queries_here = d == 2 ? q * 4 / 5 : q / 5, n = on_executor() ? 400 : k < 16 ? 20000 : 2000;
      const auto references = uniform_floats(n * d, 100 + k), queries = uniform_floats(queries_here * d, 200 + k);
      const Answer got = run_knn(backend(), references, queries, d, k);
      const Certifier certifier(references, d);
      for (std::int64_t i = 0; i < queries_here; ++i) {
        ASSERT_TRUE(certifier.holds(&queries[i * d], &got.indices[i * k], &got.distances[i * k], k))
            << "query " << i << ", k " << k << ", d " << d;
      }
    }
  }
}

// The certifier itself: it accepts the definition's answers, and nothing next to them.
TEST(KnnCertifierTest, AcceptsTheAnswerAndNothingElse) {
  for (const std::int64_t d : {1, 2, 3}) {
    const auto references = uniform_floats(300 * d, 7), queries = uniform_floats(200 * d, 8);
    const Certifier certifier(references, d);
    for (const std::int64_t k : {1, 4, 60}) {
      const Answer right = naive(references, queries, d, k), more = naive(references, queries, d, k + 1);
      for (std::int64_t i = 0; i < 200; ++i) {
        const int* indices = &right.indices[i * k];
        const float* distances = &right.distances[i * k];
        ASSERT_TRUE(certifier.holds(&queries[i * d], indices, distances, k));
        // The next neighbour in place of the last.
        std::vector<int> wrong(indices, indices + k);
        std::vector<float> wrong_distances(distances, distances + k);
        wrong.back() = more.indices[i * (k + 1) + k];
        wrong_distances.back() = more.distances[i * (k + 1) + k];
        ASSERT_FALSE(certifier.holds(&queries[i * d], wrong.data(), wrong_distances.data(), k));
        if (k == 1) continue;
        wrong.assign(indices, indices + k);
        std::swap(wrong[0], wrong[1]);
        ASSERT_FALSE(certifier.holds(&queries[i * d], wrong.data(), distances, k));
      }
    }
  }
}

// --- double precision ------------------------------------------------------------------------------------------------

// In double precision the order can differ where two distances are closer than fp32 can tell: each canonical distance
// is within (d + 2) u of its value (tile.h), so the distances of the two references at one place of the two lists are
// within 2 (d + 2) u of each other. Every disagreement must be one of these.
TEST_P(KnnTest, DisagreesWithDoublePrecisionOnlyWithinRounding) {
  const std::int64_t n = on_executor() ? 300 : 2000, q = on_executor() ? 50 : 4000;
  std::int64_t disagreements = 0;
  for (const std::int64_t d : {1, 2, 3, 8, 33}) {
    const std::int64_t k = 12;
    // A lattice of thousandths makes near ties common.
    auto references = uniform_floats(n * d, 31 + d), queries = uniform_floats(q * d, 41 + d);
    for (auto* values : {&references, &queries}) {
      for (float& v : *values) v = std::round(v * 50) / 50;
    }
    const Answer got = run_knn(backend(), references, queries, d, k);
    std::vector<std::pair<double, int>> all(n);
    for (std::int64_t i = 0; i < q; ++i) {
      const auto distance = [&](std::int64_t r) {
        double s = 0;
        for (std::int64_t c = 0; c < d; ++c) {
          const double t = static_cast<double>(queries[i * d + c]) - references[r * d + c];
          s += t * t;
        }
        return s;
      };
      for (std::int64_t r = 0; r < n; ++r) all[r] = {distance(r), static_cast<int>(r)};
      std::partial_sort(all.begin(), all.begin() + k, all.end());
      for (std::int64_t j = 0; j < k; ++j) {
        const double ours = distance(got.indices[i * k + j]);
        EXPECT_TRUE(test::within_rounding(got.distances[i * k + j], ours, ours, d + 2.01));
        if (got.indices[i * k + j] == all[j].second) continue;
        ++disagreements;
        const double bound = 2 * (d + 2.01) * 0x1p-24 * std::max(ours, all[j].first);
        ASSERT_LE(std::abs(ours - all[j].first), bound) << "query " << i << ", place " << j << ", d " << d;
      }
    }
  }
  RecordProperty("disagreements_within_rounding", static_cast<int>(disagreements));
  EXPECT_TRUE(on_executor() || disagreements > 0) << "the data was meant to have near ties";
}

// --- awkward data ----------------------------------------------------------------------------------------------------

struct Cloud {
  const char* name;
  std::vector<float> references, queries;
};

// Rows that are equal, nearly so, or lie on a line.
void add_coinciding(std::vector<Cloud>& clouds, const std::vector<float>& uniform, const std::vector<float>& asked,
                    std::int64_t d) {
  const std::int64_t n = std::ssize(uniform) / d, q = std::ssize(asked) / d;
  {
    Cloud cloud{"all references equal", std::vector<float>(n * d, 0.25F), asked};
    clouds.push_back(cloud);
    cloud.name = "all equal, on both sides";
    cloud.queries.assign(q * d, 0.25F);
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"every reference three times", uniform, asked};
    for (std::int64_t i = 0; i < n; ++i) {
      std::copy_n(&cloud.references[i / 3 * 3 * d], d, &cloud.references[i * d]);
    }
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"collinear", uniform, asked};
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t c = 1; c < d; ++c) cloud.references[i * d + c] = 0.5F * cloud.references[i * d];
    }
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"on one axis, zeros of both signs", uniform, asked};
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t c = 1; c < d; ++c) cloud.references[i * d + c] = i % 2 == 0 ? 0.0F : -0.0F;
    }
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"half in four clusters at 1e-6", uniform, asked};
    for (std::int64_t i = 0; i < n; i += 2) {
      for (std::int64_t c = 0; c < d; ++c) {
        float& x = cloud.references[i * d + c];
        x = uniform[i / 2 % 4 * d + c] + 1e-6F * x;
      }
    }
    for (std::int64_t i = 0; i < q; i += 3) {
      for (std::int64_t c = 0; c < d; ++c) {
        float& x = cloud.queries[i * d + c];
        x = uniform[i % 4 * d + c] + 2e-6F * x;
      }
    }
    clouds.push_back(cloud);
  }
}

// Coordinates far from 0 or near it, and on a lattice.
void add_scaled(std::vector<Cloud>& clouds, const std::vector<float>& uniform, const std::vector<float>& asked,
                std::int64_t d) {
  const std::int64_t n = std::ssize(uniform) / d;
  {
    Cloud cloud{"at 1e6", uniform, asked};
    for (float& x : cloud.references) x += 1e6F;
    for (float& x : cloud.queries) x += 1e6F;
    clouds.push_back(cloud);
    cloud.name = "at 1e6, seen from the origin";
    cloud.queries = asked;
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"far outliers", uniform, asked};
    for (std::int64_t c = 0; c < d; ++c) {
      cloud.references[c] = 3e4F;
      cloud.references[(n - 1) * d + c] = -1e6F;
      cloud.queries[c] = 1e7F;
    }
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"lattice: ties everywhere", uniform, asked};
    for (auto* values : {&cloud.references, &cloud.queries}) {
      for (float& x : *values) x = std::round(x * 4) / 4;
    }
    clouds.push_back(cloud);
  }
  {
    Cloud cloud{"squares below the normal range", uniform, asked};
    for (auto* values : {&cloud.references, &cloud.queries}) {
      for (float& x : *values) x *= 1e-21F;
    }
    clouds.push_back(cloud);
  }
}

std::vector<Cloud> awkward_clouds(std::int64_t n, std::int64_t q, std::int64_t d, std::uint64_t seed) {
  const auto uniform = uniform_floats(n * d, seed), asked = uniform_floats(q * d, seed + 1);
  std::vector<Cloud> clouds = {{"uniform", uniform, asked}, {"references are queries", uniform, uniform}};
  add_coinciding(clouds, uniform, asked, d);
  add_scaled(clouds, uniform, asked, d);
  return clouds;
}

TEST_P(KnnTest, AwkwardData) {
  for (const std::int64_t d : {1, 2, 3, 4, 33}) {
    for (const std::int64_t k : {1, 5, 8, 9, 31, 128}) {
      const std::int64_t n = on_executor() ? 150 : 400, q = on_executor() ? 20 : 150;
      for (const Cloud& cloud : awkward_clouds(n, q, d, 1000 + k)) {
        if (leave_out(7)) continue;
        SCOPED_TRACE(testing::Message() << cloud.name << ", d " << d << ", k " << k);
        expect_naive(backend(), cloud.references, cloud.queries, d, k);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(KnnTest, AwkwardSizes) {
  for (const std::int64_t d : {1, 2, 3, 4, 8, 33, 128}) {
    for (const std::int64_t n : {1, 31, 32, 33, 1009}) {
      for (const std::int64_t q : {0, 1, 31, 32, 33, 1009}) {
        if (n == 1009 && q == 1009 && (d > 4 || on_executor())) continue;
        std::vector<std::int64_t> ks = {1, std::min<std::int64_t>(n, 7), std::min<std::int64_t>(n, kMaxNeighbours)};
        for (const std::int64_t k : ks) {
          if (leave_out(11)) continue;
          SCOPED_TRACE(testing::Message() << "n " << n << ", q " << q << ", d " << d << ", k " << k);
          expect_naive(backend(), uniform_floats(n * d, n), uniform_floats(q * d, q + 1), d, k);
          if (HasFailure()) return;
        }
      }
    }
  }
}

// More references and queries than a tile, a block or a slice holds, few queries among many references included.
TEST_P(KnnTest, ManyReferencesInMoreDimensions) {
  for (const std::int64_t q : {1, 7, 250}) {
    const std::int64_t n = on_executor() ? 700 : 20000;
    for (const std::int64_t k : {1, 10, 100}) {
      SCOPED_TRACE(testing::Message() << "q " << q << ", k " << k);
      expect_naive(backend(), uniform_floats(n * 5, 3), uniform_floats(q * 5, 4), 5, k);
    }
  }
}

// On the CPU scores propose here, and canonical distances decide (kernels/cpu/proposals.h): ties and numbers near both ends of
// the range included.
class KnnOfManyFeatures : public test::OnBackend {
 protected:
  void expect_for_every_k(const std::vector<float>& references, const std::vector<float>& queries,
                          std::int64_t d) const {
    const std::int64_t rows = std::ssize(queries) / d, most = kMaxNeighbours;
    const Answer want = naive(references, queries, d, most);
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{10}, most}) {
      if (on_executor() && k == 10) continue;
      const Answer got = run_knn(backend(), references, queries, d, k);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < k; ++j) {
          ASSERT_EQ(got.indices[i * k + j], want.indices[i * most + j])
              << "query " << i << ", place " << j << ", k " << k;
          ASSERT_EQ(got.distances[i * k + j], want.distances[i * most + j]) << "query " << i << ", place " << j;
        }
      }
    }
  }
  std::vector<std::int64_t> features() const {
    return on_executor() ? std::vector<std::int64_t>{65} : std::vector<std::int64_t>{16, 24, 65, 128};
  }
  std::int64_t references() const { return on_executor() ? 300 : 1024; }
  std::int64_t queries(std::int64_t d) const { return on_executor() ? 40 : 9000 / d; }
};
SCALELAB_ON_EACH_BACKEND(KnnOfManyFeatures);

TEST_P(KnnOfManyFeatures, AwkwardData) {
  for (const std::int64_t d : features()) {
    for (const float scale : {1.0F, 1e-22F, 1e18F}) {
      for (Cloud& cloud : awkward_clouds(references(), queries(d), d, 5 + d)) {
        if (scale != 1 && cloud.name != std::string("uniform")) continue;
        for (auto* values : {&cloud.references, &cloud.queries}) {
          for (float& x : *values) x *= scale;
        }
        SCOPED_TRACE(testing::Message() << cloud.name << ", d " << d << ", scale " << scale);
        expect_for_every_k(cloud.references, cloud.queries, d);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Scores tell references apart where distances are rounded alike. Every one has its opposite, so that the middle is 0
// also for those that scores are centred on.
TEST_P(KnnOfManyFeatures, TogetherInTheMiddle) {
  for (const std::int64_t d : features()) {
    auto rows = uniform_floats(references() * d, 6);
    for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
      rows[i] = i / d % 8 >= 4 ? -rows[i - 4 * d] : 1e-5F * rows[i];
    }
    SCOPED_TRACE(testing::Message() << "d " << d);
    expect_for_every_k(rows, uniform_floats(queries(d) * d, 7), d);
    if (HasFatalFailure()) return;
  }
}

// Distances of 1e36 so far out that the products of coordinates overflow.
TEST_P(KnnOfManyFeatures, FarOut) {
  for (const std::int64_t d : features()) {
    auto rows = uniform_floats(references() * d, 8), asked = uniform_floats(queries(d) * d, 9);
    for (auto* values : {&rows, &asked}) {
      for (float& x : *values) x = 3e22F + 1e18F * x;
    }
    SCOPED_TRACE(testing::Message() << "d " << d);
    expect_for_every_k(rows, asked, d);
    if (HasFatalFailure()) return;
  }
}

// One reference near all queries, the last of a panel, and next to it so many as near that scores decide nothing: of ties
// the first counts.
TEST_P(KnnOfManyFeatures, TiesBehindAPanelsEnd) {
  const std::int64_t d = 128, tie = on_executor() ? 191 : 703;
  auto rows = uniform_floats(references() * d, 10);
  for (std::int64_t i = tie; i < tie + 20; ++i) std::fill_n(&rows[i * d], d, 0.125F);
  expect_for_every_k(rows, std::vector<float>(100 * d), d);
}

// References that differ by less than a byte of a row can say (kernels/cpu/byte_bounds.h), queries midway between them,
// and rows in which one feature is so large that bytes say little of the others.
TEST_P(KnnOfManyFeatures, NearCopies) {
  if (on_executor()) return;
  const std::int64_t n = references();
  for (const std::int64_t wide : {64, 768, 1536}) {
    for (const float step : {1e-1F, 1e-3F, 1e-5F}) {
      auto near = uniform_floats(n * wide, 11), asked = uniform_floats(130 * wide, 12);
      const auto moves = uniform_floats(n * wide, 13, -step, step);
      for (std::int64_t i = 40 * wide; i < n * wide; ++i) near[i] = near[i % (40 * wide)] + moves[i];
      for (std::int64_t i = 0; i < 65 * wide; ++i) asked[i] = 0.5F * (near[i] + near[i + 40 * wide]);
      if (step == 1e-3F) {
        for (auto* rows : {&near, &asked}) {
          for (std::size_t i = 0; i < rows->size(); i += wide) (*rows)[i] *= 1000;
        }
      }
      SCOPED_TRACE(testing::Message() << "d " << wide << ", step " << step);
      expect_for_every_k(near, asked, wide);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(KnnOfManyFeatures, MoreThanABlockOfQueries) {
  if (on_executor()) return;
  expect_for_every_k(uniform_floats(5000 * 40, 8), uniform_floats(400 * 40, 9), 40);
}

TEST_P(KnnTest, WhatBytesLeaveMayLieAlongTheOtherRow) {
  for (const bool of_row : {true, false}) {
    const test::ByteRemainders rows(of_row);
    const std::int64_t d = rows.kFeatures;
    std::vector<float> references, queries;
    for (int i = 0; i < 3; ++i) references.insert(references.end(), rows.others.begin(), rows.others.end());
    references.resize(128 * d);
    std::copy(rows.rival.begin(), rows.rival.end(), references.begin() + 5 * d);
    std::copy(rows.nearest.begin(), rows.nearest.end(), references.begin() + 100 * d);  // panels behind the rival's
    references = test::with_opposites(references, d);
    for (int i = 0; i < 130; ++i) queries.insert(queries.end(), rows.row.begin(), rows.row.end());
    const Answer got = run_knn(backend(), references, queries, d, 1);
    EXPECT_EQ(got.indices[0], 200) << of_row;
    EXPECT_TRUE(same_bits(got.indices, naive(references, queries, d, 1).indices)) << of_row;
  }
}

TEST_P(KnnTest, RandomShapes) {
  const std::uint64_t seed = 20240;
  for (int round = 0; round < (on_executor() ? 25 : 200); ++round) {
    const std::int64_t d = round % 2 == 0 ? uniform_int(seed, 8 * round, 1, 3) : uniform_int(seed, 8 * round, 1, 40);
    const std::int64_t n = uniform_int(seed, 8 * round + 1, 1, on_executor() ? 200 : 1000);
    const std::int64_t q = uniform_int(seed, 8 * round + 2, 0, on_executor() ? 60 : 250);
    const std::int64_t k = uniform_int(seed, 8 * round + 3, 1, std::min<std::int64_t>(n, kMaxNeighbours));
    auto references = uniform_floats(n * d, seed + round), queries = uniform_floats(q * d, seed + 1000 + round);
    const float step = std::ldexp(1.0F, static_cast<int>(uniform_int(seed, 8 * round + 4, -20, -1)));
    for (auto* values : {&references, &queries}) {
      for (float& x : *values) x = std::round(x / step) * step;  // from many ties to nearly none
    }
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", round " << round << ": n " << n << ", q " << q << ", d "
                                    << d << ", k " << k << ", step " << step);
    expect_naive(backend(), references, queries, d, k);
    if (HasFailure()) return;
  }
}

TEST_P(KnnTest, DistancesMayBeLeftOut) {
  for (const std::int64_t d : {2, 3, 6}) {
    for (const std::int64_t k : {4, 20}) {
      const auto references = uniform_floats(500 * d, 1), queries = uniform_floats(100 * d, 2);
      const Answer got = run_knn(backend(), references, queries, d, k, 0, false);
      EXPECT_TRUE(same_bits(got.indices, naive(references, queries, d, k).indices));
      for (const float distance : got.distances) EXPECT_TRUE(std::isnan(distance));
    }
  }
}

// --- references in pieces --------------------------------------------------------------------------------------------

// Cut anywhere, the references give the neighbours that all of them give at once: ties by the thousand included,
// between pieces too, and pieces that hold no neighbour at all.
TEST_P(KnnTest, PiecesMergeToTheWhole) {
  for (const std::int64_t d : {1, 2, 5}) {
    for (const std::int64_t k : {1, 5, 33, 128}) {
      const std::int64_t n = 5 * k + 11, q = on_executor() ? 9 : 100;
      for (const float step : {0.25F, 0x1p-20F}) {
        auto references = uniform_floats(n * d, 3 + k), queries = uniform_floats(q * d, 4 + k);
        for (auto* values : {&references, &queries}) {
          for (float& x : *values) x = std::round(x / step) * step;
        }
        for (std::int64_t i = 2 * k; i < 3 * k; ++i) references[i * d] += 1e4F;  // a piece far away
        const Answer want = naive(references, queries, d, k);
        const std::vector<std::vector<std::int64_t>> cuts = {
            {0, n}, {0, k, n}, {0, n - k, n}, {0, k, 2 * k, 3 * k, 4 * k, n}};
        for (const auto& cut : cuts) {
          if (leave_out(3)) continue;
          SCOPED_TRACE(testing::Message()
                       << "d " << d << ", k " << k << ", step " << step << ", pieces " << cut.size() - 1);
          Context context(backend());
          const Guarded<float> x(context, queries, {q, d}), merged_distances(context, {q, k});
          const Guarded<int> merged_indices(context, {q, k});
          for (std::size_t piece = 0; piece + 1 < cut.size(); ++piece) {
            const std::int64_t first = cut[piece], count = cut[piece + 1] - first;
            const Guarded<float> some(context, std::span(references).subspan(first * d, count * d), {count, d});
            if (piece == 0) {
              backend().knn(some, x, merged_indices, merged_distances, context);
              continue;
            }
            const Guarded<int> indices(context, {q, k});
            const Guarded<float> distances(context, {q, k});
            backend().knn(some, x, indices, distances, context);
            backend().knn_merge(indices.view(), distances.view(), first, merged_indices, merged_distances, context);
            context.synchronize();
            indices.to_host();  // whose canaries it checks
            distances.to_host();
          }
          EXPECT_TRUE(same_bits(merged_indices.to_host(), want.indices));
          EXPECT_TRUE(same_bits(merged_distances.to_host(), want.distances));
        }
        if (HasFailure()) return;
      }
    }
  }
}

// More rows than a thread or a block takes at a time; and rows of which all, or none, come from one side.
TEST_P(KnnTest, MergesManyRows) {
  const std::int64_t q = on_executor() ? 70 : 10000, k = 3;
  for (const int shift : {-3, -1, 0, 1, 3}) {
    std::vector<int> own(q * k), other(q * k);
    std::vector<float> own_distances(q * k), other_distances(q * k);
    for (std::int64_t row = 0; row < q; ++row) {
      for (std::int64_t j = 0; j < k; ++j) {
        own[row * k + j] = static_cast<int>(row % 2 * 2000 + j);
        other[row * k + j] = static_cast<int>(row % 7 + j);
        own_distances[row * k + j] = static_cast<float>(4 + row + j);
        other_distances[row * k + j] = static_cast<float>(4 + row + j + shift + (row % 5 == 0 ? 10 : 0));
      }
    }
    std::vector<int> want;
    for (std::int64_t row = 0; row < q; ++row) {
      std::vector<std::pair<float, int>> both;
      for (std::int64_t i = row * k; i < (row + 1) * k; ++i) {
        both.emplace_back(own_distances[i], own[i]);
        both.emplace_back(other_distances[i], other[i] + 1000);
      }
      std::sort(both.begin(), both.end());
      for (std::int64_t j = 0; j < k; ++j) want.push_back(both[j].second);
    }
    Context context(backend());
    const Guarded<int> indices(context, other, {q, k}), merged(context, own, {q, k});
    const Guarded<float> distances(context, other_distances, {q, k}), merged_distances(context, own_distances, {q, k});
    backend().knn_merge(indices.view(), distances.view(), 1000, merged, merged_distances, context);
    context.synchronize();
    EXPECT_TRUE(same_bits(merged.to_host(), want)) << "shift " << shift;
  }
}

// --- the same bits ---------------------------------------------------------------------------------------------------

TEST_P(KnnTest, TheSameBitsOnAnyNumberOfThreadsAndInEveryRun) {
  for (const std::int64_t d : {2, 3, 7, 40}) {
    const std::int64_t n = on_executor() ? 300 : 5000, q = on_executor() ? 60 : d > 7 ? 500 : 5000;
    for (const std::int64_t k : {5, 40}) {
      const auto references = uniform_floats(n * d, 11), queries = uniform_floats(q * d, 12);
      const Answer once = run_knn(backend(), references, queries, d, k, 1);
      for (const int threads : {1, 2, 5}) {
        if (on_executor() && threads != 2) continue;  // which it has no use for
        const Answer again = run_knn(backend(), references, queries, d, k, threads);
        EXPECT_TRUE(same_bits(again.indices, once.indices));
        EXPECT_TRUE(same_bits(again.distances, once.distances));
      }
    }
  }
}

TEST(KnnTargetsTest, TheSameBitsOnEveryVectorTarget) {
  for (const std::int64_t d : {1, 2, 3, 7, 128}) {
    for (const std::int64_t k : {1, 5, 8, 9, 40, 128}) {
      for (const Cloud& cloud : awkward_clouds(300, 70, d, 77)) {
        const Answer want = naive(cloud.references, cloud.queries, d, k);
        for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
          SCOPED_TRACE(testing::Message()
                       << hwy::TargetName(left & -left) << ", " << cloud.name << ", d " << d << ", k " << k);
          hwy::SetSupportedTargetsForTest(left & -left);
          const Answer got = run_knn(cpu_backend(), cloud.references, cloud.queries, d, k);
          hwy::SetSupportedTargetsForTest(0);
          EXPECT_TRUE(same_bits(got.indices, want.indices));
          EXPECT_TRUE(same_bits(got.distances, want.distances));
        }
      }
    }
  }
}

// --- progress and errors ---------------------------------------------------------------------------------------------

TEST(KnnWorkTest, BoundsSettleMostPairs) {
  const auto references = uniform_floats(5000 * 128, 1), queries = uniform_floats(300 * 128, 2);
  const PairWork before = cpu::knn_work();
  run_knn(cpu_backend(), references, queries, 128, 5);
  const PairWork work = cpu::knn_work() - before;
  EXPECT_EQ(work.pairs, 5000 * 300);
  EXPECT_GE(work.full, 5 * 300);
  EXPECT_LE(work.full, cpu::has_byte_products() ? work.pairs / 10 : 2 * work.pairs);
}

TEST(KnnProgressTest, IsReportedUpToTheEndAndMayAbandonTheOp) {
  const auto references = uniform_floats(2000, 1), queries = uniform_floats(100000, 2);
  for (const std::int64_t d : {2, 4}) {
    Context context(cpu_backend(), 0, 1);
    const std::int64_t q = 100000 / d;
    std::vector<int> indices(q * 3);
    test::expect_progress(context, [&] {
      cpu::knn({references.data(), {2000 / d, d}}, {queries.data(), {q, d}}, {indices.data(), {q, 3}}, {}, context);
    });
  }
}

TEST_P(KnnTest, RefusesWhatDoesNotFit) {
  Context context(backend());
  const auto complaint = [&](Shape references, Shape queries, Shape indices, Shape distances) -> std::string {
    const Guarded<float> r(context, references), q(context, queries), s(context, distances);
    const Guarded<int> i(context, indices);
    try {
      backend().knn(r, q, i, s, context);
    } catch (const std::invalid_argument& error) {
      for (const int value : i.to_host()) EXPECT_EQ(value, Guarded<int>::poison()) << "written before the check";
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(complaint({10, 2}, {4, 2}, {4, 0}, {4, 0}).find("k = 0"), std::string::npos);
  EXPECT_NE(complaint({10, 2}, {4, 2}, {4, 11}, {4, 11}).find("k = 11"), std::string::npos);
  EXPECT_NE(complaint({500, 2}, {4, 2}, {4, 129}, {4, 129}).find("k = 129"), std::string::npos);
  EXPECT_NE(complaint({10, 2}, {4, 3}, {4, 2}, {4, 2}).find("features"), std::string::npos);
  EXPECT_NE(complaint({10, 2}, {4, 2}, {5, 2}, {5, 2}).find("rows"), std::string::npos);
  EXPECT_NE(complaint({10, 2}, {4, 2}, {4, 2}, {4, 3}).find("distances"), std::string::npos);
  EXPECT_NE(complaint({10, 2}, {4, 2}, {4, 2}, {3, 2}).find("distances"), std::string::npos);
  EXPECT_NE(complaint({0, 2}, {4, 2}, {4, 1}, {4, 1}).find("0 references"), std::string::npos);
  EXPECT_NE(complaint({20}, {4, 2}, {4, 1}, {4, 1}).find("axes"), std::string::npos);
  // k is wrong even when there is nothing to ask.
  EXPECT_NE(complaint({10, 2}, {0, 2}, {0, 11}, {0, 11}).find("k = 11"), std::string::npos);
  // Queries are numbered by int. Nothing is read before the check: the views need no memory of that size behind them.
  const std::int64_t many = std::int64_t{1} << 31;
  float number = 0;
  int index = 0;
  try {
    backend().knn({&number, {1, 1}}, {&number, {many, 1}}, {&index, {many, 1}}, {}, context);
    ADD_FAILURE() << "2^31 queries were taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("queries: ask for them in parts"), std::string::npos) << error.what();
  }
}

TEST_P(KnnTest, MergeRefusesWhatDoesNotFit) {
  Context context(backend());
  const auto complaint = [&](std::int64_t q, std::int64_t k, std::int64_t first, std::int64_t merged_q,
                             std::int64_t merged_k) -> std::string {
    const Guarded<int> i(context, {q, k}), merged(context, {merged_q, merged_k});
    const Guarded<float> s(context, {q, k}), merged_distances(context, {merged_q, merged_k});
    try {
      backend().knn_merge(i.view(), s.view(), first, merged, merged_distances, context);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(complaint(4, 2, 0, 5, 2).find("one shape"), std::string::npos);
  EXPECT_NE(complaint(4, 2, 0, 4, 3).find("one shape"), std::string::npos);
  EXPECT_NE(complaint(4, 0, 0, 4, 0).find("k = 0"), std::string::npos);
  EXPECT_NE(complaint(4, 129, 0, 4, 129).find("k = 129"), std::string::npos);
  EXPECT_NE(complaint(4, 2, -1, 4, 2).find("first = -1"), std::string::npos);
  EXPECT_EQ(complaint(0, 2, 3, 0, 2), "nothing was thrown");
}

}  // namespace
}  // namespace scalelab
