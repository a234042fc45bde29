// seed_errors: the one table of errors by draw, and what may be said of the difference between two of its entries.
//
// Who counts. A network that failed to train (collapsed: one class everywhere; diverged: its weights stopped being
// finite; misfit: its training error lies far above that of its peers) has an error like any other, and counts with it
// in every mean, every pair and every law: leaving it out would flatter whatever makes networks fail. How many failed
// stands beside the means; and where leaving the draws in which one of the two failed out of a difference would change
// its verdict, the text says so. Missing are only the trials that could not be run (status "failed: ..."): there is
// nothing to count.
//
// What is independent. Trials of one cell differ in their world (the mixture), the seed of their points, and their
// start. A unit is a world where a cell has several, else a seed. Starts on the same points are averaged first, then the
// seeds of a world; means, intervals and tests are over units.
//
// What may be said. Of the difference between two cells, paired over the units that both have:
//   lower, higher  it is not zero, by Student's t test
//   same           it lies within the margin on either side of zero, by two one-sided t tests (equivalence)
//   undecided      neither is shown, or there are fewer than three units
// each at 5 %, after Holm's correction within the family of tests that a sentence is worded from (judge). An error
// is a fraction: intervals of errors end at 0 and 100 %, those of differences at 100 points.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "host/evidence/statistics.h"
#include "host/lab/sweep.h"

namespace scalelab::host {

// What tells trials of one cell apart.
struct Draw {
  std::uint64_t world = 0, seed = 0, start = 0;
  auto operator<=>(const Draw&) const = default;
};
Draw draw_of(const Trial& trial);

// One measurement of trials that differ in their draw alone.
struct SeedErrors {
  std::map<Draw, double> by_draw;
  std::map<Draw, double> train;        // the training errors of those that have one
  std::set<Draw> collapsed, diverged;  // draws of those
  int missing = 0;                     // trials beside them that could not be run
  bool fractions = true;               // as errors and shares; rows kept and weights are counts

  // Another trial's: its measurement, or that it is missing.
  void add(const SweepRow& row, const std::string& measure);
  bool empty() const { return by_draw.empty(); }
  bool over_worlds() const;                         // whether the units are worlds
  std::map<std::uint64_t, double> by_unit() const;  // the mean of each unit
  // Networks that trained but did not fit: whose training error is more than a point and three times the median above
  // zero, among three and more. kNN has none.
  std::set<Draw> misfits() const;
  std::set<Draw> failed() const;  // collapsed, diverged or misfit
  SeedErrors without_failed() const;
  Summary train_summary() const;                                   // over units
  Summary summary() const;                                         // over units
  Paired minus(const SeedErrors& other) const;                     // over the units that both have
  Paired minus_where_both_trained(const SeedErrors& other) const;  // without the draws in which either failed to train
  // This over the other, unit by unit, of the units of which both have a positive, finite mean.
  GeometricMean ratio_to(const SeedErrors& other) const;
  std::string worded() const;  // "16.9 [15.1, 18.8] (1 collapsed)": the mean in % and its 95 % interval
};

// Of the rows for which `wanted` holds; or of those equal to `key` in everything but the draw.
SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure,
                       const std::function<bool(const Trial&)>& wanted);
SeedErrors seed_errors(const std::vector<SweepRow>& rows, const std::string& measure, const Trial& key);

// Where the variance of single trials comes from, as variances of fractions: estimates of a nested analysis of variance
// (starts in seeds in worlds), none below zero. NaN: that source was not varied, and what it does stands in the one
// before it (a start's in the seed's) or in none. test: of the fresh draws that the error was counted on, p (1 - p) / n;
// zero where nothing is drawn.
struct VarianceSources {
  double world, data, start, test;
};
VarianceSources variance_sources(const SeedErrors& errors, std::int64_t test_draws);

// The errors of a sweep on this data, the first the one that findings are about: density and grid on the spiral, test
// on a file.
std::vector<std::string> error_measures(const std::string& data);
// "grid" of "grid_error".
std::string short_measure(const std::string& measure);
// How the density error of trials with these density_points is counted, as the end of a sentence.
std::string density_words(std::int64_t density_points);

// Differences within this are called the same, unless a finding states another margin: half a percentage point.
inline constexpr double kMargin = 0.005;

enum class Verdict { lower, same, undecided, higher };
const char* verdict_word(Verdict verdict);  // "lower", "same", "undecided", "higher"

// "6 seeds", "6 seeds in each of 3 worlds".
std::string draws_words(std::size_t worlds, std::size_t seeds);

