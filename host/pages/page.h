// page: one HTML file that opens from disk without a network: what was found, charts with their data, how it was made.
//
// A page is put together from pieces of HTML. What stands in a piece as text is escaped by who makes the piece; the
// functions below escape everything they are given, but for members and arguments called `html`.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/evidence/finding.h"

namespace scalelab::host {

// --- text ------------------------------------------------------------------------------------------------------------

// Text as it may stand in an element or in a quoted attribute; no line ends between a number and its %.
std::string html_escape(std::string_view text);
// JSON as it may stand in a <script> element: no `<`, `>` or `&` is left in it.
std::string script_json(const nlohmann::json& value);
std::string base64(std::string_view bytes);
// `data:TYPE;base64,...`
std::string data_uri(const std::string& type, std::string_view bytes);
// Lines of comma-separated cells; a cell with a comma, a quote or a line break is quoted.
std::string csv_of(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows);
// `page` with every {{name}} replaced by its value, in one pass: values are not searched. std::logic_error when a name
// has no value, or a value no place.
std::string fill_template(std::string_view page, const std::map<std::string, std::string>& values);

// --- charts ----------------------------------------------------------------------------------------------------------

struct Axis {
  std::string title{};
  std::string short_name{};  // before a value: "N" in "N = 1,000"
  bool logarithmic = false;
  bool percent = false;         // values are fractions, shown in per cent
  std::string unit{};           // shown behind values, with a prefix: "10 µs"
  bool zero = false;            // a linear axis that begins at 0
  bool zero_line = false;       // 0 is drawn out: the values are differences
  std::vector<double> ticks{};  // empty: chosen by the page
};

struct Mark {
  double x, y;
  double low = std::nan(""), high = std::nan("");  // an interval, drawn where it is finite
  std::string note{};                              // "seed 3"
};

// A law fitted to a series: its curve with a band, and the size held out of the fit: predicted, then measured.
struct DrawnLaw {
  std::string text;           // "error = 3.1 N^-0.50 (-0.52 to -0.48)"
  std::vector<Mark> curve{};  // low and high: the band
  std::optional<Mark> predicted{};
};

struct Line {
  std::string name;
  std::vector<Mark> marks{};    // means or medians
  std::vector<Mark> samples{};  // single seeds, drawn faint
  std::optional<DrawnLaw> law{};
  bool control = false;  // what the others are held against: grey
  std::string colour{};  // of page.css (blue, orange, c0 ...) or #rrggbb; empty: control, or the next of c0 .. c7
  std::string shape = "circle";  // of the points, as Chart.js names them
  bool joined = true;            // a line through the marks
  bool dashed = false, hollow = false, thin = false;
  bool bare = false;  // no points on the line
  bool bars = false;  // bars that stand on 0 in place of points and line
};

// A picture below the marks, with names on it.
struct Ground {
  std::string picture;  // a data URI
  double x_min, x_max, y_min, y_max;
  struct Name {
    std::string text;
    double x, y;
  };
  std::vector<Name> names{};
  bool equal = true;  // a unit is as long on both axes
};

// Lines of one name share a legend entry.
struct Chart {
  std::string id{};        // of the element, and of the CSV: ID.csv
  std::string title{};     // states the finding
  std::string subtitle{};  // what is measured
  Axis x{}, y{};
  std::vector<Line> lines{};
  std::string command{};           // that made it
  std::string measure{};           // "grid", "density": shown when this measure is chosen; empty: always
  bool low = false;                // a less tall chart
  std::optional<Ground> ground{};  // the axes show what it shows
};

// Cells coloured by value, blue below and orange above `centre`, which defaults to the middle between the extremes.
struct HeatMap {
  std::string id{}, title{}, subtitle{};
  std::string x_title{}, y_title{};
  std::vector<std::string> columns{}, rows{};
  std::vector<std::vector<double>> values{};      // (rows, columns), NaN: nothing was measured
  std::vector<std::vector<std::string>> texts{};  // (rows, columns), what stands in the cell
  // (rows, columns), for the data behind the map, in words; empty where no cell has any: of means, of differences.
  std::vector<std::vector<std::string>> intervals{}, verdicts{};
  std::optional<double> centre{};
  std::string unit{};                   // of what stands in the cells, and of the data behind them: "%", "points"
  std::string low_text{}, high_text{};  // the ends of the colour scale in words
  std::string command{}, measure{};
};

// Cells of a heat map, put in one by one: rows in the order in which they come, columns ascending.
class HeatCells {
 public:
  // `interval` and `verdict` in words; empty where the value has none.
  void add(const std::string& row, double column, double value, const std::string& text, std::string interval = "",
           std::string verdict = "");
  // A difference: in points, in brackets where it is undecided; or a contrast as JSON.
  void add_difference(const std::string& row, double column, double mean, const Interval& interval,
                      const std::string& verdict);
  void add_difference(const std::string& row, double column, const nlohmann::json& contrast);
  bool empty() const { return rows_.empty(); }
  std::size_t columns() const { return columns_.size(); }
  // Into a map that lacks nothing but rows, columns and cells; a place without a cell shows a dash.
  HeatMap fill(HeatMap map, const std::function<std::string(double)>& column_words) const;

 private:
  std::vector<std::string> rows_;
  std::set<double> columns_;
  struct Cell {
    double value;
    std::string text, interval, verdict;
  };
  std::map<std::pair<std::string, double>, Cell> cells_;
};
// A map of differences in percentage points: centred on none, better below and worse above.
HeatMap difference_map(HeatMap map);

// --- pieces ----------------------------------------------------------------------------------------------------------

// std::invalid_argument when a map's cells do not fill its rows and columns.
std::string chart_html(const Chart& chart);
// A page stays small, whatever it is of: tables show their first rows, and say where the others are (`rest`); so do the
// CSVs behind tables, and the rows of the results that the page carries.
inline constexpr std::size_t kMostTableRows = 500, kMostRowsOnPage = 2000;
std::string heat_map_html(const HeatMap& map);
std::string table_html(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows,
                       const std::string& caption, const std::string& rest = "result.json");
// A table behind a <details>, with its CSV.
std::string data_behind(const std::string& summary, const std::string& file, const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows, const std::string& command = "");
std::string download_html(const std::string& label, const std::string& file, const std::string& type,
                          std::string_view bytes);
std::string findings_html(const std::vector<Finding>& findings);
std::string list_html(const std::vector<std::string>& items);

// --- the page --------------------------------------------------------------------------------------------------------

struct Section {
  std::string id{}, title{};
  std::string note{};  // a sentence below the title
  std::string html{};
};

struct Page {
  std::string title{};     // of the window
  std::string kicker{};    // the command or the story
  std::string headline{};  // the finding
  std::string lead{};      // what was done, in a sentence or two
  std::vector<Section> sections{};
  std::vector<std::string> methods{};
  std::string command{};  // that makes it again
  // The results: the page carries and offers it, and shows its `environment`. Of more than kMostRowsOnPage `rows` the
  // first; rows_left_out says how many are missing.
  nlohmann::json document{};
  std::string scripts{};  // HTML of further <script> elements
  std::string picture{};  // HTML that stands for the page elsewhere; empty: its first panel
};
// With a switch between grid and density error where the sections show either.
std::string page_html(const Page& page);

// report.html in `folder`, and beside it summary.json, what a front page shows of it: headline, lead, picture, and the
// command line that made it.
void write_page(const std::filesystem::path& folder, const Page& page);

// "<script>...</script>" around a script that holds no "</script" of its own, or has it defused in a string.
std::string script_html(std::string_view script);

}  // namespace scalelab::host
