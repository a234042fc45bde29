// mlp_gradients: the way back of a training step: from the gradient with respect to the scores of a tile of samples to
// that of every parameter, and straight on into the optimiser. Forward: mlp_block.cuh, which defines crew, plane,
// register tile and word. The run around it: mlp_train.cuh. Seen by mlp.cu alone.
//
// A gradient (of a parameter) is summed over the samples of a batch in the registers of one thread. Where a batch is
// one tile, which is usual, that thread updates the parameter at once; a batch of several tiles keeps its sums in
// memory between them. Nothing is added by atomics. A delta is the gradient with respect to the values of a plane:
// (padded, samples) like the plane. On chip (kWidth > 0) it takes the plane's place, once nothing reads the plane's
// values any more; else deltas have two planes of their own, which layers use in turn.
#pragma once

#include "kernels/mlp_block.cuh"
#include "scalelab/mlp.h"

namespace scalelab::cuda {

// --- the update ------------------------------------------------------------------------------------------------------

// What every update of one step multiplies by.
struct Rule {
  Optimizer optimizer;
  float decay, minus_rate, momentum, beta1, beta2, rest1, rest2, minus_scaled_rate, inverse_root, epsilon;
};

// One parameter's step. `first` is the momentum (SGD) or Adam's first moment, `second` Adam's second. Adam differs from
// its textbook form in two points: the bias corrections are folded into two constants of the step (mlp_step.h, in
// double and shared with the CPU), so that a parameter needs one square root and one division; and what decays below
// the smallest normal number becomes zero: subnormal numbers move nothing, and CPUs are slow on them.
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

// How `values`, which products read, hold a master weight, which learns: as itself (fp32: they are the same memory), as
// a copy, or as the word that a product on tensor cores takes.
enum class Shown { itself, copy, word };
template <class Crew>
inline constexpr Shown kShown = Crew::kSplit ? Shown::copy : Shown::itself;

// Where a tile of samples stands in its batch, and so what becomes of a gradient summed over it. `begins`: it is the
// batch's first tile, whose sums start at zero; otherwise they go on from those in memory. `learns`: it is the last,
// whose sums are complete and go into an update; otherwise they are put into memory.
struct Flow {
  bool begins, learns;
};

// Settles the gradient of the parameter at `at` (packed): into memory or into an update, as `flow` says.
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

// The same of the four parameters from `at` on, with loads and stores of 16 bytes.
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
// `a`, `b`: rows of planes, `count` samples long. Rows end in zeros behind the samples that count, so that sums run
// over whole groups of four.

// What the sum of the gradient at `at` starts from.
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

// sum + each of a.
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

// Rows of a register tile of weights: as many as leave no thread idle where the weights are kWidth x kWidth:
// kWidth * kWidth elements in tiles of rows x 4 are one tile for each of 2 kWidth threads.
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

// Gradients of a hidden layer's biases: the sums of the rows of its delta, settled. Thread: a bias.
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

// Gradients of the output layer, settled, from the values of the last hidden layer (`top`, a plane) and the gradient
// with respect to the scores (`deltas`, (outputs, samples)). Thread: an element, the bias as one element more.
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

// --- deltas ----------------------------------------------------------------------------------------------------------

// One thread's register tile of a delta: rows row_group + i * groups, four columns.
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

// The tile times the activation's derivative, into the plane `to`, which may be the plane of `activations` itself.
// `words`: that is what the activations are. A word is above zero as a float where its number is.
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

// A warp's tiles of a delta, of a Tensor crew, from a first row and column.
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

// From the delta behind layer norm to the one before it, in place. `normalized`: a plane of the values between the two;
// `inverse`: 1 / deviation of each sample. Thread: a sample.
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

// The delta of the plane below a layer: the product of the layer's weights and its own delta, which `multiply` forms,
// times the derivative of the activation, which `store` applies. The steps are two because on chip the result
// overwrites the plane of values that the layer's weight gradients read in between: until then it waits in registers.
template <class Crew>
struct DeltaBelow {
  static constexpr int kWidth = Crew::kWidth, kRows = Crew::kTileRows;
  static constexpr bool kInPlace = kWidth > 0;
  DeltaTile<kRows> tile;   // fp32: this thread's only tile on chip
  DeltaTiles<Crew> tiles;  // a Tensor crew: this warp's group of tiles, in its place

