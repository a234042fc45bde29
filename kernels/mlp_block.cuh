// mlp_block: how the CUDA backend holds one network, and how one thread block takes a tile of 64 samples through it.
//
// A plane holds one value per feature and sample: feature f of sample s at [f * row + s], row = samples + 4. Weights
// are turned to (fan_in, width) with rows of `stride` floats. Both row lengths leave 4 over 32: neighbouring rows start
// 4 banks apart, so that eight lanes that read 16 bytes of eight neighbouring rows meet no bank conflict.
//
// Every product is made of register tiles: of 8 x 4 elements in scoring, where 3 loads of 16 bytes feed 32 fmas; of
// 4 x 4 in training, whose steps wait for each other, so that more warps are worth more than fewer loads. An
// element is one fma chain in ascending order, held by one thread from its first term to its last: its bits depend on
// nothing but its operands, and are those of the CPU twin.
//
// kWidth 16, 32, 64: hidden layers of at most that width, everything a step touches in shared memory, and so many
// threads that a plane of kWidth x 64 is one register tile per thread. kWidth 0: any shape, in global memory (L2).
//
// A crew is who takes samples through a network together: one block (Block), or in training at kWidth 0 a Team
// of blocks. A crew numbers its threads, has a barrier, and says how wide its planes and how tall its register tiles
// are; who computes an element changes none of its bits.
//
// A Tensor crew multiplies between hidden layers on tensor cores (mma.cuh). Where fp32 has floats its factors are split
// numbers, in the same places: weights as the optimiser leaves them, a plane of activations below the last hidden layer
// once the layer is done, a plane of gradients once the layer's bias has seen it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/mlp_math.cuh"
#include "scalelab/mlp.h"

namespace scalelab::cuda {

inline constexpr int kSamples = 64;                    // columns of a plane that hold samples
inline constexpr int kRow = kSamples + 4;              // floats from one row of a plane to the next
inline constexpr int kTileRows = 8, kTileColumns = 4;  // weights and widths are padded to whole tiles of this size

template <int kWidth>
inline constexpr int kThreadsOf = kWidth > 0 ? 2 * kWidth : 256;  // a thread for each tile of a plane of kWidth rows

// Where the parts of a network lie in its packed form. Padding holds zeros, always.
struct MlpLayout {
  int features, width, outputs, layers;
  int first_rows;  // features, in whole register tiles where there are enough of them to tile
  int padded;      // width in whole register tiles, or kWidth
  int stride;      // of a row of weights
  int kinds;       // planes per hidden layer in training: activations [, normalised values] [, gelu's slopes]
  Activation activation;
  bool layer_norm;
  Precision precision;  // of products between hidden layers
  // Where each hidden layer's parts begin; gain and shift with layer norm only.
  int weights[kMaxHiddenLayers], bias[kMaxHiddenLayers], gain[kMaxHiddenLayers], shift[kMaxHiddenLayers];
  int output_weights, output_bias;  // (outputs, stride), (outputs)
  int size;                         // floats

  SCALELAB_HD int fan_in(int layer) const { return layer == 0 ? features : width; }
  SCALELAB_HD int rows(int layer) const { return layer == 0 ? first_rows : padded; }
  int samples;  // columns of a plane that hold samples, in whole groups of kSamples
  SCALELAB_HD int row() const { return samples + 4; }
  SCALELAB_HD int plane() const { return padded * row(); }
};

inline int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

inline MlpLayout make_layout(const MlpShape& shape, int class_width, Precision precision = Precision::fp32) {
  MlpLayout layout{};
  layout.features = feature_count(shape);
  layout.width = shape.width;
  layout.outputs = shape.outputs;
  layout.layers = shape.hidden_layers;
  layout.first_rows = layout.features < kTileRows ? layout.features : round_up(layout.features, kTileRows);
  layout.padded = class_width > 0 ? class_width : round_up(shape.width, precision == Precision::fp32 ? kTileRows : 16);
  layout.stride = layout.padded + 4;
  layout.samples = kSamples;
  layout.precision = precision;
  layout.activation = shape.activation;
  layout.layer_norm = shape.layer_norm;
  layout.kinds = 1 + (shape.layer_norm ? 1 : 0) + (shape.activation == Activation::gelu ? 1 : 0);
  int at = 0;
  const auto take = [&](int floats) {
    const int begin = at;
    at += round_up(floats, 4);
    return begin;
  };
  for (int l = 0; l < layout.layers; ++l) {
    layout.weights[l] = take(layout.rows(l) * layout.stride);
    layout.bias[l] = take(layout.padded);
    if (!shape.layer_norm) continue;
    layout.gain[l] = take(layout.padded);
    layout.shift[l] = take(layout.padded);
  }
  layout.output_weights = take(layout.outputs * layout.stride);
  layout.output_bias = take(layout.outputs);
  layout.size = at;
  return layout;
}

// The narrowest kWidth that holds a shape, or 0.
inline int class_of(const MlpShape& shape) {
  for (int width : {16, 32, 64}) {
    if (shape.width <= width) return width;
  }
  return 0;
}

inline int max_shared_bytes(Context& context) {
  int bytes = 0;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, context.device()));
  return bytes;
}

