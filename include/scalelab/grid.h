// grid: what a model says at the centre of every cell of a large square grid, without holding the grid's coordinates.
#pragma once

#include <cstdint>

#include "scalelab/mlp.h"
#include "scalelab/spiral.h"
#include "scalelab/view.h"

namespace scalelab {

class Context;

// G x G cells over a rectangle; row 0 lies at the smallest y. The centre of cell (row, column) is, in fp32,
// x = fma(column + 0.5, step_x, x_min), y = fma(row + 0.5, step_y, y_min): a cell's bits depend on nothing else.
struct Grid {
  std::int64_t size = 1024;  // G, 1 .. kMaxGrid
  float x_min = -1, x_max = 1;
  float y_min = -1, y_max = 1;

  SCALELAB_HD float step_x() const { return (x_max - x_min) / static_cast<float>(size); }
  SCALELAB_HD float step_y() const { return (y_max - y_min) / static_cast<float>(size); }
};

inline constexpr std::int64_t kMaxGrid = 65536;  // a map of labels is then 4 GiB

// Every op below works on a band of rows, [row_begin, row_begin + rows), and takes `rows` from its output, so that a
// map larger than memory is made in bands; the bands of a grid join without a seam, bit for bit.
// They throw std::invalid_argument when the band leaves the grid, the size is outside 1 .. kMaxGrid or the rectangle
// is empty or not finite, and return as ops do: after queueing the work (the CPU: after finishing it). Deterministic.

// The k nearest references of every cell centre; promise, order and limits of Knn (knn.h), d = 2.
using GridKnn = void(View<const float> references,  // (n, 2)
                     const Grid& grid, std::int64_t row_begin,
                     View<int> indices,      // (rows, G, k) out
                     View<float> distances,  // (rows, G, k) out, squared; may be empty: then not written
                     Context&);

// The label that most of the k nearest references carry; of labels with equally many, the smallest.
// The neighbours are those of Knn, so that the labels are the same bits on every backend.
using GridKnnLabels = void(View<const float> references,               // (n, 2)
                           View<const std::uint8_t> reference_labels,  // (n)
                           int k, const Grid& grid, std::int64_t row_begin,
                           View<std::uint8_t> labels,  // (rows, G) out
                           Context&);

// The class a network predicts (mlp.h, predicted class) for each of m networks of one shape with 2 raw inputs.
// A network's labels have the same bits alone or among many. Backends may differ where a score is within rounding of
// the boundary.
using GridMlpLabels = void(const MlpShape& shape,
                           View<const float> parameters,  // (m, p)
                           const Grid& grid, std::int64_t row_begin,
                           View<std::uint8_t> labels,  // (m, rows, G) out
                           Context&);

// The truth: 1 inside the spiral, 0 outside (spiral.h). The same bits on every backend.
using GridSpiralLabels = void(const Spiral& spiral, const Grid& grid, std::int64_t row_begin,
                              View<std::uint8_t> labels,  // (rows, G) out
                              Context&);

// How often label a meets label b: adds, for every i, one to counts(a[i], b[i]). Class areas stand in its margins, the
// disagreement of two maps off its diagonal. Throws when the lengths differ; labels of `classes` or above are
// undefined.
using LabelConfusion = void(View<const std::uint8_t> a,  // (any shape)
                            View<const std::uint8_t> b,  // (same number of elements)
                            View<std::int64_t> counts,   // (classes, classes) in and out, classes 1 .. 256
                            Context&);

// What gives every cell a label: the vote of the k nearest references (GridKnnLabels), or with k = 0 the truth
// (GridSpiralLabels), for which the references are left empty.
struct GridModel {
  View<const float> references;     // (n, 2)
  View<const std::uint8_t> labels;  // (n)
  int k = 0;
  Spiral spiral;
};

// LabelConfusion of two models' maps, without the maps: adds, for every cell of the band, one to counts(label under a,
// label under b). The memory it takes beside the models' own does not grow with the grid. The same bits on every
// backend. Throws as the two maps would and as LabelConfusion, and when the truth meets fewer than two classes.
using GridConfusion = void(const GridModel& a, const GridModel& b, const Grid& grid, std::int64_t row_begin,
                           std::int64_t rows,
                           View<std::int64_t> counts,  // (classes, classes) in and out, classes 1 .. 256
                           Context&);

// One bit a cell: bit j of byte i of a row is 1 where the label in column 8 i + j is not 0, and 0 beyond the last
// column. NumPy's packbits(labels, axis=1, bitorder="little"); unpackbits(bits, axis=1, count=columns,
// bitorder="little") gives the labels back. Throws when the shapes do not fit. No rows or no columns write nothing.
using PackLabels = void(View<const std::uint8_t> labels,  // (rows, columns)
                        View<std::uint8_t> bits,          // (rows, ceil(columns / 8)) out
                        Context&);

namespace cpu {
GridKnn grid_knn;
GridKnnLabels grid_knn_labels;
GridMlpLabels grid_mlp_labels;
GridSpiralLabels grid_spiral_labels;
LabelConfusion label_confusion;
GridConfusion grid_confusion;
PackLabels pack_labels;
}  // namespace cpu
namespace cuda {
GridKnn grid_knn;
GridKnnLabels grid_knn_labels;
GridMlpLabels grid_mlp_labels;
GridSpiralLabels grid_spiral_labels;
LabelConfusion label_confusion;
GridConfusion grid_confusion;
PackLabels pack_labels;
}  // namespace cuda

}  // namespace scalelab