  // Of `layer` (layout.layers: the output layer), whose delta is `delta`, or `scores` for the output layer. Not in
  // place it stores too, into `to`, as a thread has more than one tile.
  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const Network& net,
                                           const MlpPlanes& planes, int layer, const float* delta, const float* scores,
                                           float* to) {
    if (Crew::kSplit) {
      multiply_words_of(crew, layout, net, planes, layer, delta, scores, to);
    } else {
      multiply_floats(crew, layout, net, planes, layer, delta, scores, to);
    }
  }

  // In place: over the values of the plane below `layer`, once nothing reads them.
  __device__ __forceinline__ void store(const Crew& crew, const MlpLayout& layout, const MlpPlanes& planes, int layer) {
    const float* const slopes = slopes_below(layout, planes, layer);
    float* const plane = planes.activations(layer - 1);
    const int padded = kWidth > 0 ? kWidth : layout.padded, plane_row = crew.row(layout);
    const bool words = layer < layout.layers;
    if (Crew::kSplit) {
      for_each_group<Crew, PlaneTiles<kWidth>>(crew, padded, crew.samples(layout), [&](int row, int column) {
        tiles.store(layout.activation, plane, slopes, plane, plane_row, words, row, column);
      });
    } else {
      store_delta(tile, layout.activation, plane, slopes, plane, plane_row);
    }
  }

 private:
  __device__ static __forceinline__ const float* slopes_below(const MlpLayout& layout, const MlpPlanes& planes,
                                                              int layer) {
    return layout.activation == Activation::gelu ? planes.slopes(layer - 1) : nullptr;
  }

  // Warp: groups of tiles, on tensor cores; in fp32 from the output layer, which is too narrow for them.
  __device__ __forceinline__ void multiply_words_of(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                    const MlpPlanes& planes, int layer, const float* delta,
                                                    const float* scores, float* to) {
    const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, plane_row = crew.row(layout);
    const bool top = layer == layout.layers;
    const float* const slopes = slopes_below(layout, planes, layer);
    for_each_group<Crew, PlaneTiles<kWidth>>(crew, padded, crew.samples(layout), [&](int row, int column) {
      if (top) {
        tiles.multiply_outputs(net.values + layout.output_weights, stride, layout.outputs, scores, plane_row, row,
                               column);
      } else {
        tiles.multiply(crew, layout, net.values + layout.weights[layer], delta, row, column);
      }
      if (!kInPlace) {
        tiles.store(layout.activation, planes.activations(layer - 1), slopes, to, plane_row, !top, row, column);
      }
    });
  }

  // Thread: register tiles; on chip there is one for each thread.
  __device__ __forceinline__ void multiply_floats(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                  const MlpPlanes& planes, int layer, const float* delta,
                                                  const float* scores, float* to) {
    constexpr int kLaneRows = kPlaneLaneRows<kWidth>;
    const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, groups = padded / kRows;
    const int plane_row = crew.row(layout), column_groups = crew.samples(layout) / kTileColumns;
    const int positions = position_count<kLaneRows>(groups, column_groups);
    const bool top = layer == layout.layers;
    const float* const slopes = slopes_below(layout, planes, layer);
    for (int t = crew.thread(); t < positions; t += crew.threads()) {
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
        delta_product(tile, net.values + layout.weights[layer], stride, padded, delta, plane_row);
      }
      if (!kInPlace) store_delta(tile, layout.activation, planes.activations(layer - 1), slopes, to, plane_row);
    }
  }
};

// Sums of the gradients of one feature's gain and shift, which this thread settles when the layer is done.
struct NormGradients {
  float gain, shift;
};

