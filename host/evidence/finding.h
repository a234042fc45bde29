// finding: what a study found, as a value from which terminal, JSON and page are made.
#pragma once

#include <functional>
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
// And back from the member `findings` of a document, as far as a page needs them: without their contrasts.
std::vector<Finding> findings_from(const nlohmann::json& document);

// Ends a finding whose table has a line for each of its contrasts, so far without what the contrast says: judges them,
// those of one family together (by default all are one), and adds the columns: the difference in points, its interval,
// in how many units it is lower, the training errors where networks are compared, and the verdict. What the tests were
// corrected for is added to the text.
void settle(Finding& finding, const std::function<std::string(const Contrast&)>& family = {});
// The notes of verdicts as the last of a finding's points, where terminal, JSON and page have them; none, no point.
void add_notes(Finding& finding, const Verdicts& verdicts);
// Settles a finding whose contrasts are one family, adds the notes of its verdicts, and returns them by place; a contrast
// whose place is empty is not among them.
Verdicts settle_by_place(Finding& finding, const std::function<std::string(const Contrast&)>& place);
// Judges contrasts, those of one family together.
void judge(std::vector<Contrast>& contrasts, const std::function<std::string(const Contrast&)>& family);

}  // namespace scalelab::host
