#include "host/data/csv.h"

#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "host/data/file_kind.h"
#include "host/program/error.h"
#include "host/program/files.h"

namespace scalelab::host {

namespace {

// Lines between two looks at whether a signal came.
constexpr std::int64_t kSignalCheck = 1 << 16;

// A decimal as the nearest float; one too large becomes infinite, one too small zero. False: not a number.
bool parse_float(std::string_view text, float& value) {
  if (parse_number(text, value)) return true;
  double wide = 0;  // from_chars refuses what float cannot hold; double holds it, unless it is far out
  if (!parse_number(text, wide)) return false;
  value = static_cast<float>(wide);
  return true;
}

// Rows as libcsv hands them over, one cell at a time.
class CsvReader {
 public:
  CsvReader(std::string file, bool labelled) : file_(std::move(file)), labelled_(labelled) {}

  CsvTable read(std::istream& input) {
    csv_parser parser;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) throw std::runtime_error("libcsv cannot be used");
    const std::unique_ptr<csv_parser, void (*)(csv_parser*)> guard(&parser, csv_free);
    // A line at a time, so that the line number is known when a cell arrives.
    std::string line;
    while (std::getline(input, line)) {
      if (++line_ % kSignalCheck == 0) throw_if_interrupted();
      if (!input.eof()) line += '\n';
      std::string_view text = line;
      fingerprint_.add(text);
      if (line_ == 1) {
        if (const std::string kind = kind_of_file(text.substr(0, 12)); !kind.empty()) {
          throw Failure(kBadData, file_ + ": " + kind);
        }
        if (text.find('\0') != std::string_view::npos) {  // UTF-16 without a mark has one in every other place
          throw Failure(kBadData, file_ + ": is no text, or text in UTF-16; save it as UTF-8");
        }
        if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
        delimiter_ = delimiter_of(text.substr(std::min(text.find_first_not_of(' '), text.size())));
        csv_set_delim(&parser, static_cast<unsigned char>(delimiter_));
      }
      std::string spaced;
      if (delimiter_ == ' ') text = spaced = single_spaced(text);
      if (csv_parse(&parser, text.data(), text.size(), on_cell, on_row, this) != text.size()) {
        fail(fmt::format("{} (a quotation mark that is out of place)", csv_strerror(csv_error(&parser))));
      }
      rethrow();
    }
    if (input.bad()) throw Failure(kBadData, file_ + ": reading it failed");
    if (csv_fini(&parser, on_cell, on_row, this) != 0) fail("a quoted cell that is never closed");
    rethrow();
    return finish();
  }

 private:
  // Exceptions must not cross libcsv: they are kept, and thrown when it has returned.
  static void on_cell(void* text, std::size_t length, void* self) {
    auto* reader = static_cast<CsvReader*>(self);
    if (reader->failure_) return;
    try {
      reader->cells_.emplace_back(static_cast<const char*>(text), length);
    } catch (...) {
      reader->failure_ = std::current_exception();
    }
  }
  static void on_row(int, void* self) {
    auto* reader = static_cast<CsvReader*>(self);
    if (reader->failure_) return;
    try {
      reader->row();
    } catch (...) {
      reader->failure_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Failure(kBadData, fmt::format("{}: line {}: {}", file_, line_, what));
  }

  // What separates the cells of a file with this first line: a comma where it has one, else the first semicolon, tab or
  // bar, else spaces.
  static char delimiter_of(std::string_view line) {
    char found = '\0';
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') quoted = !quoted;
      if (quoted) continue;
      if (c == ',') return c;
      const bool stronger = found == '\0' || found == ' ';
      if (stronger && (c == ';' || c == '\t' || c == '|' || c == ' ')) found = c;
    }
    return found == '\0' ? ',' : found;
  }
  // A line whose cells stand between spaces, any number of them, with one between two cells.
  static std::string single_spaced(std::string_view line) {
    std::string text;
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') quoted = !quoted;
      const bool space = !quoted && (c == ' ' || c == '\t');
      if (space && (text.empty() || text.back() == ' ')) continue;
      if ((c == '\n' || c == '\r') && !quoted && !text.empty() && text.back() == ' ') text.pop_back();
      text += space ? ' ' : c;
    }
    if (!quoted && text.ends_with(' ')) text.pop_back();
    return text;
  }