// Takes the delta of hidden layer `layer` through its layer norm, in place. Thread: first a feature's gain and shift,
// then a sample. Ends at a barrier.
template <class Crew>
__device__ __forceinline__ NormGradients through_norm(Crew& crew, const MlpLayout& layout, const Network& net,
                                                      const Flow& flow, const MlpPlanes& planes, const float* inverse,
                                                      int layer, float* delta, int count) {
  static_assert(kThreadsOf<0> >= kMaxWidth, "a feature a thread");
  const int thread = crew.thread();
  NormGradients sums{};
  if (thread < layout.width) {
    const int row = thread * crew.row(layout);
    sums.shift = add_row(delta + row, count, begin_of(net, flow, layout.shift[layer] + thread));
    sums.gain = add_products(delta + row, planes.normalized(layer) + row, count,
                             begin_of(net, flow, layout.gain[layer] + thread));
  }
  crew.sync();
  normalize_backward(crew, layout, net.values + layout.gain[layer], planes.normalized(layer),
                     inverse + layer * crew.samples(layout), delta);
  crew.sync();
  return sums;
}

// --- all layers ------------------------------------------------------------------------------------------------------

// Takes a tile of `count` samples back from the scores to the gradients of all parameters. `planes` hold its forward
// pass, x (first_rows, samples) its features, `scores` (outputs, samples) the gradient with respect to the scores,
// zeros behind the samples that count. deltas: two planes, for kWidth 0. Ends at a barrier.
template <class Crew>
__device__ __forceinline__ void backward(Crew& crew, const MlpLayout& layout, const Network& net, const Flow& flow,
                                         const Rule& rule, const float* x, const MlpPlanes& planes, float* deltas,
                                         const float* scores, const float* inverse, int count) {
  constexpr bool kInPlace = Crew::kWidth > 0;
  const int thread = crew.thread();
  // From the output layer, which is number layout.layers and whose delta is `scores`, down.
  for (int l = layout.layers; l >= 0; --l) {
    const bool top = l == layout.layers;
    float* const delta = kInPlace ? planes.activations(l) : deltas + (l & 1) * layout.plane();

    // 1. The delta in hand is that behind layer norm: make it the one before.
    NormGradients norm_gradients{};
    const bool norm = !top && layout.layer_norm;
    if (norm) norm_gradients = through_norm(crew, layout, net, flow, planes, inverse, l, delta, count);

    // 2. Tensor cores take words. The biases see the delta first, as they sum it in fp32.
    const bool on_tensor_cores = Crew::kSplit && !top && l > 0;
    if (on_tensor_cores) {
      bias_gradients(crew, layout, net, flow, rule, l, delta, count);
      crew.sync();
      split_plane(crew, layout, delta);
      crew.sync();
    }

    // 3. The delta below, while this layer's weights still are those of the forward pass.
    DeltaBelow<Crew> delta_below;
    if (l > 0) {
      float* const to = kInPlace ? planes.activations(l - 1) : deltas + ((l - 1) & 1) * layout.plane();
      delta_below.multiply(crew, layout, net, planes, l, delta, scores, to);
      crew.sync();
    }

    // 4. The gradients of this layer's parameters, which also update them where the batch ends here.
    const float* const below = l > 0 ? planes.activations(l - 1) : x;
    if (top) {
      output_gradients(crew, layout, net, flow, rule, below, scores, count);
    } else if (on_tensor_cores) {
      weight_gradients_split(crew, layout, net, flow, rule, layout.weights[l], below, delta, count);
    } else {
      layer_gradients(crew, layout, net, flow, rule, l, below, delta, count);
    }
    if (norm && thread < layout.width) {
      settle<kShown<Crew>>(net, flow, rule, layout.shift[l] + thread, norm_gradients.shift);
      settle<kShown<Crew>>(net, flow, rule, layout.gain[l] + thread, norm_gradients.gain);
    }
    crew.sync();

    // 5. Nothing reads the values of the plane below any more: its delta takes their place.
    if (kInPlace && l > 0) {
      delta_below.store(crew, layout, planes, l);
      crew.sync();
    }
  }
}

}  // namespace scalelab::cuda
