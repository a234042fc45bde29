// cluster_count: silhouettes against a definition in plain loops and values known by hand, and numbers of clusters that
// anybody can see.
#include "host/own_data/cluster_count.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "host/lab/directions.h"
#include "host/lab/row_scores.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

std::vector<float> distances_of(const std::vector<float>& rows, std::size_t d) {
  const std::size_t m = rows.size() / d;
  std::vector<float> distances;
  for (std::size_t i = 0; i < m * m; ++i) {
    double squared = 0;
    for (std::size_t c = 0; c < d; ++c) squared += std::pow(double{rows[i / m * d + c]} - rows[i % m * d + c], 2);
    distances.push_back(static_cast<float>(std::sqrt(squared)));
  }
  return distances;
}

// Tight clouds around `groups` corners of a lattice, by turns.
std::vector<float> clouds(int groups, std::size_t n, std::size_t d, std::uint64_t seed) {
  std::vector<float> rows = test::uniform_floats(n * d, seed, -0.3F, 0.3F);
  for (std::size_t i = 0; i < n; ++i) {
    const auto group = static_cast<int>(i) % groups;
    rows[i * d] += static_cast<float>(3 + 2 * (group % 4));
    rows[i * d + 1] += static_cast<float>(3 + 2 * (group / 4));
  }
  return rows;
}

TEST(Silhouette, OfFourPointsByHand) {
  // 0, 1 | 10, 11: of 0, a = 1 and b = 10.5; of 1, a = 1 and b = 9.5.
  const auto distances = distances_of({0, 1, 10, 11}, 1);
  const double want = ((10.5 - 1) / 10.5 + (9.5 - 1) / 9.5) / 2;
  EXPECT_DOUBLE_EQ(mean_silhouette(distances, std::vector{0, 0, 1, 1}, 2), want);
  EXPECT_DOUBLE_EQ(mean_silhouette(distances, std::vector{0, 0, 2, 2}, 3), want) << "a cluster is empty";
  EXPECT_LT(mean_silhouette(distances, std::vector{0, 1, 0, 1}, 2), 0);
  EXPECT_EQ(mean_silhouette(distances, std::vector{0, 1, 2, 3}, 4), 0) << "each is alone";
  EXPECT_EQ(mean_silhouette(distances, std::vector{0, 0, 0, 0}, 1), 0) << "there is no other cluster";
  EXPECT_EQ(mean_silhouette(std::vector<float>(16), std::vector{0, 0, 1, 1}, 2), 0) << "all rows are equal";
}

TEST(Silhouette, IsTheDefinition) {
  const std::size_t m = 60, d = 3, k = 4;
  const auto rows = test::uniform_floats(m * d, 3);
  const auto distances = distances_of(rows, d);
  std::vector<int> labels;
  for (std::size_t i = 0; i < m; ++i)
    labels.push_back(static_cast<int>(test::uniform_int(5, static_cast<int>(i), 0, 3)));
  double want = 0;
  for (std::size_t i = 0; i < m; ++i) {
    double a = 0, b = INFINITY;
    for (std::size_t c = 0; c < k; ++c) {
      double sum = 0, count = 0;
      for (std::size_t j = 0; j < m; ++j) {
        if (j == i || labels[j] != static_cast<int>(c)) continue;
        sum += distances[i * m + j];
        ++count;
      }
      if (labels[i] == static_cast<int>(c)) {
        a = sum / count;
      } else {
        b = std::min(b, sum / count);
      }
    }
    want += (b - a) / std::max(a, b) / static_cast<double>(m);
  }
  EXPECT_NEAR(mean_silhouette(distances, labels, 4), want, 1e-12);
}

class ClusterCountTest : public Program {
 protected:
  const Common common_{.quiet = true};
  Context context_{cpu_backend(), 0, 2};
  Progress progress_{true};
  Session session_{common_, context_, progress_};
};

TEST_F(ClusterCountTest, CloudsThatLieApartAreCounted) {
  for (const int groups : {2, 3, 7, 12}) {
    const auto rows = clouds(groups, 600, 3, 11);
    const ClusterCount count = count_clusters(rows, 3, false, 0, session_);
    EXPECT_EQ(count.clusters, groups);
    EXPECT_EQ(count.sample, 600);
    EXPECT_EQ(count.tried.front().clusters, 2);
    EXPECT_EQ(count.tried.back().clusters, 91);
    for (const auto& one : count.tried) EXPECT_LE(one.silhouette, count.silhouette());
    EXPECT_GT(count.silhouette(), 0.7);
    EXPECT_NE(reason(count).find("clear clusters"), std::string::npos) << reason(count);
  }
  // Directions: clouds on three rays, however far out.
  std::vector<float> rays = test::uniform_floats(3 * 300, 4, 0, 0.1F);
  for (std::size_t i = 0; i < 300; ++i) {
    rays[3 * i + i % 3] += 1;
    for (std::size_t c = 0; c < 3; ++c) rays[3 * i + c] *= static_cast<float>(1 + i % 50);
  }
  EXPECT_EQ(count_clusters(unit_rows(rays, 3), 3, true, 0, session_).clusters, 3);
}

