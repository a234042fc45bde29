// claim_questions: what a claim asks of a study's result.json. Each answers in parts, and with none where the run has not
// measured it; claims.h says what a part holds.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace scalelab::host {

inline constexpr const char *kHolds = "holds", *kContradicted = "contradicted", *kUndecided = "undecided",
                            *kNotTested = "not tested";

using Question = std::function<std::vector<nlohmann::json>(const nlohmann::json& result)>;

// Contradicted where any of the parts is; else undecided where any is; else it holds. Not tested without parts.
std::string answer_of(const std::vector<nlohmann::json>& parts);

// A claim that something does: holds where any of the parts does, is undecided where any else is; only what answers so is
// kept, the first few of it.
Question any_of(Question question);

// Which contrasts of findings are asked about. Names are patterns, in which each * stands for anything; each member of
// `place` must be there and equal, where "smallest" and "largest" stand for those of the finding.
struct Asked {
  std::string finding, what = "*", against = "*", measure = "*";
  nlohmann::json place = nlohmann::json::object();
};
// All of them have one of these verdicts ("lower", "same", "higher", or "not worse": shown not to be higher by the
// margin). One that is settled otherwise contradicts.
Question verdicts(Asked asked, std::set<std::string> expected);

// A figure with its 95 % interval, and where it is read from.
struct Quantity {
  std::string name;
  double mean, low, high;
  // A seed left the curve that the figure is read from, by its first end or by its last: no more than a bound is known.
  bool at_most = false, at_least = false;
};
using Quantities = std::function<std::vector<Quantity>(const nlohmann::json& result)>;
// Every figure lies above the bound by its whole interval; one below it by its whole interval contradicts. What is known
// only to be at most so large does not hold, and what is known only to be at least so large does not contradict.
Question above(double bound, std::string unit, Quantities figures);
// Of compare: a measure of a model at the smallest size; the share of the plane, in per cent, that two starts on the same
// points disagree about; how many times its points a model is worth on the grid at the smallest size, over worlds where
// there are several.
Quantities of_summary(std::string model, std::string measure);
Quantities disagreements();
Quantities data_factors(std::string model);
// Of prune-study: how many times as many random rows a choice is worth, on the grid at the largest n.
Quantities rows_worth();
// Of prune-study: at the largest n, how many per cent of the rows have the most frequent label of their cluster, for
// clusters of the features as they came.
Quantities purities();
// Of xor: by how many per cent of a random order's time easy first is quicker at the target error, at every width where
// half of the networks come to it.
Quantities time_saved();

// The law of every curve of the model, without label noise and choice, is one of these (law.h).
Question laws(std::string model, std::string measure, std::set<std::string> expected);
// Of prune-study: the frontier of every score falls more steeply than that of random rows.
Question steeper_frontiers();
// Of theory: the hard examples beat as many at random from some size on and not below it.
Question hard_from_a_size_on();
// Of theory: wherever choosing pays, it has a higher error by the wrong probe.
Question wrong_probe_costs();
// Of xor, its errors after the budget: the widest network's is lower than the narrowest's; and, by width, the gain of
// showing easy examples first is larger than that of the next width.
Question wider_is_better();
Question order_beats_width();

}  // namespace scalelab::host
