// random.h: Philox's published vectors, the moments of the draws, and that a shuffle is a fair bijection.
#include "scalelab/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace scalelab {
namespace {

TEST(Random, PhiloxGivesThePublishedVectors) {
  // Random123's kat_vectors for philox4x32 with 10 rounds.
  r123::Philox4x32 philox;
  auto zero = philox({{0, 0, 0, 0}}, {{0, 0}});
  EXPECT_EQ(zero.v[0], 0x6627e8d5U);
  EXPECT_EQ(zero.v[1], 0xe169c58dU);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cU);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8U);
  auto ones = philox({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, {{0xffffffff, 0xffffffff}});
  EXPECT_EQ(ones.v[0], 0x408f276dU);
  EXPECT_EQ(ones.v[1], 0x41c83b0eU);
  EXPECT_EQ(ones.v[2], 0xa20bc7c6U);
  EXPECT_EQ(ones.v[3], 0x6d5451fdU);
  auto pi = philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}});
  EXPECT_EQ(pi.v[0], 0xd16cfe09U);
  EXPECT_EQ(pi.v[1], 0x94fdccebU);
  EXPECT_EQ(pi.v[2], 0x5001e420U);
  EXPECT_EQ(pi.v[3], 0x24126ea1U);
}

TEST(Random, StreamsAndLanesAndSeedsDiffer) {
  const Words base = random_words(7, Stream::points, 3);
  EXPECT_NE(base[0], random_words(8, Stream::points, 3)[0]);
  EXPECT_NE(base[0], random_words(7, Stream::weights, 3)[0]);
  EXPECT_NE(base[0], random_words(7, Stream::points, 4)[0]);
  EXPECT_NE(base[0], random_words(7, Stream::points, 3, 1)[0]);
  EXPECT_NE(base[0], random_words(7 + (std::uint64_t{1} << 32), Stream::points, 3)[0]);
}

TEST(Random, UniformsStayInRangeAndAreUniform) {
  constexpr int kDraws = 1 << 18;
  double sum = 0, sum_squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const float u = uniform_float(random_words(1, Stream::test, i)[0]);
    ASSERT_GE(u, 0.0F);
    ASSERT_LT(u, 1.0F);
    sum += u;
    sum_squares += u * u;
  }
  // Standard errors: sqrt(1/12 / n) and sqrt(4/45 / n); five of them.
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(sum_squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
  EXPECT_LT(uniform_float(0xffffffffU), 1.0F);
  EXPECT_LT(uniform_double(0xffffffffU, 0xffffffffU), 1.0);
}

TEST(Random, BelowIsTheHighProduct) {
  for (std::uint64_t n : {1ULL, 2ULL, 3ULL, 1000ULL, (1ULL << 40) + 7, ~0ULL}) {
    for (int i = 0; i < 1000; ++i) {
      const Words w = random_words(2, Stream::test, i);
      const std::uint64_t bits = static_cast<std::uint64_t>(w[0]) << 32 | w[1];
      const auto want = static_cast<std::uint64_t>((static_cast<unsigned __int128>(n) * bits) >> 64);
      ASSERT_EQ(uniform_below(n, w[0], w[1]), want) << n;
    }
  }
}

TEST(Random, NormalsHaveTheMomentsOfANormal) {
  constexpr int kPairs = 1 << 17;
  double m1 = 0, m2 = 0, m4 = 0, cross = 0;
  for (int i = 0; i < kPairs; ++i) {
    const NormalPair z = normal_pair(random_words(3, Stream::test, i));
    for (double v : {z.first, z.second}) {
      m1 += v;
      m2 += v * v;
      m4 += v * v * v * v;
    }
    cross += z.first * z.second;
  }
  const double n = 2.0 * kPairs;
  EXPECT_NEAR(m1 / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(cross / kPairs, 0, 5 / std::sqrt(kPairs));
}

TEST(Random, ShuffleIsABijectionForEverySize) {
  for (std::uint32_t n : {1U, 2U, 3U, 4U, 5U, 31U, 32U, 33U, 1000U, 1024U, 1025U, 100003U}) {
    std::vector<char> seen(n);
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint32_t j = shuffled_index(i, n, 11, 5);
      ASSERT_LT(j, n);
      ASSERT_FALSE(seen[j]) << n;
      seen[j] = 1;
    }
  }
}

TEST(Random, ShufflesAreFair) {
  // Where row 0..n-1 lands over many epochs: each (position, row) cell is binomial(epochs, 1/n), so the statistic is
  // about chi-square with (n - 1)^2 degrees of freedom: mean (n-1)^2, deviation sqrt(2) (n-1).
  for (std::uint32_t n : {5U, 16U, 50U}) {
    const int epochs = 20000;
    std::vector<int> counts(n * n);
    int neighbours_kept = 0;
    for (int e = 0; e < epochs; ++e) {
      std::uint32_t previous = n;
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::uint32_t j = shuffled_index(i, n, 17, e);
        ++counts[i * n + j];
        neighbours_kept += j == previous + 1;
        previous = j;
      }
    }
    const double expected = static_cast<double>(epochs) / n;
    double chi2 = 0;
    for (int c : counts) chi2 += (c - expected) * (c - expected) / expected;
    const double freedom = (n - 1.0) * (n - 1.0);
    EXPECT_NEAR(chi2, freedom, 5 * std::sqrt(2.0) * (n - 1)) << n;
    // A row follows its predecessor once per epoch times (n - 1)/n on average.
    const double follow = epochs * (n - 1.0) / n;
    EXPECT_NEAR(neighbours_kept, follow, 6 * std::sqrt(follow)) << n;
  }
}

}  // namespace
}  // namespace scalelab
