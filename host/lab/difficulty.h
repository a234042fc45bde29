// difficulty: what makes a training example hard, as one number a row.
//
// A difficulty is larger for a harder row. It depends on the trial's data, model and score alone: not on the fraction
// kept, the backend's threads, or other trials.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/data/dataset.h"
#include "host/lab/row_scores.h"
#include "host/lab/trial.h"
#include "host/program/command.h"

namespace scalelab::host {

// What a score needs of a trial.
struct ScoreKind {
  const char* name;
  bool clusters;  // Trial::clusters, k of k-means
  bool features;  // works on Trial::features: the raw inputs, or a trained network's last hidden layer
  bool network;   // trains networks: of the trial's model, or mlp-xy when that is none
};

// In the order in which tables show them:
//   random         a random number
//   margin         minus the distance to the true boundary: the spiral's, or the plane of the perceptron's probe
//   boundary       9 - r when the r-th nearest other row is the nearest with another label, r = 1 .. 8; else minus the
//                  distance to the nearest row with another label. Positive: one of the 8 nearest rows disagrees
//   kmeans         distance to the nearest centroid
//   kmeans-cosine  1 - cosine with the nearest of k unit centroids (spherical k-means on unit rows)
//   class-mean     distance to the mean of the row's own class
//   el2n           |p - onehot| after the first tenth of the epochs, mean over 10 networks
//   forgetting     times a row goes from right to wrong, seen after every epoch or 100 times if there are more; the
//                  number of looks for a row that never was right; mean over 5 networks
//   ddd            of 10 networks, each trained on a random half, how many misclassify the row without having seen it:
//                  0 .. 5, because every row is left out of five
// Networks that score start and shuffle from seeds above 2^32, so that none is the network that is to be trained, and
// train on all n rows (ddd: on halves) with the trial's own settings.
std::span<const ScoreKind> score_kinds();
// Failure(kMisuse) that lists the names when there is no such score.
const ScoreKind& score_kind(const std::string& name);

// One number a row of `train`. `train` are the rows of load_data(trial). Failure(kMisuse) where the score does not fit
// the trial: no clusters or more than rows, no known boundary. std::runtime_error when a
// network that scores diverged. `purity`, where given, becomes that of the score's clusters, NaN where it has none.
std::vector<float> difficulty(const Trial& trial, const Dataset& train, Session& session, double* purity = nullptr);

// The share of rows whose label is the most frequent one of their cluster.
double cluster_purity(std::span<const int> clusters, std::span<const std::uint8_t> labels);
// Whether a score looks at labels, itself or by the networks that it trains: all do but random, kmeans and kmeans-cosine
// of the raw inputs, and margin, which looks at the truth.
bool needs_labels(const std::string& score, const std::string& features);

// Trials with equal keys have the same difficulty, whatever they keep and in which order they show it.
std::string difficulty_key(const Trial& trial);

// Distance of each point, (n, 2) in [-1, 1]^2, to the boundary between the spiral's classes, within 1e-7.
std::vector<float> spiral_distances(const Spiral& spiral, std::span<const float> points, Session& session);

}  // namespace scalelab::host
