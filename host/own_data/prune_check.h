// prune_check: what a choice of rows is worth before it is used: of rows held out, the errors of models that learned from
// the rows chosen, from as many chosen at random, from the other end of the score, and from all.
//
// A split holds out a fifth of the rows, five splits in a row each another; the rest is scored and chosen from as the
// whole will be. The models: 5-nearest-neighbours on the rows as they are, and a network (64 wide, 3 hidden layers) on
// scaled features, which sees as many rows whatever it learns from. Differences are paired over splits.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "host/evidence/finding.h"
#include "host/own_data/choice.h"

namespace scalelab::host {

struct PruneCheck {
  // Beside a random choice: "better", "worse", "mixed" (by the models), "undecided"; empty where the choice is random.
  std::string verdict;
  Finding finding;  // its title is the advice
};

// Core seconds that scoring and choosing take, and that so many splits take, very roughly.
double choice_seconds(const ChoiceOptions& options, const LabelledRows& rows);
double check_seconds(const ChoiceOptions& options, const LabelledRows& rows, int splits);

// By this process alone, whatever its Context's ranks do meanwhile.
// rows: labelled, at least kFewestToCheck of at most 256 classes. given: as in plain_scores, of all rows.
inline constexpr std::int64_t kFewestToCheck = 50;
PruneCheck check_choice(const ChoiceOptions& options, const LabelledRows& rows, std::span<const float> given,
                        int splits, std::uint64_t seed, Session& session);

}  // namespace scalelab::host
