// mlp on CUDA: forward, backward and whole training runs in fp32, with the arithmetic of the CPU twin, chain for chain.
//
// Training: one thread block is one whole run. Blocks take runs from a queue sorted longest first until it is empty.
// Who owns what: a block its network; a thread, in every product, the elements of its register tile, and in the
// optimiser the parameters whose gradient it has just summed, so that a gradient leaves its registers only when a batch
// takes more than one tile of 64 samples. Nothing is added by atomics and nothing depends on what other blocks do.
// Shared memory (widths to 64): weights, one plane per layer (the gradient by a plane's values overwrites the values
// once nothing reads them any more), a tile of features. The moments join them where that costs no resident block, and
// lie in L2 otherwise: 16 bytes per parameter and step. Data is read through L1.
// Beyond width 64 everything is in L2, and where there are fewer runs than multiprocessors a team of blocks trains one:
// a cluster, or where there are none, or a large batch has work for more blocks, blocks of one cooperative launch. Each
// element is still one chain in one thread, so that a run's bits do not depend on its team.
// Below fp32 (Tensor crews) the optimiser works on master weights in fp32, which lie where the moments lie, and leaves
// beside them what the products read: words in the place of weights between hidden layers, copies of all others.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <tuple>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/mlp_block.cuh"
#include "kernels/mlp_check.h"
#include "kernels/mlp_step.h"
#include "scalelab/mlp.h"
#include "scalelab/random.h"

namespace scalelab::cuda {

namespace {

// --- a run, as the device sees it ------------------------------------------------------------------------------------

struct Job {
  MlpLayout layout;
  float gamma;
  const float* features;  // (n, features), encoded
  const std::uint8_t* labels;
  const int* rows;  // (r), or null: all
  std::int64_t r, batch;
  bool shuffle;
  std::uint64_t seed;
  float* parameters;  // (p)
  std::int64_t p;
  const std::uint8_t* weight_mask;  // (p) or null
  float* state;                     // (2 p) or null
  float *epoch_losses, *gradients;  // or null. `gradients` (p): no training, the gradient over all rows
  float* loss;                      // with `gradients`: (1)
  int* diverged;                    // or null
  int* status;                      // -1, or the epochs finished before the run diverged
  int epochs, epoch_begin, epoch_end;
  float learning_rate, momentum, beta1, beta2, epsilon, weight_decay;
  Schedule schedule;
  Optimizer optimizer;
};

inline constexpr float kMaxFloat = 0x1.fffffep127F;
inline constexpr int kSteps = 32;  // step constants computed at a time, one by each lane of a warp

template <int kMaxSamples>
struct TrainShared {
  double sums[kSamples];  // losses of the epoch, by row modulo kSamples
  MlpStep steps[kSteps];
  int rows[kMaxSamples];
  int labels[kMaxSamples];
  int job, unused[3];  // keeps what follows aligned to 16 bytes
};

// What the blocks of a team tell each other, in global memory.
struct TeamState {
  int job;
  int bad;  // votes of all() that were against, in this run
  unsigned arrived;
};

struct Teams {
  int blocks;  // of each
  bool clusters;
  TeamState* states;
};

// The crew of a run at kWidth 0.
struct Team {
  static constexpr int kWidth = 0, kTileRows = 4;
  static constexpr bool kTeam = true, kSplit = false;
  static constexpr int kMaxSamples = 1024;
  int rank, blocks;
  bool cluster;
  TeamState* state;
  unsigned meetings = 0;  // thread 0: barriers passed

