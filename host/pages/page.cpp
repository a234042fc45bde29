#include "host/pages/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <stdexcept>

#include "embedded.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/files.h"
#include "host/program/words.h"

namespace scalelab::host {

std::string html_escape(std::string_view text) {
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i > 0 && std::isdigit(static_cast<unsigned char>(text[i - 1])) != 0 && text.substr(i, 2) == " %") {
      escaped += "&nbsp;";
      continue;
    }
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string script_json(const nlohmann::json& value) {
  // These characters stand in JSON only inside strings, where \u escapes mean the same.
  std::string text;
  for (const char c : value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)) {
    switch (c) {
      case '<': text += "\\u003c"; break;
      case '>': text += "\\u003e"; break;
      case '&': text += "\\u0026"; break;
      default: text += c;
    }
  }
  return text;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t block = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      block = block << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kDigits[block >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::string csv_of(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) text += ',';
      if (cells[i].find_first_of(",\"\n\r") == std::string::npos) {
        text += cells[i];
        continue;
      }
      text += '"';
      for (const char c : cells[i]) text += c == '"' ? std::string("\"\"") : std::string(1, c);
      text += '"';
    }
    text += '\n';
  };
  line(columns);
  for (const auto& row : rows) line(row);
  return text;
}

std::string fill_template(std::string_view page, const std::map<std::string, std::string>& values) {
  std::string text;
  std::set<std::string> used;
  for (std::size_t at = 0; at < page.size();) {
    const std::size_t open = std::min(page.find("{{", at), page.size());
    text += page.substr(at, open - at);
    if (open == page.size()) break;
    const std::size_t close = page.find("}}", open);
    if (close == std::string_view::npos) throw std::logic_error("report template: {{ without }}");
    const std::string name(page.substr(open + 2, close - open - 2));
    const auto value = values.find(name);
    if (value == values.end()) throw std::logic_error("report template: no value for " + name);
    text += value->second;
    used.insert(name);
    at = close + 2;
  }
  for (const auto& [name, value] : values) {
    if (!used.contains(name)) throw std::logic_error("report template: no place for " + name);
  }
  return text;
}

std::string data_uri(const std::string& type, std::string_view bytes) {
  return "data:" + type + ";base64," + base64(bytes);
}

std::string script_html(std::string_view script) {
  std::string text(script);
  for (std::size_t at = 0; (at = text.find("</script", at)) != std::string::npos; at += 3) text.replace(at, 2, "<\\/");
  return "<script>" + text + "</script>";
}

std::string download_html(const std::string& label, const std::string& file, const std::string& type,
                          std::string_view bytes) {
  return fmt::format("<a class=\"download\" download=\"{}\" href=\"{}\">{}</a>", html_escape(file),
                     data_uri(type, bytes), html_escape(label));
}

namespace {

// Around a chart, which is thus found whole.
constexpr std::string_view kPanelBegins = "<!--panel-->", kPanelEnds = "<!--/panel-->";

// "1,000", "+1.2 to +3.4", "3 of 5"; a dash and nothing stand for a number that is not known. No list of numbers.
bool numeric(std::string cell) {
  for (const std::string word : {" of ", " to "}) {
    if (const std::size_t at = cell.find(word); at != std::string::npos) cell.erase(at, word.size());
  }
  const bool begins =
      cell.empty() || std::isdigit(static_cast<unsigned char>(cell[0])) != 0 || cell[0] == '-' || cell[0] == '+';
  return begins && cell.find(", ") == std::string::npos &&
         cell.find_first_not_of("0123456789+-.,e %") == std::string::npos;
}

// As an axis shows it, with enough digits to read back what a plot can show; nothing where there is no number.
std::string cell_of(double value, const Axis& axis) {
  return std::isfinite(value) ? fmt::format("{:.6g}", axis.percent ? 100 * value : value) : "";
}
// "test error, %": a column of values of an axis.
std::string column_of(const std::string& name, const Axis& axis) {
  const std::string unit = axis.percent ? "%" : axis.unit;
  return name + (unit.empty() ? "" : ", " + unit);
}

nlohmann::json marks_json(const std::vector<Mark>& marks) {
  auto list = nlohmann::json::array();
  for (const Mark& mark : marks) {
    auto entry = nlohmann::json::array({mark.x, mark.y, number(mark.low), number(mark.high)});
    if (!mark.note.empty()) entry.push_back(mark.note);
    list.push_back(std::move(entry));
  }
  return list;
}

nlohmann::json axis_json(const Axis& axis) {
  nlohmann::json entry = {{"title", axis.title},
                          {"short", axis.short_name.empty() ? axis.title : axis.short_name},
                          {"logarithmic", axis.logarithmic},
                          {"percent", axis.percent},
                          {"unit", axis.unit},
                          {"zero", axis.zero},
                          {"zeroLine", axis.zero_line}};
  if (!axis.ticks.empty()) entry["ticks"] = axis.ticks;
  return entry;
}

std::string shown_with(const std::string& measure) {
  return measure.empty() ? "" : fmt::format(" data-shown=\"{}\"", html_escape(measure));
}

// What an axis can show of a mark.
bool fits(const Chart& chart, const Mark& mark) {
  return std::isfinite(mark.x) && std::isfinite(mark.y) && (!chart.x.logarithmic || mark.x > 0) &&
         (!chart.y.logarithmic || mark.y > 0);
}

}  // namespace

