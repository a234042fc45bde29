#include "host/program/input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <string_view>

namespace scalelab::host {

namespace {

// Number of single-character edits (insert, delete, replace) between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string suggestion(const std::string& word, const std::vector<std::string>& names) {
  if (word.size() < 3) return "";  // anything is near to -d
  std::size_t best = 3;
  const std::string* nearest = nullptr;
  for (const auto& name : names) {
    const std::size_t distance = edit_distance(word, name);
    if (distance < best) {
      best = distance;
      nearest = &name;
    }
  }
  // Nearer than two edits is one that ends in the same word: --layers is --hidden-layers, and not --labels.
  const std::size_t stem = word.find_first_not_of('-');
  for (std::size_t i = 0; i < names.size() && best > 1 && stem != std::string::npos; ++i) {
    if (!names[i].ends_with("-" + word.substr(stem))) continue;
    nearest = &names[i];
    break;
  }
  return nearest == nullptr ? "" : fmt::format("; did you mean {}?", *nearest);
}

std::string not_known(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = suggestion(word, names);
  return fmt::format("'{}' is not known{}", word,
                     near.empty() ? fmt::format("; known are {}", fmt::join(names, ", ")) : near);
}

nlohmann::json read_json(const std::filesystem::path& file, const std::string& name, ExitCode exit_code) {
  std::ifstream input(file);
  if (!input) throw Failure(exit_code, fmt::format("{}: cannot be read", name));
  return parse_json({std::istreambuf_iterator<char>(input), {}}, name, exit_code);
}

nlohmann::json parse_json(const std::string& text, const std::string& name, ExitCode exit_code) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    // It has read so many bytes, up to the end of what is wrong; one more than there are where the text ends too early.
    const std::size_t wrong = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
    const auto begin = text.begin(), end = begin + static_cast<std::ptrdiff_t>(wrong);
    const auto line = std::count(begin, end, '\n') + 1;
    const std::size_t column = wrong - (line == 1 ? 0 : text.rfind('\n', wrong - 1) + 1) + 1;
    throw Failure(exit_code, fmt::format("{}: line {}, column {}: is not JSON", name, line, column));
  }
}

}  // namespace scalelab::host
