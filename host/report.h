// report: one page that opens from disk without a network: pictures, findings, charts with their data, methods.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "host/compare.h"
#include "host/figure.h"

namespace scalelab::host {

// Text as it may stand in an element or in a quoted attribute.
std::string html_escape(std::string_view text);
// JSON as it may stand in a <script> element: no `<`, `>` or `&` is left in it.
std::string script_json(const nlohmann::json& value);
std::string base64(std::string_view bytes);
// Lines of comma-separated cells; a cell with a comma, a quote or a line break is quoted.
std::string csv_of(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows);
// `page` with every {{name}} replaced by its value, in one pass: values are not searched. std::logic_error when a name
// has no value, or a value no place.
std::string fill_template(std::string_view page, const std::map<std::string, std::string>& values);

// The report of a comparison. `document` is what results.json will hold, and the page carries it.
std::string comparison_page(const Comparison& comparison, const nlohmann::json& document,
                            const std::vector<Figure>& figures);

}  // namespace scalelab::host
