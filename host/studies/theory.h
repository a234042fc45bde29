// theory: what pruning can do at best: the replica prediction for the teacher-student perceptron (replica.h), and
// finite-dimensional simulations beside it.
//
// Its result.json (study.h) adds:
//   probe_angle_degrees, wrong_probe_degrees (0: none), seed
//   rows        [{alpha_total, fraction, keep, error, margin, overlap, probe_overlap, error_random: of as many examples
//               chosen at random; error_wrong_probe: of the choice by the other probe; simulated: {mean, low, high, sd,
//               standard_error, draws, dimension, unconverged}}]
//   crossovers  [{fraction, keep, lower: "everywhere", "nowhere", "from" or "in parts", of 0.1 to 1000 examples per
//               dimension; alpha_total: from which on, else null}], of a probe that is the teacher
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "host/pages/page.h"

namespace scalelab::host {

// "hard 50 %": which examples are kept, and how many.
std::string examples_kept(const std::string& keep, double fraction);

// The page of such a document, which it carries; it states no number of its own.
Page theory_page(const nlohmann::json& document);

}  // namespace scalelab::host
