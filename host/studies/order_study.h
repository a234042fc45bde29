// order_study: the same rows equally often, easy first, hard first, sorted or mixed, over widths (visit_order.h).
#pragma once

#include <string>
#include <vector>

#include "host/lab/sweep.h"
#include "host/lab/trial.h"
#include "host/program/command.h"

namespace scalelab::host {

struct OrderStudy {
  SweepOptions sweep;
  Trial trial;  // what all trials have in common; an empty score or model is chosen to suit the data
  std::vector<int> widths = {4, 8, 16, 32, 64, 128, 256};
  std::vector<std::string> orders;  // beside `random`, which is always there
  std::string seeds = "0..5";
};

// Trains every order at every width from the same starts on the same rows; writes result.json.
Outcome run_order_study(OrderStudy study, Session& session);

}  // namespace scalelab::host
