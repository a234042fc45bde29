// kmeans_check: what the k-means ops require of their arguments, the same words on every backend.
#pragma once

#include <cstdint>

#include "scalelab/kmeans.h"

namespace scalelab {

// All throw std::invalid_argument with what was wrong. `n` rows of all ranks.
void check_kmeans_assign(View<const float> points, View<const float> centroids, View<int> labels,
                         View<float> distances);
void check_kmeans_plus_plus(View<const float> points, std::int64_t n, View<float> centroids);
void check_kmeans_fit(View<const float> points, std::int64_t n, View<float> centroids, View<int> labels,
                      const KmeansOptions& options);

}  // namespace scalelab
