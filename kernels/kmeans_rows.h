// kmeans_rows: assignment in any number of features. Scores by the expanded form propose, canonical distances decide.
//
// The bound. With m any centre, c' = c - m: |x - c|^2 = |x - m|^2 + 2 score, score = h - x.c', h = |c'|^2 / 2 + m.c'.
// A score costs one multiply-add a feature where the distance costs two operations, but it rounds otherwise. With
// u = 2^-24, sums in chunks of kChunkFeatures and S = |x| |c'| + |c'|^2 / 2 + |m| |c'| at most over all centroids, a
// computed score is within e = (kChunkFeatures + chunks + 8) u S of the true one, and a canonical distance within the
// share g = (d + 8) u of the true one (and what underflow adds: below 2^-147 an operation). So if b has the least
// score, D = |x - m|^2 + 2 (score of b + e), and another's score is above b's by more than 2 e + g D, then its
// *computed canonical* distance is above b's: it is not nearest, not even by a tie. All others are candidates, and
// where there is more than one their canonical distances are compared. The constants below are a hundredth larger than
// that.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "scalelab/view.h"

namespace scalelab::cpu {

// Centroids are packed in groups of at most this many, one vector each; buffers are sized for whole groups.
inline constexpr std::int64_t kMaxLanes = 16;
// Points whose scores are held while all centroids pass by, a panel at a time: a multiple of the points in registers.
inline constexpr int kAssignRows = 72;
// Features of a panel that stay in the L1 cache while those points pass by.
inline constexpr std::int64_t kChunkFeatures = 64;
// Whether scores pay for what they need per point, and whether the bound holds for so many features.
inline bool scores_pay(std::int64_t d, std::int64_t k) { return d >= 24 && d <= 100000 && k >= 24 && d * k >= 4096; }

// What scores need, of points and of centroids.
struct Proposals {
  std::vector<float> centre;          // (d) m; empty where nothing is proposed
  std::vector<float> length;          // (n) |x| at most
  std::vector<float> spread;          // (n) |x - m|^2 at most
  std::vector<float> packed;          // (groups, d, lanes) -c'; 0 in lanes without a centroid
  std::vector<float> half;            // (groups * lanes) h; infinite in lanes without a centroid
  double longest = 0, most_half = 0;  // of any centroid: |c'|, and |c'|^2 / 2 + |m| |c'|
};

// A float above a number; NaN and infinity stay.
inline float rounded_up(double value) {
  const auto near = static_cast<float>(value);
  return near + (std::fabs(near) * 0x1p-22F + 0x1p-149F);
}

// How far above the least score, in float and rounded up, another's may be; NaN or infinite where the bound says
// nothing: numbers that may overflow.
inline float score_limit(float least, float length, float spread, std::int64_t d, const Proposals& of) {
  constexpr double u = 0x1.03p-24, tiny = 0x1p-146;
  const auto features = static_cast<double>(d);
  const double size = length * of.longest + of.most_half;
  const double chunks = std::ceil(features / static_cast<double>(kChunkFeatures));
  const double e = (static_cast<double>(kChunkFeatures) + chunks + 8) * u * size + (features + 8) * tiny;
  const double distance = std::fmax(0.0, spread + 2 * (least + e));
  if (!(size < 1e37 && distance < 1e37)) return NAN;
  const double limit = least + 2 * e + (features + 8) * u * distance + (features + 8) * tiny;
  return rounded_up(limit);
}

}  // namespace scalelab::cpu
