// The pages of the theory of pruning and of the curriculum on the XOR mixture, from their documents.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "host/program/words.h"
#include "host/studies/story.h"

namespace scalelab::host {

namespace {

double number_of(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

}  // namespace

Page theory_page(const nlohmann::json& document) {
  const auto& rows = document.at("rows");
  Page page{.title = "What choosing the data is worth at best", .kicker = "scalelab theory"};
  page.command = command_of(document);
  page.document = document;

  // What hard and easy do against a random choice of as many.
  std::vector<Finding> said;
  Finding crossing{.id = "crossover"};
  crossing.columns = {"kept", "fraction", "beats random from examples per dimension"};
  std::vector<std::string> from;
  for (const auto& entry : document.at("crossovers")) {
    const double alpha = number_of(entry.at("alpha_total"));
    const std::string keep = entry.at("keep");
    const auto fraction = entry.at("fraction").get<double>();
    crossing.table.push_back(
        {keep, fmt::format("{:g}", fraction), std::isfinite(alpha) ? fmt::format("{:.2f}", alpha) : "no single size"});
    if (keep == "hard" && std::isfinite(alpha))
      from.push_back(fmt::format("{:.2f} (keeping {:g} %)", alpha, 100 * fraction));
  }
  if (!from.empty()) {
    crossing.title =
        fmt::format("Keeping the hardest examples beats a random choice of as many only from {} examples per dimension",
                    listed(from));
    crossing.text =
        "Below that size the hard examples mislead and a random choice is better; above it, choosing is worth more the "
        "more data there is to choose from. The probe that says what is hard is the teacher itself here.";
    said.push_back(crossing);
  }
  Finding against{.id = "hard-or-easy"};
  against.columns = {"examples per dimension", "fraction", "kept", "error", "error of a random choice", "ratio"};
  std::map<std::string, std::pair<int, int>> wins;  // by rule: better than random, of
  for (const auto& row : rows) {
    const std::string keep = row.at("keep");
    if (keep == "random") continue;
    const auto error = row.at("error").get<double>(), random = row.at("error_random").get<double>();
    auto& [better, of] = wins[keep];
    better += error < random;
    ++of;
    against.table.push_back({fmt::format("{:g}", row.at("alpha_total").get<double>()),
                             fmt::format("{:g}", row.at("fraction").get<double>()), keep, fmt::format("{:.5f}", error),
                             fmt::format("{:.5f}", random), fmt::format("{:.3f}", error / random)});
  }
  if (!wins.empty()) {
    std::vector<std::string> parts;
    for (const auto& [keep, count] : wins) {
      parts.push_back(fmt::format("keeping the {} beats a random choice of as many at {} of {} points", keep,
                                  count.first, count.second));
    }
    against.title = listed(parts);
    against.title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(against.title[0])));
    against.text = "Solved exactly, so that no seed and no interval is needed: the limit of many dimensions.";
    said.push_back(against);
  }
  // Simulations beside the theory.
  Finding simulated{.id = "simulation"};
  simulated.columns = {"examples per dimension", "fraction", "kept", "theory", "simulated", "standard error", "ratio"};
  int outside = 0;
  for (const auto& row : rows) {
    if (!row.contains("simulated")) continue;
    const auto& s = row.at("simulated");
    const auto error = row.at("error").get<double>();
    const double mean = number_of(s.at("mean")), deviation = number_of(s.at("standard_error"));
    outside += std::abs(mean - error) > 2 * deviation + 0.03 * error;
    simulated.table.push_back({fmt::format("{:g}", row.at("alpha_total").get<double>()),
                               fmt::format("{:g}", row.at("fraction").get<double>()), row.at("keep"),
                               fmt::format("{:.5f}", error), fmt::format("{:.5f}", mean),
                               fmt::format("{:.5f}", deviation), fmt::format("{:.3f}", mean / error)});
  }
  if (!simulated.table.empty()) {
    simulated.title = fmt::format("{} of {} simulated points lie within two standard errors and 3 % of the theory",
                                  simulated.table.size() - static_cast<std::size_t>(outside), simulated.table.size());
    simulated.text =
        "Max-margin perceptrons trained on finite draws; at finite dimension the error lies a little lower.";
    said.push_back(simulated);
  }

