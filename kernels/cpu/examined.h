// examined: how much searches have looked at, a measure of their work that no clock and no load changes. CPU only.
#pragma once

#include <atomic>
#include <cstdint>

namespace scalelab::cpu {

// Boxes and references looked at by all calls of knn and of the grid's ops so far, and for every vector of queries the
// length of its list. Each thread of a call adds its share at the call's end.
inline std::atomic<std::int64_t> references_examined{0};

// PairWork of all calls so far (scalelab/work.h).
struct PairCount {
  std::atomic<std::int64_t> pairs{0}, full{0};
};
inline PairCount kmeans_pairs, knn_pairs;

}  // namespace scalelab::cpu
