// work: how many of the pairs asked about the CPU's ops had to look at in full, for reports and tests; no part of an answer.
#pragma once

#include <cstdint>

namespace scalelab {

// Of the calls of an op in this process so far, in more than three features: pairs of two rows that were asked about, and
// those of which all features were needed; bounds settled the others. How many that are depends on the processor, and by
// little on which thread comes first.
struct PairWork {
  std::int64_t pairs = 0, full = 0;
};

namespace cpu {
PairWork kmeans_work();
PairWork knn_work();
}  // namespace cpu

// What has been added since.
inline PairWork operator-(const PairWork& now, const PairWork& before) {
  return {now.pairs - before.pairs, now.full - before.full};
}

}  // namespace scalelab
