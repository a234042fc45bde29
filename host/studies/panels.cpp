#include "host/studies/panels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "host/evidence/seed_errors.h"
#include "host/pages/page.h"
#include "host/program/environment.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostLines = 8;  // as many as there are colours, the control among them

// Which of the errors a panel is shown for.
std::string shown_for(const std::string& measure, bool switched) { return switched ? short_measure(measure) : ""; }

Line frontier_line(const Json& entry) {
  Line line{.name = text_of(entry.at("score")), .control = entry.at("score") == "random"};
  for (const Json& point : entry.at("points")) {
    line.marks.push_back(
        {.x = point.at("kept"),
         .y = number_of(point.at("mean")),
         .low = number_of(point.at("low")),
         .high = number_of(point.at("high")),
         .note = fmt::format("{} of n {}", text_of(point.at("choice")), grouped(point.at("n").get<std::int64_t>()))});
  }
  return line;
}

// prune-study: the lowest error with at most so many rows.
std::optional<Chart> frontier_chart(const Json& document, const std::string& measure, bool switched) {
  std::vector<std::pair<double, Line>> scores;
  std::optional<Line> control;
  for (const Json& entry : document.at("frontier")) {
    if (entry.at("measure") != measure) continue;
    Line line = frontier_line(entry);
    if (line.control) {
      control = std::move(line);
    } else {
      scores.emplace_back(line.marks.back().y, std::move(line));
    }
  }
  if (!control || scores.empty()) return std::nullopt;
  std::stable_sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::string name = short_measure(measure);
  Chart chart{
      .id = "frontier-chart-" + name,
      .title = "The frontier: the lowest error with at most so many rows",
      .subtitle = capitalized(name) +
                  " error where for each number of rows the fraction, the way and n are chosen (by the other seeds); "
                  "the point says which. Without a choice: random rows, treated alike.",
      .x = Axis{.title = "rows kept, at most", .short_name = "kept", .logarithmic = true},
      .y = Axis{.title = name + " error", .logarithmic = true, .percent = true},
      .lines = {},
      .command = command_of(document),
      .measure = shown_for(measure, switched)};
  if (scores.size() >= kMostLines) {
    chart.subtitle += fmt::format(" Drawn are the {} scores of {} that end lowest.", kMostLines - 1, scores.size());
    scores.resize(kMostLines - 1);
  }
  for (const auto& [last, line] : scores) {
    for (const Mark& mark : line.marks) chart.y.logarithmic = chart.y.logarithmic && mark.y > 0;
    chart.lines.push_back(line);
  }
  chart.lines.push_back(std::move(*control));
  return chart;
}

// prune-study: every score by every fraction of the largest n, against a random choice of the same size.
std::optional<HeatMap> score_map(const Json& document, const std::string& measure, bool switched) {
  std::int64_t largest = 0;
  for (const Json& entry : document.at("choices")) largest = std::max(largest, entry.at("n").get<std::int64_t>());
  HeatCells cells;
  for (const Json& entry : document.at("choices")) {
    if (entry.at("n") != largest || !entry.at("fraction").is_number() || !entry.contains(measure)) continue;
    const Json& errors = entry.at(measure);
    if (errors.contains("minus_random") && errors.at("minus_random").at("seeds") > 0) {
      cells.add_difference(text_of(entry.at("choice")), entry.at("fraction"), errors.at("minus_random"));
    }
  }
  if (cells.columns() < 2) return std::nullopt;
  const std::string name = short_measure(measure);
  HeatMap map{
      .id = "map-scores-" + name,
      .title = fmt::format("Scores by the fraction kept of n {}", grouped(largest)),
      .subtitle =
          capitalized(name) +
          " error minus that of a random choice of the same size, in percentage points; in brackets where the verdict "
          "is undecided.",
      .x_title = "fraction kept",
      .y_title = "choice",
      .command = command_of(document),
      .measure = shown_for(measure, switched)};
  return cells.fill(difference_map(std::move(map)),
                    [](double fraction) { return fmt::format("{:g} %", 100 * fraction); });
}

std::string prune_panels(const Json& document, bool switched) {
  std::string html;
  for (const char* measure : {"grid_error", "density_error", "test_error"}) {
    if (const auto chart = frontier_chart(document, measure, switched)) html += chart_html(*chart);
    if (const auto map = score_map(document, measure, switched)) html += heat_map_html(*map);
  }
  return html;
}

// lottery: every comparison of two kinds of ticket, by width and by level.
std::optional<HeatMap> ticket_map(const Json& document, bool switched) {
  HeatCells cells;
  std::string measure;
  std::set<int> widths;
  for (const Json& entry : document.at("summary")) widths.insert(entry.at("params").at("width").get<int>());
  for (const Json& finding : document.at("findings")) {
    if (finding.at("id").get<std::string>().starts_with("ticket-")) continue;  // another finding's contrasts again
    for (const Json& contrast : finding.at("contrasts")) {
      const Json& place = contrast.at("place");
      const std::string own = contrast.at("measure");
      if (!place.contains("level") || !place.contains("width") || !own.ends_with("_error")) continue;
      if (measure.empty()) measure = own;
      if (own != measure) continue;
      std::string row = fmt::format("{} - {}", text_of(contrast.at("what")), text_of(contrast.at("against")));
      if (widths.size() > 1) row += fmt::format(", width {}", place.at("width").dump());
      cells.add_difference(row, place.at("level"), contrast);
    }
  }
  if (cells.columns() < 2) return std::nullopt;
  HeatMap map{
      .id = "map-tickets",
      .title = "Tickets by level and width",
      .subtitle = fmt::format("Difference in {} error, paired, in percentage points; in brackets where the verdict is "
                              "undecided. Level l keeps 0.8^l of the hidden layers' weights.",
                              short_measure(measure)),
      .x_title = "rounds of pruning",
      .y_title = "comparison",
      .command = command_of(document),
      .measure = shown_for(measure, switched)};
  return cells.fill(difference_map(std::move(map)), [](double level) { return fmt::format("{:g}", level); });
}

}  // namespace

std::string study_panels(const Json& document, bool switched) {
  if (document.contains("frontier") && document.contains("choices")) return prune_panels(document, switched);
  if (document.value("study", "") == "lottery") {
    const auto map = ticket_map(document, switched);
    return map ? heat_map_html(*map) : "";
  }
  return "";
}

}  // namespace scalelab::host
