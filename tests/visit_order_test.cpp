// visit_order: every row equally often in every order but the growing ones, easy before hard within each class, classes
// in proportion.
#include "host/lab/visit_order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>

#include "scalelab/buffer.h"
#include "scalelab/mlp.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

// 101 points, three classes of 61, 30 and 10, the first far easier than the others; rows: all but every seventh.
struct Problem {
  std::vector<float> difficulty;
  std::vector<std::uint8_t> labels;
  std::vector<int> rows;
  Problem() {
    const auto noise = test::uniform_floats(101, 4);
    for (int i = 0; i < 101; ++i) {
      labels.push_back(i % 10 == 9 ? 2 : i % 10 >= 6 ? 1 : 0);
      difficulty.push_back(noise[static_cast<std::size_t>(i)] + (labels.back() == 0 ? -5.0F : 5.0F));
      if (i % 7 != 3) rows.push_back(i);
    }
  }
  std::vector<int> order(const std::string& name, int epochs = 3, std::uint64_t seed = 1) const {
    return visit_order(difficulty, rows, labels, name, epochs, seed);
  }
  // Place of each row among the rows of its class, from the easiest.
  std::map<int, int> ranks() const {
    std::map<int, int> ranks;
    for (const int row : rows) {
      ranks[row] = static_cast<int>(std::count_if(rows.begin(), rows.end(), [&](int other) {
        return labels[other] == labels[row] && difficulty[other] < difficulty[row];
      }));
    }
    return ranks;
  }
  int class_size(int label) const {
    return static_cast<int>(std::count_if(rows.begin(), rows.end(), [&](int row) { return labels[row] == label; }));
  }
};

TEST(VisitOrder, EveryRowEquallyOften) {
  const Problem problem;
  for (const char* name : kVisitOrders) {
    const auto list = problem.order(name);
    std::map<int, int> visits;
    for (const int row : list) ++visits[row];
    EXPECT_EQ(visits.size(), problem.rows.size()) << name;
    EXPECT_EQ(list.size(), 3 * problem.rows.size()) << name;
    const bool growing = std::string(name).starts_with("growing");
    for (const int row : problem.rows) EXPECT_TRUE(growing || visits[row] == 3) << name << " row " << row;
    EXPECT_TRUE(problem.order(name, 0).empty());
    EXPECT_TRUE(test::same_bits(problem.order(name), list)) << name;
  }
}

TEST(VisitOrder, CurriculumIsHalfAndHalfWithinEachClass) {
  const Problem problem;
  const auto ranks = problem.ranks();
  const auto easy = [&](int row) { return ranks.at(row) < problem.class_size(problem.labels[row]) / 2; };
  const auto curriculum = problem.order("curriculum"), anti = problem.order("anti");
  const auto easy_rows = std::count_if(problem.rows.begin(), problem.rows.end(), easy);
  const auto hard_rows = static_cast<std::ptrdiff_t>(problem.rows.size()) - easy_rows;
  EXPECT_TRUE(std::all_of(curriculum.begin(), curriculum.begin() + 3 * easy_rows, easy));
  EXPECT_TRUE(std::none_of(curriculum.begin() + 3 * easy_rows, curriculum.end(), easy));
  EXPECT_TRUE(std::none_of(anti.begin(), anti.begin() + 3 * hard_rows, easy));
  EXPECT_TRUE(std::all_of(anti.begin() + 3 * hard_rows, anti.end(), easy));
  // Passes: each holds its half once, in an order of its own.
  const std::vector<int> first(curriculum.begin(), curriculum.begin() + easy_rows);
  const std::vector<int> second(curriculum.begin() + easy_rows, curriculum.begin() + 2 * easy_rows);
  EXPECT_NE(first, second);
  EXPECT_TRUE(std::is_permutation(first.begin(), first.end(), second.begin()));
}