// Blocks of a kernel that the whole device holds at once.
template <class... Parameters>
std::int64_t resident_blocks(Context& context, void (*kernel)(Parameters...), int threads, std::size_t shared_bytes) {
  allow_shared_memory(reinterpret_cast<const void*>(kernel), context);
  int per_multiprocessor = 0, multiprocessors = 0;
  SCALELAB_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, threads, shared_bytes));
  SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
  return static_cast<std::int64_t>(std::max(per_multiprocessor, 1)) * multiprocessors;
}

// --- crews and their networks ----------------------------------------------------------------------------------------

// A block as a crew. kTileRowsOf: of its register tiles.
template <int kWidthOf, int kTileRowsOf = 8>
struct Block {
  static constexpr int kWidth = kWidthOf, kTileRows = kTileRowsOf;
  static constexpr int kThreads = kWidth > 0 ? 8 * kThreadsOf<kWidth> / kTileRows : kThreadsOf<0>;  // a tile each
  static constexpr bool kTeam = false, kSplit = false;
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return kThreads; }
  __device__ bool leads() const { return true; }  // whether this is the crew's first block
  __device__ void sync() const { __syncthreads(); }
  __device__ bool all(bool good) const { return __syncthreads_and(good ? 1 : 0) != 0; }  // a sync() with a vote
  __device__ int samples(const MlpLayout&) const { return kSamples; }
  __device__ int row(const MlpLayout&) const { return kRow; }
};

// A crew that trains below fp32.
template <class Of>
struct Tensor : Of {
  using Of::Of;
  static constexpr bool kSplit = true;
};
// How it holds split numbers: on chip as matrices are loaded from there, otherwise a word each.
template <class Crew>
using Split = std::conditional_t<(Crew::kWidth > 0), Halves, SplitWords>;
template <class Crew>
inline constexpr bool kHalves = Crew::kSplit&& Crew::kWidth > 0;

// Calls copy(parameter index, packed index) for every parameter, shared out over `threads`.
template <class Copy>
__device__ inline void for_each_parameter(const MlpLayout& layout, int thread, int threads, Copy copy) {
  int p = 0;
  const auto row = [&](int at, int n) {
    for (int i = thread; i < n; i += threads) copy(p + i, at + i);
    p += n;
  };
  for (int l = 0; l < layout.layers; ++l) {
    const int fan_in = layout.fan_in(l), n = layout.width * fan_in;
    for (int e = thread; e < n; e += threads) {
      const int o = e / fan_in, i = e - o * fan_in;
      copy(p + e, layout.weights[l] + i * layout.stride + o);
    }
    p += n;
    row(layout.bias[l], layout.width);
    if (layout.layer_norm) {
      row(layout.gain[l], layout.width);
      row(layout.shift[l], layout.width);
    }
  }
  for (int j = 0; j < layout.outputs; ++j) row(layout.output_weights + j * layout.stride, layout.width);
  row(layout.output_bias, layout.outputs);
}

