// kmeans: exact assignment, k-means++ starts and Lloyd's iterations, the same bits on every backend.
//
// Distances are the canonical fp32 distance of knn.h; of equal distances the lower centroid index wins. A distance that
// overflows is infinite, and is compared as such.
//
// Totals are integers, so that no order of summation, thread count, tile or device can change them. For each feature
// let e be the smallest integer such that every |coordinate| < 2^e (0 when all are zero), and b = ceil(log2 n); with
// s = min(61 - b, 50) - e, a coordinate x counts as the integer rint(x * 2^s) (round to even), and integers are summed
// in 64 bits. A centroid's coordinate is float(double(total) / double(count) * 2^-s). No total exceeds 2^61, so none
// can saturate, and a coordinate is moved by at most 2^(-s - 1): 2^-51 of 2^e up to n = 2048, 2^-31 of it at n = 2^31
// - 1.
//
// Ranks. Where a Context has ranks (communicator.h), KmeansPlusPlus and KmeansFit are called by all of them at once, each
// with rows of its own: `points` and `labels` are those rows, n above and below counts the rows of all ranks in the order
// of ranks, and all other arguments are the same. Centroids and the result are the same on every rank, and their bits and
// those of the labels do not depend on the number of ranks. A rank may have no rows; else its first row among all must be
// a multiple of kKmeansBlockRows. Throws RankLost when another rank has left. An iteration sums 8 k (d + 1) bytes over the
// ranks, one that fills empty clusters gathers 16 bytes for each of at most k + empty rows of a rank besides; a centroid
// of k-means++ gathers 8 bytes and broadcasts 4 d. KmeansAssign works alone.
#pragma once

#include <cstdint>
#include <functional>

#include "scalelab/view.h"

namespace scalelab {

class Context;

// The blocks of rows in which the inertia is summed.
inline constexpr std::int64_t kKmeansBlockRows = 4096;

// The nearest centroid of every point.
// Throws std::invalid_argument on shapes that do not fit, d < 1, k < 1, or n or k > 2^31 - 1. n = 0 writes nothing.
// Coordinates must be finite. Deterministic.
using KmeansAssign = void(View<const float> points,     // (n, d)
                          View<const float> centroids,  // (k, d)
                          View<int> labels,             // (n) out
                          View<float> distances,        // (n) out, squared; may be empty: then not written
                          Context&);

// k-means++ seeding: the first centroid uniformly, each next with probability proportional to the squared distance to
// the nearest chosen one. Exactly: with w = random_words(seed, Stream::kmeans, j) for centroid j,
//   centroid 0  is point uniform_below(n, w[0], w[1]);
//   centroid j  is the point of lowest index i for which weight(0) + ... + weight(i) > uniform_below(W, w[0], w[1]),
//               W the sum of all weights; when W is zero, the point of lowest index not yet chosen.
// A point's weight is its distance, the smallest to a chosen point, counted as the integer rint(distance * 2^s) where
// s = min(61 - b, 50) - e, b = ceil(log2 n) and e the smallest integer such that every distance is below 2^e (0 when all
// are zero). A distance that overflows counts as the largest float. s is set by the distances to centroid 0, and set
// anew before a draw at which W < 2^12 n and, but for the first time, 2 W is below the W that the last setting left: a
// row far from all others, once chosen, must not leave them weights of a few units.
// Throws std::invalid_argument on shapes that do not fit, k < 1, k > n or n > 2^31 - 1. Coordinates must be finite.
// Deterministic.
using KmeansPlusPlus = void(View<const float> points,  // (n, d)
                            std::uint64_t seed,
                            View<float> centroids,  // (k, d) out
                            Context&);

struct KmeansResult;

struct KmeansOptions {
  int max_iterations = 300;
  // Converged when the centroids' summed squared movement is at most this share of the points' mean variance per
  // feature (scikit-learn's rule). 0: only when no centroid moves at all. In fp64: a centroid's movement is s = 0; for
  // c ascending: t = new - old, s = fma(t, t, s); movements are added in index order. The mean variance is the inertia
  // (below) of all points about their one centroid, divided by n * d.
  double tolerance = 1e-4;
  // Called on every rank after each iteration, with the counts so far (without the inertia), while the op's centroids
  // hold what that iteration left. It may throw, on every rank alike, to abandon the op. A fit that begins with those
  // centroids, and with the iterations that are left, ends with the bits of one that was not interrupted.
  std::function<void(const KmeansResult& so_far)> after_iteration{};
};

struct KmeansResult {
  int iterations = 0;      // centroid updates made
  bool converged = false;  // false: stopped by max_iterations
  int repaired = 0;        // centroids that lost all points and were moved, summed over iterations
  // Sum over points of the squared distance to their centroid, in fp64: over blocks of kKmeansBlockRows consecutive points in
  // order, then over the blocks in order.
  double inertia = 0;
};

// Lloyd's iterations from the centroids given: assign, replace each centroid by the mean of its points, until
// converged. Empty clusters, in index order, each take the point farthest from its centroid (ties: the lowest index)
// among those not yet taken whose cluster still has another point; it leaves its old cluster before the means are
// formed. On return `labels` and the inertia belong to the centroids returned; with max_iterations = 0 those are the
// start. Progress is in iterations. Throws as KmeansAssign, and when k > n, max_iterations < 0 or the tolerance is
// negative or NaN. Returns when the work is done. Deterministic.
using KmeansFit = KmeansResult(View<const float> points,  // (n, d)
                               View<float> centroids,     // (k, d) in: start; out: result
                               View<int> labels,          // (n) out
                               const KmeansOptions& options, Context&);

namespace cpu {
KmeansAssign kmeans_assign;
KmeansPlusPlus kmeans_plus_plus;
KmeansFit kmeans_fit;
}  // namespace cpu
namespace cuda {
KmeansAssign kmeans_assign;
KmeansPlusPlus kmeans_plus_plus;
KmeansFit kmeans_fit;
}  // namespace cuda

}  // namespace scalelab
