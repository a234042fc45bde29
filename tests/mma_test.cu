// mma: numbers in two parts, every fragment of the tensor-core instruction, and a warp's products, against plain
// products. Factors are small integers and sixty-fourths, so that every sum is exact in whatever order a device adds.
#include "kernels/cuda/mma.cuh"

#include <cmath>
#include <cstring>
#include <type_traits>

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

// --- products of split numbers ---------------------------------------------------------------------------------------

constexpr int kRows = 2, kColumns = 3, kDepth = 48, kStride = 68, kFloats = 64 * kStride;

// (32, 48) by (48, 48): split factors, rows kStride apart, the depth along rows or across them.
template <class Format, bool kLeftAlong, bool kRightAlong, bool kWithLo>
__global__ void product_kernel(const float* left, const float* right, float* product) {
  __shared__ __align__(16) float on_chip[2][kFloats];
  for (int i = static_cast<int>(threadIdx.x); i < kFloats; i += kWarp) {
    on_chip[0][i] = left[i];
    on_chip[1][i] = right[i];
  }
  __syncwarp();
  ProductTile<Format> tiles[kRows][kColumns];
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) tiles[m][n].begin(make_float4(1, 2, 3, 4), make_float4(5, 6, 7, 8));
  }
  multiply_split<kLeftAlong, kRightAlong>(tiles, Format{on_chip[0], kStride, kLeftAlong ? kDepth : 16 * kRows}, 0,
                                          Format{on_chip[1], kStride, kRightAlong ? kDepth : 16 * kColumns}, 0, kDepth,
                                          kWithLo);
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) {
      for (int i = 0; i < 2; ++i) {
        const float4 row = tiles[m][n].row(i);
        float* const to =
            product + (16 * m + Format::row() + i * Format::kRowStep) * 16 * kColumns + 16 * n + Format::column();
        to[0] = row.x;
        to[1] = row.y;
        to[Format::kGap] = row.z;
        to[Format::kGap + 1] = row.w;
      }
    }
  }
}

// A factor of `indices` by kDepth numbers as the kernel wants it, and its parts.
struct Factor {
  std::vector<float> numbers, hi, lo;
};
template <class Format>
Factor factor(int indices, std::uint64_t seed, bool along) {
  Factor f;
  const auto x = some_numbers(static_cast<std::size_t>(indices) * kDepth, seed, false);
  f.numbers.assign(kFloats, std::numeric_limits<float>::quiet_NaN());
  const int row_length = along ? kDepth : indices;
  for (int i = 0; i < indices; ++i) {
    for (int k = 0; k < kDepth; ++k) {
      const float hi = nearest_bf16(x[i * kDepth + k]), lo = nearest_bf16(x[i * kDepth + k] - hi);
      f.hi.push_back(hi);
      f.lo.push_back(lo);
      float* const row = f.numbers.data() + (along ? i : k) * kStride;
      const int column = along ? k : i;
      const auto hi_bits = std::bit_cast<std::uint32_t>(hi), lo_bits = std::bit_cast<std::uint32_t>(lo);
      if (std::is_same_v<Format, SplitWords>) {
        row[column] = std::bit_cast<float>(hi_bits | lo_bits >> 16);
      } else {
        const auto put = [&](int at, std::uint32_t bits) {
          const auto half = static_cast<std::uint16_t>(bits >> 16);
          std::memcpy(reinterpret_cast<char*>(row) + 2 * at, &half, 2);
        };
        put(column, hi_bits);
        put(row_length + column, lo_bits);
      }
    }
  }
  return f;
}

// What a product begins with at row i and column j: the lane's own rows and columns have 1 .. 4 and 5 .. 8.
template <class Format>
int begin_of(int i, int j) {
  return std::is_same_v<Format, SplitWords> ? 1 + i % 2 * 4 + j % 4 : 1 + i / 8 % 2 * 4 + j % 2 + j / 8 % 2 * 2;
}

TEST_F(Mma, ProductsOfSplitNumbersAlongAndAcross) {
  const auto check = [&]<class Format, bool kLeftAlong, bool kRightAlong, bool kWithLo>() {
    const Factor left = factor<Format>(16 * kRows, 1, kLeftAlong),
                 right = factor<Format>(16 * kColumns, 2, kRightAlong);
    std::vector<float> want;
    double lows = 0;
    for (int i = 0; i < 16 * kRows; ++i) {
      for (int j = 0; j < 16 * kColumns; ++j) {
        double sum = begin_of<Format>(i, j);
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
        run(product_kernel<Format, kLeftAlong, kRightAlong, kWithLo>, std::ssize(want), left.numbers, right.numbers),
        want))
        << "gap " << Format::kGap << " along " << kLeftAlong << kRightAlong << " with lo " << kWithLo;
  };
  const auto check_all = [&]<class Format>() {
    check.template operator()<Format, false, false, false>();
    check.template operator()<Format, false, false, true>();
    check.template operator()<Format, false, true, true>();
    check.template operator()<Format, true, false, false>();
    check.template operator()<Format, true, false, true>();
    check.template operator()<Format, true, true, true>();
  };
  check_all.operator()<SplitWords>();
  check_all.operator()<Halves>();
}

__global__ void halves_kernel(const float* x, float* out) {
  __shared__ __align__(16) float row[36];
  const int column = 2 * static_cast<int>(threadIdx.x);
  if (column < 32) Halves::put(row, 32, column, make_float2(x[column], x[column + 1]), true);
  __syncwarp();
  if (column >= 32) return;
  const float2 both = Halves::pair_at(row, 32, column, true), hi = Halves::pair_at(row, 32, column, false);
  out[2 * column] = both.x;
  out[2 * column + 1] = hi.x;
  out[2 * column + 2] = both.y;
  out[2 * column + 3] = hi.y;
}

TEST_F(Mma, HalvesGiveBackWhatWasPut) {
  const auto x = uniform_floats(32, 3), out = run(halves_kernel, 64, x);
  for (std::size_t i = 0; i < 32; ++i) {
    const float hi = nearest_bf16(x[i]);
    EXPECT_EQ(out[2 * i + 1], hi);
    EXPECT_EQ(out[2 * i], hi + nearest_bf16(x[i] - hi));
  }
}

}  // namespace
}  // namespace scalelab::test
