// The page of `theory`: error against examples kept, and what a choice is worth beside a random one of the same size.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "host/program/environment.h"
#include "host/program/words.h"
#include "host/studies/study.h"
#include "host/studies/theory.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

// One row of the document.
struct Row {
  double alpha, fraction, error, random;
  std::string keep;
  const Json* simulated;  // null: it was not

  double kept() const { return alpha * fraction; }
};
std::vector<Row> rows_of(const Json& document) {
  std::vector<Row> rows;
  for (const Json& row : document.at("rows")) {
    rows.push_back({row.at("alpha_total"), row.at("fraction"), row.at("error"), row.at("error_random"), row.at("keep"),
                    row.contains("simulated") ? &row.at("simulated") : nullptr});
  }
  return rows;
}

bool any_simulated(const std::vector<Row>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.simulated != nullptr; });
}

// The line of a choice of one fraction: a colour for the fraction; whole and round for the hard, dashed with diamonds for
// the easy.
Line line_of(const Row& row, const std::set<double>& fractions) {
  if (row.keep == "random") return {.name = "random", .control = true};
  const auto index = static_cast<int>(std::distance(fractions.begin(), fractions.find(row.fraction)));
  return {.name = examples_kept(row.keep, row.fraction),
          .colour = fmt::format("c{}", index % 8),
          .shape = row.keep == "easy" ? "rectRot" : "circle",
          .dashed = row.keep == "easy"};
}

// Error against the examples that are kept; a random choice of the same size is the control.
Chart error_chart(const Json& document) {
  Chart chart{.id = "error",
              .title = "Error against examples kept",
              .subtitle =
                  "Test error of the max-margin perceptron, both axes logarithmic. A colour is a fraction kept; "
                  "whole lines keep the hardest examples, dashed ones the easiest. Lines are theory",
              .x = Axis{.title = "examples kept per dimension", .short_name = "kept", .logarithmic = true},
              .y = Axis{.title = "test error", .logarithmic = true, .percent = true},
              .lines = {},
              .command = command_of(document)};
  const std::vector<Row> rows = rows_of(document);
  chart.subtitle += any_simulated(rows) ? "; hollow marks are means of simulations with their 95 % interval." : ".";
  std::set<double> fractions;
  std::map<double, double> random;  // by examples kept: every row knows the control's error at its own
  for (const Row& row : rows) {
    if (row.keep != "random") fractions.insert(row.fraction);
    random[row.kept()] = row.random;
  }
  std::map<std::pair<bool, double>, Line> theory, simulated;  // the hardest first, the largest fraction first
  for (const Row& row : rows) {
    const Line line = line_of(row, fractions);
    const std::pair key{row.keep != "hard", line.control ? 0 : -row.fraction};
    if (!line.control) {
      Line& drawn = theory.try_emplace(key, line).first->second;
      drawn.marks.push_back({.x = row.kept(), .y = row.error, .note = "theory"});
    }
    if (row.simulated == nullptr) continue;
    Line& dots = simulated.try_emplace(key, line).first->second;
    dots.joined = false;
    dots.hollow = true;
    dots.marks.push_back({.x = row.kept(),
                          .y = number_of(row.simulated->at("mean")),
                          .low = number_of(row.simulated->at("low")),
                          .high = number_of(row.simulated->at("high")),
                          .note = fmt::format("simulated, mean of {} draws", row.simulated->at("draws").dump())});
  }
  Line control{.name = "random", .control = true};
  for (const auto& [kept, error] : random) control.marks.push_back({.x = kept, .y = error, .note = "theory"});
  for (auto& [key, line] : theory) chart.lines.push_back(std::move(line));
  chart.lines.push_back(std::move(control));
  for (auto& [key, line] : simulated) chart.lines.push_back(std::move(line));
  return chart;
}

// One rule's error as a multiple of a random choice's, fractions down, sizes across.
std::optional<HeatMap> ratio_map(const Json& document, const std::string& keep) {
  std::map<double, std::vector<Row>, std::greater<>> by_fraction;
  for (const Row& row : rows_of(document)) {
    if (row.keep == keep) by_fraction[row.fraction].push_back(row);
  }
  HeatCells cells;
  for (const auto& [fraction, rows] : by_fraction) {
    for (const Row& row : rows) {
      const double ratio = row.error / row.random;
      cells.add(fmt::format("{:g} %", 100 * fraction), row.alpha, std::log(ratio), fmt::format("{:.2f}", ratio));
    }
  }
  if (cells.columns() < 2) return std::nullopt;
  HeatMap map{
      .id = "map-" + keep,
      .title = fmt::format("Keeping the {}: error as a multiple of that of a random choice of the same size", keep),
      .subtitle = "Below 1 (blue) the choice pays. Coloured by the logarithm.",
      .x_title = "examples per dimension to choose from",
      .y_title = "fraction kept",
      .centre = 0.0,
      .unit = "times random",
      .low_text = "better than random",
      .high_text = "worse",
      .command = command_of(document)};
  return cells.fill(std::move(map), [](double alpha) { return fmt::format("{:g}", alpha); });
}

}  // namespace

Page theory_page(const Json& document) {
  std::vector<Finding> findings = findings_from(document);
  for (Finding& finding : findings) finding.title = capitalized(finding.title);
  Page page{.title = document.at("title"), .kicker = "scalelab theory"};
  page.headline = findings.empty() ? page.title : findings[0].title;
  page.lead = fmt::format(
      "A teacher-student perceptron in the limit of many dimensions: of the examples at hand, a fraction is kept, and "
      "the max-margin student learns from those alone. The probe that ranks them stands {:g} degrees off the teacher.",
      document.at("probe_angle_degrees").get<double>());
  std::string charts = chart_html(error_chart(document));
  for (const char* keep : {"hard", "easy"}) {
    if (const auto map = ratio_map(document, keep)) charts += heat_map_html(*map);
  }
  page.sections.push_back(
      {.id = "charts", .title = "Error against data kept", .html = "<div class=\"panels\">" + charts + "</div>"});
  if (!findings.empty()) {
    page.sections.push_back({.id = "findings",
                             .title = "Findings",
                             .note = "Every sentence is worded from the numbers of this study.",
                             .html = findings_html(findings)});
  }
  page.methods = {
      "Inputs are Gaussian, labels the sign of the teacher's field. Hard examples lie near the probe's boundary, easy "
      "ones far from it; the fraction kept is what remains of the examples at hand.",
      "Error is the angle between student and teacher over \u03c0. The theory is the replica prediction by the "
      "max-margin formulation (Sorscher et al. 2022, arXiv 2206.14486), solved to about 1e-6.",
      "A random choice of the same size is the control throughout: the whole theory curve at the kept size."};
  if (any_simulated(rows_of(document))) {
    page.methods.emplace_back(
        "Simulated means stand with their 95 % interval, Student's t over draws; no two points share a draw.");
  }
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
