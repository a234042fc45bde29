// panels: what a study adds to the page of its sweep: charts and maps of what its result.json holds beside the rows.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalelab::host {

// HTML of the panels that `document` has matter for; of most studies nothing. They state no number of their own.
// `switched`: the page lets one choose between errors.
std::string study_panels(const nlohmann::json& document, bool switched);

}  // namespace scalelab::host