  __device__ Team(const Teams& teams)
      : rank(static_cast<int>(blockIdx.x) % teams.blocks),
        blocks(teams.blocks),
        cluster(teams.clusters),
        state(teams.states + blockIdx.x / teams.blocks) {}
  // Warps are dealt to the blocks in turn, so that a few tiles meet many multiprocessors.
  __device__ int thread() const { return (warp_in_block() * blocks + rank) * kWarp + lane_index(); }
  __device__ int threads() const { return kThreadsOf<0> * blocks; }
  __device__ bool leads() const { return rank == 0; }
  __device__ void sync() {
    if (blocks == 1) {
      __syncthreads();
    } else if (cluster) {
      cluster_barrier();
    } else {
      __syncthreads();
      if (threadIdx.x == 0) {
        ++meetings;
        __threadfence();
        atomicAdd(&state->arrived, 1U);
        const unsigned all_arrived = meetings * static_cast<unsigned>(blocks);
        while (static_cast<int>(atomicAdd(&state->arrived, 0U) - all_arrived) < 0) {  // the count may wrap
        }
        __threadfence();
      }
      __syncthreads();
    }
  }
  // Once against, always against, until the next run.
  __device__ bool all(bool good) {
    const bool block_good = __syncthreads_and(good ? 1 : 0) != 0;
    if (blocks == 1) return block_good;
    if (threadIdx.x == 0 && !block_good) atomicAdd(&state->bad, 1);
    sync();
    return state->bad == 0;
  }
  __device__ int samples(const MlpLayout& layout) const { return layout.samples; }
  __device__ int row(const MlpLayout& layout) const { return layout.row(); }
};

template <class Crew>
__device__ inline Crew crew_of(const Teams& teams) {
  if constexpr (Crew::kTeam) {
    return Crew(teams);
  } else {
    return {};
  }
}

template <class Crew>
using SharedOf = TrainShared<Crew::kTeam ? Team::kMaxSamples : kSamples>;
static_assert(sizeof(SharedOf<Block<16>>) % 16 == 0 && sizeof(SharedOf<Team>) % 16 == 0);

// Floats of each part of a run's memory.
struct TrainParts {
  // weights; features, scores, layer norm's 1 / deviation (layers, samples), planes; for kWidth 0 two planes more
  std::int64_t network, planes;
  SCALELAB_HD static TrainParts of(const MlpLayout& layout, bool on_chip) {
    return {layout.size,
            static_cast<std::int64_t>(layout.first_rows + layout.outputs) * layout.row() +
                (layout.layer_norm ? layout.layers * layout.samples : 0) +
                static_cast<std::int64_t>(layout.layers * layout.kinds + (on_chip ? 0 : 2)) * layout.plane()};
  }
};

// Beside weights and planes: moments (2), gradient, mask; below fp32 master weights.
SCALELAB_HD constexpr int besides_of(bool split) { return split ? 5 : 4; }

// What every update of one step multiplies by.
struct Rule {
  Optimizer optimizer;
  float decay, minus_rate, momentum, beta1, beta2, rest1, rest2, minus_scaled_rate, inverse_root, epsilon;
};

__device__ inline Rule rule_of(const Job& job, const MlpStep& step) {
  return {job.optimizer,     -step.rate * job.weight_decay,
          -step.rate,        job.momentum,
          job.beta1,         job.beta2,
          1.0F - job.beta1,  1.0F - job.beta2,
          -step.scaled_rate, step.inverse_root,
          job.epsilon};
}

__device__ __forceinline__ void update(const Rule& rule, float gradient, float& value, float& first, float& second) {
  const float g = without_traces(gradient, kNoGradient);
  value = ::fmaf(rule.decay, value, value);
  if (rule.optimizer == Optimizer::adam) {
    first = without_traces(::fmaf(rule.rest1, g, rule.beta1 * first), kSmallestNormal);
    second = without_traces(::fmaf(rule.rest2 * g, g, rule.beta2 * second), kSmallestNormal);
    const float scale = ::fmaf(::sqrtf(second), rule.inverse_root, rule.epsilon);
    value = ::fmaf(rule.minus_scaled_rate, first / scale, value);
  } else {
    first = without_traces(::fmaf(rule.momentum, first, g), kSmallestNormal);
    value = ::fmaf(rule.minus_rate, first, value);
  }
}

// The parameters of a block's network and what an optimiser keeps of them, all packed.
struct Network {
  float* values;  // what products and scores read
  float* master;  // what learns; in fp32 the same
  float *first, *second, *gradient;
  const float* mask;  // 1 where a value learns, 0 where it stays zero; null: all learn
};

// How `values` show a master weight: as itself, as a copy, as a word.
enum class Shown { itself, copy, word };
template <class Crew>
inline constexpr Shown kShown = Crew::kSplit ? Shown::copy : Shown::itself;

// What becomes of a gradient summed over a tile of samples: `begins` a batch's sum or adds to one in memory, and
// `learns`: it is complete, and goes straight into an update.
struct Flow {
  bool begins, learns;
};

template <Shown kShown>
__device__ __forceinline__ void settle(const Network& net, const Flow& flow, const Rule& rule, int at, float gradient) {
  if (!flow.learns) {
    net.gradient[at] = gradient;
    return;
  }
  if (net.mask != nullptr && net.mask[at] == 0) return;  // value and moments stay zero
  float value = net.master[at], first = net.first[at], second = net.second[at];
  update(rule, gradient, value, first, second);
  net.master[at] = value;
  if (kShown == Shown::copy) net.values[at] = value;
  net.first[at] = first;
  net.second[at] = second;
}

template <Shown kShown>
__device__ __forceinline__ void settle4(const MlpLayout& layout, const Network& net, const Flow& flow, const Rule& rule,
                                        int at, float4 g) {
  if (!flow.learns) {
    store4(net.gradient + at, g);
    return;
  }
  float4 value = load4(net.master + at), first = load4(net.first + at), second = load4(net.second + at);
  update(rule, g.x, value.x, first.x, second.x);
  update(rule, g.y, value.y, first.y, second.y);
  update(rule, g.z, value.z, first.z, second.z);
  update(rule, g.w, value.w, first.w, second.w);
  if (net.mask != nullptr) {
    const float4 learns = load4(net.mask + at);
    const auto held = [&](float4 v) {
      return make_float4(learns.x == 0 ? 0 : v.x, learns.y == 0 ? 0 : v.y, learns.z == 0 ? 0 : v.z,
                         learns.w == 0 ? 0 : v.w);
    };
    value = held(value);
    first = held(first);
    second = held(second);
  }
  store4(net.master + at, value);
  store4(net.first + at, first);
  store4(net.second + at, second);
  if (kShown == Shown::copy) store4(net.values + at, value);
  if (kShown == Shown::word) {
    store4(net.values + at, make_float4(word_of(layout, value.x), word_of(layout, value.y), word_of(layout, value.z),
                                        word_of(layout, value.w)));
  }
}

// --- sums over samples -----------------------------------------------------------------------------------------------
// Rows of planes end in zeros behind the samples that count, so that sums run over whole groups of four.

__device__ __forceinline__ float begin_of(const Network& net, const Flow& flow, int at) {
  return flow.begins ? 0.0F : net.gradient[at];
}

// sum + a . b over samples in ascending order.
__device__ __forceinline__ float dot_rows(const float* a, const float* b, int count, float sum) {
  for (int s = 0; s < count; s += 4) {
    const float4 x = load4(a + s), y = load4(b + s);
    sum = ::fmaf(x.x, y.x, sum);
    sum = ::fmaf(x.y, y.y, sum);
    sum = ::fmaf(x.z, y.z, sum);
    sum = ::fmaf(x.w, y.w, sum);
  }
  return sum;
}

// sum + each product of a and b, rounded before it is added.
__device__ __forceinline__ float add_products(const float* a, const float* b, int count, float sum) {
  for (int s = 0; s < count; s += 4) {
    const float4 x = load4(a + s), y = load4(b + s);
    sum += x.x * y.x;
    sum += x.y * y.y;
    sum += x.z * y.z;
    sum += x.w * y.w;
  }
  return sum;
}

__device__ __forceinline__ float add_row(const float* a, int count, float sum) {
  for (int s = 0; s < count; s += 4) {
    const float4 x = load4(a + s);
    sum += x.x;
    sum += x.y;
    sum += x.z;
    sum += x.w;
  }
  return sum;
}

// Rows of a register tile of weights: as many as leave no thread idle where the weights are kWidth x kWidth.
template <int kWidth>
inline constexpr int kWeightTileRows = kWidth == 16   ? 2
                                       : kWidth == 32 ? 4
                                                      : 8;

// Gradient of weights (rows, stride) = below (rows, samples) delta^T (samples, padded), settled. Thread: tiles of
// kWeightTileRows x 4, their rows spread over `rows` so that the lanes of a warp read neighbouring rows of `below`.
template <class Crew>
__device__ __forceinline__ void weight_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                 const Flow& flow, const Rule& rule, int rows, int weights,
                                                 const float* below, const float* delta, int count) {
  constexpr int kWidth = Crew::kWidth, kLaneRows = 8;
  constexpr int plane_rows = Crew::kTeam ? Crew::kTileRows : kWeightTileRows<kWidth>;
  const int plane_row = crew.row(layout);
  const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4;
  const int row_groups = rows / plane_rows, column_groups = padded / kTileColumns;
  const int positions = position_count<kLaneRows>(row_groups, column_groups);
  for (int t = crew.thread(); t < positions; t += crew.threads()) {
    const Position at = position_of<kLaneRows>(t, column_groups);
    if (at.row_group >= row_groups || at.column_group >= column_groups) continue;
    const int first = weights + at.row_group * stride + at.column_group * kTileColumns, step = row_groups * stride;
    float4 sum[plane_rows];
#pragma unroll
    for (int i = 0; i < plane_rows; ++i) {
      sum[i] = flow.begins ? make_float4(0, 0, 0, 0) : load4(net.gradient + first + i * step);
    }
    const float* left = below + at.row_group * plane_row;
    const float* right = delta + at.column_group * kTileColumns * plane_row;
#pragma unroll 1
    for (int s = 0; s < count; s += 4) {
      const float4 d0 = load4(right + s), d1 = load4(right + plane_row + s), d2 = load4(right + 2 * plane_row + s),
                   d3 = load4(right + 3 * plane_row + s);
#pragma unroll
      for (int i = 0; i < plane_rows; ++i) {
        const float4 h = load4(left + i * row_groups * plane_row + s);
#pragma unroll
        for (int q = 0; q < 4; ++q) {
          const float x = element(h, q);
          sum[i].x = ::fmaf(x, element(d0, q), sum[i].x);
          sum[i].y = ::fmaf(x, element(d1, q), sum[i].y);
          sum[i].z = ::fmaf(x, element(d2, q), sum[i].z);
          sum[i].w = ::fmaf(x, element(d3, q), sum[i].w);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < plane_rows; ++i) settle4<kShown<Crew>>(layout, net, flow, rule, first + i * step, sum[i]);
  }
}

// weight_gradients on tensor cores, of a layer between hidden layers. Warp: groups of tiles.
template <class Crew>
__device__ __forceinline__ void weight_gradients_split(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                       const Flow& flow, const Rule& rule, int weights,
                                                       const float* below, const float* delta, int count) {
  using Tiles = WeightTiles<Crew::kWidth>;
  const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded, stride = padded + 4, plane_row = crew.row(layout);
  for_each_group<Crew, Tiles>(crew, padded, padded, [&](int group_row, int group_column) {
    const int first =
        weights + (group_row + ProductTile::first_row()) * stride + group_column + ProductTile::first_column();
    const float4 zero = make_float4(0, 0, 0, 0);
    ProductTile tiles[Tiles::kRows][Tiles::kColumns];
#pragma unroll
    for (int e = 0; e < Tiles::kRows * Tiles::kColumns; ++e) {
      const int m = e / Tiles::kColumns, n = e % Tiles::kColumns;
      const float* const begin = net.gradient + first + 16 * m * stride + 16 * n;
      tiles[m][n].begin(flow.begins ? zero : load4(begin), flow.begins ? zero : load4(begin + stride));
    }
    multiply_words<Tiles::kRows, Tiles::kColumns, true, true>(
        tiles, below + group_row * plane_row, plane_row, delta + group_column * plane_row, plane_row,
        (count + 15) / 16 * 16, layout.precision == Precision::bf16x3);
#pragma unroll
    for (int e = 0; e < 2 * Tiles::kRows * Tiles::kColumns; ++e) {
      const int m = e / 2 / Tiles::kColumns, n = e / 2 % Tiles::kColumns;
      settle4<Shown::word>(layout, net, flow, rule, first + (16 * m + e % 2) * stride + 16 * n, tiles[m][n].row(e % 2));
    }
  });
}

template <class Crew>
__device__ __forceinline__ void bias_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                               const Flow& flow, const Rule& rule, int layer, const float* delta,
                                               int count) {
  const int bias = layout.bias[layer], row = crew.row(layout);
  for (int o = crew.thread(); o < layout.width; o += crew.threads()) {
    settle<kShown<Crew>>(net, flow, rule, bias + o, add_row(delta + o * row, count, begin_of(net, flow, bias + o)));
  }
}

// Gradients of a hidden layer's weights and bias, settled.
template <class Crew>
__device__ __forceinline__ void layer_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                const Flow& flow, const Rule& rule, int layer, const float* below,
                                                const float* delta, int count) {
  const int thread = crew.thread(), threads = crew.threads(), width = layout.width, row = crew.row(layout);
  const int rows = layout.rows(layer), weights = layout.weights[layer], bias = layout.bias[layer];
  if (rows >= kTileRows) {
    weight_gradients(crew, layout, net, flow, rule, rows, weights, below, delta, count);
    bias_gradients(crew, layout, net, flow, rule, layer, delta, count);
    return;
  }
  // Few inputs: an element a thread, the bias as one row more.
  for (int e = thread; e < (rows + 1) * width; e += threads) {
    const int i = e / width, o = e - i * width;
    const int at = i < rows ? weights + i * layout.stride + o : bias + o;
    const float start = begin_of(net, flow, at);
    const float sum =
        i < rows ? dot_rows(below + i * row, delta + o * row, count, start) : add_row(delta + o * row, count, start);
    settle<kShown<Crew>>(net, flow, rule, at, sum);
  }
}

template <class Crew>
__device__ __forceinline__ void output_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                 const Flow& flow, const Rule& rule, const float* top,
                                                 const float* deltas, int count) {
  const int width = layout.width, elements = layout.outputs * (width + 1), row = crew.row(layout);
  for (int e = crew.thread(); e < elements; e += crew.threads()) {
    const int j = e / (width + 1), o = e - j * (width + 1);
    const int at = o < width ? layout.output_weights + j * layout.stride + o : layout.output_bias + j;
    const float start = begin_of(net, flow, at);
    const float sum =
        o < width ? dot_rows(deltas + j * row, top + o * row, count, start) : add_row(deltas + j * row, count, start);
    settle<kShown<Crew>>(net, flow, rule, at, sum);
  }
}

