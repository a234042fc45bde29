#include "host/data/dataset.h"

#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "embedded.h"
#include "host/data/file_kind.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Points or lines between two looks at whether a signal came.
constexpr std::int64_t kSignalCheck = 1 << 16;

template <class T>
bool parse_number(std::string_view text, T& value) {
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty();
}

// A decimal as the nearest float; one too large becomes infinite, one too small zero. False: not a number.
bool parse_float(std::string_view text, float& value) {
  if (parse_number(text, value)) return true;
  double wide = 0;  // from_chars refuses what float cannot hold; double holds it, unless it is far out
  if (!parse_number(text, wide)) return false;
  value = static_cast<float>(wide);
  return true;
}

// A cell as it can be shown in a line of text.
std::string shown(std::string_view cell) {
  std::string text(cell.substr(0, 40));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return "'" + text + (cell.size() > 40 ? "...'" : "'");
}

}  // namespace

Dataset sample_spiral(const Mixture& mixture, const Spiral& spiral, std::int64_t n, std::uint64_t seed,
                      double label_noise) {
  if (n < 0) throw std::invalid_argument(fmt::format("{} points were asked for", n));
  if (!(label_noise >= 0 && label_noise <= 1)) {
    throw std::invalid_argument(fmt::format("label noise is a probability, not {}", label_noise));
  }
  std::vector<double> cumulative;
  double total = 0;
  for (const auto& spot : mixture.spots) cumulative.push_back(total += spot.weight);
  if (!(total > 0)) throw std::invalid_argument("the mixture has no weight");

  Dataset data;
  data.class_names = {"0", "1"};
  data.points.resize(static_cast<std::size_t>(2 * n));
  data.labels.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % kSignalCheck == 0) throw_if_interrupted();
    const auto index = static_cast<std::uint64_t>(i);
    // Draws until one lies in the domain; draw t takes lanes 2 t (which spot) and 2 t + 1 (where in it).
    float x = 0, y = 0;
    for (std::uint32_t draw = 0;; ++draw) {
      const Words which = random_words(seed, Stream::points, index, 2 * draw);
      const double level = total * uniform_double(which[0], which[1]);
      const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, level);
      const auto& spot = mixture.spots[static_cast<std::size_t>(found - cumulative.begin())];
      const NormalPair z = normal_pair(random_words(seed, Stream::points, index, 2 * draw + 1));
      x = static_cast<float>(std::fma(spot.sigma, z.first, spot.x));
      y = static_cast<float>(std::fma(spot.sigma, z.second, spot.y));
      if (std::abs(x) <= 1 && std::abs(y) <= 1) break;
      if (draw >= 1U << 20) throw std::invalid_argument("the mixture lies almost wholly outside [-1, 1]^2");
    }
    bool label = spiral.inside(x, y);
    if (label_noise > 0) {
      const Words noise = random_words(seed, Stream::label_noise, index);
      if (uniform_double(noise[0], noise[1]) < label_noise) label = !label;
    }
    data.points[2 * i] = x;
    data.points[2 * i + 1] = y;
    data.labels[i] = label ? 1 : 0;
  }
  return data;
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

namespace {

// Rows as libcsv hands them over, one cell at a time.
class CsvReader {
 public:
  explicit CsvReader(std::string file) : file_(std::move(file)) {}

  Dataset read(std::istream& input) {
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
        delimiter_ = delimiter_of(text);
        csv_set_delim(&parser, static_cast<unsigned char>(delimiter_));
      }
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

  // What separates the cells of a file with this first line: a comma where it has one, else a semicolon or a tab.
  static char delimiter_of(std::string_view line) {
    char found = '\0';
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') quoted = !quoted;
      if (quoted) continue;
      if (c == ',') return c;
      if (found == '\0' && (c == ';' || c == '\t')) found = c;
    }
    return found == '\0' ? ',' : found;
  }

