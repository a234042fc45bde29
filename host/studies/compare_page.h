// compare_page: the page of a comparison.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "host/pages/page.h"
#include "host/studies/compare.h"
#include "host/studies/compare_figures.h"

namespace scalelab::host {

// Live panels, pictures, findings, charts with their data, methods. `document` is what result.json will hold, and the
// page carries it.
Page comparison_page(const Comparison& comparison, const std::vector<Finding>& findings, const nlohmann::json& document,
                     const std::vector<Figure>& figures);

// The same page of a result that lies in `folder`, with the networks and pictures beside it; a network that is missing
// there is missing from the live panels. nlohmann::json::exception where the document is not a comparison's.
Page comparison_page_from(const nlohmann::json& document, const std::filesystem::path& folder);

}  // namespace scalelab::host
