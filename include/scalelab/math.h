// math: logarithm, sine, cosine and angle in fp64 from +, -, *, /, sqrt and fma alone.
//
// The functions of <cmath> differ in the last bit between C libraries and between host and device; these do not, so
// that data sets and true labels are the same bits everywhere. Relative error at most 4 units in the last place
// (tests/math_test.cpp measures it). Arguments outside the stated domains are undefined.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "scalelab/view.h"

namespace scalelab {

inline constexpr double kPi = 3.14159265358979323846;

SCALELAB_HD inline double square_root(double x) { return ::sqrt(x); }  // correctly rounded by IEEE 754

// Natural logarithm of a positive normal number: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then the series of
// 2 atanh((m - 1) / (m + 1)) through the 21st power (next term: 0.172^23 / 23 < 2e-19).
SCALELAB_HD inline double natural_log(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffU) | 0x3ff0000000000000U;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
  double series = 2.0 / 21;
  for (int power = 19; power >= 3; power -= 2) series = ::fma(series, s2, 2.0 / power);
  // ln 2 in two parts, the first exact in 42 bits, so that exponent * high is exact.
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  const double low = ::fma(series * s2, s, exponent * kLn2Low);
  return ::fma(static_cast<double>(exponent), kLn2High, ::fma(2.0, s, low));
}

struct SinCos {
  double sin, cos;
};

// Sine and cosine of 2 pi u, |u| < 2^31: the nearest quarter turn is taken off exactly, then Taylor series on
// [-pi/4, pi/4] through the 17th and 18th power (next terms below 3e-20).
SCALELAB_HD inline SinCos sin_cos_turns(double u) {
  const double quarter = ::rint(4.0 * u);
  const double x = 2.0 * kPi * (u - 0.25 * quarter), x2 = x * x;
  double s = 1.0, c = 1.0;
  for (int n = 17; n >= 3; n -= 2) s = ::fma(s, -x2 * (1.0 / (n * (n - 1))), 1.0);
  for (int n = 18; n >= 2; n -= 2) c = ::fma(c, -x2 * (1.0 / (n * (n - 1))), 1.0);
  s *= x;
  switch (static_cast<std::int64_t>(quarter) & 3) {
    case 0: return {s, c};
    case 1: return {c, -s};
    case 2: return {-s, -c};
    default: return {-c, s};
  }
}

// The angle of (x, y) in (-pi, pi], as atan2(y, x); 0 at the origin. The ratio of the smaller to the larger part is
// brought below tan(pi/16) by two steps, then the series of atan through the 21st power (next term below 2e-18).
SCALELAB_HD inline double angle(double y, double x) {
  const double ax = ::fabs(x), ay = ::fabs(y);
  const double larger = ax > ay ? ax : ay, smaller = ax > ay ? ay : ax;
  if (larger == 0.0) return 0.0;
  double t = smaller / larger, base = 0.0;
  if (t > 0.41421356237309503) {  // tan(pi/8): atan t = pi/4 + atan((t - 1) / (t + 1))
    t = (t - 1.0) / (t + 1.0);
    base = kPi / 4;
  }
  if (::fabs(t) > 0.19891236737965800) {  // tan(pi/16): atan t = +-pi/8 + atan((t -+ u) / (1 +- u t)), u = tan(pi/8)
    const double u = t > 0 ? 0.41421356237309503 : -0.41421356237309503;
    base += t > 0 ? kPi / 8 : -kPi / 8;
    t = (t - u) / ::fma(u, t, 1.0);
  }
  const double t2 = t * t;
  double series = 1.0 / 21;
  for (int power = 19; power >= 3; power -= 2) series = ::fma(series, -t2, 1.0 / power);
  double result = base + ::fma(series * -t2, t, t);
  if (ay > ax) result = kPi / 2 - result;
  if (x < 0) result = kPi - result;
  return y < 0 ? -result : result;
}

}  // namespace scalelab
