// proposals: which points may be near, by the expanded form of the squared distance. Scores propose in kNN and k-means in
// many features; canonical distances decide.
//
// With m any centre, c' = c - m: |x - c|^2 = |x - m|^2 + 2 score, score = h - x.c', h = |c'|^2 / 2 + m.c'. A score
// costs one multiply-add a feature where the distance costs two operations, but it rounds otherwise. With u = 2^-24,
// sums in chunks of kChunkFeatures and S = |x| |c'| + |c'|^2 / 2 + |m| |c'| at most over all c, a computed score is
// within e = (kChunkFeatures + chunks + 8) u S of the true one, and a canonical distance within the share g = (d + 8) u
// of the true one; underflow adds below (d + 8) 2^-147 to either. The constants below are a hundredth larger than that.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace scalelab::cpu {

// Those that x is held against are packed in groups of at most this many, one vector (of AVX-512) each.
inline constexpr std::int64_t kMaxLanes = 16;
// Points x whose scores (18 KB at most) are held while a panel passes by: a multiple of kPointsAtOnce, 4 or 6.
inline constexpr int kScoreRows = 72;
// Features of a panel (16 KB of them at most) that stay in the L1 cache while those points pass by.
inline constexpr std::int64_t kChunkFeatures = 64;
// Most features for which the bound holds: the share d u of itself that it leaves out stays below the hundredth.
inline constexpr std::int64_t kMostScoreFeatures = 100000;

// What scores need of all c.
struct Scored {
  std::vector<float> centre;          // (d) m; empty where nothing is scored
  std::vector<float> half;            // (c) h
  double longest = 0, most_half = 0;  // of any c: |c'|, and |c'|^2 / 2 + |m| |c'|
};

// Of a row x (d), in double precision.
struct Extents {
  double square, spread, product;  // |x|^2, |x - m|^2, m.(x - m)
};

// A little more than what a sum in double precision came to.
inline double slightly_above(double sum) { return sum * (1 + 0x1p-30); }

// A float above a number; NaN and infinity stay.
inline float rounded_up(double value) {
  const auto near = static_cast<float>(value);
  return near + (std::fabs(near) * 0x1p-22F + 0x1p-149F);
}

// g, and what underflow adds.
inline double distance_share(std::int64_t d) { return static_cast<double>(d + 8) * 0x1.03p-24; }
inline double underflow_of(std::int64_t d) { return static_cast<double>(d + 8) * 0x1p-146; }

// e of a row x of at most this length; NaN where it says nothing: numbers that may overflow.
inline double score_error(double length, std::int64_t d, const Scored& scored) {
  const double size = length * scored.longest + scored.most_half;
  const double chunks = std::ceil(static_cast<double>(d) / static_cast<double>(kChunkFeatures));
  if (!(size < 1e37)) return NAN;
  return (static_cast<double>(kChunkFeatures) + chunks + 8) * 0x1.03p-24 * size + underflow_of(d);
}

// h of c from its extents, and room for it in the bounds.
inline float add_half(const Extents& c, double centre_length, Scored& to) {
  const double length = slightly_above(std::sqrt(c.spread));
  to.longest = std::fmax(to.longest, length);
  to.most_half = std::fmax(to.most_half, (0.5 * length + centre_length) * length);
  return static_cast<float>(0.5 * c.spread + c.product);
}

}  // namespace scalelab::cpu
