// evaluate: trials in, measurements out. Networks of many trials train side by side in few launches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "host/data/dataset.h"
#include "host/lab/trial.h"
#include "host/program/command.h"

namespace scalelab::host {

// What came of a trial. Errors are fractions.
//   spiral              grid_error, density_error (against the truth; Trial::density_points says how it is counted),
//                       sparse_error, centre_error, tip_error (of the grid's cells in those regions: regions.h), patches
//                       (of the label map), train_error (against the labels given), kept
//   choices of rows     also least_class and most_class, the shares of their rows that the class kept least and the class
//                       kept most of keep (but for the perceptron), and purity of the clusters of a score that has some
//   perceptron, files   test_error, train_error (of kNN beyond kTreeFeatures features on the first 10,000 rows kept), kept
//   tickets             also weights (of the hidden layers, left), density (of those, of the dense network's), moved and
//                       start_overlap (lottery.h)
struct Measurement {
  // "ok"; "collapsed": one class everywhere; "diverged": loss or weights stopped being finite; "unconverged": the
  // perceptron's solver ran out of sweeps; "failed: WHY". All but "failed" are results, with errors that were measured
  // (weights that are NaN call everything one class), and are not tried again.
  std::string status = "ok";
  std::map<std::string, double> values;
  double seconds = 0;               // the share of a joint run; the one thing that is not reproducible
  std::vector<float> parameters{};  // of a network that was trained by itself, (p); rows on disk leave them out

  bool failed() const { return status.starts_with("failed"); }
};

// Training rows of a trial before any choice, and what its error is measured on (no rows for the spiral, whose test is
// the grid, nor for the perceptron, whose error is an angle).
struct TrialData {
  Dataset train;
  std::shared_ptr<const Dataset> test;  // none: null
};
TrialData load_data(const Trial& trial);
// Every feature to [-1, 1]: pixels all by one power of two, which rounds nothing, so that distances keep their order and
// their ties; others by their range in `all`, and a feature without a range to 0. `test` is scaled as `all` is.
void scale_features(Dataset& all, Dataset* test = nullptr);
// Of data in files: the rows that are for training; and Failure(kMisuse or kBadData) where a trial asks for more, or for
// what its model cannot take.
std::int64_t training_rows(const Trial& trial);
void require_fits(const Trial& trial);

// Trials with equal keys share costly work (the scores of difficulty.h, the chain of a ticket, the search of kNN trials
// that differ in k alone): evaluate them in one call.
std::string work_key(const Trial& trial);

// Core seconds, very roughly, for plans and progress; and bytes of memory.
double estimated_seconds(const Trial& trial);
double estimated_bytes(const Trial& trial);

// Evaluates resolved trials and reports each once, as it is done, by its index, in an order of its own. What goes wrong
// with one trial is that trial's status. A signal lets the joint run (or the search) that has begun finish, and is
// then thrown as Interrupted.
void evaluate(std::span<const Trial> trials, Session& session,
              const std::function<void(std::size_t index, const Measurement&)>& done);

}  // namespace scalelab::host
