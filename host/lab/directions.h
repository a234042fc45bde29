// directions: rows of which only the direction counts, scaled to length 1, and k-means of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scalelab/backend.h"
#include "scalelab/kmeans.h"

namespace scalelab::host {

// Scales rows (any, d) to length 1, in place: each value becomes float(value / length), the length summed and divided by
// in fp64. A row of zeros stays zero.
void scale_to_unit(std::span<float> rows, std::int64_t features);
std::vector<float> unit_rows(std::span<const float> rows, std::int64_t features);
// Squared distances of such rows, made 1 - cosine.
void make_one_minus_cosine(std::span<float> squared);

// Failure(kBadData) where one of the rows (any, d) is all zeros: the file, the row, counted on from `first`, and what
// else does without directions.
void require_directions(std::span<const float> rows, std::int64_t features, std::int64_t first, const std::string& file,
                        const std::string& instead);

// Spherical k-means of rows that have length 1, from centroids that have it: KmeansFit (kmeans.h), but that every iteration
// ends with centroids scaled to length 1, where a mean that has no direction leaves the centroid as it was, and that the
// inertia is the sum of 1 - cosine. Converged when the centroids' summed squared movement is at most the tolerance divided
// by d: 1/d is the rows' mean squared value.
// As there, all ranks call it, after_iteration may abandon it, and the bits are the same on every backend.
KmeansResult spherical_fit(View<const float> unit,  // (n, d)
                           View<float> centroids,   // (k, d) in: start; out: result
                           View<int> labels,        // (n) out
                           const KmeansOptions& options, Context& context);

}  // namespace scalelab::host
