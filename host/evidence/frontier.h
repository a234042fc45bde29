// frontier: the lowest error that can be had with at most so many rows, and how many rows an error is worth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "host/evidence/statistics.h"

namespace scalelab::host {

// One way to come by rows: how many it keeps, and the error of each unit (a seed, or a world).
struct Candidate {
  double kept;
  std::map<std::uint64_t, double> errors;
};

// The frontier at one number of rows.
struct FrontierPoint {
  double kept;            // at most so many
  std::size_t candidate;  // of the lowest mean over all units; equals by the fewer rows, then by their index
  // Of each unit: the error of the candidate that has the lowest mean over the *other* units. Picked from the same
  // numbers, the lowest of many would lie too low.
  std::map<std::uint64_t, double> errors;
};

// At each number of rows that a candidate keeps and with which at least two can be had, ascending. Units are those that
// all candidates share; with fewer than two nothing is said.
std::vector<FrontierPoint> frontier(std::span<const Candidate> candidates);

// How many rows of a curve have an error: unit by unit, by interpolation in logarithms (crossing), as a geometric mean.
// Units beyond an end of the curve count with that end; what is known ends there too.
struct RowsWorth {
  int units = 0;
  double rows = 0;             // NaN without units
  Interval interval{};         // NaN below two units
  double first = 0, last = 0;  // the curve's ends
  int beyond = 0, before = 0;  // units whose error is lower than the last, or higher than the first

  // Two significant digits, and what a bound is: "17,000", "more than 256,000"; "-" without units.
  std::string worded() const;
  std::string interval_worded() const;  // "15,000 to 19,000"; "-" where there is none, or nothing but a bound is known
};
// `curve`: by rows, then by unit.
RowsWorth rows_worth(const std::map<std::uint64_t, double>& errors,
                     const std::map<double, std::map<std::uint64_t, double>>& curve);

}  // namespace scalelab::host