std::string table_html(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows,
                       const std::string& caption, const std::string& rest) {
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}"
      "</caption><thead><tr>",
      html_escape(caption));
  std::vector<bool> of_numbers;  // by column
  for (std::size_t c = 0; c < columns.size(); ++c) {
    of_numbers.push_back(
        std::all_of(rows.begin(), rows.end(), [c](const auto& row) { return c >= row.size() || numeric(row[c]); }));
    html +=
        fmt::format("<th scope=\"col\"{}>{}</th>", of_numbers[c] ? " class=\"number\"" : "", html_escape(columns[c]));
  }
  html += "</tr></thead><tbody>";
  const std::size_t shown = std::min(rows.size(), kMostTableRows);
  for (std::size_t i = 0; i < shown; ++i) {
    html += "<tr>";
    for (std::size_t c = 0; c < rows[i].size(); ++c) {
      const bool number = c < of_numbers.size() && of_numbers[c];
      html += fmt::format("<td{}>{}</td>", number ? " class=\"number\"" : "", html_escape(rows[i][c]));
    }
    html += "</tr>";
  }
  html += "</tbody></table></div>";
  if (shown == rows.size()) return html;
  return html + fmt::format("<p class=\"what\">\u2026 and {} in {}</p>",
                            counted(std::ssize(rows) - static_cast<std::int64_t>(shown), "more row"),
                            html_escape(rest));
}

std::string data_behind(const std::string& summary, const std::string& file, const std::vector<std::string>& columns,
                        const std::vector<std::vector<std::string>>& rows, const std::string& command) {
  const std::size_t held = std::min(rows.size(), kMostRowsOnPage);
  const std::string csv = csv_of(columns, {rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(held)});
  const std::string label =
      held == rows.size() ? "CSV" : fmt::format("CSV of the first {} rows", grouped(static_cast<std::int64_t>(held)));
  return fmt::format("<details class=\"data\"><summary>{}</summary><p>{}</p>{}{}</details>", html_escape(summary),
                     download_html(label, file, "text/csv", csv), table_html(columns, rows, summary),
                     command.empty() ? "" : "<pre>" + html_escape(command) + "</pre>");
}

std::string list_html(const std::vector<std::string>& items) {
  std::string html = "<ul>";
  for (const auto& item : items) html += "<li>" + html_escape(item) + "</li>";
  return html + "</ul>";
}

std::string findings_html(const std::vector<Finding>& findings) {
  std::string html = "<div class=\"findings\">";
  for (const Finding& finding : findings) {
    html +=
        fmt::format("<article class=\"finding\" id=\"{}\"><h3>{}</h3>{}{}{}</article>", html_escape(finding.id),
                    html_escape(finding.title), finding.text.empty() ? "" : "<p>" + html_escape(finding.text) + "</p>",
                    finding.points.empty() ? "" : list_html(finding.points),
                    finding.table.empty()
                        ? ""
                        : data_behind("The numbers behind it", finding.id + ".csv", finding.columns, finding.table));
  }
  return html + "</div>";
}

