// contrast: the errors of runs that share their seeds, and what may be said of the differences between them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/statistics.h"
#include "host/lab/sweep.h"

namespace scalelab::host {

// One measurement of trials that differ in their seed alone. A network that calls everything one class has an error
// like any other: leaving it out would flatter what makes networks collapse. One that diverged has none.
struct SeedErrors {
  std::map<std::uint64_t, double> by_seed;  // fractions
  int collapsed = 0;                        // of those
  int diverged = 0, failed = 0;             // beside them

  Summary summary() const;
  Paired minus(const SeedErrors& other) const;  // over the seeds that both have
  std::string worded() const;                   // mean +- standard error in %, and what is missing
};

// Of the rows for which `wanted` holds.
SeedErrors seed_errors(const SweepResult& result, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted);

// The errors of a sweep on this data, the first the one that findings are about: density and grid on the spiral, test
// on a file.
std::vector<std::string> error_measures(const std::string& data);

// In percentage points: "+1.62 [+0.20, +3.04]".
std::string worded(const Paired& difference);

// Places sorted by what may be said of a difference there: "lower at A and B; open at C".
class Verdicts {
 public:
  void add(const std::string& place, const Paired& difference);
  std::string worded() const;

 private:
  std::vector<std::string> lower_, open_, higher_;
};

// Rows of cells in columns; the first row heads them.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

nlohmann::json to_json(const SeedErrors& errors);
nlohmann::json to_json(const Paired& difference);

// How a command that compares trials ends: its document goes to options.out / `file`, and what failed or is still to be
// done by other shards is said under its text.
Outcome finish_study(const std::string& file, const SweepOptions& options, const SweepResult& result,
                     nlohmann::json document, std::string text);

}  // namespace scalelab::host
