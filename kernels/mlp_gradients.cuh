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
#include "kernels/rounded.h"
#include "scalelab/mlp.h"

namespace scalelab::cuda {

// --- the update ------------------------------------------------------------------------------------------------------

// What every update of one step multiplies by.
struct Rule {
  Optimizer optimizer;
  float decay, minus_rate, momentum, beta1, beta2, rest1, rest2, minus_scaled_rate, inverse_root, epsilon;
  // For Adam without branches: the rate over kLift, the inverse root over kRaise's root, and the largest scale.
  float lifted_rate, raised_root, most_scale;
};

// Powers of two that keep every number of an Adam step far from overflow and from what is too small to be exact: the
// second moment times kRaise, the first times kLift.
inline constexpr float kRaise = 0x1p26F, kRootOfRaise = 0x1p13F, kLift = 0x1p64F;

// Sets the last line of a rule for Adam. Scales above 1 are left out, so that no quotient is subnormal before it is
// lifted; all are where a constant is of unusual size: otherwise a scale is at least 2^-50, a root of 2^-63 leaves
// epsilon as it is, and the rate over kLift is exact.
__device__ inline void prepare_adam(Rule& rule) {
  const float rate = -rule.minus_scaled_rate;
  const bool usual = rule.epsilon >= rule.inverse_root * 0x1p-50F && rule.inverse_root <= 0x1p40F && rate >= 0x1p-60F &&
                     rate <= 0x1p60F;
  rule.lifted_rate = rule.minus_scaled_rate * (1 / kLift);
  rule.raised_root = rule.inverse_root * (1 / kRootOfRaise);
  rule.most_scale = usual ? 1.0F : 0.0F;
}

// What is learned of kCount parameters.
template <int kCount>
struct Learned {
  float value[kCount], first[kCount], second[kCount];  // the moments: momentum (SGD) in `first`, or Adam's two
};

// kLift first / (sqrt(second) inverse_root + epsilon), the quotient rounded, by rounded.h. `good` becomes false where
// that does not hold.
__device__ __forceinline__ float lifted_direction(const Rule& rule, float first, float second, bool& good) {
  // 2^-126 changes no other second moment than zero, whose inverse root would be infinite.
  const float raised = ::fmaf(second, kRaise, kSmallestNormal);
  const float root = rounded_root(raised, approximate_inverse_root(raised));
  const float scale = ::fmaf(root, rule.raised_root, rule.epsilon);
  const bool in_range = (scale <= rule.most_scale) & (::fabsf(first) <= 0x1p10F) & !all_ones(__float_as_uint(scale));
  good = good & in_range;  // && would branch
  return rounded_quotient(first * kLift, scale, approximate_inverse(scale));
}

// A step of Adam. It differs from its textbook form in two points: the bias corrections are folded into two constants of
// the step (mlp_step.h, in double and shared with the CPU), so that a parameter needs one square root and one division;
// and what decays below the smallest normal number becomes zero: subnormal numbers move nothing, and CPUs are slow on
// them. All parameters go side by side, without a branch; where one is of unusual size, all once more in turn.
template <int kCount>
__device__ __forceinline__ void update_by_adam(const Rule& rule, const float (&g)[kCount], Learned<kCount>& learned) {
  float moved[kCount];
  bool good = true;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    float &first = learned.first[i], &second = learned.second[i];
    first = without_traces(::fmaf(rule.rest1, g[i], rule.beta1 * first), kSmallestNormal);
    second = without_traces(::fmaf(rule.rest2 * g[i], g[i], rule.beta2 * second), kSmallestNormal);
    moved[i] = ::fmaf(rule.lifted_rate, lifted_direction(rule, first, second, good), learned.value[i]);
  }
  if (good) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) learned.value[i] = moved[i];
    return;
  }
  // One after the other through the first place, so that this code is here once.
#pragma unroll 1
  for (int turn = 0; turn < kCount; ++turn) {
    const float first = learned.first[0], second = learned.second[0];
    const float scale = ::fmaf(::sqrtf(second), rule.inverse_root, rule.epsilon);
    const float value = ::fmaf(rule.minus_scaled_rate, first / scale, learned.value[0]);
#pragma unroll
    for (int i = 0; i + 1 < kCount; ++i) {
      learned.value[i] = learned.value[i + 1];
      learned.first[i] = learned.first[i + 1];
      learned.second[i] = learned.second[i + 1];
    }
    learned.value[kCount - 1] = value;
    learned.first[kCount - 1] = first;
    learned.second[kCount - 1] = second;
  }
}

