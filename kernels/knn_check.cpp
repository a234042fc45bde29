#include "kernels/knn_check.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace scalelab {

namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

void check_counts(const char* op, View<std::int64_t> counts) {
  const std::int64_t classes = counts.extent(0);
  if (counts.rank() == 2 && counts.extent(1) == classes && classes >= 1 && classes <= 256) return;
  refuse(std::string(op) + ": counts must be (classes, classes) with classes 1 .. 256, got (" +
         std::to_string(classes) + ", " + std::to_string(counts.extent(1)) + ")");
}

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
  if (n > std::numeric_limits<int>::max()) {
    refuse("knn: more than 2^31 - 1 references: split them and merge the results");
  }
  if (q > std::numeric_limits<int>::max()) refuse("knn: more than 2^31 - 1 queries: ask for them in parts");
  if (!distances.empty() && (distances.rank() != 2 || distances.extent(0) != q || distances.extent(1) != k)) {
    refuse("knn: distances must have the shape of indices, (" + std::to_string(q) + ", " + std::to_string(k) +
           "), or be an empty view, which leaves them out");
  }
}

void check_knn_merge(View<const int> indices, View<const float> distances, std::int64_t first, View<int> merged_indices,
                     View<float> merged_distances) {
  const std::int64_t q = indices.extent(0), k = indices.extent(1);
  const auto fits = [&](const auto& view) { return view.rank() == 2 && view.extent(0) == q && view.extent(1) == k; };
  if (!fits(indices) || !fits(distances) || !fits(merged_indices) || !fits(merged_distances)) {
    refuse("knn_merge: all four arrays must have one shape (q, k), that of indices, (" + std::to_string(q) + ", " +
           std::to_string(k) + ")");
  }
  if (k < 1 || k > kMaxNeighbours) {
    refuse("knn_merge: k = " + std::to_string(k) + " is outside 1 .. " + std::to_string(kMaxNeighbours));
  }
  if (first < 0) refuse("knn_merge: first = " + std::to_string(first) + " is negative");
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

void check_reference_labels(const char* op, View<const float> references, View<const std::uint8_t> labels) {
  if (labels.size() == references.extent(0)) return;
  refuse(std::string(op) + ": " + std::to_string(labels.size()) + " labels were given for " +
         std::to_string(references.extent(0)) + " references: give one for each");
}

void check_label_confusion(View<const std::uint8_t> a, View<const std::uint8_t> b, View<std::int64_t> counts) {
  if (a.size() != b.size()) {
    refuse("label_confusion: " + std::to_string(a.size()) + " labels were given against " + std::to_string(b.size()) +
           ": both must be of one length");
  }
  check_counts("label_confusion", counts);
}

void check_grid_confusion(const GridModel& a, const GridModel& b, const Grid& grid, std::int64_t row_begin,
                          std::int64_t rows, View<std::int64_t> counts) {
  const char* op = "grid_confusion";
  check_band(op, grid, row_begin, rows, grid.size);
  check_counts(op, counts);
  for (const GridModel* model : {&a, &b}) {
    if (model->k != 0) {
      check_neighbours(op, model->references, model->k);
      check_reference_labels(op, model->references, model->labels);
    } else if (!model->references.empty()) {
      refuse(std::string(op) + ": k = 0 means the true spiral, and references were given: give k or no references");
    } else if (counts.extent(0) < 2) {
      refuse(std::string(op) + ": the true spiral has two classes, and counts only one");
    }
  }
}

void check_pack_labels(View<const std::uint8_t> labels, View<std::uint8_t> bits) {
  const std::int64_t rows = labels.extent(0), columns = labels.extent(1), bytes = (columns + 7) / 8;
  if (labels.rank() == 2 && bits.rank() == 2 && bits.extent(0) == rows && bits.extent(1) == bytes) return;
  refuse("pack_labels: labels (rows, columns) = (" + std::to_string(rows) + ", " + std::to_string(columns) +
         ") need bits of shape (" + std::to_string(rows) + ", " + std::to_string(bytes) + "), got (" +
         std::to_string(bits.extent(0)) + ", " + std::to_string(bits.extent(1)) + ")");
}

}  // namespace scalelab
