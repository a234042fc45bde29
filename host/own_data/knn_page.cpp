#include "host/own_data/knn_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "host/own_data/bins.h"
#include "host/own_data/projection.h"
#include "host/program/environment.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostDistances = 1'000'000;  // kept for the histogram
constexpr std::size_t kMostPairs = 20;              // at either end

// The number that each of one's own names has among `names`, to which it is added where it is none of them.
std::vector<int> numbered(const std::vector<std::string>& own, std::vector<std::string>& names) {
  std::unordered_map<std::string, int> known;
  for (const std::string& name : names) known.emplace(name, static_cast<int>(known.size()));
  std::vector<int> numbers;
  for (const std::string& name : own) {
    const auto [at, added] = known.emplace(name, static_cast<int>(known.size()));
    numbers.push_back(at->second);
    if (added) names.push_back(name);
  }
  return numbers;
}

ReadRow reader_of(const Rows& rows) {
  return [&rows](std::int64_t row, std::span<float> to) { rows.read(row, 1, to); };
}

bool among_others(const Json& document) { return document.at("queries").at("file").is_null(); }
bool cosine(const Json& document) { return document.at("metric") == "cosine"; }
std::string distance_name(const Json& document) { return cosine(document) ? "1 - cosine" : "Euclidean distance"; }
std::string ordinal(std::int64_t n) {
  const bool teen = n % 100 >= 11 && n % 100 <= 13;
  return fmt::format("{}{}", n,
                     teen || n % 10 > 3 || n % 10 == 0 ? "th"
                     : n % 10 == 1                     ? "st"
                     : n % 10 == 2                     ? "nd"
                                                       : "rd");
}
std::string kth_neighbour(const Json& document) {
  const std::int64_t k = document.at("k");
  return k == 1 ? "nearest neighbour" : ordinal(k) + " nearest neighbour";
}

Chart distances_chart(const Json& document) {
  const Json& kth = document.at("kth_distance");
  Chart chart{.id = "distances",
              .title = fmt::format("How far the {} is", kth_neighbour(document)),
              .subtitle = fmt::format("{} by the distance to their {}; those far from all others stand at the right.",
                                      among_others(document) ? "Rows" : "Queries", kth_neighbour(document)),
              .x = Axis{.title = distance_name(document), .short_name = "distance"},
              .y = Axis{.title = among_others(document) ? "rows" : "queries", .zero = true},
              .command = command_of(document),
              .low = true};
  if (kth.at("counted") != document.at("queries").at("n")) {
    chart.subtitle += fmt::format(" Counted are {} of them, evenly taken.", grouped(kth.at("counted")));
  }
  Line line{.name = "", .colour = "blue", .bars = true};
  const Json& edges = kth.at("edges");
  for (std::size_t bin = 0; bin < kth.at("counts").size(); ++bin) {
    const double low = edges.at(bin), high = edges.at(bin + 1);
    line.marks.push_back(
        {.x = 0.5 * (low + high), .y = kth.at("counts").at(bin), .note = fmt::format("{:.4g} to {:.4g}", low, high)});
  }
  chart.lines = {std::move(line)};
  return chart;
}

// References and queries in the plane in which the references vary most; queries by what is said of them.
Chart where_chart(const Json& document) {
  const Json& plane = document.at("plane");
  const Json& queries = plane.at("queries");
  const std::int64_t d = document.at("references").at("d");
  const bool one_set = among_others(document);
  Chart chart = plane_chart(plane, one_set ? "Where the rows lie" : "Where the queries lie among the references",
                            command_of(document));
  if (plane.contains("references")) {
    const Json& references = plane.at("references");
    Line line = points_line(references, "references", "control", [](std::size_t) { return true; });
    line.control = true;
    chart.lines.push_back(std::move(line));
    chart.subtitle =
        shown_rows_text(std::ssize(references.at("rows")), document.at("references").at("n"), "references", 0) + " ";
  }
  chart.subtitle +=
      shown_rows_text(std::ssize(queries.at("rows")), document.at("queries").at("n"), one_set ? "rows" : "queries", d);
  const std::string name = one_set ? "rows" : "queries";
  if (!queries.contains("wrong")) {
    chart.lines.push_back(points_line(queries, name, "blue", [](std::size_t) { return true; }));
    return chart;
  }
  const std::vector<bool> wrong = queries.at("wrong");
  chart.lines.push_back(
      points_line(queries, name + " that the vote gets right", "blue", [&](std::size_t i) { return !wrong[i]; }));
  Line line = points_line(queries, name + " that it gets wrong", "orange", [&](std::size_t i) { return wrong[i]; });
  line.shape = "triangle";
  chart.lines.push_back(std::move(line));
  return chart;
}