// Fills `packed`, padding included. The crew must meet at a barrier before reading it.
template <class Crew>
__device__ inline void pack(Crew& crew, const MlpLayout& layout, const float* parameters, float* packed) {
  const int thread = crew.thread(), threads = crew.threads();
  for (int i = thread; i < layout.size; i += threads) packed[i] = 0;
  crew.sync();
  for_each_parameter(layout, thread, threads, [&](int p, int at) { packed[at] = parameters[p]; });
}

// The planes of a block. When not training two layers take turns, and only activations are kept.
struct MlpPlanes {
  float* base;
  int plane;  // floats of one
  int kinds;  // per layer; 0: not training
  __device__ float* activations(int layer) const { return base + (kinds > 0 ? layer * kinds : layer & 1) * plane; }
  __device__ float* normalized(int layer) const { return base + (layer * kinds + 1) * plane; }
  __device__ float* slopes(int layer) const { return base + (layer * kinds + kinds - 1) * plane; }
};

struct Position {
  int row_group, column_group;
};

// Which register tile is the t-th: a warp covers kLaneRows x (32 / kLaneRows) of them.
template <int kLaneRows>
__device__ __forceinline__ Position position_of(int t, int column_groups) {
  constexpr int kLaneColumns = kWarp / kLaneRows;
  const int across = (column_groups + kLaneColumns - 1) / kLaneColumns, warp = t / kWarp, lane = t % kWarp;
  return {warp / across * kLaneRows + lane / kLaneColumns, warp % across * kLaneColumns + lane % kLaneColumns};
}
template <int kLaneRows>
__device__ __forceinline__ int position_count(int row_groups, int column_groups) {
  constexpr int kLaneColumns = kWarp / kLaneRows;
  return (row_groups + kLaneRows - 1) / kLaneRows * ((column_groups + kLaneColumns - 1) / kLaneColumns) * kWarp;
}
// For planes: four row groups by eight column groups keep both operands' loads free of conflicts.
template <class Crew>
inline constexpr int kPlaneLaneRows = Crew::kWidth == 16 && Crew::kTileRows == 8 ? 2 : 4;

