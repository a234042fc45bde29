// model: the named models of an experiment, and the networks' starts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scalelab/mlp.h"

namespace scalelab::host {

// `knn-K`: the vote of the K nearest training points. What follows says where distances are measured:
//   @E    in the features of the encoding E (polar, polar-raw, polar-trig) that a network is given, not in (x, y). The
//         angle is cut at pi, as it is for a network
//   @E:W  the same with the features that hold the angle multiplied by W. How far a step of the angle counts beside one
//         of the radius is a choice that an encoding makes; W names it. @polar has theta / pi, as mlp-polar: W = 1
// `mlp-E`: a network on the encoding E (xy, polar, polar-raw, polar-trig), followed by any of
//   +focal         focal loss, gamma = 2
//   +layer-norm    layer norm on the hidden layers, before the activation
//   +weight-decay  decoupled weight decay 1e-2
//   +extras        all three of them
//   +sgd           full-batch gradient descent at rate 0.1, in place of Adam at 3e-3 with cosine decay and
//                  batches of 64
struct Model {
  std::string name;    // canonical: the extras in the order above
  int neighbours = 0;  // K >= 1; 0: a network, described by the rest

  MlpShape shape;           // of kNN the encoding alone counts
  double angle_weight = 1;  // W of kNN; in 1e-6 .. 1e6
  MlpLoss loss;
  Optimizer optimizer = Optimizer::adam;
  Schedule schedule = Schedule::cosine;
  int batch_size = 64;
  float learning_rate = 3e-3F;
  float weight_decay = 0;
  Precision precision = Precision::fp32;

  bool is_knn() const { return neighbours > 0; }
};

// Failure(kMisuse) that lists the valid names when this is none of them.
Model parse_model(const std::string& name);

// Names separated by commas, each model once; Failure(kMisuse).
std::vector<Model> parse_models(const std::string& names);

// The rungs of the precision ladder, in the order of Precision, and the one of a name; Failure(kMisuse) that lists
// them.
inline constexpr std::array kPrecisions = {"fp32", "bf16x3", "bf16"};
Precision parse_precision(const std::string& name);

// The words of an activation, an optimiser and a schedule, each in the order of its enumeration.
inline constexpr std::array kActivations = {"relu", "tanh", "gelu"};
inline constexpr std::array kOptimizers = {"adam", "sgd"};
inline constexpr std::array kSchedules = {"constant", "cosine"};

// Those of the main comparison. 1/4 is near the weight at which the spiral's bands run at 45 degrees; it was picked on
// world 0, so that other worlds judge it.
const std::vector<std::string>& default_models();

// What kNN of this model measures distances between: of points (n, 2) their features (n, feature_count(model.shape)),
// in fp64 by the arithmetic of math.h and then rounded to fp32; without an encoding the points themselves.
std::vector<float> distance_features(const Model& model, std::span<const float> points);

// The run that trains a network of this model: its shape, loss and optimiser. Data, start, epochs and seed are still to
// be set.
MlpRun training_run(const Model& model);

// A fresh network, (p) in the layout of mlp.h: weights and biases uniform in +-1/sqrt(fan_in), layer-norm gain 1 and
// shift 0. The draws are numbered per layer, so that with and without layer norm the weights are the same.
// Arithmetic only: the same bits on every machine.
std::vector<float> initial_parameters(const MlpShape& shape, std::uint64_t seed);

}  // namespace scalelab::host
