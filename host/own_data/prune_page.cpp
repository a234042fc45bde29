#include "host/own_data/prune_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/own_data/projection.h"
#include "host/program/environment.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr int kBins = 40;
constexpr std::size_t kMostPairs = 50;  // of near-duplicates on the page; removed.csv has all
constexpr std::int64_t kMostShown = 8;  // features of a row that a page shows

// Rows by score as three lines over the middles of the bins.
Chart histogram_chart(const Json& document) {
  const Json& histogram = document.at("histogram");
  const std::string score =
      document.at("score") == "file" ? "score" : "score " + document.at("score").get<std::string>();
  Chart chart{.id = "scores",
              .title = "Rows by their score",
              .subtitle = "Rows kept and removed, by how hard they are: higher scores are harder.",
              .x = Axis{.title = score, .short_name = "score"},
              .y = Axis{.title = "rows", .zero = true},
              .command = command_of(document)};
  const Json& edges = histogram.at("edges");
  struct Part {
    const char *member, *name, *colour;
  };
  for (const auto& [member, name, colour] : {Part{"kept", "kept", "blue"}, Part{"fraction", "removed", "orange"},
                                             Part{"near_duplicates", "removed: near-duplicates", "c2"}}) {
    Line line{.name = name, .colour = colour, .thin = true};
    bool any = false;
    for (std::size_t bin = 0; bin < histogram.at(member).size(); ++bin) {
      const double low = edges[bin], high = edges[bin + 1];
      line.marks.push_back({.x = 0.5 * (low + high), .y = histogram.at(member)[bin]});
      any |= histogram.at(member)[bin] != 0;
    }
    if (any) chart.lines.push_back(std::move(line));
  }
  return chart;
}

// Rows kept and removed where they lie.
Chart projection_chart(const Json& document, const LabelledRows& rows, const ChosenRows& choice) {
  const Projection plane = project(rows.values, rows.features, document.at("seed"));
  Chart chart{.id = "plane",
              .title = "Where the rows lie that stay",
              .x = Axis{.title = plane.x_title, .short_name = "x"},
              .y = Axis{.title = plane.y_title, .short_name = "y"},
              .command = command_of(document)};
  const auto shown = std::ssize(plane.rows);
  chart.subtitle = shown == rows.size() ? "Every row." : fmt::format("{} rows, chosen at random.", grouped(shown));
  if (rows.features > 2) chart.subtitle += " The plane in which they vary most: most of their features are not seen.";
  Line kept{.name = "kept", .colour = "blue", .joined = false},
      removed{.name = "removed", .colour = "orange", .joined = false};
  for (std::size_t i = 0; i < plane.rows.size(); ++i) {
    Line& line = choice.stays[static_cast<std::size_t>(plane.rows[i])] ? kept : removed;
    line.marks.push_back(
        {.x = plane.points[i][0], .y = plane.points[i][1], .note = fmt::format("row {}", plane.rows[i])});
  }
  chart.lines = {std::move(kept), std::move(removed)};
  return chart;
}

std::string classes_table(const Json& document) {
  std::vector<std::vector<std::string>> lines;
  for (const Json& entry : document.at("classes")) {
    const double n = entry.at("n"), kept = entry.at("kept");
    lines.push_back({text_of(entry.at("label")), grouped(entry.at("n")), grouped(entry.at("kept")),
                     percent(n > 0 ? kept / n : std::nan("")), percent(n / document.at("data").at("n").get<double>()),
                     percent(kept / document.at("kept").get<double>())});
  }
  return table_html({"class", "rows", "kept", "of them, %", "share before, %", "share after, %"}, lines,
                    "Classes before and after the choice");
}

// A row as text: its first features.
std::string row_text(const LabelledRows& rows, std::int64_t row) {
  std::string text;
  for (std::int64_t c = 0; c < std::min(rows.features, kMostShown); ++c) {
    text += fmt::format("{}{:.4g}", c > 0 ? ", " : "", rows.values[static_cast<std::size_t>(row * rows.features + c)]);
  }
  return rows.features > kMostShown ? text + ", \u2026" : text;
}

