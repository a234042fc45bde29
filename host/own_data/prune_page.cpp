#include "host/own_data/prune_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/evidence/finding.h"
#include "host/own_data/bins.h"
#include "host/own_data/projection.h"
#include "host/program/environment.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostPairs = 50;  // of near-duplicates on the page; removed.csv has all

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
Chart where_chart(const Json& document) {
  const Json &plane = document.at("plane"), &data = document.at("data");
  const std::vector<bool> kept = plane.at("kept");
  Chart chart = plane_chart(plane, "Where the rows lie that stay", command_of(document));
  chart.subtitle = shown_rows_text(std::ssize(kept), data.at("n"), "rows", data.at("d"));
  chart.lines = {points_line(plane, "kept", "blue", [&](std::size_t i) { return kept[i]; }),
                 points_line(plane, "removed", "orange", [&](std::size_t i) { return !kept[i]; })};
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

// Near-duplicates side by side, the nearest first.
std::string pairs_table(const Json& document) {
  const Json& pairs = document.at("near_duplicates").at("nearest");
  std::vector<std::string> columns = {"cosine", "removed row", "its features", "kept row", "its features"};
  const bool labelled = pairs.at(0).contains("row_label");
  if (labelled) columns.insert(columns.end(), {"label removed", "label kept"});
  std::vector<std::vector<std::string>> lines;
  for (const Json& pair : pairs) {
    lines.push_back({fmt::format("{:.6f}", pair.at("cosine").get<double>()), text_of(pair.at("row")),
                     pair.at("row_values"), text_of(pair.at("matched")), pair.at("matched_values")});
    if (labelled) lines.back().insert(lines.back().end(), {pair.at("row_label"), pair.at("matched_label")});
  }
  return table_html(columns, lines,
                    fmt::format("The {} nearest of {} near-duplicates", lines.size(),
                                grouped(document.at("removed").at("near_duplicates"))));
}

}  // namespace

nlohmann::json score_histogram(const ChosenRows& choice) {
  const std::vector<float>& scores = choice.scores;
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  const Bins bins(*least, *most);
  std::vector<std::int64_t> kept(bins.count()), twins = kept, others = kept;
  for (std::size_t row = 0; row < scores.size(); ++row) {
    ++(choice.stays[row] ? kept : choice.duplicate_of[row] != nullptr ? twins : others)[bins.of(scores[row])];
  }
  return {{"edges", bins.edges()}, {"kept", kept}, {"near_duplicates", twins}, {"fraction", others}};
}

Json choice_plane(const LabelledRows& rows, const ChosenRows& choice, std::uint64_t seed) {
  const std::vector<std::int64_t> shown = rows_to_show(rows.size(), rows.features, seed);
  const ReadRow read = row_reader(rows.values, rows.features);
  const Plane plane(shown, rows.features, read);
  Json json = plane.titles();
  json.update(plane.points(shown, read));
  std::vector<bool> kept;
  for (const std::int64_t row : shown) kept.push_back(choice.stays[static_cast<std::size_t>(row)]);
  json["kept"] = kept;
  return json;
}

Json nearest_pairs(const LabelledRows& rows, const ChosenRows& choice, const std::vector<std::string>& names) {
  std::vector<const Duplicate*> pairs;
  for (const Duplicate& pair : choice.duplicates) pairs.push_back(&pair);
  const std::size_t shown = std::min(pairs.size(), kMostPairs);
  std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(shown), pairs.end(),
                    [](const Duplicate* a, const Duplicate* b) {
                      return a->cosine != b->cosine ? a->cosine > b->cosine : a->row < b->row;
                    });
  Json json = Json::array();
  const auto d = static_cast<std::size_t>(rows.features);
  for (std::size_t i = 0; i < shown; ++i) {
    Json& entry = json.emplace_back(Json{{"cosine", pairs[i]->cosine}});
    for (const auto& [side, row] : {std::pair{std::string("row"), pairs[i]->row}, {"matched", pairs[i]->matched}}) {
      entry[side] = row;
      entry[side + "_values"] = row_text(rows.values.subspan(static_cast<std::size_t>(row) * d, d));
      if (rows.labels.empty()) continue;
      entry[side + "_label"] = names[static_cast<std::size_t>(rows.labels[static_cast<std::size_t>(row)])];
    }
  }
  return json;
}

Page prune_page(const Json& document) {
  const std::vector<Finding> worth = findings_from(document.at("worth"));
  const std::string n = grouped(document.at("data").at("n")), kept = grouped(document.at("kept"));
  Page page{.title = "Which rows to keep", .kicker = "scalelab prune"};
  page.headline = worth.empty() ? fmt::format("{} of {} rows stay", kept, n) : worth[0].title;
  const Json& removed = document.at("removed");
  page.lead = fmt::format("Of {} rows of {}, {} stay; {} near-duplicates and {} others are left out.", n,
                          text_of(document.at("data").at("file")), kept, grouped(removed.at("near_duplicates")),
                          grouped(removed.at("fraction")));
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
                                   chart_html(where_chart(document)) + "</div>"});
  if (document.contains("classes")) {
    page.sections.push_back({.id = "classes", .title = "Classes", .html = classes_table(document)});
  }
  if (document.contains("near_duplicates") && !document.at("near_duplicates").at("nearest").empty()) {
    page.sections.push_back({.id = "pairs",
                             .title = "Near-duplicates",
                             .note = "Each was removed because the row beside it stays. removed.csv lists all.",
                             .html = pairs_table(document)});
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
