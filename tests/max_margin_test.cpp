// max_margin against sets whose answer is known, the conditions that prove an optimum, and the same bits everywhere.
#include "scalelab/max_margin.h"

#include <hwy/targets.h>

#include <cmath>

#include "tests/support.h"

namespace scalelab::test {
namespace {

struct Answer {
  std::vector<float> students, margins;
  std::vector<int> sweeps;
};

Answer solve(const std::vector<float>& examples, std::int64_t m, std::int64_t n, std::int64_t d,
             const MaxMarginOptions& options = {}, int threads = 0) {
  Context context(cpu_backend(), 0, threads);
  Guarded<float> students(context, {m, d}), margins(context, {m});
  Guarded<int> sweeps(context, {m});
  cpu::max_margin(View<const float>(examples.data(), {m, n, d}), students, margins, sweeps, options, context);
  return {students.to_host(), margins.to_host(), sweeps.to_host()};
}

// Examples of a random teacher (the first axis), label times input.
std::vector<float> teacher_examples(std::int64_t m, std::int64_t n, std::int64_t d, std::uint64_t seed) {
  std::vector<float> examples(static_cast<std::size_t>(m * n * d));
  for (std::size_t i = 0; i < examples.size(); ++i) {
    examples[i] = static_cast<float>(normal_pair(random_words(seed, Stream::test, i)).first);
  }
  for (std::int64_t row = 0; row < m * n; ++row) {
    if (examples[row * d] < 0) {
      for (std::int64_t c = 0; c < d; ++c) examples[row * d + c] = -examples[row * d + c];
    }
  }
  return examples;
}

TEST(MaxMargin, KnownSets) {
  // One example: the student points at it. Two at right angles: half way, margin cos 45 degrees.
  Answer one = solve({3, 4}, 1, 1, 2);
  EXPECT_NEAR(one.students[0], 0.6, 1e-6);
  EXPECT_NEAR(one.students[1], 0.8, 1e-6);
  EXPECT_NEAR(one.margins[0], 5, 1e-5);
  Answer two = solve({1, 0, 0, 1}, 1, 2, 2);
  EXPECT_NEAR(two.students[0], std::sqrt(0.5), 1e-3);
  EXPECT_NEAR(two.margins[0], std::sqrt(0.5), 1e-3);
  // A third example inside the cone does not matter.
  Answer three = solve({1, 0, 0, 1, 5, 5}, 1, 3, 2);
  EXPECT_NEAR(three.margins[0], std::sqrt(0.5), 1e-3);
  // Opposite examples cannot be separated.
  EXPECT_EQ(solve({1, 0, -1, 0}, 1, 2, 2, {1e-3F, 50}).sweeps[0], -1);
  // An example at the origin has margin 0 and changes nothing else.
  Answer origin = solve({3, 4, 0, 0}, 1, 2, 2);
  EXPECT_NEAR(origin.students[1], 0.8, 1e-6);
  EXPECT_EQ(origin.margins[0], 0.0F);
}

TEST(MaxMargin, TheStudentIsOptimal) {
  // Weak duality: for any multipliers a >= 0 with sum 1, min margin <= |sum a x|. Reconstructing such a bound needs the
  // multipliers, which the op keeps; but the smallest margin over ALL directions is bounded by that of the supporting
  // examples alone, and no small turn towards one of them may raise the smallest margin by more than the tolerance.
  for (std::int64_t d : {3, 16, 17, 50}) {
    const std::int64_t n = 4 * d;
    const auto examples = teacher_examples(1, n, d, 5);
    const Answer got = solve(examples, 1, n, d, {1e-4F, 200000});
    ASSERT_GT(got.sweeps[0], 0) << d;
    double norm = 0;
    for (float w : got.students) norm += static_cast<double>(w) * w;
    EXPECT_NEAR(norm, 1, 1e-5);
    const auto smallest = [&](const std::vector<double>& w) {
      double length = 0, least = INFINITY;
      for (double c : w) length += c * c;
      for (std::int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (std::int64_t c = 0; c < d; ++c) sum += w[c] * examples[i * d + c];
        least = std::min(least, sum / std::sqrt(length));
      }
      return least;
    };
    std::vector<double> w(got.students.begin(), got.students.end());
    EXPECT_TRUE(within_rounding(got.margins[0], smallest(w), 10, 2.0 * d));
    EXPECT_GT(got.margins[0], 0);
    for (int turn = 0; turn < 2000; ++turn) {
      std::vector<double> other = w;
      for (std::int64_t c = 0; c < d; ++c) {
        other[c] += (turn % 2 == 0 ? 1e-2 : 1e-3) * normal_pair(random_words(turn, Stream::test, c)).first;
      }
      ASSERT_LE(smallest(other), got.margins[0] * (1 + 2e-4) + 1e-6) << d;
    }
  }
}

TEST(MaxMargin, SameBitsAloneTogetherThreadsAndTargets) {
  const std::int64_t m = 5, n = 67, d = 37;
  const auto examples = teacher_examples(m, n, d, 9);
  const Answer all = solve(examples, m, n, d, {}, 1);
  EXPECT_TRUE(same_bits(solve(examples, m, n, d, {}, 2).students, all.students));
  const std::int64_t targets = hwy::SupportedTargets();
  for (std::int64_t rest = targets; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    const Answer one = solve(examples, m, n, d);
    EXPECT_TRUE(same_bits(one.students, all.students)) << hwy::TargetName(rest & -rest);
    EXPECT_TRUE(same_bits(one.margins, all.margins));
    EXPECT_TRUE(same_bits(one.sweeps, all.sweeps));
  }
  hwy::SetSupportedTargetsForTest(0);
  for (std::int64_t set = 0; set < m; ++set) {
    const std::vector<float> own(examples.begin() + set * n * d, examples.begin() + (set + 1) * n * d);
    const Answer alone = solve(own, 1, n, d);
    EXPECT_TRUE(same_bits(alone.students, {all.students.begin() + set * d, all.students.begin() + (set + 1) * d}));
  }
}

TEST(MaxMargin, RefusesShapesThatDoNotFit) {
  Context context(cpu_backend());
  std::vector<float> x(12), w(4), margins(2);
  std::vector<int> sweeps(2);
  const View<const float> examples(x.data(), {2, 3, 2});
  const View<float> students(w.data(), {2, 2}), margin(margins.data(), {2});
  const View<int> sweep(sweeps.data(), {2});
  EXPECT_THROW(cpu::max_margin(View<const float>(x.data(), {6, 2}), students, margin, sweep, {}, context),
               std::invalid_argument);
  EXPECT_THROW(cpu::max_margin(examples, students.rows(0, 1), margin, sweep, {}, context), std::invalid_argument);
  EXPECT_THROW(cpu::max_margin(examples, students, margin.rows(0, 1), sweep, {}, context), std::invalid_argument);
  EXPECT_THROW(cpu::max_margin(examples, students, margin, sweep, {0, 10}, context), std::invalid_argument);
  EXPECT_THROW(cpu::max_margin(examples, students, margin, sweep, {1e-3F, 0}, context), std::invalid_argument);
  EXPECT_NO_THROW(cpu::max_margin(examples, students, margin, sweep, {}, context));
}

class MaxMarginBackends : public OnBackend {};
SCALELAB_ON_EACH_BACKEND(MaxMarginBackends);

TEST_P(MaxMarginBackends, GiveTheBitsOfTheCpu) {
  struct Shape {
    std::int64_t m, n, d;
  };
  for (const Shape& shape : {Shape{1, 1, 1}, {3, 5, 16}, {2, 20, 15}, {4, 12, 40}}) {
    const auto examples = teacher_examples(shape.m, shape.n, shape.d, 4);
    const Answer want = solve(examples, shape.m, shape.n, shape.d);
    Context context(backend());
    const Buffer<float> sets(context, examples, {shape.m, shape.n, shape.d});
    Guarded<float> students(context, {shape.m, shape.d}), margins(context, {shape.m});
    Guarded<int> sweeps(context, {shape.m});
    backend().max_margin(sets, students, margins, sweeps, {}, context);
    context.synchronize();
    EXPECT_TRUE(same_bits(students.to_host(), want.students)) << shape.n << " x " << shape.d;
    EXPECT_TRUE(same_bits(margins.to_host(), want.margins)) << shape.n << " x " << shape.d;
    EXPECT_TRUE(same_bits(sweeps.to_host(), want.sweeps)) << shape.n << " x " << shape.d;
  }
}

TEST_P(MaxMarginBackends, AnExampleAtTheOriginAndTooFewSweeps) {
  auto examples = teacher_examples(2, 8, 6, 5);
  std::fill(examples.begin() + 6, examples.begin() + 12, 0.0F);
  for (const int sweeps_allowed : {1, 3, 200000}) {
    const MaxMarginOptions options{.max_sweeps = sweeps_allowed};
    const Answer want = solve(examples, 2, 8, 6, options);
    Context context(backend());
    const Buffer<float> sets(context, examples, {2, 8, 6});
    Guarded<float> students(context, {2, 6}), margins(context, {2});
    Guarded<int> sweeps(context, {2});
    backend().max_margin(sets, students, margins, sweeps, options, context);
    context.synchronize();
    EXPECT_TRUE(same_bits(students.to_host(), want.students)) << sweeps_allowed;
    EXPECT_TRUE(same_bits(sweeps.to_host(), want.sweeps)) << sweeps_allowed;
  }
}

}  // namespace
}  // namespace scalelab::test
