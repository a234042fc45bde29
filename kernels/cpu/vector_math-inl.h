// vector_math: exp, log, tanh and polar coordinates on vectors of floats, from +, -, *, /, sqrt and fused alone, so
// that every vector target gives the same bits. Polynomials are minimax fits of the relative error; what is left is
// rounding: at most 3 units in the last place (tests/mlp_test.cpp measures it through the ops). NaN gives NaN.
// Included once per target, inside foreach_target; see kernels/README.md.
#if defined(SCALELAB_KERNELS_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_VECTOR_MATH_INL_H_
#undef SCALELAB_KERNELS_VECTOR_MATH_INL_H_
#else
#define SCALELAB_KERNELS_VECTOR_MATH_INL_H_
#endif

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// coefficients[0] + coefficients[1] x + ...
template <class D, class V, size_t kTerms>
HWY_INLINE V polynomial(D d, V x, const float (&coefficients)[kTerms]) {
  V sum = hn::Set(d, coefficients[kTerms - 1]);
  for (size_t i = kTerms - 1; i-- > 0;) sum = fused(d, sum, x, hn::Set(d, coefficients[i]));
  return sum;
}

inline constexpr float kLn2High = 0x1.62e430p-1F, kLn2Low = -0x1.05c610p-29F;  // their sum is ln 2

// e^x for x <= 0; below -87, where the result would leave the normal numbers, 0. x = n ln 2 + r, |r| <= ln 2 / 2.
template <class D, class V>
HWY_INLINE V exp_of_negative(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 0x1.8p23F);  // adding it rounds to an integer, held in the lowest bits
  const V shifted = fused(d, x, hn::Set(d, 0x1.715476p0F), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = fused(d, n, hn::Set(d, -kLn2Low), fused(d, n, hn::Set(d, -kLn2High), x));
  // (e^r - 1 - r) / r^2, error 5e-11 of e^r
  constexpr float kExp[] = {0x1.000000p-1F, 0x1.555554p-3F,  0x1.55548ep-5F,
                            0x1.111272p-7F, 0x1.6d8db0p-10F, 0x1.9f082ap-13F};
  const V fraction = hn::Add(hn::Set(d, 1.0F), fused(d, hn::Mul(r, r), polynomial(d, r, kExp), r));
  const auto exponent = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0F)), hn::Mul(fraction, hn::BitCast(d, exponent)));
}

// 2 atanh(s), |s| <= 1/3.
template <class D, class V>
HWY_INLINE V twice_atanh(D d, V s) {
  // (2 atanh(s) - 2 s) / s^3 in s^2, error 1.1e-10
  constexpr float kAtanh[] = {0x1.555558p-1F, 0x1.9996b0p-2F, 0x1.2508b0p-2F, 0x1.b6e6cep-3F, 0x1.f17336p-3F};
  const V s2 = hn::Mul(s, s);
  return fused(d, hn::Mul(s2, s), polynomial(d, s2, kAtanh), hn::Add(s, s));
}

// log(1 + x), 0 <= x <= 1.
template <class D, class V>
HWY_INLINE V log1p_of_unit(D d, V x) {
  return twice_atanh(d, hn::Div(x, hn::Add(hn::Set(d, 2.0F), x)));
}

// Natural logarithm of a positive normal number: x = m 2^e, m in [sqrt(1/2), sqrt(2)).
template <class D, class V>
HWY_INLINE V log_of_positive(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, x);
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e))), hn::Set(d, 1.0F));
  const V log_m = twice_atanh(d, hn::Div(f, hn::Add(hn::Set(d, 2.0F), f)));
  const V exponent = hn::ConvertTo(d, e);
  return fused(d, exponent, hn::Set(d, kLn2High), fused(d, exponent, hn::Set(d, kLn2Low), log_m));
}

template <class D, class V>
HWY_INLINE V tanh_of(D d, V x) {
  // (tanh(x) - x) / x^3 in x^2 for |x| <= 0.625, error 4.4e-9
  constexpr float kTanh[] = {-0x1.555532p-2F, 0x1.110726p-3F, -0x1.b83c5ap-5F, 0x1.522698p-6F, -0x1.75e1c2p-8F};
  const V size = hn::Abs(x), x2 = hn::Mul(x, x), one = hn::Set(d, 1.0F);
  const V near = fused(d, hn::Mul(x2, x), polynomial(d, x2, kTanh), x);
  const V e = exp_of_negative(d, hn::Mul(size, hn::Set(d, -2.0F)));
  const V far = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  return hn::IfThenElse(hn::Lt(size, hn::Set(d, 0.625F)), near, far);
}

template <class V>
struct Polar {
  V radius, ratio;  // ratio of the smaller to the larger of |x| and |y|
};

// hypot(x, y); no overflow unless the result itself overflows.
template <class D, class V>
HWY_INLINE Polar<V> radius_of(D d, V x, V y) {
  const V ax = hn::Abs(x), ay = hn::Abs(y), zero = hn::Zero(d), one = hn::Set(d, 1.0F);
  const auto steep = hn::Gt(ay, ax);
  const V larger = hn::IfThenElse(steep, ay, ax), smaller = hn::IfThenElse(steep, ax, ay);
  const V ratio = hn::Div(smaller, hn::IfThenElse(hn::Eq(larger, zero), one, larger));
  return {hn::Mul(larger, hn::Sqrt(fused(d, ratio, ratio, one))), ratio};
}

// The angle of (x, y) in (-pi, pi], 0 at the origin.
template <class D, class V>
HWY_INLINE V angle_of(D d, V x, V y, V ratio) {
  // (atan(t) - t) / t^3 in t^2, error 2.6e-9
  constexpr float kAtan[] = {-0x1.55553ep-2F, 0x1.9991fep-3F,  -0x1.2421b6p-3F, 0x1.c09a02p-4F,  -0x1.58349cp-4F,
                             0x1.daca04p-5F,  -0x1.fed19ap-6F, 0x1.65a694p-7F,  -0x1.d63048p-10F};
  const V t2 = hn::Mul(ratio, ratio), zero = hn::Zero(d);
  V theta = fused(d, hn::Mul(t2, ratio), polynomial(d, t2, kAtan), ratio);
  // pi/2 and pi in two parts.
  const V quarter = hn::Sub(hn::Set(d, 0x1.921fb6p0F), hn::Add(theta, hn::Set(d, 0x1.777a5cp-25F)));
  theta = hn::IfThenElse(hn::Gt(hn::Abs(y), hn::Abs(x)), quarter, theta);
  const V half = hn::Sub(hn::Set(d, 0x1.921fb6p1F), hn::Add(theta, hn::Set(d, 0x1.777a5cp-24F)));
  theta = hn::IfThenElse(hn::Lt(x, zero), half, theta);
  return hn::IfThenElse(hn::Lt(y, zero), hn::Neg(theta), theta);
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
