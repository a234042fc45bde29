// grid on CUDA: what the k nearest references, or the true manifold, say at every cell centre of a band of rows.
//
// A warp owns a square region of cells. It lists once the references that can be among the k nearest of any cell there,
// proves for each tile of 16 x 16 cells which of those still can (tile.h), and keeps the neighbours of every cell in
// registers. For labels, a region or tile whose candidates decide the vote everywhere is filled without looking at its
// cells. Where a region has too many candidates to list (references denser than cells, or clustered), its cells search
// the tree instead (tree_search.cuh).
#include <cmath>
#include <optional>
#include <string>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/tree_search.cuh"
#include "kernels/knn_check.h"
#include "kernels/tile.h"
#include "scalelab/grid.h"

namespace scalelab::cuda {

namespace {

constexpr int kWarpsPerBlock = 4;  // each works alone, in its own part of shared memory
constexpr int kThreads = kWarpsPerBlock * kWarp;
constexpr int kTileSide = 16;     // cells: whole patches of a warp (Lanes), and the smallest region
constexpr int kMostSubset = 128;  // half of kMostCandidates: where more are left, all of those will do

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

// A band of rows of a grid.
struct Band {
  std::int64_t size, row_begin, rows;
  float x_min, y_min, step_x, step_y;

  Band(const Grid& grid, std::int64_t row_begin, std::int64_t rows)
      : size(grid.size),
        row_begin(row_begin),
        rows(rows),
        x_min(grid.x_min),
        y_min(grid.y_min),
        step_x(grid.step_x()),
        step_y(grid.step_y()) {}

  // Centres, by column and by row of the band. Rounding is monotone: cells of a range have centres between its ends'.
  __device__ float x(std::int64_t column) const { return cell_centre(column, step_x, x_min); }
  __device__ float y(std::int64_t row) const { return cell_centre(row_begin + row, step_y, y_min); }
};

// Where results go: labels where reference_labels are given, else neighbours.
struct Output {
  int k;
  const std::uint8_t* reference_labels;
  std::uint8_t* labels;  // (rows, G)
  int* indices;          // (rows, G, k)
  float* distances;      // (rows, G, k) or null
};

// Cells [column, column + columns) x [row, row + rows) of a band.
struct Cells {
  std::int64_t column, row;
  int columns, rows;
};

__device__ Cells clipped(const Band& band, std::int64_t column, std::int64_t row, int side) {
  const std::int64_t columns = band.size - column, rows = band.rows - row;
  return {column, row, columns < side ? static_cast<int>(columns) : side, rows < side ? static_cast<int>(rows) : side};
}

__device__ Box box_of(const Band& band, const Cells& cells) {
  return {{band.x(cells.column), band.y(cells.row), 0.0F},
          {band.x(cells.column + cells.columns - 1), band.y(cells.row + cells.rows - 1), 0.0F}};
}

// How many cells a lane does at once: as many as registers hold lists of K for.
template <int K>
constexpr int kCellsPerLane = K <= 9    ? 4
                              : K <= 16 ? 2
                                        : 1;

// How a warp lays its lanes over a patch of cells, R to a lane, one below the other.
template <int R>
struct Lanes {
  static constexpr int kRows = R;
  static constexpr int kWidth = kRows == 4 ? 16 : 8;  // patches of 16 x 8, 8 x 8 or 8 x 4 cells divide a tile
  static constexpr int kHeight = kWarp * kRows / kWidth;

