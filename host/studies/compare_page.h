// report: the page of a comparison.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "host/pages/page.h"
#include "host/studies/compare.h"
#include "host/studies/compare_figures.h"

namespace scalelab::host {

// Live panels, pictures, findings, charts with their data, methods. `document` is what results.json will hold, and the
// page carries it.
Page comparison_page(const Comparison& comparison, const nlohmann::json& document, const std::vector<Figure>& figures);

}  // namespace scalelab::host