// A step of kCount parameters.
template <int kCount>
__device__ __forceinline__ void update(const Rule& rule, const float (&gradient)[kCount], Learned<kCount>& learned) {
  float g[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    g[i] = without_traces(gradient[i], kNoGradient);
    learned.value[i] = ::fmaf(rule.decay, learned.value[i], learned.value[i]);
  }
  if (rule.optimizer == Optimizer::adam) {
    update_by_adam(rule, g, learned);
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    learned.first[i] = without_traces(::fmaf(rule.momentum, learned.first[i], g[i]), kSmallestNormal);
    learned.value[i] = ::fmaf(rule.minus_rate, learned.first[i], learned.value[i]);
  }
}

// The parameters of a block's network and what an optimiser keeps of them, all packed.
struct Network {
  float* values;  // what products and scores read
  float* master;  // what learns; in fp32 the same
  float *first, *second, *gradient;
  const float* mask;  // 1 where a value learns, 0 where it stays zero; null: all learn
};

// Whether `values`, which products read, hold a copy of each master weight, which learns; in fp32 they are the same
// memory. What tensor cores multiply they hold as split numbers.
template <class Crew>
inline constexpr bool kCopies = Crew::kSplit;

// Where a tile of samples stands in its batch, and so what becomes of a gradient summed over it. `begins`: it is the
// batch's first tile, whose sums start at zero; otherwise they go on from those in memory. `learns`: it is the last,
// whose sums are complete and go into an update; otherwise they are put into memory.
struct Flow {
  bool begins, learns;
  int count;  // samples of the tile
};

// Settles the gradient of the parameter at `at` (packed): into memory or into an update, as `flow` says.
template <bool kCopy>
__device__ __forceinline__ void settle(const Network& net, const Flow& flow, const Rule& rule, int at, float gradient) {
  if (!flow.learns) {
    net.gradient[at] = gradient;
    return;
  }
  if (net.mask != nullptr && net.mask[at] == 0) return;  // value and moments stay zero
  Learned<1> learned = {{net.master[at]}, {net.first[at]}, {net.second[at]}};
  update(rule, {gradient}, learned);
  net.master[at] = learned.value[0];
  if (kCopy) net.values[at] = learned.value[0];
  net.first[at] = learned.first[0];
  net.second[at] = learned.second[0];
}

// What is learned of four parameters, in two pairs kGap apart, the first at `at`.
template <int kGap>
__device__ __forceinline__ Learned<4> learned4(const Network& net, int at) {
  const float4 v = load_pairs<kGap>(net.master + at), m = load_pairs<kGap>(net.first + at),
               s = load_pairs<kGap>(net.second + at);
  return {{v.x, v.y, v.z, v.w}, {m.x, m.y, m.z, m.w}, {s.x, s.y, s.z, s.w}};
}

// An update of these, of which `learned` has been read before. show(values) gives products what they read.
template <int kGap, class Show>
__device__ __forceinline__ void update4(const Network& net, const Rule& rule, int at, float4 g, Learned<4> learned,
                                        Show show) {
  update(rule, {g.x, g.y, g.z, g.w}, learned);
  if (net.mask != nullptr) {
    const float4 learns = load_pairs<kGap>(net.mask + at);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (element(learns, i) == 0) learned.value[i] = learned.first[i] = learned.second[i] = 0;
    }
  }
  const auto four = [](const float(&v)[4]) { return make_float4(v[0], v[1], v[2], v[3]); };
  store_pairs<kGap>(net.master + at, four(learned.value));
  store_pairs<kGap>(net.first + at, four(learned.first));
  store_pairs<kGap>(net.second + at, four(learned.second));
  show(four(learned.value));
}

// settle of kCount such fours, at(i) and gradient(i) the i-th. `first`: what is learned of the first.
template <int kCount, int kGap, class At, class Gradient, class Show>
__device__ __forceinline__ void settle_fours(const Network& net, const Flow& flow, const Rule& rule, Learned<4> first,
                                             At at, Gradient gradient, Show show) {
  if (!flow.learns) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) store_pairs<kGap>(net.gradient + at(i), gradient(i));
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    update4<kGap>(net, rule, at(i), gradient(i), i == 0 ? first : learned4<kGap>(net, at(i)),
                  [&](float4 values) { show(i, values); });
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
#pragma unroll 2
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
#pragma unroll 2
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
#pragma unroll 4
  for (int s = 0; s < count; s += 4) {
    const float4 x = load4(a + s);
    sum += x.x;
    sum += x.y;
    sum += x.z;
    sum += x.w;
  }
  return sum;
}

