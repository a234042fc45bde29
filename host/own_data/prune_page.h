// prune_page: the page of `prune`: what the choice is worth, where it cuts, whom it takes, and which rows were twins.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/own_data/choice.h"
#include "host/pages/page.h"

namespace scalelab::host {

// Of result.json: rows kept and removed in equal bins from the lowest score to the highest: {edges (bins + 1), kept
// (bins), near_duplicates (bins), fraction (bins)}, the latter two the rows removed for either reason.
nlohmann::json score_histogram(const ChosenRows& choice);

// Where rows lie that stay and that do not: a plane as projection.h has it, with `kept` for each row.
nlohmann::json choice_plane(const LabelledRows& rows, const ChosenRows& choice, std::uint64_t seed);
// The nearest of the near-duplicates, {cosine, row, matched, row_values, matched_values} and, where rows have labels,
// {row_label, matched_label}.
nlohmann::json nearest_pairs(const LabelledRows& rows, const ChosenRows& choice, const std::vector<std::string>& names);

// document: result.json.
Page prune_page(const nlohmann::json& document);

}  // namespace scalelab::host
