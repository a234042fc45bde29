// grid for networks on CUDA: coordinates, encoding, layers, class and store in one kernel; the grid's coordinates and a
// network's scores never reach memory.
//
// Two kernels. The dense one evaluates every cell: a tile is 64 consecutive cells of the band in row-major order, a
// block takes a run of tiles (score_tiles of mlp_block.cuh), labels leave as 16 bytes a thread.
//
// The other, where a network has bounds (mlp_bounds.h), decides whole squares of cells by their forms and evaluates
// what is left, with the same arithmetic: the labels are the same bits. A block takes regions of the map in turn and
// holds a list of its squares that wait. A batch is 16 of them: a form is 4 floats, so that a batch of forms is a plane
// like any other, and a register tile of 8 x 4 elements is 8 neurons of one square, from the product to behind the
// ReLU. Squares that are not decided are divided in four, or when they are small judged cell by cell; cells still open
// wait in a second list until there are 64, one tile of dense evaluation.
#include "kernels/cuda/device.cuh"
#include "kernels/mlp_block.cuh"
#include "kernels/mlp_bounds.h"
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

// Brings the features of a cell into column s of `x`.
__device__ __forceinline__ void fetch_cell(const Cells& cells, int features, std::int64_t row, std::int64_t column,
                                           float* x, int s) {
  const float cx = centre_of(column, cells.step_x, cells.x_min);
  const float cy = centre_of(cells.row_begin + row, cells.step_y, cells.y_min);
  float found[3] = {cx, cy, 0};
  if (cells.encoding != Encoding::none) encode_point(cells.encoding, cx, cy, found);
  x[s] = found[0];
  x[kRow + s] = found[1];
  if (features == 3) x[2 * kRow + s] = found[2];
}

// The class that a network's scores of sample s predict.
__device__ __forceinline__ std::uint8_t class_of_sample(const MlpLayout& layout, const float* weights, const float* top,
                                                        int s) {
  float best = score_of(layout, weights, top, 0, s);
  int label = layout.outputs == 1 && best > 0 ? 1 : 0;
  for (int j = 1; j < layout.outputs; ++j) {
    const float score = score_of(layout, weights, top, j, s);
    label = score > best ? j : label;
    best = score > best ? score : best;
  }
  return static_cast<std::uint8_t>(label);
}

