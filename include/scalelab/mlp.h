// mlp: small fully connected networks, always in batches: forward, backward, and whole training runs.
#pragma once

#include <cstdint>
#include <span>

#include "scalelab/view.h"

namespace scalelab {

class Context;

// How raw inputs become features. All but `none` need d = 2, read as (x, y), with r = hypot(x, y) and
// theta = atan2(y, x) in (-pi, pi].
enum class Encoding : std::uint8_t {
  none,        // the d raw inputs (for d = 2: `xy`)
  polar,       // (2 r - 1, theta / pi)
  polar_raw,   // (r, theta)
  polar_trig,  // (2 r - 1, cos theta, sin theta)
};

enum class Activation : std::uint8_t { relu, tanh, gelu };  // gelu: the tanh form

// Limits of a network's shape; every other file has them from here.
inline constexpr int kMaxInputs = 4096, kMaxWidth = 256, kMaxHiddenLayers = 4, kMaxOutputs = 256;

// features - width - ... - width - outputs, with optional layer norm (eps 1e-5, affine) before each activation.
//
// Parameters of one network are one flat row of p floats: for each hidden layer its weights (width, fan_in) row-major,
// its bias (width), and with layer norm gain (width) and shift (width); then the output weights (outputs, width) and
// bias (outputs).
//
// outputs = 1: one logit of class 1, predicted class = logit > 0. outputs = c >= 2: one score per class, predicted
// class = the largest score, the lowest class of equal ones.
struct MlpShape {
  int inputs = 2;  // d, 1 .. kMaxInputs
  Encoding encoding = Encoding::none;
  int width = 64;         // 2 .. kMaxWidth
  int hidden_layers = 3;  // 1 .. kMaxHiddenLayers
  int outputs = 1;        // 1 .. kMaxOutputs
  Activation activation = Activation::relu;
  bool layer_norm = false;
};

// Features after the encoding.
inline int feature_count(const MlpShape& shape) {
  if (shape.encoding == Encoding::none) return shape.inputs;
  return shape.encoding == Encoding::polar_trig ? 3 : 2;
}

// p, the parameters of one network.
inline std::int64_t parameter_count(const MlpShape& shape) {
  const std::int64_t w = shape.width;
  const std::int64_t per_layer = shape.layer_norm ? 3 * w : w;
  return w * feature_count(shape) + per_layer + (shape.hidden_layers - 1) * (w * w + per_layer) +
         shape.outputs * (w + 1);
}

// Scores of m networks of one shape.
// Arithmetic  fp32; dot products are fma chains over ascending inputs that start at the bias. Backends agree within
//             rounding; on one backend a score's bits depend on its network and its input alone.
// Throws      std::invalid_argument on shapes that do not fit or a shape outside its limits.
using MlpForward = void(const MlpShape& shape,
                        View<const float> parameters,  // (m, p)
                        View<const float> inputs,      // (n, d)
                        View<float> scores,            // (m, n, outputs) out
                        Context&);

// outputs = 1: binary cross-entropy on the logit; outputs >= 2: softmax cross-entropy. With focal_gamma g > 0 the
// focal form -(1 - p_t)^g log p_t of either, p_t the probability given to the true class.
struct MlpLoss {
  float focal_gamma = 0;
};

// Mean loss of m networks over n >= 1 rows, and its gradient. Gradients are fp32, fma chains over rows in ascending
// order; losses are fp32 and summed in fp64 in that order.
// Labels must lie in 0 .. max(2, outputs) - 1; that is the caller's to check. Throws as MlpForward, and without rows.
using MlpBackward = void(const MlpShape& shape, const MlpLoss& loss,
                         View<const float> parameters,     // (m, p)
                         View<const float> inputs,         // (n, d)
                         View<const std::uint8_t> labels,  // (n)
                         View<float> gradients,            // (m, p) out
                         View<float> losses,               // (m) out
                         Context&);

enum class Optimizer : std::uint8_t { adam, sgd };        // adam with decoupled weight decay (AdamW); sgd with momentum
enum class Schedule : std::uint8_t { constant, cosine };  // cosine: rate/2 (1 + cos(pi step/steps)), to 0

// The precision ladder: what a training run's products between two hidden layers multiply: forward, for the gradient
// with respect to the layer below, and for that with respect to the weights. hi = bf16(x), lo = bf16(x - hi), to the
// nearest, ties to even.
//   fp32     a b                                  the reference
//   bf16x3   a_hi b_hi + a_hi b_lo + a_lo b_hi    close to fp32: within 3.1 * 2^-16 |a b| of a b
//   bf16     a_hi b_hi                            within 2.01 * 2^-8 |a b|
// Products of two bf16 numbers are exact in fp32, and their sums are in fp32 on every rung. Everything else is fp32 on
// every rung: master weights, moments, the first and the output layer, biases, layer norm, activations and loss; of an
// activation below the last hidden layer, tanh's derivative sees what the product saw. A network with one hidden layer
// trains alike on all rungs. Scores, gradients of mlp_backward and label maps are always fp32.
// The CPU emulates the lower rungs, which makes them slower there; backends agree on them within rounding, too.
enum class Precision : std::uint8_t { fp32, bf16x3, bf16 };

// One training run: a network, its data, and how it learns. Runs of one call may differ in everything.
struct MlpRun {
  MlpShape shape;
  MlpLoss loss;

