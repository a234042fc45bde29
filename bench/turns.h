// turns: two programs time the same cases in turn, so that a machine whose speed drifts slows both alike. Each is a
// child that makes a case, and times it for a moment, when it is told to: while one works, the other waits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/result.h"
#include "host/command.h"

namespace scalelab::bench {

struct Case {
  std::string op;
  Parameters parameters;
};

// The child's side, `bench turns`: a JSON object a line on standard input, an answer a line on standard output, until
// the input ends.
//   {"op", "parameters", "check"}  makes the case afresh, and with "check": true runs it once: {"wrong": what, or ""}
//   {"seconds"}                    warms up, then takes samples until they are over: {"wall": [...], "cpu": [...]}
// What goes wrong is answered as {"error": line}.
host::Outcome answer_in_turn(const std::vector<Op>& ops, host::Session& session);

// A program ("build/scalelab"), or one with options of its own ("build/scalelab --threads 1"), against another. Each
// case is timed in at least `rounds` rounds of kTurn seconds or one sample a program, and on until the interval of the
// ratio is no wider than the margin or the samples of a program have taken `budget` seconds. The document keeps every
// sample. Failure(kMisuse) with what a program said instead of an answer.
inline constexpr double kTurn = 0.1;
struct TurnOptions {
  std::string clock = "wall";
  double margin = 0.03, fail_over = 1e9, budget = 2;
  int rounds = 5;
};
Compared compare_in_turn(const std::string& a, const std::string& b, const std::vector<Case>& cases,
                         const TurnOptions& options, host::Session& session);

}  // namespace scalelab::bench
