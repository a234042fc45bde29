// trial: one point of a sweep: which rows, in which order, with which weights masked.
//
// A trial is fully resolved: everything that its result depends on stands in it, and its id is a hash of that. The
// result depends on the trial alone: not on the sweep it stands in, its neighbours, their order, shards or threads.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "host/lab/model.h"
#include "host/lab/row_scores.h"

namespace scalelab::host {

// Raised when a change of the numerics changes what any trial measures: old rows are then not mixed with new ones.
inline constexpr int kNumerics = 1;

// What a trial, and the options that make one, may ask for at most.
inline constexpr int kMostEpochs = 10'000'000, kMostClusters = 1'000'000;

// How a network trains where it is not as its model has it (model.h): each value replaces the model's own, and what is
// left open stays as it is there.
struct Training {
  std::optional<double> learning_rate, weight_decay;
  std::optional<int> batch_size;                   // 0: all rows at once
  std::optional<std::string> optimizer, schedule;  // adam, sgd; constant, cosine (to 0)
  std::optional<double> focal_gamma;               // of the loss; 0: cross-entropy
  std::optional<std::string> activation;           // relu, tanh, gelu
  bool operator==(const Training&) const = default;
};

struct Trial {
  // Data. "spiral": the mixture and the manifold of scalelab/spiral.h. "perceptron": Gaussian inputs, labelled by the
  // sign of the first. Otherwise labelled points in files (source.h), every feature scaled to [-1, 1] by its range in the
  // file; pixels all alike by a power of two, those up to 255 by (v - 128) / 128. Data that bring a test set are tested on
  // it; of others a fifth of the rows is held out for the test, another fifth for every seed.
  std::string data = "spiral";
  std::string labels;       // of a file: a file of its labels, where it does not bring them
  std::string fingerprint;  // of the files: a hash of their bytes; empty for the built-in problems
  std::int64_t n = 1000;    // training points before any choice
  std::uint64_t world = 0;  // of the mixture that the spiral's points come from: 0 the default one (mixture.h)
  std::uint64_t seed = 0;   // of the points (of a file: which n) and random choices; below 2^32
  std::uint64_t start = 0;  // which of many starts (weights and shuffles) on those points, for networks
  double noise = 0;         // probability that a training label is flipped (spiral)
  int dimension = 0;        // perceptron: of its inputs; 0 otherwise

  // Model (model.h), or "perceptron": the max-margin one. Width and layers are a network's.
  std::string model = "mlp-polar";
  int width = 64, hidden_layers = 3;
  int epochs = 1000;               // passes over the rows kept
  std::string precision = "fp32";  // in which networks train: fp32, bf16x3, bf16 (mlp.h)
  Training training;               // its members stand in JSON beside the others, where they are not left open

  // Choice of rows (difficulty.h). keep: all, hard, easy, random.
  std::string keep = "all", score = "none";
  double fraction = 1;               // kept, of n
  int clusters = 0;                  // k of scores that cluster; 0 where none is needed
  std::string features = "input";    // what a score sees: input, or hidden (a network's last hidden layer)
  double class_floor = kClassFloor;  // of hard and easy; 0: the choice looks at no label (but for what its score does)
  double probe_angle = 0;            // perceptron: degrees between the probe that scores and the teacher

  // Order of rows: shuffled (another every epoch), or the whole run as one list (visit_order.h): random, curriculum,
  // anti, growing, growing-anti, sorted, sorted-anti; all but the first two by `score`.
  std::string order = "shuffled";

  // Weights masked (lottery.h): dense, rewound, fine-tuned, dense-long, restarted, random-mask, small-dense; level:
  // rounds of pruning (of dense-long: of more training).
  std::string ticket = "dense";
  int level = 0;

  // Measured on.
  std::int64_t grid = 512;  // G of the spiral's grid error
  // Density error: 0: the label map, weighted by the mixture's density; else fresh draws from the mixture, so many.
  std::int64_t density_points = 0;
  std::uint64_t test_seed = 0;  // of those draws; below 2^63

  bool is_knn() const;
  bool is_network() const;
  bool is_spiral() const;
  bool is_file() const;              // whether data and labels name files
  std::uint64_t start_seed() const;  // of the weights and shuffles: another for every seed and start
  bool operator==(const Trial&) const = default;
};

// The trial with what cannot matter at a fixed value (a kNN's width, the clusters of a score that has none) and what
// was left open filled in (the file's fingerprint), so that equal trials have equal ids. Failure(kMisuse) naming the
// member when members are out of range or do not fit each other: k > n, a choice without a score, a ticket of a kNN
// model.
Trial resolved(Trial trial);

// The model named, as networks of this trial are: of its width, layers, precision and training, for data of so many
// features and classes.
Model network_of(const Trial& trial, const std::string& name, int features, int classes);

// The value of a member as in JSON; of one that a network's trial leaves open, the model's own; of others null.
nlohmann::json member_value(const Trial& trial, const std::string& member);

// A JSON object with every member under its own name, but for what is left open, and back. Reading takes members that are
// absent as above, and refuses unknown ones and values out of range: Failure(kMisuse) naming the member and what it may be.
nlohmann::json to_json(const Trial& trial);
Trial trial_from_json(const nlohmann::json& object);
const std::vector<std::string>& member_names();  // in the order in which they stand above

// 16 hex digits: a hash of the canonical JSON of a resolved trial and of kNumerics. A file counts by its fingerprint;
// its name and that of its labels do not count, nor do fp32, world 0, start 0, test seed 0, the usual class floor and
// training as the model has it, which trials had no others of at first.
std::string trial_id(const Trial& trial);

}  // namespace scalelab::host
