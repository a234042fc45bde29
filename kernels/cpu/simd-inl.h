// simd: Highway, and the one operation it lacks: a fused multiply-add that is fused on every target.
// Included once per target, inside foreach_target; see kernels/README.md.
#if defined(SCALELAB_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_SIMD_INL_H_
#undef SCALELAB_KERNELS_SIMD_INL_H_
#else
#define SCALELAB_KERNELS_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// a * b + c, rounded once. The target below AVX2 and NEON is EMU128 or, with compilers that miscompile that, SCALAR,
// one lane wide and without shuffles; neither fuses by itself.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fused(D d, V a, V b, V c) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR  // their MulAdd rounds twice
  using T = hn::TFromD<D>;
  T a_lanes[hn::MaxLanes(d)], b_lanes[hn::MaxLanes(d)], c_lanes[hn::MaxLanes(d)];
  hn::StoreU(a, d, a_lanes);
  hn::StoreU(b, d, b_lanes);
  hn::StoreU(c, d, c_lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) c_lanes[i] = std::fma(a_lanes[i], b_lanes[i], c_lanes[i]);
  return hn::LoadU(d, c_lanes);
#else
  (void)d;
  return hn::MulAdd(a, b, c);
#endif
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
