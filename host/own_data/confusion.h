// confusion: how often what is said of rows is not their label, and which class is taken for which.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace scalelab::host {

// The label that most of some labels are; of labels with equally many, the smallest. At least one.
int commonest(std::span<const int> labels);

class Confusion {
 public:
  explicit Confusion(std::vector<std::string> names) : names_(std::move(names)) {}
  void add(int label, int said) { ++rows_[{label, said}]; }

  // As result.json holds it: {rows, wrong, error, low, high (its 95 % interval, as share_interval), classes [{label, rows,
  // wrong}], confused [{label, said, rows}], the commonest first}. At least one row.
  nlohmann::json json() const;

 private:
  std::vector<std::string> names_;
  std::map<std::pair<int, int>, std::int64_t> rows_;  // by label and what is said
};

// "3.1 % (2.2 to 4.4 %)"
std::string error_text(const nlohmann::json& confusion);
// Errors by class, and which class is taken for which: a map of a few classes, a table of many.
std::string confusion_html(const nlohmann::json& confusion, const std::string& command);

}  // namespace scalelab::host
