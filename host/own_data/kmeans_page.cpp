#include "host/own_data/kmeans_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "host/program/environment.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostLabels = 5;      // of a cluster, the commonest
constexpr std::size_t kMostBars = 200;      // of more clusters the sizes are a line
constexpr std::size_t kMostPlaces = 1000;   // on it
constexpr std::size_t kMostToldApart = 16;  // clusters that have a colour and a shape of their own
constexpr std::size_t kColours = 8;         // of page.css

// Clusters, the largest first; of equal ones the lower number.
std::vector<std::size_t> by_size(const Json& sizes) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  const std::vector<std::int64_t> rows = sizes;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rows[a] > rows[b]; });
  return order;
}

Chart sizes_chart(const Json& document) {
  const Json& sizes = document.at("sizes");
  Chart chart{.id = "sizes",
              .title = "Clusters by their size",
              .subtitle = "Rows of each cluster, the largest first.",
              .x = Axis{.title = "place by size", .short_name = "place"},
              .y = Axis{.title = "rows", .zero = true},
              .command = command_of(document),
              .low = true};
  Line line{.name = "", .colour = "blue", .bare = true, .bars = sizes.size() <= kMostBars};
  const std::vector<std::size_t> order = by_size(sizes);
  const std::size_t step = (order.size() + kMostPlaces - 1) / kMostPlaces;
  if (step > 1) chart.subtitle += fmt::format(" Drawn is one in {}, and the last.", step);
  for (std::size_t place = 0; place < order.size(); ++place) {
    if (place % step != 0 && place + 1 != order.size()) continue;
    line.marks.push_back({.x = static_cast<double>(place + 1),
                          .y = sizes.at(order[place]),
                          .note = fmt::format("cluster {}", order[place])});
  }
  chart.lines = {std::move(line)};
  return chart;
}

