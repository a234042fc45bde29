// compare: every model on the same data at every size. It is a list of trials, run as a sweep is, with pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/series.h"
#include "host/lab/model.h"
#include "host/lab/sweep.h"
#include "host/program/command.h"

namespace scalelab::host {

struct CompareOptions {
  std::vector<std::int64_t> sizes = {1000, 10000};     // ascending, distinct
  std::vector<std::uint64_t> seeds = {0, 1, 2, 3, 4};  // distinct, each below 2^32
  // The first world is measured whole; in the others, with the first seed, what the main questions ask: plain networks
  // (without extras) and kNN on encodings at the smallest size, kNN on (x, y) on its curve from there on.
  std::vector<std::uint64_t> worlds = {0};  // distinct, each below 2^32
  int starts = 1;                           // of each plain network at the smallest size of the first world
  int large_seeds = 0;                      // the first so many seeds train networks beyond it; 0: all of them
  std::vector<Model> models;                // with the width, layers and precision they train with
  std::int64_t grid = 1024;
  // Every network sees epochs * 1000 samples whatever the size: epochs * 1000 / n epochs, at least one. With
  // same_epochs it makes `epochs` passes at every size instead.
  int epochs = 1000;
  bool same_epochs = false;
  double noise = 0;  // probability that a training label is flipped; errors are against the truth
  std::int64_t density_points = 0;
  std::int64_t curve_to = 256000;  // largest n of the kNN curve (250, 500, 1000, 2000, ...); 0: no curve
  double noise_panel = 0.1;        // label noise of the kNN panel; 0: no panel
  std::uint64_t seed = 0;          // of the test draws and of the laws' bootstrap; below 2^63

  // Plain networks on (x, y) at the largest size are trained once more, of so many seeds: with the epochs of the smallest
  // size, or with its steps where `same_epochs` asks for its epochs already.
  int budget_seeds = 0;

  int epochs_at(std::int64_t n) const;
  int other_epochs() const;                       // of that second training; 0 where it would be the first
  std::vector<std::int64_t> curve_sizes() const;  // ascending, with `sizes` among them; none where there is no curve
  std::vector<std::int64_t> world_sizes() const;  // those of the other worlds' curves: up to 64 times the smallest
  std::vector<std::string> network_names() const;
  int network_seeds(std::int64_t n) const;  // how many of the seeds train networks at n
};

// Neighbours of the curve and of the noise panel.
inline constexpr int kCurveNeighbours[] = {1, 5};
inline constexpr int kPanelNeighbours[] = {1, 3, 5, 9, 15};

// A network without extras; a kNN on an encoding.
bool is_plain(const Model& model);
bool is_encoded_knn(const Model& model);
// The name of the same learner on (x, y): "mlp-xy+extras" of "mlp-polar+extras", "knn-1" of "knn-1@polar".
std::string on_coordinates(const std::string& model);
// The trial of `model` (a kNN of any k, or one of options.models) on the first n points of a draw.
Trial trial_of(const CompareOptions& options, const Model& model, std::int64_t n, const Draw& draw, double noise);
// The kNN of the main question: knn-5, or else the first of the models on (x, y); empty where there is none.
std::string main_knn(const CompareOptions& options);
// What a comparison measures, each trial once: models x sizes x seeds, the kNN curve, the noise panel, other worlds.
std::vector<Trial> trials_of(const CompareOptions& options);

struct Comparison {
  CompareOptions options;
  SweepResult sweep{};
  Curves curves{};  // of the rows of the first world, with their laws
  // Parameters of the networks of the first seed, by (model, size), for the pictures; none of trials that failed.
  std::map<std::pair<std::string, std::int64_t>, std::vector<float>> networks{};

  // By network and seed: the share of the plane that the first two starts on the same points of the smallest size call
  // differently. Of trials whose networks lie in the folder.
  std::map<std::string, std::map<std::uint64_t, double>> disagreement{};

  // The errors of a model at one size over the seeds of the first world; `measure` is grid_error, density_error or
  // train_error.
  SeedErrors errors(const std::string& model, std::int64_t n, const std::string& measure) const;
  SeedErrors errors(const std::string& model, std::int64_t n, const std::string& measure, double noise) const;
  // Of the second training at the largest size.
  SeedErrors other_budget(const std::string& model, const std::string& measure) const;
  // Over all worlds, without label noise but what the options ask for.
  SeedErrors errors_over_worlds(const std::string& model, std::int64_t n, const std::string& measure) const;
  // One trial's measurement, of the first world and start; null where there is none.
  const Measurement* measurement(const std::string& model, std::int64_t n, std::uint64_t seed) const;
};

// Runs what the store in store.out does not hold yet (run_sweep). Networks of the first seed, and the first two starts of
// every seed at the smallest size, are kept in store.out/networks as ID.npy; one of the first seed that is missing there
// is trained again, to the same bits.
Comparison measure(const CompareOptions& options, const SweepOptions& store, Session& session);

// The comparison that lies in `folder`, whose result.json is `document`; networks as far as they lie there.
Comparison comparison_from(const nlohmann::json& document, const std::filesystem::path& folder);

// What the errors in a table are: "the mean over 20 seeds (of networks at n = 10,000: 10) with its 95 % interval".
std::string table_caption(const CompareOptions& options);
// The table on the terminal.
std::string error_table(const Comparison& comparison);
// The command line that makes this comparison again, every choice written out.
std::string compare_command(const CompareOptions& options);

}  // namespace scalelab::host
