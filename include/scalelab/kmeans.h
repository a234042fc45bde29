// kmeans: exact assignment, k-means++ starts and Lloyd's iterations, the same bits on every backend.
//
// Distances are the canonical fp32 distance of knn.h; of equal distances the lower centroid index wins.
// Totals are integers, so that no order of summation, thread count, tile or device can change them: with
// e = the smallest exponent such that every |coordinate| < 2^e, and b = ceil(log2 n), a coordinate x counts as the
// integer rint(x * 2^(61 - b - e)) (round to even), summed in 64 bits. A centroid is
// float(double(total) / double(count) * 2^-(61 - b - e)). Rounding a coordinate so moves it by less than
// 2^(b - 62) of the largest: nothing that fp32 could hold. Totals cannot saturate.
#pragma once

#include <cstdint>

#include "scalelab/view.h"

namespace scalelab {

class Context;

// The nearest centroid of every point.
// Throws std::invalid_argument on shapes that do not fit, k < 1 or n > 2^31 - 1. n = 0 writes nothing. Coordinates
// must be finite. Deterministic.
using KmeansAssign = void(View<const float> points,     // (n, d)
                          View<const float> centroids,  // (k, d)
                          View<int> labels,             // (n) out
                          View<float> distances,        // (n) out, squared; may be empty: then not written
                          Context&);

// k-means++ seeding: the first centroid uniformly, each next with probability proportional to the squared distance to
// the nearest chosen one, counted as the integer rint(distance * 2^s), s the largest with n * max(distance) * 2^s <
// 2^62 in the first round. When every distance counts as zero the lowest index not yet chosen is taken.
// The draw for centroid j uses Philox(seed, Stream::kmeans, j). Throws when k < 1 or k > n. Deterministic.
using KmeansPlusPlus = void(View<const float> points,  // (n, d)
                            std::uint64_t seed,
                            View<float> centroids,  // (k, d) out
                            Context&);

struct KmeansOptions {
  int max_iterations = 300;
  // Stop when the centroids' summed squared movement is at most this share of the points' mean variance per feature
  // (scikit-learn's rule). 0: only when no centroid moves at all.
  double tolerance = 1e-4;
};

struct KmeansResult {
  int iterations = 0;      // centroid updates made
  bool converged = false;  // false: stopped by max_iterations
  int repaired = 0;        // centroids that lost all points and were moved, summed over iterations
  double inertia = 0;      // sum over points of the squared distance to their centroid, in fp64 over blocks of 4096
                           // consecutive points, blocks added in order
};

// Lloyd's iterations from the centroids given. An empty cluster takes the point farthest from its centroid (ties: the
// lowest index; several empty clusters in index order take the next farthest), and its point leaves its old cluster.
// On return `labels` and the inertia belong to the centroids returned.
// Throws as KmeansAssign, and when k > n or max_iterations < 0. Returns when the work is done. Deterministic.
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
