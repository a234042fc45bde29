// mlp on the CPU: forward, backward and whole training runs, one network to a thread.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mlp.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/mlp_block-inl.h"
#include "kernels/mlp_bounds-inl.h"
#include "kernels/mlp_check.h"
#include "kernels/mlp_step.h"
#include "scalelab/random.h"

#ifndef SCALELAB_KERNELS_MLP_ONCE
#define SCALELAB_KERNELS_MLP_ONCE
namespace scalelab::cpu {

// What the steps of a run share with the thread that called.
struct Observer {
  // Told after each epoch how many samples it saw; false: stop, the op is abandoned.
  virtual bool epoch_done(std::int64_t samples) = 0;
};

}  // namespace scalelab::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// Gradients below 2^-58 count as zero in the moments, and so do moments below the smallest normal number: they would
// move no weight, and arithmetic on subnormal numbers takes many times longer.
inline constexpr float kNoGradient = 0x1p-58F, kSmallestNormal = 0x1p-126F;

// One optimiser step on `size` floats. `mask`: all ones where a value learns, zeros where it stays zero; may be null.
HWY_NOINLINE void update(const MlpRun& run, const MlpStep& step, std::int64_t size, const float* gradient,
                         const float* mask, float* values, float* first, float* second) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const bool adam = run.optimizer == Optimizer::adam;
  const Vector decay = hn::Set(d, -step.rate * run.weight_decay), minus_rate = hn::Set(d, -step.rate);
  const Vector momentum = hn::Set(d, run.momentum), beta1 = hn::Set(d, run.beta1), beta2 = hn::Set(d, run.beta2);
  const Vector rest1 = hn::Set(d, 1.0F - run.beta1), rest2 = hn::Set(d, 1.0F - run.beta2);
  const Vector minus_scaled_rate = hn::Set(d, -step.scaled_rate), inverse_root = hn::Set(d, step.inverse_root);
  const Vector epsilon = hn::Set(d, run.epsilon);
  for (std::int64_t i = 0; i < size; i += lanes) {
    Vector g = without_traces(hn::Load(d, gradient + i), kNoGradient);
    if (mask != nullptr) g = hn::And(g, hn::Load(d, mask + i));  // value and moments, all zero, stay so
    Vector value = hn::Load(d, values + i);
    value = fused(d, decay, value, value);
    Vector m = hn::Load(d, first + i);
    if (adam) {
      m = without_traces(fused(d, rest1, g, hn::Mul(beta1, m)), kSmallestNormal);
      Vector v = fused(d, hn::Mul(rest2, g), g, hn::Mul(beta2, hn::Load(d, second + i)));
      v = without_traces(v, kSmallestNormal);
      hn::Store(v, d, second + i);
      const Vector scale = fused(d, hn::Sqrt(v), inverse_root, epsilon);
      value = fused(d, minus_scaled_rate, hn::Div(m, scale), value);
    } else {
      m = without_traces(fused(d, momentum, m, g), kSmallestNormal);
      value = fused(d, minus_rate, m, value);
    }
    hn::Store(m, d, first + i);
    hn::Store(value, d, values + i);
  }
}

// Whether all of n floats are finite, n a multiple of kLine.
HWY_NOINLINE bool all_finite(const float* values, std::int64_t n) {
  const Floats d;
  Vector zeros = hn::Zero(d);  // 0 times what is not finite is NaN
  for (std::int64_t i = 0; i < n; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    zeros = fused(d, hn::Load(d, values + i), hn::Zero(d), zeros);
  }
  alignas(64) float lanes[kLine];
  hn::Store(zeros, d, lanes);
  return std::all_of(lanes, lanes + hn::Lanes(d), [](float lane) { return lane == 0; });
}

