// The page of a result of the bench: each case under the roofs of its machine, how the cost grows, ours beside what is
// used elsewhere, and every number in tables.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "bench/result.h"
#include "host/program/environment.h"
#include "host/program/words.h"

namespace scalelab::bench {

namespace {

using host::Chart;
using host::html_escape;
using host::Line;
using host::Mark;

double operations_of(const nlohmann::json& row) { return number_at(row, "flop") + number_at(row, "minima"); }
bool right(const nlohmann::json& row) { return row.contains("wall") && !row.contains("wrong"); }
std::string name_of(const nlohmann::json& row) { return row.value("name", std::string("?")); }

// The best of what is drawn: its row, and its share of its roof.
struct Best {
  std::string name, roof;
  double share = 0;
};

// The roofs as lines from `least` to `most` operations a byte. Those that do not bind every case are dashed.
void add_roofs(Chart& chart, const nlohmann::json& ceilings, double least, double most) {
  const double memory = number_at(ceilings, "copy_bytes"), read = number_at(ceilings, "read_bytes"),
               cache = number_at(ceilings, "cache_bytes"), fma = number_at(ceilings, "fma_flop"),
               minimum = number_at(ceilings, "minimum_ops"), tensor = number_at(ceilings, "tensor_flop");
  const auto roof = [&chart](const std::string& name, double x0, double y0, double x1, double y1, bool dashed) {
    chart.lines.push_back({.name = name,
                           .marks = {{.x = x0, .y = y0, .note = "roof"}, {.x = x1, .y = y1, .note = "roof"}},
                           .control = !dashed,
                           .colour = dashed ? "soft" : "ink",
                           .dashed = dashed,
                           .bare = true});
  };
  const double ridge = fma / memory;
  roof("main memory, fused multiply-add", least, memory * least, ridge, fma, false);
  roof("main memory, fused multiply-add", ridge, fma, most, fma, false);
  if (read > 0) roof("main memory, read only", least, read * least, fma / read, fma, true);
  if (cache > memory) roof("cache", least, cache * least, fma / cache, fma, true);
  if (minimum > 0) roof("minimum", minimum / memory, minimum, most, minimum, true);
  if (tensor > fma) roof("tensor, bf16", tensor / memory, tensor, most, tensor, true);
}

// Operations a second against operations a byte, both as `counted`: the roofs as lines, each case a dot.
std::optional<Chart> roofline(const nlohmann::json& document) {
  const std::string clock = clock_of(document);
  const nlohmann::json ceilings = document.value("ceilings", nlohmann::json::object());
  const double memory = number_at(ceilings, "copy_bytes"), fma = number_at(ceilings, "fma_flop");
  if (!(memory > 0) || !(fma > 0)) return std::nullopt;
  std::map<std::string, Line> dots;
  Best best;
  // Of the axis of operations a byte: from an eighth of the ridge to eight times it, and all dots.
  double least = fma / memory / 8, most = fma / memory * 8;
  std::set<std::string> left_out;
  for (const auto& row : document.at("rows")) {
    if (!right(row) || row.value("backend", "") != document.value("backend", "")) continue;
    const double operations = operations_of(row), bytes = number_at(row, "bytes");
    if (!(operations > 0) || !(bytes > 0)) {
      left_out.insert(name_of(row));
      continue;
    }
    const double x = operations / bytes;
    least = std::min(least, x / 2);
    most = std::max(most, x * 2);
    const auto& times = row.at(clock);
    const std::string op = row.value("op", "");
    Line& line = dots[op];
    line.name = op;
    line.joined = false;
    line.marks.push_back({.x = x,
                          .y = operations / number_at(times, "median"),
                          .low = operations / number_at(times, "high"),
                          .high = operations / number_at(times, "low"),
                          .note = name_of(row)});
    // The title names the case that comes nearest to its roof.
    const double share = number_at(row.at("roof"), "floor_seconds") / number_at(times, "median");
    if (share > best.share) best = {name_of(row), row.at("roof").value("name", ""), share};
  }
  if (dots.empty()) return std::nullopt;
  Chart chart{
      .id = "roofline",
      .title =
          fmt::format("Nearest to its roof: {} at {:.0f} % of the {} roof", best.name, 100 * best.share, best.roof),
      .subtitle =
          "Operations a second against operations for each byte that must move; how each op counts them stands in "
          "the table. The roofs were measured in the same run. Left of a ridge memory holds a case back, right of "
          "it arithmetic.",
      .x = host::Axis{.title = "operations a byte", .short_name = "operations a byte", .logarithmic = true},
      .y = host::Axis{.title = "operations a second", .short_name = "rate", .logarithmic = true, .unit = "op/s"},
      .lines = {},
      .command = host::command_of(document)};
  add_roofs(chart, ceilings, least, most);
  for (auto& [op, line] : dots) chart.lines.push_back(std::move(line));
  if (!left_out.empty()) {
    chart.subtitle += fmt::format(" {} of which no operations are counted: in the table alone.",
                                  host::counted(std::ssize(left_out), "case"));
  }
  return chart;
}

// A chart for each group of lines: seconds against what varies, the fitted growth, and where one route overtakes
// another.
std::vector<Chart> cost_charts(const nlohmann::json& document) {
  std::vector<Chart> charts;
  for (const auto& entry : document.value("lines", nlohmann::json::array())) {
    if (entry.at("rows").size() < 2) continue;
    const std::string id = "cost-" + entry.value("group", ""), axis = entry.value("axis", "");
    // Lines of one group follow each other, and share a chart.
    if (charts.empty() || charts.back().id != id) {
      charts.push_back({.id = id,
                        .title = "",
                        .subtitle = entry.value("title", "") + ".",
                        .x = host::Axis{.title = axis, .short_name = axis, .logarithmic = true},
                        .y = host::Axis{.title = "time", .short_name = "time", .logarithmic = true, .unit = "s"},
                        .lines = {},
                        .command = host::command_of(document)});
    }
    Chart& chart = charts.back();
    Line line{.name = entry.value("name", "")};
    for (const auto& index : entry.at("rows")) {
      const auto& row = document.at("rows").at(index.get<std::size_t>());
      if (!right(row)) continue;
      const auto& times = row.at(clock_of(document));
      line.marks.push_back({.x = number_at(row.at("parameters"), axis.c_str()),
                            .y = number_at(times, "median"),
                            .low = number_at(times, "low"),
                            .high = number_at(times, "high"),
                            .note = row.value("name", "")});
    }
    const auto& law = entry.at("growth");
    const double exponent = number_at(law, "exponent"), from = number_at(law, "from"), to = number_at(law, "to");
    if (std::isfinite(exponent) && to > from) {
      // Through the middle, in logarithms, of the rows that it was fitted to.
      double mean_x = 0, mean_y = 0, count = 0;
      for (const Mark& mark : line.marks) {
        if (mark.x < from || mark.x > to) continue;
        mean_x += std::log(mark.x);
        mean_y += std::log(mark.y);
        ++count;
      }
      host::DrawnLaw drawn{.text = fmt::format("time grows as {} from {} to {}; the line ended by {}", growth_text(law),
                                               host::grouped(std::llround(from)), host::grouped(std::llround(to)),
                                               entry.value("ended", ""))};
      for (const double x : {from, to}) {
        const double y = std::exp(mean_y / count + exponent * (std::log(x) - mean_x / count));
        drawn.curve.push_back({.x = x, .y = y, .low = y, .high = y});
      }
      line.law = drawn;
    }
    if (std::isfinite(exponent)) {
      chart.title +=
          fmt::format("{}{} as {}", chart.title.empty() ? "Time grows: " : ", ", line.name, growth_text(law));
    }
    chart.lines.push_back(std::move(line));
  }
  // Where one route overtakes another stands below the title.
  for (Chart& chart : charts) {
    for (const auto& crossing : document.value("crossings", nlohmann::json::array())) {
      if ("cost-" + crossing.value("group", "") == chart.id) chart.subtitle += " " + crossing.value("text", "") + ".";
    }
  }
  return charts;
}

struct Rival {
  std::string op, row, who, note;
  double seconds, ours, ratio;
  bool own_route;  // another way of ours to the same answer
};
std::vector<Rival> rivals_of(const nlohmann::json& document) {
  std::vector<Rival> list;
  const std::string clock = clock_of(document);
  for (const auto& row : document.at("rows")) {
    if (!right(row)) continue;
    for (const auto& peer : row.value("peers", nlohmann::json::array())) {
      const double theirs = peer_seconds(peer, clock), ours = number_at(row.at(clock), "median"), ratio = theirs / ours;
      if (!(ratio > 0)) continue;
      const bool own = peer.value("own_route", false);
      const std::string version = peer.value("version", "");
      list.push_back({row.value("op", ""), name_of(row),
                      peer.value("who", "?") + (version.empty() ? "" : " " + version) + (own ? ", scalelab's own" : ""),
                      peer.value("answer", ""), theirs, ours, ratio, own});
    }
  }
  return list;
}

// Bars from 1, which is ours, to the ratio of times, on a logarithmic scale.
std::string bars_html(const std::vector<Rival>& rivals) {
  double first = 0.5, last = 10;
  for (const Rival& rival : rivals) {
    first = std::min(first, rival.ratio / 1.2);
    last = std::max(last, rival.ratio * 1.2);
  }
  const auto place = [&](double ratio) { return 100 * std::log(ratio / first) / std::log(last / first); };
  std::string html = "<div class=\"panel\" id=\"peers-chart\"><div class=\"bars\">", row;
  for (const Rival& rival : rivals) {
    if (rival.row != row) {
      row = rival.row;
      html += fmt::format("<p class=\"what\">{} <small>scalelab {}</small></p>", html_escape(row),
                          html_escape(time_text(rival.ours)));
    }
    html += fmt::format(
        "<div class=\"bar\"><span class=\"name\">{} <small>{}</small></span><span class=\"track\"><i class=\"fill\" "
        "style=\"left:{:.2f}%;width:{:.2f}%\"></i><i class=\"own\" style=\"left:{:.2f}%\"></i><i class=\"dot\" "
        "style=\"left:{:.2f}%\"></i></span><span class=\"value\">{}x</span></div>",
        html_escape(rival.who), html_escape(time_text(rival.seconds)), std::min(place(1), place(rival.ratio)),
        std::abs(place(rival.ratio) - place(1)), place(1), place(rival.ratio), ratio_text(rival.ratio));
  }
  html += "<div class=\"bar axis\" aria-hidden=\"true\"><span class=\"name\">times ours</span><span class=\"track\">";
  const int stride = last / first > 2000 ? 2 : 1;  // decades between labels
  for (int power = -6; power < 9; power += stride) {
    const double tick = std::pow(10, power);
    if (tick >= first && tick <= last) html += fmt::format("<b style=\"left:{:.2f}%\">{:g}</b>", place(tick), tick);
  }
  return html + "</span><span class=\"value\"></span></div></div></div>";
}

std::string cell(double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : ""; }

std::string panels(const std::vector<Chart>& charts) {
  std::string html = "<div class=\"panels\">";
  for (const Chart& chart : charts) html += host::chart_html(chart);
  return html + "</div>";
}

// A table that is shown, and offered as CSV.
using Rows = std::vector<std::vector<std::string>>;
std::string with_csv(const std::string& file, const std::vector<std::string>& columns, const Rows& rows,
                     const std::string& table) {
  return "<p>" + host::download_html("CSV", file, "text/csv", host::csv_of(columns, rows)) + "</p>" + table;
}

// "The quickest other library takes, times as long as scalelab: grid 4.1 to 107 (11 cases), knn 2 to 71 (9 cases)";
// empty where there is none. By op, and from least to most, so that nothing hangs on how many cases of which op there are.
std::string rivals_headline(const std::vector<Rival>& rivals) {
  std::map<std::string, std::map<std::string, double>> quickest;  // of each op and case
  for (const Rival& rival : rivals) {
    if (rival.own_route) continue;
    auto [found, added] = quickest[rival.op].try_emplace(rival.row, rival.ratio);
    if (!added) found->second = std::min(found->second, rival.ratio);
  }
  std::vector<std::string> parts;
  for (const auto& [op, cases] : quickest) {
    double least = HUGE_VAL, most = 0;
    for (const auto& [name, ratio] : cases) {
      least = std::min(least, ratio);
      most = std::max(most, ratio);
    }
    const std::string from = ratio_text(least), to = ratio_text(most);
    parts.push_back(fmt::format("{} {} ({})", op, from == to ? from : from + " to " + to,
                                host::counted(std::ssize(cases), "case")));
  }
  if (parts.empty()) return "";
  return fmt::format("The quickest other library takes, times as long as scalelab: {}", fmt::join(parts, ", "));
}

host::Section rivals_section(const std::vector<Rival>& rivals) {
  Rows rows;
  for (const Rival& rival : rivals) {
    rows.push_back({rival.row, rival.who, cell(rival.seconds), cell(rival.ratio), rival.note});
  }
  return {.id = "peers",
          .title = "Beside what is used elsewhere",
          .note =
              "The same arrays in the same run on as many threads; how many times as long as ours, logarithmic. The "
              "bar begins at ours.",
          .html = bars_html(rivals) + host::data_behind("The numbers, and how the answers compare", "peers.csv",
                                                        {"case", "who", "seconds", "times ours", "answer"}, rows)};
}

// All numbers of a row, as its CSV has them.
std::vector<std::string> numbers_of(const nlohmann::json& row) {
  const auto &wall = row.at("wall"), &roof = row.at("roof");
  std::vector<std::string> cells;
  for (const char* name : {"median", "low", "high"}) cells.push_back(cell(number_at(wall, name)));
  cells.push_back(cell(number_at(row.at("cpu"), "median")));
  cells.push_back(cell(number_at(row, "cold")));
  cells.push_back(cell(number_at(row, "units") / number_at(wall, "median")));
  cells.push_back(row.value("unit", ""));
  for (const char* name : {"bytes", "written_bytes", "flop", "minima"}) cells.push_back(cell(number_at(row, name)));
  cells.insert(cells.end(), {row.value("counted", ""), roof.value("name", ""), cell(number_at(roof, "share")),
                             cell(number_at(row, "joules")), cell(number_at(row, "megahertz"))});
  return cells;
}

// What of them one reads on the page.
std::vector<std::string> words_of(const nlohmann::json& row) {
  const auto &wall = row.at("wall"), &roof = row.at("roof");
  const double median = number_at(wall, "median"), share = 100 * number_at(roof, "share");
  const std::string name = roof.value("name", "");
  return {time_text(median),
          fmt::format("{} to {}", time_text(number_at(wall, "low")), time_text(number_at(wall, "high"))),
          time_text(number_at(row.at("cpu"), "median")),
          time_text(number_at(row, "cold")),
          rate_text(number_at(row, "units") / median, row.value("unit", "")),
          name.empty() ? "-" : fmt::format("{:.0f} %, {}", share, name)};
}

host::Section cases_section(const nlohmann::json& document) {
  const std::vector<std::string> columns = {
      "case",  "backend", "seconds", "low",    "high",    "CPU seconds", "cold seconds", "units/second", "unit",
      "bytes", "written", "flop",    "minima", "counted", "roof",        "share of it",  "joules",       "clock, MHz"};
  const std::vector<std::string> shown = {"case",     "backend", "median", "95 % interval",
                                          "CPU time", "cold",    "rate",   "of its roof"};
  Rows rows, words;
  for (const auto& row : document.at("rows")) {
    const std::vector<std::string> wrong = {"WRONG: " + row.value("wrong", "")};
    for (const auto& [table, cells, width] : {std::tuple{&rows, right(row) ? numbers_of(row) : wrong, columns.size()},
                                              std::tuple{&words, right(row) ? words_of(row) : wrong, shown.size()}}) {
      table->push_back({name_of(row), row.value("backend", "")});
      table->back().insert(table->back().end(), cells.begin(), cells.end());
      table->back().resize(width);
    }
  }
  return {.id = "table",
          .title = "Every case",
          .html = with_csv("cases.csv", columns, rows,
                           host::table_html(shown, words, "Medians of rounds; the CSV has every number"))};
}

host::Section ceilings_section(const nlohmann::json& document) {
  Rows rows;
  const nlohmann::json ceilings = document.value("ceilings", nlohmann::json::object());
  for (const auto& [name, value] : ceilings.items()) {
    if (value.is_number()) rows.push_back({name, cell(value.get<double>())});
  }
  return {.id = "ceilings",
          .title = "The roofs",
          .note = "Measured in the same run by loops that do nothing else: bytes, operations a second, or seconds.",
          .html = with_csv("ceilings.csv", {"ceiling", "value"}, rows,
                           host::table_html({"ceiling", "value"}, rows, "Measured ceilings"))};
}

std::vector<std::string> methods_of(const nlohmann::json& document) {
  std::vector<std::string> methods = {
      "Answers are checked before anything is timed; a wrong answer has no time.",
      "A case is timed in rounds, each with its data made afresh; intervals are 95 % intervals of the median, from the "
      "spread of rounds.",
      "The binding roof is that of the resource which would take longest by itself; its share is the least time that "
      "it allows, over the time taken."};
  if (std::string noise = noise_text(document); !noise.empty()) {
    noise.pop_back();  // the end of its line
    methods.push_back(noise);
  }
  const std::string power = document.value("power", "");
  if (!power.empty()) methods.push_back(power == "NVML" ? "Energy and clocks are as NVML tells them." : power + ".");
  return methods;
}

}  // namespace

host::Page page_of(const nlohmann::json& document) {
  const std::string device = document.value("device", "unknown device");
  const auto environment = document.value("environment", nlohmann::json::object());
  const std::string cpu = environment.contains("cpu") && environment.at("cpu").is_string()
                              ? environment.at("cpu").get<std::string>() + ": "
                              : "";
  host::Page page{.title = "Bench",
                  .kicker = document.contains("lines") ? "scalelab bench cost" : "scalelab bench run",
                  .headline = fmt::format("{} on {}", host::counted(std::ssize(document.at("rows")), "case"), device),
                  .lead = fmt::format("{}{}, measured {}.{}", cpu, device,
                                      document.value("made", std::string("on an unknown day")).substr(0, 10),
                                      clock_of(document) == "wall" ? "" : " Times are CPU time.")};
  const auto charts = cost_charts(document);
  const auto roof = roofline(document);
  const std::vector<Rival> rivals = rivals_of(document);
  const std::string beside_others = rivals_headline(rivals);
  if (!charts.empty()) {
    page.headline = fmt::format("How the cost grows on {}", device);
  } else if (!beside_others.empty()) {
    page.headline = beside_others;
  } else if (roof) {
    page.headline = roof->title;
  }
  if (!charts.empty()) {
    page.sections.push_back({.id = "cost",
                             .title = "How the cost grows",
                             .note = "Medians of rounds with their 95 % intervals. Dotted: the growth fitted to the "
                                     "last five sizes of a line.",
                             .html = panels(charts)});
  }
  if (roof) {
    page.sections.push_back({.id = "roofs", .title = "Under the roofs of this machine", .html = panels({*roof})});
  }
  if (!rivals.empty()) page.sections.push_back(rivals_section(rivals));
  page.sections.push_back(cases_section(document));
  page.sections.push_back(ceilings_section(document));
  page.methods = methods_of(document);
  page.command = host::command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::bench