// --- gradients by activations ----------------------------------------------------------------------------------------

// One thread's tile of the gradient by a plane: rows row_group + i * groups, four columns.
template <int kRows>
struct DeltaTile {
  float sum[kRows][kTileColumns];
  int row, step, column;  // first row, rows between, first column
};

// The t-th tile of weights (padded, stride) delta (depth, samples), the depth in whole groups of four.
template <int kRows>
__device__ __forceinline__ void delta_product(DeltaTile<kRows>& tile, const float* weights, int stride, int depth,
                                              const float* delta, int plane_row) {
  const float* left = weights + tile.row * stride;
  const float* right = delta + tile.column;
#pragma unroll 1
  for (int o = 0; o < depth; o += 4) {
    const float4 d0 = load4(right + o * plane_row), d1 = load4(right + (o + 1) * plane_row),
                 d2 = load4(right + (o + 2) * plane_row), d3 = load4(right + (o + 3) * plane_row);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float4 w = load4(left + i * tile.step * stride + o);
#pragma unroll
      for (int c = 0; c < kTileColumns; ++c) {
        float sum = tile.sum[i][c];
        sum = ::fmaf(w.x, element(d0, c), sum);
        sum = ::fmaf(w.y, element(d1, c), sum);
        sum = ::fmaf(w.z, element(d2, c), sum);
        sum = ::fmaf(w.w, element(d3, c), sum);
        tile.sum[i][c] = sum;
      }
    }
  }
}

// The same for the output layer, whose weights (outputs, stride) are not turned.
template <int kRows>
__device__ __forceinline__ void delta_product_outputs(DeltaTile<kRows>& tile, const float* weights, int stride,
                                                      int outputs, const float* deltas, int plane_row) {
  for (int j = 0; j < outputs; ++j) {
    const float4 d = load4(deltas + j * plane_row + tile.column);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float w = weights[j * stride + tile.row + i * tile.step];
      tile.sum[i][0] = ::fmaf(w, d.x, tile.sum[i][0]);
      tile.sum[i][1] = ::fmaf(w, d.y, tile.sum[i][1]);
      tile.sum[i][2] = ::fmaf(w, d.z, tile.sum[i][2]);
      tile.sum[i][3] = ::fmaf(w, d.w, tile.sum[i][3]);
    }
  }
}

// The number that a word stands for.
__device__ __forceinline__ float number_of(float word) { return joined(__float_as_uint(word)); }

// Times the activation's derivative, into `to`, which may be the plane of `activations` itself. `words`: that is what
// the activations are. A word is above zero as a float where its number is.
template <int kRows>
__device__ __forceinline__ void store_delta(const DeltaTile<kRows>& tile, Activation activation,
                                            const float* activations, const float* slopes, float* to, int plane_row,
                                            bool words = false) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int at = (tile.row + i * tile.step) * plane_row + tile.column;
    const float* sum = tile.sum[i];
    float4 result;
    if (activation == Activation::relu) {
      const float4 h = load4(activations + at);
      result = make_float4(h.x > 0 ? sum[0] : 0, h.y > 0 ? sum[1] : 0, h.z > 0 ? sum[2] : 0, h.w > 0 ? sum[3] : 0);
    } else if (activation == Activation::tanh) {
      float4 h = load4(activations + at);
      if (words) h = make_float4(number_of(h.x), number_of(h.y), number_of(h.z), number_of(h.w));
      result = make_float4(sum[0] * ::fmaf(-h.x, h.x, 1.0F), sum[1] * ::fmaf(-h.y, h.y, 1.0F),
                           sum[2] * ::fmaf(-h.z, h.z, 1.0F), sum[3] * ::fmaf(-h.w, h.w, 1.0F));
    } else {
      const float4 slope = load4(slopes + at);
      result = make_float4(sum[0] * slope.x, sum[1] * slope.y, sum[2] * slope.z, sum[3] * slope.w);
    }
    store4(to + at, result);
  }
}

// A warp's tiles of the gradient by a plane, of a Tensor crew, from a first row and column.
template <class Crew>
struct DeltaTiles {
  using Tiles = PlaneTiles<Crew::kWidth>;
  static constexpr int kCount = Tiles::kRows * Tiles::kColumns;
  ProductTile tiles[Tiles::kRows][Tiles::kColumns];

  // As delta_product, both factors words.
  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const float* weights,
                                           const float* delta, int row, int column) {
    const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded, stride = padded + 4;
    const float4 zero = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int e = 0; e < kCount; ++e) tiles[e / Tiles::kColumns][e % Tiles::kColumns].begin(zero, zero);
    multiply_words<Tiles::kRows, Tiles::kColumns, true, false>(tiles, weights + row * stride, stride, delta + column,
                                                               crew.row(layout), padded,
                                                               layout.precision == Precision::bf16x3);
  }
  // As delta_product_outputs, in fp32.
  __device__ __forceinline__ void multiply_outputs(const float* weights, int stride, int outputs, const float* deltas,
                                                   int plane_row, int row, int column) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      DeltaTile<2> tile = place(e, row, column);
      delta_product_outputs(tile, weights, stride, outputs, deltas, plane_row);
      const auto sums = [&](int i) {
        return make_float4(tile.sum[i][0], tile.sum[i][1], tile.sum[i][2], tile.sum[i][3]);
      };
      tiles[e / Tiles::kColumns][e % Tiles::kColumns].begin(sums(0), sums(1));
    }
  }
  __device__ __forceinline__ void store(Activation activation, const float* activations, const float* slopes, float* to,
                                        int plane_row, bool words, int row, int column) const {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      DeltaTile<2> tile = place(e, row, column);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float4 sums = tiles[e / Tiles::kColumns][e % Tiles::kColumns].row(i);
#pragma unroll
        for (int c = 0; c < kTileColumns; ++c) tile.sum[i][c] = element(sums, c);
      }
      store_delta(tile, activation, activations, slopes, to, plane_row, words);
    }
  }

 private:
  // This lane's part of tile e, its sums zero.
  __device__ static DeltaTile<2> place(int e, int row, int column) {
    return {{},
            row + e / Tiles::kColumns * 16 + ProductTile::first_row(),
            1,
            column + e % Tiles::kColumns * 16 + ProductTile::first_column()};
  }
};

