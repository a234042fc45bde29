// knn_check: what the nearest-neighbour and grid ops require of their arguments, the same words on every backend.
#pragma once

#include <cstdint>

#include "scalelab/grid.h"
#include "scalelab/knn.h"

namespace scalelab {

// All throw std::invalid_argument with what was wrong and what to do. `op` names the op in the message.
void check_knn(View<const float> references, View<const float> queries, View<int> indices, View<float> distances);
// The grid, and the band against an output of shape (rows, G, ...); returns the rows.
std::int64_t check_band(const char* op, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                        std::int64_t columns);
// k neighbours among references of shape (n, 2).
void check_neighbours(const char* op, View<const float> references, std::int64_t k);

}  // namespace scalelab