// Rows of a register tile of weights: on chip as many as leave no thread idle where the weights are kWidth x kWidth.
template <class Crew>
inline constexpr int kWeightTileRows = Crew::kWidth > 0 ? Crew::kWidth / (kSamples / Crew::kTileRows) : Crew::kTileRows;

// A register tile of the gradient of weights (rows, stride) = below (rows, samples) delta^T (samples, padded): a thread's
// kRows x 4 elements, its rows spread over `rows` so that the lanes of a warp read neighbouring rows of `below`.
template <class Crew, int kRows = kWeightTileRows<Crew>>
struct WeightTile {
  static constexpr int kLaneRows = 8;  // of a warp, by 4 columns
  float4 sum[kRows];
  Learned<4> learned;  // of the first row
  int first, step;     // packed: the first element, and from a row to the next

  // use(tile) for each of this thread's tiles, of which there is one where weights on chip are kWidth x kWidth.
  template <class Use>
  __device__ static __forceinline__ void for_each(const Crew& crew, const MlpLayout& layout, int rows, Use use) {
    const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded;
    const int row_groups = rows / kRows, column_groups = padded / kTileColumns;
    const int positions = position_count<kLaneRows>(row_groups, column_groups);
    for (int t = crew.thread(); t < positions; t += crew.threads()) {
      const Position at = position_of<kLaneRows>(t, column_groups);
      if (at.row_group < row_groups && at.column_group < column_groups) use(at);
    }
  }

  // Over `count` samples, of the tile at `at`.
  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const Network& net,
                                           const Flow& flow, const Position& at, int rows, int weights,
                                           const float* below, const float* delta, int count) {
    const int plane_row = crew.row(layout), row_groups = rows / kRows;
    const int stride = (Crew::kWidth > 0 ? Crew::kWidth : layout.padded) + 4;
    first = weights + at.row_group * stride + at.column_group * kTileColumns;
    step = row_groups * stride;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      sum[i] = flow.begins ? make_float4(0, 0, 0, 0) : load4(net.gradient + first + i * step);
    }
    const float* left = below + at.row_group * plane_row;
    const float* right = delta + at.column_group * kTileColumns * plane_row;
#pragma unroll 2
    for (int s = 0; s < count; s += 4) {
      const float4 d0 = load4(right + s), d1 = load4(right + plane_row + s), d2 = load4(right + 2 * plane_row + s),
                   d3 = load4(right + 3 * plane_row + s);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
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
    if (flow.learns) learned = learned4<2>(net, first);  // on its way while the crew meets
  }

  __device__ __forceinline__ void settle(const Network& net, const Flow& flow, const Rule& rule) const {
    settle_fours<kRows, 2>(
        net, flow, rule, learned, [&](int i) { return first + i * step; }, [&](int i) { return sum[i]; },
        [&](int i, float4 values) {
          if (kCopies<Crew>) store4(net.values + first + i * step, values);
        });
  }
};