// Raw inputs of `count` rows into the columns of `work.inputs`, zeros behind them; the rows are rows[i], or begin + i.
void gather(const float* inputs, std::int64_t features, const int* rows, std::int64_t begin, std::int64_t count,
            MlpWorkspace& work) {
  const std::int64_t columns = round_up(count, kLine);
  for (std::int64_t s = 0; s < count; ++s) {
    const float* from = inputs + (rows != nullptr ? rows[s] : begin + s) * features;
    for (std::int64_t f = 0; f < features; ++f) work.inputs[f * work.columns + s] = from[f];
  }
  for (std::int64_t f = 0; f < features; ++f) {
    for (std::int64_t s = count; s < columns; ++s) work.inputs[f * work.columns + s] = 0;
  }
}

void gather_labels(const std::uint8_t* labels, const int* rows, std::int64_t begin, std::int64_t count,
                   MlpWorkspace& work) {
  for (std::int64_t s = 0; s < count; ++s) {
    work.labels[s] = static_cast<float>(labels[rows != nullptr ? rows[s] : begin + s]);
  }
}

// Scores of `count` samples whose raw inputs are in `work.inputs`.
void score(const MlpPlan& plan, const float* packed, std::int64_t count, MlpWorkspace& work) {
  encode(plan, work.inputs, work.columns, round_up(count, kLine));
  forward(plan, packed, count, false, work);
}

// Raw inputs of rows [begin, begin + count) of (n, d), scored into scores (count, outputs).
void score_rows(const MlpPlan& plan, const float* packed, const float* inputs, std::int64_t begin, std::int64_t count,
                MlpWorkspace& work, float* scores) {
  gather(inputs, plan.shape.inputs, nullptr, begin, count, work);
  score(plan, packed, count, work);
  for (std::int64_t j = 0; j < plan.outputs; ++j) {
    for (std::int64_t s = 0; s < count; ++s) scores[s * plan.outputs + j] = work.scores[j * work.columns + s];
  }
}

// Sum of the losses of n rows, features (n, plan.features), and the gradient of their mean, a block at a time.
double loss_and_gradient(const MlpPlan& plan, const MlpLoss& loss, const float* packed, const float* features,
                         const std::uint8_t* labels, const int* rows, std::int64_t n, MlpWorkspace& work,
                         float* gradient) {
  double sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += work.columns) {
    const std::int64_t count = std::min(n - begin, work.columns);
    const int* block_rows = rows != nullptr ? rows + begin : nullptr;
    gather(features, plan.features, block_rows, begin, count, work);
    gather_labels(labels, block_rows, begin, count, work);
    forward(plan, packed, count, true, work);
    backward(plan, loss, packed, count, n, begin == 0, work, gradient);
    for (std::int64_t s = 0; s < count; ++s) sum += work.losses[s];
  }
  return sum;
}

// The features of rows [0, n) of raw inputs, (n, plan.features).
void encode_rows(const MlpPlan& plan, const float* inputs, std::int64_t n, MlpWorkspace& work, float* features) {
  for (std::int64_t begin = 0; begin < n; begin += work.columns) {
    const std::int64_t count = std::min(n - begin, work.columns);
    gather(inputs, plan.shape.inputs, nullptr, begin, count, work);
    encode(plan, work.inputs, work.columns, round_up(count, kLine));
    for (std::int64_t s = 0; s < count; ++s) {
      for (std::int64_t f = 0; f < plan.features; ++f) {
        features[(begin + s) * plan.features + f] = work.inputs[f * work.columns + s];
      }
    }
  }
}

double backward_rows(const MlpPlan& plan, const MlpLoss& loss, const float* packed, const float* features,
                     const std::uint8_t* labels, std::int64_t n, MlpWorkspace& work, float* gradient) {
  return loss_and_gradient(plan, loss, packed, features, labels, nullptr, n, work, gradient);
}