namespace {

nlohmann::json ground_json(const Ground& ground) {
  auto names = nlohmann::json::array();
  for (const Ground::Name& name : ground.names) names.push_back({{"text", name.text}, {"x", name.x}, {"y", name.y}});
  return {{"picture", ground.picture},
          {"x", {ground.x_min, ground.x_max}},
          {"y", {ground.y_min, ground.y_max}},
          {"names", std::move(names)},
          {"equal", ground.equal}};
}

}  // namespace

std::string chart_html(const Chart& chart) {
  nlohmann::json description = {{"x", axis_json(chart.x)}, {"y", axis_json(chart.y)}};
  if (chart.ground) description["ground"] = ground_json(*chart.ground);
  auto& lines = description["lines"] = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows;
  std::map<std::string, std::string> colours;  // lines of one name look alike
  std::size_t coloured = 0, hidden = 0;
  std::string laws;
  const auto row = [&](const Line& line, const std::string& what, const Mark& mark) {
    rows.push_back({line.name, what, cell_of(mark.x, chart.x), cell_of(mark.y, chart.y), cell_of(mark.low, chart.y),
                    cell_of(mark.high, chart.y)});
  };
  for (const Line& line : chart.lines) {
    if (line.marks.empty() && line.samples.empty()) continue;
    std::string& colour = colours[line.name];
    if (!line.colour.empty()) colour = line.colour;
    if (colour.empty()) colour = line.control ? "control" : fmt::format("c{}", coloured++ % 8);
    // What does not fit the axis is counted, and said below the chart.
    std::vector<Mark> marks, samples;
    for (const auto& [from, to] : {std::pair{&line.marks, &marks}, std::pair{&line.samples, &samples}}) {
      std::copy_if(from->begin(), from->end(), std::back_inserter(*to), [&](const Mark& m) { return fits(chart, m); });
      hidden += from->size() - to->size();
    }
    nlohmann::json entry = {{"name", line.name},       {"colour", colour},           {"shape", line.shape},
                            {"control", line.control}, {"joined", line.joined},      {"dashed", line.dashed},
                            {"hollow", line.hollow},   {"thin", line.thin},          {"bare", line.bare},
                            {"bars", line.bars},       {"marks", marks_json(marks)}, {"samples", marks_json(samples)}};
    // The table behind the chart has all of it, in the order in which it is drawn.
    for (const Mark& mark : line.marks) row(line, mark.note.empty() ? "drawn" : mark.note, mark);
    if (line.law) {
      nlohmann::json law = {{"curve", marks_json(line.law->curve)}};
      for (const Mark& mark : line.law->curve) row(line, "law", mark);
      if (line.law->predicted) {
        law["held"] = marks_json({*line.law->predicted})[0];
        row(line, "predicted", *line.law->predicted);
      }
      entry["law"] = std::move(law);
      laws += fmt::format("<li><b>{}</b>: {}</li>", html_escape(line.name), html_escape(line.law->text));
    }
    for (const Mark& mark : line.samples) row(line, mark.note, mark);
    lines.push_back(std::move(entry));
  }
  std::string below;
  if (!laws.empty()) below += "<ul class=\"what laws\">" + laws + "</ul>";
  if (hidden > 0) {
    below += fmt::format("<p class=\"what\">{} at or below 0, in the table alone: the axis is logarithmic.</p>",
                         counted(static_cast<std::int64_t>(hidden), "point"));
  }
  return fmt::format(
      "<!--panel--><div class=\"panel\" id=\"{}\"{}><h3>{}</h3><p class=\"what\">{}</p><div class=\"chart{}\"><script "
      "type=\"application/json\" class=\"description\">{}</script><canvas role=\"img\" aria-label=\"{}\"></canvas>"
      "</div>{}{}</div><!--/panel-->",
      html_escape(chart.id), shown_with(chart.measure), html_escape(chart.title), html_escape(chart.subtitle),
      chart.ground ? " ground"
      : chart.low  ? " low"
                   : "",
      script_json(description), html_escape(chart.title + ". " + chart.subtitle + " The data are in the table below."),
      below,
      data_behind("The data of this chart", chart.id + ".csv",
                  {"series", "what", column_of(chart.x.title, chart.x), column_of(chart.y.title, chart.y),
                   column_of("low", chart.y), column_of("high", chart.y)},
                  rows, chart.command));
}

