// mma: numbers in two parts, every fragment of the tensor-core instruction, and a warp's products, against plain
// products. Factors are small integers and sixty-fourths, so that every sum is exact in whatever order a device adds.
#include "kernels/cuda/mma.cuh"

#include <cmath>

#include "tests/support.h"

namespace scalelab::test {
namespace {

using namespace scalelab::cuda;

class Mma : public TwinBackends {
 protected:
  // The output of a kernel of one warp that takes inputs, then the output.
  template <class... Parameters, class... Inputs>
  std::vector<float> run(void (*kernel)(Parameters...), std::int64_t outputs, const Inputs&... inputs) {
    const Guarded<float> out(*cuda_, {outputs});
    run_on(kernel, out, Guarded<float>(*cuda_, inputs, {std::ssize(inputs)})...);
    return out.to_host();
  }

 private:
  template <class... Parameters, class... Buffers>
  void run_on(void (*kernel)(Parameters...), const Guarded<float>& out, const Buffers&... inputs) {
    launch(*cuda_, 1, kWarp, 0, kernel, static_cast<const float*>(inputs.view().data())..., out.view().data());
    cuda_->synchronize();
  }
};

// The nearest of the two bf16 on either side of x, at equal distance the one whose last bit is zero.
float nearest_bf16(float x) {
  const auto down = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000U);
  const auto up = std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) & 0xffff0000U) + 0x10000U);
  const double below = std::abs(double{x} - down), above = std::abs(double{up} - x);
  if (below != above) return below < above ? down : up;
  return (std::bit_cast<std::uint32_t>(down) & 0x10000U) == 0 ? down : up;
}

// n numbers of -8 .. 8 in sixty-fourths, of which one in so many is an integer.
std::vector<float> some_numbers(std::size_t n, std::uint64_t seed, bool integers) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto sixty_fourths = uniform_int(seed, i, -8 * 64, 8 * 64);
    values[i] = static_cast<float>(integers ? sixty_fourths / 64 : sixty_fourths) / (integers ? 1.0F : 64.0F);
  }
  return values;
}

// --- words -----------------------------------------------------------------------------------------------------------

__global__ void split_kernel(const float* x, float* parts) {
  for (int i = static_cast<int>(threadIdx.x); i < 1024; i += kWarp) {
    const unsigned word = split(x[i]);
    parts[4 * i] = __uint_as_float(word & 0xffff0000U);
    parts[4 * i + 1] = __uint_as_float(word << 16);
    parts[4 * i + 2] = joined(word);
    parts[4 * i + 3] = __uint_as_float(bf16_bits(x[i]));
  }
}

TEST_F(Mma, AWordHoldsTheNearestBf16AndTheNearestOfTheRest) {
  std::vector<float> x = uniform_floats(1024, 1);
  for (std::size_t i = 0; i < 512; ++i) x[i] *= std::exp2(static_cast<float>(i % 120) - 60);
  // Halfway between two, to either side, and just beside it; zeros; what rounds up to a power of two.
  const std::vector<float> special = {1 + 0x1p-8F, 1 + 3 * 0x1p-8F, 1 + 0x1.0002p-8F, 1 + 0x1.fffep-9F, 0.0F,
                                      -0.0F,       0x1.ffp0F,       0x1.fffffep0F,    -1 - 0x1p-8F,     0x1p100F};
  std::copy(special.begin(), special.end(), x.begin() + 600);
  const auto parts = run(split_kernel, 4 * 1024, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float hi = nearest_bf16(x[i]), lo = nearest_bf16(x[i] - hi);
    EXPECT_TRUE(same_bits(std::vector{parts[4 * i], parts[4 * i + 3]}, std::vector{hi, hi})) << x[i];
    EXPECT_EQ(parts[4 * i + 1], lo) << x[i];
    EXPECT_EQ(parts[4 * i + 2], hi + lo) << x[i];
    EXPECT_LE(std::abs(x[i] - hi), 0x1p-8 * std::abs(x[i]));
    EXPECT_LE(std::abs(double{x[i]} - hi - lo), 0x1p-16 * std::abs(x[i]));
  }
}

TEST_F(Mma, WhatIsNotFiniteStaysSo) {
  std::vector<float> x(1024, 1.0F);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  x[1] = std::numeric_limits<float>::infinity();
  x[2] = -std::numeric_limits<float>::infinity();
  x[3] = std::bit_cast<float>(0x7fffffffU);  // rounding this up as a number would make -0 of it
  const auto parts = run(split_kernel, 4 * 1024, x);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(std::isfinite(parts[4 * i + 2])) << i;
    EXPECT_EQ(std::isnan(parts[4 * i + 3]), std::isnan(x[i])) << i;
    if (!std::isnan(x[i])) {
      EXPECT_EQ(parts[4 * i + 3], x[i]);
    }
  }
}

// --- the instruction -------------------------------------------------------------------------------------------------

__device__ unsigned pair_of(float first, float second) {
  return hi_pair(__float_as_uint(first), __float_as_uint(second));
}

