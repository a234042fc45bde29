// mma: numbers in bf16, the tensor-core instruction that multiplies them, each behind one wrapper, and a warp's
// products of split numbers.
//
// An architecture without the instruction computes the same product from the warp's fragments by shuffles: there, and
// only there, its sums have a known order.
#pragma once

#include "kernels/cuda/device.cuh"

namespace scalelab::cuda {

// The bits of the nearest bf16, ties to even, in the upper half; the lower half is zero. NaN stays NaN.
__device__ __forceinline__ unsigned bf16_bits(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(x), "f"(0.0F));  // the first goes to the upper half
  return bits;
#else
  const unsigned bits = __float_as_uint(x);
  return x != x ? 0x7fff0000U : (bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U;
#endif
}

// A number in two parts, in one word: hi = bf16(x) in the upper half, lo = bf16(x - hi) in the lower.
__device__ __forceinline__ unsigned split(float x) {
  const unsigned hi = bf16_bits(x);
  return hi | bf16_bits(x - __uint_as_float(hi)) >> 16;
}

// hi + lo.
__device__ __forceinline__ float joined(unsigned word) {
  return __uint_as_float(word & 0xffff0000U) + __uint_as_float(word << 16);
}

// The hi parts of two words, or their lo parts: a register of a fragment, the first one in the lower half.
__device__ __forceinline__ unsigned hi_pair(unsigned first, unsigned second) {
  return first >> 16 | (second & 0xffff0000U);
}
__device__ __forceinline__ unsigned lo_pair(unsigned first, unsigned second) {
  return (first & 0xffffU) | second << 16;
}

// What a lane holds of a (16, 16) left factor, a (16, 8) right one and a (16, 8) sum. With g = lane / 4, t = lane % 4:
//   left   x: (g, 2t) (g, 2t + 1)   y: (g + 8, ...)   z: (g, 2t + 8) (g, 2t + 9)   w: (g + 8, ...)
//   right  x: (2t, g) (2t + 1, g)   y: (2t + 8, g) (2t + 9, g)
//   sum    x, y: (g, 2t) (g, 2t + 1)                  z, w: (g + 8, 2t) (g + 8, 2t + 1)
using LeftFragment = uint4;
using RightFragment = uint2;
using SumFragment = float4;

// sum += left right, in fp32. All lanes of the warp. The 16 products of an element are exact; in which order, and with
// how many bits more than fp32, they are added is the device's own affair. Without the instruction: one fma chain in
// ascending depth.
__device__ __forceinline__ void multiply_add(SumFragment& sum, const LeftFragment& left, const RightFragment& right) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum.x), "+f"(sum.y), "+f"(sum.z), "+f"(sum.w)
      : "r"(left.x), "r"(left.y), "r"(left.z), "r"(left.w), "r"(right.x), "r"(right.y));
#else
  const int lane = lane_index(), row = lane & ~3, column = lane % 4 * 8;
  using Pair = unsigned long long;  // two registers
  const Pair low = static_cast<Pair>(left.y) << 32 | left.x, high = static_cast<Pair>(left.w) << 32 | left.z;
  const Pair both = static_cast<Pair>(right.y) << 32 | right.x;
  for (int half = 0; half < 2; ++half) {  // of the depth
    for (int t = 0; t < 4; ++t) {
      // The terms 8 half + 2t and the next, of this lane's two rows and two columns.
      const Pair rows = __shfl_sync(kAllLanes, half == 0 ? low : high, row + t);
      const Pair first = __shfl_sync(kAllLanes, both, column + t);
      const Pair second = __shfl_sync(kAllLanes, both, column + 4 + t);
      const unsigned a = static_cast<unsigned>(rows), b = static_cast<unsigned>(rows >> 32);
      const unsigned c = static_cast<unsigned>(first >> 32 * half), d = static_cast<unsigned>(second >> 32 * half);
      for (int shift = 16; shift >= 0; shift -= 16) {  // the lower halves first
        const auto number = [shift](unsigned bits) { return __uint_as_float(bits << shift & 0xffff0000U); };
        sum.x = ::fmaf(number(a), number(c), sum.x);
        sum.y = ::fmaf(number(a), number(d), sum.y);
        sum.z = ::fmaf(number(b), number(c), sum.z);
        sum.w = ::fmaf(number(b), number(d), sum.w);
      }
    }
  }
#endif
}

// --- products of words -----------------------------------------------------------------------------------------------
// A factor is a matrix of words (split), held in an array of floats as their bits. Its depth runs along its rows in
// memory, or across them. Loads of 8 bytes, free of bank conflicts where rows are 4 over a multiple of 16 apart.