std::string pairs_table(const Json& document, const std::string& member, const std::string& caption) {
  const bool one_set = among_others(document);
  const Json& pairs = document.at(member);
  const bool labelled = !pairs.empty() && pairs.at(0).contains("query_label");
  std::vector<std::string> columns = {distance_name(document), one_set ? "row" : "query", "its features",
                                      one_set ? "nearest row" : "nearest reference", "its features"};
  if (labelled) columns.insert(columns.begin() + 3, "its label");
  if (labelled) columns.emplace_back("its label");
  std::vector<std::vector<std::string>> lines;
  for (const Json& pair : pairs) {
    std::vector<std::string> line = {fmt::format("{:.6g}", pair.at("distance").get<double>())};
    for (const std::string side : {"query", "reference"}) {
      line.push_back(fmt::format("{}", pair.at(side).get<std::int64_t>()));
      line.push_back(pair.at(side + "_values"));
      if (labelled) line.push_back(pair.at(side + "_label"));
    }
    lines.push_back(std::move(line));
  }
  return "<div class=\"panel\">" + table_html(columns, lines, caption) + "</div>";
}

std::string pairs_html(const Json& document) {
  const std::string what = among_others(document) ? "rows" : "queries and references";
  return "<div class=\"panels\">" +
         pairs_table(document, "nearest", fmt::format("The nearest {}: distance 0 is a copy", what)) +
         pairs_table(document, "farthest",
                     among_others(document) ? "The rows farthest from all others"
                                            : "The queries farthest from all references") +
         "</div>";
}

std::string headline_of(const Json& document) {
  const std::string who = among_others(document) ? "row" : "query";
  if (document.contains("vote")) {
    const std::string whom = among_others(document) ? "other" : "reference";
    const std::string voters = document.at("k") == 1
                                   ? fmt::format("The label of the nearest {}", whom)
                                   : fmt::format("A vote of the {} nearest {}s", text_of(document.at("k")), whom);
    return fmt::format("{} is wrong for {} of {}", voters, error_text(document.at("vote")),
                       counted(document.at("vote").at("rows"), who, who == "row" ? "rows" : "queries"));
  }
  const Json& kth = document.at("kth_distance");
  return fmt::format("Half of all {} have their {} within a distance of {:.3g}", who == "row" ? "rows" : "queries",
                     kth_neighbour(document), number_of(kth.at("median")));
}

}  // namespace

NeighbourSummary::NeighbourSummary(const Rows& references, const Rows& queries, int k, bool cosine, bool among_others,
                                   std::uint64_t seed)
    : references_(references),
      queries_(queries),
      k_(k),
      cosine_(cosine),
      among_others_(among_others),
      same_rows_(!among_others && queries.name() == references.name() && queries.size() == references.size()),
      votes_(!references.labels().empty() && !queries.labels().empty() && !same_rows_),
      every_((queries.size() + kMostDistances - 1) / kMostDistances),
      seed_(seed),
      shown_(rows_to_show(queries.size(), queries.features(), seed)) {
  if (!votes_) return;
  names_ = references.labels().names;
  label_of_query_class_ = numbered(queries.labels().names, names_);
  vote_.emplace(names_);
}

void NeighbourSummary::see_pair(const Pair& pair) {
  if (pair.distance == 0) ++copies_;
  const auto keep = [&](std::vector<Pair>& list, std::size_t most, const auto& before) {
    if (list.size() == most && !before(pair, list.back())) return;
    list.insert(std::upper_bound(list.begin(), list.end(), pair, before), pair);
    if (list.size() > most) list.pop_back();
  };
  // Each pair of rows among themselves may come twice.
  keep(nearest_, 2 * kMostPairs, [](const Pair& a, const Pair& b) { return a.distance < b.distance; });
  keep(farthest_, kMostPairs, [](const Pair& a, const Pair& b) { return a.distance > b.distance; });
}

void NeighbourSummary::see_vote(std::span<const int> neighbours) {
  const std::vector<int>& labels = references_.labels().of_row;
  std::vector<int> votes;
  for (const int row : neighbours) votes.push_back(labels[static_cast<std::size_t>(row)]);
  const int said = commonest(votes);
  const int own = queries_.labels().of_row[static_cast<std::size_t>(seen_)];
  const int label = label_of_query_class_[static_cast<std::size_t>(own)];
  vote_->add(label, said);
  if (shown_wrong_.size() < shown_.size() && shown_[shown_wrong_.size()] == seen_)
    shown_wrong_.push_back(said != label);
}

void NeighbourSummary::add(std::span<const int> indices, std::span<const float> distances) {
  const auto k = static_cast<std::size_t>(k_);
  for (std::size_t at = 0; at < indices.size(); at += k, ++seen_) {
    const auto own = indices.subspan(at, k);
    if (seen_ % every_ == 0) kth_.push_back(distances[at + k - 1]);
    const std::size_t other = same_rows_ && own[0] == seen_ ? 1 : 0;  // its nearest but for itself
    if (other < k) see_pair({distances[at + other], seen_, own[other]});
    if (votes_) see_vote(own);
  }
}

double NeighbourSummary::distance_of(float value) const {
  return cosine_ ? static_cast<double>(value) : std::sqrt(static_cast<double>(value));
}

