// prune: near-duplicates against a definition that looks at every pair; the command as people run it: every row is kept
// or has its reason, the same bits every time, and bad input ends in one line.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <sstream>

#include "host/lab/difficulty.h"
#include "host/own_data/near_duplicates.h"
#include "host/own_data/projection.h"
#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

// Rows in groups of nearly one direction: about a third of them near-duplicates at eps = 0.01.
std::vector<float> grouped_rows(int n, int d, std::uint64_t seed) {
  std::vector<float> rows = test::uniform_floats(static_cast<std::size_t>(n) * d, seed);
  for (int i = n / 3; i < n; ++i) {
    const auto source = static_cast<int>(test::uniform_int(seed, 9000 + i, 0, n / 3 - 1));
    const float scale = 0.5F + static_cast<float>(i % 3), spread = i % 4 == 0 ? 0.0F : 0.12F;
    for (int c = 0; c < d; ++c) rows[i * d + c] = scale * (rows[source * d + c] + spread * rows[i * d + c]);
  }
  return rows;
}

TEST(NearDuplicates, AreThoseOfTheDefinition) {
  const Common common{.quiet = true};
  Context context(cpu_backend(), 0, 2);
  Progress progress(true);
  Session session{common, context, progress};
  for (const int n : {1, 2, 127, 128, 129, 400}) {
    constexpr int kFeatures = 7;
    const std::vector<float> unit = unit_rows(grouped_rows(n, kFeatures, 3 + n), kFeatures);
    const std::vector<float> difficulty = test::uniform_floats(static_cast<std::size_t>(n), 77);
    for (const int k : {1, 3}) {
      std::vector<int> clusters;
      for (int i = 0; i < n; ++i) clusters.push_back(static_cast<int>(test::uniform_int(5, i, 0, k - 1)));
      for (const bool hard : {true, false}) {
        const std::vector<int> order = preference(difficulty, hard);
        const auto found = near_duplicates(unit, kFeatures, clusters, order, 0.01, session);
        // One row after the other against all that stayed.
        std::map<int, std::pair<int, float>> want;
        std::vector<int> stayed;
        for (const int row : order) {
          int matched = -1;
          float nearest = 1e9F;
          for (const int other : stayed) {
            if (clusters[other] != clusters[row]) continue;
            float s = 0;
            for (int c = 0; c < kFeatures; ++c) {
              const float t = unit[row * kFeatures + c] - unit[other * kFeatures + c];
              s = std::fma(t, t, s);
            }
            if (s < nearest) {
              nearest = s;
              matched = other;
            }
          }
          if (nearest <= 0.02) {
            want[row] = {matched, static_cast<float>(1 - 0.5 * static_cast<double>(nearest))};
          } else {
            stayed.push_back(row);
          }
        }
        ASSERT_EQ(found.size(), want.size()) << n << " rows, " << k << " clusters";
        for (const Duplicate& duplicate : found) {
          ASSERT_TRUE(want.contains(duplicate.row));
          EXPECT_EQ(duplicate.matched, want[duplicate.row].first) << "row " << duplicate.row << " of " << n;
          EXPECT_EQ(duplicate.cosine, want[duplicate.row].second);
        }
        if (n == 400) {
          EXPECT_GT(found.size(), 50U);
        }
      }
    }
  }
}

// A chain of rows, each near the next and none near the one after: what removes a neighbour stays itself.
TEST(NearDuplicates, ARemovedRowRemovesNoOther) {
  const Common common{.quiet = true};
  Context context(cpu_backend(), 0, 1);
  Progress progress(true);
  Session session{common, context, progress};
  std::vector<float> rows;
  constexpr int kRows = 300;
  for (int i = 0; i < kRows; ++i) {
    rows.push_back(static_cast<float>(std::cos(0.02 * i)));
    rows.push_back(static_cast<float>(std::sin(0.02 * i)));
  }
  std::vector<int> order(kRows);
  std::iota(order.begin(), order.end(), 0);
  const auto found =
      near_duplicates(unit_rows(rows, 2), 2, std::vector<int>(kRows), order, 1 - std::cos(0.021), session);
  ASSERT_EQ(found.size(), static_cast<std::size_t>(kRows) / 2);
  for (const Duplicate& duplicate : found) {
    EXPECT_EQ(duplicate.row % 2, 1);
    EXPECT_EQ(duplicate.matched % 2, 0);
  }
}

