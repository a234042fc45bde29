// grid for networks on CUDA: coordinates, encoding, layers, class and store in one kernel; the grid's coordinates and a
// network's scores never reach memory.
//
// A tile is 64 consecutive cells of the band in row-major order. Block: a run of tiles (score_tiles of mlp_block.cuh);
// weights, features and two planes in shared memory for widths to 64, in L2 beyond. Labels leave as 16 bytes a thread.
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/device.cuh"
#include "kernels/mlp_block.cuh"
#include "kernels/mlp_check.h"
#include "scalelab/grid.h"

namespace scalelab::cuda {

namespace {

struct Cells {
  float x_min, y_min, step_x, step_y;
  std::int64_t size, row_begin, count;  // cells of a row, first row, cells of the band
  Encoding encoding;
  std::uint8_t* labels;  // (m, count)
};

struct LabelShared {
  alignas(16) std::uint8_t labels[kSamples];
};

template <int kWidth>
__global__ void __launch_bounds__(kThreadsOf<kWidth>, kScoringBlocks<kWidth>)
    grid_mlp_labels_kernel(const __grid_constant__ MlpLayout layout, const float* packed, std::int64_t m,
                           float* workspace, std::int64_t floats, Cells cells) {
  LabelShared& shared = *dynamic_shared<LabelShared>();
  float* const memory = kWidth > 0 ? reinterpret_cast<float*>(&shared + 1) : workspace + blockIdx.x * floats;
  const int thread = static_cast<int>(threadIdx.x);
  const auto count_of = [&](std::int64_t tile) {
    const std::int64_t left = cells.count - tile * kSamples;
    return left < kSamples ? static_cast<int>(left) : kSamples;
  };
  const auto fetch = [&](std::int64_t tile, float* x) {
    const int count = count_of(tile);
    for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
      // Samples behind the last cell repeat it: finite, and never stored.
      const std::int64_t cell = tile * kSamples + (s < count ? s : count - 1);
      const std::int64_t row = cell / cells.size, column = cell - row * cells.size;
      const float cx = ::fmaf(static_cast<float>(column) + 0.5F, cells.step_x, cells.x_min);
      const float cy = ::fmaf(static_cast<float>(cells.row_begin + row) + 0.5F, cells.step_y, cells.y_min);
      float features[3] = {cx, cy, 0};
      if (cells.encoding != Encoding::none) encode_point(cells.encoding, cx, cy, features);
      x[s] = features[0];
      x[kRow + s] = features[1];
      if (layout.features == 3) x[2 * kRow + s] = features[2];
    }
  };
  const auto emit = [&](std::int64_t network, std::int64_t tile, const float* top, const float* weights) {
    for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
      float best = score_of(layout, weights, top, 0, s);
      int label = layout.outputs == 1 && best > 0 ? 1 : 0;
      for (int j = 1; j < layout.outputs; ++j) {
        const float score = score_of(layout, weights, top, j, s);
        label = score > best ? j : label;
        best = score > best ? score : best;
      }
      shared.labels[s] = static_cast<std::uint8_t>(label);
    }
    __syncthreads();
    const int count = count_of(tile);
    std::uint8_t* const to = cells.labels + network * cells.count + tile * kSamples;
    if (count == kSamples && reinterpret_cast<std::uintptr_t>(to) % sizeof(uint4) == 0) {
      if (thread < kSamples / 16) {
        reinterpret_cast<uint4*>(to)[thread] = reinterpret_cast<const uint4*>(shared.labels)[thread];
      }
    } else {
      for (int s = thread; s < count; s += kThreadsOf<kWidth>) to[s] = shared.labels[s];
    }
  };
  score_tiles<kWidth>(layout, packed, m, (cells.count + kSamples - 1) / kSamples, memory, fetch, emit);
}

template <int kWidth>
struct GridMlpLabelsKernel {
  static constexpr auto kernel = grid_mlp_labels_kernel<kWidth>;
};

void require(bool good, const std::string& what) {
  if (!good) throw std::invalid_argument("grid_mlp_labels: " + what);
}

}  // namespace

void grid_mlp_labels(const MlpShape& shape, View<const float> parameters, const Grid& grid, std::int64_t row_begin,
                     View<std::uint8_t> labels, Context& context) {
  const Range range("grid_mlp_labels");
  check_mlp_shape(shape, "grid_mlp_labels");
  const std::int64_t m = labels.extent(0), rows = labels.extent(1), p = parameter_count(shape);
  require(shape.inputs == 2, "the network has " + std::to_string(shape.inputs) + " inputs, a grid needs 2");
  require(grid.size >= 1 && grid.size <= kMaxGrid,
          "grid size must be in 1 .. " + std::to_string(kMaxGrid) + ", got " + std::to_string(grid.size));
  require(std::isfinite(grid.x_min) && std::isfinite(grid.y_min) && std::isfinite(grid.x_max - grid.x_min) &&
              std::isfinite(grid.y_max - grid.y_min) && grid.x_min < grid.x_max && grid.y_min < grid.y_max,
          "the rectangle is empty or not finite");
  require(labels.rank() == 3 && labels.extent(2) == grid.size,
          "labels must be (m, rows, " + std::to_string(grid.size) + ")");
  require(row_begin >= 0 && row_begin + rows <= grid.size, "the band of rows leaves the grid");
  require(parameters.extent(0) == m && (m == 0 || parameters.extent(1) == p),
          "parameters are (" + std::to_string(parameters.extent(0)) + ", " + std::to_string(parameters.extent(1)) +
              "), expected (" + std::to_string(m) + ", " + std::to_string(p) + ")");
  if (labels.empty()) return;
  const Cells cells{grid.x_min, grid.y_min,       grid.step_x(),  grid.step_y(), grid.size,
                    row_begin,  rows * grid.size, shape.encoding, labels.data()};
  const std::int64_t tiles = ceil_div(cells.count, kSamples);
  launch_scoring<GridMlpLabelsKernel>(shape, parameters, m * tiles, sizeof(LabelShared), context, cells);
}

}  // namespace scalelab::cuda