Json NeighbourSummary::kth_distance() const {
  std::vector<float> sorted = kth_;
  std::sort(sorted.begin(), sorted.end());
  const double least = distance_of(sorted.front()), most = distance_of(sorted.back());
  const Bins bins(least, most);
  std::vector<std::int64_t> counts(bins.count());
  for (const float value : sorted) ++counts[bins.of(distance_of(value))];
  return {{"counted", sorted.size()}, {"median", distance_of(sorted[(sorted.size() - 1) / 2])},
          {"least", least},           {"most", most},
          {"edges", bins.edges()},    {"counts", counts}};
}

Json NeighbourSummary::pairs(const std::vector<Pair>& list, bool nearest) const {
  Json json = Json::array();
  std::set<std::pair<std::int64_t, std::int64_t>> told;
  std::vector<float> values(static_cast<std::size_t>(references_.features()));
  for (const Pair& pair : list) {
    if (json.size() == kMostPairs) break;
    if (nearest && (among_others_ || same_rows_) && !told.insert(std::minmax(pair.query, pair.reference)).second)
      continue;
    Json& entry = json.emplace_back(
        Json{{"distance", distance_of(pair.distance)}, {"query", pair.query}, {"reference", pair.reference}});
    const auto describe = [&](const std::string& side, const Rows& rows, std::int64_t row) {
      rows.read(row, 1, values);
      entry[side + "_values"] = row_text(values);
      if (references_.labels().empty() || queries_.labels().empty()) return;
      entry[side + "_label"] =
          rows.labels().names[static_cast<std::size_t>(rows.labels().of_row[static_cast<std::size_t>(row)])];
    };
    describe("query", queries_, pair.query);
    describe("reference", references_, pair.reference);
  }
  return json;
}

Json NeighbourSummary::plane() const {
  const std::vector<std::int64_t> known = rows_to_show(references_.size(), references_.features(), seed_);
  const Plane plane(known, references_.features(), reader_of(references_));
  Json json = plane.titles();
  if (!among_others_ && !same_rows_) json["references"] = plane.points(known, reader_of(references_));
  json["queries"] = plane.points(shown_, reader_of(queries_));
  if (votes_) json["queries"]["wrong"] = shown_wrong_;
  return json;
}

void NeighbourSummary::put_into(Json& document) const {
  document["kth_distance"] = kth_distance();
  document["copies"] = copies_;
  document["nearest"] = pairs(nearest_, true);
  document["farthest"] = pairs(farthest_, false);
  document["plane"] = plane();
  if (votes_) document["vote"] = vote_->json();
}

std::string vote_text(const Json& document) {
  if (!document.contains("vote")) return "";
  return fmt::format(
      "{}: {}\n",
      among_others(document) ? "leave-one-out error of the neighbours' vote" : "error of the neighbours' vote",
      error_text(document.at("vote")));
}

Page knn_page(const Json& document) {
  const Json &references = document.at("references"), &queries = document.at("queries");
  const bool one_set = among_others(document);
  const std::int64_t copies = document.at("copies");
  Page page{.title = "Nearest neighbours", .kicker = "scalelab knn"};
  page.headline = headline_of(document);
  const std::string k =
      document.at("k") == 1 ? "the nearest" : fmt::format("the {} nearest", text_of(document.at("k")));
  page.lead = one_set ? fmt::format("For each of {} rows of {}, {} of the others.", grouped(queries.at("n")),
                                    text_of(references.at("file")), k)
                      : fmt::format("For each of {} queries of {}, {} of {} references of {}.",
                                    grouped(queries.at("n")), text_of(queries.at("file")), k,
                                    grouped(references.at("n")), text_of(references.at("file")));
  // Copies make errors look small, and are said at once.
  page.lead +=
      copies == 0
          ? fmt::format(" None has a copy among {}.", one_set ? "the others" : "the references")
          : fmt::format(" {} an exact copy among {}.",
                        counted(copies, one_set ? "row has" : "query has", one_set ? "rows have" : "queries have"),
                        one_set ? "the others" : "the references");
  if (document.contains("vote")) {
    page.sections.push_back(
        {.id = "vote",
         .title = one_set ? "Left out of its own vote" : "What the vote gets wrong",
         .note = one_set
                     ? "Each row is given the commonest label of its neighbours, itself not among them (leave-one-out)."
                     : "Each query is given the commonest label of its neighbours.",
         .html = confusion_html(document.at("vote"), command_of(document))});
  }
  // How near neighbours are, and the pairs at either end.
  page.sections.push_back({.id = "far",
                           .title = "Near and far",
                           .html = "<div class=\"panels\">" + chart_html(distances_chart(document)) +
                                   chart_html(where_chart(document)) + "</div>"});
  page.sections.push_back({.id = "pairs", .title = "Nearest and farthest pairs", .html = pairs_html(document)});
  page.methods = {
      fmt::format("Exact neighbours by {}; of equal distances the row that comes first. indices.npy and distances.npy "
                  "beside this page hold all of them{}.",
                  distance_name(document), cosine(document) ? "" : ", distances squared")};
  if (document.contains("vote")) {
    page.methods.emplace_back(
        "Of labels with equally many votes the smallest is said. Intervals are at 95 %, as if rows were independent.");
  }
  page.command = command_of(document);
  page.document = document;
  return page;
}

}  // namespace scalelab::host