// The gradient by the values before `normalize`, in place of the one by the values behind it. Thread: a sample.
template <class Crew>
__device__ __forceinline__ void normalize_backward(const Crew& crew, const MlpLayout& layout, const float* gain,
                                                   const float* normalized, const float* inverse, float* delta) {
  const float width = static_cast<float>(layout.width);
  const int row = crew.row(layout), samples = crew.samples(layout);
  for (int s = crew.thread(); s < samples; s += crew.threads()) {
    float sum = 0, dot = 0;
    for (int f = 0; f < layout.width; ++f) {
      const int at = f * row + s;
      const float scaled = delta[at] * gain[f];
      sum += scaled;
      dot = ::fmaf(scaled, normalized[at], dot);
      delta[at] = scaled;
    }
    const float mean = sum / width, share = -(dot / width);
    for (int f = 0; f < layout.width; ++f) {
      const int at = f * row + s;
      delta[at] = ::fmaf(share, normalized[at], delta[at] - mean) * inverse[s];
    }
  }
}

// A tile of samples whose planes hold a forward pass, and whose `scores` hold the gradient by the scores (zeros behind
// the samples that count), back to the gradients of all parameters. Ends at a barrier.
template <class Crew>
__device__ __forceinline__ void backward(Crew& crew, const MlpLayout& layout, const Network& net, const Flow& flow,
                                         const Rule& rule, const float* x, const MlpPlanes& planes, float* deltas,
                                         const float* scores, const float* inverse, int count) {
  constexpr int kWidth = Crew::kWidth, kRows = Crew::kTileRows, kLaneRows = kPlaneLaneRows<kWidth>;
  constexpr bool kInPlace = kWidth > 0;
  const int thread = crew.thread(), plane_row = crew.row(layout);
  const int column_groups = crew.samples(layout) / kTileColumns;
  const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, groups = padded / kRows;
  const int positions = position_count<kLaneRows>(groups, column_groups);
  const Activation activation = layout.activation;
  // Layer `layers` is the output layer; its gradient is `scores`.
  for (int l = layout.layers; l >= 0; --l) {
    const bool top = l == layout.layers;
    float* const delta = kInPlace ? planes.activations(l) : deltas + (l & 1) * layout.plane();
    float gain_gradient = 0, shift_gradient = 0;  // of this thread's feature
    const bool norm = !top && layout.layer_norm;
    if (norm) {
      static_assert(kThreadsOf<0> >= 256, "a feature a thread");
      if (thread < layout.width) {
        const int row = thread * plane_row;
        shift_gradient = add_row(delta + row, count, begin_of(net, flow, layout.shift[l] + thread));
        gain_gradient =
            add_products(delta + row, planes.normalized(l) + row, count, begin_of(net, flow, layout.gain[l] + thread));
      }
      crew.sync();
      normalize_backward(crew, layout, net.values + layout.gain[l], planes.normalized(l),
                         inverse + l * crew.samples(layout), delta);
      crew.sync();
    }
    const bool on_tensor_cores = Crew::kSplit && !top && l > 0;
    if (on_tensor_cores) {
      bias_gradients(crew, layout, net, flow, rule, l, delta, count);
      crew.sync();
      split_plane(crew, layout, delta);
      crew.sync();
    }
    // The gradient by the plane below, while this layer's weights are as the forward pass saw them. In place it waits
    // in registers for the last reader of that plane's values.
    DeltaTile<kRows> tile;
    DeltaTiles<Crew> tiles;  // of a Tensor crew, in its place
    if (Crew::kSplit && l > 0) {
      float* const to = deltas + ((l - 1) & 1) * layout.plane();
      const float* const slopes = activation == Activation::gelu ? planes.slopes(l - 1) : nullptr;
      for_each_group<Crew, PlaneTiles<kWidth>>(crew, padded, crew.samples(layout), [&](int row, int column) {
        if (top) {
          tiles.multiply_outputs(net.values + layout.output_weights, stride, layout.outputs, scores, plane_row, row,
                                 column);
        } else {
          tiles.multiply(crew, layout, net.values + layout.weights[l], delta, row, column);
        }
        if (!kInPlace) tiles.store(activation, planes.activations(l - 1), slopes, to, plane_row, !top, row, column);
      });
      crew.sync();
    } else if (l > 0) {
      float* const to = kInPlace ? planes.activations(l - 1) : deltas + ((l - 1) & 1) * layout.plane();
      const float* const slopes = activation == Activation::gelu ? planes.slopes(l - 1) : nullptr;
      for (int t = thread; t < positions; t += crew.threads()) {
        const Position at = position_of<kLaneRows>(t, column_groups);
        if (kWidth == 0 && at.row_group >= groups) continue;
        tile.row = at.row_group;
        tile.step = groups;
        tile.column = at.column_group * kTileColumns;
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int c = 0; c < kTileColumns; ++c) tile.sum[i][c] = 0;
        }
        if (top) {
          delta_product_outputs(tile, net.values + layout.output_weights, stride, layout.outputs, scores, plane_row);
        } else {
          delta_product(tile, net.values + layout.weights[l], stride, padded, delta, plane_row);
        }
        if (!kInPlace) store_delta(tile, activation, planes.activations(l - 1), slopes, to, plane_row);
      }
      crew.sync();
    }
    const float* const below = l > 0 ? planes.activations(l - 1) : x;
    if (top) {
      output_gradients(crew, layout, net, flow, rule, below, scores, count);
    } else if (on_tensor_cores) {
      weight_gradients_split(crew, layout, net, flow, rule, layout.weights[l], below, delta, count);
    } else {
      layer_gradients(crew, layout, net, flow, rule, l, below, delta, count);
    }
    if (norm && thread < layout.width) {
      settle<kShown<Crew>>(net, flow, rule, layout.shift[l] + thread, shift_gradient);
      settle<kShown<Crew>>(net, flow, rule, layout.gain[l] + thread, gain_gradient);
    }
    crew.sync();
    if (kInPlace && l > 0) {
      const float* const slopes = activation == Activation::gelu ? planes.slopes(l - 1) : nullptr;
      float* const plane = planes.activations(l - 1);
      if (Crew::kSplit) {
        for_each_group<Crew, PlaneTiles<kWidth>>(crew, padded, crew.samples(layout), [&](int row, int column) {
          tiles.store(activation, plane, slopes, plane, plane_row, !top, row, column);
        });
      } else {
        store_delta(tile, activation, plane, slopes, plane, plane_row);
      }
      crew.sync();
    }
  }
}

// --- one run ---------------------------------------------------------------------------------------------------------

// A place in a run: the next tile of samples.
struct Cursor {
  int epoch;
  std::int64_t begin;  // position in the epoch
};

__device__ inline int tile_count(const Job& job, std::int64_t begin) {
  const std::int64_t in_batch = job.batch - begin % job.batch, in_epoch = job.r - begin;
  const std::int64_t left = in_batch < in_epoch ? in_batch : in_epoch;
  return left < job.layout.samples ? static_cast<int>(left) : job.layout.samples;
}

// Row numbers of the tile at `cursor`, each block for itself, by its last threads, which have least to do meanwhile.
__device__ inline void find_rows(const Job& job, const Cursor& cursor, int* rows) {
  const int count = tile_count(job, cursor.begin);
  for (int s = static_cast<int>(blockDim.x - 1 - threadIdx.x); s < count; s += static_cast<int>(blockDim.x)) {
    std::int64_t position = cursor.begin + s;
    if (job.shuffle) {
      position = shuffled_index(static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(job.r), job.seed,
                                static_cast<std::uint32_t>(cursor.epoch));
    }
    rows[s] = job.rows != nullptr ? job.rows[position] : static_cast<int>(position);
  }
}

