// finding: what a study found, as a value from which terminal, JSON and page are made.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/evidence/seed_errors.h"

namespace scalelab::host {

// What the numbers establish, how to read it, its parts, and the numbers.
struct Finding {
  std::string id, title{}, text{};
  std::vector<std::string> points{};
  std::vector<std::string> columns{};
  std::vector<std::vector<std::string>> table{};
  std::vector<Contrast> contrasts{};  // what title and points are worded from
};

// On the terminal: the titles, a line each, with their points below.
std::string to_text(const std::vector<Finding>& findings);
// As result.json holds them: [{id, title, text, points, columns, table, contrasts}].
nlohmann::json to_json(const std::vector<Finding>& findings);

// The columns and a line's cells for a table of contrasts: the difference in points, its interval, in how many seeds it
// is lower, and the verdict.
std::vector<std::string> contrast_columns();
std::vector<std::string> contrast_cells(const Contrast& contrast);

}  // namespace scalelab::host