  __device__ static int column() { return lane_index() % kWidth; }
  __device__ static int row(int r) { return lane_index() / kWidth + r * (kWarp / kWidth); }
};

// The patch at an offset inside some cells, and not beyond them.
template <int R>
__device__ Cells patch_of(const Cells& cells, int left, int top) {
  const int columns = cells.columns - left, rows = cells.rows - top;
  return {cells.column + left, cells.row + top, columns < Lanes<R>::kWidth ? columns : Lanes<R>::kWidth,
          rows < Lanes<R>::kHeight ? rows : Lanes<R>::kHeight};
}

template <int K>
struct RegionShared {
  float4 candidates[kMostCandidates];  // of the region
  float4 subset[kMostSubset];          // those of them that a tile needs
  union {                              // never two of these at once
    float ends[kMostCandidates];       // upper ends of the candidates' distances
    unsigned staged[kWarp * kCellsPerLane<K> * K];
    TogetherBuffer buffer;
  };
};

// Fills cells with one label; by 16 bytes where rows and columns allow it.
__device__ void fill(const Band& band, const Cells& cells, std::uint8_t label, std::uint8_t* labels) {
  constexpr int kWide = 16;
  std::uint8_t* corner = labels + cells.row * band.size + cells.column;
  const bool aligned = reinterpret_cast<std::uintptr_t>(corner) % kWide == 0 && band.size % kWide == 0;
  if (aligned && cells.columns % kWide == 0) {
    const unsigned four = 0x01010101U * label;
    const int across = cells.columns / kWide;
    for (int i = lane_index(); i < across * cells.rows; i += kWarp) {
      auto* place = reinterpret_cast<uint4*>(corner + i / across * band.size) + i % across;
      *place = make_uint4(four, four, four, four);
    }
    return;
  }
  for (int row = 0; row < cells.rows; ++row) {
    for (int column = lane_index(); column < cells.columns; column += kWarp) corner[row * band.size + column] = label;
  }
}

// The label that most of k neighbours carry, of labels with equally many the smallest.
template <int K>
__device__ std::uint8_t vote(const Nearest<K>& nearest, int k, const std::uint8_t* reference_labels) {
  int label[K];
#pragma unroll
  for (int j = 0; j < K; ++j) label[j] = j < K - k ? -1 : reference_labels[key_index(nearest.keys[j])];
  // One pass for each label there is, in ascending order.
  int winner = 0, most = 0, last = -1;
  while (true) {
    int next = 256;
#pragma unroll
    for (int j = 0; j < K; ++j) next = label[j] > last && label[j] < next ? label[j] : next;
    if (next == 256) return static_cast<std::uint8_t>(winner);
    int votes = 0;
#pragma unroll
    for (int j = 0; j < K; ++j) votes += label[j] == next ? 1 : 0;
    if (votes > most) {
      most = votes;
      winner = next;
    }
    last = next;
  }
}

// Writes the neighbours of the cells of a patch (kWidth x kHeight cells, clipped to `cells`): through shared memory, so
// that the numbers of a row of cells go out side by side.
template <int K, int R>
__device__ void write_neighbours(const Band& band, const Cells& cells, const Nearest<K> (&nearest)[R],
                                 const Output& output, unsigned* staged) {
  using Patch = Lanes<R>;
  const int k = output.k;
  for (int part = 0; part < (output.distances == nullptr ? 1 : 2); ++part) {
    __syncwarp();
#pragma unroll
    for (int r = 0; r < Patch::kRows; ++r) {
      unsigned* cell = staged + (Patch::row(r) * Patch::kWidth + Patch::column()) * k;
#pragma unroll
      for (int j = 0; j < K; ++j) {
        const Key key = nearest[r].keys[j];
        if (j >= K - k) cell[j - (K - k)] = static_cast<unsigned>(part == 0 ? key : key >> 32);
      }
    }
    __syncwarp();
    auto* to = part == 0 ? reinterpret_cast<unsigned*>(output.indices) : reinterpret_cast<unsigned*>(output.distances);
    for (int row = 0; row < cells.rows; ++row) {
      unsigned* to_row = to + ((cells.row + row) * band.size + cells.column) * k;
      const unsigned* from_row = staged + row * Patch::kWidth * k;
      if (reinterpret_cast<std::uintptr_t>(to_row) % sizeof(uint4) == 0 && Patch::kWidth * k % 4 == 0 &&
          cells.columns == Patch::kWidth) {
        for (int i = lane_index(); i < Patch::kWidth * k / 4; i += kWarp) {
          reinterpret_cast<uint4*>(to_row)[i] = reinterpret_cast<const uint4*>(from_row)[i];
        }
      } else {
        for (int i = lane_index(); i < cells.columns * k; i += kWarp) to_row[i] = from_row[i];
      }
    }
  }
  __syncwarp();
}

template <bool kLabels, int K, int R>
__device__ void write_patch(const Band& band, const Cells& cells, const Nearest<K> (&nearest)[R], const Output& output,
                            unsigned* staged) {
  if constexpr (kLabels) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int row = Lanes<R>::row(r), column = Lanes<R>::column();
      if (row >= cells.rows || column >= cells.columns) continue;
      output.labels[(cells.row + row) * band.size + cells.column + column] =
          vote<K>(nearest[r], output.k, output.reference_labels);
    }
  } else {
    write_neighbours(band, cells, nearest, output, staged);
  }
}

