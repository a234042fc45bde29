// scores: the scores of proposals.h, once per vector target: points in registers against vectors of those they are held
// against, a lane one of them. Included inside foreach_target; see kernels/README.md.
#if defined(SCALELAB_KERNELS_SCORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_SCORES_INL_H_
#undef SCALELAB_KERNELS_SCORES_INL_H_
#else
#define SCALELAB_KERNELS_SCORES_INL_H_
#endif

#include <bit>
#include <cstdint>

#include "kernels/cpu/proposals.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/distance.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

using ScoreTag = hn::CappedTag<float, kMaxLanes>;

// Points, and vectors of groups, in registers: 6 x 4 sums + 4 + 1 of 32 registers, or 4 x 2 sums + 2 + 1 of 16.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kPointsAtOnce = 6, kGroupsAtOnce = 4;
#else
constexpr int kPointsAtOnce = 4, kGroupsAtOnce = 2;
#endif

// Calls body(lane) for every lane of a mask, ascending.
template <class Mask, class Body>
HWY_INLINE void for_each_lane(Mask mask, Body&& body) {
  alignas(8) std::uint8_t bits[8] = {};  // as many as a mask may take
  hn::StoreMaskBits(ScoreTag(), mask, bits);
  for (unsigned left = bits[0] | unsigned{bits[1]} << 8U; left != 0; left &= left - 1) body(std::countr_zero(left));
}

// The extents of a row (d) about a centre.
inline Extents extents_of(const float* row, std::int64_t d, const float* centre) {
  const hn::CappedTag<double, 8> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(dd));
  auto square = hn::Zero(dd), spread = hn::Zero(dd), product = hn::Zero(dd);
  std::int64_t c = 0;
  for (; c + lanes <= d; c += lanes) {
    const auto x = hn::PromoteTo(dd, hn::LoadU(df, row + c)), m = hn::PromoteTo(dd, hn::LoadU(df, centre + c));
    const auto t = hn::Sub(x, m);
    square = hn::MulAdd(x, x, square);
    spread = hn::MulAdd(t, t, spread);
    product = hn::MulAdd(m, t, product);
  }
  const auto total = [&](auto v) { return hn::GetLane(hn::SumOfLanes(dd, v)); };
  Extents sum{total(square), total(spread), total(product)};
  for (; c < d; ++c) {
    const double x = row[c], m = centre[c], t = x - m;
    sum.square += x * x;
    sum.spread += t * t;
    sum.product += m * t;
  }
  return sum;
}

// scores (P, kGroupsAtOnce, lanes) of P points (P, d), and V groups (V, d, lanes) of -c', by features [begin, end):
// from h (V, lanes) on, or added to.
template <int P, int V>
HWY_INLINE void add_scores(const float* points, std::int64_t d, std::int64_t begin, std::int64_t end,
                           const float* groups, const float* half, float* scores) {
  const ScoreTag df;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  hn::Vec<ScoreTag> sums[P][V];
  for (int i = 0; i < P; ++i) {
    for (int v = 0; v < V; ++v) sums[i][v] = hn::Zero(df);
  }
  for (std::int64_t c = begin; c < end; ++c) {
    hn::Vec<ScoreTag> p[V];
    for (int v = 0; v < V; ++v) p[v] = hn::LoadU(df, groups + (v * d + c) * lanes);
    for (int i = 0; i < P; ++i) {
      const auto q = hn::Set(df, points[i * d + c]);
      for (int v = 0; v < V; ++v) sums[i][v] = fused(df, q, p[v], sums[i][v]);
    }
  }
  for (int i = 0; i < P; ++i) {
    for (int v = 0; v < V; ++v) {
      float* score = scores + (i * kGroupsAtOnce + v) * lanes;
      hn::StoreU(hn::Add(hn::LoadU(df, begin == 0 ? half + v * lanes : score), sums[i][v]), df, score);
    }
  }
}