// The same on tensor cores, of a layer between hidden layers: a warp's group of tiles.
template <class Crew>
struct WeightTileGroup {
  using Tiles = WeightTiles<Crew>;
  using Format = Split<Crew>;
  static constexpr int kCount = Tiles::kRows * Tiles::kColumns;
  ProductTile<Format> tiles[Tiles::kRows][Tiles::kColumns];
  int row, column;      // this lane's first
  int weights, padded;  // where the layer's weights begin, its width

  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const Network& net,
                                           const Flow& flow, int weights_at, int group_row, int group_column,
                                           const float* below, const float* delta, int count) {
    const int plane_row = crew.row(layout), samples = crew.samples(layout);
    weights = weights_at;
    row = group_row + Format::row();
    column = group_column + Format::column();
    padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded;
    const auto begin = [&](int e) {
      return flow.begins ? make_float4(0, 0, 0, 0) : load_pairs<Format::kGap>(net.gradient + row_of(e) + column_of(e));
    };
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      tiles[e / Tiles::kColumns][e % Tiles::kColumns].begin(begin(2 * e), begin(2 * e + 1));
    }
    multiply_split<true, true>(tiles, Format{below, plane_row, samples}, group_row, Format{delta, plane_row, samples},
                               group_column, (count + 15) / 16 * 16, layout.precision == Precision::bf16x3);
  }

  __device__ __forceinline__ void settle(const MlpLayout& layout, const Network& net, const Flow& flow,
                                         const Rule& rule) const {
    const Learned<4> first = flow.learns ? learned4<Format::kGap>(net, row_of(0) + column_of(0)) : Learned<4>{};
    settle_fours<2 * kCount, Format::kGap>(
        net, flow, rule, first, [&](int e) { return row_of(e) + column_of(e); },
        [&](int e) { return tiles[e / 2 / Tiles::kColumns][e / 2 % Tiles::kColumns].row(e % 2); },
        [&](int e, float4 v) {
          float* const to = net.values + row_of(e);
          if (kHalves<Crew>) {
            put_halves<Format::kGap>(layout, to, padded, column_of(e), v);
          } else {
            store4(to + column_of(e),
                   make_float4(word_of(layout, v.x), word_of(layout, v.y), word_of(layout, v.z), word_of(layout, v.w)));
          }
        });
  }

 private:
  // Of the e-th of this lane's fours, two for each tile: where its row begins, packed, and its column.
  __device__ __forceinline__ int row_of(int e) const {
    return weights + (row + e / 2 / Tiles::kColumns * 16 + e % 2 * Format::kRowStep) * (padded + 4);
  }
  __device__ __forceinline__ int column_of(int e) const { return column + e / 2 % Tiles::kColumns * 16; }
};

// Gradient of the weights of a layer between hidden layers, formed by multiply() and settled by settle(): two steps, as
// others still multiply by these weights until all have done the first. Not on chip, where a thread has more than one
// tile, the second does both.
template <class Crew>
struct BetweenGradients {
  static constexpr bool kHeld = Crew::kWidth > 0;  // in registers from one step to the other
  WeightTile<Crew> tile;
  WeightTileGroup<Crew> group;  // a Tensor crew, in its place

  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const Network& net,
                                           const Flow& flow, int weights, const float* below, const float* delta,
                                           int count) {
    if (kHeld) walk(crew, layout, net, flow, nullptr, weights, below, delta, count, true, false);
  }
  __device__ __forceinline__ void settle(const Crew& crew, const MlpLayout& layout, const Network& net,
                                         const Flow& flow, const Rule& rule, int weights, const float* below,
                                         const float* delta, int count) {
    const Rule here = rule;  // in registers from here on, and no longer
    walk(crew, layout, net, flow, &here, weights, below, delta, count, !kHeld, true);
  }

 private:
  __device__ __forceinline__ void walk(const Crew& crew, const MlpLayout& layout, const Network& net, const Flow& flow,
                                       const Rule* rule, int weights, const float* below, const float* delta, int count,
                                       bool multiplies, bool settles) {
    const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded;
    if (Crew::kSplit) {
      for_each_group<Crew, WeightTiles<Crew>>(crew, padded, padded, [&](int row, int column) {
        if (multiplies) group.multiply(crew, layout, net, flow, weights, row, column, below, delta, count);
        if (settles) group.settle(layout, net, flow, *rule);
      });
    } else {
      WeightTile<Crew>::for_each(crew, layout, padded, [&](const Position& at) {
        if (multiplies) tile.multiply(crew, layout, net, flow, at, padded, weights, below, delta, count);
        if (settles) tile.settle(net, flow, *rule);
      });
    }
  }
};

// Gradients of a hidden layer's biases: the sums of the rows of its delta, settled. Thread: a bias.
template <class Crew>
__device__ __forceinline__ void bias_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                               const Flow& flow, const Rule& rule, int layer, const float* delta,
                                               int count) {
  const int bias = layout.bias[layer], row = crew.row(layout);
  for (int o = crew.thread(); o < layout.width; o += crew.threads()) {
    settle<kCopies<Crew>>(net, flow, rule, bias + o, add_row(delta + o * row, count, begin_of(net, flow, bias + o)));
  }
}

