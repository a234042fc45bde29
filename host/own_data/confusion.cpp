#include "host/own_data/confusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/evidence/statistics.h"
#include "host/pages/page.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostMapped = 20;  // classes: more are a table
constexpr std::size_t kMostPairs = 50;   // of that table

std::string interval_text(std::int64_t wrong, std::int64_t rows) {
  const Interval interval = share_interval(wrong, rows);
  return percent(interval.low) + " to " + percent(interval.high);
}

std::string classes_table(const Json& confusion) {
  std::vector<std::vector<std::string>> lines;
  for (const Json& entry : confusion.at("classes")) {
    const std::int64_t rows = entry.at("rows"), wrong = entry.at("wrong");
    if (rows == 0) continue;
    lines.push_back({text_of(entry.at("label")), grouped(rows), grouped(wrong),
                     percent(static_cast<double>(wrong) / static_cast<double>(rows)), interval_text(wrong, rows)});
  }
  return table_html({"class", "rows", "wrong", "error, %", "95 % interval, %"}, lines, "Errors by class");
}

std::string confusion_map(const Json& confusion, const std::string& command) {
  HeatMap map{.id = "confusion",
              .title = "Which class is taken for which",
              .subtitle = "Rows of each class, by what is said of them. The darker, the larger the part of its class.",
              .x_title = "said",
              .y_title = "label",
              .centre = 0,
              .unit = "rows",
              .command = command};
  const Json& classes = confusion.at("classes");
  std::map<std::string, std::size_t> place;
  std::vector<double> rows;
  for (const Json& entry : classes) {
    place[entry.at("label")] = map.columns.size();
    map.columns.push_back(entry.at("label"));
    rows.push_back(entry.at("rows"));
    map.texts.emplace_back(classes.size(), "0");
    map.values.emplace_back(classes.size(), 0.0);
    map.texts.back()[map.columns.size() - 1] =
        grouped(entry.at("rows").get<std::int64_t>() - entry.at("wrong").get<std::int64_t>());
  }
  map.rows = map.columns;
  for (const Json& entry : confusion.at("confused")) {
    const std::size_t row = place.at(entry.at("label")), column = place.at(entry.at("said"));
    map.values[row][column] = entry.at("rows").get<double>() / rows[row];
    map.texts[row][column] = grouped(entry.at("rows"));
  }
  return heat_map_html(map);
}

std::string pairs_table(const Json& confusion) {
  std::vector<std::vector<std::string>> lines;
  const Json& confused = confusion.at("confused");
  for (std::size_t i = 0; i < std::min(confused.size(), kMostPairs); ++i) {
    lines.push_back(
        {text_of(confused[i].at("label")), text_of(confused[i].at("said")), grouped(confused[i].at("rows"))});
  }
  return table_html({"label", "taken for", "rows"}, lines, "The commonest confusions");
}

}  // namespace

int commonest(std::span<const int> labels) {
  std::vector<int> sorted(labels.begin(), labels.end());
  std::sort(sorted.begin(), sorted.end());
  int best = sorted.at(0);
  std::ptrdiff_t most = 0;
  for (auto begin = sorted.begin(); begin != sorted.end();) {
    const auto end = std::upper_bound(begin, sorted.end(), *begin);
    if (end - begin > most) {
      most = end - begin;
      best = *begin;
    }
    begin = end;
  }
  return best;
}

Json Confusion::json() const {
  struct Class {
    std::int64_t rows = 0, wrong = 0;
  };
  std::vector<Class> classes(names_.size());
  std::vector<std::pair<std::int64_t, std::pair<int, int>>> confused;
  Class all;
  for (const auto& [pair, rows] : rows_) {
    const bool wrong = pair.first != pair.second;
    for (Class* one : {&classes.at(static_cast<std::size_t>(pair.first)), &all}) {
      one->rows += rows;
      if (wrong) one->wrong += rows;
    }
    if (wrong) confused.emplace_back(rows, pair);
  }
  std::stable_sort(confused.begin(), confused.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const Interval interval = share_interval(all.wrong, all.rows);
  Json json = {{"rows", all.rows},
               {"wrong", all.wrong},
               {"error", static_cast<double>(all.wrong) / static_cast<double>(all.rows)},
               {"low", interval.low},
               {"high", interval.high},
               {"classes", Json::array()},
               {"confused", Json::array()}};
  for (std::size_t c = 0; c < classes.size(); ++c) {
    json["classes"].push_back({{"label", names_[c]}, {"rows", classes[c].rows}, {"wrong", classes[c].wrong}});
  }
  for (const auto& [rows, pair] : confused) {
    json["confused"].push_back({{"label", names_[static_cast<std::size_t>(pair.first)]},
                                {"said", names_[static_cast<std::size_t>(pair.second)]},
                                {"rows", rows}});
  }
  return json;
}

std::string error_text(const Json& confusion) {
  return fmt::format("{} % ({} to {} %)", percent(confusion.at("error")), percent(confusion.at("low")),
                     percent(confusion.at("high")));
}

std::string confusion_html(const Json& confusion, const std::string& command) {
  std::string html = classes_table(confusion);
  if (confusion.at("confused").empty()) return html;
  const bool few = confusion.at("classes").size() <= kMostMapped;
  return "<div class=\"panels\">" + (few ? confusion_map(confusion, command) : pairs_table(confusion)) +
         "<div class=\"panel\">" + html + "</div></div>";
}

}  // namespace scalelab::host