// scores (rows, kGroupsAtOnce, lanes) of at most kScoreRows points and V groups.
template <int V>
HWY_INLINE void score_rows(const float* points, int rows, std::int64_t d, const float* groups, const float* half,
                           float* scores) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(ScoreTag()));
  for (std::int64_t begin = 0; begin < d; begin += kChunkFeatures) {
    const std::int64_t end = std::min(d, begin + kChunkFeatures);
    int row = 0;
    for (; row + kPointsAtOnce <= rows; row += kPointsAtOnce) {
      add_scores<kPointsAtOnce, V>(points + row * d, d, begin, end, groups, half, scores + row * kGroupsAtOnce * lanes);
    }
    for (; row < rows; ++row) {
      add_scores<1, V>(points + row * d, d, begin, end, groups, half, scores + row * kGroupsAtOnce * lanes);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
using Four = hn::FixedTag<float, 4>;

// Four rows of four become four columns.
HWY_INLINE void transpose(hn::Vec<Four> (&r)[4]) {
  const Four four;
  const hn::RepartitionToWide<Four> pairs;
  // 00 10 01 11, 20 30 21 31; 02 12 03 13, 22 32 23 33
  const auto a = hn::BitCast(pairs, hn::InterleaveLower(four, r[0], r[1]));
  const auto b = hn::BitCast(pairs, hn::InterleaveLower(four, r[2], r[3]));
  const auto c = hn::BitCast(pairs, hn::InterleaveUpper(four, r[0], r[1]));
  const auto e = hn::BitCast(pairs, hn::InterleaveUpper(four, r[2], r[3]));
  r[0] = hn::BitCast(four, hn::InterleaveLower(pairs, a, b));
  r[1] = hn::BitCast(four, hn::InterleaveUpper(pairs, a, b));
  r[2] = hn::BitCast(four, hn::InterleaveLower(pairs, c, e));
  r[3] = hn::BitCast(four, hn::InterleaveUpper(pairs, c, e));
}
#endif

// Pairs whose canonical distances are wanted, a few at a time, a lane each: chains hide each other's latency.
// `take(row, id, distance)` is called for each in the order they came.
template <class Take>
class Pairs {
 public:
  Pairs(std::int64_t d, Take take) : d_(d), take_(take) {}
  // The distance of x to p, both (d), which stay where they are until it is known.
  void add(int row, const float* x, int id, const float* p) {
    row_[count_] = row;
    id_[count_] = id;
    x_[count_] = x;
    p_[count_] = p;
    if (++count_ == kPairs) finish();
  }
  void finish() {
    if (count_ == 0) return;
    for (int i = count_; i < kPairs; ++i) {
      x_[i] = x_[0];
      p_[i] = p_[0];
    }
    float sums[kPairs] = {};
    std::int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
    const Four four;
    hn::Vec<Four> chain[kPairs / 4];
    for (auto& sum : chain) sum = hn::Zero(four);
    for (; c + 4 <= d_; c += 4) {
      for (int i = 0; i < kPairs; i += 4) {
        hn::Vec<Four> t[4];
        for (int j = 0; j < 4; ++j) t[j] = hn::Sub(hn::LoadU(four, x_[i + j] + c), hn::LoadU(four, p_[i + j] + c));
        transpose(t);
        for (int j = 0; j < 4; ++j) chain[i / 4] = fused(four, t[j], t[j], chain[i / 4]);
      }
    }
    for (int i = 0; i < kPairs; i += 4) hn::StoreU(chain[i / 4], four, sums + i);
#endif
    for (; c < d_; ++c) {
      for (int i = 0; i < kPairs; ++i) sums[i] = add_squared_difference(x_[i][c], p_[i][c], sums[i]);
    }
    for (int i = 0; i < count_; ++i) take_(row_[i], id_[i], sums[i]);
    count_ = 0;
  }

 private:
  static constexpr int kPairs = 8;  // two vectors of four: one is added to while the other waits for its sum
  std::int64_t d_;
  Take take_;
  int count_ = 0;
  int row_[kPairs], id_[kPairs];
  const float* x_[kPairs];
  const float* p_[kPairs];
};

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
