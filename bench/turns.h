// turns: two programs time the same case in turn, so that a machine whose speed drifts slows both alike. Every turn is
// a process of its own, which shifts its heap by chance: where memory happens to lie is then part of the scatter and
// not of the ratio.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/result.h"
#include "host/program/command.h"

namespace scalelab::bench {

// The child's side, `bench turn --case TEXT --budget SECONDS`, of {"op", "parameters", "check"}: makes the case, checks
// its answer if "check" is true, and takes samples for so long. {"wall": [...], "cpu": [...]}, or {"wrong": why not}.
// Failure(kMisuse) for a text that is no such case.
nlohmann::json take_turn(const std::string& text, double seconds, Context& context);

// A program ("build/scalelab"), or one with options of its own ("build/scalelab --threads 1"), against another. Each
// case is timed in at least `rounds` turns of kTurn seconds or one sample, and on until the interval of the ratio is no
// wider than the margin or the samples of a program have taken `budget` seconds. Who is then called faster or slower
// must be so in a second such series too, or is undecided: among many cases one in twenty would be called so by chance.
// The document keeps every sample. A case that a program cannot do is not comparable, and its row says why;
// Failure(kMisuse) when there is no other.
inline constexpr double kTurn = 0.1;  // long against starting a sample, short against what a machine's speed drifts in
struct TurnOptions : CompareOptions {
  double budget = 6;
  int rounds = kFewestTurns;
};
Compared compare_in_turn(const std::string& a, const std::string& b, const std::vector<Case>& cases,
                         const TurnOptions& options, host::Session& session);

}  // namespace scalelab::bench