  // Columns that hold coordinates: all, or all but the label.
  std::size_t coordinates() const { return columns_ - (labelled_ ? 1 : 0); }
  // Whether a first line that has no coordinate is one of names: each there, different, and no sign of a missing value.
  bool is_header() const {
    static constexpr std::string_view kMissing[] = {"", "?", "-", "na", "n/a", "#n/a", "null", "none", "."};
    for (std::size_t c = 0; c < coordinates(); ++c) {
      std::string lower = cells_[c];
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char byte) { return std::tolower(byte); });
      if (std::count(std::begin(kMissing), std::end(kMissing), lower) > 0) return false;
    }
    return true;
  }
  // Whether the first line's coordinates are the numbers of columns, 0, 1, 2, ...: pandas writes such a header over a
  // table without names.
  bool is_count() const {
    for (std::size_t c = 0; c < coordinates(); ++c) {
      if (cells_[c] != std::to_string(c)) return false;
    }
    return true;
  }
  [[noreturn]] void fail_not_a_number(std::size_t c) const {
    const std::string& cell = cells_[c];
    const bool decimal_comma = cell.find(delimiter_ == ',' ? ';' : ',') != std::string::npos;
    // In the very first line without a name, as pandas writes the index of its rows; a text before any row: the label.
    const char* hint = "";
    if (line_ == 1 && c == 0 && cell.empty()) {
      hint = " (a column without a name is the index of a table: write it without, in pandas by index=False)";
    } else if (count_ == 0 && labelled_ && !cell.empty() && std::isalpha(static_cast<unsigned char>(cell[0]))) {
      hint = " (only the last column, the label, may be text)";
    } else if (count_ == 0 && !labelled_) {
      hint = " (every column is a coordinate, because --labels is given)";
    }
    fail(
        fmt::format("column {}: {} is not a number{}", c + 1, shown_cell(cell),
                    decimal_comma ? " (numbers need a decimal point, as 0.5, and one separator between cells)" : hint));
  }

  void row() {
    if (columns_ == 0) {
      columns_ = cells_.size();
      first_line_ = line_;
      if (columns_ < 2 && labelled_)
        fail(
            "one column; each line needs its coordinates and a label, separated by commas, semicolons, tabs, bars or "
            "spaces");
      if (columns_ > 4097) fail(fmt::format("{} columns; at most 4096 coordinates and a label", columns_));
      float value = 0;
      bool numeric = false;
      for (std::size_t c = 0; c < coordinates(); ++c) numeric = numeric || parse_float(cells_[c], value);
      if (!numeric && is_header()) {
        if (labelled_) header_label_ = cells_.back();
        cells_.clear();
        return;
      }
      counted_ = coordinates() > 1 && is_count();
    }
    if (cells_.size() != columns_) {
      fail(fmt::format("{} columns where line {} has {}", cells_.size(), first_line_, columns_));
    }
    for (std::size_t c = 0; c < coordinates(); ++c) {
      float value = 0;
      if (!parse_float(cells_[c], value)) fail_not_a_number(c);
      if (!std::isfinite(value)) {
        fail(fmt::format("column {}: {} is not a finite 32-bit number", c + 1, shown_cell(cells_[c])));
      }
      table_.values.push_back(value);
    }
    if (labelled_) rows_.push_back(label(cells_.back()));
    ++count_;
    cells_.clear();
  }

  // The number of a row's class, in order of first appearance.
  int label(std::string& text) {
    const int number = classes_.number(
        std::move(text), [this](const std::string& what) { fail(fmt::format("column {}: {}", columns_, what)); });
    if (number == kMostClasses) {
      fail(fmt::format("column {}: {} is the {}th label; the last column must name one of up to {} classes", columns_,
                       shown_cell(classes_.names().back().text), kMostClasses + 1, kMostClasses));
    }
    return number;
  }

  CsvTable finish() {
    if (count_ == 0) throw Failure(kBadData, file_ + ": holds no points");
    if (labelled_) {
      check_first_line();
    } else if (counted_) {
      fail_counted();
    }
    table_.features = static_cast<std::int64_t>(coordinates());
    table_.labels = classes_.labels(std::move(rows_));
    table_.fingerprint = fingerprint_.digits();
    return std::move(table_);
  }

  [[noreturn]] void fail_counted() const {
    throw Failure(kBadData, fmt::format("{}: line {}: looks like a header of column numbers (0, 1, ...), as pandas "
                                        "writes it; remove the line, or in pandas: to_csv(file, index=False, "
                                        "header=False)",
                                        file_, first_line_));
  }

  // Of a file with labels: that its first line is a point if it was read as one, and no point if it was not.
  void check_first_line() const {
    const auto& names = classes_.names();
    // A word where all others are numbers is a header over numeric columns, or a slip: neither is a class.
    const auto others = std::count_if(names.begin() + 1, names.end(), [](const auto& name) { return name.whole; });
    const bool alone = std::count(rows_.begin(), rows_.end(), 0) == 1;
    if (!names[0].whole && names.size() > 1 && others == std::ssize(names) - 1 && alone) {
      throw Failure(kBadData, fmt::format("{}: line {}: column {}: the label {} is a word and all others are numbers; "
                                          "remove the line if it is a header",
                                          file_, first_line_, columns_, shown_cell(names[0].text)));
    }
    // The first line's label is nobody else's, and its coordinates count the columns: no point of the data.
    if (counted_ && alone && (!names[0].whole || names[0].text == std::to_string(columns_ - 1))) fail_counted();
    if (classes_.has(header_label_)) {
      throw Failure(kBadData, fmt::format("{}: line {}: has no coordinates, and yet its last cell {} is a label of "
                                          "other lines; remove the line, or give its coordinates",
                                          file_, first_line_, shown_cell(header_label_)));
    }
  }

  std::string file_;
  bool labelled_;  // whether the last column is the label
  std::int64_t line_ = 0, first_line_ = 0, count_ = 0;
  Fingerprint fingerprint_;
  char delimiter_ = ',';
  std::string header_label_;  // the last cell of the header, if there is one
  bool counted_ = false;      // whether the first line's coordinates are 0, 1, 2, ...
  std::size_t columns_ = 0;
  std::vector<std::string> cells_;
  std::exception_ptr failure_;
  ClassNumbers classes_;
  std::vector<int> rows_;  // the number of each row's class
  CsvTable table_;
};

}  // namespace

