// labels: what rows are called, as numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace scalelab::host {

struct Labels {
  std::vector<int> of_row;         // (n), 0 .. names - 1; empty: there are no labels
  std::vector<std::string> names;  // sorted: by value where all are whole numbers, else by name
  bool empty() const { return of_row.empty(); }
  int classes() const { return static_cast<int>(names.size()); }
};

// Gives numbers to labels as they come. A whole number is one label however it is written: 1 and 1.0.
class ClassNumbers {
 public:
  struct Name {
    std::string text;
    double value;  // of a number
    bool whole;    // whether it is a whole number
  };
  // The number of a label, in order of first appearance. `fail`, which throws, is told of one that is empty, a number
  // that is not finite, or no UTF-8.
  int number(std::string text, const std::function<void(const std::string&)>& fail);
  const std::vector<Name>& names() const { return names_; }  // in order of first appearance
  bool has(const std::string& text) const { return numbers_.count(text) > 0; }
  // Rows that hold such numbers, with the numbers that the sorted names have.
  Labels labels(std::vector<int> rows) const;

 private:
  std::unordered_map<std::string, int> numbers_;
  std::vector<Name> names_;
};

// The labels of n rows from a file of their own: .npy of integers or text, IDX, or text with one label a line and, where
// there is one line more than rows, a header. Failure(kBadData) that names the file and what is wrong: as read_idx and
// NpyMatrix, a label that ClassNumbers refuses, two labels in a line, another number of labels than n.
Labels read_labels(const std::filesystem::path& file, std::int64_t n, const std::string& rows_name);

// A number in decimal; false where a text is none.
bool parse_number(std::string_view text, float& value);
bool parse_number(std::string_view text, double& value);
// A cell of a file as it can be shown in a line of text.
std::string shown_cell(std::string_view cell);

}  // namespace scalelab::host
