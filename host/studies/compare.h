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
  // The first world is measured whole; in the others, with the first seed, what the main question asks: the networks at
  // the smallest size, kNN at the largest.
  std::vector<std::uint64_t> worlds = {0};  // distinct, each below 2^32
  int starts = 1;                           // of each network at the smallest size of the first world
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

  // Plain networks at the largest size are trained once more, of so many seeds: with the epochs of the smallest size, or
  // with its steps where `same_epochs` asks for its epochs already.
  int budget_seeds = 0;

  int epochs_at(std::int64_t n) const;
  int other_epochs() const;                       // of that second training; 0 where it would be the first
  std::vector<std::int64_t> curve_sizes() const;  // ascending, with `sizes` among them; none where there is no curve
  std::vector<std::string> network_names() const;
};

// Neighbours of the curve and of the noise panel.
inline constexpr int kCurveNeighbours[] = {1, 5};
inline constexpr int kPanelNeighbours[] = {1, 3, 5, 9, 15};

// The trial of `model` (a kNN of any k, or one of options.models) on the first n points of a draw.
Trial trial_of(const CompareOptions& options, const Model& model, std::int64_t n, const Draw& draw, double noise);
// The kNN of the main question: knn-5, or else the first of the models; empty where there is none.
std::string main_knn(const CompareOptions& options);
// What a comparison measures, each trial once: models x sizes x seeds, the kNN curve, the noise panel, other worlds.
std::vector<Trial> trials_of(const CompareOptions& options);

struct Comparison {
  CompareOptions options;
  SweepResult sweep{};
  Curves curves{};  // of the rows of the first world, with their laws
  // Parameters of the networks of the first seed, by (model, size), for the pictures; none of trials that failed.
  std::map<std::pair<std::string, std::int64_t>, std::vector<float>> networks{};

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

// Runs what the store in store.out does not hold yet (run_sweep). Networks of the first seed are kept in
// store.out/networks as ID.npy; one that is missing there is trained again, to the same bits.
Comparison measure(const CompareOptions& options, const SweepOptions& store, Session& session);

// The comparison that lies in `folder`, whose result.json is `document`; networks as far as they lie there.
Comparison comparison_from(const nlohmann::json& document, const std::filesystem::path& folder);

// The table on the terminal.
std::string error_table(const Comparison& comparison);
// The command line that makes this comparison again, every choice written out.
std::string command_of(const CompareOptions& options);

}  // namespace scalelab::host
