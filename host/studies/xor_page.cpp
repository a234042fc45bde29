// The page of `xor`: errors of three orders against width, and along a run.
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <optional>

#include "host/program/environment.h"
#include "host/program/words.h"
#include "host/studies/orders.h"
#include "host/studies/study.h"
#include "host/studies/xor_study.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr const char* kOrders[] = {"curriculum", "anti", "random"};

const Json& summary_of(const Json& arm, const Json& width, const std::string& order) {
  for (const Json& entry : arm.at("summary")) {
    if (entry.at("params").at("width") == width && entry.at("params").at("order") == order) return entry;
  }
  throw Failure(kBadData, fmt::format("no summary of width {} and order {}", width.dump(), order));
}

// The contrasts of an order with random, by width.
const Json& contrasts_of(const Json& document, const std::string& order) {
  for (const Json& finding : document.at("findings")) {
    if (finding.at("id") == order) return finding.at("contrasts");
  }
  throw Failure(kBadData, fmt::format("no finding on {}", order));
}

Line line_of(const std::string& order) {
  return {.name = fmt::format("{} ({})", order, order_words(order)), .control = order == std::string("random")};
}

// A mark of a mean with its interval; `factor` 100 shows points.
Mark mark_of(double x, const Json& summary, double factor, const std::string& note) {
  return {.x = x,
          .y = factor * number_of(summary.at("mean")),
          .low = factor * number_of(summary.at("low")),
          .high = factor * number_of(summary.at("high")),
          .note = note};
}

std::string seeds_note(const Json& document) {
  return fmt::format("mean of {}", counted(std::ssize(document.at("seeds")), "seed"));
}

Axis width_axis(const Json& document) {
  Axis axis{.title = "hidden units", .short_name = "width", .logarithmic = true};
  for (const Json& width : document.at("widths")) axis.ticks.push_back(width.get<double>());
  return axis;
}

// The budget of an arm, in words.
std::string budget_words(const Json& problem) {
  return fmt::format("time {:g}, {}", problem.at("time").get<double>(),
                     problem.at("decay").get<bool>() ? "the rate falling to 0" : "at a constant rate");
}

