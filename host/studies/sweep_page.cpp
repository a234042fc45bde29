// The page of a sweep: errors over n (or what else varies) on logarithmic axes, laws, maps of what two members do.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "host/lab/difficulty.h"
#include "host/program/environment.h"
#include "host/program/words.h"
#include "host/studies/panels.h"
#include "host/studies/study.h"
#include "host/studies/sweep_study.h"

namespace scalelab::host {

namespace {

// More laws than these would hide a chart's points; the findings have them all.
constexpr std::size_t kMostLaws = 5;
// More dots than these at one place are one blot, and more rows of a map a pattern that nobody reads.
constexpr std::size_t kMostDots = 200, kMostMapRows = 200;

double mean_of(const Series& series, const std::string& error) { return series.of(error).summary().mean; }

// The curve fitted without the largest size, in its bootstrap band over seeds, and what it says at that size.
DrawnLaw drawn(const CurveLaw& law) {
  const LawFit& fit = *law.fit();
  DrawnLaw result{.text = law.worded()};
  for (const auto& [n, error, interval] : fit.band) {
    result.curve.push_back({.x = n, .y = error, .low = interval.low, .high = interval.high});
  }
  result.predicted = Mark{.x = law.law.sizes.back(),
                          .y = fit.predicted,
                          .low = fit.predicted_interval.low,
                          .high = fit.predicted_interval.high};
  return result;
}

// The names of the lines of a chart, the controls among them: more than these would hide each other. The lowest stay:
// at their last place, as a share of the control's error there, or where no control is, all at one place.
constexpr std::size_t kMostLines = 8;  // as many as there are colours
std::set<std::string> drawn_curves(const Curves& all, const std::string& error) {
  double last = -HUGE_VAL;
  for (const Curve& curve : all.curves) last = std::max(last, curve.points.rbegin()->first);
  std::vector<std::pair<double, std::string>> order;
  std::set<std::string> names;
  for (const Curve& curve : all.curves) {
    if (curve.control || all.curves.size() <= kMostLines) {
      names.insert(curve.name);
      continue;
    }
    const auto& [member, point] = *curve.points.rbegin();
    const double mean = mean_of(*point.series, error);
    const Series* control = all.control_of(*point.series);
    if (std::isnan(mean) || (control == nullptr && member < last)) continue;
    order.emplace_back(control == nullptr ? mean : mean / mean_of(*control, error), curve.name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < std::min(kMostLines, order.size()); ++i) names.insert(order[i].second);
  return names;
}

Line line_of(const Curve& curve, const std::string& error) {
  Line line{.name = curve.name, .control = curve.control};
  for (const auto& [member, point] : curve.points) {
    const SeedErrors& errors = point.series->of(error);
    const char* unit_name = errors.over_worlds() ? "world" : "seed";
    std::size_t dots = 0;
    for (const auto& [unit, value] : errors.by_unit()) {
      if (++dots > kMostDots) break;
      line.samples.push_back({.x = point.x, .y = value, .note = fmt::format("{} {}", unit_name, unit)});
    }
    if (errors.empty()) continue;
    const Summary summary = errors.summary();
    line.marks.push_back({.x = point.x,
                          .y = summary.mean,
                          .low = summary.interval.low,
                          .high = summary.interval.high,
                          .note = fmt::format("mean of {}", counted(summary.n, unit_name))});
  }
  return line;
}

// The dense network is not pruned and has one place; its error is drawn across, for the tickets to be held against.
std::optional<Line> level_of(const Curves& all, const Curve& curve, const std::string& error) {
  if (all.x != "level" || curve.trial.ticket != "dense" || curve.points.empty()) return std::nullopt;
  const double mean = mean_of(*curve.points.begin()->second.series, error);
  if (std::isnan(mean)) return std::nullopt;
  double last = 0;
  for (const Curve& other : all.curves) last = std::max(last, other.points.rbegin()->first);
  return Line{.name = curve.name,
              .marks = {{.x = curve.points.begin()->first, .y = mean, .note = "the dense network"},
                        {.x = last, .y = mean, .note = "the dense network"}},
              .dashed = true,
              .thin = true,
              .bare = true};
}

Axis axis_of(const Curves& all) {
  std::set<double> xs;
  for (const Curve& curve : all.curves) {
    for (const auto& [member, point] : curve.points) xs.insert(point.x);
  }
  Axis axis{.title = all.x == "n" && !all.kept ? "training points n" : all.axis(),
            .short_name = all.kept ? "kept" : all.axis(),
            .logarithmic = *xs.begin() > 0 && *xs.rbegin() >= 8 * *xs.begin()};
  if (xs.size() <= 24 && !all.kept) axis.ticks.assign(xs.begin(), xs.end());
  return axis;
}

Chart chart_of(const Curves& all, const std::string& error, const std::string& title, bool switched) {
  // Errors of zero have no place on a logarithmic axis; many laws would hide the points.
  bool positive = true;
  std::size_t laws = 0, most = 0;
  for (const Curve& curve : all.curves) {
    laws += curve.laws.contains(error);
    for (const auto& [member, point] : curve.points) {
      positive = positive && !(mean_of(*point.series, error) <= 0);
      most = std::max(most, point.series->of(error).by_unit().size());
    }
  }
  const bool with_laws = laws > 0 && laws <= kMostLaws;
  const std::string name = short_measure(error);
  Chart chart{.id = "error-" + name,
              .title = title,
              .subtitle = fmt::format(
                  "{} error against {}. Small dots are single seeds{}; lines join means over seeds, "
                  "with their 95 % intervals.{}",
                  capitalized(name), axis_of(all).title,
                  most > kMostDots
                      ? fmt::format(" (the first {} of up to {})", kMostDots, grouped(static_cast<std::int64_t>(most)))
                      : "",
                  with_laws ? " Dotted, in its 95 % bootstrap band: the law fitted without "
                              "the largest size, and the diamond is what it predicts there."
                            : ""),
              .x = axis_of(all),
              .y = Axis{.title = name + " error", .logarithmic = positive, .percent = true, .zero = !positive},
              .lines = {},
              .measure = switched ? name : ""};
  const std::set<std::string> shown = drawn_curves(all, error);
  if (shown.size() < all.curves.size()) {
    chart.subtitle += fmt::format(
        " Drawn are the {} lines of {} that are lowest at their largest {}, and the controls; all are in the table at "
        "the end.",
        kMostLines, all.curves.size(), all.x);
  }
  for (const Curve& curve : all.curves) {
    if (!shown.contains(curve.name)) continue;
    Line line = line_of(curve, error);
    if (with_laws && curve.laws.contains(error)) line.law = drawn(curve.laws.at(error));
    chart.lines.push_back(std::move(line));
    if (auto level = level_of(all, curve, error)) {
      chart.lines.push_back(std::move(*level));
      chart.subtitle += " Dashed: the error of the dense network, to hold the tickets against.";
    }
  }
  return chart;
}

// The cells of a map: differences to the controls, or errors by their logarithm.
HeatCells difference_cells(const Curves& all, const std::string& error) {
  HeatCells cells;
  for (const Contrast& c : all.against_controls(error)) {
    cells.add_difference(c.what, c.place.at(all.x), c.difference.mean, c.difference.interval,
                         verdict_word(c.verdict()));
  }
  return cells;
}
HeatCells error_cells(const Curves& all, const std::string& error) {
  HeatCells cells;
  double least = 1;  // above zero; an error of 0 has its colour
  for (const Curve& curve : all.curves) {
    for (const auto& [member, point] : curve.points) {
      const double mean = mean_of(*point.series, error);
      if (mean > 0) least = std::min(least, mean);
    }
  }
  for (const Curve& curve : all.curves) {
    for (const auto& [member, point] : curve.points) {
      const Summary of_point = point.series->of(error).summary();
      if (std::isnan(of_point.mean)) continue;
      cells.add(curve.name, member, std::log(std::max(of_point.mean, least)), percent(of_point.mean),
                worded(of_point.interval, percent));
    }
  }
  return cells;
}

// The members across, curves down: the difference to the control, or the error itself where there is none.
std::optional<HeatMap> map_of(const Curves& all, const std::string& error, bool switched) {
  const bool controlled =
      std::any_of(all.curves.begin(), all.curves.end(), [](const Curve& curve) { return curve.control; });
  const bool two = all.others.size() == 1 || controlled;
  if (!two || all.curves.size() < 2 || all.curves.size() > kMostMapRows) return std::nullopt;
  const HeatCells cells = controlled ? difference_cells(all, error) : error_cells(all, error);
  if (cells.columns() < 2) return std::nullopt;
  const std::string name = short_measure(error);
  HeatMap map{.id = "map-" + name,
              .title = controlled ? "Difference to the control"
                                  : capitalized(fmt::format("{} error by {} and {}", name, all.axis(), all.others[0])),
              .subtitle = controlled
                              ? fmt::format("{} error minus that of the control with the same members, paired over "
                                            "seeds, in percentage points; in brackets where the verdict is undecided.",
                                            capitalized(name))
                              : fmt::format("Mean {} error in per cent; coloured by its logarithm.", name),
              .x_title = all.x,
              .y_title = all.others.size() == 1 ? all.others[0] : "series",
              .unit = "%",
              .low_text = "lower",
              .high_text = "higher",
              .measure = switched ? name : ""};
  return cells.fill(controlled ? difference_map(std::move(map)) : std::move(map),
                    [&](double member) { return all.place(member); });
}

// "sweep" of "scalelab sweep scaling --out x".
std::string command_name(const nlohmann::json& document) {
  const std::string command = command_of(document);
  const std::size_t begin = command.find(' ');
  if (begin == std::string::npos) return "sweep";
  return command.substr(begin + 1, command.find(' ', begin + 1) - begin - 1);
}

// The chart of each error against the axis, and its map where two parameters vary.
std::string charts_html(const std::vector<Finding>& findings, const Curves& curves, const nlohmann::json& document) {
  const bool switched = curves.errors.size() > 1;
  std::string charts = study_panels(document, switched);
  for (const std::string& error : curves.errors) {
    if (curves.curves.empty()) break;
    // A chart is headed by the first finding about its error.
    const std::string end = "-" + short_measure(error);
    const auto about = std::find_if(findings.begin(), findings.end(), [&](const Finding& f) {
      return f.id.size() > end.size() && f.id.compare(f.id.size() - end.size(), end.size(), end) == 0;
    });
    // Not by the one that heads the page.
    const bool own = about != findings.end() && about != findings.begin();
    Chart chart = chart_of(curves, error,
                           own ? capitalized(about->title)
                               : capitalized(fmt::format("{} error against {}", short_measure(error), curves.axis())),
                           switched);
    chart.command = command_of(document);
    charts += chart_html(chart);
    if (auto map = map_of(curves, error, switched)) {
      map->command = chart.command;
      charts += heat_map_html(*map);
    }
  }
  return charts;
}

std::vector<std::string> methods_of(const Curves& curves) {
  std::vector<std::string> methods = {
      "One trial is one model on one set; a seed is one draw of points, one start and one order of samples. A smaller "
      "set is the beginning of a larger one of the same seed, so series are compared pair by pair.",
      "n is the number of rows before any choice, kept the number after it.",
      fmt::format(
          "Errors are against the true labels. Grid error: the share of the plane's cell centres. Density error: "
          "{}. Test error: the share of the test rows.",
          density_words(curves.series.empty() ? 0 : curves.series[0].trial.density_points)),
      "A network that failed to train (it collapsed to one class, or diverged) counts with the error it has; where "
      "leaving such networks out would change a verdict, the verdict says so.",
      kVerdictMethods,
      "The intervals of laws come from resamples of the seeds, stretched as Student's t asks for so few.",
      "Rows are the same bits resumed, sharded and in any order."};
  const auto any = [&](const auto& holds) { return std::any_of(curves.series.begin(), curves.series.end(), holds); };
  if (any([](const Series& s) { return s.trial.keep == "hard" || s.trial.keep == "easy"; })) {
    methods.push_back(fmt::format(
        "A choice of the hard or the easy rows keeps of each class at least {:g} times an equal part of what it "
        "keeps, as far as the class has as many rows; where it says floor 0 there is no such floor, and a score "
        "without labels is then a choice without labels. A random choice has no floor.",
        kClassFloor));
  }
  if (any([](const Series& s) { return !s.trial.fingerprint.empty(); })) {
    methods.push_back(std::string("Of a file the labels are its own. ") + kHeldOut);
  }
  return methods;
}

}  // namespace
Page sweep_page(const std::string& title, const std::vector<Finding>& findings, const Curves& curves,
                const std::vector<SweepRow>& rows, const nlohmann::json& document) {
  const std::string charts = charts_html(findings, curves, document);
  std::vector<Finding> said = findings;
  for (Finding& finding : said) finding.title = capitalized(finding.title);
  std::set<std::uint64_t> worlds, seeds;
  for (const SweepRow& row : rows) {
    seeds.insert(row.trial.seed);
    worlds.insert(row.trial.world);
  }
  const std::int64_t failed = document.value("failed", std::int64_t{0});
  const std::int64_t done = std::ssize(rows);
  Page page{.title = title,
            .kicker = "scalelab " + command_name(document),
            .headline = !said.empty()    ? said.front().title
                        : failed == done ? fmt::format("Nothing was found: {} failed", counted(failed, "trial"))
                                         : title,
            .lead = fmt::format("{}. {} of {} trials, {}{}.", title, grouped(done),
                                grouped(document.value("planned", done)), draws_words(worlds.size(), seeds.size()),
                                failed > 0 ? fmt::format(", {} failed", failed) : "")};
  if (!charts.empty()) {
    page.sections.push_back({.id = "charts", .title = "Charts", .html = "<div class=\"panels\">" + charts + "</div>"});
  }
  if (!said.empty()) {
    page.sections.push_back({.id = "findings",
                             .title = "Findings",
                             .note = "Every sentence is worded from the numbers of this study.",
                             .html = findings_html(said)});
  }
  const SeriesTable table = series_table(curves);
  page.sections.push_back(
      {.id = "table",
       .title = "Every series",
       .html =
           (table.rows.size() > kMostTableRows
                ? ""  // a file beside the page has them all
                : "<p>" + download_html("CSV", "series.csv", "text/csv", csv_of(table.columns, table.rows)) + "</p>") +
           table_html(table.columns, table.rows, "Mean over seeds with its 95 % interval (Student's t), in %",
                      "series.csv, beside this page")});
  page.methods = methods_of(curves);
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