class Prune : public Program {
 protected:
  static constexpr int kRows = 200, kFeatures = 5;
  Prune() {
    write_npy("x.npy", grouped_rows(kRows, kFeatures, 1), {kRows, kFeatures});
    std::vector<std::int32_t> labels;
    for (int i = 0; i < kRows; ++i) labels.push_back(i % 10 == 0 ? -7 : 40);
    write_npy("y.npy", labels, {kRows});
  }
  struct Removed {
    std::string reason, matched, cosine, score;
  };
  std::map<int, Removed> removed(const fs::path& folder) const {
    std::istringstream text(read_file(folder_ / folder / "removed.csv"));
    std::string line;
    std::getline(text, line);
    EXPECT_EQ(line, "id,reason,matched_id,cosine,score");
    std::map<int, Removed> rows;
    while (std::getline(text, line)) {
      std::istringstream cells(line);
      std::string id;
      Removed row;
      std::getline(cells, id, ',');
      std::getline(cells, row.reason, ',');
      std::getline(cells, row.matched, ',');
      std::getline(cells, row.cosine, ',');
      std::getline(cells, row.score, ',');
      rows[std::stoi(id)] = row;
    }
    return rows;
  }
};

TEST_F(Prune, EveryRowIsKeptOrHasItsReason) {
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--score", "kmeans", "--clusters", "6", "--fraction", "0.4",
        "--near-duplicates", "0.01", "--out", "out"});
  const auto kept = npy_values<std::int64_t>("out/kept_ids.npy");
  const auto scores = npy_values<float>("out/scores.npy");
  const auto gone = removed("out");
  const auto document = result("out");
  ASSERT_EQ(kept.size(), 80U);
  ASSERT_EQ(scores.size(), 200U);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  EXPECT_EQ(kept.size() + gone.size(), 200U);
  int duplicates = 0, rare = 0;
  float hardest_gone = -1, easiest_kept = 1e9F;
  for (const auto& [id, row] : gone) {
    EXPECT_FALSE(std::binary_search(kept.begin(), kept.end(), id));
    EXPECT_EQ(std::stof(row.score), scores[id]);
    if (row.reason == "near-duplicate") {
      ++duplicates;
      const int matched = std::stoi(row.matched);
      EXPECT_TRUE(gone.count(matched) == 0 || gone.at(matched).reason == "fraction") << "a removed row removed " << id;
      EXPECT_GE(std::stof(row.cosine), 0.99F - 1e-6F);
      EXPECT_GE(scores[matched], scores[id]) << "the harder row is the one that stays";
    } else {
      EXPECT_EQ(row.reason, "fraction");
      EXPECT_EQ(row.matched + row.cosine, "");
      if (id % 10 != 0) hardest_gone = std::max(hardest_gone, scores[id]);
    }
  }
  for (const std::int64_t id : kept) {
    rare += id % 10 == 0;
    if (id % 10 != 0) easiest_kept = std::min(easiest_kept, scores[id]);
  }
  EXPECT_GT(duplicates, 20);
  EXPECT_GE(easiest_kept, hardest_gone) << "within the frequent class the hard rows are kept";
  EXPECT_EQ(document["removed"]["near_duplicates"], duplicates);
  EXPECT_EQ(document["kept"], 80);
  EXPECT_EQ(document["classes"][0]["label"], "-7");
  EXPECT_EQ(document["classes"][0]["kept"], rare);
  std::int64_t members = 0;
  for (const auto& size : document["clusters"]["sizes"]) members += size.get<std::int64_t>();
  EXPECT_EQ(members, 200);
}

