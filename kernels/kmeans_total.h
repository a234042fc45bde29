// kmeans_total: sums of floats as 64-bit integers, so that no order of summation can change them; both compilers see
// this. What counts as what is promised in kmeans.h. On a device the integers may be added by atomics.
#pragma once

#include <cmath>
#include <cstdint>

#include "scalelab/view.h"

namespace scalelab {

// One unit of a total, and how many units make 1: powers of two.
struct FixedPoint {
  double units_per_one = 1;
  double unit = 1;
};

// For n values none of which is larger in magnitude than `largest`: each counts at most 2^min(61 - ceil(log2 n), 50)
// units, so that n of them stay within 2^61, and one alone within the 51 bits that to_fixed can round.
SCALELAB_HD inline FixedPoint fixed_point(float largest, std::int64_t n) {
  int exponent = 0;
  if (largest > 0) ::frexp(static_cast<double>(largest), &exponent);  // largest < 2^exponent
  int log_n = 0;
  while ((std::int64_t{1} << log_n) < n) ++log_n;
  const int bits = (61 - log_n < 50 ? 61 - log_n : 50) - exponent;
  return {::ldexp(1.0, bits), ::ldexp(1.0, -bits)};
}

// Whether the weights of k-means++ (kmeans.h) are to be counted in smaller units: their sum, and the sum that the last
// change of units left.
SCALELAB_HD inline bool weights_too_coarse(std::uint64_t sum, std::uint64_t last, std::int64_t n) {
  return sum < static_cast<std::uint64_t>(n) << 12 && 2 * sum < last;
}
inline constexpr std::uint64_t kNeverChanged = ~std::uint64_t{0};  // as the sum of a change that never was

// Added to a double below 2^51 in magnitude it leaves no bits after the point: rounds to the nearest integer, to even.
inline constexpr double kRoundToInteger = 0x1.8p52;

// rint(value * units_per_one): the product is exact, and the sum rounds once.
SCALELAB_HD inline std::int64_t to_fixed(float value, double units_per_one) {
  return static_cast<std::int64_t>((static_cast<double>(value) * units_per_one + kRoundToInteger) - kRoundToInteger);
}

// The mean of `count` >= 1 values.
SCALELAB_HD inline float mean_of_total(std::int64_t total, std::int64_t count, double unit) {
  return static_cast<float>(static_cast<double>(total) / static_cast<double>(count) * unit);
}

}  // namespace scalelab