// Gradients of the first layer's weights and bias, settled.
template <class Crew>
__device__ __forceinline__ void first_gradients(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                const Flow& flow, const Rule& rule, const float* x, const float* delta,
                                                int count) {
  const int thread = crew.thread(), threads = crew.threads(), width = layout.width, row = crew.row(layout);
  const int rows = layout.first_rows, weights = layout.weights[0], bias = layout.bias[0];
  if (rows >= kTileRows) {
    // On chip a row a tile, as there are few: so that more threads have one.
    using Tile = WeightTile<Crew, (Crew::kWidth > 0) ? 1 : kWeightTileRows<Crew>>;
    Tile::for_each(crew, layout, rows, [&](const Position& at) {
      Tile tile;
      tile.multiply(crew, layout, net, flow, at, rows, weights, x, delta, count);
      tile.settle(net, flow, rule);
    });
    bias_gradients(crew, layout, net, flow, rule, 0, delta, count);
    return;
  }
  // Few inputs: an element a thread, the bias as one row more.
  for (int e = thread; e < (rows + 1) * width; e += threads) {
    const int i = e / width, o = e - i * width;
    const int at = i < rows ? weights + i * layout.stride + o : bias + o;
    const float start = begin_of(net, flow, at);
    const float sum =
        i < rows ? dot_rows(x + i * row, delta + o * row, count, start) : add_row(delta + o * row, count, start);
    settle<kCopies<Crew>>(net, flow, rule, at, sum);
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
    settle<kCopies<Crew>>(net, flow, rule, at, sum);
  }
}

// --- deltas ----------------------------------------------------------------------------------------------------------

