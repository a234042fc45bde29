// compare_findings: what a comparison establishes, worded from its numbers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/studies/compare.h"

namespace scalelab::host {

// How many kNN points (k = 1) give the error of a network's n: each seed's network against the same seed's kNN curve,
// the geometric mean over seeds with Student's t interval of the logarithms. A seed outside the curve counts as the end
// it left by, and the figure is then a bound.
struct Equivalent {
  std::string model;
  std::int64_t n = 0;
  std::string measure;  // grid_error, density_error
  int seeds = 0;
  double points = 0;
  Interval interval{};
  double first = 0, last = 0;  // the curve's n
  int beyond = 0, before = 0;  // seeds that need more than the curve's last n, or fewer than its first

  // Two significant digits, and what a bound is: "17,000", "more than 256,000".
  std::string worded() const;
  std::string interval_worded() const;
};
std::vector<Equivalent> equivalents(const Comparison& comparison);
nlohmann::json to_json(const std::vector<Equivalent>& equivalents);

// c_k of kNN along a straight boundary without label noise: where n points fall on a unit of area, the area that k
// neighbours (k odd) get wrong for each unit of the boundary's length is c_k / sqrt(n). c_1 = 1/pi.
double flat_boundary_constant(int k);

std::vector<Finding> findings(const Comparison& comparison);

}  // namespace scalelab::host
