// compare_findings: what a comparison establishes, worded from its numbers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/frontier.h"
#include "host/studies/compare.h"

namespace scalelab::host {

// How many points kNN on (x, y) needs for the error of a model's n: each unit's model against the same unit's kNN curve.
// The curve has k = 1, for a kNN on an encoding its own k. Units are seeds of the first world, or worlds.
struct Equivalent : RowsWorth {
  std::string model;
  std::int64_t n = 0;
  std::string measure;  // grid_error, density_error
  bool over_worlds = false;

  // The rows as a multiple of n: "4.8 [4.1, 5.7]", "more than 60".
  std::string factor_worded() const;
};
// Of networks and kNN on encodings: in the first world at every size, both errors in turn.
std::vector<Equivalent> equivalents(const Comparison& comparison);
// Of those at the smallest size that other worlds have too, where there are several.
std::vector<Equivalent> equivalents_over_worlds(const Comparison& comparison);
nlohmann::json to_json(const std::vector<Equivalent>& equivalents);

// c_k of kNN along a straight boundary without label noise: where n points fall on a unit of area, the area that k
// neighbours (k odd) get wrong for each unit of the boundary's length is c_k / sqrt(n). c_1 = 1/pi.
double flat_boundary_constant(int k);

std::vector<Finding> findings(const Comparison& comparison);

// Parts of them: where on the plane errors lie, of how many patches a map is made, and how far two networks on the same
// points disagree (compare_places.cpp). Nothing where it was not measured.
std::optional<Finding> regions(const Comparison& comparison);
std::optional<Finding> patches(const Comparison& comparison);
std::optional<Finding> disagreement(const Comparison& comparison);

// The errors that findings are about, the grid's first.
inline constexpr const char* kMeasures[] = {"grid_error", "density_error"};
// The first model at one size against the second at another (or the same), over the seeds of the first world.
Contrast between(const Comparison& comparison, const std::string& what, std::int64_t what_n, const std::string& against,
                 std::int64_t against_n, const std::string& measure);
// A line of the finding's table, which settle ends; nothing where the two share no seed.
bool add_line(Finding& finding, std::vector<std::string> line, Contrast contrast);

}  // namespace scalelab::host