  // Error against the examples that are kept; a random choice of as many is the control.
  Chart chart{.id = "error",
              .title = said.empty() ? page.title : said.front().title,
              .subtitle =
                  "Test error of the max-margin perceptron against examples kept per dimension, both axes "
                  "logarithmic. Lines are theory; hollow marks with bars are simulations and their 95 % "
                  "interval.",
              .x = {.title = "examples kept per dimension", .short_name = "kept", .logarithmic = true},
              .y = {.title = "test error", .logarithmic = true, .percent = true},
              .lines = {},
              .command = page.command};
  std::map<double, double> random;
  std::map<std::pair<std::string, double>, Line> lines, simulations;
  for (const auto& row : rows) {
    const auto alpha = row.at("alpha_total").get<double>(), fraction = row.at("fraction").get<double>();
    const std::string keep = row.at("keep");
    random[alpha * fraction] = row.at("error_random").get<double>();
    const bool control = keep == "random";
    const std::string name = control ? "random" : fmt::format("{} {:g} %", keep, 100 * fraction);
    const auto key = std::pair{keep, control ? 0 : -fraction};
    Line& line = lines[key];
    line.name = name;
    line.dashed = keep == "easy";
    line.control = control;
    if (!control) line.marks.push_back({.x = alpha * fraction, .y = row.at("error").get<double>(), .note = "theory"});
    if (!row.contains("simulated")) continue;
    const auto& s = row.at("simulated");
    const double mean = number_of(s.at("mean")), reach = 1.96 * number_of(s.at("standard_error"));
    Line& dots = simulations[key];
    dots.name = name;
    dots.control = control;
    dots.joined = false;
    dots.hollow = true;
    dots.marks.push_back(
        {.x = alpha * fraction, .y = mean, .low = mean - reach, .high = mean + reach, .note = "simulated"});
  }
  Line& control = lines[{"random", 0}];
  control.name = "random";
  control.control = true;
  control.marks.clear();
  for (const auto& [kept, error] : random) control.marks.push_back({.x = kept, .y = error, .note = "theory"});
  for (auto& [key, line] : lines) chart.lines.push_back(std::move(line));
  for (auto& [key, line] : simulations) chart.lines.push_back(std::move(line));

  std::string html = chart_html(chart);
  for (const std::string keep : {"hard", "easy"}) {
    std::set<double> alphas, fractions;
    std::map<std::pair<double, double>, double> ratios;
    for (const auto& row : rows) {
      if (row.at("keep") != keep) continue;
      const auto alpha = row.at("alpha_total").get<double>(), fraction = row.at("fraction").get<double>();
      alphas.insert(alpha);
      fractions.insert(fraction);
      ratios[{fraction, alpha}] = row.at("error").get<double>() / row.at("error_random").get<double>();
    }
    if (alphas.size() < 2 || fractions.empty()) continue;
    HeatMap map{.id = "map-" + keep,
                .title = fmt::format("Keeping the {}: error as a multiple of that of a random choice of as many", keep),
                .subtitle = "Below 1 (blue) choosing pays. Coloured by the logarithm.",
                .x_title = "examples per dimension to choose from",
                .y_title = "fraction kept",
                .centre = 0.0,
                .low_text = "better than random",
                .high_text = "worse",
                .command = page.command};
    for (const double alpha : alphas) map.columns.push_back(fmt::format("{:g}", alpha));
    for (auto f = fractions.rbegin(); f != fractions.rend(); ++f) {
      map.rows.push_back(fmt::format("{:g}", *f));
      auto& values = map.values.emplace_back();
      auto& texts = map.texts.emplace_back();
      for (const double alpha : alphas) {
        const auto found = ratios.find({*f, alpha});
        values.push_back(found == ratios.end() ? std::nan("") : std::log(found->second));
        texts.push_back(found == ratios.end() ? "\u2013" : fmt::format("{:.2f}", found->second));
      }
    }
    html += heat_map_html(map);
  }
  page.headline = said.empty() ? page.title : said.front().title;
  page.lead = fmt::format(
      "A teacher-student perceptron in the limit of many dimensions: of the examples at hand, a fraction is kept, and "
      "the max-margin student learns from those alone. The probe that ranks them stands {:g} degrees off the teacher.",
      document.at("probe_angle_degrees").get<double>());
  page.sections.push_back(
      {.id = "charts", .title = "Error against data kept", .html = "<div class=\"panels\">" + html + "</div>"});
  page.sections.push_back({.id = "findings", .title = "What it says", .html = findings_html(said)});
  page.methods = {
      "Inputs are Gaussian, labels the sign of the teacher's field. Hard examples lie near the probe's boundary, easy "
      "ones far from it; the fraction kept is what remains of the examples at hand.",
      "Error is the angle between student and teacher over \u03c0. The theory is the replica prediction by the "
      "max-margin formulation (Sorscher et al. 2022, arXiv 2206.14486), solved to about 1e-6.",
      "A random choice of as many examples is the control throughout: the whole theory curve at the kept size."};
  return page;
}

