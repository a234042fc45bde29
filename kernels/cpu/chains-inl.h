// chains: dot products and updates over padded fp32 rows, the same bits for every vector width.
// Included once per target, inside foreach_target; see kernels/README.md.
#if defined(SCALELAB_KERNELS_CHAINS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_CHAINS_INL_H_
#undef SCALELAB_KERNELS_CHAINS_INL_H_
#else
#define SCALELAB_KERNELS_CHAINS_INL_H_
#endif

#include <cstdint>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// The chains of a dot product, as many as the widest vector, AVX-512, has lanes: chain j runs over j, j + 16, ...
constexpr int kChains = 16;
using ChainLanes = hn::CappedTag<float, kChains>;

// A row's length in memory: whole chains. What is beyond the row must be zero, which changes no chain.
inline std::int64_t padded_length(std::int64_t d) { return (d + kChains - 1) / kChains * kChains; }

// a . b over `padded` coordinates, both 64-byte aligned: 16 fma chains from zero, added pairwise: chain j with
// j + 8, then 4, 2, 1.
HWY_INLINE float dot(const float* a, const float* b, std::int64_t padded) {
  const ChainLanes d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  HWY_ALIGN float chains[kChains];
  for (int j = 0; j < kChains; j += lanes) {
    auto sum = hn::Zero(d);
    for (std::int64_t c = j; c < padded; c += kChains) sum = fused(d, hn::Load(d, a + c), hn::Load(d, b + c), sum);
    hn::Store(sum, d, chains + j);
  }
  for (int half = kChains / 2; half >= 1; half /= 2) {
    for (int j = 0; j < half; ++j) chains[j] += chains[j + half];
  }
  return chains[0];
}

// y += scale * x, one fma a coordinate.
HWY_INLINE void add_scaled(float scale, const float* x, float* y, std::int64_t padded) {
  const ChainLanes d;
  const auto scales = hn::Set(d, scale);
  for (std::int64_t c = 0; c < padded; c += static_cast<std::int64_t>(hn::Lanes(d))) {
    hn::Store(fused(d, scales, hn::Load(d, x + c), hn::Load(d, y + c)), d, y + c);
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