// The rows that are shown, those of the largest clusters each in a colour and a shape of their own.
Chart where_chart(const Json& document) {
  const Json& plane = document.at("plane");
  Chart chart = plane_chart(plane, "Where the clusters lie", command_of(document));
  chart.subtitle =
      shown_rows_text(std::ssize(plane.at("rows")), document.at("data").at("n"), "rows", document.at("data").at("d"));
  const std::vector<int> cluster_of = plane.at("cluster");
  const std::vector<std::size_t> order = by_size(document.at("sizes"));
  const std::size_t told_apart = order.size() <= kMostToldApart + 1 ? order.size() : kMostToldApart;
  const auto note = [&](std::size_t i) { return fmt::format("cluster {}", cluster_of[i]); };
  std::vector<bool> own(order.size());
  for (std::size_t place = 0; place < told_apart; ++place) own[order[place]] = true;
  if (told_apart < order.size()) {
    chart.subtitle += fmt::format(
        " The {} largest clusters have a colour and a shape of their own; a point's name says "
        "which of the others it is of.",
        told_apart);
    Line others = points_line(
        plane, fmt::format("{} other clusters", grouped(std::ssize(order) - static_cast<std::ptrdiff_t>(told_apart))),
        "control", [&](std::size_t i) { return !own[static_cast<std::size_t>(cluster_of[i])]; }, note);
    others.control = true;
    chart.lines.push_back(std::move(others));
  }
  static constexpr const char* kShapes[] = {"circle", "triangle", "rectRot"};
  for (std::size_t place = 0; place < told_apart; ++place) {
    const auto cluster = static_cast<int>(order[place]);
    Line line = points_line(plane, fmt::format("cluster {}", cluster), fmt::format("c{}", place % kColours),
                            [&](std::size_t i) { return cluster_of[i] == cluster; });
    line.shape = kShapes[place / kColours];
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

std::string clusters_table(const Json& document) {
  const Json& sizes = document.at("sizes");
  const bool labelled = document.contains("labelled");
  const double n = document.at("data").at("n");
  std::vector<std::string> columns = {"cluster", "rows", "share, %"};
  if (labelled) columns.insert(columns.end(), {"commonest label", "of its rows, %", "further labels"});
  std::vector<std::vector<std::string>> lines;
  for (const std::size_t cluster : by_size(sizes)) {
    const double rows = sizes.at(cluster);
    lines.push_back({fmt::format("{}", cluster), grouped(sizes.at(cluster)), percent(rows / n)});
    if (!labelled) continue;
    std::string first = "-", share = "-", further;
    for (const Json& entry : document.at("labelled").at("clusters").at(cluster).at("labels")) {
      const std::string part = percent(entry.at("rows").get<double>() / rows);
      if (first == "-") {
        first = entry.at("label");
        share = part;
      } else {
        further += fmt::format("{}{} ({} %)", further.empty() ? "" : ", ", entry.at("label").get<std::string>(), part);
      }
    }
    lines.back().insert(lines.back().end(), {first, share, further});
  }
  return table_html(columns, lines, "Clusters, the largest first");
}

}  // namespace

ClusterSummary::ClusterSummary(const Rows& data, std::int64_t clusters, std::uint64_t seed)
    : data_(data), clusters_(clusters), shown_(rows_to_show(data.size(), data.features(), seed)) {}

void ClusterSummary::add(std::span<const int> labels) {
  for (const int cluster : labels) {
    if (!data_.labels().empty()) ++with_label_[{cluster, data_.labels().of_row[static_cast<std::size_t>(seen_)]}];
    if (shown_clusters_.size() < shown_.size() && shown_[shown_clusters_.size()] == seen_) {
      shown_clusters_.push_back(cluster);
    }
    ++seen_;
  }
}

Json ClusterSummary::labelled() const {
  const std::vector<std::string>& names = data_.labels().names;
  std::vector<std::int64_t> of_class(names.size());
  std::int64_t commonest = 0;  // rows that have the commonest label of their cluster
  Json list = Json::array();
  auto at = with_label_.begin();
  for (std::int64_t cluster = 0; cluster < clusters_; ++cluster) {
    std::vector<std::pair<std::int64_t, int>> labels;  // rows, and their label
    for (; at != with_label_.end() && at->first.first == cluster; ++at) {
      labels.emplace_back(at->second, at->first.second);
      of_class[static_cast<std::size_t>(at->first.second)] += at->second;
    }
    std::stable_sort(labels.begin(), labels.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    if (!labels.empty()) commonest += labels[0].first;
    Json& shown = list.emplace_back(Json{{"labels", Json::array()}})["labels"];
    for (std::size_t i = 0; i < std::min(labels.size(), kMostLabels); ++i) {
      shown.push_back({{"label", names[static_cast<std::size_t>(labels[i].second)]}, {"rows", labels[i].first}});
    }
  }
  const auto share = [&](std::int64_t rows) { return static_cast<double>(rows) / static_cast<double>(seen_); };
  return {{"classes", names.size()},
          {"purity", share(commonest)},
          {"largest_class", share(*std::max_element(of_class.begin(), of_class.end()))},
          {"clusters", std::move(list)}};
}

void ClusterSummary::put_into(Json& document) const {
  const ReadRow read = [this](std::int64_t row, std::span<float> to) { data_.read(row, 1, to); };
  const Plane plane(shown_, data_.features(), read);
  document["plane"] = plane.titles();
  document["plane"].update(plane.points(shown_, read));
  document["plane"]["cluster"] = shown_clusters_;
  if (!data_.labels().empty()) document["labelled"] = labelled();
}

Page kmeans_page(const Json& document) {
  const Json& data = document.at("data");
  const std::vector<std::int64_t> sizes = document.at("sizes");
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  const std::string n = grouped(data.at("n")), file = data.at("file");
  Page page{.title = "Clusters", .kicker = "scalelab kmeans"};
  page.headline = fmt::format("{} rows in {} of {} to {} rows", n, counted(std::ssize(sizes), "cluster"),
                              grouped(*least), grouped(*most));
  page.lead = fmt::format("The rows of {}, {} each, by k-means: every row belongs to the nearest of {}.", file,
                          counted(data.at("d"), "feature"), counted(std::ssize(sizes), "centroid"));
  // With labels: what clusters say of them, beside what one cluster would say.
  if (document.contains("labelled")) {
    const Json& labelled = document.at("labelled");
    page.lead += fmt::format(
        " {} % of the rows have the commonest label of their cluster. {} % have the commonest label "
        "of all, which is what one single cluster would reach; more clusters usually reach more.",
        percent(labelled.at("purity")), percent(labelled.at("largest_class")));
  }
  page.sections = {
      {.id = "where", .title = "Where they lie", .html = chart_html(where_chart(document))},
      {.id = "clusters",
       .title = "Sizes",
       .html = chart_html(sizes_chart(document)) + "<div class=\"panel\">" + clusters_table(document) + "</div>"}};
  // How they were found, and what else stands in the folder.
  const std::int64_t iterations = document.at("iterations");
  const bool cosine = document.at("metric") == "cosine";
  page.methods = {
      fmt::format(
          "{} from {} (seed {}), {}{}. {} of all rows to their centroids add up to {:.9g}: that sum is what k-means "
          "makes small.",
          cosine ? "Spherical k-means, of rows and centroids scaled to length 1," : "Lloyd's k-means",
          text_of(document.at("init")), document.at("seed").get<std::uint64_t>(), counted(iterations, "iteration"),
          document.at("converged") ? "" : ", then stopped by --max-iterations",
          cosine ? "1 - cosine" : "The squared distances", number_of(document.at("inertia"))),
      "labels.npy beside this page holds the cluster of each row, counted from 0; centroids.npy the centroid of each "
      "cluster."};
  if (const Json& restarts = document.at("restarts"); restarts.size() > 1) {
    double worst = 0;
    for (const Json& start : restarts) worst = std::max(worst, number_of(start.at("inertia")));
    page.methods.push_back(
        fmt::format("The best of {} starts, those of this seed and the ones after it; the worst came to {:.9g}.",
                    restarts.size(), worst));
  }
  if (document.at("auto").is_object()) page.methods.push_back(text_of(document.at("auto").at("reason")) + ".");
  if (document.at("empty") > 0) {
    page.methods.push_back(fmt::format("{} no row: rows that are equal cannot be divided.",
                                       counted(document.at("empty"), "cluster has", "clusters have")));
  }
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