template <class Crew>
__device__ inline void gather(const Crew& crew, const Job& job, const int* rows, int count, float* x, int* labels) {
  const int thread = crew.thread(), threads = crew.threads(), features = job.layout.features;
  const int samples = crew.samples(job.layout), row = crew.row(job.layout);
  if (crew.leads()) {
    for (int s = static_cast<int>(threadIdx.x); s < samples; s += kThreadsOf<Crew::kWidth>) {
      labels[s] = s < count ? job.labels[rows[s]] : 0;
    }
  }
  if (features <= 4) {
    for (int s = thread; s < samples; s += threads) {
      for (int f = 0; f < features; ++f) {
        x[f * row + s] = s < count ? job.features[static_cast<std::int64_t>(rows[s]) * features + f] : 0.0F;
      }
    }
    return;
  }
  for (int e = thread; e < samples * features; e += threads) {
    const int s = e / features, f = e - s * features;
    x[f * row + s] = s < count ? job.features[static_cast<std::int64_t>(rows[s]) * features + f] : 0.0F;
  }
}

// By the crew's first block: scores, losses, and in place of the scores the gradient of the mean over `samples` by
// them. Adds each loss to the sum of its column, or where there is a `loss_sum` all of them in order to that, in thread
// 0. Returns whether this thread's losses are finite.
template <class Crew>
__device__ __forceinline__ bool losses_and_deltas(const Crew& crew, const Job& job, const MlpLayout& layout,
                                                  const float* packed, const float* top, std::int64_t samples,
                                                  int count, const int* labels, float* scores, double* sums,
                                                  bool in_order, double& loss_sum) {
  if (!crew.leads()) return true;
  constexpr int kThreads = kThreadsOf<Crew::kWidth>;
  const int thread = static_cast<int>(threadIdx.x), outputs = layout.outputs, row = crew.row(layout);
  const float scale = 1.0F / static_cast<float>(samples);
  bool finite = true;
  for (int begin = 0; begin < crew.samples(layout); begin += kSamples) {
    for (int e = thread; e < outputs * kSamples; e += kThreads) {
      const int j = e / kSamples, s = begin + e % kSamples;
      scores[j * row + s] = score_of(layout, packed, top, j, s, row);
    }
    if (outputs > 1) __syncthreads();  // otherwise each thread goes on with its own
    for (int column = thread; column < kSamples; column += kThreads) {
      const int s = begin + column;
      if (s >= count) {
        for (int j = 0; j < outputs; ++j) scores[j * row + s] = 0;
        continue;
      }
      const float loss = outputs == 1 ? binary_loss(job.gamma, scale, labels[s] > 0, scores + s)
                                      : softmax_loss(job.gamma, scale, labels[s], outputs, scores + s, row);
      finite = finite && ::fabsf(loss) <= kMaxFloat;
      sums[column] += loss;
    }
    if (!in_order) continue;
    __syncthreads();
    if (thread == 0) {
      for (int column = 0; column < kSamples && begin + column < count; ++column) {
        loss_sum += sums[column];
        sums[column] = 0;
      }
    }
    __syncthreads();
  }
  return finite;
}

// The sum of `sums`, in order; the block must have met at a barrier since the last was added.
__device__ inline double total(const double* sums) {
  double sum = 0;
  for (int s = 0; s < kSamples; ++s) sum += sums[s];
  return sum;
}

// Blocks on a multiprocessor that registers must allow: what shared memory allows of the usual shapes.
template <int kWidth>
inline constexpr int kTrainBlocks = kWidth == 16   ? 8
                                    : kWidth == 32 ? 4
                                    : kWidth == 64 ? 2
                                                   : 1;

// Crew: runs from the queue. `slice` of `slices`: which part of each run's epochs this launch trains.
// `moments_on_chip`: the moments follow the planes in shared memory. `workspace`: `floats` per crew.
template <class Crew>
__global__ void __launch_bounds__(kThreadsOf<Crew::kWidth>, kTrainBlocks<Crew::kWidth>)
    mlp_train_kernel(const Job* jobs, int count, int* queue, bool moments_on_chip, float* workspace,
                     std::int64_t floats, Teams teams, int slice, int slices) {
  constexpr int kWidth = Crew::kWidth;
  SharedOf<Crew>& shared = *dynamic_shared<SharedOf<Crew>>();
  Crew crew = crew_of<Crew>(teams);
  const int thread = crew.thread(), threads = crew.threads();
  int* const next_job = Crew::kTeam ? &teams.states[blockIdx.x / teams.blocks].job : &shared.job;
  for (;;) {
    if (thread == 0) {
      *next_job = atomicAdd(queue, 1);
      if (Crew::kTeam) teams.states[blockIdx.x / teams.blocks].bad = 0;
    }
    crew.sync();
    const int mine = *next_job;
    if (mine >= count) return;
    const Job& job = jobs[mine];
    const MlpLayout& layout = job.layout;
    const int size = layout.size;
    const bool learning = job.gradients == nullptr;

    // Where this run's memory is.
    float* const besides = workspace + blockIdx.x / (Crew::kTeam ? teams.blocks : 1) * floats;
    float* const values =
        kWidth > 0 ? reinterpret_cast<float*>(&shared + 1) : besides + besides_of(Crew::kSplit) * std::int64_t{size};
    float* const x = values + size;
    const int row = crew.row(layout);
    float* const scores = x + layout.first_rows * row;
    float* const inverse = scores + layout.outputs * row;
    const MlpPlanes planes{inverse + (layout.layer_norm ? layout.layers * crew.samples(layout) : 0), layout.plane(),
                           layout.kinds};
    float* const deltas = planes.base + layout.layers * layout.kinds * layout.plane();  // kWidth 0
    float* const moments = kWidth > 0 && moments_on_chip ? deltas : besides;
    float* const mask = besides + 3 * std::int64_t{size};
    float* const master = !Crew::kSplit ? values : kWidth > 0 && moments_on_chip ? moments + 2 * size : mask + size;
    const Network net{values,
                      master,
                      moments,
                      moments + size,
                      besides + 2 * std::int64_t{size},
                      job.weight_mask != nullptr ? mask : nullptr};

    // This slice's epochs; a run that has diverged has none.
    const int status = *job.status;
    const std::int64_t length = job.epoch_end - job.epoch_begin;
    const int epoch_begin = job.epoch_begin + static_cast<int>(length * slice / slices);
    const int epoch_end = job.epoch_begin + static_cast<int>(length * (slice + 1) / slices);

    const auto clear_sums = [&] {
      for (int s = static_cast<int>(threadIdx.x); s < kSamples; s += kThreadsOf<kWidth>) shared.sums[s] = 0;
    };
    pack(crew, layout, job.parameters, master);
    for (int i = thread; i < 2 * size; i += threads) moments[i] = 0;
    for (int i = thread; i < size; i += threads) mask[i] = 1;
    clear_sums();
    // Rows behind the last feature take part in register tiles.
    for (int i = layout.features * row + thread; i < layout.first_rows * row; i += threads) x[i] = 0;
    crew.sync();
    for_each_parameter(layout, thread, threads, [&](int p, int at) {
      const bool learns = job.weight_mask == nullptr || job.weight_mask[p] != 0;
      if (!learns) master[at] = mask[at] = 0;
      if (job.state != nullptr && learns) {
        moments[at] = job.state[p];
        moments[size + at] = job.state[job.p + p];
      }
    });
    if (Crew::kSplit) {
      crew.sync();
      for (int i = thread; i < size; i += threads) {
        const auto between = [&](int l) {
          return l < layout.layers && i >= layout.weights[l] && i < layout.weights[l] + layout.padded * layout.stride;
        };
        values[i] = between(1) || between(2) || between(3) ? word_of(layout, master[i]) : master[i];
      }
    }
    Cursor cursor{epoch_begin, 0};
    const bool idle = status >= 0 || epoch_begin == epoch_end;
    if (!idle) find_rows(job, cursor, shared.rows);
    crew.sync();

    const std::int64_t steps_per_epoch = (job.r + job.batch - 1) / job.batch, steps = steps_per_epoch * job.epochs;
    std::int64_t step = epoch_begin * steps_per_epoch;
    int epochs_done = idle ? 0 : epoch_end - epoch_begin;  // finished with everything finite
    Rule rule{};
    bool finite = true, fresh_steps = true;
    double loss_sum = 0;  // of thread 0, when not learning
    while (!idle && cursor.epoch < epoch_end) {
      // One tile of samples. Its batch begins, ends, or both, with it.
      const int tile = tile_count(job, cursor.begin);
      const std::int64_t in_batch = cursor.begin % job.batch, batch_begin = cursor.begin - in_batch;
      const std::int64_t samples = job.r - batch_begin < job.batch ? job.r - batch_begin : job.batch;
      const bool begins = in_batch == 0, ends = in_batch + tile == samples;
      const bool epoch_ends = cursor.begin + tile == job.r;
      gather(crew, job, shared.rows, tile, x, shared.labels);
      if (begins && learning && (fresh_steps || step % kSteps == 0)) {
        const int lane = static_cast<int>(threadIdx.x);
        const std::int64_t of = step - step % kSteps + lane;
        if (lane < kSteps && of < steps) {
          const MlpStep constants =
              mlp_step(job.learning_rate, job.schedule, job.optimizer, job.beta1, job.beta2, of, steps);
          shared.steps[lane] = constants;
        }
        fresh_steps = false;
      }
      crew.sync();
      const float* const top = forward_hidden(crew, layout, values, x, planes, inverse);
      if (begins) finite = true;
      finite = losses_and_deltas(crew, job, layout, values, top, samples, tile, shared.labels, scores, shared.sums,
                                 !learning, loss_sum) &&
               finite;
      const Cursor next = epoch_ends ? Cursor{cursor.epoch + 1, 0} : Cursor{cursor.epoch, cursor.begin + tile};
      if (next.epoch < epoch_end) find_rows(job, next, shared.rows);
      const bool all_finite = crew.all(finite);
      if (ends && learning && !all_finite) {
        epochs_done = cursor.epoch - epoch_begin;
        break;
      }
      if (ends && learning) rule = rule_of(job, shared.steps[step % kSteps]);
      backward(crew, layout, net, {begins, ends && learning}, rule, x, planes, deltas, scores, inverse, tile);
      if (ends) ++step;
      if (epoch_ends && learning) {
        bool good = true;
        for (int i = thread; i < size; i += threads) good = good && ::fabsf(master[i]) <= kMaxFloat;
        const bool all_good = crew.all(good);
        if (!all_good) {
          epochs_done = cursor.epoch - epoch_begin;
          break;
        }
        if (thread == 0 && job.epoch_losses != nullptr) {
          job.epoch_losses[cursor.epoch - job.epoch_begin] =
              static_cast<float>(total(shared.sums) / static_cast<double>(job.r));
        }
        __syncthreads();
        clear_sums();
      }
      cursor = next;
    }

    // What is left of the run outside the crew, behind the barrier that ended its last step.
    if (!learning) {
      for_each_parameter(layout, thread, threads, [&](int p, int at) { job.gradients[p] = net.gradient[at]; });
      if (thread == 0) *job.loss = static_cast<float>(loss_sum / static_cast<double>(job.r));
    } else {
      for_each_parameter(layout, thread, threads, [&](int p, int at) {
        job.parameters[p] = master[at];
        if (job.state != nullptr) {
          job.state[p] = moments[at];
          job.state[job.p + p] = moments[size + at];
        }
      });
      const bool diverges = !idle && epochs_done < epoch_end - epoch_begin;
      if (job.epoch_losses != nullptr) {
        for (int e = epoch_begin + epochs_done + thread; e < epoch_end; e += threads) {
          job.epoch_losses[e - job.epoch_begin] = __int_as_float(0x7fc00000);
        }
      }
      if (thread == 0) {
        const int now = diverges ? epoch_begin + epochs_done : status;
        *job.status = now;
        if (job.diverged != nullptr) *job.diverged = now;
      }
    }
    crew.sync();  // before the next run takes anything of this one's
  }
}

