// math.h against the C library in long double, and fixed bits that every platform must give.
#include "scalelab/math.h"

#include <gtest/gtest.h>

#include <cmath>

#include "scalelab/random.h"

namespace scalelab {
namespace {

double draw(std::uint64_t i, std::uint32_t lane) {
  const Words w = random_words(1, Stream::test, i, lane);
  return uniform_double(w[0], w[1]);
}

// |got - want| in units in the last place of want.
double ulps(double got, long double want) {
  const double rounded = std::abs(static_cast<double>(want));
  const double unit = std::nextafter(rounded, INFINITY) - rounded;
  return static_cast<double>(std::abs(got - want) / unit);
}

TEST(Math, LogarithmIsWithinFourUnits) {
  double worst = 0;
  for (std::uint64_t i = 0; i < 200000; ++i) {
    const double x = std::ldexp(0.5 + draw(i, 0), static_cast<int>(i % 121) - 60);
    worst = std::max(worst, ulps(natural_log(x), std::log(static_cast<long double>(x))));
  }
  EXPECT_LE(worst, 4);
  EXPECT_EQ(natural_log(1.0), 0.0);
}

TEST(Math, SineAndCosineAreWithinFourUnitsOfOne) {
  const long double two_pi = 2 * 3.14159265358979323846264338327950288L;
  for (std::uint64_t i = 0; i < 200000; ++i) {
    const double u = 4 * draw(i, 0) - 2;
    const SinCos got = sin_cos_turns(u);
    ASSERT_LE(std::abs(got.sin - std::sin(two_pi * u)), 4 * 0x1p-53L) << u;
    ASSERT_LE(std::abs(got.cos - std::cos(two_pi * u)), 4 * 0x1p-53L) << u;
  }
  EXPECT_EQ(sin_cos_turns(0.25).sin, 1.0);
  EXPECT_EQ(sin_cos_turns(0.5).cos, -1.0);
  EXPECT_EQ(sin_cos_turns(0.75).cos, 0.0);
}

TEST(Math, AngleIsWithinFourUnits) {
  double worst = 0;
  for (std::uint64_t i = 0; i < 200000; ++i) {
    const double x = 2 * draw(i, 0) - 1, y = 2 * draw(i, 1) - 1;
    worst = std::max(worst, ulps(angle(y, x), std::atan2(static_cast<long double>(y), static_cast<long double>(x))));
  }
  EXPECT_LE(worst, 4);
  EXPECT_EQ(angle(0, 0), 0.0);
  EXPECT_EQ(angle(0, -1), kPi);
  EXPECT_EQ(angle(-1, 0), -kPi / 2);
  EXPECT_EQ(angle(1, 1), kPi / 4);
}

}  // namespace
}  // namespace scalelab