// Near-duplicates side by side, the nearest first.
std::string pairs_table(const LabelledRows& rows, const ChosenRows& choice, const std::vector<std::string>& names) {
  std::vector<const Duplicate*> pairs;
  for (const Duplicate& pair : choice.duplicates) pairs.push_back(&pair);
  const std::size_t shown = std::min(pairs.size(), kMostPairs);
  std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(shown), pairs.end(),
                    [](const Duplicate* a, const Duplicate* b) {
                      return a->cosine != b->cosine ? a->cosine > b->cosine : a->row < b->row;
                    });
  std::vector<std::string> columns = {"cosine", "removed row", "it holds", "kept row", "it holds"};
  const bool labelled = !rows.labels.empty();
  if (labelled) columns.insert(columns.end(), {"label removed", "label kept"});
  std::vector<std::vector<std::string>> lines;
  for (std::size_t i = 0; i < shown; ++i) {
    const Duplicate& pair = *pairs[i];
    lines.push_back({fmt::format("{:.6f}", pair.cosine), fmt::format("{}", pair.row), row_text(rows, pair.row),
                     fmt::format("{}", pair.matched), row_text(rows, pair.matched)});
    if (!labelled) continue;
    for (const std::int64_t row : {static_cast<std::int64_t>(pair.row), static_cast<std::int64_t>(pair.matched)}) {
      lines.back().push_back(names[static_cast<std::size_t>(rows.labels[static_cast<std::size_t>(row)])]);
    }
  }
  return table_html(columns, lines,
                    fmt::format("The {} nearest of {} near-duplicates", shown, grouped(std::ssize(pairs))));
}

}  // namespace

nlohmann::json score_histogram(const ChosenRows& choice) {
  const std::vector<float>& scores = choice.scores;
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  const double low = *least, high = *most;
  const int bins = high > low ? kBins : 1;
  std::vector<std::int64_t> kept(static_cast<std::size_t>(bins)), twins = kept, others = kept;
  for (std::size_t row = 0; row < scores.size(); ++row) {
    const double share = high > low ? (scores[row] - low) / (high - low) : 0;
    const auto bin = static_cast<std::size_t>(std::min<int>(bins - 1, static_cast<int>(share * bins)));
    ++(choice.stays[row] ? kept : choice.duplicate_of[row] != nullptr ? twins : others)[bin];
  }
  std::vector<double> edges;
  for (int bin = 0; bin <= bins; ++bin) edges.push_back(low + (high - low) * bin / bins);
  return {{"edges", edges}, {"kept", kept}, {"near_duplicates", twins}, {"fraction", others}};
}

Page prune_page(const Json& document, const LabelledRows& rows, const ChosenRows& choice,
                const std::vector<std::string>& names, const std::vector<Finding>& worth) {
  const std::string n = grouped(rows.size()), kept = grouped(std::ssize(choice.kept));
  Page page{.title = "Which rows to keep", .kicker = "scalelab prune"};
  page.headline = worth.empty() ? fmt::format("{} of {} rows stay", kept, n) : worth[0].title;
  const Json& removed = document.at("removed");
  page.lead = fmt::format("Of {} rows of {}, {} stay; {} near-duplicates and {} others are left out.", n, rows.name,
                          kept, grouped(removed.at("near_duplicates")), grouped(removed.at("fraction")));
  if (worth.empty()) {
    page.lead += " What this choice is worth was not measured: " + text_of(document.at("worth").at("why_not")) + ".";
  } else {
    Finding below = worth[0];  // the headline says its title
    below.title = "Errors of models that learned from the rows chosen, from others, and from all";
    page.sections.push_back({.id = "worth", .title = "What the choice is worth", .html = findings_html({below})});
  }
  page.sections.push_back({.id = "rows",
                           .title = "The choice",
                           .html = "<div class=\"panels\">" + chart_html(histogram_chart(document)) +
                                   chart_html(projection_chart(document, rows, choice)) + "</div>"});
  if (document.contains("classes")) {
    page.sections.push_back({.id = "classes", .title = "Classes", .html = classes_table(document)});
  }
  if (!choice.duplicates.empty()) {
    page.sections.push_back({.id = "pairs",
                             .title = "Near-duplicates",
                             .note = "Each was removed because the row beside it stays. removed.csv lists all.",
                             .html = pairs_table(rows, choice, names)});
  }
  page.methods = {
      fmt::format("Score {}: larger is harder; the {} rows are kept. kept_ids.npy beside this page holds "
                  "their numbers, counted from 0; removed.csv says why each other row is not among them.",
                  text_of(document.at("score")), text_of(document.at("keep")))};
  if (!worth.empty()) {
    page.methods.emplace_back(
        "For its worth, rows are scored and chosen from anew in each split, without those held out. Splits of one set of "
        "rows share most of what they learn from, so that intervals over them come out somewhat narrow.");
    page.methods.emplace_back(kVerdictMethods);
  }
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
