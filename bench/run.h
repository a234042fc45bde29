// run: times cases in rounds, beside the ceilings of the machine and, where asked for, beside their peers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "host/program/command.h"

namespace scalelab::bench {

struct RunOptions {
  std::string clock = "wall";  // or cpu: by which a case is known well enough
  double budget = 2;           // seconds of samples for each case
  int rounds = 5;              // at most
  bool peers = false;
};

// The document (result.h), with `left_out`: cases that do not fit here, and why; `exponents`: how time grows along each parameter that has three values or more;
// `clock`; and `stolen`, the largest share of the processors' time that other machines on the same hardware took during
// a case, where it was over 2 %. After a signal it holds what was measured until then, and `stopped`, how many of the
// cases those are; Interrupted where there is nothing.
nlohmann::json measure_cases(const std::vector<Case>& cases, const RunOptions& options, host::Session& session);

}  // namespace scalelab::bench
