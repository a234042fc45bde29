// prune_page: the page of `prune`: what the choice is worth, where it cuts, whom it takes, and which rows were twins.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/own_data/choice.h"
#include "host/pages/page.h"

namespace scalelab::host {

// Of result.json: rows kept and removed in equal bins from the lowest score to the highest: {edges (bins + 1), kept
// (bins), near_duplicates (bins), fraction (bins)}, the latter two the rows removed for either reason.
nlohmann::json score_histogram(const ChosenRows& choice);

// document: result.json. names: of the classes. worth: what was measured, or nothing.
Page prune_page(const nlohmann::json& document, const LabelledRows& rows, const ChosenRows& choice,
                const std::vector<std::string>& names, const std::vector<Finding>& worth);

}  // namespace scalelab::host