// Each pass is over the easiest part of every class, of a size that grows from a tenth to all by the middle; a row of the
// pool is visited as often as any other, or once less.
TEST(VisitOrder, TheGrowingPoolHoldsTheEasiestOfEachClass) {
  const Problem problem;
  const auto ranks = problem.ranks();
  const std::size_t r = problem.rows.size();
  for (const bool hard : {false, true}) {
    const auto list = problem.order(hard ? "growing-anti" : "growing", 10);
    ASSERT_EQ(list.size(), 10 * r);
    for (std::size_t epoch = 0; epoch < 10; ++epoch) {
      const double share = 0.1 + 0.9 * std::min(1.0, static_cast<double>(epoch) / 5);
      std::map<int, int> visits;
      for (std::size_t i = epoch * r; i < (epoch + 1) * r; ++i) ++visits[list[i]];
      EXPECT_EQ(visits.size(), static_cast<std::size_t>(std::ceil(share * static_cast<double>(r)))) << epoch;
      int least = 1 << 20, most = 0;
      for (const auto& [row, count] : visits) {
        least = std::min(least, count);
        most = std::max(most, count);
        const int size = problem.class_size(problem.labels[row]);
        const int rank = hard ? size - 1 - ranks.at(row) : ranks.at(row);
        EXPECT_LE(rank, share * size + 1) << epoch;
      }
      EXPECT_LE(most - least, 1) << epoch;
    }
  }
}

TEST(VisitOrder, SortedRunsFromEasyToHardWithClassesInProportion) {
  const Problem problem;
  const auto ranks = problem.ranks();
  const auto sorted = problem.order("sorted", 2);
  const std::size_t r = problem.rows.size();
  int seen[3] = {};
  for (std::size_t i = 0; i < r; ++i) {
    const int label = problem.labels[sorted[i]];
    EXPECT_EQ(ranks.at(sorted[i]), seen[label]++) << i;
    for (int c = 0; c < 3; ++c) {
      const double share = static_cast<double>(i + 1) / static_cast<double>(r);
      EXPECT_LE(std::abs(seen[c] - share * problem.class_size(c)), 1.5) << "class " << c << " after " << i;
    }
    EXPECT_EQ(sorted[r + i], sorted[i]);  // every pass the same
  }
  auto reversed = sorted;
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(problem.order("sorted-anti", 2), reversed);
}

TEST(VisitOrder, EqualDifficultyRanksByIndex) {
  const std::vector<float> difficulty(6, 1.0F);
  const std::vector<std::uint8_t> labels(6, 0);
  const std::vector<int> rows = {5, 3, 1, 0, 4, 2};
  EXPECT_EQ(visit_order(difficulty, rows, labels, "sorted", 1, 0), (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(VisitOrder, RandomIsTheShuffledRunAsOneList) {
  // Whole batches, so that cutting the list into batches does not meet the ends of epochs.
  const std::int64_t n = 64;
  const int epochs = 5;
  const auto points = test::uniform_floats(2 * n, 3);
  std::vector<std::uint8_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(points[2 * i] > points[2 * i + 1]);
  std::vector<int> rows(n);
  std::iota(rows.begin(), rows.end(), 0);
  Context context(cpu_backend());
  MlpRun run;
  run.shape.width = 8;
  run.inputs = View<const float>(points.data(), {n, 2});
  run.labels = View<const std::uint8_t>(labels.data(), {n});
  run.batch_size = 16;
  run.epochs = epochs;
  run.seed = 7;
  const auto start = test::uniform_floats(static_cast<std::size_t>(parameter_count(run.shape)), 5);
  auto shuffled = start, listed = start;
  run.parameters = View<float>(shuffled.data(), {parameter_count(run.shape)});
  cpu::mlp_train(std::vector{run}, context);
  const auto list = visit_order({}, rows, labels, "random", epochs, 7);
  run.parameters = View<float>(listed.data(), {parameter_count(run.shape)});
  run.rows = View<const int>(list.data(), {static_cast<std::int64_t>(list.size())});
  run.shuffle = false;
  run.epochs = 1;
  cpu::mlp_train(std::vector{run}, context);
  EXPECT_TRUE(test::same_bits(listed, shuffled));
  EXPECT_NE(visit_order({}, rows, labels, "random", epochs, 8), list);
}

TEST(VisitOrder, RefusesWhatItCannotOrder) {
  const Problem problem;
  EXPECT_THROW(problem.order("shuffled"), std::invalid_argument);
  EXPECT_THROW(problem.order("curriculum", -1), std::invalid_argument);
  EXPECT_THROW(problem.order("random", 100'000'000), std::invalid_argument);
  Problem changed;
  changed.rows.push_back(101);
  EXPECT_THROW(changed.order("random"), std::invalid_argument);
  changed.rows.back() = -1;
  EXPECT_THROW(changed.order("random"), std::invalid_argument);
  changed = Problem();
  changed.difficulty[0] = NAN;
  EXPECT_THROW(changed.order("sorted"), std::invalid_argument);
  EXPECT_NO_THROW(changed.order("random"));
  changed.difficulty.pop_back();
  EXPECT_THROW(changed.order("anti"), std::invalid_argument);
}

}  // namespace
}  // namespace scalelab::host
