// knn_check: what the nearest-neighbour and grid ops require of their arguments, the same words on every backend.
#pragma once

#include <cstdint>

#include "scalelab/grid.h"
#include "scalelab/knn.h"

namespace scalelab {

// All throw std::invalid_argument with what was wrong and what to do. `op` names the op in the message.
void check_knn(View<const float> references, View<const float> queries, View<int> indices, View<float> distances);
void check_knn_merge(View<const int> indices, View<const float> distances, std::int64_t first, View<int> merged_indices,
                     View<float> merged_distances);
// The grid, and the band against an output of shape (rows, G, ...); returns the rows.
std::int64_t check_band(const char* op, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                        std::int64_t columns);
// k neighbours among references of shape (n, 2).
void check_neighbours(const char* op, View<const float> references, std::int64_t k);
void check_reference_labels(const char* op, View<const float> references, View<const std::uint8_t> labels);
void check_label_confusion(View<const std::uint8_t> a, View<const std::uint8_t> b, View<std::int64_t> counts);
void check_grid_confusion(const GridModel& a, const GridModel& b, const Grid& grid, std::int64_t row_begin,
                          std::int64_t rows, View<std::int64_t> counts);
void check_pack_labels(View<const std::uint8_t> labels, View<std::uint8_t> bits);

}  // namespace scalelab