// One thread's register tile of a delta: rows row_group + i * groups, four columns, in two pairs kGap apart.
template <int kRows, int kGap = 2>
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
#pragma unroll 2
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
template <int kRows, int kGap>
__device__ __forceinline__ void delta_product_outputs(DeltaTile<kRows, kGap>& tile, const float* weights, int stride,
                                                      int outputs, const float* deltas, int plane_row) {
  for (int j = 0; j < outputs; ++j) {
    const float4 d = load_pairs<kGap>(deltas + j * plane_row + tile.column);
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

// Four sums times the activation's derivative, of the same places of a plane: values() gives the activations there,
// slopes() gelu's derivative.
template <class Values, class Slopes>
__device__ __forceinline__ float4 times_derivative(Activation activation, float4 sum, Values values, Slopes slopes) {
  if (activation == Activation::relu) {
    const float4 h = values();
    return make_float4(h.x > 0 ? sum.x : 0, h.y > 0 ? sum.y : 0, h.z > 0 ? sum.z : 0, h.w > 0 ? sum.w : 0);
  }
  if (activation == Activation::gelu) {
    const float4 slope = slopes();
    return make_float4(sum.x * slope.x, sum.y * slope.y, sum.z * slope.z, sum.w * slope.w);
  }
  const float4 h = values();
  return make_float4(sum.x * ::fmaf(-h.x, h.x, 1.0F), sum.y * ::fmaf(-h.y, h.y, 1.0F), sum.z * ::fmaf(-h.z, h.z, 1.0F),
                     sum.w * ::fmaf(-h.w, h.w, 1.0F));
}

// A warp's tiles of a delta, of a Tensor crew, from a first row and column.
template <class Crew>
struct DeltaTiles {
  using Tiles = PlaneTiles<Crew>;
  using Format = Split<Crew>;
  static constexpr int kCount = Tiles::kRows * Tiles::kColumns;
  ProductTile<Format> tiles[Tiles::kRows][Tiles::kColumns];

  // As delta_product, both factors split.
  __device__ __forceinline__ void multiply(const Crew& crew, const MlpLayout& layout, const float* weights,
                                           const float* delta, int row, int column) {
    const int padded = Crew::kWidth > 0 ? Crew::kWidth : layout.padded;
    const float4 zero = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int e = 0; e < kCount; ++e) tiles[e / Tiles::kColumns][e % Tiles::kColumns].begin(zero, zero);
    multiply_split<true, false>(tiles, Format{weights, padded + 4, padded}, row,
                                Format{delta, crew.row(layout), crew.samples(layout)}, column, padded,
                                layout.precision == Precision::bf16x3);
  }
  // As delta_product_outputs, in fp32.
  __device__ __forceinline__ void multiply_outputs(const float* weights, int stride, int outputs, const float* deltas,
                                                   int plane_row, int row, int column) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      DeltaTile<2, Format::kGap> tile{{}, row_of(row, 2 * e), Format::kRowStep, column_of(column, 2 * e)};
      delta_product_outputs(tile, weights, stride, outputs, deltas, plane_row);
      const auto sums = [&](int i) {
        return make_float4(tile.sum[i][0], tile.sum[i][1], tile.sum[i][2], tile.sum[i][3]);
      };
      tiles[e / Tiles::kColumns][e % Tiles::kColumns].begin(sums(0), sums(1));
    }
  }
  // Times the derivative. `split`: whether `values`, the plane of activations, holds split numbers.
  __device__ __forceinline__ void derive(const MlpLayout& layout, const float* values, const float* slopes,
                                         int plane_row, bool split, int row, int column) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      ProductTile<Format>& tile = tiles[e / Tiles::kColumns][e % Tiles::kColumns];
      const auto derived = [&](int i) {
        const int at = row_of(row, 2 * e + i) * plane_row, c = column_of(column, 2 * e);
        const auto activations = [&] {
          if (!split) return load_pairs<Format::kGap>(values + at + c);
          if (kHalves<Crew>) {
            const auto pairs = [&](bool with_lo) {
              const float2 a = Halves::pair_at(values + at, kSamples, c, with_lo),
                           b = Halves::pair_at(values + at, kSamples, c + Format::kGap, with_lo);
              return make_float4(a.x, a.y, b.x, b.y);
            };
            // A number is above zero where its hi part is.
            const bool needs_lo = layout.activation != Activation::relu && layout.precision == Precision::bf16x3;
            return needs_lo ? pairs(true) : pairs(false);
          }
          const float4 h = load4(values + at + c);
          if (layout.activation == Activation::relu) return h;  // a word is above zero as a float where its number is
          const auto number = [](float word) { return joined(__float_as_uint(word)); };
          return make_float4(number(h.x), number(h.y), number(h.z), number(h.w));
        };
        return times_derivative(layout.activation, tile.row(i), activations,
                                [&] { return load_pairs<Format::kGap>(slopes + at + c); });
      };
      const float4 first = derived(0), second = derived(1);
      tile.begin(first, second);
    }
  }
  // Into the plane `floats`, and into the plane `halves` unless null.
  __device__ __forceinline__ void store(const MlpLayout& layout, float* floats, float* halves, int plane_row, int row,
                                        int column) const {
#pragma unroll
    for (int e = 0; e < 2 * kCount; ++e) {
      const float4 sums = tiles[e / 2 / Tiles::kColumns][e / 2 % Tiles::kColumns].row(e % 2);
      const int at = row_of(row, e) * plane_row, c = column_of(column, e);
      store_pairs<Format::kGap>(floats + at + c, sums);
      if (halves != nullptr) put_halves<Format::kGap>(layout, halves + at, kSamples, c, sums);
    }
  }

 private:
  // Of the e-th of this lane's fours, two for each tile.
  __device__ static int row_of(int row, int e) {
    return row + e / 2 / Tiles::kColumns * 16 + Format::row() + e % 2 * Format::kRowStep;
  }
  __device__ static int column_of(int column, int e) {
    return column + e / 2 % Tiles::kColumns * 16 + Format::column();
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

// Where a delta is. On chip it takes the place of the plane that it belongs to; of a Tensor crew the halves do, with the
// floats, which the bias sums, in a plane that all deltas use in turn: but for what layer norm changes first, and for the
// first layer's. Not on chip two planes take turns.
template <class Crew>
struct DeltaPlanes {
  float *floats, *halves;  // halves: null where they are made later, or never
  __device__ static __forceinline__ DeltaPlanes of(const MlpLayout& layout, const MlpPlanes& planes, float* deltas,
                                                   int layer) {
    if (Crew::kWidth == 0) return {deltas + (layer & 1) * layout.plane(), nullptr};
    float* const plane = planes.activations(layer);
    if (kHalves<Crew> && layer > 0 && !layout.layer_norm) return {deltas, plane};
    return {plane, nullptr};
  }
};

// The delta of the plane below a layer: the product of the layer's weights and its own delta times the derivative of the
// activation, which `multiply` forms, and which `store` puts where it belongs. The steps are two because on chip the
// result overwrites the plane of values that the layer's weight gradients read in between: until then it waits in
// registers.
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
      multiply_split_of(crew, layout, net, planes, layer, delta, scores, to);
    } else {
      multiply_floats(crew, layout, net, planes, layer, delta, scores, to);
    }
  }

  // In place: over the values of the plane below a layer, once nothing reads them.
  __device__ __forceinline__ void store(const Crew& crew, const MlpLayout& layout, const DeltaPlanes<Crew>& to) {
    if (Crew::kSplit) {
      const int padded = kWidth > 0 ? kWidth : layout.padded;
      for_each_group<Crew, PlaneTiles<Crew>>(crew, padded, crew.samples(layout), [&](int row, int column) {
        tiles.store(layout, to.floats, to.halves, crew.row(layout), row, column);
      });
    } else {
      store_floats(to.floats, crew.row(layout));
    }
  }

 private:
  __device__ static __forceinline__ const float* slopes_below(const MlpLayout& layout, const MlpPlanes& planes,
                                                              int layer) {
    return layout.activation == Activation::gelu ? planes.slopes(layer - 1) : nullptr;
  }

  __device__ __forceinline__ void store_floats(float* to, int plane_row) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float* sum = tile.sum[i];
      store4(to + (tile.row + i * tile.step) * plane_row + tile.column, make_float4(sum[0], sum[1], sum[2], sum[3]));
    }
  }

  // Warp: groups of tiles, on tensor cores; in fp32 from the output layer, which is too narrow for them.
  __device__ __forceinline__ void multiply_split_of(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                    const MlpPlanes& planes, int layer, const float* delta,
                                                    const float* scores, float* to) {
    const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, plane_row = crew.row(layout);
    const bool top = layer == layout.layers;
    const float* const slopes = slopes_below(layout, planes, layer);
    for_each_group<Crew, PlaneTiles<Crew>>(crew, padded, crew.samples(layout), [&](int row, int column) {
      if (top) {
        tiles.multiply_outputs(net.values + layout.output_weights, stride, layout.outputs, scores, plane_row, row,
                               column);
      } else {
        tiles.multiply(crew, layout, net.values + layout.weights[layer], delta, row, column);
      }
      tiles.derive(layout, planes.activations(layer - 1), slopes, plane_row, !top, row, column);
      if (!kInPlace) tiles.store(layout, to, nullptr, plane_row, row, column);
    });
  }

  // Thread: register tiles; on chip there is one for each thread.
  __device__ __forceinline__ void multiply_floats(const Crew& crew, const MlpLayout& layout, const Network& net,
                                                  const MlpPlanes& planes, int layer, const float* delta,
                                                  const float* scores, float* to) {
    constexpr int kLaneRows = kPlaneLaneRows<Crew>;
    const int padded = kWidth > 0 ? kWidth : layout.padded, stride = padded + 4, groups = padded / kRows;
    const int plane_row = crew.row(layout), column_groups = crew.samples(layout) / kTileColumns;
    const int positions = position_count<kLaneRows>(groups, column_groups);
    const bool top = layer == layout.layers;
    const float *const slopes = slopes_below(layout, planes, layer), *const values = planes.activations(layer - 1);
    for (int t = crew.thread(); t < positions; t += crew.threads()) {
      const Position at = position_of<kLaneRows>(t, column_groups);
      if (kWidth == 0 && at.row_group >= groups) continue;
      tile = {{}, at.row_group, groups, at.column_group * kTileColumns};
      if (top) {
        delta_product_outputs(tile, net.values + layout.output_weights, stride, layout.outputs, scores, plane_row);
      } else {
        delta_product(tile, net.values + layout.weights[layer], stride, padded, delta, plane_row);
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int place = (tile.row + i * tile.step) * plane_row + tile.column;
        float* const sum = tile.sum[i];
        const float4 derived = times_derivative(
            layout.activation, make_float4(sum[0], sum[1], sum[2], sum[3]), [&] { return load4(values + place); },
            [&] { return load4(slopes + place); });
        sum[0] = derived.x;
        sum[1] = derived.y;
        sum[2] = derived.z;
        sum[3] = derived.w;
      }
      if (!kInPlace) store_floats(to, plane_row);
    }
  }
};