// --- the other kernels -----------------------------------------------------------------------------------------------

// Block: a network.
__global__ void mlp_pack_kernel(const __grid_constant__ MlpLayout layout, const float* parameters, std::int64_t p,
                                float* packed) {
  Block<0> crew;
  pack(crew, layout, parameters + blockIdx.x * p, packed + static_cast<std::int64_t>(blockIdx.x) * layout.size);
}

// Thread: points in turn, (n, 2) to (n, features).
__global__ void mlp_encode_kernel(Encoding encoding, const float* inputs, std::int64_t n, int features,
                                  float* encoded) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = global_thread(); i < n; i += threads) {
    float point[3];
    encode_point(encoding, inputs[2 * i], inputs[2 * i + 1], point);
    encoded[i * features] = point[0];
    encoded[i * features + 1] = point[1];
    if (features == 3) encoded[i * features + 2] = point[2];
  }
}

struct RowList {
  const int* rows;
  std::int64_t count, n;
};

// first_bad[list] = the first position of a list whose row is not in 0 .. n - 1; it must begin as INT_MAX.
// Block: a list.
__global__ void mlp_check_rows_kernel(const RowList* lists, int* first_bad) {
  const RowList list = lists[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < list.count; i += blockDim.x) {
    if (list.rows[i] < 0 || list.rows[i] >= list.n) {
      atomicMin(first_bad + blockIdx.x, static_cast<int>(i));
      return;
    }
  }
}

struct Rows {
  const float* inputs;
  std::int64_t n;
  int inputs_per_row;
  Encoding encoding;
  float* scores;  // (m, n, outputs)
};

// Block: a run of tiles (score_tiles of mlp_block.cuh), a tile 64 consecutive rows of one network.
template <int kWidth>
__global__ void __launch_bounds__(kThreadsOf<kWidth>, kScoringBlocks<kWidth>)
    mlp_forward_kernel(const __grid_constant__ MlpLayout layout, const float* packed, std::int64_t m, float* workspace,
                       std::int64_t floats, Rows rows) {
  float* const memory = kWidth > 0 ? dynamic_shared<float>() : workspace + blockIdx.x * floats;
  const int thread = static_cast<int>(threadIdx.x), features = layout.features, outputs = layout.outputs;
  const auto count_of = [&](std::int64_t tile) {
    const std::int64_t left = rows.n - tile * kSamples;
    return left < kSamples ? static_cast<int>(left) : kSamples;
  };
  const auto fetch = [&](std::int64_t tile, float* x) {
    const int count = count_of(tile);
    const float* const from = rows.inputs + tile * kSamples * rows.inputs_per_row;
    if (rows.encoding != Encoding::none) {
      for (int s = thread; s < kSamples; s += kThreadsOf<kWidth>) {
        float point[3] = {0, 0, 0};
        if (s < count) encode_point(rows.encoding, from[2 * s], from[2 * s + 1], point);
        x[s] = point[0];
        x[kRow + s] = point[1];
        if (features == 3) x[2 * kRow + s] = point[2];
      }
      return;
    }
    for (int e = thread; e < kSamples * features; e += kThreadsOf<kWidth>) {
      const int s = e / features, f = e - s * features;
      x[f * kRow + s] = s < count ? from[e] : 0.0F;
    }
  };
  const auto emit = [&](std::int64_t network, std::int64_t tile, const float* top, const float* weights) {
    const int elements = count_of(tile) * outputs;
    float* const to = rows.scores + (network * rows.n + tile * kSamples) * outputs;
    for (int e = thread; e < elements; e += kThreadsOf<kWidth>) {
      const int s = e / outputs, j = e - s * outputs;
      to[e] = score_of(layout, weights, top, j, s);
    }
  };
  score_tiles<kWidth>(layout, packed, m, (rows.n + kSamples - 1) / kSamples, memory, fetch, emit);
}

template <int kWidth>
struct MlpForwardKernel {
  static constexpr auto kernel = mlp_forward_kernel<kWidth>;
};

// --- host side of training -------------------------------------------------------------------------------------------

// Features of data sets, encoded once for all runs that share one.
class FeatureTables {
 public:
  const float* of(const MlpShape& shape, View<const float> inputs, Context& context) {
    if (shape.encoding == Encoding::none) return inputs.data();
    auto& table = tables_[{inputs.data(), inputs.extent(0), shape.encoding}];
    if (table == nullptr) {
      const std::int64_t n = inputs.extent(0);
      const int features = feature_count(shape);
      table = std::make_unique<Scratch<float>>(n * features, context);
      launch(context, std::min<std::int64_t>(ceil_div(n, 256), 4096), 256, 0, mlp_encode_kernel, shape.encoding,
             inputs.data(), n, features, table->data());
    }
    return table->data();
  }

 private:
  std::map<std::tuple<const float*, std::int64_t, Encoding>, std::unique_ptr<Scratch<float>>> tables_;
};

