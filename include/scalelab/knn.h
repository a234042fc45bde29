// knn: the k nearest references of every query, exact.
#pragma once

#include <cstdint>

#include "scalelab/view.h"

namespace scalelab {

class Context;

// Most neighbours a query can ask for.
inline constexpr int kMaxNeighbours = 128;

// Most features at which points are sorted in space (trees, tiles), so that an op's work grows with n log n. Beyond it
// every pair is compared.
inline constexpr int kTreeFeatures = 3;

// For every query, the k references of smallest squared Euclidean distance.
//
// Arithmetic  the canonical distance, in fp32: s = 0; for c ascending: t = q[c] - p[c], s = fma(t, t, s). Every
//             backend and instruction set returns these bits.
// Order       ascending by (distance, index): of equal distances the lower index comes first.
// Throws      std::invalid_argument: n or q does not fit the outputs, d differs, k < 1, k > n, k > kMaxNeighbours,
//             n or q > 2^31 - 1.
// Undefined   coordinates must be finite, and squared distances must not overflow; checking them is the caller's.
// Empty       q = 0 writes nothing.
// Returns     after queueing the work (the CPU: after finishing it). Deterministic.
using Knn = void(View<const float> references,  // (n, d)
                 View<const float> queries,     // (q, d)
                 View<int> indices,             // (q, k) out
                 View<float> distances,         // (q, k) out, squared; may be empty: then not written
                 Context&);

// The neighbours among two sets of references, out of the neighbours among each: replaces every row by the k nearest of
// both rows, in the order of Knn. So references may come in pieces [0, n1), [n1, n2), ..., and the result is that of
// all of them at once, bit for bit.
//
// Throws      std::invalid_argument: shapes differ, k outside 1 .. kMaxNeighbours, first < 0.
// Undefined   rows must be as Knn leaves them; of two equal (distance, index) pairs both are kept. A sum of an index
//             and `first` beyond 2^31 - 1.
// Empty       q = 0 writes nothing.
// Returns     after queueing the work (the CPU: after finishing it). Deterministic.
using KnnMerge = void(View<const int> indices,      // (q, k), counted from reference `first`
                      View<const float> distances,  // (q, k)
                      std::int64_t first,
                      View<int> merged_indices,      // (q, k) in and out, counted from reference 0
                      View<float> merged_distances,  // (q, k) in and out
                      Context&);

namespace cpu {
Knn knn;
KnnMerge knn_merge;
}  // namespace cpu
namespace cuda {
Knn knn;
KnnMerge knn_merge;
}  // namespace cuda

}  // namespace scalelab