__device__ __forceinline__ float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ __forceinline__ void store4(float* to, float4 v) { *reinterpret_cast<float4*>(to) = v; }
// Two pairs, kGap from one to the next.
template <int kGap>
__device__ __forceinline__ float4 load_pairs(const float* from) {
  if (kGap == 2) return load4(from);
  const float2 a = *reinterpret_cast<const float2*>(from), b = *reinterpret_cast<const float2*>(from + kGap);
  return make_float4(a.x, a.y, b.x, b.y);
}
template <int kGap>
__device__ __forceinline__ void store_pairs(float* to, float4 v) {
  if (kGap == 2) return store4(to, v);
  *reinterpret_cast<float2*>(to) = make_float2(v.x, v.y);
  *reinterpret_cast<float2*>(to + kGap) = make_float2(v.z, v.w);
}
__device__ __forceinline__ float element(const float4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// --- forward ---------------------------------------------------------------------------------------------------------

// An activation of one value; `slope` takes gelu's derivative, unless null.
__device__ inline float activated(Activation activation, float x, float* slope) {
  if (activation == Activation::relu) return relu_of(x);
  if (activation == Activation::tanh) return tanh_of(x);
  const Gelu gelu = gelu_of(x);
  if (slope != nullptr) *slope = gelu.slope;
  return gelu.value;
}

// Puts two pairs of numbers of a row of n as halves, kGap from one to the next.
template <int kGap>
__device__ __forceinline__ void put_halves(const MlpLayout& layout, float* row, int n, int column, float4 v) {
  const bool with_lo = layout.precision == Precision::bf16x3;
  Halves::put(row, n, column, make_float2(v.x, v.y), with_lo);
  Halves::put(row, n, column + kGap, make_float2(v.z, v.w), with_lo);
}

// Whether a crew turns the values of a layer into halves as it forms them. Values that are still to be normalised, or
// that pass through memory on their way through an activation, are split afterwards.
template <class Crew>
__device__ __forceinline__ bool splits_at_once(const MlpLayout& layout, int layer) {
  return kHalves<Crew> && layout.activation == Activation::relu && !layout.layer_norm && layer + 1 < layout.layers;
}

// values (padded, samples) = bias + weights^T below, the weights (depth, stride), `below` (depth, samples), followed by
// the activation where `activate` says so; as halves where `splits`. Thread: one register tile, or for kWidth 0 tiles in
// turn.
template <class Crew>
__device__ __forceinline__ void forward_product(const Crew& crew, const MlpLayout& layout, int depth,
                                                const float* weights, const float* bias, const float* below,
                                                float* values, bool activate, float* slopes, bool splits) {
  constexpr int kRows = Crew::kTileRows, kWidth = Crew::kWidth;
  const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, groups = padded / kRows;
  const int plane_row = crew.row(layout), column_groups = crew.samples(layout) / kTileColumns;
  constexpr int kLaneRows = kPlaneLaneRows<Crew>;
  const int count = position_count<kLaneRows>(groups, column_groups);
  for (int t = crew.thread(); t < count; t += crew.threads()) {
    const Position at = position_of<kLaneRows>(t, column_groups);
    if (kWidth == 0 && at.row_group >= groups) continue;
    const int row = at.row_group * kRows, column = at.column_group * kTileColumns;
    float sum[kRows][kTileColumns];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float start = bias[row + i];
#pragma unroll
      for (int c = 0; c < kTileColumns; ++c) sum[i][c] = start;
    }
    const float* left = weights + row;
    const float* right = below + column;
#pragma unroll 4
    for (int k = 0; k < depth; ++k) {
      const float4 low = load4(left), high = kRows > 4 ? load4(left + 4) : low, h = load4(right);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float w = element(i < 4 ? low : high, i % 4);
        sum[i][0] = ::fmaf(w, h.x, sum[i][0]);
        sum[i][1] = ::fmaf(w, h.y, sum[i][1]);
        sum[i][2] = ::fmaf(w, h.z, sum[i][2]);
        sum[i][3] = ::fmaf(w, h.w, sum[i][3]);
      }
      left += stride;
      right += plane_row;
    }
    const bool relu = activate && layout.activation == Activation::relu;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int c = 0; c < kTileColumns; ++c) sum[i][c] = relu ? relu_of(sum[i][c]) : sum[i][c];
      const float4 v = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
      float* const to = values + (row + i) * plane_row;
      if (kHalves<Crew> && splits) {
        put_halves<2>(layout, to, kSamples, column, v);
      } else {
        store4(to + column, v);
      }
    }
    if (!activate || relu) continue;
      // A thread's own elements again, one at a time: unrolled in registers this would be most of the kernel's code.
#pragma unroll 1
    for (int e = 0; e < kRows * kTileColumns; ++e) {
      const int own = (row + e / kTileColumns) * plane_row + column + e % kTileColumns;
      values[own] = activated(layout.activation, values[own], slopes != nullptr ? slopes + own : nullptr);
    }
  }
}

// The word that stands for x on a rung below fp32, as a float's bits.
__device__ __forceinline__ float word_of(const MlpLayout& layout, float x) {
  return __uint_as_float(layout.precision == Precision::bf16 ? bf16_bits(x) : split(x));
}

// A plane of floats becomes one of split numbers.
template <class Crew>
__device__ __forceinline__ void split_plane(const Crew& crew, const MlpLayout& layout, float* plane) {
  const int row = crew.row(layout);
  if constexpr (kHalves<Crew>) {  // a warp a row, which it has read before it writes
    static_assert(kSamples == 2 * kWarp);
    for (int f = crew.thread() / kWarp; f < layout.padded; f += crew.threads() / kWarp) {
      float* const at = plane + f * row;
      const float2 v = *reinterpret_cast<const float2*>(at + 2 * lane_index());
      __syncwarp();
      Halves::put(at, kSamples, 2 * lane_index(), v, layout.precision == Precision::bf16x3);
    }
  } else {
    const int groups = crew.samples(layout) / 4;
    for (int e = crew.thread(); e < layout.padded * groups; e += crew.threads()) {
      float* const at = plane + e / groups * row + e % groups * 4;
      const float4 v = load4(at);
      store4(at, make_float4(word_of(layout, v.x), word_of(layout, v.y), word_of(layout, v.z), word_of(layout, v.w)));
    }
  }
}

