// byte_bounds: the lower bounds of byte_bounds.h, once per vector target. Included inside foreach_target; see
// kernels/README.md.
#if defined(SCALELAB_KERNELS_BYTE_BOUNDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_BYTE_BOUNDS_INL_H_
#undef SCALELAB_KERNELS_BYTE_BOUNDS_INL_H_
#else
#define SCALELAB_KERNELS_BYTE_BOUNDS_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/cpu/byte_bounds.h"
#include "kernels/cpu/proposals-inl.h"
#include "kernels/cpu/simd-inl.h"

// Products of bytes in the lanes of AVX-512 came after AVX-512 itself, and Highway has no vector target for them alone.
#undef SCALELAB_BYTE_PRODUCTS
#if HWY_TARGET == HWY_AVX3 && HWY_COMPILER_GCC
#define SCALELAB_BYTE_PRODUCTS 1
#else
#define SCALELAB_BYTE_PRODUCTS 0
#endif

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// Whether bounds from bytes are to be had here.
inline bool multiplies_bytes() { return SCALELAB_BYTE_PRODUCTS && has_byte_products(); }

#if SCALELAB_BYTE_PRODUCTS

// Panels of so many groups, for so many rows at once: 6 x 4 sums + 4 + 1 of 32 registers.
constexpr int kByteGroups = 4, kByteRows = 6;
// Bytes of a row that are multiplied with a panel (16 KB of it) while it stays in the L1 cache.
constexpr std::int64_t kByteChunk = 256;

// Rounds y = x - centre of a row x (d) to bytes (byte_width): in double precision, in which y and r have errors of
// 2^-53 of themselves.
inline ByteRow round_to_bytes(const float* x, const float* centre, std::int64_t d, std::int8_t* bytes) {
  const hn::CappedTag<double, 8> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const hn::Rebind<std::int32_t, decltype(dd)> di;
  const hn::Rebind<std::int8_t, decltype(dd)> d8;
  constexpr std::int64_t kStep = 8;  // doubles of the widest vector
  alignas(64) float tail_x[kStep] = {}, tail_m[kStep] = {};
  const std::int64_t whole = d / kStep * kStep;
  std::copy(x + whole, x + d, tail_x);
  std::copy(centre + whole, centre + d, tail_m);
  const auto for_all = [&](auto&& body) HWY_ATTR {
    for (std::int64_t c = 0; c < whole; c += kStep) body(c, x + c, centre + c);
    if (whole < d) body(whole, tail_x, tail_m);
  };
  auto most = hn::Zero(df);
  for_all([&](std::int64_t, const float* a, const float* b)
              HWY_ATTR { most = hn::Max(most, hn::Abs(hn::Sub(hn::LoadU(df, a), hn::LoadU(df, b)))); });
  ByteRow row;
  row.scale = hn::GetLane(hn::MaxOfLanes(df, most)) / static_cast<float>(kMostByte);
  if (!(row.scale >= kLeastScale)) row.scale = 0;
  const auto scale = hn::Set(dd, static_cast<double>(row.scale));
  const auto per_unit = hn::Set(df, row.scale == 0 ? 0 : 1 / row.scale);
  const auto limit = hn::Set(di, kMostByte);
  auto square = hn::Zero(dd), rest = hn::Zero(dd), all = hn::Zero(dd);
  auto sum = hn::Zero(di);
  const std::int64_t width = byte_width(d);
  for_all([&](std::int64_t c, const float* a, const float* b) HWY_ATTR {
    const auto x4 = hn::LoadU(df, a), m4 = hn::LoadU(df, b);
    auto q = hn::NearestInt(hn::Mul(hn::Sub(x4, m4), per_unit));
    q = hn::Max(hn::Min(q, limit), hn::Neg(limit));
    const auto y = hn::Sub(hn::PromoteTo(dd, x4), hn::PromoteTo(dd, m4));
    const auto near = hn::Mul(scale, hn::PromoteTo(dd, q));
    const auto r = hn::Sub(y, near);
    square = hn::MulAdd(near, near, square);
    rest = hn::MulAdd(r, r, rest);
    all = hn::MulAdd(y, y, all);
    sum = hn::Add(sum, q);
    alignas(16) std::int8_t lanes[kStep];
    hn::StoreU(hn::DemoteTo(d8, q), d8, lanes);
    std::copy_n(lanes, std::min(kStep, width - c), bytes + c);
  });
  const auto total = [&](auto v) HWY_ATTR { return hn::GetLane(hn::SumOfLanes(dd, v)); };
  const double length = slightly_above(std::sqrt(total(all)));
  row.length = rounded_up(slightly_above(std::sqrt(total(square))));
  row.rest = rounded_up(slightly_above(std::sqrt(total(rest))) + length * 0x1p-50);
  row.offset = -128 * hn::GetLane(hn::SumOfLanes(di, sum));
  return row;
}