// Searches the tree for the cells of a region, a patch at a time.
template <int K, bool kLabels>
__device__ void search_cells(const BoxTree& tree, const Band& band, const Cells& region, const Output& output,
                             RegionShared<K>& shared) {
  using Patch = Lanes<1>;
  for (int top = 0; top < region.rows; top += Patch::kHeight) {
    for (int left = 0; left < region.columns; left += Patch::kWidth) {
      const Cells cells = patch_of<1>(region, left, top);
      const int column = Patch::column() < cells.columns ? Patch::column() : cells.columns - 1;
      const int row = Patch::row(0) < cells.rows ? Patch::row(0) : cells.rows - 1;
      Nearest<K> nearest[1];
      search_together(
          tree, band.x(cells.column + column), band.y(cells.row + row), 0.0F, output.k,
          [&](Nearest<K>& list) { list.clear(output.k); }, shared.buffer, nearest[0]);
      write_patch<kLabels>(band, cells, nearest, output, shared.staged);
    }
  }
}

// Whether all candidates carry one label, which is then set.
__device__ bool one_label(const float4* candidates, int count, const std::uint8_t* reference_labels,
                          std::uint8_t& label) {
  label = reference_labels[point_index(candidates[0])];
  bool same = true;
  for (int i = lane_index(); i < count; i += kWarp) same &= reference_labels[point_index(candidates[i])] == label;
  return __any_sync(kAllLanes, !same) == 0;
}

// Whether neighbours that every cell of the tile is certain to have make up a majority with one label, which is then
// set. A candidate is such a neighbour when fewer than k others can come before it anywhere in the tile; at most 32
// candidates, one to a lane.
__device__ bool certain_majority(const TileBounds& bounds, const float4* candidates, int count, int k,
                                 const std::uint8_t* reference_labels, std::uint8_t& label) {
  const int lane = lane_index();
  const float4 own = candidates[lane < count ? lane : 0];
  const float coordinates[3] = {own.x, own.y, 0.0F};
  const TileBounds::Range range = bounds.range(coordinates);
  const float limit = bounds.threshold(range.high);
  const int own_label = reference_labels[point_index(own)];
  int before = 0;  // may come before this lane's candidate; it counts itself
  for (int i = 0; i < count; ++i) {
    const float low = __shfl_sync(kAllLanes, range.low, i);
    before += low <= limit ? 1 : 0;
  }
  const bool certain = lane < count && before <= k;
  const unsigned all_certain = __ballot_sync(kAllLanes, certain);
  int votes = 0;  // certain neighbours with this lane's label
  for (int i = 0; i < count; ++i) {
    const int other = __shfl_sync(kAllLanes, own_label, i);
    votes += other == own_label && (all_certain >> i & 1U) != 0 ? 1 : 0;
  }
  const unsigned winners = __ballot_sync(kAllLanes, lane < count && 2 * votes > k);
  if (winners == 0) return false;
  label = static_cast<std::uint8_t>(__shfl_sync(kAllLanes, own_label, __ffs(static_cast<int>(winners)) - 1));
  return true;
}

// Offers `count` points to the lists of a patch's cells.
template <int K, int R>
__device__ void offer(const float4* points, int count, float x, const float (&y)[R], Nearest<K> (&nearest)[R]) {
  for (int i = 0; i < count; ++i) {
    const float4 point = points[i];
    const float across = add_squared_difference(x, point.x, 0.0F);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      nearest[r].insert(make_key(add_squared_difference(y[r], point.y, across), point_index(point)));
    }
  }
}