namespace {

using Rgb = std::array<double, 3>;

// The diverging scale at t in [-1, 1], between its nine stops.
Rgb diverging(double t) {
  static constexpr std::array<Rgb, 9> kStops = {{{0x32, 0x84, 0xd0},
                                                 {0x67, 0xa4, 0xe1},
                                                 {0x9f, 0xc7, 0xf0},
                                                 {0xd3, 0xe6, 0xf9},
                                                 {0xf5, 0xf5, 0xf4},
                                                 {0xf6, 0xdd, 0xca},
                                                 {0xe9, 0xb4, 0x8d},
                                                 {0xd4, 0x89, 0x4d},
                                                 {0xc0, 0x64, 0x00}}};
  const double at = std::clamp((t + 1) * 4, 0.0, 8.0);
  const auto stop = std::min<std::size_t>(static_cast<std::size_t>(at), 7);
  Rgb colour;
  for (std::size_t i = 0; i < 3; ++i) {
    colour[i] = kStops[stop][i] + (kStops[stop + 1][i] - kStops[stop][i]) * (at - static_cast<double>(stop));
  }
  return colour;
}

}  // namespace

void HeatCells::add(const std::string& row, double column, double value, const std::string& text, std::string interval,
                    std::string verdict) {
  if (std::find(rows_.begin(), rows_.end(), row) == rows_.end()) rows_.push_back(row);
  columns_.insert(column);
  cells_[{row, column}] = {value, text, std::move(interval), std::move(verdict)};
}

void HeatCells::add_difference(const std::string& row, double column, double mean, const Interval& interval,
                               const std::string& verdict) {
  const std::string points = signed_points(mean);
  add(row, column, mean, verdict == "undecided" ? "(" + points + ")" : points, worded(interval, signed_points),
      verdict);
}

void HeatCells::add_difference(const std::string& row, double column, const nlohmann::json& contrast) {
  add_difference(row, column, number_of(contrast.at("mean")),
                 {number_of(contrast.at("low")), number_of(contrast.at("high"))}, contrast.at("verdict"));
}

HeatMap HeatCells::fill(HeatMap map, const std::function<std::string(double)>& column_words) const {
  map.rows = rows_;
  for (const double column : columns_) map.columns.push_back(column_words(column));
  for (const std::string& row : rows_) {
    auto& values = map.values.emplace_back();
    auto& texts = map.texts.emplace_back();
    auto& intervals = map.intervals.emplace_back();
    auto& verdicts = map.verdicts.emplace_back();
    for (const double column : columns_) {
      const auto found = cells_.find({row, column});
      const Cell cell = found == cells_.end() ? Cell{std::nan(""), "\u2013", "", ""} : found->second;
      values.push_back(cell.value);
      texts.push_back(cell.text);
      intervals.push_back(cell.interval);
      verdicts.push_back(cell.verdict);
    }
  }
  const auto none_has = [&](std::string Cell::*member) {
    return std::all_of(cells_.begin(), cells_.end(), [&](const auto& cell) { return (cell.second.*member).empty(); });
  };
  if (none_has(&Cell::interval)) map.intervals.clear();
  if (none_has(&Cell::verdict)) map.verdicts.clear();
  return map;
}

HeatMap difference_map(HeatMap map) {
  map.centre = 0.0;
  map.unit = "points";
  map.low_text = "better";
  map.high_text = "worse";
  return map;
}