// Rows (rows, d) of all x from `first` on.
inline void round_rows_to_bytes(const float* points, std::int64_t first, std::int64_t rows, std::int64_t d,
                                const float* centre, ByteRows& rounded) {
  const std::int64_t width = byte_width(d);
  for (std::int64_t i = 0; i < rows; ++i) {
    rounded.rows[static_cast<std::size_t>(first + i)] =
        round_to_bytes(points + i * d, centre, d, &rounded.bytes[static_cast<std::size_t>((first + i) * width)]);
  }
}

// Rows [begin, end) of c (k, d), of groups made for k of them.
inline void round_groups_to_bytes(const float* rows, std::int64_t begin, std::int64_t end, std::int64_t d,
                                  const float* centre, ByteGroups& rounded) {
  const std::int64_t width = byte_width(d);
  std::vector<std::int8_t> bytes(static_cast<std::size_t>(width));
  for (std::int64_t j = begin; j < end; ++j) {
    const float* c = rows + j * d;
    const ByteRow row = round_to_bytes(c, centre, d, bytes.data());
    const double square = extents_of(c, d, centre).spread;
    const auto at = static_cast<std::size_t>(j);
    rounded.half[at] = static_cast<float>(0.5 * square);
    rounded.scale[at] = row.scale;
    rounded.length[at] = rounded_up(slightly_above(std::sqrt(square)));
    rounded.rest[at] = row.rest;
    std::uint8_t* to = rounded.bytes.data() + (j / kMaxLanes * width) * kMaxLanes + j % kMaxLanes * kByteStep;
    for (std::int64_t b = 0; b < width; b += kByteStep) {
      std::uint32_t four;
      std::memcpy(&four, bytes.data() + b, sizeof four);
      four ^= 0x80808080U;  // q + 128 in each
      std::memcpy(to + b * kMaxLanes, &four, sizeof four);
    }
  }
}

// A vector that aliases nothing: arrays of it stay in registers, as those of __m512i do not.
using Sums = std::int32_t __attribute__((vector_size(64)));

// sum + (of every four bytes: p.q, p without a sign and q with one).
HWY_INLINE Sums add_products(Sums sum, Sums p, Sums q) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(p), "v"(q));
  return sum;
}

// sums (R, kByteGroups, kMaxLanes) of q.p: of R rows of bytes, and groups, by bytes [begin, end): from the rows'
// offsets on, or added to.
template <int R, int V>
HWY_NOINLINE void add_byte_products(const std::int8_t* bytes, const ByteRow* rows, std::int64_t width,
                                    std::int64_t begin, std::int64_t end, const std::uint8_t* groups,
                                    std::int32_t* sums) {
  Sums sum[R][V];
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) sum[i][v] = Sums{};
  }
  for (std::int64_t b = begin; b < end; b += kByteStep) {
    Sums p[V];
    for (int v = 0; v < V; ++v) std::memcpy(&p[v], groups + (v * width + b) * kMaxLanes, sizeof p[v]);
    for (int i = 0; i < R; ++i) {
      std::int32_t four;
      std::memcpy(&four, bytes + i * width + b, sizeof four);
      const Sums q = Sums{} + four;
      for (int v = 0; v < V; ++v) sum[i][v] = add_products(sum[i][v], p[v], q);
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) {
      std::int32_t* to = sums + (i * kByteGroups + v) * kMaxLanes;
      Sums before = Sums{} + rows[i].offset;
      if (begin > 0) std::memcpy(&before, to, sizeof before);
      before += sum[i][v];
      std::memcpy(to, &before, sizeof before);
    }
  }
}

// sums (rows, kByteGroups, kMaxLanes) of q.p, of at most kScoreRows rows and V groups.
template <int V>
HWY_INLINE void byte_products(const std::int8_t* bytes, const ByteRow* rounded, int rows, std::int64_t width,
                              const std::uint8_t* groups, std::int32_t* sums) {
  constexpr std::int64_t kOfRow = kByteGroups * kMaxLanes;
  for (std::int64_t begin = 0; begin < width; begin += kByteChunk) {
    const std::int64_t end = std::min(width, begin + kByteChunk);
    int row = 0;
    for (; row + kByteRows <= rows; row += kByteRows) {
      add_byte_products<kByteRows, V>(bytes + row * width, rounded + row, width, begin, end, groups,
                                      sums + row * kOfRow);
    }
    for (; row < rows; ++row) {
      add_byte_products<1, V>(bytes + row * width, rounded + row, width, begin, end, groups, sums + row * kOfRow);
    }
  }
}