// The cells of one tile, out of the region's `count` candidates.
template <int K, bool kLabels>
__device__ void do_tile(const Band& band, const Cells& tile_cells, int count, const Output& output,
                        RegionShared<K>& shared) {
  constexpr int kRows = kCellsPerLane<K>;
  using Patch = Lanes<kRows>;
  const Box box = box_of(band, tile_cells);
  Tile tile;
  set_axis(tile, 0, box.low[0], box.high[0]);
  set_axis(tile, 1, box.low[1], box.high[1]);
  // Bounds relative to the candidate nearest to the centre: all that matter lie about it.
  const Box centre = point_box(tile.centre[0], tile.centre[1], 0.0F);
  Key nearest_key = kFarthest;
  for (int i = lane_index(); i < count; i += kWarp) {
    const Key key = make_key(least_distance(centre, shared.candidates[i], shared.candidates[i]), i);
    nearest_key = key < nearest_key ? key : nearest_key;
  }
  const float4 origin_point = shared.candidates[key_index(warp_min(nearest_key))];
  const float origin[3] = {origin_point.x, origin_point.y, 0.0F};
  const TileBounds bounds(tile, origin);
  for (int i = lane_index(); i < count; i += kWarp) {
    const float coordinates[3] = {shared.candidates[i].x, shared.candidates[i].y, 0.0F};
    shared.ends[i] = bounds.range(coordinates).high;
  }
  __syncwarp();
  const float limit = bounds.threshold(upper_kth(shared.ends, count, output.k));
  int kept = 0;
  for (int begin = 0; begin < count; begin += kWarp) {
    const int i = begin + lane_index();
    bool near = i < count;
    float4 point{};
    if (near) {
      point = shared.candidates[i];
      const float coordinates[3] = {point.x, point.y, 0.0F};
      near = bounds.range(coordinates).low <= limit;
    }
    const unsigned votes = __ballot_sync(kAllLanes, near);
    const int place = kept + lanes_below(votes);
    if (near && place < kMostSubset) shared.subset[place] = point;
    kept += __popc(votes);
  }
  __syncwarp();
  // A subset that does not fit is no smaller than half of the candidates: then all of them will do.
  const float4* points = kept <= kMostSubset ? shared.subset : shared.candidates;
  if (kept > kMostSubset) kept = count;

  if constexpr (kLabels) {
    std::uint8_t label = 0;
    bool decided = one_label(points, kept, output.reference_labels, label);
    if (!decided && kept <= kWarp) {
      decided = certain_majority(bounds, points, kept, output.k, output.reference_labels, label);
    }
    if (decided) return fill(band, tile_cells, label, output.labels);
  }
  constexpr int kAcross = kTileSide / Patch::kWidth, kPatches = kAcross * (kTileSide / Patch::kHeight);
  for (int patch = 0; patch < kPatches; ++patch) {
    const int left = patch % kAcross * Patch::kWidth, top = patch / kAcross * Patch::kHeight;
    if (left >= tile_cells.columns || top >= tile_cells.rows) continue;
    const Cells cells = patch_of<kRows>(tile_cells, left, top);
    const float x = band.x(cells.column + (Patch::column() < cells.columns ? Patch::column() : 0));
    float y[kRows];
    Nearest<K> nearest[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      y[r] = band.y(cells.row + (Patch::row(r) < cells.rows ? Patch::row(r) : 0));
      nearest[r].clear(output.k);
    }
    offer(points, kept, x, y, nearest);
    write_patch<kLabels>(band, cells, nearest, output, shared.staged);
  }
}

// Blocks on a multiprocessor: as many as leave every list in registers (tests/kernel_resources.py).
template <int K, bool kLabels>
constexpr int kBlocksWanted = K <= 1    ? 4
                              : K <= 5  ? (kLabels ? 4 : 3)
                              : K <= 16 ? (kLabels ? 3 : 2)
                                        : 2;

// Warp w of the launch does region w: `side` x `side` cells, regions in rows of `across`.
template <int K, bool kLabels>
__global__ void __launch_bounds__(kThreads, kBlocksWanted<K, kLabels>)
    grid_region_kernel(const __grid_constant__ BoxTree tree, Band band, Output output, int side, std::int64_t across,
                       std::int64_t regions) {
  struct Shared {
    RegionShared<K> warps[kWarpsPerBlock];
  };
  auto& shared = dynamic_shared<Shared>()->warps[warp_in_block()];
  const std::int64_t region = global_warp();
  if (region >= regions) return;
  const Cells cells = clipped(band, region % across * side, region / across * side, side);
  const int count = list_candidates(tree, box_of(band, cells), output.k, shared.candidates, shared.ends);
  if (count < 0) return search_cells<K, kLabels>(tree, band, cells, output, shared);
  if constexpr (kLabels) {
    std::uint8_t label = 0;
    if (one_label(shared.candidates, count, output.reference_labels, label)) {
      return fill(band, cells, label, output.labels);
    }
  }
  for (int top = 0; top < cells.rows; top += kTileSide) {
    for (int left = 0; left < cells.columns; left += kTileSide) {
      do_tile<K, kLabels>(band, clipped(band, cells.column + left, cells.row + top, kTileSide), count, output, shared);
      __syncwarp();
    }
  }
}

