// run: times cases in rounds, beside the ceilings of the machine and, where asked for, beside their peers.
#pragma once

#include <functional>
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
  // Given the document as far as it is known each time a case was timed for the first time and after each round, with
  // `stopped` in it; may be empty.
  std::function<void(const nlohmann::json&)> keep{};
};

// The document (result.h), with `left_out`: cases that do not fit here, and why; `exponents`: how time grows along each
// parameter that has three values or more; `clock`; and `stolen`, the largest share of the processors' time that other
// machines on the same hardware took during a case, where it was over 2 %. After a signal it holds what was measured
// until then, and `stopped`, how many of the cases those are; Interrupted where there is nothing.
// Says first about how long it will take.
nlohmann::json measure_cases(const std::vector<Case>& cases, const RunOptions& options, host::Session& session);

// Runs of the same work, and how many of them gave another answer than the first.
struct Soaked {
  std::int64_t runs = 0, differing = 0;
  std::string digest{};  // of the first answer
};
// Runs a problem for so many seconds, and twice at least.
void soak(const Problem& problem, double seconds, Soaked& soaked, const Clocks& clocks = steady_clocks());

// The cases again and again, each time with its data in new memory, until `seconds` are over and each was run twice:
// {schema, experiment, device, threads, seconds, rows [{name, runs, differing, answer_digest}], runs, differing,
// environment}. After a signal what was done until then, and `stopped`; Interrupted where nothing was.
nlohmann::json soak_cases(const std::vector<Case>& cases, double seconds, host::Session& session);

}  // namespace scalelab::bench
