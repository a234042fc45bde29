// kmeans_rows: assignment in any number of features. Scores (proposals.h) propose, canonical distances decide. Where
// bounds from bytes (byte_bounds.h) pay, they come first: a score is computed only for a centroid whose lower bound is
// not above the limit below, taken of the least score so far.
//
// If b has the least score, D = |x - m|^2 + 2 (score of b + e), and another's score is above b's by more than
// 2 e + g D, then its *computed canonical* distance is above b's: it is not nearest, not even by a tie. All others are
// candidates, and where there is more than one their canonical distances are compared.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cpu/byte_bounds.h"
#include "kernels/cpu/proposals.h"
#include "scalelab/view.h"

namespace scalelab::cpu {

// Whether scores pay for what they need per point, and whether the bound holds for so many features. A score takes one
// operation a feature where a canonical distance takes two; a point takes some passes over its features and its scores
// besides, which only so many of both outweigh.
inline bool scores_pay(std::int64_t d, std::int64_t k) {
  return d >= 24 && d <= kMostScoreFeatures && k >= 24 && d * k >= 4096;
}

// Whether bounds from bytes pay for rounding rows to bytes: fewer features do not fill a vector of 64 bytes.
inline bool bytes_pay(std::int64_t d, std::int64_t k) { return d >= 64 && d <= kMostByteFeatures && k >= 64; }

// What scores need, of points and of centroids.
struct Proposals {
  Scored centroids;           // h is infinite in lanes without a centroid
  std::vector<float> packed;  // (groups, d, lanes) -c'; 0 in lanes without a centroid
  std::vector<float> length;  // (n) |x| at most
  std::vector<float> spread;  // (n) |x - m|^2 at most
  // Empty without bounds from bytes:
  ByteRows byte_points;
  ByteGroups byte_centroids;
  std::vector<float> negative;  // (k, d) -c'
  // Pieces to come without such bounds, as they decided little; how many are skipped after the next such one.
  std::atomic<int> skip{0}, next_skip{1};
};

// How far above the least score, in float and rounded up, another's may be; NaN where nothing can be said.
inline float score_limit(float least, float length, float spread, std::int64_t d, const Scored& scored) {
  const double e = score_error(length, d, scored), distance = std::fmax(0.0, spread + 2 * (least + e));
  if (!(std::isfinite(e) && distance < 1e37)) return NAN;
  return rounded_up(least + 2 * e + distance_share(d) * distance + underflow_of(d));
}

}  // namespace scalelab::cpu