// A warp does one cell, with up to 128 neighbours.
struct CellShared {
  AloneBuffer buffer;
  unsigned votes[256];
};

template <bool kLabels>
__global__ void __launch_bounds__(kThreads)
    grid_cell_kernel(const __grid_constant__ BoxTree tree, Band band, Output output) {
  struct Shared {
    CellShared warps[kWarpsPerBlock];
  };
  auto& shared = dynamic_shared<Shared>()->warps[warp_in_block()];
  const std::int64_t cell = global_warp();
  if (cell >= band.rows * band.size) return;
  const int lane = lane_index(), k = output.k;
  search_alone(
      tree, band.x(cell % band.size), band.y(cell / band.size), 0.0F, k, false, [](int) { return kFarthest; },
      shared.buffer);
  if constexpr (kLabels) {
    for (int label = lane; label < 256; label += kWarp) shared.votes[label] = 0;
    __syncwarp();
    for (int j = lane; j < k; j += kWarp) {
      atomicAdd(&shared.votes[output.reference_labels[key_index(shared.buffer.keys[j])]], 1U);
    }
    __syncwarp();
    unsigned best = 0;
    for (int label = lane; label < 256; label += kWarp) {
      const unsigned rank = 256 * shared.votes[label] + 255 - static_cast<unsigned>(label);
      best = rank > best ? rank : best;
    }
    best = warp_max(best);
    if (lane == 0) output.labels[cell] = static_cast<std::uint8_t>(255 - best % 256);
  } else {
    for (int j = lane; j < k; j += kWarp) {
      const Key key = shared.buffer.keys[j];
      output.indices[cell * k + j] = key_index(key);
      if (output.distances != nullptr) output.distances[cell * k + j] = key_distance(key);
    }
  }
}

// The largest region that is not likely to meet too many candidates, were references spread evenly over the grid.
int region_side(std::int64_t n, std::int64_t size) {
  constexpr std::int64_t kWanted = 16;  // references inside; several times as many matter to its cells
  int side = 64;
  while (side > kTileSide && n * side * side > kWanted * size * size) side /= 2;
  return side;
}

template <bool kLabels>
void grid_neighbours(const BoxTree& tree, const Band& band, const Output& output, Context& context) {
  if (output.k > kMostTogether) {
    launch(context, ceil_div(band.rows * band.size, kWarpsPerBlock), kThreads, kWarpsPerBlock * sizeof(CellShared),
           grid_cell_kernel<kLabels>, tree, band, output);
    return;
  }
  const int side = region_side(tree.count, band.size);
  const std::int64_t across = ceil_div(band.size, side), regions = across * ceil_div(band.rows, side);
  with_list_length(output.k, [&](auto length) {
    launch(context, ceil_div(regions, kWarpsPerBlock), kThreads, kWarpsPerBlock * sizeof(RegionShared<length()>),
           grid_region_kernel<length(), kLabels>, tree, band, output, side, across, regions);
  });
}

__global__ void spiral_kernel(Spiral spiral, Band band, std::uint8_t* labels) {
  const std::int64_t cell = global_thread();
  if (cell >= band.rows * band.size) return;
  labels[cell] = spiral.inside(band.x(cell % band.size), band.y(cell / band.size)) ? 1 : 0;
}

void label_spiral(const Spiral& spiral, const Band& band, std::uint8_t* labels, Context& context) {
  constexpr int kSpiralThreads = 256;  // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
  launch(context, ceil_div(band.rows * band.size, kSpiralThreads), kSpiralThreads, 0, spiral_kernel, spiral, band,
         labels);
}

// --- confusion -------------------------------------------------------------------------------------------------------

constexpr int kRun = 16;            // labels a thread takes at a time
constexpr int kMostPrivate = 4096;  // cells of a table that a block keeps for itself

// 16 labels from position `begin`, fewer at the end.
__device__ void load_run(const std::uint8_t* labels, std::int64_t begin, int count, std::uint8_t (&run)[kRun]) {
  if (count == kRun && reinterpret_cast<std::uintptr_t>(labels + begin) % kRun == 0) {
    const uint4 words = *reinterpret_cast<const uint4*>(labels + begin);
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < kRun; ++i) run[i] = static_cast<std::uint8_t>(word[i / 4] >> 8 * (i % 4));
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) run[i] = i < count ? labels[begin + i] : 0;
}