// Which 16 x 16 tiles of a product a warp takes at a time: so many that on chip every warp has at most one group of them.
template <class Crew>
struct PlaneTiles {  // of a plane
  static constexpr int kRows = 1, kColumns = Crew::kWidth > 0 ? 2 : 4;
};
template <class Crew>
struct WeightTiles {  // of the weights of a layer
  static constexpr int kRows = 1, kColumns = Crew::kWidth == 64 ? 2 : 1;
};

// use(row, column) for the first row and column of each group of tiles of a (rows, columns) product that is this
// warp's.
template <class Crew, class Tiles, class Use>
__device__ __forceinline__ void for_each_group(const Crew& crew, int rows, int columns, Use use) {
  const int across = columns / (16 * Tiles::kColumns), groups = rows / (16 * Tiles::kRows) * across;
  const int warp = crew.thread() / kWarp, warps = crew.threads() / kWarp;
  for (int i = warp; i < groups; i += warps) {
    use(i / across * 16 * Tiles::kRows, i % across * 16 * Tiles::kColumns);
    if (Crew::kWidth > 0) break;  // one, as said above
  }
}

// forward_product on tensor cores, the depth that of a hidden layer. Warp: groups of tiles.
template <class Crew>
__device__ __forceinline__ void forward_product_split(const Crew& crew, const MlpLayout& layout, const float* weights,
                                                      const float* bias, const float* below, float* values,
                                                      bool activate, float* slopes, bool splits) {
  using Tiles = PlaneTiles<Crew>;
  using Format = Split<Crew>;
  const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded, plane_row = crew.row(layout);
  for_each_group<Crew, Tiles>(crew, padded, crew.samples(layout), [&](int group_row, int group_column) {
    const int row = group_row + Format::row(), column = group_column + Format::column();
    ProductTile<Format> tiles[Tiles::kRows][Tiles::kColumns];
#pragma unroll
    for (int m = 0; m < Tiles::kRows; ++m) {
      const float first = bias[row + 16 * m], second = bias[row + 16 * m + Format::kRowStep];
#pragma unroll
      for (int n = 0; n < Tiles::kColumns; ++n) {
        tiles[m][n].begin(make_float4(first, first, first, first), make_float4(second, second, second, second));
      }
    }
    multiply_split<false, false>(tiles, Format{weights, padded + 4, padded}, group_row,
                                 Format{below, plane_row, crew.samples(layout)}, group_column, padded,
                                 layout.precision == Precision::bf16x3);
    const bool relu = activate && layout.activation == Activation::relu;
#pragma unroll
    for (int e = 0; e < 2 * Tiles::kRows * Tiles::kColumns; ++e) {
      const int m = e / 2 / Tiles::kColumns, n = e / 2 % Tiles::kColumns;
      float4 v = tiles[m][n].row(e % 2);
      if (relu) v = make_float4(relu_of(v.x), relu_of(v.y), relu_of(v.z), relu_of(v.w));
      float* const to = values + (row + 16 * m + e % 2 * Format::kRowStep) * plane_row;
      if (kHalves<Crew> && splits) {
        put_halves<Format::kGap>(layout, to, kSamples, column + 16 * n, v);
      } else {
        store_pairs<Format::kGap>(to + column + 16 * n, v);
      }
    }
    if (!activate || relu) return;
      // A lane's own elements again, one at a time, as in forward_product.
#pragma unroll 1
    for (int e = 0; e < 8 * Tiles::kRows * Tiles::kColumns; ++e) {
      const int m = e / 8 / Tiles::kColumns, n = e / 8 % Tiles::kColumns;
      const int own = (row + 16 * m + e / 4 % 2 * Format::kRowStep) * plane_row + column + 16 * n +
                      e / 2 % 2 * Format::kGap + e % 2;
      values[own] = activated(layout.activation, values[own], slopes != nullptr ? slopes + own : nullptr);
    }
  });
}

