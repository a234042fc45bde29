// rounded: square roots and quotients in fp32, rounded as IEEE 754 rounds them, as chains of fused multiply-adds from an
// approximation that processors have. No branch is taken on the way, so that a thread computes several side by side,
// where sqrtf and `/` of a GPU test each operand and have a long way round for zeros. That they are right for every
// approximation as near as is asked for, and not only for one processor's: tests/rounded_test.cpp.
#pragma once

#include <cmath>

#include "scalelab/math.h"

namespace scalelab {

// sqrt(x), x from 2^-101 to 2^127; `inverse` is within 2^-22.9 of 1 / sqrt(x), relatively.
SCALELAB_HD inline float rounded_root(float x, float inverse) {
  float root = x * inverse, half = 0.5F * inverse;  // half: 1 / (2 sqrt(x))
  const float error = ::fmaf(-root, half, 0.5F);
  root = ::fmaf(root, error, root);
  half = ::fmaf(half, error, half);
  return ::fmaf(::fmaf(-root, root, x), half, root);
}

// Whether the bits of b's significand are all ones. 1 / b then lies so close to the middle between two numbers that
// rounded_quotient may be wrong.
SCALELAB_HD inline bool all_ones(unsigned bits_of_b) { return bits_of_b << 9 == 0xfffffe00U; }

// a / b of b > 0 from 2^-100 to 2^100, not all_ones, and a = 0 or of a size from 2^-100 on, where the quotient's size is
// from 2^-125 to 2^126; `inverse` is within a unit in the last place of 1 / b.
SCALELAB_HD inline float rounded_quotient(float a, float b, float inverse) {
  inverse = ::fmaf(inverse, ::fmaf(-b, inverse, 1.0F), inverse);
  const float quotient = a * inverse;
  return ::fmaf(::fmaf(-b, quotient, a), inverse, quotient);
}

}  // namespace scalelab
