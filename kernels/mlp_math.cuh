// mlp_math: exp, log, tanh, polar coordinates and losses of one sample in fp32, from +, -, *, /, sqrt and fma alone.
// Operation for operation what vector_math-inl.h and mlp_block-inl.h do in a vector lane, so that both backends give
// the same bits (tests/mlp_twins_test.cpp). NaN gives NaN.
#pragma once

#include "kernels/cuda/device.cuh"
#include "scalelab/mlp.h"

namespace scalelab::cuda {

// Approximations for rounded.h, each one instruction: of 1 / sqrt(x) within 2^-22.9, relatively, of 1 / x within a unit
// in the last place.
__device__ __forceinline__ float approximate_inverse_root(float x) {
  float result;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float approximate_inverse(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// coefficients[0] + coefficients[1] x + ...
template <int kTerms>
__device__ __forceinline__ float polynomial(float x, const float (&coefficients)[kTerms]) {
  float sum = coefficients[kTerms - 1];
#pragma unroll
  for (int i = kTerms - 2; i >= 0; --i) sum = ::fmaf(sum, x, coefficients[i]);
  return sum;
}

// e^x for x <= 0; below -87, where the result would leave the normal numbers, 0. x = n ln 2 + r, |r| <= ln 2 / 2.
__device__ inline float exp_of_negative(float x) {
  constexpr float kLn2High = 0x1.62e430p-1F, kLn2Low = -0x1.05c610p-29F;  // their sum is ln 2
  const float magic = 0x1.8p23F;  // adding it rounds to an integer, held in the lowest bits
  const float shifted = ::fmaf(x, 0x1.715476p0F, magic);
  const float n = shifted - magic;
  const float r = ::fmaf(n, -kLn2Low, ::fmaf(n, -kLn2High, x));
  // (e^r - 1 - r) / r^2
  constexpr float kExp[] = {0x1.000000p-1F, 0x1.555554p-3F,  0x1.55548ep-5F,
                            0x1.111272p-7F, 0x1.6d8db0p-10F, 0x1.9f082ap-13F};
  const float fraction = 1.0F + ::fmaf(r * r, polynomial(r, kExp), r);
  const float power = __uint_as_float((__float_as_uint(shifted) << 23) + (127U << 23));
  return x < -87.0F ? 0.0F : fraction * power;
}

// 2 atanh(s), |s| <= 1/3.
__device__ inline float twice_atanh(float s) {
  // (2 atanh(s) - 2 s) / s^3 in s^2
  constexpr float kAtanh[] = {0x1.555558p-1F, 0x1.9996b0p-2F, 0x1.2508b0p-2F, 0x1.b6e6cep-3F, 0x1.f17336p-3F};
  const float s2 = s * s;
  return ::fmaf(s2 * s, polynomial(s2, kAtanh), s + s);
}

// log(1 + x), 0 <= x <= 1.
__device__ inline float log1p_of_unit(float x) { return twice_atanh(x / (2.0F + x)); }

// Natural logarithm of a positive normal number: x = m 2^e, m in [sqrt(1/2), sqrt(2)).
__device__ inline float log_of_positive(float x) {
  constexpr float kLn2High = 0x1.62e430p-1F, kLn2Low = -0x1.05c610p-29F;  // their sum is ln 2
  const unsigned bits = __float_as_uint(x);
  const int e = static_cast<int>(bits - 0x3f3504f3U) >> 23;
  const float f = __uint_as_float(bits - (static_cast<unsigned>(e) << 23)) - 1.0F;
  const float log_m = twice_atanh(f / (2.0F + f));
  const float exponent = static_cast<float>(e);
  return ::fmaf(exponent, kLn2High, ::fmaf(exponent, kLn2Low, log_m));
}

__device__ inline float tanh_of(float x) {
  const float size = ::fabsf(x), x2 = x * x;
  if (size < 0.625F) {
    // (tanh(x) - x) / x^3 in x^2
    constexpr float kTanh[] = {-0x1.555532p-2F, 0x1.110726p-3F, -0x1.b83c5ap-5F, 0x1.522698p-6F, -0x1.75e1c2p-8F};
    return ::fmaf(x2 * x, polynomial(x2, kTanh), x);
  }
  const float e = exp_of_negative(size * -2.0F);
  return ::copysignf((1.0F - e) / (1.0F + e), x);
}

struct Gelu {
  float value, slope;
};

// x s, s = (1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3), and its derivative.
__device__ inline Gelu gelu_of(float x) {
  const float near = ::fabsf(x) > 10.0F ? ::copysignf(10.0F, x) : x;  // beyond 10, s is 0 or 1
  const float cubic = near * near * 0.044715F;
  const float scale = 0x1.988454p0F;  // 2 sqrt(2/pi)
  const float twice_u = scale * near * (1.0F + cubic);
  const float e = exp_of_negative(-::fabsf(twice_u));
  const float share = 1.0F / (1.0F + e), rest = e * share;
  const float s = x < 0 ? rest : share;
  // s + x s (1 - s) 2u', 2u' = 2 sqrt(2/pi) (1 + 3 * 0.044715 x^2)
  const float slope = scale * ::fmaf(3.0F, cubic, 1.0F);
  return {x * s, ::fmaf(near * slope, share * rest, s)};
}

__device__ inline float relu_of(float x) { return x < 0 ? 0.0F : x; }

// A point's features, 2 or 3 of them, of any encoding but `none`.
__device__ inline void encode_point(Encoding encoding, float x, float y, float features[3]) {
  // hypot; no overflow unless the result itself overflows. `ratio`: of the smaller to the larger of |x| and |y|.
  const float ax = ::fabsf(x), ay = ::fabsf(y);
  const float larger = ay > ax ? ay : ax, smaller = ay > ax ? ax : ay;
  const float ratio = smaller / (larger == 0 ? 1.0F : larger);
  const float radius = larger * ::sqrtf(::fmaf(ratio, ratio, 1.0F));
  features[0] = encoding == Encoding::polar_raw ? radius : ::fmaf(2.0F, radius, -1.0F);
  if (encoding == Encoding::polar_trig) {
    const bool origin = radius == 0;
    features[1] = origin ? 1.0F : x / radius;
    features[2] = origin ? 0.0F : y / radius;
    return;
  }
  // (atan(t) - t) / t^3 in t^2
  constexpr float kAtan[] = {-0x1.55553ep-2F, 0x1.9991fep-3F,  -0x1.2421b6p-3F, 0x1.c09a02p-4F,  -0x1.58349cp-4F,
                             0x1.daca04p-5F,  -0x1.fed19ap-6F, 0x1.65a694p-7F,  -0x1.d63048p-10F};
  const float t2 = ratio * ratio;
  float theta = ::fmaf(t2 * ratio, polynomial(t2, kAtan), ratio);
  if (ay > ax) theta = 0x1.921fb6p0F - (theta + 0x1.777a5cp-25F);  // pi/2 and pi in two parts
  if (x < 0) theta = 0x1.921fb6p1F - (theta + 0x1.777a5cp-24F);
  if (y < 0) theta = -theta;
  features[1] = encoding == Encoding::polar ? theta * 0x1.45f306p-2F : theta;  // 1 / pi
}

// `x`, or 0 where it is too small to move anything: left alone it would breed subnormal numbers.
__device__ __forceinline__ float without_traces(float x, float limit) { return ::fabsf(x) < limit ? 0.0F : x; }
inline constexpr float kNoDelta = 0x1p-80F, kNoGradient = 0x1p-58F, kSmallestNormal = 0x1p-126F;

// The loss of one sample of a network with one output, and in place of its score the gradient with respect to it, times
// `scale`.
__device__ inline float binary_loss(float gamma, float scale, bool is_one, float* score) {
  // u = +-z, large when right; p = 1 / (1 + e^-u) is given to the true class, q = 1 - p.
  const float z = *score, u = is_one ? z : -z, size = ::fabsf(z);
  const bool right = u > 0;
  const float e = exp_of_negative(-size), share = 1.0F / (1.0F + e), rest = e * share;
  const float q = right ? rest : share;
  const float log1p = log1p_of_unit(e), with_size = size + log1p;
  const float minus_log_p = right ? log1p : with_size;
  float value = minus_log_p, slope = -q;  // slope: by u
  if (gamma > 0) {
    const float p = right ? share : rest, minus_log_q = right ? with_size : log1p;
    const float focus = exp_of_negative(-(gamma * minus_log_q));
    value = focus * minus_log_p;
    slope = -(focus * ::fmaf(gamma * p, minus_log_p, q));
  }
  *score = without_traces((is_one ? slope : -slope) * scale, kNoDelta);
  return value;
}

// As binary_loss, of `outputs` >= 2 scores that lie `stride` apart.
__device__ inline float softmax_loss(float gamma, float scale, int label, int outputs, float* scores, int stride) {
  float largest = scores[0];
  for (int j = 1; j < outputs; ++j) {
    const float z = scores[j * stride];
    largest = z > largest ? z : largest;
  }
  // e_j = e^(z_j - largest). `others`: the sum over all but the true class, so that q = 1 - p does not cancel.
  float others = 0, true_e = 0, true_gap = 0;
  for (int j = 0; j < outputs; ++j) {
    const float gap = scores[j * stride] - largest, e = exp_of_negative(gap);
    if (j == label) {
      true_e = e;
      true_gap = gap;
    } else {
      others += e;
    }
    scores[j * stride] = e;
  }
  const float sum = others + true_e, q = others / sum;
  // -log p = log(sum) - gap; where the true class is the largest, log(1 + others), exact for a small one.
  float minus_log_p;
  if (true_gap == 0) {
    minus_log_p = others < 1.0F ? log1p_of_unit(others) : log_of_positive(sum);
  } else {
    minus_log_p = log_of_positive(sum) - true_gap;
  }
  float value = minus_log_p, slope = -q;  // slope: by the true class's score
  if (gamma > 0) {
    const float p = true_e / sum;
    const bool sure = q == 0;
    const float minus_log_q = -log_of_positive(sure ? 1.0F : q);
    const float focus = sure ? 0.0F : exp_of_negative(-(gamma * minus_log_q));
    value = focus * minus_log_p;
    slope = -(focus * ::fmaf(gamma * p, minus_log_p, q));
  }
  // The slopes of the other classes share out minus the true one's.
  const float scaled = slope * scale, share = -(scaled / (others == 0 ? 1.0F : others));
  for (int j = 0; j < outputs; ++j) {
    const float delta = j == label ? scaled : scores[j * stride] * share;
    scores[j * stride] = without_traces(delta, kNoDelta);
  }
  return value;
}

}  // namespace scalelab::cuda