std::size_t train_shared_bytes(const MlpLayout& layout, bool moments_on_chip) {
  const TrainParts parts = TrainParts::of(layout, true);
  const int networks = !moments_on_chip ? 1 : layout.precision == Precision::fp32 ? 3 : 4;
  return sizeof(TrainShared<kSamples>) + static_cast<std::size_t>(parts.network * networks + parts.planes) * 4;
}

// The class that a run of this shape trains in: the narrowest that holds it, if its memory fits on chip.
int train_class(const MlpShape& shape, Context& context) {
  const int width = class_of(shape);
  if (width == 0) return 0;
  return train_shared_bytes(make_layout(shape, width), false) <= static_cast<std::size_t>(max_shared_bytes(context))
             ? width
             : 0;
}

// Which kernel trains a run.
struct TrainClass {
  int width;   // train_class
  bool split;  // below fp32, which takes two hidden layers to differ from it
  auto operator<=>(const TrainClass&) const = default;
};

// use<Crew>() for the crew that trains a class.
template <class Use>
auto with_crew(const TrainClass& of, Use use) {
  const auto either = [&]<class Crew>() {
    return of.split ? use.template operator()<Tensor<Crew>>() : use.template operator()<Crew>();
  };
  switch (of.width) {
    case 16: return either.template operator()<Block<16>>();
    case 32: return either.template operator()<Block<32>>();
    case 64: return either.template operator()<Block<64>>();
    default: return either.template operator()<Team>();
  }
}

// The runs of one class, ready to be trained slice by slice.
class JobClass {
 public:
  // `jobs` are taken from the queue in the order given.
  JobClass(const TrainClass& of, std::vector<Job> jobs, Context& context)
      : class_(of),
        jobs_(std::move(jobs)),
        on_device_(static_cast<std::int64_t>(jobs_.size()), context),
        queue_(1, context) {
    const auto count = static_cast<std::int64_t>(jobs_.size());
    if (of.width == 0) {
      crews_ = choose_teams(context);
    } else {
      std::size_t bytes_with_moments = 0;
      for (const Job& job : jobs_) {
        shared_bytes_ = std::max(shared_bytes_, train_shared_bytes(job.layout, false));
        bytes_with_moments = std::max(bytes_with_moments, train_shared_bytes(job.layout, true));
      }
      crews_ = std::min(count, resident(shared_bytes_, context));
      if (bytes_with_moments <= static_cast<std::size_t>(max_shared_bytes(context)) &&
          std::min(count, resident(bytes_with_moments, context)) >= crews_) {
        moments_on_chip_ = true;
        shared_bytes_ = bytes_with_moments;
      }
    }
    context.backend().upload(on_device_.data(), jobs_.data(), jobs_.size() * sizeof(Job), context);
    for (const Job& job : jobs_) {
      const TrainParts parts = TrainParts::of(job.layout, of.width > 0);
      floats_ =
          std::max(floats_, besides_of(of.split) * parts.network + (of.width > 0 ? 0 : parts.network + parts.planes));
    }
    const std::size_t free_bytes = context.backend().memory_free(context);
    const auto fit = static_cast<std::int64_t>(free_bytes / 2 / sizeof(float)) / floats_;
    crews_ = std::clamp<std::int64_t>(fit, 1, crews_);
    workspace_ = std::make_unique<Scratch<float>>(crews_ * floats_, context);
    states_ = std::make_unique<Scratch<TeamState>>(crews_, context);
  }

  // Queues one launch.
  void train(int slice, int slices, Context& context) {
    SCALELAB_CHECK(cudaMemsetAsync(queue_.data(), 0, sizeof(int), stream_of(context)));
    const auto state_bytes = static_cast<std::size_t>(crews_) * sizeof(TeamState);
    SCALELAB_CHECK(cudaMemsetAsync(states_->data(), 0, state_bytes, stream_of(context)));
    Together together;
    if (team_blocks_ > 1) together = clusters_ ? Together{team_blocks_, false} : Together{1, true};
    with_crew(class_, [&]<class Crew>() {
      launch_together(context, together, crews_ * team_blocks_, kThreadsOf<Crew::kWidth>, shared_bytes_,
                      mlp_train_kernel<Crew>, on_device_.data(), static_cast<int>(jobs_.size()), queue_.data(),
                      moments_on_chip_, workspace_->data(), floats_, Teams{team_blocks_, clusters_, states_->data()},
                      slice, slices);
    });
  }

 private:
  std::int64_t resident(std::size_t bytes, Context& context) const {
    return with_crew(class_, [&]<class Crew>() {
      return resident_blocks(context, mlp_train_kernel<Crew>, kThreadsOf<Crew::kWidth>, bytes);
    });
  }

  // Sets the teams and the planes of their jobs; returns how many teams there are.
  std::int64_t choose_teams(Context& context) {
    shared_bytes_ = sizeof(SharedOf<Team>);
    const auto count = static_cast<std::int64_t>(jobs_.size());
    const std::int64_t most = resident(shared_bytes_, context);
    // As many blocks as a plane gives four warps of tiles each, one for each of a multiprocessor's schedulers.
    const auto samples_of = [](const Job& job) {
      const std::int64_t samples = std::min<std::int64_t>(job.batch, Team::kMaxSamples);
      return round_up(static_cast<int>(samples), kSamples);
    };
    std::int64_t useful = 1;
    for (const Job& job : jobs_) {
      const std::int64_t tiles = std::int64_t{job.layout.padded / Team::kTileRows} * samples_of(job) / kTileColumns;
      useful = std::max(useful, tiles / (4 * kWarp));
    }
    const std::int64_t share = std::max<std::int64_t>(1, std::min(useful, most / count));
    team_blocks_ = static_cast<int>(std::bit_floor(static_cast<std::uint64_t>(share)));
    if (team_blocks_ == 1) return std::min(count, most);
    const auto has = [&](cudaDeviceAttr attribute) {
      int value = 0;
      SCALELAB_CHECK(cudaDeviceGetAttribute(&value, attribute, context.device()));
      return value != 0;
    };
    int fit = 0;
    if (team_blocks_ <= kMaxCluster && has(cudaDevAttrClusterLaunch)) {
      cudaLaunchAttribute cluster = Together{team_blocks_, false}.attribute();
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(static_cast<unsigned>(team_blocks_));
      config.blockDim = dim3(kThreadsOf<0>);
      config.dynamicSmemBytes = shared_bytes_;
      config.attrs = &cluster;
      config.numAttrs = 1;
      const cudaError_t asked = class_.split
                                    ? cudaOccupancyMaxActiveClusters(&fit, mlp_train_kernel<Tensor<Team>>, &config)
                                    : cudaOccupancyMaxActiveClusters(&fit, mlp_train_kernel<Team>, &config);
      if (asked != cudaSuccess) {  // a part of a device may refuse the size: no clusters, but no error
        cudaGetLastError();
        fit = 0;
      }
      clusters_ = fit > 0;
    }
    if (!clusters_ && has(cudaDevAttrCooperativeLaunch)) fit = static_cast<int>(most / team_blocks_);
    if (fit == 0) {
      team_blocks_ = 1;
      return std::min(count, most);
    }
    for (Job& job : jobs_) job.layout.samples = samples_of(job);
    return std::min<std::int64_t>(count, fit);
  }

  static constexpr int kMaxCluster = 8;  // blocks; what every device with clusters takes

  TrainClass class_;
  std::vector<Job> jobs_;
  Scratch<Job> on_device_;
  Scratch<int> queue_;
  std::unique_ptr<Scratch<float>> workspace_;
  std::unique_ptr<Scratch<TeamState>> states_;
  std::int64_t floats_ = 0, crews_ = 0;  // floats of workspace per crew
  int team_blocks_ = 1;
  bool clusters_ = false;
  std::size_t shared_bytes_ = 0;
  bool moments_on_chip_ = false;
};

// Multiply-adds of a run's forward passes.
double cost_of(const Job& job) {
  return static_cast<double>(job.p) * static_cast<double>(job.r) * (job.epoch_end - job.epoch_begin);
}