TEST_F(Prune, ScoresAreThoseOfTheLibraryAndTheSameBitsEveryTime) {
  const Common common{.quiet = true};
  Context context(cpu_backend(), 0, 1);
  Progress progress(true);
  Session session{common, context, progress};
  const std::vector<float> rows = grouped_rows(kRows, kFeatures, 1);
  for (const std::string score : {"kmeans", "kmeans-cosine"}) {
    const Words words = {"prune",  "--data", "x.npy",      "--score", score,    "--clusters", "6",
                         "--keep", "easy",   "--fraction", "0.3",     "--seed", "4",          "--out"};
    Words first = words, second = words;
    first.insert(first.end(), {"a", "--threads", "1"});
    second.insert(second.end(), {"b", "--threads", "2"});
    good(first);
    good(second);
    for (const char* file : {"kept_ids.npy", "scores.npy", "removed.csv"}) {
      EXPECT_EQ(read_file(folder_ / "a" / file), read_file(folder_ / "b" / file)) << score << " " << file;
    }
    const auto want = score == "kmeans" ? euclidean_prototypes(rows, kFeatures, 6, 4, session)
                                        : cosine_prototypes(unit_rows(rows, kFeatures), kFeatures, 6, 4, session);
    EXPECT_TRUE(test::same_bits(npy_values<float>("a/scores.npy"), want.distances)) << score;
    const auto kept = keep_rows(want.distances, std::vector<int>(kRows), 1, "easy", 0.3, 4);
    EXPECT_EQ(npy_values<std::int64_t>("a/kept_ids.npy"), std::vector<std::int64_t>(kept.begin(), kept.end())) << score;
  }
}

TEST_F(Prune, PointsInACsvFileHaveTheirLabels) {
  write_text(folder_ / "p.csv", "x,y,label\n0,0,a\n1,0,a\n5,0,b\n9,0,b\n4,0,a\n");
  const std::string text = good(
      {"prune", "--data", "p.csv", "--score", "class-mean", "--fraction", "0.4", "--class-floor", "0", "--out", "out"});
  EXPECT_NE(text.find("--class-floor 0 asks for 0 rows of each class; kept are a: 1 of 3, b: 1 of 2"),
            std::string::npos)
      << text;
  // Class a has mean 5/3, b 7: row 4 lies 2.33 from its mean, rows 2 and 3 lie 2, row 0 5/3.
  EXPECT_EQ(npy_values<std::int64_t>("out/kept_ids.npy"), (std::vector<std::int64_t>{2, 4}));
  good({"prune", "--data", "p.csv", "--score", "random", "--fraction", "1", "--out", "all"});
  EXPECT_EQ(npy_values<std::int64_t>("all/kept_ids.npy"), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

TEST_F(Prune, BadInputEndsInOneLine) {
  write_npy("short.npy", std::vector<std::int32_t>{1, 2}, {2});
  write_npy("zero.npy", std::vector<float>{1, 2, 0, 0}, {2, 2});
  write_text(folder_ / "p.csv", "x,y,label\n0,0,a\n1,0,b\n");
  bad({"prune", "--data", "x.npy", "--fraction", "0.5", "--out", "out"}, 2, "needs --clusters");
  bad({"prune", "--data", "x.npy", "--near-duplicates", "0.1", "--out", "out"}, 2,
      "--score kmeans needs --clusters (the score says which of the near-duplicates stays)");
  bad({"prune", "--data", "x.npy", "--clusters", "201", "--fraction", "0.5", "--out", "out"}, 2, "holds only 200 rows");
  bad({"prune", "--data", "x.npy", "--clusters", "0", "--fraction", "0.5", "--out", "out"}, 2, "--clusters");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--fraction", "0", "--out", "out"}, 2, "--fraction");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--fraction", "1.5", "--out", "out"}, 2, "--fraction");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--score", "hardness", "--fraction", "0.5", "--out", "out"}, 2,
      "--score");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--score", "random", "--fraction", "0.5", "--out", "out"}, 2,
      "of no use");
  bad({"prune", "--data", "x.npy", "--score", "class-mean", "--fraction", "0.5", "--out", "out"}, 2, "needs --labels");
  bad({"prune", "--data", "x.npy", "--near-duplicates", "-1", "--clusters", "5", "--out", "out"}, 2,
      "--near-duplicates");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--out", "out"}, 2, "every row would stay");
  bad({"prune", "--data", "missing.npy", "--clusters", "5", "--fraction", "0.5", "--out", "out"}, 3,
      "missing.npy: cannot be read");
  bad({"prune", "--data", "x.npy", "--labels", "short.npy", "--clusters", "5", "--fraction", "0.5", "--out", "out"}, 3,
      "2 labels");
  bad({"prune", "--data", "x.npy", "--labels", "x.npy", "--clusters", "5", "--fraction", "0.5", "--out", "out"}, 3,
      "integers are needed");
  bad({"prune", "--data", "y.npy", "--clusters", "5", "--fraction", "0.5", "--out", "out"}, 3,
      "float32, float16 or uint8");
  bad({"prune", "--data", "zero.npy", "--score", "kmeans-cosine", "--clusters", "1", "--fraction", "0.5", "--out",
       "out"},
      3, "row 1");
  bad({"prune", "--data", "zero.npy", "--clusters", "1", "--near-duplicates", "0.1", "--out", "out"}, 3, "row 1");
  bad({"prune", "--data", "p.csv", "--labels", "y.npy", "--clusters", "1", "--fraction", "0.5", "--out", "out"}, 3,
      "every column is a coordinate");
  bad({"prune", "--data", "x.npy", "--clusters", "5", "--fraction", "0.5", "--out", "x.npy"}, 74, "x.npy");
}

