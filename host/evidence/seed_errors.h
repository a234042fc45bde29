// seed_errors: the one table of errors by seed, and what may be said of the difference between two of its entries.
//
// Who counts. A network that failed to train (collapsed: one class everywhere; diverged: its weights stopped being
// finite) has an error like any other, and counts with it in every mean, every pair and every law: leaving it out would
// flatter whatever makes networks fail. How many failed stands beside the means; and where leaving the seeds in which
// one of the two failed out of a difference would change its verdict, the text says so. Missing are only the trials
// that could not be run (status "failed: ..."): there is nothing to count.
//
// What may be said. The error of one is lower or higher than that of another when the 95 % interval of the difference,
// paired over the seeds that both have, leaves zero out and there are at least three pairs. Everything else is
// undecided. An error is a fraction: intervals of errors end at 0 and 100 %, those of differences at 100 points.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "host/evidence/statistics.h"
#include "host/lab/sweep.h"

namespace scalelab::host {

// One measurement of trials that differ in their seed alone.
struct SeedErrors {
  std::map<std::uint64_t, double> by_seed;
  std::set<std::uint64_t> collapsed, diverged;  // seeds of those
  int missing = 0;                              // trials beside them that could not be run
  bool fractions = true;                        // as every error; rows kept and weights are counts

  // Another trial's: its measurement, or that it is missing.
  void add(const SweepRow& row, const std::string& measure);
  bool empty() const { return by_seed.empty(); }
  Summary summary() const;
  Paired minus(const SeedErrors& other) const;                     // over the seeds that both have
  Paired minus_where_both_trained(const SeedErrors& other) const;  // without those in which either failed to train
  std::string worded() const;  // "16.9 [15.1, 18.8] (1 collapsed)": the mean in % and its 95 % interval
};

// Of the rows for which `wanted` holds; or of those equal to `key` in everything but the seed.
SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted);
SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure, const Trial& key);

// The errors of a sweep on this data, the first the one that findings are about: density and grid on the spiral, test
// on a file.
std::vector<std::string> error_measures(const std::string& data);
// "grid" of "grid_error".
std::string short_measure(const std::string& measure);
// How the density error of trials with these density_points is counted, as the end of a sentence.
std::string density_words(std::int64_t density_points);

// The word for a difference: "lower", "higher", "undecided".
const char* verdict_word(const Paired& difference);
const char* verdict_word(int verdict);

// In percentage points: "+1.62 [+0.20, +3.04]"; a mean in per cent: "16.9 [15.1, 18.8]". Without an interval where one
// seed leaves none; "-" where there is none at all.
std::string worded(const Paired& difference);
std::string worded(const Summary& errors);

// The error of one thing against that of another at one place, over the seeds they share.
struct Contrast {
  std::string what, against;  // "margin hard", "random"
  std::string measure;        // "grid_error"
  nlohmann::json place;       // an object: the members at which both were measured, {"n": 1000, "fraction": 0.2}
  Paired difference{};        // of every seed
  Paired trained{};           // of the seeds in which neither failed to train
  double mean_what = 0, mean_against = 0;  // over all seeds of each

  const char* verdict() const { return verdict_word(difference); }
  // Whether leaving out the networks that failed to train would change the verdict.
  bool depends_on_failed() const;
  // "+1.62 [+0.20, +3.04] higher", and what the verdict depends on.
  std::string worded() const;
};
Contrast contrast(const std::string& what, const SeedErrors& a, const std::string& against, const SeedErrors& b,
                  const std::string& measure, nlohmann::json place = nlohmann::json::object());

// Places sorted by what may be said of a difference there: "lower at A and B; undecided at C". Where nothing was
// measured (no shared seeds) nothing is said.
class Verdicts {
 public:
  void add(const std::string& place, const Contrast& contrast);
  void add(const std::string& place, const Paired& difference);
  bool empty() const { return lower_.empty() && higher_.empty() && undecided_.empty(); }
  const std::vector<std::string>& lower() const { return lower_; }
  const std::vector<std::string>& higher() const { return higher_; }
  const std::vector<std::string>& undecided() const { return undecided_; }
  // The three words may be replaced by those that fit a sentence: "better at", "undecided at", "worse at".
  std::string worded(const char* lower = "lower at", const char* undecided = "undecided at",
                     const char* higher = "higher at") const;
  // A sentence that names the places whose verdict depends on networks that failed to train; empty when none does.
  std::string dependence() const;

 private:
  std::vector<std::string> lower_, undecided_, higher_, depending_;
};

nlohmann::json to_json(const SeedErrors& errors);
nlohmann::json to_json(const Summary& summary);
nlohmann::json to_json(const Paired& difference);
nlohmann::json to_json(const Contrast& contrast);

}  // namespace scalelab::host