// left (16, 16), right (16, 8), both integers, and begin (16, 8), by the layout that mma.cuh gives for fragments.
__global__ void fragments_kernel(const float* left, const float* right, const float* begin, float* product) {
  const int g = lane_index() / 4, t = lane_index() % 4;
  const auto l = [&](int row, int k) { return pair_of(left[row * 16 + k], left[row * 16 + k + 1]); };
  const auto r = [&](int k) { return pair_of(right[k * 8 + g], right[(k + 1) * 8 + g]); };
  const LeftFragment a = make_uint4(l(g, 2 * t), l(g + 8, 2 * t), l(g, 2 * t + 8), l(g + 8, 2 * t + 8));
  const RightFragment b = make_uint2(r(2 * t), r(2 * t + 8));
  const int at = g * 8 + 2 * t;
  SumFragment sum = make_float4(begin[at], begin[at + 1], begin[at + 64], begin[at + 65]);
  multiply_add(sum, a, b);
  product[at] = sum.x;
  product[at + 1] = sum.y;
  product[at + 64] = sum.z;
  product[at + 65] = sum.w;
}

TEST_F(Mma, EveryFragmentIsWhereItSays) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto left = some_numbers(256, 3 * seed, true), right = some_numbers(128, 3 * seed + 1, true);
    const auto begin = some_numbers(128, 3 * seed + 2, true);
    std::vector<float> want = begin;
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        for (int k = 0; k < 16; ++k) want[i * 8 + j] += left[i * 16 + k] * right[k * 8 + j];
      }
    }
    EXPECT_TRUE(same_bits(run(fragments_kernel, 128, left, right, begin), want)) << "seed " << seed;
  }
}

// --- products of words -----------------------------------------------------------------------------------------------

constexpr int kRows = 2, kColumns = 3, kDepth = 48, kStride = 68;

// (32, 48) by (48, 48): factors as words, rows kStride apart, the depth along rows or across them.
template <bool kLeftAlong, bool kRightAlong, bool kWithLo>
__global__ void product_kernel(const float* left, const float* right, float* product) {
  ProductTile tiles[kRows][kColumns];
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) tiles[m][n].begin(make_float4(1, 2, 3, 4), make_float4(5, 6, 7, 8));
  }
  multiply_words<kRows, kColumns, kLeftAlong, kRightAlong>(tiles, left, kStride, right, kStride, kDepth, kWithLo);
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) {
      for (int i = 0; i < 2; ++i) {
        const float4 row = tiles[m][n].row(i);
        float* const to =
            product + (16 * m + ProductTile::first_row() + i) * 16 * kColumns + 16 * n + ProductTile::first_column();
        to[0] = row.x;
        to[1] = row.y;
        to[2] = row.z;
        to[3] = row.w;
      }
    }
  }
}

// A factor of `indices` by kDepth numbers as the kernel wants it, and its parts.
struct Factor {
  std::vector<float> words, hi, lo;
};
Factor factor(int indices, std::uint64_t seed, bool along) {
  Factor f;
  const auto x = some_numbers(static_cast<std::size_t>(indices) * kDepth, seed, false);
  f.words.assign(static_cast<std::size_t>(64) * kStride, std::numeric_limits<float>::quiet_NaN());
  for (int i = 0; i < indices; ++i) {
    for (int k = 0; k < kDepth; ++k) {
      const float hi = nearest_bf16(x[i * kDepth + k]), lo = nearest_bf16(x[i * kDepth + k] - hi);
      f.hi.push_back(hi);
      f.lo.push_back(lo);
      f.words[along ? i * kStride + k : k * kStride + i] =
          std::bit_cast<float>(std::bit_cast<std::uint32_t>(hi) | std::bit_cast<std::uint32_t>(lo) >> 16);
    }
  }
  return f;
}

TEST_F(Mma, ProductsOfWordsAlongAndAcross) {
  const auto check = [&]<bool kLeftAlong, bool kRightAlong, bool kWithLo>() {
    const Factor left = factor(16 * kRows, 1, kLeftAlong), right = factor(16 * kColumns, 2, kRightAlong);
    std::vector<float> want;
    double lows = 0;
    for (int i = 0; i < 16 * kRows; ++i) {
      for (int j = 0; j < 16 * kColumns; ++j) {
        double sum = 1 + i % 2 * 4 + j % 4;
        for (int k = 0; k < kDepth; ++k) {
          const double a = left.hi[i * kDepth + k], b = right.hi[j * kDepth + k];
          const double a_lo = left.lo[i * kDepth + k], b_lo = right.lo[j * kDepth + k];
          sum += a * b + (kWithLo ? a * b_lo + a_lo * b : 0);
          lows += std::abs(a_lo) + std::abs(b_lo);
        }
        want.push_back(static_cast<float>(sum));
        ASSERT_EQ(want.back(), sum);
      }
    }
    ASSERT_GT(lows, 0);
    EXPECT_TRUE(same_bits(
        run(product_kernel<kLeftAlong, kRightAlong, kWithLo>, std::ssize(want), left.words, right.words), want))
        << "along " << kLeftAlong << kRightAlong << " with lo " << kWithLo;
  };
  check.operator()<false, false, false>();
  check.operator()<false, false, true>();
  check.operator()<false, true, true>();
  check.operator()<true, false, false>();
  check.operator()<true, false, true>();
  check.operator()<true, true, true>();
}

}  // namespace
}  // namespace scalelab::test