CsvTable read_csv(const std::filesystem::path& file, bool labelled) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw Failure(kBadData, file.string() + ": is a folder, not a CSV file");
  std::ifstream input(file, std::ios::binary);
  if (!input) throw Failure(kBadData, fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  return CsvReader(file.string(), labelled).read(input);
}

void write_points_csv(const std::filesystem::path& file, const Dataset& data) {
  std::vector<std::string> names;  // of the classes, quoted where CSV asks for it
  for (int c = 0; c < data.classes; ++c) {
    std::string name = c < static_cast<int>(data.class_names.size()) ? data.class_names[c] : std::to_string(c);
    if (name.find_first_of(",\"\r\n ") != std::string::npos) {
      for (std::size_t at = 0; (at = name.find('"', at)) != std::string::npos; at += 2) name.insert(at, 1, '"');
      name = '"' + name + '"';
    }
    names.push_back(std::move(name));
  }
  OutputFile output(file);
  std::string text;
  if (data.features == 2) {
    text = "x,y,label\n";
  } else {
    for (int c = 0; c < data.features; ++c) text += fmt::format("x{},", c);
    text += "label\n";
  }
  // Bytes of text that are held before they are written.
  constexpr std::size_t kFlush = 1 << 20;
  const float* value = data.points.data();
  for (const std::uint8_t label : data.labels) {
    for (int c = 0; c < data.features; ++c) {
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof digits, *value++).ptr;
      text.append(digits, end);
      text += ',';
    }
    text += names[label];
    text += '\n';
    if (text.size() >= kFlush) {
      throw_if_interrupted();
      output.write(text);
      text.clear();
    }
  }
  output.write(text);
  output.commit();
}

}  // namespace scalelab::host
