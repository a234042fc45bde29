// prune_study: what choosing the data is worth: the table of choices by sizes, and what is found in it.
//
// Its result.json (study.h) adds:
//   choices      [{choice, keep, score, features, clusters, class_floor, fraction, n, kept, least_class, most_class, purity
//                where there are clusters, MEASURE: {..., minus_random, minus_all}; probe_angle, theory of the perceptron}]
//   exponents    [{choice, fraction, measure, exponent, random, difference, interval, seeds, kept_from, kept_to, verdict}]
//   frontier     [{score, measure, points: [{kept, n, choice, mean, low, high, ..., random}], law, exponent, random,
//                difference, interval, seeds, verdict}]: the lowest error with at most so many rows
//   worth        [{choice, fraction, n, measure, budget: epochs or steps, kept, rows, low, high, curve_first, curve_last,
//                seeds, seeds_beyond_curve, seeds_before_curve}]: random rows that reach the same error
//   cluster_dependence, hard_or_easy, equal_steps_rows: rows trained for as many steps as all rows
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/seed_errors.h"
#include "host/evidence/series.h"
#include "host/lab/sweep.h"

namespace scalelab::host {

struct PruneOptions {
  std::string problem = "spiral", data, labels, model, sizes, worlds = "0", seeds = "0..4";
  std::vector<std::string> scores, features = {"input"}, keeps = {"hard", "easy"};
  std::vector<double> fractions = {0.2, 0.4, 0.8}, angles = {0, 20};
  std::vector<int> clusters = {10, 100, 1000};
  std::vector<double> class_floors;  // none: 0 for scores that need no labels, else kClassFloor
  std::int64_t samples = 1000000, grid = 512, density_points = 0;
  int dimension = 200, width = 64, layers = 3;
  std::string precision = "fp32";
  double noise = 0;
  bool rule = false, no_equal_steps = false;
  SweepOptions sweep;

  bool on(const std::string& which) const { return problem == which; }
};

// One way to choose rows, at one fraction (kByRule: as many as the boundary rule keeps).
struct RowChoice {
  std::string name{}, share{};  // "kmeans(100) hard", "20 %": as in every study (series.h)
  std::string keep, score = "none", features = "input";
  int clusters = 0;
  double angle = 0, floor = kClassFloor;
  double fraction = 1;

  bool all() const { return keep == "all"; }
  bool random() const { return keep == "random"; }
  bool ruled() const { return fraction == kByRule; }
  std::string titled() const { return all() ? name : name + " " + share; }
  std::string scored() const { return random() ? name : name.substr(0, name.rfind(' ')); }  // "kmeans(100)"
  // Of a trial, what this choice decides; its fraction is kByRule where a rule decides it.
  void apply_to(Trial& trial) const {
    trial.keep = keep;
    trial.score = score;
    trial.features = features;
    trial.clusters = clusters;
    trial.probe_angle = angle;
    trial.fraction = fraction;
    trial.class_floor = floor;
  }
};

// What one choice measured at one size.
struct ChoiceCell {
  SeedErrors kept;
  std::map<std::string, SeedErrors> errors;  // by measure
  SeedErrors least_class, most_class;        // the shares that the classes keep (evaluate.h); empty where not measured
  SeedErrors purity;                         // of the score's clusters; likewise
  std::optional<double> theory;              // the exact error at infinite dimension, where it is known
};

// The whole study before it is worded: choices by sizes.
struct ChoiceTable {
  PruneOptions options;
  std::vector<std::uint64_t> worlds{}, seeds{};
  std::vector<std::int64_t> sizes{};
  std::vector<std::string> measures{};
  std::vector<RowChoice> choices{};
  std::map<std::pair<std::size_t, std::int64_t>, ChoiceCell> cells{};  // (choice, n)
  std::map<std::size_t, ChoiceCell> equal_steps{};                     // by choice, at the largest n

  bool trains() const;                                               // whether the model is a network
  const ChoiceCell* cell(std::size_t choice, std::int64_t n) const;  // null where nothing was measured
  std::optional<std::size_t> find(const std::string& name, double fraction) const;
  // As many rows at random, of the same n: what a choice is held against.
  std::size_t control(std::size_t choice) const { return *find("random", choices[choice].fraction); }

  // Every choice against as many rows at random, and against all rows, at one n: judged, those of one choice and measure
  // as a family.
  using Judged = std::map<std::tuple<std::string, std::size_t, std::int64_t>, Contrast>;  // by measure, choice, n
  Judged minus_random{}, minus_all{};
  void judge_choices();

  // Of two choices at one n, paired.
  Contrast against(std::size_t a, std::size_t b, std::int64_t n, const std::string& measure) const;
};

nlohmann::json fraction_json(double fraction);  // kByRule: "rule"

// Worded from the table alone; what result.json holds beside the findings is put into `more`.
std::vector<Finding> prune_findings(const ChoiceTable& table, std::uint64_t seed, nlohmann::json& more);
// Parts of them, along the number of rows (prune_laws.cpp): exponents against those of random choices, the frontier, and
// the random rows that a choice is worth. Lines of result.json go into `list`. Nothing where it was not measured.
std::optional<Finding> exponents_finding(const ChoiceTable& table, const std::string& measure, std::uint64_t seed,
                                         nlohmann::json& list);
std::optional<Finding> frontier_finding(const ChoiceTable& table, const std::string& measure, std::uint64_t seed,
                                        nlohmann::json& list);
std::optional<Finding> worth_finding(const ChoiceTable& table, const std::string& measure, nlohmann::json& list);

// The tables of the smallest and the largest n on the terminal.
std::string choices_text(const ChoiceTable& table);

}  // namespace scalelab::host