// Threads stride over runs of labels and add each stretch of equal pairs at once: to the block's table, of which
// `privately` says whether there is one, or straight to the result.
__global__ void confusion_kernel(const std::uint8_t* a, const std::uint8_t* b, std::int64_t n, int classes,
                                 bool privately, unsigned long long* counts) {
  struct Shared {
    unsigned long long table[kMostPrivate];
  };
  const int cells = classes * classes;
  unsigned long long* table = privately ? dynamic_shared<Shared>()->table : counts;
  if (privately) {
    for (int cell = static_cast<int>(threadIdx.x); cell < cells; cell += static_cast<int>(blockDim.x)) table[cell] = 0;
    __syncthreads();
  }
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x * kRun;
  for (std::int64_t begin = global_thread() * kRun; begin < n; begin += stride) {
    const int count = n - begin < kRun ? static_cast<int>(n - begin) : kRun;
    std::uint8_t run_a[kRun], run_b[kRun];
    load_run(a, begin, count, run_a);
    load_run(b, begin, count, run_b);
    int previous = -1;
    unsigned long long length = 0;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (i >= count) continue;
      const int row = run_a[i] < classes ? run_a[i] : classes - 1;
      const int cell = row * classes + (run_b[i] < classes ? run_b[i] : classes - 1);
      if (cell != previous && length > 0) {
        atomicAdd(&table[previous], length);
        length = 0;
      }
      previous = cell;
      ++length;
    }
    atomicAdd(&table[previous], length);
  }
  if (!privately) return;
  __syncthreads();
  for (int cell = static_cast<int>(threadIdx.x); cell < cells; cell += static_cast<int>(blockDim.x)) {
    if (table[cell] != 0) atomicAdd(&counts[cell], table[cell]);
  }
}

// Adds the pairs of two maps of n labels to counts (classes, classes).
void count_pairs(const std::uint8_t* a, const std::uint8_t* b, std::int64_t n, View<std::int64_t> counts,
                 Context& context) {
  constexpr int kCountThreads = 256;  // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
  constexpr std::int64_t kMostBlocks = 2048;  // beyond, threads stride: few tables to add up, none idle
  const std::int64_t classes = counts.extent(0), blocks = ceil_div(n, kCountThreads * kRun);
  const bool privately = classes * classes <= kMostPrivate;
  launch(context, blocks < kMostBlocks ? blocks : kMostBlocks, kCountThreads,
         privately ? kMostPrivate * sizeof(unsigned long long) : 0, confusion_kernel, a, b, n,
         static_cast<int>(classes), privately, reinterpret_cast<unsigned long long*>(counts.data()));
}

// The labels of one model, band by band.
class ModelLabels {
 public:
  ModelLabels(const GridModel& model, std::int64_t cells, Context& context) : model_(model), labels_(cells, context) {
    if (model.k > 0) storage_.emplace(model.references, context);
  }
  const std::uint8_t* of(const Band& band, Context& context) {
    if (storage_) {
      const Output output{model_.k, model_.labels.data(), labels_.data(), nullptr, nullptr};
      grid_neighbours<true>(storage_->tree(), band, output, context);
    } else {
      label_spiral(model_.spiral, band, labels_.data(), context);
    }
    return labels_.data();
  }

 private:
  const GridModel& model_;
  Scratch<std::uint8_t> labels_;
  std::optional<BoxTreeStorage> storage_;  // of a model with references
};

// --- bits ------------------------------------------------------------------------------------------------------------

// A thread makes one byte.
__global__ void pack_kernel(const std::uint8_t* labels, std::int64_t rows, std::int64_t columns, std::int64_t bytes,
                            std::uint8_t* bits) {
  const std::int64_t i = global_thread();
  if (i >= rows * bytes) return;
  const std::int64_t row = i / bytes, column = i % bytes * 8;
  const std::uint8_t* from = labels + row * columns + column;
  unsigned byte = 0;
  if (columns - column >= 8 && reinterpret_cast<std::uintptr_t>(from) % 8 == 0) {
    const uint2 words = *reinterpret_cast<const uint2*>(from);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      byte |= (words.x >> 8 * j & 0xffU) != 0 ? 1U << j : 0U;
      byte |= (words.y >> 8 * j & 0xffU) != 0 ? 16U << j : 0U;
    }
  } else {
    const int count = columns - column < 8 ? static_cast<int>(columns - column) : 8;
    for (int j = 0; j < count; ++j) byte |= from[j] != 0 ? 1U << j : 0U;
  }
  bits[i] = static_cast<std::uint8_t>(byte);
}

}  // namespace