  View<const float> inputs;         // (n, d), shared between runs at will
  View<const std::uint8_t> labels;  // (n)
  // (r) rows that take part, as indices into `inputs`; empty: all n. An epoch visits each entry once.
  View<const int> rows;
  // true: every epoch visits its rows in a new order, position i taking row shuffled_index(i, r, seed, epoch) of
  // random.h. false: in the order given (a curriculum is one epoch over a long list).
  bool shuffle = true;

  View<float> parameters;  // (p) in: start; out: trained
  // (p) 0 holds a weight at zero, other values let it learn; empty: all learn.
  View<const std::uint8_t> weight_mask;

  int epochs = 1000;
  int batch_size = 64;  // 0: all rows at once; the last batch of an epoch may be smaller
  float learning_rate = 3e-3F;
  Schedule schedule = Schedule::cosine;
  Optimizer optimizer = Optimizer::adam;
  float momentum = 0;                                   // sgd
  float beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F;  // adam
  float weight_decay = 0;  // decoupled, on all parameters: value -= rate * weight_decay * value
  std::uint64_t seed = 0;  // of the shuffle
  Precision precision = Precision::fp32;

  // A run may be cut into calls: epochs [epoch_begin, epoch_end) of the schedule, epoch_end < 0 meaning `epochs`.
  // `state` (2 p: first and second moments, or momentum and unused; zero before epoch 0) carries the optimiser over
  // and may be empty when the whole run is one call. The parts give the bits of the whole.
  int epoch_begin = 0;
  int epoch_end = -1;
  View<float> state;

  // Out: mean training loss of each epoch run, as seen before each step, (epoch_end - epoch_begin); may be empty.
  // NaN from the epoch that diverged on.
  View<float> epoch_losses;
  // Out: (1) the epochs of the schedule finished before loss or weights stopped being finite, or -1 if they never did;
  // may be empty. A diverged run stops there, before the step whose loss was not finite or behind the epoch whose
  // weights were not, its parameters as they were left.
  View<int> diverged;
};

// Trains every run. A run's bits do not depend on its neighbours, their number or order, or the thread count.
// Backends agree within rounding on single steps, and in the statistics of whole runs.
// What is too small to move a weight counts as zero, so that subnormal numbers slow nothing: slopes of the loss below
// 2^-80, gradients below 2^-58 in the moments, moments below 2^-126.
// Progress is in samples seen. Throws std::invalid_argument before any run has begun, naming the run: shapes and values
// out of range, rows outside the inputs, a part of a run without `state`, two runs that share parameters.
using MlpTrain = void(std::span<const MlpRun> runs, Context&);

namespace cpu {
MlpForward mlp_forward;
MlpBackward mlp_backward;
MlpTrain mlp_train;
}  // namespace cpu
namespace cuda {
MlpForward mlp_forward;
MlpBackward mlp_backward;
MlpTrain mlp_train;
}  // namespace cuda

}  // namespace scalelab