// The lower bound of the score of one row x, of its sums with a group of c.
HWY_INLINE hn::Vec<ScoreTag> lower_scores(const ByteRow& x, const std::int32_t* sums, const ByteGroups& references,
                                          std::int64_t group) {
  const ScoreTag df;
  const hn::RebindToSigned<ScoreTag> di;
  const auto at = static_cast<std::size_t>(group * kMaxLanes);
  const auto product = hn::Mul(hn::ConvertTo(df, hn::Load(di, sums)), hn::LoadU(df, &references.scale[at]));
  auto lower = fused(df, hn::Set(df, -x.scale), product, hn::LoadU(df, &references.half[at]));
  lower = fused(df, hn::Set(df, -x.length), hn::LoadU(df, &references.rest[at]), lower);
  return fused(df, hn::Set(df, -x.rest), hn::LoadU(df, &references.length[at]), lower);
}

// lower (rows, kByteGroups, kMaxLanes): the lower bounds of the scores of at most kScoreRows rows x, given their bytes,
// and groups [group, group + groups) of c, infinite behind them. `sums`, of the same shape, are scratch.
inline void lower_panel(const std::int8_t* bytes, const ByteRow* rows, int count, std::int64_t width,
                        const ByteGroups& references, std::int64_t group, std::int64_t groups, std::int32_t* sums,
                        float* lower) {
  const ScoreTag df;
  const std::uint8_t* at = references.bytes.data() + group * width * kMaxLanes;
  switch (groups) {
    case 1: byte_products<1>(bytes, rows, count, width, at, sums); break;
    case 2: byte_products<2>(bytes, rows, count, width, at, sums); break;
    case 3: byte_products<3>(bytes, rows, count, width, at, sums); break;
    default: byte_products<kByteGroups>(bytes, rows, count, width, at, sums); break;
  }
  for (int i = 0; i < count; ++i) {
    for (std::int64_t v = 0; v < kByteGroups; ++v) {
      const std::int64_t place = (i * kByteGroups + v) * kMaxLanes;
      const auto bound = v < groups ? lower_scores(rows[i], sums + place, references, group + v)
                                    : hn::Set(df, std::numeric_limits<float>::infinity());
      hn::Store(bound, df, lower + place);
    }
  }
}

// The score of x and -c', both (d), h of c given: within score_error too, as no term passes through more than
// kScoreChunk / 8 sums of a chunk, a dozen between lanes, and one of each chunk.
inline float score_of(const float* x, const float* negative, float half, std::int64_t d) {
  // Chunks bound how many roundings a term passes through; four sums hide an addition's latency.
  constexpr std::int64_t kScoreChunk = 512, kSums = 4;
  const ScoreTag df;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  float score = half;
  for (std::int64_t begin = 0; begin < d; begin += kScoreChunk) {
    const std::int64_t end = std::min(d, begin + kScoreChunk);
    hn::Vec<ScoreTag> sum[kSums];
    for (auto& s : sum) s = hn::Zero(df);
    std::int64_t c = begin;
    for (; c + kSums * lanes <= end; c += kSums * lanes) {
      for (std::int64_t i = 0; i < kSums; ++i) {
        sum[i] = fused(df, hn::LoadU(df, x + c + i * lanes), hn::LoadU(df, negative + c + i * lanes), sum[i]);
      }
    }
    for (; c + lanes <= end; c += lanes) sum[0] = fused(df, hn::LoadU(df, x + c), hn::LoadU(df, negative + c), sum[0]);
    float rest = 0;
    for (; c < end; ++c) rest = std::fma(x[c], negative[c], rest);
    score += hn::GetLane(hn::SumOfLanes(df, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])))) + rest;
  }
  return score;
}

#else  // nothing of this is called

constexpr int kByteGroups = kGroupsAtOnce;
inline void round_rows_to_bytes(const float*, std::int64_t, std::int64_t, std::int64_t, const float*, ByteRows&) {}
inline void round_groups_to_bytes(const float*, std::int64_t, std::int64_t, std::int64_t, const float*, ByteGroups&) {}
inline void lower_panel(const std::int8_t*, const ByteRow*, int count, std::int64_t, const ByteGroups&, std::int64_t,
                        std::int64_t, std::int32_t*, float* lower) {
  std::fill_n(lower, count * kByteGroups * kMaxLanes, -std::numeric_limits<float>::infinity());
}
inline float score_of(const float*, const float*, float, std::int64_t) { return 0; }

#endif

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