// In percentage points: "+1.62 [+0.20, +3.04]"; a mean in per cent: "16.9 [15.1, 18.8]". Without an interval where one
// unit leaves none; "-" where there is none at all.
std::string worded(const Paired& difference);
std::string worded(const Summary& errors);
// The same of what is no error, each number by `number`.
std::string worded(const Summary& mean, const std::function<std::string(double)>& number);
// An interval by itself: "+0.20 to +3.04"; empty where there is none.
std::string worded(const Interval& interval, const std::function<std::string(double)>& number);

// A count with its first two digits, upwards: 9,400 for 9,317.
std::int64_t rounded_up(std::int64_t count);

// The error of one thing against that of another at one place, over the units they share.
struct Contrast {
  std::string what, against;        // "margin hard", "random"
  std::string measure;              // "grid_error"
  nlohmann::json place;             // an object: the members at which both were measured, {"n": 1000, "fraction": 0.2}
  Paired difference{};              // of every draw
  Paired trained{};                 // of the draws in which neither failed to train
  Summary of_what{}, of_against{};  // over all units of each
  Summary train_what{}, train_against{};  // their training errors; of no unit where there are none
  bool over_worlds = false;               // the units are worlds
  int failed = 0;                         // networks of the two that failed to train
  double margin = kMargin;
  // Of the family it was judged in (judge); alone it is a family of one.
  int family = 1;
  double factor_differs = 1, factor_same = 1;  // by which Holm multiplied p

  Verdict verdict() const;
  Verdict verdict_of(const Paired& paired) const;  // as if the difference were this
  bool settled() const { return verdict() != Verdict::undecided; }
  // Shown not to be higher by the margin or more (non-inferiority), by a one-sided t test within the same family.
  bool not_worse() const;
  // Whether leaving out the networks that failed to train would change the verdict.
  bool depends_on_failed() const;
  // How many units would make the 95 % interval no wider than the margin, which settles any difference; 0 where the
  // spread is not known.
  std::int64_t units_to_settle() const;
  const char* unit() const { return over_worlds ? "world" : "seed"; }
  std::string verdict_words() const;  // "lower", "same within 0.5", "undecided: about 60 seeds would settle it"
  // "+1.62 [+0.20, +3.04] higher", and what the verdict depends on.
  std::string worded() const;
};
Contrast contrast(const std::string& what, const SeedErrors& a, const std::string& against, const SeedErrors& b,
                  const std::string& measure, nlohmann::json place = nlohmann::json::object());

// What a page says of how differences are judged.
extern const char* const kVerdictMethods;

// Judges the contrasts of one family together: Holm's step-down correction of their tests, of differing and of being
// the same each for itself, so that a false word among all of them has 5 % at most.
void judge(std::span<Contrast* const> family);
// What a page says of it; nothing where every family is of one.
std::string family_words(std::span<const Contrast> family);

// Places sorted by what may be said of a difference there: "lower at A and B; undecided at C". Where nothing was
// measured (no shared units) nothing is said. Contrasts are given after they were judged.
class Verdicts {
 public:
  void add(const std::string& place, const Contrast& contrast);
  bool empty() const { return lower_.empty() && higher_.empty() && same_.empty() && undecided_.empty(); }
  const std::vector<std::string>& lower() const { return lower_; }
  const std::vector<std::string>& higher() const { return higher_; }
  const std::vector<std::string>& same() const { return same_; }
  const std::vector<std::string>& undecided() const { return undecided_; }
  // The words may be replaced by those that fit a sentence: "better at", "undecided at", "worse at", "the same at".
  std::string worded(const char* lower = "lower at", const char* undecided = "undecided at",
                     const char* higher = "higher at", const char* same = "the same at") const;
  // "lower at 2 of 6 places, higher at 1, the same at 1 and undecided at 2"; "the same" only where there is any.
  std::string counted() const;
  // Sentences: what "the same" means where it was said, which verdicts depend on networks that failed to train, and how
  // many units would settle what is undecided. Empty where there is nothing to say.
  std::string notes() const;

 private:
  std::vector<std::string> lower_, same_, undecided_, higher_, depending_;
  double margin_ = 0;
  std::int64_t fewest_ = 0, most_ = 0;  // units that would settle what is undecided
  const char* unit_ = "seed";
};

nlohmann::json to_json(const SeedErrors& errors);
nlohmann::json to_json(const Summary& summary);  // mean, low, high, sd, standard_error, and the number of seeds
nlohmann::json to_json(const Contrast& contrast);

}  // namespace scalelab::host