// Two classes far apart, and off each some rows with the label of the other: the hard rows are those that teach what is wrong.
class PruneWorth : public Program {
 protected:
  static constexpr int kRows = 300;
  std::vector<float> points_;
  std::vector<std::int32_t> labels_;
  PruneWorth() {
    for (int i = 0; i < kRows; ++i) {
      const int label = i % 2;
      const bool far = i % 5 == 0;
      for (int c = 0; c < 2; ++c) {
        const double u = 2.0 * test::uniform_int(1, 2 * i + c, 0, 1000) / 1000 - 1;
        const double out = far && c == 1 ? (u < 0 ? -6 : 6) : 0;
        points_.push_back(static_cast<float>((label == 0 ? -4 : 4) + out + u));
      }
      labels_.push_back(far ? 1 - label : label);
    }
    write_npy("x.npy", points_, {kRows, 2});
    write_npy("y.npy", labels_, {kRows});
  }

  // The share of a split's rows held out that a vote of the 5 nearest of `learn` calls wrong.
  double error_of_5nn(const std::vector<int>& learn, const std::vector<int>& judge) const {
    int wrong = 0;
    for (const int q : judge) {
      std::vector<std::pair<float, int>> near;
      for (const int row : learn) {
        const float x = points_[2 * q] - points_[2 * row], y = points_[2 * q + 1] - points_[2 * row + 1];
        near.emplace_back(std::fma(y, y, x * x), row);
      }
      std::partial_sort(near.begin(), near.begin() + 5, near.end());
      int ones = 0;
      for (int j = 0; j < 5; ++j) ones += labels_[near[j].second];
      wrong += (ones > 2 ? 1 : 0) != labels_[q];
    }
    return static_cast<double>(wrong) / static_cast<double>(judge.size());
  }
};

TEST_F(PruneWorth, HardRowsThatTeachWrongThingsAreWarnedOf) {
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--clusters", "2", "--fraction", "0.2", "--out", "hard"});
  const auto worth = result("hard")["worth"];
  EXPECT_EQ(worth["verdict"], "worse");
  EXPECT_EQ(worth["splits"], 5);
  const std::string title = worth["findings"][0]["title"].get<std::string>();
  EXPECT_EQ(title.find("Warning: rows chosen by hard kmeans teach worse than as many chosen at random"), 0U) << title;
  EXPECT_NE(read_file(folder_ / "hard/report.html").find("Warning: rows chosen by hard kmeans"), std::string::npos);
  // The same with another number of threads.
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--clusters", "2", "--fraction", "0.2", "--threads", "1",
        "--out", "again"});
  EXPECT_EQ(result("again")["worth"], worth);
}

TEST_F(PruneWorth, ErrorsAreThoseOfTheDefinition) {
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--clusters", "2", "--fraction", "0.2", "--out", "out"});
  const std::vector<int> order = random_order(kRows, 0, 100);
  double random = 0, all = 0;
  for (int split = 0; split < 5; ++split) {
    std::vector<int> judge(order.begin() + 60 * split, order.begin() + 60 * (split + 1)), learn;
    for (int row = 0; row < kRows; ++row) {
      if (std::find(judge.begin(), judge.end(), row) == judge.end()) learn.push_back(row);
    }
    all += error_of_5nn(learn, judge) / 5;
    std::vector<int> some;
    const std::vector<int> picked = random_order(240, 0, 0);
    for (int i = 0; i < 48; ++i) some.push_back(learn[picked[i]]);
    std::sort(some.begin(), some.end());
    random += error_of_5nn(some, judge) / 5;
  }
  int seen = 0;
  const auto document = result("out");
  for (const auto& contrast : document["worth"]["findings"][0]["contrasts"]) {
    if (contrast["place"]["model"] != "5-nearest-neighbours" || contrast["what"] != "hard kmeans") continue;
    EXPECT_NEAR(contrast["mean_against"].get<double>(), contrast["against"] == "all" ? all : random, 1e-12);
    ++seen;
  }
  EXPECT_EQ(seen, 2);
}