Page curriculum_page(const nlohmann::json& document) {
  const auto& rows = document.at("rows");
  const auto& problem = document.at("problem");
  const std::size_t seeds = document.at("seeds").size();
  const std::vector<std::string> orders = {"curriculum", "random", "anti"};
  const std::map<std::string, std::string> names = {
      {"curriculum", "easy first"}, {"random", "mixed"}, {"anti", "hard first"}};
  const std::map<std::string, std::string> colours = {
      {"curriculum", "blue"}, {"random", "control"}, {"anti", "orange"}};
  Page page{.title = "Easy first, hard first or mixed", .kicker = "scalelab curriculum"};
  page.command = command_of(document);
  page.document = document;

  Finding gain{.id = "gain"};
  gain.columns = {"width",   "easy first minus mixed", "95 % interval",
                  "verdict", "hard first minus mixed", "95 % interval",
                  "verdict"};
  std::vector<std::string> better, open, worse;
  double most = -1, most_low = 0, most_high = 0;
  std::string at;
  Chart difference{.id = "difference",
                   .title = "",
                   .subtitle =
                       "Accuracy minus that of the mixed order, on hard examples at the end of the budget, paired "
                       "over seeds, with 95 % intervals, against width.",
                   .x = {.title = "hidden units", .short_name = "width", .logarithmic = true},
                   .y = {.title = "difference in accuracy", .percent = true, .zero_line = true},
                   .lines = {},
                   .command = page.command};
  Chart accuracy{.id = "accuracy",
                 .title = "Accuracy on hard examples against width",
                 .subtitle = "Mean over seeds at the end of the budget, with 1.96 standard errors either side.",
                 .x = difference.x,
                 .y = {.title = "accuracy", .percent = true},
                 .lines = {},
                 .command = page.command,
                 .low = true};
  HeatMap map{.id = "map",
              .title = "Width against order",
              .subtitle =
                  "Accuracy minus that of the mixed order, in points of per cent; in brackets where the 95 % "
                  "interval holds zero.",
              .x_title = "hidden units",
              .y_title = "order",
              .centre = 0.0,
              .low_text = "worse than mixed",
              .high_text = "better",
              .command = page.command};
  const nlohmann::json* chosen = nullptr;
  for (const auto& row : rows) {
    const auto width = row.at("width").get<double>();
    difference.x.ticks.push_back(width);
    accuracy.x.ticks.push_back(width);
    map.columns.push_back(fmt::format("{:g}", width));
    std::vector<std::string> line = {fmt::format("{:g}", width)};
    for (const std::string order : {"curriculum", "anti"}) {
      const auto& d = row.at(order + "_minus_random");
      const double mean = number_of(d.at("mean")), low = number_of(d.at("low")), high = number_of(d.at("high"));
      const int verdict = d.at("verdict");
      line.insert(line.end(), {fmt::format("{:+.4f}", mean), fmt::format("{:+.4f} to {:+.4f}", low, high),
                               verdict > 0   ? "higher"
                               : verdict < 0 ? "lower"
                                             : "open"});
      if (order == "curriculum") {
        (verdict > 0 ? better : verdict < 0 ? worse : open).push_back(fmt::format("{:g}", width));
        if (mean > most) {
          most = mean;
          most_low = low;
          most_high = high;
          at = fmt::format("{:g}", width);
          chosen = &row;
        }
      }
    }
    gain.table.push_back(line);
  }
  for (const std::string& order : orders) {
    Line final{.name = names.at(order), .control = order == "random", .colour = colours.at(order)};
    Line minus = final;
    std::vector<double> values;
    std::vector<std::string> texts;
    for (const auto& row : rows) {
      const auto width = row.at("width").get<double>();
      const auto& end = row.at(order).at("course").back();
      const double mean = number_of(end.at("accuracy")), reach = 1.96 * number_of(end.at("standard_error"));
      final.marks.push_back({.x = width, .y = mean, .low = mean - reach, .high = mean + reach, .note = "mean"});
      if (order == "random") {
        minus.marks.push_back({.x = width, .y = 0, .note = "control"});
        continue;
      }
      const auto& d = row.at(order + "_minus_random");
      minus.marks.push_back({.x = width,
                             .y = number_of(d.at("mean")),
                             .low = number_of(d.at("low")),
                             .high = number_of(d.at("high")),
                             .note = "mean"});
      values.push_back(number_of(d.at("mean")));
      texts.push_back(d.at("verdict") == 0 ? fmt::format("({:+.2f})", 100 * values.back())
                                           : fmt::format("{:+.2f}", 100 * values.back()));
    }
    accuracy.lines.push_back(std::move(final));
    difference.lines.push_back(std::move(minus));
    if (order == "random") continue;
    map.rows.push_back(names.at(order));
    map.values.push_back(values);
    map.texts.push_back(texts);
  }
  std::vector<std::string> parts;
  if (!better.empty()) parts.push_back("pays at width " + listed(better));
  if (!worse.empty()) parts.push_back("costs at width " + listed(worse));
  if (!open.empty()) parts.push_back("is open at width " + listed(open));
  gain.title = "Easy first " + listed(parts);
  if (!better.empty()) {
    gain.text = fmt::format("Most at width {}: {:+.2f} points of accuracy ({:+.2f} to {:+.2f}). ", at, 100 * most,
                            100 * most_low, 100 * most_high);
  }
  gain.text += fmt::format(
      "Compared at a fixed budget of {:g} (steps over dimensions): given longer, ending on easy examples lowers the "
      "noise of the descent and the comparison turns. A verdict needs a 95 % interval that leaves zero out and at "
      "least three seeds.",
      problem.at("time").get<double>());
  difference.title = gain.title;
  std::string html = chart_html(difference) + heat_map_html(map) + chart_html(accuracy);
  if (chosen != nullptr) {
    Chart course{.id = "course",
                 .title = fmt::format("The course of a run at width {}", at),
                 .subtitle = "Mean accuracy on hard examples over the budget; time is steps over dimensions.",
                 .x = {.title = "time", .short_name = "time", .zero = true},
                 .y = {.title = "accuracy", .percent = true},
                 .lines = {},
                 .command = page.command,
                 .low = true};
    for (const std::string& order : orders) {
      Line line{.name = names.at(order), .control = order == "random", .colour = colours.at(order)};
      for (const auto& entry : chosen->at(order).at("course")) {
        line.marks.push_back({.x = number_of(entry.at("time")), .y = number_of(entry.at("accuracy")), .note = "mean"});
      }
      course.lines.push_back(std::move(line));
    }
    html += chart_html(course);
  }
  page.headline = gain.title;
  page.lead = fmt::format(
      "Two-layer networks learn an XOR of four clusters in {} dimensions, one example at a time. Half the examples are "
      "easy, half hard; what changes is only their order. {} seeds, the same start and the same examples in each "
      "order.",
      problem.at("dimension").get<int>(), seeds);
  page.sections.push_back(
      {.id = "charts", .title = "Order against width", .html = "<div class=\"panels\">" + html + "</div>"});
  page.sections.push_back({.id = "findings", .title = "What the seeds carry", .html = findings_html({gain})});
  page.methods = {
      fmt::format(
          "Four clusters of equal mass, those opposite of one label; variance {:g} (easy) and {:g} (hard). Online "
          "gradient descent, batch 1, rate {:g}, start {:g}, activation {}; best possible accuracy on hard "
          "examples {:.4f}.",
          problem.at("easy_variance").get<double>(), problem.at("hard_variance").get<double>(),
          problem.at("rate").get<double>(), problem.at("start").get<double>(), problem.at("gate").get<std::string>(),
          1 - document.at("bayes_error").at("hard").get<double>()),
      "Accuracy is on fresh hard examples; an output of exactly zero counts as wrong.",
      "Setting after Sarao Mannelli et al. 2024 (doi 10.1088/1742-5468/ad864b)."};
  return page;
}

}  // namespace scalelab::host