// --- every cell ------------------------------------------------------------------------------------------------------

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
      const std::int64_t row = cell / cells.size;
      fetch_cell(cells, layout.features, row, cell - row * cells.size, x, s);
    }
  };
  const auto emit = [&](std::int64_t network, std::int64_t tile, const float* top, const float* weights) {
    for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
      shared.labels[s] = class_of_sample(layout, weights, top, s);
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

// --- only the cells that need it ------------------------------------------------------------------------------------

inline constexpr int kColumnGroups = kSamples / kTileColumns;
inline constexpr int kBatch = kColumnGroups;  // squares whose forms fill a plane
// Squares by the level of their side, 2^level cells: of a region; of a square whose cells are judged one by one; of
// those divided no further.
inline constexpr int kLargestRegion = 8, kSmallestRegion = 6, kJudgedLevel = 4, kLeastLevel = 3;
inline constexpr int kJudgedCells = 1 << 2 * kJudgedLevel;
// A square with this many open cells is divided: half of what the forms of its quarters cost.
inline constexpr int kWorthDividing = kSamples / 2;
// A batch leaves the list and its quarters enter: at most 3 kBatch more at each of the levels that are divided, after
// the 16 a region begins with.
inline constexpr int kMostWaiting = kBatch * (1 + 3 * (kLargestRegion - 2 - kLeastLevel));
// Blocks on a multiprocessor that registers must allow: what shared memory allows of three layers of full width.
template <int kWidth>
inline constexpr int kBoundingBlocks = kWidth == 16   ? 8
                                       : kWidth == 32 ? 5
                                                      : 2;
inline constexpr int kMostOpen = kSamples + kBatch * kJudgedCells;  // those left over, and all that a batch can add
inline constexpr int kNothing = -3;  // beside kOpen and kHopeless: nothing is left to do for a square

// A square of a region: its first row and column there in units of the smallest square, and its level.
__device__ __forceinline__ unsigned square_at(unsigned row, unsigned column, unsigned level) {
  return level << 12 | row << 6 | column;
}

// A square of the batch, cut to the band: rows or columns below 1 where it lies outside.
struct Square {
  int row, column, rows, columns, level;  // row and column in the region
  Side x, y;
};

struct alignas(16) SquareShared {
  std::int64_t next;               // region of this block
  int waiting, open;               // lengths of the lists `squares` and `cells`
  unsigned squares[kMostWaiting];  // square_at()
  Square batch[kBatch];
  int classes[kBatch];             // of the batch, or kOpen, kHopeless, kNothing
  int divide[kBatch];              // whether a square of the batch is divided
  std::uint16_t cells[kMostOpen];  // row << 8 | column in the region
};

struct Region {
  std::int64_t row, column;  // in the band
  int rows, columns;
  std::uint8_t* labels;  // of its first cell
};

// The forms of a product's row, behind the ReLU and widened for the next product.
__device__ __forceinline__ float4 rectified(float4 form, float rounding, float next_rounding) {
  float radius = ::fmaf(form.w, 1.0F + rounding, kUnderflow);
  if (!(radius < kLargestRadius)) radius = kNoBound;
  const float upward = 1.0F + 0x1p-20F;
  const float reach = (::fabsf(form.y) + ::fabsf(form.z) + radius) * upward;
  const float low = form.x - reach, high = form.x + reach;
  if (high <= 0) return make_float4(0, 0, 0, 0);
  if (!(low >= 0)) {
    // relu(z) - share z lies in [0, 2 offset] for low <= z <= high.
    const float share = high / (high - low), fall = -(share * low), rise = (1.0F - share) * high;
    const float offset = 0.5F * (rise > fall ? rise : fall);
    radius = ::fmaf(::fmaf(share, radius, offset), upward, kUnderflow);
    form.x = ::fmaf(share, form.x, offset);
    form.y = share * form.y;
    form.z = share * form.z;
  }
  return make_float4(form.x, form.y, form.z, ::fmaf(next_rounding, high, radius));
}

// forms (padded, squares) = rectified(bias + weights^T below), as forward_product: a thread's register tile is 8 rows
// of one square's form.
template <int kWidth>
__device__ __forceinline__ void bound_product(const MlpLayout& layout, int depth, const float* weights,
                                              const float* bias, const float* below, float* forms) {
  const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, groups = padded / kTileRows;
  constexpr int kLaneRows = kPlaneLaneRows<Block<kWidth>>;
  const int count = position_count<kLaneRows>(groups, kColumnGroups);
  const float rounding = rounding_of(depth), next_rounding = rounding_of(layout.width);
  for (int t = static_cast<int>(threadIdx.x); t < count; t += kThreadsOf<kWidth>) {
    const Position at = position_of<kLaneRows>(t, kColumnGroups);
    if (kWidth == 0 && at.row_group >= groups) continue;
    const int row = at.row_group * kTileRows, column = at.column_group * kTileColumns;
    float4 sum[kTileRows];
#pragma unroll
    for (int i = 0; i < kTileRows; ++i) {
      const float start = bias[row + i];
      sum[i] = make_float4(start, 0, 0, rounding * ::fabsf(start));
    }
    const float* left = weights + row;
    const float* right = below + column;
#pragma unroll 4
    for (int k = 0; k < depth; ++k) {
      const float4 low = load4(left), high = load4(left + 4), form = load4(right);
#pragma unroll
      for (int i = 0; i < kTileRows; ++i) {
        const float w = element(i < 4 ? low : high, i % 4);
        sum[i].x = ::fmaf(w, form.x, sum[i].x);
        sum[i].y = ::fmaf(w, form.y, sum[i].y);
        sum[i].z = ::fmaf(w, form.z, sum[i].z);
        sum[i].w = ::fmaf(::fabsf(w), form.w, sum[i].w);
      }
      left += stride;
      right += kRow;
    }
#pragma unroll
    for (int i = 0; i < kTileRows; ++i) {
      store4(forms + (row + i) * kRow + column, rectified(sum[i], rounding, next_rounding));
    }
  }
}

// The form of score j of a square, ready to be judged.
__device__ __forceinline__ float4 bound_score(const MlpLayout& layout, const float* packed, const float* top, int j,
                                              int square) {
  const float* weights = packed + layout.output_weights + j * layout.stride;
  const float bias = packed[layout.output_bias + j], rounding = rounding_of(layout.width);
  float4 sum = make_float4(bias, 0, 0, rounding * ::fabsf(bias));
  for (int o = 0; o < layout.width; ++o) {
    const float w = weights[o];
    const float4 form = load4(top + o * kRow + square * kTileColumns);
    sum.x = ::fmaf(w, form.x, sum.x);
    sum.y = ::fmaf(w, form.y, sum.y);
    sum.z = ::fmaf(w, form.z, sum.z);
    sum.w = ::fmaf(::fabsf(w), form.w, sum.w);
  }
  float radius = ::fmaf(sum.w, 1.0F + rounding, kUnderflow);
  if (!(radius < kLargestRadius)) radius = kNoBound;
  const float size = ::fabsf(sum.x) + ::fabsf(sum.y) + ::fabsf(sum.z);
  sum.w = ::fmaf(kScoreRounding, size, radius);
  return sum;
}
// Thread t < kBatch: the t-th square of a batch of `count` that ends the list, and its features' forms into column t.
__device__ inline void begin_square(const MlpLayout& layout, const Cells& cells, const Region& region, int count,
                                    SquareShared& shared, float* x) {
  const int t = static_cast<int>(threadIdx.x);
  Square square{};
  Form forms[3] = {};
  if (t < count) {
    const unsigned code = shared.squares[shared.waiting - count + t];
    square.level = static_cast<int>(code >> 12);
    square.row = static_cast<int>(code >> 6 & 63) << kLeastLevel;
    square.column = static_cast<int>(code & 63) << kLeastLevel;
    const int side = 1 << square.level, rows = region.rows - square.row, columns = region.columns - square.column;
    square.rows = rows < side ? rows : side;
    square.columns = columns < side ? columns : side;
    if (square.rows > 0 && square.columns > 0) {
      const std::int64_t row = cells.row_begin + region.row + square.row, column = region.column + square.column;
      square.x = side_of(centre_of(column, cells.step_x, cells.x_min),
                         centre_of(column + square.columns - 1, cells.step_x, cells.x_min));
      square.y = side_of(centre_of(row, cells.step_y, cells.y_min),
                         centre_of(row + square.rows - 1, cells.step_y, cells.y_min));
      bound_features(cells.encoding, square.x, square.y, forms);
    }
  }
  shared.batch[t] = square;
  const float rounding = rounding_of(layout.features);
#pragma unroll
  for (int f = 0; f < 3; ++f) {  // the most there are: an array stays in registers where no index varies
    if (f >= layout.features) break;
    const Form& form = forms[f];
    const float largest = ::fabsf(form.centre) + ::fabsf(form.x) + ::fabsf(form.y) + form.radius;
    store4(x + f * kRow + t * kTileColumns,
           make_float4(form.centre, form.x, form.y, ::fmaf(rounding, largest, form.radius)));
  }
}

// Thread t < kBatch: what its square's forms say.
__device__ inline void judge_square(const float* scores, int outputs, SquareShared& shared) {
  const int t = static_cast<int>(threadIdx.x);
  const Square& square = shared.batch[t];
  int found = kNothing, divide = 0;
  if (square.rows > 0 && square.columns > 0) {
    found = class_of_tile({scores + t * kTileColumns, kRow, 1, outputs});
    if (found < 0 && square.level > kJudgedLevel) {
      found = kNothing;
      divide = 1;
    }
  }
  shared.classes[t] = found;
  shared.divide[t] = divide;
}

// The block writes one class into every cell of a square, 16 bytes a thread where they are aligned.
__device__ inline void fill_square(const Cells& cells, const Region& region, const Square& square, int label) {
  constexpr int kBytes = 16;
  const int chunks = (square.columns + kBytes - 1) / kBytes;
  const unsigned four = 0x01010101U * static_cast<unsigned>(label);
  for (int e = static_cast<int>(threadIdx.x); e < square.rows * chunks; e += static_cast<int>(blockDim.x)) {
    const int row = e / chunks, column = (e - row * chunks) * kBytes, left = square.columns - column;
    std::uint8_t* const to = region.labels + (square.row + row) * cells.size + square.column + column;
    if (left >= kBytes && reinterpret_cast<std::uintptr_t>(to) % kBytes == 0) {
      *reinterpret_cast<uint4*>(to) = make_uint4(four, four, four, four);
    } else {
      for (int i = 0; i < (left < kBytes ? left : kBytes); ++i) to[i] = static_cast<std::uint8_t>(label);
    }
  }
}

// A warp labels the cells of a square that its form decides and lists the others, or asks for the square to be divided.
__device__ inline void judge_cells(const Cells& cells, const Region& region, const float* scores, int outputs, int q,
                                   SquareShared& shared) {
  constexpr int kRounds = kJudgedCells / kWarp;
  const Square square = shared.batch[q];
  const bool hopeless = shared.classes[q] == kHopeless;
  const ScoreForms forms{scores + q * kTileColumns, kRow, 1, outputs};
  const int lane = lane_index();
  int found[kRounds], open = 0;
#pragma unroll
  for (int k = 0; k < kRounds; ++k) {
    const int cell = k * kWarp + lane, row = cell / square.columns, column = cell - row * square.columns;
    found[k] = kNothing;
    if (row < square.rows) {
      const float x = centre_of(region.column + square.column + column, cells.step_x, cells.x_min);
      const float y = centre_of(cells.row_begin + region.row + square.row + row, cells.step_y, cells.y_min);
      found[k] = hopeless ? kOpen : class_of_cell(forms, place_in(square.x, x), place_in(square.y, y));
    }
    const unsigned mask = __ballot_sync(kAllLanes, found[k] == kOpen);
    open += __popc(mask);
  }
  if (!hopeless && open > kWorthDividing && square.level > kLeastLevel) {
    if (lane == 0) shared.divide[q] = 1;
    return;
  }
  // Warps take their places in any order: no label depends on which cells it is evaluated with.
  int begin = lane == 0 ? atomicAdd(&shared.open, open) : 0;
  begin = __shfl_sync(kAllLanes, begin, 0);
#pragma unroll
  for (int k = 0; k < kRounds; ++k) {
    const int cell = k * kWarp + lane, row = cell / square.columns, column = cell - row * square.columns;
    if (found[k] >= 0) {
      region.labels[(square.row + row) * cells.size + square.column + column] = static_cast<std::uint8_t>(found[k]);
    }
    const unsigned mask = __ballot_sync(kAllLanes, found[k] == kOpen);
    if (found[k] == kOpen) {
      shared.cells[begin + lanes_below(mask)] =
          static_cast<std::uint16_t>((square.row + row) << 8 | (square.column + column));
    }
    begin += __popc(mask);
  }
}

// Warp 0: takes a batch of `count` squares off the list and puts the quarters of those that are divided on it.
__device__ inline void replace_squares(int waiting, int count, SquareShared& shared) {
  const int lane = lane_index(), first = waiting - count;
  const bool divides = lane < count && shared.divide[lane] != 0;
  const unsigned mask = __ballot_sync(kAllLanes, divides);
  if (divides) {
    const Square& square = shared.batch[lane];
    const unsigned level = static_cast<unsigned>(square.level - 1);
    const unsigned row = static_cast<unsigned>(square.row >> kLeastLevel);
    const unsigned column = static_cast<unsigned>(square.column >> kLeastLevel), half = 1U << (level - kLeastLevel);
    for (unsigned i = 0; i < 4; ++i) {
      shared.squares[first + 4 * lanes_below(mask) + static_cast<int>(i)] =
          square_at(row + i / 2 * half, column + i % 2 * half, level);
    }
  }
  if (lane == 0) shared.waiting = first + 4 * __popc(mask);
}

// The region at (row, column) of a network's map, in sides of 2^level cells; at the edges what is left.
__device__ __forceinline__ Region region_at(const Cells& cells, std::int64_t network, std::int64_t row,
                                            std::int64_t column, int level) {
  const std::int64_t side = std::int64_t{1} << level, rows = cells.count / cells.size;
  Region region{row * side, column * side, 0, 0, nullptr};
  region.rows = static_cast<int>(rows - region.row < side ? rows - region.row : side);
  region.columns = static_cast<int>(cells.size - region.column < side ? cells.size - region.column : side);
  region.labels = cells.labels + network * cells.count + region.row * cells.size + region.column;
  return region;
}

// The lists as a region begins: its 16 squares wait, and no cell is open.
__device__ __forceinline__ void start_squares(SquareShared& shared, int level) {
  const unsigned t = threadIdx.x, part = static_cast<unsigned>(level - 2);
  if (t < kBatch) shared.squares[t] = square_at(t / 4 << (part - kLeastLevel), t % 4 << (part - kLeastLevel), part);
  if (t == 0) {
    shared.waiting = kBatch;
    shared.open = 0;
  }
}

// Block: regions from the queue, the first by its own number: what a region takes depends on how much of a boundary is in
// it. `queue` begins at 0. Shared memory: the lists, then for kWidth > 0 the network, a plane's features and two planes.
template <int kWidth>
__global__ void __launch_bounds__(kThreadsOf<kWidth>, kBoundingBlocks<kWidth>)
    grid_mlp_squares_kernel(const __grid_constant__ MlpLayout layout, const float* packed, std::int64_t m,
                            float* workspace, std::int64_t floats, Cells cells, int level, unsigned long long* queue) {
  SquareShared& shared = *dynamic_shared<SquareShared>();
  float* const own = kWidth > 0 ? reinterpret_cast<float*>(&shared + 1) : workspace + blockIdx.x * floats;
  float* const x = own + (kWidth > 0 ? layout.size : 0);
  const MlpPlanes planes{x + layout.first_rows * kRow, layout.plane(), 0};
  float* const scores = planes.activations(layout.layers);  // the plane that the last layer leaves free
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t side = std::int64_t{1} << level, across = (cells.size + side - 1) >> level;
  const std::int64_t rows = cells.count / cells.size, regions = ((rows + side - 1) >> level) * across;
  std::int64_t loaded = -1;
  for (std::int64_t i = blockIdx.x; i < m * regions; i = shared.next) {
    const std::int64_t network = i / regions, place = i - network * regions;
    const float* const source = packed + network * layout.size;
    const float* const weights = kWidth > 0 ? own : source;
    __syncthreads();  // the last region's lists, planes and weights are read no more
    if (kWidth > 0 && network != loaded) {
      for (int e = 4 * thread; e < layout.size; e += 4 * kThreadsOf<kWidth>) store4(own + e, load4(source + e));
      loaded = network;
    }
    const Region region = region_at(cells, network, place / across, place % across, level);
    start_squares(shared, level);
    if (thread == 0) shared.next = std::int64_t{gridDim.x} + static_cast<std::int64_t>(atomicAdd(queue, 1ULL));
    __syncthreads();
    // Dense evaluation of `count` cells of the list from `begin` on.
    const auto evaluate = [&](int begin, int count) {
      for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
        const int cell = shared.cells[begin + (s < count ? s : count - 1)];
        fetch_cell(cells, layout.features, region.row + (cell >> 8), region.column + (cell & 255), x, s);
      }
      __syncthreads();
      Block<kWidth> crew;
      const float* const top = forward_hidden(crew, layout, weights, x, planes, nullptr);
      for (int s = thread; s < count; s += kThreadsOf<kWidth>) {
        const int cell = shared.cells[begin + s];
        region.labels[(cell >> 8) * cells.size + (cell & 255)] = class_of_sample(layout, weights, top, s);
      }
      __syncthreads();
    };

    for (int waiting; (waiting = shared.waiting) > 0;) {
      const int count = waiting < kBatch ? waiting : kBatch;
      if (thread < kBatch) begin_square(layout, cells, region, count, shared, x);
      __syncthreads();
      const float* below = x;
      for (int l = 0; l < layout.layers; ++l) {
        float* const forms = planes.activations(l);
        bound_product<kWidth>(layout, layout.fan_in(l), weights + layout.weights[l], weights + layout.bias[l], below,
                              forms);
        __syncthreads();
        below = forms;
      }
      for (int e = thread; e < layout.outputs * kBatch; e += kThreadsOf<kWidth>) {
        const int j = e / kBatch, q = e % kBatch;
        store4(scores + j * kRow + q * kTileColumns, bound_score(layout, weights, below, j, q));
      }
      __syncthreads();
      if (thread < kBatch) judge_square(scores, layout.outputs, shared);
      __syncthreads();
      for (int q = 0; q < count; ++q) {
        const int found = shared.classes[q];
        if (found >= 0) fill_square(cells, region, shared.batch[q], found);
      }
      for (int q = warp_in_block(); q < count; q += kThreadsOf<kWidth> / kWarp) {
        const int found = shared.classes[q];
        if (found == kOpen || found == kHopeless) judge_cells(cells, region, scores, layout.outputs, q, shared);
      }
      __syncthreads();
      if (warp_in_block() == 0) replace_squares(waiting, count, shared);
      int open = shared.open;
      __syncthreads();
      if (open < kSamples) continue;
      for (; open >= kSamples; open -= kSamples) evaluate(open - kSamples, kSamples);
      if (thread == 0) shared.open = open;
      __syncthreads();
    }
    const int open = shared.open;
    if (open > 0) evaluate(0, open);
  }
}