TEST_F(PruneWorth, WhatCannotBeMeasuredSaysWhy) {
  good({"prune", "--data", "x.npy", "--clusters", "2", "--fraction", "0.2", "--out", "kept"});
  EXPECT_EQ(result("kept")["worth"]["why_not"], "without labels there is no error to measure");
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--clusters", "2", "--fraction", "0.2", "--splits", "0",
        "--out", "kept"});
  EXPECT_EQ(result("kept")["worth"]["why_not"], "--splits 0");
  bad({"prune", "--data", "x.npy", "--clusters", "2", "--fraction", "0.2", "--splits", "3", "--out", "none"}, 2,
      "--splits: without labels there is no error to measure");
}

// A share that comes to less than half a row of a split is one row, as it is of all rows.
TEST_F(PruneWorth, OneRowIsTheFewest) {
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--score", "random", "--fraction", "0.001", "--splits", "2",
        "--out", "one"});
  EXPECT_EQ(result("one")["kept"], 1);
  const auto worth = result("one")["worth"];
  EXPECT_EQ(worth["splits"], 2);
  EXPECT_TRUE(worth["verdict"].is_null());  // nothing stands beside a random choice but all rows
  const std::string text = worth["findings"][0]["text"].get<std::string>();
  EXPECT_NE(text.find("models learn from 1 of the other 240"), std::string::npos) << text;
}

TEST_F(PruneWorth, ScoresOfNetworksAndOfFilesChooseLikeAnyOther) {
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--score", "boundary", "--fraction", "0.3", "--splits", "0",
        "--out", "a"});
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--score-file", "a/scores.npy", "--fraction", "0.3",
        "--splits", "0", "--out", "b"});
  EXPECT_EQ(npy_values<std::int64_t>("a/kept_ids.npy"), npy_values<std::int64_t>("b/kept_ids.npy"));
  EXPECT_EQ(result("b")["score"], "file");
  good({"prune", "--data", "x.npy", "--labels", "y.npy", "--score", "el2n", "--fraction", "0.3", "--splits", "0",
        "--out", "c"});
  bad({"prune", "--data", "x.npy", "--score-file", "x.npy", "--fraction", "0.3", "--out", "none"}, 3,
      "x.npy: has shape (300, 2); --score-file needs one number for each of the 300 rows of x.npy");
  bad({"prune", "--data", "x.npy", "--score", "el2n", "--fraction", "0.3", "--out", "none"}, 2,
      "--score el2n needs --labels, or data that bring their labels");
}

TEST(Projection, IsThePlaneOfLargestVariance) {
  // Along (3, 4, 0) / 5 much, along (0, 0, 1) less, across both nothing.
  std::vector<float> rows;
  for (int i = 0; i < 100; ++i) {
    const float much = static_cast<float>(i - 50), less = static_cast<float>(i % 7 - 3);
    rows.insert(rows.end(), {0.6F * much, 0.8F * much, less});
  }
  const Projection plane = project(rows, 3, 1);
  ASSERT_EQ(plane.rows.size(), 100U);
  double along = 0, across = 0;
  for (int i = 0; i < 100; ++i) {
    along += plane.points[i][0] * (i - 49.5);
    across += plane.points[i][1] * (i % 7 - 3);
  }
  EXPECT_NEAR(std::abs(along) / 83325, 1, 1e-3);
  EXPECT_GT(std::abs(across), 300);
  EXPECT_NE(plane.y_title.find("second principal component"), std::string::npos);
  EXPECT_EQ(project(rows, 3, 1).points, plane.points);
}

}  // namespace
}  // namespace scalelab::host