// `end`: of the ids, "-long" for the long budget; `problem`: that of the arm.
Chart difference_chart(const Json& document, const Json& problem, const std::string& end) {
  Chart chart{.id = "difference" + end,
              .title = fmt::format("Error minus that of the random order: {}", budget_words(problem)),
              .subtitle =
                  "On hard examples at the end of the budget, paired over seeds, in percentage points with "
                  "95 % intervals. Below zero the order helps.",
              .x = width_axis(document),
              .y = Axis{.title = "difference in error, points", .zero_line = true},
              .lines = {},
              .command = command_of(document)};
  for (const std::string order : kOrders) {
    Line line = line_of(order);
    if (line.control) {
      for (const double width : chart.x.ticks) line.marks.push_back({.x = width, .y = 0, .note = "control"});
    } else {
      for (const Json& c : contrasts_of(document, order + end)) {
        line.marks.push_back(mark_of(c.at("place").at("width"), c, 100, c.at("verdict")));
      }
    }
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

std::string whole(double value) { return fmt::format("{:g}", value); }

HeatMap order_map(const Json& document, const Json& problem, const std::string& end) {
  HeatMap map{.id = "map" + end,
              .title = fmt::format("Order by width: {}", budget_words(problem)),
              .subtitle =
                  "Error minus that of the random order, in percentage points; in brackets where the verdict "
                  "is undecided.",
              .x_title = "hidden units",
              .y_title = "order",
              .command = command_of(document)};
  HeatCells cells;
  for (const std::string order : {"curriculum", "anti"}) {
    for (const Json& c : contrasts_of(document, order + end)) {
      cells.add_difference(order, c.at("place").at("width"), c);
    }
  }
  return cells.fill(difference_map(std::move(map)), whole);
}

Chart error_chart(const Json& document) {
  Chart chart{.id = "error",
              .title = "Error on hard examples against width",
              .subtitle = "Mean over seeds at the end of the budget, with its 95 % interval.",
              .x = width_axis(document),
              .y = Axis{.title = "test error", .percent = true},
              .lines = {},
              .command = command_of(document),
              .low = true};
  for (const std::string order : kOrders) {
    Line line = line_of(order);
    for (const Json& width : document.at("widths")) {
      line.marks.push_back(
          mark_of(width, summary_of(document, width, order).at("test_error"), 1, seeds_note(document)));
    }
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

// Along a run, at the width at which easy first is furthest below the random order.
Chart course_chart(const Json& document) {
  const Json* furthest = nullptr;
  for (const Json& c : contrasts_of(document, "curriculum")) {
    if (furthest == nullptr || number_of(c.at("mean")) < number_of(furthest->at("mean"))) furthest = &c;
  }
  if (furthest == nullptr) throw Failure(kBadData, "its contrasts are empty");
  const Json& width = furthest->at("place").at("width");
  Chart chart{.id = "course",
              .title = fmt::format("The course of a run at width {}", width.dump()),
              .subtitle =
                  "The width at which curriculum has the lowest error beside random. Mean error on hard "
                  "examples with its 95 % interval; time is steps over dimensions.",
              .x = Axis{.title = "time", .short_name = "time", .zero = true},
              .y = Axis{.title = "test error", .percent = true},
              .lines = {},
              .command = command_of(document),
              .low = true};
  for (const std::string order : kOrders) {
    Line line = line_of(order);
    for (const Json& point : summary_of(document, width, order).at("course")) {
      line.marks.push_back(mark_of(point.at("time"), point, 1, seeds_note(document)));
    }
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

// How long half of the networks need to the target, by width.
std::optional<Chart> time_chart(const Json& document) {
  Chart chart{
      .id = "time-to-target",
      .title = fmt::format("Time to an error of {} %", percent(document.at("target_error").get<double>())),
      .subtitle =
          "When half of the seeds have come to it, within the short budget; time is steps over dimensions. Widths at "
          "which less than half come to it have no point.",
      .x = width_axis(document),
      .y = Axis{.title = "median time", .zero = true},
      .lines = {},
      .command = command_of(document),
      .low = true};
  std::set<double> reached;
  for (const std::string order : kOrders) {
    Line line = line_of(order);
    for (const Json& width : document.at("widths")) {
      const double time = number_of(summary_of(document, width, order).at("median_time"));
      if (!std::isfinite(time)) continue;
      line.marks.push_back({.x = width, .y = time, .note = seeds_note(document)});
      reached.insert(width.get<double>());
    }
    if (!line.marks.empty()) chart.lines.push_back(std::move(line));
  }
  chart.x.ticks.assign(reached.begin(), reached.end());
  return reached.empty() ? std::nullopt : std::optional(chart);
}

// Arms by their share of easy examples, that of the document itself among them.
std::map<double, const Json*> by_share(const Json& document) {
  std::map<double, const Json*> arms;
  for (const Json& arm : document.at("shares")) arms[arm.at("easy_share")] = &arm;
  if (!arms.empty()) arms[document.at("problem").at("easy_share")] = &document;
  return arms;
}

std::string share_words(double share) { return fmt::format("{:g} %", 100 * share); }

// The error of a random order by share and width.
std::optional<HeatMap> share_map(const Json& document) {
  HeatCells cells;
  for (const auto& [share, arm] : by_share(document)) {
    for (const Json& width : document.at("widths")) {
      const Json& error = summary_of(*arm, width, "random").at("test_error");
      const double mean = number_of(error.at("mean"));
      const Interval interval{number_of(error.at("low")), number_of(error.at("high"))};
      cells.add(share_words(share), width, mean, percent(mean), worded(interval, percent));
    }
  }
  if (cells.empty()) return std::nullopt;
  HeatMap map{.id = "map-shares",
              .title = "The share of easy examples: error of the random order",
              .subtitle = "On hard examples at the end of the short budget, in per cent.",
              .x_title = "hidden units",
              .y_title = "share of easy examples",
              .unit = "%",
              .low_text = "lower",
              .high_text = "higher",
              .command = command_of(document)};
  return cells.fill(std::move(map), whole);
}

// Easy first minus the random order, by share and width.
std::optional<HeatMap> share_order_map(const Json& document) {
  std::map<double, std::vector<const Json*>> by_share;
  for (const Json& finding : document.at("findings")) {
    if (finding.at("id") != "shares") continue;
    for (const Json& c : finding.at("contrasts")) by_share[c.at("place").at("share")].push_back(&c);
  }
  HeatCells cells;
  for (const auto& [share, contrasts] : by_share) {
    for (const Json* c : contrasts) cells.add_difference(share_words(share), c->at("place").at("width"), *c);
  }
  if (cells.empty()) return std::nullopt;
  HeatMap map{
      .id = "map-share-order",
      .title = "The share of easy examples: easy first minus the random order",
      .subtitle = "At the end of the short budget, in percentage points; in brackets where the verdict is undecided.",
      .x_title = "hidden units",
      .y_title = "share of easy examples",
      .command = command_of(document)};
  return cells.fill(difference_map(std::move(map)), whole);
}

// Every panel of the page.
std::string panels_html(const Json& document) {
  const Json& problem = document.at("problem");
  std::string html =
      chart_html(difference_chart(document, problem, "")) + heat_map_html(order_map(document, problem, ""));
  if (!document.at("long").is_null()) {
    const Json& longer = document.at("long").at("problem");
    html +=
        chart_html(difference_chart(document, longer, "-long")) + heat_map_html(order_map(document, longer, "-long"));
  }
  if (const auto map = share_map(document)) html += heat_map_html(*map);
  if (const auto map = share_order_map(document)) html += heat_map_html(*map);
  html += chart_html(error_chart(document));
  if (const auto chart = time_chart(document)) html += chart_html(*chart);
  return html + chart_html(course_chart(document));
}

std::string series_html(const Json& document) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& entry : document.at("summary")) {
    const Json& error = entry.at("test_error");
    Summary summary{.n = static_cast<int>(error.at("seeds").size()), .mean = number_of(error.at("mean"))};
    summary.interval = {number_of(error.at("low")), number_of(error.at("high"))};
    rows.push_back({entry.at("params").at("width").dump(), text_of(entry.at("params").at("order")),
                    std::to_string(summary.n), worded(summary)});
  }
  const std::vector<std::string> columns = {"width", "order", "seeds", "test error, %"};
  return "<p>" + download_html("CSV", "series.csv", "text/csv", csv_of(columns, rows)) + "</p>" +
         table_html(columns, rows, "Mean over seeds with its 95 % interval (Student's t), in %");
}

}  // namespace

Page xor_page(const Json& document) {
  const Json& problem = document.at("problem");
  std::vector<Finding> findings = findings_from(document);
  for (Finding& finding : findings) finding.title = capitalized(finding.title);
  Page page{.title = document.at("title"), .kicker = "scalelab xor", .headline = findings.at(0).title};
  page.lead = fmt::format(
      "Two-layer networks learn an XOR of four clusters in {} dimensions, one example at a time; {:g} % of the "
      "examples are easy, the others hard. What changes is only their order: {} seeds, the same start and the same "
      "examples in each order.",
      problem.at("dimension").get<int>(), 100 * problem.at("easy_share").get<double>(), document.at("seeds").size());
  page.sections = {{.id = "charts",
                    .title = "Order against width",
                    .html = "<div class=\"panels\">" + panels_html(document) + "</div>"},
                   {.id = "findings",
                    .title = "Findings",
                    .note = "Every sentence is worded from the numbers of this study.",
                    .html = findings_html(findings)},
                   {.id = "table", .title = "Every series", .html = series_html(document)}};
  page.methods = {
      fmt::format(
          "Four clusters of equal mass, those opposite of one label; variance {:g} (easy) and {:g} (hard). Online "
          "gradient descent, batch 1, rate {:g}{}, start {:g}, activation {}; the best possible error on hard examples "
          "is {} %.",
          problem.at("easy_variance").get<double>(), problem.at("hard_variance").get<double>(),
          problem.at("rate").get<double>(), problem.at("decay").get<bool>() ? " falling to 0" : "",
          problem.at("start").get<double>(), text_of(problem.at("gate")),
          percent(document.at("bayes_error").at("hard").get<double>())),
      "curriculum: easy examples first; anti: hard ones first; random: mixed. Error is on fresh hard examples; an "
      "output of exactly zero counts as wrong.",
      kVerdictMethods, "Setting after Sarao Mannelli et al. 2024 (doi 10.1088/1742-5468/ad864b)."};
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