std::string heat_map_html(const HeatMap& map) {
  const auto fills = [&](const auto& cells) {
    return cells.size() == map.rows.size() &&
           std::all_of(cells.begin(), cells.end(), [&](const auto& row) { return row.size() == map.columns.size(); });
  };
  const bool intervals = !map.intervals.empty(), judged = !map.verdicts.empty();
  if (!fills(map.values) || !fills(map.texts) || (intervals && !fills(map.intervals)) ||
      (judged && !fills(map.verdicts)))
    throw std::invalid_argument("heat_map_html: cells do not fill rows and columns");
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const auto& row : map.values) {
    for (const double value : row) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  const double centre = map.centre.value_or((low + high) / 2);
  const double reach = std::max({high - centre, centre - low, 1e-300});
  std::string html = fmt::format(
      "<div class=\"panel\" id=\"{}\"{}><h3>{}</h3><p class=\"what\">{}</p><p class=\"axis-name\">{} \u2193 &nbsp; {} "
      "\u2192</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table class=\"map\"><thead>"
      "<tr><td></td>",
      html_escape(map.id), shown_with(map.measure), html_escape(map.title), html_escape(map.subtitle),
      html_escape(map.y_title), html_escape(map.x_title), html_escape(map.title));
  for (const auto& column : map.columns) html += "<th scope=\"col\">" + html_escape(column) + "</th>";
  html += "</tr></thead><tbody>";
  std::vector<std::vector<std::string>> rows;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    html += "<tr><th scope=\"row\">" + html_escape(map.rows[r]) + "</th>";
    rows.push_back({map.rows[r]});
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r][c];
      // What the cell shows, as a number: without the brackets of what is undecided.
      std::string shown = std::isfinite(value) ? map.texts[r][c] : "";
      std::erase_if(shown, [](char ch) { return ch == '(' || ch == ')'; });
      rows.back().push_back(shown);
      const std::string interval = intervals ? map.intervals[r][c] : "";
      if (intervals) rows.back().push_back(interval);
      if (judged) rows.back().push_back(map.verdicts[r][c]);
      if (!std::isfinite(value)) {
        html += "<td class=\"none\">" + html_escape(map.texts[r][c]) + "</td>";
        continue;
      }
      const double t = (value - centre) / reach;
      const Rgb colour = diverging(t);
      html +=
          fmt::format("<td{}{} style=\"background:#{:02x}{:02x}{:02x}\">{}</td>", t > 0.86 ? " class=\"strong\"" : "",
                      interval.empty() ? "" : fmt::format(" title=\"95 % interval: {}\"", html_escape(interval)),
                      static_cast<int>(std::lround(colour[0])), static_cast<int>(std::lround(colour[1])),
                      static_cast<int>(std::lround(colour[2])), html_escape(map.texts[r][c]));
    }
    html += "</tr>";
  }
  html += "</tbody></table></div>";
  if (!map.low_text.empty() || !map.high_text.empty()) {
    html += fmt::format("<p class=\"scale\">{}<i></i>{}</p>", html_escape(map.low_text), html_escape(map.high_text));
  }
  std::vector<std::string> columns = {map.y_title + (map.unit.empty() ? "" : ", cells in " + map.unit)};
  for (std::string column : map.columns) {
    std::erase(column, ',');  // a number without its groups
    columns.push_back(column);
    if (intervals) columns.push_back(column + ": 95 % interval");
    if (judged) columns.push_back(column + ": verdict");
  }
  return html + data_behind("The data of this map", map.id + ".csv", columns, rows, map.command) + "</div>";
}

namespace {

// The command stands above it.
std::string environment_html(const nlohmann::json& document) {
  std::vector<std::vector<std::string>> rows;
  const nlohmann::json environment =
      document.is_object() ? document.value("environment", nlohmann::json::object()) : nlohmann::json::object();
  for (const auto& [key, value] : environment.items()) {
    if (key == "command" || key == "look" || key == "in_story") continue;
    rows.push_back({key, value.is_string() ? value.get<std::string>() : value.is_null() ? "unknown" : value.dump()});
  }
  return rows.empty() ? "" : table_html({"what", "value"}, rows, "Where it was made");
}

// Of what was made with small sizes and few seeds on purpose (--look), and as a part of a story (--in-story).
constexpr const char* kLook = " \u00b7 a quick look with few seeds, not a result";
constexpr const char* kBack = " \u00b7 <a href=\"../index.html\">back to the story</a>";
bool environment_says(const nlohmann::json& document, const char* member) {
  return document.is_object() &&
         document.value(nlohmann::json::json_pointer(std::string("/environment/") + member), false);
}

// Cuts a list, where it is one, to its first entries, and returns how many are gone.
std::size_t cut(nlohmann::json& list, std::size_t most) {
  if (!list.is_array() || list.size() <= most) return 0;
  const std::size_t gone = list.size() - most;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(most), list.end());
  return gone;
}