// values = activation(gain * (values - mean) / sqrt(variance + 1e-5) + shift) over the features of each sample.
// `normalized` and `inverse` take what the backward pass needs, unless null. Thread: a sample.
template <class Crew>
__device__ __forceinline__ void normalize(const Crew& crew, const MlpLayout& layout, int layer, const float* packed,
                                          float* values, float* normalized, float* inverse, float* slopes) {
  const float* gain = packed + layout.gain[layer];
  const float* shift = packed + layout.shift[layer];
  const float width = static_cast<float>(layout.width);
  const int row = crew.row(layout), samples = crew.samples(layout);
  for (int s = crew.thread(); s < samples; s += crew.threads()) {
    float sum = 0, squares = 0;
    for (int f = 0; f < layout.width; ++f) sum += values[f * row + s];
    const float mean = sum / width;
    for (int f = 0; f < layout.width; ++f) {
      const float centred = values[f * row + s] - mean;
      squares = ::fmaf(centred, centred, squares);
    }
    const float scale = 1.0F / ::sqrtf(squares / width + 1e-5F);
    if (inverse != nullptr) inverse[s] = scale;
    for (int f = 0; f < layout.width; ++f) {
      const int at = f * row + s;
      const float value = (values[at] - mean) * scale;
      if (normalized != nullptr) normalized[at] = value;
      values[at] =
          activated(layout.activation, ::fmaf(gain[f], value, shift[f]), slopes != nullptr ? slopes + at : nullptr);
    }
    if (slopes == nullptr) continue;
    for (int f = layout.width; f < layout.padded; ++f) slopes[f * row + s] = 0;  // nothing else writes these
  }
}

// All hidden layers of the samples whose features are in `x` (features, samples), read behind a barrier. Returns the
// plane of the last layer's activations, complete for every thread. `inverse` (layers, samples): layer norm in
// training.
template <class Crew>
__device__ __forceinline__ const float* forward_hidden(Crew& crew, const MlpLayout& layout, const float* packed,
                                                       const float* x, const MlpPlanes& planes, float* inverse) {
  const bool training = planes.kinds > 0, gelu = layout.activation == Activation::gelu;
  const float* below = x;
  for (int l = 0; l < layout.layers; ++l) {
    float* const values = planes.activations(l);
    float* const slopes = training && gelu ? planes.slopes(l) : nullptr;
    const float *const weights = packed + layout.weights[l], *const bias = packed + layout.bias[l];
    const bool splits = splits_at_once<Crew>(layout, l);
    if (Crew::kSplit && l > 0) {
      forward_product_split(crew, layout, weights, bias, below, values, !layout.layer_norm, slopes, splits);
    } else {
      forward_product(crew, layout, layout.fan_in(l), weights, bias, below, values, !layout.layer_norm, slopes, splits);
    }
    crew.sync();
    if (layout.layer_norm) {
      normalize(crew, layout, l, packed, values, training ? planes.normalized(l) : nullptr,
                training ? inverse + l * crew.samples(layout) : nullptr, slopes);
      crew.sync();
    }
    if (Crew::kSplit && !splits && l + 1 < layout.layers) {
      split_plane(crew, layout, values);
      crew.sync();
    }
    below = values;
  }
  return below;
}

// Score j of sample s; rows of `top` are `row` floats apart.
__device__ __forceinline__ float score_of(const MlpLayout& layout, const float* packed, const float* top, int j, int s,
                                          int row = kRow) {
  const float* weights = packed + layout.output_weights + j * layout.stride;
  float sum = packed[layout.output_bias + j];
#pragma unroll 8
  for (int o = 0; o < layout.width; ++o) sum = ::fmaf(weights[o], top[o * row + s], sum);
  return sum;
}

// --- networks that only score ----------------------------------------------------------------------------------------

// Queues the packing of every network of (m, p) into `packed` (m, size).
void pack_networks(const MlpLayout& layout, View<const float> parameters, float* packed, Context& context);