// Sums of the gradients of one feature's gain and shift, which this thread settles when the layer is done.
struct NormGradients {
  float gain, shift;
};

// Takes the delta of hidden layer `layer` through its layer norm, in place. Thread: first a feature's gain and shift,
// then a sample. Ends at a barrier.
template <class Crew, class Memory>
__device__ __forceinline__ NormGradients through_norm(Crew& crew, const MlpLayout& layout, const Memory& memory,
                                                      const Flow& flow, int layer, float* delta, int count) {
  static_assert(kThreadsOf<0> >= kMaxWidth, "a feature a thread");
  const int thread = crew.thread();
  const float* const normalized = memory.planes.normalized(layer);
  NormGradients sums{};
  if (thread < layout.width) {
    const int row = thread * crew.row(layout);
    sums.shift = add_row(delta + row, count, begin_of(memory.net, flow, layout.shift[layer] + thread));
    sums.gain =
        add_products(delta + row, normalized + row, count, begin_of(memory.net, flow, layout.gain[layer] + thread));
  }
  crew.sync();
  normalize_backward(crew, layout, memory.net.values + layout.gain[layer], normalized,
                     memory.inverse + layer * crew.samples(layout), delta);
  crew.sync();
  return sums;
}

// --- all layers ------------------------------------------------------------------------------------------------------

