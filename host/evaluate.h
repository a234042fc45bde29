// evaluate: trials in, measurements out. Networks of many trials train side by side in few launches.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "host/command.h"
#include "host/dataset.h"
#include "host/trial.h"

namespace scalelab::host {

// What came of a trial: errors are fractions; `kept` is the number of rows trained on; sparsity and the like stand
// under their own names. NaN is unknown.
struct Measurement {
  // "ok"; "collapsed": one class everywhere; "diverged": loss or weights stopped being finite; "failed: WHY".
  std::string status = "ok";
  // spiral: grid_error, density_error, train_error, kept. perceptron and files: test_error, train_error, kept.
  std::map<std::string, double> values;
  double seconds = 0;  // the share of a joint run; the one thing that is not reproducible
};

// Training rows of a trial before any choice, and what its error is measured on (empty for the spiral, whose test is
// the grid and fresh draws).
struct TrialData {
  Dataset train, test;
};
TrialData load_data(const Trial& trial);

// Evaluates every trial and reports each once, as it is done, by its index; in groups, in an order of its own. A fault
// of one trial is reported as its status; a signal (Interrupted) goes through after the groups that were finished.
void evaluate(std::span<const Trial> trials, Session& session,
              const std::function<void(std::size_t index, const Measurement&)>& done);

}  // namespace scalelab::host