// What a block that scores tiles holds on chip (kWidth > 0) or in its share of global memory (kWidth 0).
inline std::int64_t scoring_floats(const MlpLayout& layout, int class_width) {
  return (class_width > 0 ? layout.size : 0) + static_cast<std::int64_t>(layout.first_rows) * kRow + 2 * layout.plane();
}

// Blocks on a multiprocessor that registers must allow: what shared memory allows of three layers of full width.
template <int kWidth>
inline constexpr int kScoringBlocks = kWidth == 16   ? 16
                                      : kWidth == 32 ? 8
                                      : kWidth == 64 ? 3
                                                     : 2;

// A block's walk over tiles [begin, end) of m networks with `tiles` tiles each: fetches a network's weights when it
// comes to the first of its tiles. fetch(tile, x) brings features, emit(network, tile, top, packed) takes results.
template <int kWidth, class Fetch, class Emit>
__device__ __forceinline__ void score_tiles(const MlpLayout& layout, const float* packed, std::int64_t m,
                                            std::int64_t tiles, float* memory, Fetch fetch, Emit emit) {
  Block<kWidth> crew;
  float* const own = memory;
  float* const x = memory + (kWidth > 0 ? layout.size : 0);
  const MlpPlanes planes{x + layout.first_rows * kRow, layout.plane(), 0};
  // An even share of all tiles: floor(total * b / blocks), without overflow.
  const std::int64_t total = m * tiles, blocks = gridDim.x, b = blockIdx.x;
  const std::int64_t share = total / blocks, rest = total % blocks;
  const std::int64_t begin = share * b + (b < rest ? b : rest), end = begin + share + (b < rest ? 1 : 0);
  std::int64_t loaded = -1;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t network = i / tiles, tile = i - network * tiles;
    const float* const source = packed + network * layout.size;
    if (kWidth > 0 && network != loaded) {
      __syncthreads();  // emit may still be reading the last network's weights
      for (int e = 4 * static_cast<int>(threadIdx.x); e < layout.size; e += 4 * kThreadsOf<kWidth>) {
        store4(own + e, load4(source + e));
      }
      loaded = network;
    }
    fetch(tile, x);
    __syncthreads();
    const float* const weights = kWidth > 0 ? own : source;
    const float* const top = forward_hidden(crew, layout, weights, x, planes, nullptr);
    emit(network, tile, top, weights);
  }
}

// Queues Kernel<kWidth>::kernel for the class of `shape`, with the networks packed in scratch and for kWidth 0 a
// workspace per block. Shared memory: `extra_bytes`, then (kWidth > 0) scoring_floats().
template <template <int> class Kernel, class... Arguments>
void launch_scoring(const MlpShape& shape, View<const float> parameters, std::int64_t total_tiles,
                    std::size_t extra_bytes, Context& context, Arguments... arguments) {
  const std::int64_t m = parameters.extent(0);
  int width = class_of(shape);
  MlpLayout layout = make_layout(shape, width);
  std::size_t shared = static_cast<std::size_t>(scoring_floats(layout, width)) * sizeof(float);
  if (width > 0 && shared + extra_bytes > static_cast<std::size_t>(max_shared_bytes(context))) {
    width = 0;
    layout = make_layout(shape, 0);
  }
  if (width == 0) shared = 0;  // all in the workspace
  shared += extra_bytes;
  Scratch<float> packed(m * layout.size, context);
  pack_networks(layout, parameters, packed.data(), context);
  const auto run = [&](auto kernel, int threads) {
    const std::int64_t blocks = std::min(total_tiles, resident_blocks(context, kernel, threads, shared));
    const std::int64_t floats = width > 0 ? 0 : scoring_floats(layout, 0);
    Scratch<float> workspace(blocks * floats, context);
    launch(context, blocks, threads, shared, kernel, layout, packed.data(), m, workspace.data(), floats, arguments...);
  };
  switch (width) {
    case 16: return run(Kernel<16>::kernel, kThreadsOf<16>);
    case 32: return run(Kernel<32>::kernel, kThreadsOf<32>);
    case 64: return run(Kernel<64>::kernel, kThreadsOf<64>);
    default: return run(Kernel<0>::kernel, kThreadsOf<0>);
  }
}

}  // namespace scalelab::cuda