// Takes a tile of samples back from the scores to the gradients of all parameters. memory(): the network, and of
// the tile its features, what the forward pass left in planes, and as scores the gradient with respect to them, zeros
// behind the samples that count. It is asked again behind each barrier, and flow and rule are in shared memory, as that
// costs less than the registers that would hold them meanwhile. Ends at a barrier.
template <class Crew, class Memory>
__device__ __forceinline__ void backward(Crew& crew, const MlpLayout& layout, const Memory& memory, const Flow& flow,
                                         const Rule& rule) {
  constexpr bool kInPlace = Crew::kWidth > 0;
  const int thread = crew.thread();
  const auto delta_planes = [&](int layer) {
    const auto at = memory();
    return DeltaPlanes<Crew>::of(layout, at.planes, at.deltas, layer);
  };
  // Of layer l: the plane of its delta as products read it; the values below it.
  const auto delta_of = [&](int l) {
    const DeltaPlanes<Crew> planes = delta_planes(l);
    return planes.halves != nullptr ? planes.halves : planes.floats;
  };
  const auto values_below = [&](int l) { return l > 0 ? memory().planes.activations(l - 1) : memory().x; };
  // From the output layer, which is number layout.layers and whose delta is the scores, down.
  for (int l = layout.layers; l >= 0; --l) {
    const bool top = l == layout.layers;

    // 1. The delta in hand is that behind layer norm: make it the one before.
    NormGradients norm_gradients{};
    const bool norm = !top && layout.layer_norm;
    if (norm) norm_gradients = through_norm(crew, layout, memory(), flow, l, delta_planes(l).floats, flow.count);

    // 2. Tensor cores take split numbers. The biases see the delta first, as they sum it in fp32.
    const bool on_tensor_cores = Crew::kSplit && !top && l > 0;
    if (on_tensor_cores) {
      bias_gradients(crew, layout, memory().net, flow, rule, l, delta_planes(l).floats, flow.count);
      if (delta_planes(l).halves == nullptr) {
        crew.sync();
        split_plane(crew, layout, delta_planes(l).floats);
        crew.sync();
      }
    }

    // 3. The delta below, while this layer's weights still are those of the forward pass; and the gradients of weights
    // between hidden layers, as far as registers hold them.
    const bool between = !top && l > 0;
    DeltaBelow<Crew> delta_below;
    BetweenGradients<Crew> gradients;
    if (l > 0) {
      const auto at = memory();
      delta_below.multiply(crew, layout, at.net, at.planes, l, delta_of(l), at.scores, delta_planes(l - 1).floats);
      if (between) {
        gradients.multiply(crew, layout, at.net, flow, layout.weights[l], values_below(l), delta_of(l), flow.count);
      }
      crew.sync();
    }

    // 4. The gradients of this layer's parameters, which also update them where the batch ends here, and the delta below
    // in its place.
    if (top) {
      output_gradients(crew, layout, memory().net, flow, rule, values_below(l), memory().scores, flow.count);
      if (kInPlace) crew.sync();
    }
    // Nothing reads the values of the plane below any more: its delta takes their place.
    if (kInPlace && l > 0) delta_below.store(crew, layout, delta_planes(l - 1));
    if (between) {
      const Network net = memory().net;
      gradients.settle(crew, layout, net, flow, rule, layout.weights[l], values_below(l), delta_of(l), flow.count);
      if (!on_tensor_cores) bias_gradients(crew, layout, net, flow, rule, l, delta_of(l), flow.count);
    } else if (!top) {
      first_gradients(crew, layout, memory().net, flow, rule, memory().x, delta_of(l), flow.count);
    }
    if (norm && thread < layout.width) {
      const Network net = memory().net;
      settle<kCopies<Crew>>(net, flow, rule, layout.shift[l] + thread, norm_gradients.shift);
      settle<kCopies<Crew>>(net, flow, rule, layout.gain[l] + thread, norm_gradients.gain);
    }
    crew.sync();
  }
}

}  // namespace scalelab::cuda