template <int kWidth>
struct GridMlpLabelsKernel {
  static constexpr auto kernel = grid_mlp_labels_kernel<kWidth>;
};
template <int kWidth>
struct GridMlpSquaresKernel {
  static constexpr auto kernel = grid_mlp_squares_kernel<kWidth>;
};

}  // namespace

void grid_mlp_labels(const MlpShape& shape, View<const float> parameters, const Grid& grid, std::int64_t row_begin,
                     View<std::uint8_t> labels, Context& context) {
  const Range range("grid_mlp_labels");
  check_grid_mlp_labels(shape, parameters, grid, row_begin, labels);
  if (labels.empty()) return;
  const std::int64_t m = labels.extent(0), rows = labels.extent(1);
  const Cells cells{grid.x_min, grid.y_min,       grid.step_x(),  grid.step_y(), grid.size,
                    row_begin,  rows * grid.size, shape.encoding, labels.data()};
  // The scores' forms of a batch take a plane's place.
  if (!has_bounds(shape) || shape.outputs > shape.width) {
    launch_scoring<GridMlpLabelsKernel>(shape, parameters, m * ceil_div(cells.count, kSamples), sizeof(LabelShared),
                                        context, cells);
    return;
  }
  // Regions as large as leave every multiprocessor a few.
  int multiprocessors = 0, level = kLargestRegion;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
  const auto regions = [&] {
    const std::int64_t side = std::int64_t{1} << level;
    return m * ceil_div(rows, side) * ceil_div(grid.size, side);
  };
  while (level > kSmallestRegion && regions() < 4 * multiprocessors) --level;
  const Scratch<unsigned long long> queue(1, context);
  SCALELAB_CHECK(cudaMemsetAsync(queue.data(), 0, sizeof(unsigned long long), stream_of(context)));
  launch_scoring<GridMlpSquaresKernel>(shape, parameters, regions(), sizeof(SquareShared), context, cells, level,
                                       queue.data());
}

}  // namespace scalelab::cuda
