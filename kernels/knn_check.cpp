#include "kernels/knn_check.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace scalelab {

namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

}  // namespace

void check_knn(View<const float> references, View<const float> queries, View<int> indices, View<float> distances) {
  const std::int64_t n = references.extent(0), d = references.extent(1), q = queries.extent(0), k = indices.extent(1);
  if (references.rank() != 2 || queries.rank() != 2 || indices.rank() != 2) {
    refuse("knn: references, queries and indices must have two axes: (n, d), (q, d) and (q, k)");
  }
  if (queries.extent(1) != d) {
    refuse("knn: references have " + std::to_string(d) + " features and queries " + std::to_string(queries.extent(1)) +
           ": both must have the same");
  }
  if (indices.extent(0) != q) {
    refuse("knn: indices have " + std::to_string(indices.extent(0)) + " rows for " + std::to_string(q) +
           " queries: give one row for each");
  }
  if (k < 1 || k > kMaxNeighbours) {
    refuse("knn: k = " + std::to_string(k) + " is outside 1 .. " + std::to_string(kMaxNeighbours));
  }
  if (k > n) {
    refuse("knn: k = " + std::to_string(k) + " neighbours were asked for and there are " + std::to_string(n) +
           " references: ask for fewer or give more");
  }
  if (n > std::numeric_limits<int>::max())
    refuse("knn: more than 2^31 - 1 references: split them and merge the results");
  if (!distances.empty() && (distances.rank() != 2 || distances.extent(0) != q || distances.extent(1) != k)) {
    refuse("knn: distances must have the shape of indices, (" + std::to_string(q) + ", " + std::to_string(k) +
           "), or be an empty view, which leaves them out");
  }
}

std::int64_t check_band(const char* op, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                        std::int64_t columns) {
  const std::string name = op;
  if (grid.size < 1 || grid.size > kMaxGrid) {
    refuse(name + ": grid size " + std::to_string(grid.size) + " is outside 1 .. " + std::to_string(kMaxGrid));
  }
  const auto interval = [](float low, float high) {
    return std::isfinite(low) && std::isfinite(high) && low < high && std::isfinite(high - low);
  };
  if (!interval(grid.x_min, grid.x_max) || !interval(grid.y_min, grid.y_max)) {
    refuse(name + ": the grid's rectangle x " + std::to_string(grid.x_min) + " .. " + std::to_string(grid.x_max) +
           ", y " + std::to_string(grid.y_min) + " .. " + std::to_string(grid.y_max) +
           " is empty or not finite: each minimum must lie below its maximum");
  }
  if (columns != grid.size) {
    refuse(name + ": the output has " + std::to_string(columns) + " columns and the grid " + std::to_string(grid.size) +
           ": give an output of shape (rows, G, ...)");
  }
  if (row_begin < 0 || rows < 0 || row_begin > grid.size - rows) {
    refuse(name + ": rows " + std::to_string(row_begin) + " .. " + std::to_string(row_begin + rows) +
           " leave the grid of " + std::to_string(grid.size) + " rows");
  }
  return rows;
}

void check_neighbours(const char* op, View<const float> references, std::int64_t k) {
  const std::string name = op;
  const std::int64_t n = references.extent(0);
  if (references.rank() != 2 || references.extent(1) != 2) {
    refuse(name + ": references must be of shape (n, 2), got " + std::to_string(references.extent(1)) + " columns");
  }
  if (k < 1 || k > kMaxNeighbours) {
    refuse(name + ": k = " + std::to_string(k) + " is outside 1 .. " + std::to_string(kMaxNeighbours));
  }
  if (k > n) {
    refuse(name + ": k = " + std::to_string(k) + " neighbours were asked for and there are " + std::to_string(n) +
           " references: ask for fewer or give more");
  }
  if (n > std::numeric_limits<int>::max()) refuse(name + ": more than 2^31 - 1 references");
}

}  // namespace scalelab