// mask (packed): all bits set where a weight learns, none where it does not; there parameters and moments become 0.
void apply_mask(const MlpPlan& plan, View<const std::uint8_t> weight_mask, float* mask, float* values, float* first,
                float* second) {
  std::vector<float> learns(static_cast<std::size_t>(weight_mask.size()));
  for (std::size_t i = 0; i < learns.size(); ++i) learns[i] = weight_mask.data()[i] != 0 ? 1.0F : 0.0F;
  pack(plan, learns.data(), mask);
  for (std::int64_t i = 0; i < plan.size; ++i) {
    const std::uint32_t bits = mask[i] != 0 ? ~0U : 0U;
    std::memcpy(mask + i, &bits, sizeof bits);
    if (bits == 0) values[i] = first[i] = second[i] = 0;
  }
}

// The rows of an epoch in the order in which they are visited.
void order_rows(const MlpRun& run, int epoch, std::vector<int>& order) {
  const auto r = static_cast<std::uint32_t>(order.size());
  std::iota(order.begin(), order.end(), 0);
  if (run.shuffle) {
    // The loop over all rows has no branch, so that the compiler can make vectors of it; few rows walk on.
    const Shuffle shuffle(r, run.seed, static_cast<std::uint32_t>(epoch));
    for (int& row : order) row = static_cast<int>(shuffle.walk(static_cast<std::uint32_t>(row)));
    for (int& row : order) {
      while (static_cast<std::uint32_t>(row) >= r)
        row = static_cast<int>(shuffle.walk(static_cast<std::uint32_t>(row)));
    }
  }
  if (!run.rows.empty()) {
    for (int& row : order) row = run.rows.data()[row];
  }
}