// Each number again: three starts, of which the one of the least inertia counts, and the silhouettes of what it found.
TEST_F(ClusterCountTest, SilhouettesAreThoseOfTheBestOfThreeStarts) {
  constexpr std::size_t kRows = 160, kFeatures = 5;
  const auto rows = unit_rows(test::uniform_floats(kRows * kFeatures, 8, -1, 1), kFeatures);
  for (const bool cosine : {false, true}) {
    std::vector<float> distances;
    for (std::size_t i = 0; i < kRows * kRows; ++i) {
      double product = 0;
      for (std::size_t c = 0; c < kFeatures; ++c)
        product += double{rows[i / kRows * kFeatures + c]} * rows[i % kRows * kFeatures + c];
      const double gap = std::max(1 - product, 0.0);
      distances.push_back(static_cast<float>(cosine ? gap : std::sqrt(2 * gap)));
    }
    std::set<int> best_starts;
    for (const auto& [clusters, silhouette] : count_clusters(rows, kFeatures, cosine, 3, session_).tried) {
      double least = INFINITY;
      std::vector<int> labels;
      int best_start = 0;
      for (int start = 0; start < 3; ++start) {
        const auto prototypes = cosine ? cosine_prototypes : euclidean_prototypes;
        const Prototypes found = prototypes(rows, kFeatures, clusters, 3 + static_cast<std::uint64_t>(start), session_);
        double inertia = 0;
        for (const double distance : found.distances) inertia += cosine ? distance : distance * distance;
        if (inertia >= least) continue;
        least = inertia;
        labels = found.labels;
        best_start = start;
      }
      best_starts.insert(best_start);
      EXPECT_NEAR(silhouette, mean_silhouette(distances, labels, clusters), 1e-4) << clusters << " " << cosine;
    }
    EXPECT_EQ(best_starts.size(), 3U) << "each start is the best of some number";
  }
}

TEST_F(ClusterCountTest, OneCloudIsSaidToHaveHardlyAny) {
  const auto rows = test::uniform_floats(400 * 12, 6);
  EXPECT_NE(reason(count_clusters(rows, 12, false, 0, session_)).find("hardly"), std::string::npos);
  EXPECT_EQ(count_clusters(std::vector<float>(60, 1), 3, false, 0, session_).clusters, 2) << "rows that are all equal";
}

TEST_F(ClusterCountTest, TheSampleIsSeededAndOfEachRowOnce) {
  const auto all = sampled_rows(50, 4, 1), some = sampled_rows(100000, 4, 1), wide = sampled_rows(100000, 1 << 20, 1);
  EXPECT_EQ(all.size(), 50U);
  EXPECT_EQ(some.size(), 2000U);
  EXPECT_EQ(wide.size(), 100U);
  for (const auto& ids : {all, some, wide}) {
    for (std::size_t i = 1; i < ids.size(); ++i) EXPECT_LT(ids[i - 1], ids[i]);
    EXPECT_GE(ids.front(), 0);
    EXPECT_LT(ids.back(), 100000);
  }
  EXPECT_EQ(some, sampled_rows(100000, 4, 1));
  EXPECT_NE(some, sampled_rows(100000, 4, 2));
}

TEST_F(ClusterCountTest, BothCommandsTakeIt) {
  write_npy<float>("x.npy", clouds(7, 3000, 3, 11), {3000, 3});
  const std::string said = good({"kmeans", "--data", "x.npy", "--clusters", "auto", "--restarts", "3", "--out", "k"});
  EXPECT_NE(said.find("7 clusters have the largest mean silhouette"), std::string::npos) << said;
  EXPECT_EQ(result("k")["clusters"], 7);
  EXPECT_EQ(result("k")["auto"]["sample"], 2000);
  EXPECT_EQ(NpyMatrix(folder_ / "k/centroids.npy").rows(), 7);
  good({"prune", "--data", "x.npy", "--labels", "none", "--clusters", "auto", "--fraction", "0.5", "--out", "p"});
  EXPECT_EQ(result("p")["clusters"]["k"], 7);
  EXPECT_EQ(result("p")["clusters"]["auto"]["tried"], result("k")["auto"]["tried"]);
  // Clusters that near-duplicates are looked for within are by cosine, and so is their number.
  good({"kmeans", "--data", "x.npy", "--clusters", "auto", "--metric", "cosine", "--out", "c"});
  good({"prune", "--data", "x.npy", "--labels", "none", "--score", "random", "--near-duplicates", "1e-9", "--clusters",
        "auto", "--out", "d"});
  EXPECT_EQ(result("d")["clusters"]["metric"], "cosine");
  EXPECT_EQ(result("d")["clusters"]["auto"], result("c")["auto"]);
  EXPECT_NE(result("d")["clusters"]["auto"]["tried"], result("k")["auto"]["tried"]);
  write_npy<float>("c.npy", test::uniform_floats(6, 4), {2, 3});
  bad({"kmeans", "--data", "x.npy", "--clusters", "auto", "--init", "c.npy", "--out", "out"}, 2,
      "--clusters auto: give");
  bad({"kmeans", "--data", "c.npy", "--clusters", "auto", "--out", "out"}, 2, "--clusters auto: 2 rows are too few");
  bad({"kmeans", "--data", "x.npy", "--clusters", "some", "--out", "out"}, 2, "or auto");
}

}  // namespace
}  // namespace scalelab::host