// Jobs by class, the longest of each first.
std::vector<std::unique_ptr<JobClass>> classes_of(std::map<TrainClass, std::vector<Job>> jobs, Context& context) {
  std::vector<std::unique_ptr<JobClass>> classes;
  for (auto& [of, members] : jobs) {
    std::stable_sort(members.begin(), members.end(),
                     [](const Job& a, const Job& b) { return cost_of(a) > cost_of(b); });
    classes.push_back(std::make_unique<JobClass>(of, std::move(members), context));
  }
  return classes;
}

// Throws when a run names a row it does not have. Waits for the device.
void check_rows(std::span<const MlpRun> runs, Context& context) {
  std::vector<RowList> lists;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].rows.empty()) continue;
    lists.push_back({runs[i].rows.data(), runs[i].rows.size(), runs[i].inputs.extent(0)});
    owners.push_back(i);
  }
  if (lists.empty()) return;
  const auto count = static_cast<std::int64_t>(lists.size());
  std::vector<int> first_bad(lists.size(), std::numeric_limits<int>::max());
  const Scratch<RowList> on_device(count, context);
  const Scratch<int> results(count, context);
  const Backend& backend = context.backend();
  backend.upload(on_device.data(), lists.data(), lists.size() * sizeof(RowList), context);
  backend.upload(results.data(), first_bad.data(), first_bad.size() * sizeof(int), context);
  launch(context, count, 256, 0, mlp_check_rows_kernel, on_device.data(), results.data());
  backend.download(first_bad.data(), results.data(), first_bad.size() * sizeof(int), context);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    if (first_bad[i] == std::numeric_limits<int>::max()) continue;
    int row = 0;
    backend.download(&row, lists[i].rows + first_bad[i], sizeof row, context);
    refuse_mlp_row(owners[i], first_bad[i], row, lists[i].n);
  }
}

Job job_of(const MlpRun& run, const TrainClass& of, const float* features, int* status) {
  Job job{};
  job.layout = make_layout(run.shape, of.width, of.split ? run.precision : Precision::fp32);
  job.gamma = run.loss.focal_gamma;
  job.features = features;
  job.labels = run.labels.data();
  job.rows = run.rows.empty() ? nullptr : run.rows.data();
  job.r = row_count(run);
  job.batch = run.batch_size == 0 ? job.r : std::min<std::int64_t>(run.batch_size, job.r);
  job.shuffle = run.shuffle;
  job.seed = run.seed;
  job.parameters = run.parameters.data();
  job.p = run.parameters.size();
  job.weight_mask = run.weight_mask.empty() ? nullptr : run.weight_mask.data();
  job.state = run.state.empty() ? nullptr : run.state.data();
  job.epoch_losses = run.epoch_losses.empty() ? nullptr : run.epoch_losses.data();
  job.diverged = run.diverged.empty() ? nullptr : run.diverged.data();
  job.status = status;
  job.epochs = run.epochs;
  job.epoch_begin = run.epoch_begin;
  job.epoch_end = epoch_end_of(run);
  job.learning_rate = run.learning_rate;
  job.momentum = run.momentum;
  job.beta1 = run.beta1;
  job.beta2 = run.beta2;
  job.epsilon = run.epsilon;
  job.weight_decay = run.weight_decay;
  job.schedule = run.schedule;
  job.optimizer = run.optimizer;
  return job;
}

}  // namespace

void pack_networks(const MlpLayout& layout, View<const float> parameters, float* packed, Context& context) {
  launch(context, parameters.extent(0), 256, 0, mlp_pack_kernel, layout, parameters.data(), parameters.extent(1),
         packed);
}

void mlp_forward(const MlpShape& shape, View<const float> parameters, View<const float> inputs, View<float> scores,
                 Context& context) {
  const Range range("mlp_forward");
  check_mlp_forward(shape, parameters, inputs, scores);
  if (scores.empty()) return;
  const std::int64_t n = inputs.extent(0);
  const Rows rows{inputs.data(), n, shape.inputs, shape.encoding, scores.data()};
  launch_scoring<MlpForwardKernel>(shape, parameters, parameters.extent(0) * ceil_div(n, kSamples), 0, context, rows);
}

void mlp_backward(const MlpShape& shape, const MlpLoss& loss, View<const float> parameters, View<const float> inputs,
                  View<const std::uint8_t> labels, View<float> gradients, View<float> losses, Context& context) {
  const Range range("mlp_backward");
  check_mlp_backward(shape, loss, parameters, inputs, labels, gradients, losses);
  if (parameters.empty()) return;
  // A run of one epoch in one batch that keeps its gradient in place of taking the step.
  const std::int64_t m = parameters.extent(0), p = parameters.extent(1);
  FeatureTables tables;
  const float* const features = tables.of(shape, inputs, context);
  const TrainClass of{train_class(shape, context), false};
  const Scratch<int> status(1, context);
  SCALELAB_CHECK(cudaMemsetAsync(status.data(), 0xff, sizeof(int), stream_of(context)));
  MlpRun run;
  run.shape = shape;
  run.loss = loss;
  run.inputs = inputs;
  run.labels = labels;
  run.shuffle = false;
  run.epochs = 1;
  run.batch_size = 0;
  std::vector<Job> jobs;
  for (std::int64_t i = 0; i < m; ++i) {
    Job job = job_of(run, of, features, status.data());
    job.parameters = const_cast<float*>(parameters.data()) + i * p;  // only read
    job.p = p;
    job.gradients = gradients.data() + i * p;
    job.loss = losses.data() + i;
    jobs.push_back(job);
  }
  JobClass(of, std::move(jobs), context).train(0, 1, context);
}

void mlp_train(std::span<const MlpRun> runs, Context& context) {
  const Range range("mlp_train");
  check_mlp_runs(runs);
  check_rows(runs, context);
  if (runs.empty()) return;

  FeatureTables tables;
  std::map<TrainClass, std::vector<Job>> by_class;
  const Scratch<int> statuses(static_cast<std::int64_t>(runs.size()), context);
  SCALELAB_CHECK(cudaMemsetAsync(statuses.data(), 0xff, runs.size() * sizeof(int), stream_of(context)));
  double longest = 0, all = 0;
  std::int64_t samples = 0, most_epochs = 1;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const TrainClass of{train_class(runs[i].shape, context),
                        runs[i].precision != Precision::fp32 && runs[i].shape.hidden_layers > 1};
    const Job job = job_of(runs[i], of, tables.of(runs[i].shape, runs[i].inputs, context), statuses.data() + i);
    by_class[of].push_back(job);
    longest = std::max(longest, cost_of(job));
    all += cost_of(job);
    const std::int64_t epochs = job.epoch_end - job.epoch_begin;
    samples += job.r * epochs;
    most_epochs = std::max(most_epochs, epochs);
  }
  // Whoever wants to hear of progress gets it between launches, each about half a second of work or less where a
  // multiprocessor does 10^11 multiply-adds a second. Parts give the bits of the whole; state is carried over in
  // scratch for runs that have none.
  const bool in_slices = static_cast<bool>(context.progress);
  const double wanted = std::max(longest / 0x1p34, all / 0x1p40);
  const int slices = in_slices
                         ? static_cast<int>(std::clamp<double>(
                               std::ceil(wanted), 1, static_cast<double>(std::min<std::int64_t>(most_epochs, 1000))))
                         : 1;
  std::int64_t carried = 0;
  for (auto& [of, jobs] : by_class) {
    for (const Job& job : jobs) carried += job.state == nullptr && slices > 1 ? 2 * job.p : 0;
  }
  const Scratch<float> states(carried, context);
  SCALELAB_CHECK(
      cudaMemsetAsync(states.data(), 0, static_cast<std::size_t>(carried) * sizeof(float), stream_of(context)));
  std::int64_t at = 0;
  for (auto& [of, jobs] : by_class) {
    for (Job& job : jobs) {
      if (job.state != nullptr || slices == 1) continue;
      job.state = states.data() + at;
      at += 2 * job.p;
    }
  }
  const auto classes = classes_of(std::move(by_class), context);
  for (int slice = 0; slice < slices; ++slice) {
    for (const auto& members : classes) members->train(slice, slices, context);
    if (!in_slices) continue;
    context.synchronize();
    context.progress(static_cast<std::int64_t>(static_cast<double>(samples) * (slice + 1) / slices), samples);
  }
}

}  // namespace scalelab::cuda