// What the page carries of the results: where it leaves out rows, what stands for each series and each seed too.
nlohmann::json carried(const nlohmann::json& document) {
  nlohmann::json copy = document;
  if (!copy.is_object() || !copy.contains("rows")) return copy;
  const std::size_t left_out = copy.value("rows_left_out", std::size_t{0}) + cut(copy["rows"], kMostRowsOnPage);
  if (left_out == 0) return copy;
  copy["rows_left_out"] = left_out;
  for (const char* of_series : {"summary", "laws"}) {
    if (copy.contains(of_series)) cut(copy[of_series], kMostTableRows);
  }
  if (!copy.contains("summary")) return copy;
  for (auto& series : copy["summary"]) {
    for (auto& measure : series) {
      if (!measure.is_object()) continue;
      measure.erase("values");
      measure.erase("seeds");
    }
  }
  return copy;
}

constexpr const char* kMeasureSwitch =
    "<div class=\"measures\" role=\"group\" aria-label=\"Error shown\">"
    "<button type=\"button\" data-choose=\"grid\" aria-pressed=\"true\">grid error</button>"
    "<button type=\"button\" data-choose=\"density\" aria-pressed=\"false\">density error</button></div>";

}  // namespace

std::string page_html(const Page& page) {
  std::vector<Section> sections = page.sections;
  // The switch between the errors stands where the first panel that obeys it is.
  bool switched = false;
  for (Section& section : sections) {
    if (!switched && section.html.find("data-shown=\"density\"") != std::string::npos) {
      section.html = kMeasureSwitch + section.html;
      switched = true;
    }
  }
  const nlohmann::json document = carried(page.document);
  const auto left_out = document.is_object() ? document.value("rows_left_out", std::int64_t{0}) : 0;
  const std::string results = document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  // Last on every page: methods, the command, the results to download, and where they were made.
  std::string made;
  if (!page.methods.empty()) made += list_html(page.methods);
  if (!page.command.empty()) {
    made += "<h3 class=\"space\">The command</h3><pre>" + html_escape(page.command) +
            "</pre><p class=\"space\"><button type=\"button\" class=\"download\" id=\"copy\" hidden>copy the command"
            "</button></p>";
  }
  made += "<p class=\"space\">" + download_html("result.json", "result.json", "application/json", results) +
          (left_out == 0
               ? ""
               : fmt::format(", without {} and what is long beside them, which are in the result.json beside this page",
                             counted(left_out, "of its rows", "of its rows"))) +
          "</p>" + environment_html(document);
  sections.push_back({.id = "methods", .title = "How it was made", .html = made});
  std::string html;
  for (const Section& section : sections) {
    html += fmt::format(
        "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n  <h2 id=\"{0}-title\">{1}</h2>\n  {2}{3}\n</section>\n",
        html_escape(section.id), html_escape(section.title),
        section.note.empty() ? "" : "<p>" + html_escape(section.note) + "</p>\n  ", section.html);
  }
  const bool charts = html.find("class=\"description\"") != std::string::npos;
  if (charts) {
    html +=
        "<noscript><p class=\"unavailable\">The charts need JavaScript; their data are in the tables below them."
        "</p></noscript>";
  }
  return fill_template(
      embedded::page_html,
      {
          {"title", html_escape(page.title)},
          {"kicker", html_escape(page.kicker + (environment_says(page.document, "look") ? kLook : "")) +
                         (environment_says(page.document, "in_story") ? kBack : "")},
          {"headline", html_escape(page.headline)},
          {"lead", html_escape(page.lead)},
          {"sections", html},
          {"results", script_json(document)},
          {"style", embedded::page_css},
          {"scripts", (charts ? script_html(embedded::chart_js) + "\n" : "") + script_html(embedded::page_js) + "\n" +
                          page.scripts},
      });
}

void write_page(const std::filesystem::path& folder, const Page& page) {
  std::string picture = page.picture;
  for (const Section& section : page.sections) {
    if (!picture.empty()) break;
    const std::size_t begin = section.html.find(kPanelBegins);
    if (begin == std::string::npos) continue;
    picture = section.html.substr(begin, section.html.find(kPanelEnds, begin) + kPanelEnds.size() - begin);
  }
  const nlohmann::json summary = {
      {"headline", page.headline}, {"lead", page.lead}, {"picture", picture}, {"command", page.command}};
  write_file(folder / "report.html", page_html(page));
  write_file(folder / "summary.json", json_text(summary));
}

}  // namespace scalelab::host
