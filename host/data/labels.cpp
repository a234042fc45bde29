#include "host/data/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "host/data/file_kind.h"
#include "host/data/idx.h"
#include "host/data/npy.h"
#include "host/program/error.h"

namespace scalelab::host {

namespace {

template <class T>
bool parse(std::string_view text, T& value) {
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty();
}

bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// A line's label without the spaces and quotation marks around it.
std::string unquoted(std::string line) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!line.empty() && space(line.back())) line.pop_back();
  line.erase(0, static_cast<std::size_t>(std::find_if_not(line.begin(), line.end(), space) - line.begin()));
  if (line.size() < 2 || line.front() != '"' || line.back() != '"') return line;
  line = line.substr(1, line.size() - 2);
  for (std::size_t at = 0; (at = line.find("\"\"", at)) != std::string::npos; ++at) line.erase(at, 1);
  return line;
}

// One label a line; blank lines at the end are none.
std::vector<std::string> read_lines(const std::filesystem::path& file) {
  const auto fail = [&](const std::string& what) { throw Failure(kBadData, file.string() + ": " + what); };
  std::error_code unknown;
  if (std::filesystem::is_directory(file, unknown)) fail("is a folder; a file of labels is needed");
  std::ifstream input(file, std::ios::binary);
  if (!input) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
  std::vector<std::string> labels;
  for (std::string line; std::getline(input, line);) {
    if (labels.empty()) {
      if (const std::string kind = kind_of_file(line); !kind.empty()) fail(kind);
      if (line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    }
    if (line.find('\0') != std::string::npos) fail("is no text; labels are .npy, IDX, or text with one label a line");
    const bool quoted = line.starts_with('"');
    if (!quoted && line.find_first_of(",;\t") != std::string::npos) {
      fail(
          fmt::format("line {}: {} is more than one label; one a line is needed", labels.size() + 1, shown_cell(line)));
    }
    labels.push_back(unquoted(std::move(line)));
  }
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  return labels;
}

}  // namespace

bool parse_number(std::string_view text, double& value) { return parse(text, value); }
bool parse_number(std::string_view text, float& value) { return parse(text, value); }

std::string shown_cell(std::string_view cell) {
  std::string text(cell.substr(0, 40));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return "'" + text + (cell.size() > 40 ? "...'" : "'");
}

int ClassNumbers::number(std::string text, const std::function<void(const std::string&)>& fail) {
  if (text.empty()) fail("the label is empty");
  double value = 0;
  bool whole = false;
  if (parse_number(text, value)) {
    if (!std::isfinite(value)) fail(fmt::format("the label {} is not finite", shown_cell(text)));
    whole = value == std::floor(value) && std::abs(value) < 0x1p53;
    if (whole) text = fmt::format("{:d}", static_cast<std::int64_t>(value));
  }
  const auto known = numbers_.find(text);
  if (known != numbers_.end()) return known->second;
  if (!is_utf8(text)) {
    fail(fmt::format("the label {} is not in UTF-8; save the file as UTF-8 (as iconv -f LATIN1 -t UTF-8)",
                     shown_cell(text)));
  }
  const int number = static_cast<int>(names_.size());
  numbers_.emplace(text, number);
  names_.push_back({std::move(text), value, whole});
  return number;
}

Labels ClassNumbers::labels(std::vector<int> rows) const {
  const bool numbers = std::all_of(names_.begin(), names_.end(), [](const Name& name) { return name.whole; });
  std::vector<int> order(names_.size()), place(names_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return numbers ? names_[a].value < names_[b].value : names_[a].text < names_[b].text;
  });
  Labels labels;
  for (const int number : order) {
    place[number] = static_cast<int>(labels.names.size());
    labels.names.push_back(names_[number].text);
  }
  for (int& row : rows) row = place[row];
  labels.of_row = std::move(rows);
  return labels;
}

Labels read_labels(const std::filesystem::path& file, std::int64_t n, const std::string& rows_name) {
  const std::string start = first_bytes_of(file);
  std::vector<std::string> texts;
  bool lines = false;
  if (start.starts_with("\x93NUMPY")) {
    texts = read_npy_labels(file);
  } else if (is_idx(start)) {
    for (const std::int64_t label : read_idx_integers(file)) texts.push_back(std::to_string(label));
  } else {
    texts = read_lines(file);
    lines = true;
  }
  const auto fail = [&](const std::string& what) { throw Failure(kBadData, file.string() + ": " + what); };
  if (lines && std::ssize(texts) == n + 1) texts.erase(texts.begin());  // a header
  if (std::ssize(texts) != n) fail(fmt::format("holds {} labels where {} has {} rows", texts.size(), rows_name, n));
  ClassNumbers classes;
  std::vector<int> rows;
  for (std::string& text : texts) {
    rows.push_back(classes.number(
        std::move(text), [&](const std::string& what) { fail(fmt::format("row {}: {}", rows.size(), what)); }));
  }
  return classes.labels(std::move(rows));
}

}  // namespace scalelab::host