// One run, whole.
void train_run(const MlpRun& run, Observer& observer, Context& context) {
  const MlpPlan plan(run.shape);
  const std::int64_t n = run.inputs.extent(0), r = row_count(run);
  const std::int64_t batch = run.batch_size == 0 ? r : std::min<std::int64_t>(run.batch_size, r);
  const std::int64_t steps_per_epoch = (r + batch - 1) / batch, steps = steps_per_epoch * run.epochs;
  MlpWorkspace work(plan, std::min(plan.block, round_up(batch, kLine)), true, context, run.precision);

  const bool encoded = run.shape.encoding != Encoding::none;
  Buffer<float> feature_memory(context, {encoded ? n * plan.features : 0});
  if (encoded) encode_rows(plan, run.inputs.data(), n, work, feature_memory.view().data());
  const float* features = encoded ? feature_memory.view().data() : run.inputs.data();

  Buffer<float> memory(context, {5, plan.size});
  float* const values = memory.view().data();
  float *const gradient = values + plan.size, *const first = gradient + plan.size, *const second = first + plan.size;
  float* mask = second + plan.size;
  std::fill(gradient, mask, 0.0F);
  pack(plan, run.parameters.data(), values);
  if (!run.state.empty()) {
    pack(plan, run.state.data(), first);
    pack(plan, run.state.data() + run.parameters.size(), second);
  }
  if (run.weight_mask.empty()) {
    mask = nullptr;
  } else {
    apply_mask(plan, run.weight_mask, mask, values, first, second);
  }

  const int epoch_end = epoch_end_of(run);
  std::vector<int> order(static_cast<std::size_t>(r));
  bool finite = true;
  int epoch = run.epoch_begin;
  for (; epoch < epoch_end; ++epoch) {
    order_rows(run, epoch, order);
    double epoch_loss = 0;
    std::int64_t step = epoch * steps_per_epoch;
    for (std::int64_t begin = 0; begin < r && finite; begin += batch, ++step) {
      const std::int64_t count = std::min(batch, r - begin);
      const double sum = loss_and_gradient(plan, run.loss, values, features, run.labels.data(), order.data() + begin,
                                           count, work, gradient);
      epoch_loss += sum;
      finite = std::isfinite(sum);
      if (finite) {
        update(run, mlp_step(run.learning_rate, run.schedule, run.optimizer, run.beta1, run.beta2, step, steps),
               plan.size, gradient, mask, values, first, second);
      }
    }
    finite = finite && all_finite(values, plan.size);
    if (!finite) break;
    if (!run.epoch_losses.empty()) {
      run.epoch_losses.data()[epoch - run.epoch_begin] = static_cast<float>(epoch_loss / static_cast<double>(r));
    }
    if (!observer.epoch_done(r)) return;
  }
  unpack(plan, values, run.parameters.data());
  if (!run.state.empty()) {
    unpack(plan, first, run.state.data());
    unpack(plan, second, run.state.data() + run.parameters.size());
  }
  if (!run.diverged.empty()) run.diverged.data()[0] = finite ? -1 : epoch;
  if (!run.epoch_losses.empty()) {
    std::fill(run.epoch_losses.data() + (epoch - run.epoch_begin),
              run.epoch_losses.data() + (epoch_end - run.epoch_begin), std::numeric_limits<float>::quiet_NaN());
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {

HWY_EXPORT(score);
HWY_EXPORT(score_rows);
HWY_EXPORT(encode_rows);
HWY_EXPORT(backward_rows);
HWY_EXPORT(train_run);
HWY_EXPORT(bound_scores);
HWY_EXPORT(judge_cells);

MlpPlan::MlpPlan(const MlpShape& s)
    : shape(s), features(feature_count(s)), width(s.width), outputs(s.outputs), stride(round_up(s.width, kLine)) {
  std::int64_t at = 0;
  auto take = [&](std::int64_t rows, std::int64_t columns) {
    const std::int64_t begin = at;
    at += rows * columns;
    return begin;
  };
  for (int l = 0; l < s.hidden_layers; ++l) {
    Hidden& layer = hidden[l];
    layer.fan_in = l == 0 ? features : width;
    layer.weights = take(layer.fan_in, stride);
    layer.bias = take(1, stride);
    layer.gain = layer.shift = 0;
    if (s.layer_norm) {
      layer.gain = take(1, stride);
      layer.shift = take(1, stride);
    }
  }
  output_weights = take(outputs, stride);
  output_bias = take(1, round_up(outputs, kLine));
  size = at;
  // About 16 KB a layer; at least 64 columns, so that a product has enough to do per weight it loads.
  block = std::clamp<std::int64_t>(4096 / stride / 64 * 64, 64, 256);
}

namespace {

// Calls copy(parameter index, packed index) for every parameter.
template <class Copy>
void for_each_parameter(const MlpPlan& plan, Copy&& copy) {
  std::int64_t p = 0;
  auto row = [&](std::int64_t at, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) copy(p++, at + i);
  };
  for (int l = 0; l < plan.shape.hidden_layers; ++l) {
    const MlpPlan::Hidden& layer = plan.hidden[l];
    for (std::int64_t o = 0; o < plan.width; ++o) {
      for (std::int64_t i = 0; i < layer.fan_in; ++i) copy(p++, layer.weights + i * plan.stride + o);
    }
    row(layer.bias, plan.width);
    if (plan.shape.layer_norm) {
      row(layer.gain, plan.width);
      row(layer.shift, plan.width);
    }
  }
  for (std::int64_t j = 0; j < plan.outputs; ++j) row(plan.output_weights + j * plan.stride, plan.width);
  row(plan.output_bias, plan.outputs);
}

// All m networks of (m, p), packed.
Buffer<float> packed_networks(const MlpPlan& plan, View<const float> parameters, Context& context) {
  Buffer<float> packed(context, {parameters.extent(0), plan.size});
  for (std::int64_t i = 0; i < parameters.extent(0); ++i) {
    pack(plan, parameters.data() + i * parameters.extent(1), packed.view().data() + i * plan.size);
  }
  return packed;
}

// Multiply-adds of a run, to order runs by.
double run_cost(const MlpRun& run) {
  const int epoch_end = epoch_end_of(run);
  const std::int64_t r = row_count(run);
  return static_cast<double>(parameter_count(run.shape)) * static_cast<double>(r) * (epoch_end - run.epoch_begin);
}

}  // namespace

void pack(const MlpPlan& plan, const float* parameters, float* packed) {
  std::fill(packed, packed + plan.size, 0.0F);
  for_each_parameter(plan, [&](std::int64_t p, std::int64_t at) { packed[at] = parameters[p]; });
}

void unpack(const MlpPlan& plan, const float* packed, float* parameters) {
  for_each_parameter(plan, [&](std::int64_t p, std::int64_t at) { parameters[p] = packed[at]; });
}

MlpWorkspace::MlpWorkspace(const MlpPlan& plan, std::int64_t columns_, bool training, Context& context,
                           Precision precision_)
    : columns(columns_), precision(precision_), memory_(context, {0}) {
  const std::int64_t width = round_up(plan.width, kTurnedRows);
  const int layers = plan.shape.hidden_layers;
  const bool gelu = plan.shape.activation == Activation::gelu;
  // Run twice: once to count, once to hand out.
  float* base = nullptr;
  std::int64_t at = 0;
  auto take = [&](std::int64_t floats, bool wanted = true) {
    float* const begin = base == nullptr || !wanted ? nullptr : base + at;
    if (wanted) at += floats;
    return begin;
  };
  auto place = [&] {
    at = 0;
    inputs = take(std::max<std::int64_t>(plan.shape.inputs, plan.features) * columns);
    scores = take(plan.outputs * columns);
    for (int l = 0; l < 4; ++l) {
      activations[l] = take(width * columns, l < (training ? layers : std::min(layers, 2)));
      if (!training && l >= 2) activations[l] = activations[l - 2];
      normalized[l] = take(width * columns, training && l < layers && plan.shape.layer_norm);
      inverse_deviation[l] = take(columns, training && l < layers && plan.shape.layer_norm);
      slopes[l] = take(width * columns, training && l < layers && gelu);
    }
    deltas = take(width * columns, training);
    next_deltas = take(width * columns, training);
    product = take(width * columns, training && plan.shape.layer_norm);
    turned = take(columns * plan.stride, training);
    score_deltas = take(plan.outputs * columns, training);
    losses = take(columns, training);
    labels = take(columns, training);
    // A factor is (width, width), (width, columns) or (columns, width), of which a product takes two.
    const std::int64_t longest = std::max(plan.stride, columns), parts = precision == Precision::bf16x3 ? 3 : 1;
    left_parts = take(parts * plan.stride * longest, precision != Precision::fp32);
    right_parts = take(parts * plan.stride * longest, precision != Precision::fp32);
  };
  place();
  memory_ = Buffer<float>(context, {at});
  base = memory_.view().data();
  std::fill(base, base + at, 0.0F);
  place();
}

void score_block(const MlpPlan& plan, const float* packed, std::int64_t count, MlpWorkspace& work) {
  HWY_DYNAMIC_DISPATCH(score)(plan, packed, count, work);
}

void predicted_classes(const MlpPlan& plan, const MlpWorkspace& work, std::int64_t count, std::uint8_t* classes) {
  for (std::int64_t s = 0; s < count; ++s) {
    if (plan.outputs == 1) {
      classes[s] = work.scores[s] > 0;
      continue;
    }
    std::int64_t best = 0;
    for (std::int64_t j = 1; j < plan.outputs; ++j) {
      if (work.scores[j * work.columns + s] > work.scores[best * work.columns + s]) best = j;
    }
    classes[s] = static_cast<std::uint8_t>(best);
  }
}

void bound_scores(const MlpPlan& plan, const BoundsWorkspace& work) { HWY_DYNAMIC_DISPATCH(bound_scores)(plan, work); }

std::int64_t judge_cells(const BoundsWorkspace& work, std::int64_t outputs, std::int64_t tile, const CellPlaces& places,
                         std::int16_t* classes) {
  return HWY_DYNAMIC_DISPATCH(judge_cells)(work, outputs, tile, places, classes);
}

void mlp_forward(const MlpShape& shape, View<const float> parameters, View<const float> inputs, View<float> scores,
                 Context& context) {
  check_mlp_forward(shape, parameters, inputs, scores);
  if (scores.empty()) return;
  const MlpPlan plan(shape);
  const std::int64_t m = parameters.extent(0), n = inputs.extent(0);
  const Buffer<float> packed = packed_networks(plan, parameters, context);
  const std::int64_t piece = 16 * plan.block, pieces = (n + piece - 1) / piece;
  parallel_for(context, m * pieces, [&](std::int64_t i) {
    const std::int64_t network = i / pieces, piece_begin = i % pieces * piece;
    MlpWorkspace work(plan, plan.block, false, context);
    for (std::int64_t begin = piece_begin; begin < std::min(n, piece_begin + piece); begin += plan.block) {
      HWY_DYNAMIC_DISPATCH(score_rows)
      (plan, packed.view().data() + network * plan.size, inputs.data(), begin, std::min(plan.block, n - begin), work,
       scores.data() + (network * n + begin) * plan.outputs);
    }
  });
}

void mlp_backward(const MlpShape& shape, const MlpLoss& loss, View<const float> parameters, View<const float> inputs,
                  View<const std::uint8_t> labels, View<float> gradients, View<float> losses, Context& context) {
  check_mlp_backward(shape, loss, parameters, inputs, labels, gradients, losses);
  if (parameters.empty()) return;
  const MlpPlan plan(shape);
  const std::int64_t m = parameters.extent(0), n = inputs.extent(0), p = parameter_count(shape);
  const Buffer<float> packed = packed_networks(plan, parameters, context);
  MlpWorkspace encoding(plan, plan.block, false, context);
  Buffer<float> features(context, {n, plan.features});
  HWY_DYNAMIC_DISPATCH(encode_rows)(plan, inputs.data(), n, encoding, features.view().data());
  parallel_for(context, m, [&](std::int64_t i) {
    MlpWorkspace work(plan, plan.block, true, context);
    Buffer<float> gradient(context, {plan.size});
    const double sum =
        HWY_DYNAMIC_DISPATCH(backward_rows)(plan, loss, packed.view().data() + i * plan.size, features.view().data(),
                                            labels.data(), n, work, gradient.view().data());
    unpack(plan, gradient.view().data(), gradients.data() + i * p);
    losses.data()[i] = static_cast<float>(sum / static_cast<double>(n));
  });
}

void mlp_train(std::span<const MlpRun> runs, Context& context) {
  check_mlp_runs(runs);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::int64_t n = runs[i].inputs.extent(0);
    for (std::int64_t at = 0; at < runs[i].rows.size(); ++at) {
      const int row = runs[i].rows.data()[at];
      if (row < 0 || row >= n) refuse_mlp_row(i, at, row, n);
    }
  }

  // The longest first, so that no thread is left with one at the end.
  std::vector<std::size_t> order(runs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return run_cost(runs[a]) > run_cost(runs[b]); });

  // Progress is in samples, told from the calling thread alone; what it throws stops the other threads too.
  struct Progress : Observer {
    Context& context;
    std::atomic<std::int64_t> done{0};
    std::int64_t total = 0;
    std::atomic<bool> stop{false};
    explicit Progress(Context& c) : context(c) {}
    bool epoch_done(std::int64_t samples) override {
      const std::int64_t finished = done.fetch_add(samples) + samples;
      if (context.progress && thread_index() == 0) {
        try {
          context.progress(finished, total);
        } catch (...) {
          stop = true;
          throw;
        }
      }
      return !stop;
    }
  } progress(context);
  for (const MlpRun& run : runs) {
    progress.total += row_count(run) * (epoch_end_of(run) - run.epoch_begin);
  }
  Context silent(context.backend(), context.device(), context.threads());
  parallel_for(silent, static_cast<std::int64_t>(runs.size()), [&](std::int64_t i) {
    if (!progress.stop) HWY_DYNAMIC_DISPATCH(train_run)(runs[order[i]], progress, silent);
  });
}

}  // namespace scalelab::cpu
#endif
