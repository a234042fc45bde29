// series: the rows of a sweep by what they have in common, the curves that they lie on, and the law of each curve.
//
// A curve's law is fitted here, once, to every seed's error (seed_errors.h says who counts), and handed on: terminal,
// JSON and page show this one.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "host/evidence/law.h"
#include "host/evidence/seed_errors.h"
#include "host/lab/sweep.h"

namespace scalelab::host {

// The fraction of a row whose choice keeps what a rule keeps: it varies by seed, and is told from other choices by this.
inline constexpr double kByRule = 0;

// The trials that differ in their draw alone.
struct Series {
  Trial trial;                                 // with world, seed and start 0
  std::map<std::string, SeedErrors> measured;  // by measure: grid_error, kept, ...

  const SeedErrors& of(const std::string& measure) const;  // empty where it was not measured
  double kept() const;                                     // rows after the choice, the mean over draws; else n
};
// In the order of the rows.
std::vector<Series> series_of(const std::vector<SweepRow>& rows);
// The members of Trial in which series differ, in the order of trial.h.
std::vector<std::string> varying_members(const std::vector<Series>& series);

struct CurveLaw {
  Law law;                       // of all seeds
  std::string along;             // what its sizes are: "n", "kept"
  std::optional<Law> trained{};  // without networks that failed to train, where there are any
  int failed = 0;                // how many

  const LawFit* fit() const;  // the form of the verdict, or the power law where there is none; may be null
  std::string worded() const;
};

// Series that differ in nothing but the member along x (and in epochs, which `samples` makes follow n).
struct Curve {
  struct Point {
    double x;  // where it is drawn and fitted: the member, or the rows kept
    const Series* series;
  };
  Trial trial;                           // of its first series
  std::string name;                      // of the members in which curves differ; empty for the only one
  bool control = false;                  // what others are held against
  std::map<double, Point> points;        // by the member along x
  std::map<std::string, CurveLaw> laws;  // by error, along n, of those with four sizes and more

  const Series* at(double member) const;
};

// Everything that a sweep's rows say, before it is worded.
struct Curves {
  std::vector<Series> series;
  std::vector<std::string> varying;
  std::vector<std::string> errors;  // measured ones, of grid_error, density_error, test_error
  std::string x;                    // the member along x; empty when nothing numeric varies
  bool kept = false;                // x is n and choices vary: drawn and fitted against the rows kept
  std::vector<std::string> others;  // the members that tell curves apart
  std::vector<Curve> curves;        // in the order of the rows; they point into `series`
  std::uint64_t seed = 0;           // of the laws' bootstrap

  Curves() = default;
  Curves(Curves&&) = default;  // moving a vector keeps its elements where they are
  Curves& operator=(Curves&&) = default;
  Curves(const Curves&) = delete;

  // What a series is held against: the one with the same members in everything but the choice (the same fraction of the
  // same n at random), the order (random, else shuffled) or the mask (random-mask). Null where there is none, and for
  // controls themselves.
  const Series* control_of(const Series& series) const;
  // Every series against its control, judged in families of one curve; place: the member along x, the fraction, and
  // "series": the curve's number.
  std::vector<Contrast> against_controls(const std::string& error) const;
  std::string place(double member) const;  // "1,000" along n, else "0.5"
  std::string axis() const;                // "n", "rows kept", "width"
};
Curves curves_of(const std::vector<SweepRow>& rows, std::uint64_t seed);

// The choice of rows of a trial, the same in every study: "all", "random", "kmeans(100) hidden hard", "margin 20 deg
// easy", but for a member that stands along an axis. And how many rows it keeps: "20 %", "by rule".
std::string choice_name(const Trial& trial, const std::string& axis = "");
std::string share_name(const Trial& trial);

// "kmeans(100) hard 20 %", "mlp-polar, width 64": the values of `members`, but for those that do not apply, and the
// choice of rows whole where any of its members is among them. `axis`: the member along x.
std::string series_name(const Trial& trial, const std::vector<std::string>& members, const std::string& axis);

// One member as a table shows it: "-" where it does not apply, as a kNN's epochs.
std::string member_text(const Trial& trial, const std::string& member);

// Of a result's JSON: one entry per series, and one per law.
nlohmann::json summary_json(const Curves& curves);
nlohmann::json laws_json(const Curves& curves);

}  // namespace scalelab::host