  // Whether a first line that has no coordinate is one of names: each there, different, and no sign of a missing value.
  bool is_header() const {
    static constexpr std::string_view kMissing[] = {"", "?", "-", "na", "n/a", "#n/a", "null", "none", "."};
    for (std::size_t c = 0; c + 1 < columns_; ++c) {
      std::string lower = cells_[c];
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char byte) { return std::tolower(byte); });
      if (std::count(std::begin(kMissing), std::end(kMissing), lower) > 0) return false;
    }
    return true;
  }
  // Whether the first line's coordinates are the numbers of columns, 0, 1, 2, ...: pandas writes such a header over a
  // table without names.
  bool is_count() const {
    for (std::size_t c = 0; c + 1 < columns_; ++c) {
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
    } else if (data_.labels.empty() && !cell.empty() && std::isalpha(static_cast<unsigned char>(cell[0]))) {
      hint = " (only the last column, the label, may be text)";
    }
    fail(
        fmt::format("column {}: {} is not a number{}", c + 1, shown(cell),
                    decimal_comma ? " (numbers need a decimal point, as 0.5, and one separator between cells)" : hint));
  }

  static bool is_utf8(const std::string& text) {
    try {
      return !nlohmann::json(text).dump().empty();
    } catch (const nlohmann::json::exception&) {
      return false;
    }
  }

  void row() {
    if (columns_ == 0) {
      columns_ = cells_.size();
      first_line_ = line_;
      if (columns_ < 2)
        fail("one column; each line needs its coordinates and a label, separated by commas, semicolons or tabs");
      if (columns_ > 4097) fail(fmt::format("{} columns; at most 4096 coordinates and a label", columns_));
      float value = 0;
      bool numeric = false;
      for (std::size_t c = 0; c + 1 < columns_; ++c) numeric = numeric || parse_float(cells_[c], value);
      if (!numeric && is_header()) {
        header_label_ = cells_.back();
        cells_.clear();
        return;
      }
      counted_ = columns_ > 2 && is_count();
    }
    if (cells_.size() != columns_) {
      fail(fmt::format("{} columns where line {} has {}", cells_.size(), first_line_, columns_));
    }
    for (std::size_t c = 0; c + 1 < columns_; ++c) {
      float value = 0;
      if (!parse_float(cells_[c], value)) fail_not_a_number(c);
      if (!std::isfinite(value)) {
        fail(fmt::format("column {}: {} is not a finite 32-bit number", c + 1, shown(cells_[c])));
      }
      data_.points.push_back(value);
    }
    data_.labels.push_back(label(cells_.back()));
    cells_.clear();
  }

  // The class of a label, in order of first appearance. Whole numbers are one class however they are written.
  std::uint8_t label(std::string& text) {
    if (text.empty()) fail(fmt::format("column {}: the label is empty", columns_));
    double value = 0;
    bool whole = false;
    if (parse_number(text, value)) {
      if (!std::isfinite(value)) fail(fmt::format("column {}: the label {} is not finite", columns_, shown(text)));
      whole = value == std::floor(value) && std::abs(value) < 0x1p53;
      if (whole) text = fmt::format("{:d}", static_cast<std::int64_t>(value));
    }
    const auto known = classes_.find(text);
    if (known != classes_.end()) return known->second;
    if (classes_.size() == 256) {
      fail(fmt::format("column {}: {} is the 257th label; the last column must name one of up to 256 classes", columns_,
                       shown(text)));
    }
    if (!is_utf8(text)) {
      fail(fmt::format("column {}: the label {} is not in UTF-8; save the file as UTF-8 (as iconv -f LATIN1 -t UTF-8)",
                       columns_, shown(text)));
    }
    const auto index = static_cast<std::uint8_t>(classes_.size());
    classes_.emplace(text, index);
    names_.push_back({text, value, whole, index});
    return index;
  }

  Dataset finish() {
    if (data_.labels.empty()) throw Failure(kBadData, file_ + ": holds no points");
    if (names_.size() < 2) {
      throw Failure(kBadData, fmt::format("{}: one class only: every label is {}; at least two classes are needed",
                                          file_, shown(names_[0].text)));
    }
    const bool numbers = std::all_of(names_.begin(), names_.end(), [](const Name& name) { return name.whole; });
    // A word where all others are numbers is a header over numeric columns, or a slip: neither is a class.
    const auto others = std::count_if(names_.begin() + 1, names_.end(), [](const Name& name) { return name.whole; });
    if (!names_[0].whole && others == static_cast<std::ptrdiff_t>(names_.size()) - 1 &&
        std::count(data_.labels.begin(), data_.labels.end(), 0) == 1) {
      throw Failure(kBadData, fmt::format("{}: line {}: column {}: the label {} is a word and all others are numbers; "
                                          "remove the line if it is a header",
                                          file_, first_line_, columns_, shown(names_[0].text)));
    }
    // The first line's label is nobody else's, and its coordinates count the columns: no point of the data.
    if (counted_ && std::count(data_.labels.begin(), data_.labels.end(), 0) == 1 &&
        (!names_[0].whole || names_[0].text == std::to_string(columns_ - 1))) {
      throw Failure(kBadData, fmt::format("{}: line {}: looks like a header of column numbers (0, 1, ...), as pandas "
                                          "writes it; remove the line, or in pandas: to_csv(file, index=False, "
                                          "header=False)",
                                          file_, first_line_));
    }
    if (classes_.count(header_label_) > 0) {
      throw Failure(kBadData, fmt::format("{}: line {}: has no coordinates, and yet its last cell {} is a label of "
                                          "other lines; remove the line, or give its coordinates",
                                          file_, first_line_, shown(header_label_)));
    }
    std::sort(names_.begin(), names_.end(),
              [&](const Name& a, const Name& b) { return numbers ? a.value < b.value : a.text < b.text; });
    std::uint8_t order[256] = {};
    for (std::size_t c = 0; c < names_.size(); ++c) {
      order[names_[c].index] = static_cast<std::uint8_t>(c);
      data_.class_names.push_back(names_[c].text);
    }
    for (auto& value : data_.labels) value = order[value];
    data_.features = static_cast<int>(columns_ - 1);
    data_.classes = static_cast<int>(names_.size());
    data_.fingerprint = fingerprint_.digits();
    return std::move(data_);
  }

  struct Name {
    std::string text;
    double value;
    bool whole;
    std::uint8_t index;
  };
  std::string file_;
  std::int64_t line_ = 0, first_line_ = 0;
  Fingerprint fingerprint_;
  char delimiter_ = ',';
  std::string header_label_;  // the last cell of the header, if there is one
  bool counted_ = false;      // whether the first line's coordinates are 0, 1, 2, ...
  std::size_t columns_ = 0;
  std::vector<std::string> cells_;
  std::exception_ptr failure_;
  std::unordered_map<std::string, std::uint8_t> classes_;
  std::vector<Name> names_;
  Dataset data_;
};

}  // namespace

Dataset read_points_csv(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw Failure(kBadData, file.string() + ": is a folder, not a CSV file");
  std::ifstream input(file, std::ios::binary);
  if (!input) throw Failure(kBadData, fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  return CsvReader(file.string()).read(input);
}

}  // namespace scalelab::host
