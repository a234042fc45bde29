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
  return __byte_perm(first, second, 0x7632);
}
__device__ __forceinline__ unsigned lo_pair(unsigned first, unsigned second) {
  return __byte_perm(first, second, 0x5410);
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

// --- products of split numbers ---------------------------------------------------------------------------------------
// A factor is a matrix of split numbers in the place of a matrix of floats whose rows are n floats and some padding. Its
// depth runs along its rows in memory, or across them. Two formats: SplitWords, one for each float, anywhere in memory; and in
// shared memory Halves: each row is its n hi parts and then its n lo parts.

// 16 indices by 16 terms of a factor, as both fragments want it: with g = lane / 4 and t = lane % 4, and two indices of
// the lane's own, which a format names
//   x: first index, terms 2t, 2t + 1   y: second index   z: first index, terms 2t + 8, 2t + 9   w: second index
// As the left factor that is one fragment, as the right one two: of the first indices (x, z) and of the second (y, w).
struct FactorBlock {
  uint4 hi, lo;
};

// A lane's own indices are 2g and 2g + 1. Loads of 8 bytes, free of bank conflicts where rows are 4 over a multiple of
// 16 apart.
struct SplitWords {
  // Of a product a lane holds two rows, and of each two pairs of columns: where the first is, and how far the second.
  static constexpr int kRowStep = 1, kGap = 2;
  __device__ static int row() { return lane_index() / 4 * 2; }
  __device__ static int column() { return lane_index() % 4 * 4; }

  const float* words;
  int stride, n;  // floats from row to row, numbers of a row

  // The 16 indices and 16 terms from these on; `lo` only where kWithLo.
  template <bool kAlong, bool kWithLo>
  __device__ __forceinline__ FactorBlock block(int index, int term) const {
    const int two_g = lane_index() / 4 * 2, two_t = lane_index() % 4 * 2;
    const float* const from = words + (kAlong ? index * stride + term : term * stride + index);
    const auto at = [&](int y, int x) {
      const float2 pair = *reinterpret_cast<const float2*>(from + y * stride + x);
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
    FactorBlock result;
    result.hi = make_uint4(hi_pair(x.x, x.y), hi_pair(y.x, y.y), hi_pair(z.x, z.y), hi_pair(w.x, w.y));
    result.lo = make_uint4(0, 0, 0, 0);
    if (kWithLo) result.lo = make_uint4(lo_pair(x.x, x.y), lo_pair(y.x, y.y), lo_pair(z.x, z.y), lo_pair(w.x, w.y));
    return result;
  }
};

// Four 8 x 8 matrices of two-byte numbers from shared memory as fragments; lane 8 k + r names row r of matrix k.
template <bool kTurned>
__device__ __forceinline__ uint4 load_matrices(unsigned shared_address) {
  uint4 r;
  if (kTurned) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "r"(shared_address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "r"(shared_address)
                 : "memory");
  }
  return r;
}

// A lane's own indices are g and g + 8. Free of bank conflicts where rows are 4 floats over a multiple of 8 apart.
struct Halves {
  static constexpr int kRowStep = 8, kGap = 8;
  __device__ static int row() { return lane_index() / 4; }
  __device__ static int column() { return lane_index() % 4 * 2; }

  const float* rows;
  int stride, n;

  template <bool kAlong, bool kWithLo>
  __device__ __forceinline__ FactorBlock block(int index, int term) const {
    // Matrices in the order of x, y, z, w: the second has the second eight indices, the third the second eight terms.
    const int lane = lane_index(), in = lane % 8, second = lane / 8 % 2 * 8, third = lane / 16 * 8;
    const int row = kAlong ? index + second + in : term + third + in;
    const int column = kAlong ? term + third : index + second;
    const auto at =
        static_cast<unsigned>(__cvta_generic_to_shared(rows)) + static_cast<unsigned>(row * stride * 4 + column * 2);
    FactorBlock result;
    result.hi = load_matrices<!kAlong>(at);
    result.lo = kWithLo ? load_matrices<!kAlong>(at + static_cast<unsigned>(n) * 2) : make_uint4(0, 0, 0, 0);
    return result;
  }

  // Puts two neighbouring numbers of a row, the first at an even column, in their places.
  __device__ static __forceinline__ void put(float* row, int n, int column, float2 numbers, bool with_lo) {
    const unsigned first = split(numbers.x), second = split(numbers.y);
    unsigned* const pairs = reinterpret_cast<unsigned*>(row) + column / 2;
    pairs[0] = hi_pair(first, second);
    if (with_lo) pairs[n / 2] = lo_pair(first, second);
  }
  // The number at a column, and the one behind it. `with_lo`: with their lo parts.
  __device__ static __forceinline__ float2 pair_at(const float* row, int n, int column, bool with_lo) {
    const unsigned* const pairs = reinterpret_cast<const unsigned*>(row) + column / 2;
    const unsigned hi = pairs[0], lo = with_lo ? pairs[n / 2] : 0;
    return make_float2(__uint_as_float(hi << 16) + __uint_as_float(lo << 16),
                       __uint_as_float(hi & 0xffff0000U) + __uint_as_float(lo & 0xffff0000U));
  }
};

// 16 x 16 elements of a product.
template <class Format>
struct ProductTile {
  SumFragment even, odd;  // of the first indices of the right factor, of the second ones
  // Of each row: both pairs of columns.
  __device__ __forceinline__ void begin(float4 first, float4 second) {
    if (Format::kGap == 2) {
      even = make_float4(first.x, first.z, second.x, second.z);
      odd = make_float4(first.y, first.w, second.y, second.w);
    } else {
      even = make_float4(first.x, first.y, second.x, second.y);
      odd = make_float4(first.z, first.w, second.z, second.w);
    }
  }
  __device__ __forceinline__ float4 row(int i) const {
    const float2 a = i == 0 ? make_float2(even.x, even.y) : make_float2(even.z, even.w);
    const float2 b = i == 0 ? make_float2(odd.x, odd.y) : make_float2(odd.z, odd.w);
    return Format::kGap == 2 ? make_float4(a.x, b.x, a.y, b.y) : make_float4(a.x, a.y, b.x, b.y);
  }
};

// tiles += left right over `depth` terms, a multiple of 16: hi.hi of 16 terms, then, kWithLo, hi.lo and lo.hi of
// them, then the next 16. The factors' indices begin at the first of the first tile.
template <bool kWithLo, bool kLeftAlong, bool kRightAlong, class Format, int kRows, int kColumns>
__device__ __forceinline__ void multiply_blocks(ProductTile<Format> (&tiles)[kRows][kColumns], const Format& left,
                                                int left_index, const Format& right, int right_index, int depth) {
#pragma unroll(Format::kGap == 2 || kWithLo ? 1 : 2)
  for (int k = 0; k < depth; k += 16) {
    FactorBlock a[kRows];
#pragma unroll
    for (int m = 0; m < kRows; ++m) a[m] = left.template block<kLeftAlong, kWithLo>(left_index + 16 * m, k);
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      const FactorBlock b = right.template block<kRightAlong, kWithLo>(right_index + 16 * n, k);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        ProductTile<Format>& tile = tiles[m][n];
        multiply_add(tile.even, a[m].hi, make_uint2(b.hi.x, b.hi.z));
        multiply_add(tile.odd, a[m].hi, make_uint2(b.hi.y, b.hi.w));
        if (!kWithLo) continue;
        multiply_add(tile.even, a[m].hi, make_uint2(b.lo.x, b.lo.z));
        multiply_add(tile.odd, a[m].hi, make_uint2(b.lo.y, b.lo.w));
        multiply_add(tile.even, a[m].lo, make_uint2(b.hi.x, b.hi.z));
        multiply_add(tile.odd, a[m].lo, make_uint2(b.hi.y, b.hi.w));
      }
    }
  }
}
template <bool kLeftAlong, bool kRightAlong, class Format, int kRows, int kColumns>
__device__ __forceinline__ void multiply_split(ProductTile<Format> (&tiles)[kRows][kColumns], const Format& left,
                                               int left_index, const Format& right, int right_index, int depth,
                                               bool with_lo) {
  if (with_lo) {
    multiply_blocks<true, kLeftAlong, kRightAlong>(tiles, left, left_index, right, right_index, depth);
  } else {
    multiply_blocks<false, kLeftAlong, kRightAlong>(tiles, left, left_index, right, right_index, depth);
  }
}

}  // namespace scalelab::cuda