void grid_knn(View<const float> references, const Grid& grid, std::int64_t row_begin, View<int> indices,
              View<float> distances, Context& context) {
  const Range range("grid_knn");
  const std::int64_t rows = indices.extent(0), k = indices.extent(2);
  check_band("grid_knn", grid, row_begin, rows, indices.extent(1));
  check_neighbours("grid_knn", references, k);
  if (!distances.empty() &&
      (distances.extent(0) != rows || distances.extent(1) != grid.size || distances.extent(2) != k)) {
    refuse("grid_knn: distances must be (rows, G, k) or empty");
  }
  if (rows == 0) return;
  const Output output{static_cast<int>(k), nullptr, nullptr, indices.data(),
                      distances.empty() ? nullptr : distances.data()};
  const BoxTreeStorage storage(references, context);
  grid_neighbours<false>(storage.tree(), Band(grid, row_begin, rows), output, context);
}

void grid_knn_labels(View<const float> references, View<const std::uint8_t> reference_labels, int k, const Grid& grid,
                     std::int64_t row_begin, View<std::uint8_t> labels, Context& context) {
  const Range range("grid_knn_labels");
  check_band("grid_knn_labels", grid, row_begin, labels.extent(0), labels.extent(1));
  check_neighbours("grid_knn_labels", references, k);
  check_reference_labels("grid_knn_labels", references, reference_labels);
  if (labels.extent(0) == 0) return;
  const Output output{k, reference_labels.data(), labels.data(), nullptr, nullptr};
  const BoxTreeStorage storage(references, context);
  grid_neighbours<true>(storage.tree(), Band(grid, row_begin, labels.extent(0)), output, context);
}

void grid_spiral_labels(const Spiral& spiral, const Grid& grid, std::int64_t row_begin, View<std::uint8_t> labels,
                        Context& context) {
  const Range range("grid_spiral_labels");
  const std::int64_t rows = labels.extent(0);
  check_band("grid_spiral_labels", grid, row_begin, rows, labels.extent(1));
  label_spiral(spiral, Band(grid, row_begin, rows), labels.data(), context);
}

void label_confusion(View<const std::uint8_t> a, View<const std::uint8_t> b, View<std::int64_t> counts,
                     Context& context) {
  const Range range("label_confusion");
  const std::int64_t n = a.size();
  check_label_confusion(a, b, counts);
  count_pairs(a.data(), b.data(), n, counts, context);
}

void grid_confusion(const GridModel& a, const GridModel& b, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                    View<std::int64_t> counts, Context& context) {
  const Range range("grid_confusion");
  check_grid_confusion(a, b, grid, row_begin, rows, counts);
  if (rows == 0) return;
  // Labels live from their making to their counting in bands of this many cells, two of which an H100 holds in its L2.
  constexpr std::int64_t kBandCells = std::int64_t{1} << 24;
  const std::int64_t fitting = kBandCells / grid.size < 64 ? 64 : kBandCells / grid.size;  // whole regions
  const std::int64_t band_rows = fitting < rows ? fitting : rows;
  ModelLabels labels_a(a, band_rows * grid.size, context), labels_b(b, band_rows * grid.size, context);
  for (std::int64_t begin = 0; begin < rows; begin += band_rows) {
    const Band band(grid, row_begin + begin, rows - begin < band_rows ? rows - begin : band_rows);
    const std::uint8_t* of_a = labels_a.of(band, context);
    count_pairs(of_a, labels_b.of(band, context), band.rows * band.size, counts, context);
  }
}

void pack_labels(View<const std::uint8_t> labels, View<std::uint8_t> bits, Context& context) {
  const Range range("pack_labels");
  check_pack_labels(labels, bits);
  constexpr int kPackThreads = 256;  // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
  launch(context, ceil_div(bits.size(), kPackThreads), kPackThreads, 0, pack_kernel, labels.data(), labels.extent(0),
         labels.extent(1), bits.extent(1), bits.data());
}

}  // namespace scalelab::cuda