// 16 indices by 16 terms of a factor, as both fragments want it: with g = lane / 4 and t = lane % 4
//   x: index 2g, terms 2t, 2t + 1   y: index 2g + 1   z: index 2g, terms 2t + 8, 2t + 9   w: index 2g + 1
// As the left factor that is one fragment, as the right one two: of the even indices (x, z) and of the odd ones (y, w).
struct FactorBlock {
  uint4 hi, lo;
};

// `lo` only where `with_lo`.
template <bool kAlong>
__device__ __forceinline__ FactorBlock load_block(const float* words, int row, bool with_lo) {
  const int two_g = lane_index() / 4 * 2, two_t = lane_index() % 4 * 2;
  const auto at = [&](int y, int x) {
    const float2 pair = *reinterpret_cast<const float2*>(words + y * row + x);
    return make_uint2(__float_as_uint(pair.x), __float_as_uint(pair.y));
  };
  // Each uint2: the two words that share a register.
  uint2 x, y, z, w;
  if (kAlong) {
    x = at(two_g, two_t);
    y = at(two_g + 1, two_t);
    z = at(two_g, two_t + 8);
    w = at(two_g + 1, two_t + 8);
  } else {
    const uint2 a = at(two_t, two_g), b = at(two_t + 1, two_g), c = at(two_t + 8, two_g), d = at(two_t + 9, two_g);
    x = make_uint2(a.x, b.x);
    y = make_uint2(a.y, b.y);
    z = make_uint2(c.x, d.x);
    w = make_uint2(c.y, d.y);
  }
  FactorBlock block;
  block.hi = make_uint4(hi_pair(x.x, x.y), hi_pair(y.x, y.y), hi_pair(z.x, z.y), hi_pair(w.x, w.y));
  block.lo = make_uint4(0, 0, 0, 0);
  if (with_lo) block.lo = make_uint4(lo_pair(x.x, x.y), lo_pair(y.x, y.y), lo_pair(z.x, z.y), lo_pair(w.x, w.y));
  return block;
}

// 16 x 16 elements of a product. A lane holds rows 2g and 2g + 1, of each the columns 4t .. 4t + 3.
struct ProductTile {
  SumFragment even, odd;  // columns
  __device__ __forceinline__ void begin(float4 first, float4 second) {
    even = make_float4(first.x, first.z, second.x, second.z);
    odd = make_float4(first.y, first.w, second.y, second.w);
  }
  __device__ __forceinline__ float4 row(int i) const {
    return i == 0 ? make_float4(even.x, odd.x, even.y, odd.y) : make_float4(even.z, odd.z, even.w, odd.w);
  }
  __device__ static int first_row() { return lane_index() / 4 * 2; }
  __device__ static int first_column() { return lane_index() % 4 * 4; }
};

// tiles += left right over `depth` terms, a multiple of 16: hi.hi of 16 terms, then, `with_lo`, hi.lo and lo.hi of
// them, then the next 16. The factors begin at the first index of the first tile and at the first term.
template <int kRows, int kColumns, bool kLeftAlong, bool kRightAlong>
__device__ __forceinline__ void multiply_words(ProductTile (&tiles)[kRows][kColumns], const float* left, int left_row,
                                               const float* right, int right_row, int depth, bool with_lo) {
#pragma unroll 1
  for (int k = 0; k < depth; k += 16) {
    FactorBlock a[kRows];
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      a[m] = load_block<kLeftAlong>(left + (kLeftAlong ? 16 * m * left_row + k : k * left_row + 16 * m), left_row,
                                    with_lo);
    }
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      const FactorBlock b = load_block<kRightAlong>(
          right + (kRightAlong ? 16 * n * right_row + k : k * right_row + 16 * n), right_row, with_lo);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        ProductTile& tile = tiles[m][n];
        multiply_add(tile.even, a[m].hi, make_uint2(b.hi.x, b.hi.z));
        multiply_add(tile.odd, a[m].hi, make_uint2(b.hi.y, b.hi.w));
        if (!with_lo) continue;
        multiply_add(tile.even, a[m].hi, make_uint2(b.lo.x, b.lo.z));
        multiply_add(tile.odd, a[m].hi, make_uint2(b.lo.y, b.lo.w));
        multiply_add(tile.even, a[m].lo, make_uint2(b.hi.x, b.hi.z));
        multiply_add(tile.odd, a[m].lo, make_uint2(b.hi.y, b.hi.w));
      }
    }
  }
}

}  // namespace scalelab::cuda
