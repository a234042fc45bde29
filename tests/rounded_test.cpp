// rounded: every square root, and every quotient that could be rounded to the wrong side.
#include "kernels/rounded.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/support.h"

namespace scalelab::test {
namespace {

// In [1, 2).
float significand(std::uint64_t seed, std::uint64_t i) {
  return 1 + uniform_float(random_words(seed, Stream::test, i)[0]);
}

// Every so many significands, in a test that is tried everywhere.
std::uint32_t stride() { return wants_small() ? 61 : 1; }

float beside(float x, int units) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(units));
}

// Every significand, with an even and with an odd exponent: others differ from these by a power of four, which the chain
// carries through. Of each, all approximations that the promise allows.
TEST(Rounded, EveryRootIsRoundedToTheNearest) {
  const double reach = std::exp2(-22.9);
  std::int64_t tried = 0, wrong = 0;
  for (std::uint32_t bits = std::bit_cast<std::uint32_t>(1.0F); bits < std::bit_cast<std::uint32_t>(4.0F);
       bits += stride()) {
    const auto x = std::bit_cast<float>(bits);
    const double root = std::sqrt(double{x});
    const auto nearest = static_cast<float>(1 / root);
    for (int units = -3; units <= 3; ++units) {
      const float inverse = beside(nearest, units);
      if (units != 0 && std::abs(inverse * root - 1) > reach) continue;
      ++tried;
      wrong += rounded_root(x, inverse) != std::sqrt(x);
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(tried * stride(), 2 << 24);
}

// The promise's ends, and what lies between.
TEST(Rounded, RootsOfEverySizeAreRoundedToTheNearest) {
  for (int exponent = -101; exponent <= 126; ++exponent) {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const float x = std::ldexp(significand(1, i), exponent);
      for (int units : {-1, 0, 1}) {
        ASSERT_EQ(rounded_root(x, beside(static_cast<float>(1 / std::sqrt(double{x})), units)), std::sqrt(x)) << x;
      }
    }
  }
}

struct Quotients {
  std::int64_t tried = 0, wrong = 0;
  void try_one(float a, float b) {
    const double inverse = 1 / double{b}, unit = std::ldexp(1.0, std::ilogb(inverse) - 23);
    for (int units : {-1, 0, 1}) {
      const float near = beside(static_cast<float>(inverse), units);
      if (std::abs(near - inverse) > unit) continue;
      ++tried;
      wrong += rounded_quotient(a, b, near) != a / b;
    }
  }
};

// With whole significands A and B of 24 bits and M, of 25, in the middle between two of these: a quotient A / B of 24 bits
// is rounded to the wrong side only where the error of what is rounded reaches over the nearest such middle.
//   A 2^k - M B = c, k = 24 where A >= B, otherwise 25. So the quotient is |c| / (A 2^k) away from the middle, relatively.
//   The chain: the inverse is known within 2^-24 (1 + 2^-20), the first quotient within twice as much, their product is
//   the error: 2^-47 (1 + 2^-19); and the remainder, rounded to 24 bits, adds 2^-47 at most. Together less than
//   9 / 2^49, and A 2^k < 2^49: all |c| >= 9 are safe. Here are all that have a smaller one, for each B.
TEST(Rounded, EveryQuotientNearAMiddleIsRoundedToTheNearest) {
  constexpr std::uint32_t kLeast = 1U << 23, kBeyond = 1U << 24;
  Quotients all;
  for (std::uint32_t b = kLeast; b < kBeyond - 1; b += stride()) {  // the last is all ones
    const int twos = std::countr_zero(b);
    const std::uint32_t odd = b >> twos;
    std::uint32_t inverse = odd;  // modulo 2^32, by Newton's steps
    for (int i = 0; i < 5; ++i) inverse *= 2 - odd * inverse;
    for (int c = -8; c <= 8; ++c) {
      if (c == 0 || (static_cast<std::uint32_t>(c) & ((1U << twos) - 1)) != 0)
        continue;  // no M: a power of two too many
      for (int k : {24, 25}) {
        const std::uint32_t period = 1U << (k - twos);
        const std::uint32_t first = static_cast<std::uint32_t>(-(c / (1 << twos))) * inverse & (period - 1);
        for (std::uint32_t m = first; m < 2 * kBeyond; m += period) {
          const std::int64_t product = std::int64_t{m} * b + c, a = product >> k;
          if (m < kBeyond || m % 2 == 0 || a < kLeast || a >= kBeyond) continue;
          all.try_one(static_cast<float>(a), static_cast<float>(b));
        }
      }
    }
  }
  EXPECT_EQ(all.wrong, 0);
  EXPECT_GT(all.tried * stride(), 1 << 24);
}

TEST(Rounded, QuotientsOfEverySizeAreRoundedToTheNearest) {
  Quotients all;
  for (std::uint64_t i = 0; i < 1'000'000; ++i) {
    const auto size = static_cast<int>(uniform_int(1, i, -100, 126));
    const auto scale = static_cast<int>(uniform_int(2, i, std::max(-100, size - 125), std::min(100, size + 124)));
    const float a = std::ldexp(significand(3, i), size), b = std::ldexp(significand(4, i), scale);
    if (!all_ones(std::bit_cast<std::uint32_t>(b))) all.try_one(a, b);
  }
  all.try_one(0, 3);
  EXPECT_EQ(all.wrong, 0);
}

TEST(Rounded, AllOnesIsSeen) {
  EXPECT_TRUE(all_ones(std::bit_cast<std::uint32_t>(0x1.fffffep-20F)));
  EXPECT_FALSE(all_ones(std::bit_cast<std::uint32_t>(0x1.fffffcp-20F)));
  EXPECT_FALSE(all_ones(std::bit_cast<std::uint32_t>(1.0F)));
}

}  // namespace
}  // namespace scalelab::test
