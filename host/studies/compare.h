// compare: every model on the same data at every size, what was measured, and what may be said of it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/statistics.h"
#include "host/lab/model.h"
#include "host/program/command.h"
#include "host/program/words.h"

namespace scalelab::host {

struct CompareOptions {
  std::vector<std::int64_t> sizes = {1000, 10000};     // ascending, distinct
  std::vector<std::uint64_t> seeds = {0, 1, 2, 3, 4};  // distinct, each below 2^32
  std::vector<Model> models;
  std::int64_t grid = 1024;
  // Every network sees epochs * 1000 samples whatever the size: epochs * 1000 / n epochs, at least one. With
  // same_epochs it makes `epochs` passes at every size instead.
  int epochs = 1000;
  bool same_epochs = false;
  std::string precision = "fp32";  // in which networks train (model.h)
  double noise = 0;                // probability that a training label is turned over; errors are against the truth
  std::int64_t density_points = 100000;
  std::int64_t curve_to = 256000;  // largest N of the kNN curve (250, 500, 1000, 2000, ...); 0: no curve
  double noise_panel = 0.1;        // label noise of the kNN panel; 0: no panel
  std::uint64_t seed = 0;          // of the test draws and the bootstrap

  int epochs_at(std::int64_t n) const;
};

// One model trained on one set.
struct Row {
  std::string model;
  std::int64_t n = 0;
  std::uint64_t seed = 0;
  double noise = 0;
  double grid_error = 0, density_error = 0, train_error = 0;  // fractions
  double seconds = 0;  // training (the share of a joint run by samples times parameters) and the grid's labels
  // "ok"; "collapsed": one colour everywhere; "diverged": loss or weights stopped being finite. The last two did not
  // train and take part in no mean and no comparison.
  std::string status = "ok";

  double error(const std::string& measure) const { return measure == "grid" ? grid_error : density_error; }
};

struct Comparison {
  CompareOptions options;
  std::vector<Row> rows{};         // sizes x seeds x models
  std::vector<Row> curve{};        // kNN at k = 1 and 5, over N, every seed
  std::vector<Row> noise_panel{};  // kNN over k, without noise and with, at every size, every seed
  // What the time went into, in order: name and seconds. Work that takes turns is added up.
  std::vector<std::pair<std::string, double>> stages{};
  // Networks of the first seed, by (index of the model, size), for the pictures.
  std::map<std::pair<std::size_t, std::int64_t>, std::vector<float>> networks{};
};

// Adds the time since the last call, or since it was made, to a stage.
class StageClock {
 public:
  explicit StageClock(Comparison& comparison);
  void charge(const std::string& stage);

 private:
  Comparison& comparison_;
  double last_;
};

// Neighbours of the curve and of the noise panel.
inline constexpr int kCurveNeighbours[] = {1, 5};
inline constexpr int kPanelNeighbours[] = {1, 3, 5, 9, 15};

// Trains and measures. The rows but for `seconds` are the same bits for every number of threads, and a model's rows do
// not depend on the other models.
Comparison measure(const CompareOptions& options, Session& session);

// How many kNN points (k = 1) give the error of a network's n: each seed's network against the same seed's kNN curve,
// the geometric mean over seeds and its bootstrap interval. A seed outside the curve counts as the end it left by, and
// the figure is then a bound.
struct Equivalent {
  std::string model;
  std::int64_t n = 0;
  std::string measure;  // grid, density
  int seeds = 0;
  double points = 0;
  Interval interval{};
  double first = 0, last = 0;  // the curve's N
  int beyond = 0, before = 0;  // seeds that need more than the curve's last N, or fewer than its first

  // Two significant digits, and what a bound is: "17,000", "more than 256,000".
  std::string worded() const;
  std::string interval_worded() const;
};
std::vector<Equivalent> equivalents(const Comparison& comparison);

// Everything that is said of a comparison, worded from its numbers (findings.cpp).
std::vector<Finding> findings(const Comparison& comparison);

// The errors of one model at one size, in order of seeds, of the seeds that trained; `seeds` out: which they were.
std::vector<double> errors_of(const std::vector<Row>& rows, const std::string& model, std::int64_t n,
                              const std::string& measure, double noise, std::vector<std::uint64_t>* seeds = nullptr);
// The paired difference of two (model, n) over the seeds in which both trained.
Paired compare_rows(const std::vector<Row>& a_rows, const std::string& a, std::int64_t a_n, double a_noise,
                    const std::vector<Row>& b_rows, const std::string& b, std::int64_t b_n, double b_noise,
                    const std::string& measure);

// What results.json holds, without the environment.
nlohmann::json to_json(const Comparison& comparison);
// The table on the terminal, and the findings' titles.
std::string to_text(const Comparison& comparison);
// The command line that makes this comparison again, every choice written out.
std::string command_of(const CompareOptions& options);

}  // namespace scalelab::host
