// scalelab prune: which rows of one's own data to keep, for every other row why not, and what that choice is worth.
// host/results.md says what result.json holds.
//
// A shard leaves scores.npy of its rows; where it found near-duplicates, m of them, duplicates.npy (m, 2) int64 (the rows
// removed of its clusters, and what each matches) and cosines.npy (m); and result.json with data {file, n, d, looks
// (Rows::looks)}, prune (the options) and shard (merge.cpp) with near_duplicates, m.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/lab/difficulty.h"
#include "host/lab/row_scores.h"
#include "host/lab/trial_options.h"
#include "host/own_data/choice.h"
#include "host/own_data/cluster_count.h"
#include "host/own_data/near_duplicates.h"
#include "host/own_data/own_options.h"
#include "host/own_data/prune.h"
#include "host/own_data/prune_check.h"
#include "host/own_data/prune_page.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "host/program/ranks.h"
#include "host/program/shard.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

struct PruneOptions {
  Source source;
  std::string score = "kmeans", keep = "hard", out, clusters_from, score_file, shard = "1/1";
  double near_duplicates = -1, class_floor = kClassFloor;
  std::optional<double> fraction;
  std::optional<int> splits;
  int clusters = 0;                      // or kAutoClusters
  std::optional<ClusterCount> chosen{};  // where they were to be counted

  // Of the folder's clusters where they come from one; of those that are not counted yet, the most.
  int cluster_count() const {
    return clusters_from.empty()
               ? (clusters == kAutoClusters ? kMostAutoClusters : clusters)
               : static_cast<int>(NpyMatrix(std::filesystem::path(clusters_from) / "centroids.npy").rows());
  }
  ChoiceOptions choice() const { return {score, keep, near_duplicates, class_floor, share(), cluster_count()}; }
  bool clustered() const { return score == "kmeans" || score == "kmeans-cosine"; }
  bool has_clusters() const { return clusters != 0 || !clusters_from.empty(); }
  bool duplicates() const { return near_duplicates >= 0; }
  double share() const { return fraction.value_or(1); }  // of all rows, to keep
};

// What is chosen from.
struct Choosable {
  explicit Choosable(const Source& source) : rows(source), values(rows.checked()) {}
  Rows rows;
  std::span<const float> values;  // (n, d)
  std::int64_t size() const { return rows.size(); }
  std::int64_t features() const { return rows.features(); }
  // (count, d)
  std::span<const float> share(const Share& share) const {
    return values.subspan(static_cast<std::size_t>(share.first * features()),
                          static_cast<std::size_t>(share.count * features()));
  }
  const std::vector<int>& labels() const { return rows.labels().of_row; }  // (n), or empty
  int classes() const { return std::max(1, rows.labels().classes()); }
  LabelledRows view() const { return {rows.name(), values, features(), labels(), classes(), rows.pixels()}; }
};

void check_clusters(const PruneOptions& options) {
  if (options.clustered() && !options.has_clusters()) {
    // Near-duplicates are looked for without clusters as well: it is the default score that asks for them.
    const char* why = options.duplicates() ? " (the score says which of the near-duplicates stays)" : "";
    throw Failure(kMisuse, fmt::format("--score {} needs --clusters{}: give --clusters auto or a number, or --score "
                                       "random, which does without",
                                       options.score, why));
  }
  if (!options.clustered() && !options.duplicates() && options.has_clusters()) {
    throw Failure(kMisuse, fmt::format("{} is of no use to --score {} without --near-duplicates",
                                       options.clusters != 0 ? "--clusters" : "--clusters-from", options.score));
  }
  if (options.clusters_from.empty()) return;
  if (options.clusters != 0)
    throw Failure(kMisuse, "--clusters and --clusters-from: one of them says what the clusters are");
  if (options.score == "kmeans-cosine") {
    throw Failure(kMisuse,
                  "--score kmeans-cosine: has clusters of its own, not those of --clusters-from; use --score kmeans");
  }
}

void check_options(const PruneOptions& options) {
  check_clusters(options);
  if (options.fraction && !(*options.fraction > 0)) throw Failure(kMisuse, "--fraction must be above 0");
  if (!options.fraction && !options.duplicates()) {
    throw Failure(kMisuse, "every row would stay: give --fraction, --near-duplicates or both");
  }
  const bool over_all_rows = options.clustered() || options.duplicates();
  if (!parse_shard(options.shard).whole() && over_all_rows && options.clusters_from.empty()) {
    throw Failure(kMisuse,
                  "--shard: clusters are made of all rows: make them once, by scalelab kmeans --clusters 100 "
                  "-o FOLDER, and give every shard --clusters-from FOLDER");
  }
}

void check_rows(const PruneOptions& options, const Choosable& rows) {
  if (options.clusters > rows.size()) {
    throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", options.clusters, options.source.data,
                                       rows.size()));
  }
  if (score_needs_labels(options.score) && rows.labels().empty()) {
    throw Failure(kMisuse, fmt::format("--score {} needs --labels, or data that bring their labels", options.score));
  }
  if (!options.duplicates() && options.score != "kmeans-cosine") return;
  require_directions(rows.values, rows.features(), 0, options.source.data,
                     options.duplicates() ? "no --near-duplicates" : "--score kmeans");
}

// What `kmeans` left in a folder.
struct GivenClusters {
  std::vector<float> centroids;  // (k, d)
  std::vector<int> labels;       // (n)
  std::int64_t count = 0;        // k
};

GivenClusters clusters_from(const std::string& folder, const Choosable& rows) {
  const std::filesystem::path result = std::filesystem::path(folder) / "result.json";
  const auto document =
      std::filesystem::exists(result) ? nlohmann::json::parse(file_text(result), nullptr, false) : nlohmann::json();
  if (document.is_object() && document.value("metric", "l2") != "l2") {
    throw Failure(kBadData, fmt::format("--clusters-from {}: its clusters are by cosine, and their centroids at length "
                                        "1; give a kmeans --metric l2, or --score kmeans-cosine and --clusters",
                                        folder));
  }
  const NpyMatrix centroids(std::filesystem::path(folder) / "centroids.npy");
  GivenClusters given{centroids.read_all(), {}, centroids.rows()};
  const std::vector<std::int64_t> labels = read_npy_integers(std::filesystem::path(folder) / "labels.npy");
  if (centroids.features() != rows.features() || std::ssize(labels) != rows.size()) {
    throw Failure(kBadData,
                  fmt::format("--clusters-from {}: has {} labels and centroids of {} features; the data have {} "
                              "rows of {}",
                              folder, labels.size(), centroids.features(), rows.size(), rows.features()));
  }
  for (const std::int64_t label : labels) {
    if (label < 0 || label >= given.count) {
      throw Failure(kBadData,
                    fmt::format("--clusters-from {}: label {} is none of its {} clusters", folder, label, given.count));
    }
    given.labels.push_back(static_cast<int>(label));
  }
  return given;
}

// One's own scores, (n); nothing where there are none.
std::vector<float> read_scores(const PruneOptions& options, std::int64_t n) {
  if (options.score_file.empty()) return {};
  const NpyMatrix file(options.score_file, options.source.round_float64);
  if (file.rows() != n || file.features() != 1) {
    throw Failure(kBadData, fmt::format("{}: has shape ({}, {}); --score-file needs one number for each of the {} rows "
                                        "of {}",
                                        file.name(), file.rows(), file.features(), n, options.source.data));
  }
  return file.read_all();
}

// Euclidean distances of these rows to the nearest of the centroids, and which that is.
Prototypes nearest(std::span<const float> rows, std::span<const float> centroids, std::int64_t d, Context& context) {
  const std::int64_t n = std::ssize(rows) / d;
  const Buffer<int> labels(context, {n});
  const Buffer<float> distances(context, {n});
  context.backend().kmeans_assign(Input<float>(context, rows, {n, d}),
                                  Input<float>(context, centroids, {std::ssize(centroids) / d, d}), labels, distances,
                                  context);
  Prototypes found{{}, labels.to_host(), distances.to_host()};
  for (float& distance : found.distances) distance = std::sqrt(distance);
  return found;
}

// The same of rows of which it is known what is nearest.
Prototypes nearest(const Choosable& rows, const GivenClusters& given, const Share& own, const std::string& folder,
                   Context& context) {
  Prototypes found = nearest(rows.share(own), given.centroids, rows.features(), context);
  const auto known = given.labels.begin() + own.first;
  const auto unlike = std::mismatch(found.labels.begin(), found.labels.end(), known).first - found.labels.begin();
  if (unlike == own.count) return found;
  throw Failure(
      kBadData,
      fmt::format("--clusters-from {}: its labels are of other rows: row {} lies nearest to cluster {}, not {}", folder,
                  own.first + unlike, found.labels[unlike], known[unlike]));
}

// The clusters of all rows, and how far each row is from the middle of its own: every rank does its rows, and all have
// the answer.
void cluster(const PruneOptions& options, const Choosable& rows, ChosenRows& choice, Session& session) {
  Communicator& ranks = session.context.ranks;
  const std::int64_t d = rows.features();
  const std::uint64_t seed = session.common.seed;
  const Share share = share_of(rows.size(), kKmeansBlockRows, ranks.rank(), ranks.size());
  const std::span<const float> values = rows.share(share);
  Prototypes own;
  if (!options.clusters_from.empty()) {
    on_all(ranks, [&] {
      own = nearest(rows, clusters_from(options.clusters_from, rows), share, options.clusters_from, session.context);
    });
  } else if (clusters_by_cosine(options.score)) {
    own = cosine_prototypes(unit_rows(values, d), d, options.clusters, seed, session);
  } else {
    own = euclidean_prototypes(values, d, options.clusters, seed, session);
  }
  choice.clusters = ranks.gather(own.labels);
  choice.scores = ranks.gather(own.distances);
  if (options.clusters_from.empty()) choice.fit = std::move(own);
}

// Of the clusters of a share of them, or of all rows together where there are none.
std::vector<Duplicate> duplicates_of(const PruneOptions& options, const Choosable& rows, const ChosenRows& choice,
                                     const ClusterShare& share, Session& session) {
  const std::int64_t d = rows.features();
  const auto unit_rows_at = [&](std::span<const int> members) {
    return unit_rows(rows_at(rows.values, d, members), d);
  };
  const std::vector<int> one_cluster(choice.clusters.empty() ? static_cast<std::size_t>(rows.size()) : 0);
  return near_duplicates(unit_rows_at, d, choice.clusters.empty() ? one_cluster : choice.clusters,
                         preference(choice.scores, options.keep == "hard"), options.near_duplicates, share, session);
}

// The scores of a shard: of its rows, and of all rows of its clusters, which are visited by their scores. Of rows that
// are neither, 0.
std::vector<float> scores_in(const Choosable& rows, const GivenClusters& given, const Share& own,
                             const ClusterShare& share, const std::string& folder, Context& context) {
  const std::int64_t d = rows.features();
  std::vector<float> scores(static_cast<std::size_t>(rows.size()));
  std::vector<std::vector<int>> members(static_cast<std::size_t>(given.count));
  for (std::int64_t row = 0; row < rows.size(); ++row) {
    if (share.has(given.labels[row])) members[given.labels[row]].push_back(static_cast<int>(row));
  }
  for (std::size_t c = 0; c < members.size(); ++c) {
    if (members[c].empty()) continue;
    const auto centroid =
        std::span(given.centroids).subspan(c * static_cast<std::size_t>(d), static_cast<std::size_t>(d));
    const std::vector<float> distances = nearest(rows_at(rows.values, d, members[c]), centroid, d, context).distances;
    for (std::size_t i = 0; i < distances.size(); ++i) scores[members[c][i]] = distances[i];
  }
  const std::vector<float> distances = nearest(rows, given, own, folder, context).distances;
  std::copy(distances.begin(), distances.end(), scores.begin() + own.first);
  return scores;
}

// --clusters auto: the first rank counts them for all.
void set_cluster_count(PruneOptions& options, const Choosable& rows, Session& session) {
  if (options.clusters != kAutoClusters) return;
  Communicator& ranks = session.context.ranks;
  on_all(ranks, [&] {
    if (ranks.rank() != 0) return;
    const std::int64_t d = rows.features();
    std::vector<float> sample;
    for (const int row : sampled_rows(rows.size(), d, session.common.seed)) {
      const auto begin = rows.values.begin() + row * d;
      sample.insert(sample.end(), begin, begin + d);
    }
    const bool cosine = clusters_by_cosine(options.score);
    if (cosine) scale_to_unit(sample, d);
    options.chosen = count_clusters(sample, d, cosine, session.common.seed, session);
    options.clusters = options.chosen->clusters;
  });
  ranks.broadcast(std::span(&options.clusters, 1), 0);
}

// By all ranks, which all have the answer.
ChosenRows choice_of(const PruneOptions& options, const Choosable& rows, Session& session) {
  Communicator& ranks = session.context.ranks;
  ChosenRows choice;
  if (options.has_clusters()) cluster(options, rows, choice, session);
  if (!options.clustered()) {
    on_all(ranks, [&] {
      choice.scores =
          plain_scores(options.choice(), rows.view(), read_scores(options, rows.size()), session.common.seed, session);
    });
  }
  if (options.duplicates()) {
    choice.duplicates = ranks.gather(duplicates_of(options, rows, choice, {ranks.rank(), ranks.size()}, session));
  }
  choose_among_left(options.choice(), rows.view(), session.common.seed, choice);
  return choice;
}

// removed.csv: every row that does not stay, and why.
void write_removed(const ChosenRows& choice, OutputFile& file) {
  const auto digits = [](float value) {
    char text[32];
    return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
  };
  std::string csv = "id,reason,matched_id,cosine,score\n";
  for (std::size_t row = 0; row < choice.stays.size(); ++row) {
    if (choice.stays[row]) continue;
    if (const Duplicate* duplicate = choice.duplicate_of[row]; duplicate != nullptr) {
      csv += fmt::format("{},near-duplicate,{},{},{}\n", row, duplicate->matched, digits(duplicate->cosine),
                         digits(choice.scores[row]));
    } else {
      csv += fmt::format("{},fraction,,,{}\n", row, digits(choice.scores[row]));
    }
    if (csv.size() > std::size_t{1} << 20) {
      file.write(csv);
      csv.clear();
    }
  }
  file.write(csv);
}

void say_clusters(const PruneOptions& options, const ChosenRows& choice, Outcome& outcome) {
  const std::int64_t k = options.cluster_count();
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(k));
  for (const int label : choice.clusters) ++sizes[label];
  const auto empty = std::count(sizes.begin(), sizes.end(), 0);
  const auto [least, largest] = std::minmax_element(sizes.begin(), sizes.end());
  nlohmann::json& document = outcome.document["clusters"];
  document = {{"k", k}, {"empty", empty}, {"sizes", sizes}, {"auto", nullptr}};
  if (options.chosen) {
    document["auto"] = to_json(*options.chosen);
    outcome.text += reason(*options.chosen) + "\n";
  }
  outcome.text += fmt::format("{} clusters of {} to {} rows", k, *least, *largest);
  if (!choice.fit) {
    document["metric"] = "euclidean";
    document["from"] = options.clusters_from;
    outcome.text += fmt::format(" from {}, {} of them empty\n", options.clusters_from, empty);
    return;
  }
  const Prototypes& fit = *choice.fit;
  document["metric"] = clusters_by_cosine(options.score) ? "cosine" : "euclidean";
  document["iterations"] = fit.iterations;
  document["converged"] = fit.converged;
  document["empty_repaired"] = fit.repaired;
  outcome.text += fmt::format(", {} iterations{}; {} emptied on the way and repaired, {} empty at the end\n",
                              fit.iterations, fit.converged ? "" : " (not converged)", fit.repaired, empty);
}

void say_duplicates(const PruneOptions& options, const Choosable& rows, const ChosenRows& choice, Outcome& outcome) {
  const auto across = std::count_if(choice.duplicates.begin(), choice.duplicates.end(), [&](const Duplicate& one) {
    return !rows.labels().empty() && rows.labels()[one.row] != rows.labels()[one.matched];
  });
  outcome.document["near_duplicates"] = {
      {"eps", options.near_duplicates},
      {"within", choice.clusters.empty() ? "all rows" : "clusters"},
      {"representative", options.keep == "easy" ? "the easiest row: lowest score, then lowest id"
                                                : "the hardest row: highest score, then lowest id"},
      {"across_labels", rows.labels().empty() ? nlohmann::json() : nlohmann::json(across)},
      {"nearest", nearest_pairs(rows.view(), choice, rows.rows.labels().names)}};
  if (across > 0) {
    outcome.text += fmt::format("{} of the near-duplicates had another label than the row they match\n", across);
  }
}

void say_classes(const PruneOptions& options, const Choosable& rows, const ChosenRows& choice, Outcome& outcome) {
  constexpr int kMostNamed = 12;  // classes: more are in result.json alone
  auto& list = outcome.document["classes"] = nlohmann::json::array();
  std::vector<std::int64_t> all(static_cast<std::size_t>(rows.classes()));
  for (const int label : rows.labels()) ++all[label];
  const auto& names = rows.rows.labels().names;
  std::vector<std::string> named;
  for (int c = 0; c < rows.classes(); ++c) {
    list.push_back({{"label", names[c]}, {"n", all[c]}, {"kept", choice.kept_of_class[c]}});
    named.push_back(fmt::format("{}: {} of {}", names[c], choice.kept_of_class[c], all[c]));
  }
  outcome.text += fmt::format("--class-floor {} asks for {} rows of each class", options.class_floor,
                              class_floor_rows(options.class_floor, std::ssize(choice.kept), rows.classes()));
  if (rows.classes() <= kMostNamed) outcome.text += fmt::format("; kept are {}", fmt::join(named, ", "));
  outcome.text += "\n";
}

Outcome outcome_of(const PruneOptions& options, const Choosable& rows, const ChosenRows& choice, double seconds,
                   Session& session) {
  const std::int64_t n = rows.size(), kept = std::ssize(choice.kept), duplicates = std::ssize(choice.duplicates);
  Outcome outcome;
  outcome.document = {
      {"schema", 1},
      {"study", "prune"},
      {"data",
       {{"file", options.source.data}, {"fingerprint", rows.rows.fingerprint()}, {"n", n}, {"d", rows.features()}}},
      {"score", options.score},
      {"keep", options.keep},
      {"fraction", options.share()},
      {"class_floor", options.class_floor},
      {"seed", session.common.seed},
      {"kept", kept},
      {"removed", {{"near_duplicates", duplicates}, {"fraction", n - kept - duplicates}}},
      {"histogram", score_histogram(choice)},
      {"plane", choice_plane(rows.view(), choice, session.common.seed)},
      {"ranks", session.context.ranks.size()},
      {"seconds", seconds},
      {"environment", environment(session)}};
  outcome.text =
      fmt::format("{}: {} of {} rows kept ({} {}), {} near-duplicates and {} others removed, seed {}\n", options.out,
                  kept, n, options.keep, options.score, duplicates, n - kept - duplicates, session.common.seed);
  if (options.fraction && choice.left < choice.wanted) {
    outcome.text += fmt::format("--fraction {} asks for {} rows; without near-duplicates there are {}\n",
                                options.share(), choice.wanted, choice.left);
  }
  if (!choice.clusters.empty()) say_clusters(options, choice, outcome);
  if (options.duplicates()) say_duplicates(options, rows, choice, outcome);
  if (!rows.labels().empty()) say_classes(options, rows, choice, outcome);
  return outcome;
}

// Whether the choice is measured, by --splits, or else where it takes about a minute of one core at the most.
int splits_of(const PruneOptions& options, const Choosable& rows, std::string& why_not) {
  constexpr int kDefaultSplits = 5;  // the intervals of fewer are mostly Student's t: 12.7 for two, 2.8 for five
  constexpr double kMostSeconds = 60;
  const int splits = options.splits.value_or(kDefaultSplits);
  if (splits == 0) {
    why_not = "--splits 0";
  } else if (rows.labels().empty()) {
    why_not = "without labels there is no error to measure";
  } else if (rows.classes() > kMostClasses) {
    why_not = fmt::format("more than {} classes", kMostClasses);
  } else if (rows.size() < kFewestToCheck) {
    why_not = fmt::format("fewer than {} rows", kFewestToCheck);
  } else if (const double seconds = check_seconds(options.choice(), rows.view(), splits);
             !options.splits && seconds > kMostSeconds) {
    why_not = fmt::format("it takes about {:.0f} minutes of a core; --splits {} measures it", seconds / 60, splits);
  }
  if (!why_not.empty() && options.splits.value_or(0) > 0) throw Failure(kMisuse, "--splits: " + why_not);
  return why_not.empty() ? splits : 0;
}

// What the choice is worth, or why that was not measured.
void say_worth(const PruneOptions& options, const Choosable& rows, Session& session, Outcome& outcome) {
  std::string why_not;
  const int splits = splits_of(options, rows, why_not);
  nlohmann::json& worth = outcome.document["worth"];
  worth = {{"splits", splits}, {"verdict", nullptr}, {"why_not", nullptr}, {"findings", nlohmann::json::array()}};
  if (splits == 0) {
    worth["why_not"] = why_not;
    outcome.text += "what this choice is worth was not measured: " + why_not + "\n";
    return;
  }
  const PruneCheck check = check_choice(options.choice(), rows.view(), read_scores(options, rows.size()), splits,
                                        session.common.seed, session);
  if (!check.verdict.empty()) worth["verdict"] = check.verdict;
  worth["findings"] = to_json(std::vector{check.finding});
  outcome.text += to_text(std::vector{check.finding});
}

// Writes what was decided, by so many shards, and what it is worth.
Outcome write(const PruneOptions& options, const Choosable& rows, const ChosenRows& choice, double seconds, int shards,
              Session& session) {
  const std::filesystem::path folder = options.out;
  OutputFile removed_file(folder / "removed.csv");
  write_removed(choice, removed_file);
  NpyWriter<std::int64_t> kept_file(folder / "kept_ids.npy", {std::ssize(choice.kept)});
  kept_file.write(choice.kept);
  NpyWriter<float> scores_file(folder / "scores.npy", {rows.size()});
  scores_file.write(choice.scores);
  Outcome outcome = outcome_of(options, rows, choice, seconds, session);
  if (shards > 1) outcome.document["shards"] = shards;
  say_worth(options, rows, session, outcome);
  rows.rows.require_unchanged();
  publish(folder, json_text(outcome.document), kept_file, scores_file, removed_file);
  outcome.page = std::make_shared<Page>(prune_page(outcome.document));
  outcome.folder = folder;
  return outcome;
}

// Milliseconds of a core, very roughly, for the shares that progress is told in.
struct Costs {
  std::int64_t count, choice,
      worth;  // the number of clusters; scores, clusters and near-duplicates; what that is worth
  std::int64_t whole() const { return count + choice + worth; }
};
Costs costs_of(const PruneOptions& options, const Choosable& rows) {
  std::string why_not;
  const int splits = splits_of(options, rows, why_not);
  const double worth = splits > 0 ? check_seconds(options.choice(), rows.view(), splits) : 0;
  return {options.clusters == kAutoClusters ? 3000 : 0,
          std::llround(1000 * choice_seconds(options.choice(), rows.view())) + 1, std::llround(1000 * worth) + 1};
}

// The options on which the answer depends: the same in all shards, for `merge`, and in all ranks.
nlohmann::json job_of(const PruneOptions& options, std::uint64_t seed) {
  return {{"data", options.source.data},
          {"labels", options.source.labels},
          {"round_float64", options.source.round_float64},
          {"score", options.score},
          {"score_file", options.score_file},
          {"splits", options.splits ? nlohmann::json(*options.splits) : nlohmann::json()},
          {"keep", options.keep},
          {"fraction", options.fraction ? nlohmann::json(*options.fraction) : nlohmann::json()},
          {"class_floor", options.class_floor},
          {"near_duplicates", options.near_duplicates},
          {"clusters", options.clusters},
          {"clusters_from", options.clusters_from},
          {"seed", seed}};
}

PruneOptions options_of(const nlohmann::json& job) {
  PruneOptions options;
  options.source = {job.at("data"), job.at("labels"), job.at("round_float64")};
  options.score = job.at("score");
  options.score_file = job.at("score_file");
  if (!job.at("splits").is_null()) options.splits = job.at("splits").get<int>();
  options.keep = job.at("keep");
  if (!job.at("fraction").is_null()) options.fraction = job.at("fraction").get<double>();
  options.class_floor = job.at("class_floor");
  options.near_duplicates = job.at("near_duplicates");
  options.clusters = job.at("clusters");
  options.clusters_from = job.at("clusters_from");
  return options;
}

// By all ranks: the first writes.
Outcome run(PruneOptions options, Session& session) {
  Communicator& ranks = session.context.ranks;
  std::optional<Choosable> rows;
  std::string looks;
  on_all(ranks, [&] {
    check_options(options);
    rows.emplace(options.source);
    check_rows(options, *rows);
    std::string why_not;
    splits_of(options, *rows, why_not);
    if (ranks.rank() == 0) make_output_folder(options.out);
    if (ranks.size() > 1) looks = rows->rows.looks();
  });
  require_equal(ranks, {{"the command", job_of(options, session.common.seed).dump()},
                        {options.source.data, fmt::format("{} rows, some of them {}", rows->size(), looks)}});
  Stage stage(session, "prune");
  const Costs costs = costs_of(options, *rows);
  stage.part(0, costs.count, costs.whole());
  set_cluster_count(options, *rows, session);
  stage.part(costs.count, costs.count + costs.choice, costs.whole());
  const ChosenRows choice = choice_of(options, *rows, session);
  stage.part(costs.count + costs.choice, costs.whole(), costs.whole());
  Outcome outcome;
  on_all(ranks, [&] {
    if (ranks.rank() == 0) outcome = write(options, *rows, choice, stage.seconds(), 1, session);
  });
  return outcome;
}

// The near-duplicates of a shard, in files where there are some.
class DuplicateFiles {
 public:
  DuplicateFiles(const std::filesystem::path& folder, const std::vector<Duplicate>& duplicates) {
    if (duplicates.empty()) return;
    pairs_.emplace(folder / "duplicates.npy", std::vector{std::ssize(duplicates), std::ptrdiff_t{2}});
    cosines_.emplace(folder / "cosines.npy", std::vector{std::ssize(duplicates)});
    for (const Duplicate& one : duplicates) {
      pairs_->write(std::vector<std::int64_t>{one.row, one.matched});
      cosines_->write(std::vector{one.cosine});
    }
  }
  void commit() {
    if (pairs_) pairs_->commit();
    if (cosines_) cosines_->commit();
  }

 private:
  std::optional<NpyWriter<std::int64_t>> pairs_;
  std::optional<NpyWriter<float>> cosines_;
};

// Scores of the shard's rows, and near-duplicates of its clusters: of both, what needs no other shard.
Outcome run_shard(const PruneOptions& options, const Shard& shard, Session& session) {
  check_options(options);
  const Choosable rows(options.source);
  check_rows(options, rows);
  std::string why_not;
  splits_of(options, rows, why_not);  // what `merge` would refuse when all shards are done
  const std::int64_t n = rows.size(), d = rows.features();
  const Share own = shard.share(n);
  if (own.count == 0)
    throw Failure(kMisuse, fmt::format("--shard {}: {} holds only {} rows", options.shard, rows.rows.name(), n));
  const Stage stage(session, "prune");
  const ClusterShare clusters{shard.index - 1, shard.of};
  ChosenRows choice;  // of own rows and own clusters
  if (!options.clustered()) {
    choice.scores = plain_scores(options.choice(), rows.view(), read_scores(options, n), session.common.seed, session);
  }
  if (!options.clusters_from.empty()) {
    const GivenClusters given = clusters_from(options.clusters_from, rows);
    choice.clusters = given.labels;
    if (options.clustered())
      choice.scores = scores_in(rows, given, own, clusters, options.clusters_from, session.context);
  }
  if (options.duplicates()) choice.duplicates = duplicates_of(options, rows, choice, clusters, session);

  const std::filesystem::path folder = shard_folder(options.out, shard);
  make_output_folder(folder);
  NpyWriter<float> scores_file(folder / "scores.npy", {own.count});
  scores_file.write(
      std::span(choice.scores).subspan(static_cast<std::size_t>(own.first), static_cast<std::size_t>(own.count)));
  DuplicateFiles duplicate_files(folder, choice.duplicates);
  Outcome outcome;
  outcome.document = {{"schema", 1},
                      {"data", {{"file", options.source.data}, {"n", n}, {"d", d}, {"looks", rows.rows.looks()}}},
                      {"prune", job_of(options, session.common.seed)},
                      {"shard",
                       {{"index", shard.index},
                        {"of", shard.of},
                        {"first", own.first},
                        {"rows", own.count},
                        {"joined", {"scores.npy"}},
                        {"near_duplicates", choice.duplicates.size()}}},
                      {"seconds", stage.seconds()},
                      {"environment", environment(session)}};
  outcome.text = fmt::format("{}: scores of rows {} to {} of {}, {} near-duplicates, {:.3g} s\n", folder.string(),
                             own.first, own.first + own.count - 1, n, choice.duplicates.size(), stage.seconds());
  rows.rows.require_unchanged();
  publish(folder, json_text(outcome.document), scores_file, duplicate_files);
  return outcome;
}

}  // namespace

Outcome finish_prune(const nlohmann::json& job, const std::filesystem::path& folder, std::vector<float> scores,
                     std::vector<Duplicate> duplicates, double seconds, int shards, Session& session) {
  PruneOptions options = options_of(job);
  options.out = folder.string();
  Common common = session.common;
  common.seed = job.at("seed");
  Session own{common, session.context, session.progress};
  const Choosable rows(options.source);
  check_rows(options, rows);
  const std::int64_t n = rows.size();
  const auto is_row = [n](std::int64_t row) { return row >= 0 && row < n; };
  ChosenRows choice;
  choice.scores = std::move(scores);
  choice.duplicates = std::move(duplicates);
  if (std::ssize(choice.scores) != n ||
      !std::all_of(choice.duplicates.begin(), choice.duplicates.end(),
                   [&](const Duplicate& one) { return is_row(one.row) && is_row(one.matched); })) {
    throw Failure(kBadData,
                  fmt::format("{}: its shards are not of the {} rows of {}", options.out, n, options.source.data));
  }
  if (!options.clusters_from.empty()) choice.clusters = clusters_from(options.clusters_from, rows).labels;
  choose_among_left(options.choice(), rows.view(), common.seed, choice);
  return write(options, rows, choice, seconds, shards, own);
}

Command add_prune(CLI::App& program) {
  auto options = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand("prune", "Which rows of one's own data to keep, and why the others go");
  add_rows(*app, options->source);
  CLI::Option* score =
      app->add_option("--score", options->score, "How hard a row is, see the end")->check(one_of(own_scores()));
  score->group("Difficulty");
  app->add_option("--score-file", options->score_file,
                  "In place of --score one's own: .npy of a number for each row (n), larger where a row is harder")
      ->excludes(score)
      ->group("Difficulty");
  app->add_option("--keep", options->keep, "The hard rows or the easy ones")
      ->check(one_of({"hard", "easy"}))
      ->group("Choice");
  app->add_option("--fraction", options->fraction,
                  "Share of all n rows to keep; without it all that are no near-duplicates")
      ->check(real_number(0, 1))
      ->default_str("")
      ->group("Choice");
  add_cluster_count(*app, options->clusters, "k of k-means; with --near-duplicates alone, clusters to look within")
      ->group("Difficulty");
  app->add_option("--clusters-from", options->clusters_from,
                  "In place of --clusters: the folder of a kmeans --metric l2 of the same rows")
      ->type_name("FOLDER")
      ->group("Difficulty");
  app->add_option("--near-duplicates", options->near_duplicates,
                  "First remove rows whose cosine with a kept row of their cluster is at least 1 - eps; of such rows "
                  "the hardest stays (with --keep easy: the easiest)")
      ->check(real_number(0, 2))
      ->default_str("")
      ->group("Choice");
  app->add_option("--class-floor", options->class_floor,
                  "Each class keeps at least this share of an equal part, while it has as many rows")
      ->check(real_number(0, 1))
      ->group("Choice");
  add_own_shard(
      *app, options->shard,
      "Only the scores of the i-th of n parts of the rows, and the near-duplicates of a part of the clusters");
  app->add_option("--splits", options->splits,
                  "With labels: measures what the choice is worth on so many splits into rows to learn from and rows "
                  "held out, against as many random rows and against all; 0: not. Without it 5, where they take about "
                  "a minute at most")
      ->check(whole_number(0, 1000))
      ->default_str("")
      ->group("What the choice is worth");
  app->add_option("-o,--out", options->out,
                  "Folder for kept_ids.npy (int64, ascending), scores.npy (n) float32, removed.csv (id, reason, "
                  "matched id, cosine, score), result.json and report.html")
      ->required();
  std::string scores = kScoresHelp;  // but that which asks for a boundary that is known
  const std::size_t margin = scores.find("  margin");
  scores.erase(margin, scores.find('\n', margin) + 1 - margin);
  scores += "  random         a random number, which every other score has to beat\n";
  add_notes(*app,
            {"scalelab prune --data rows.npy --clusters auto --keep hard --fraction 0.4 -o kept",
             "scalelab prune --data rows.npy --labels labels.npy --score el2n --fraction 0.4 -o kept"},
            {scores, kAutoClustersHelp, kFormatsHelp});
  const auto start = [options](Session& session) {
    if (!options->score_file.empty()) options->score = "file";
    const Shard shard = parse_shard(options->shard);
    return shard.whole() ? run(*options, session) : run_shard(*options, shard, session);
  };
  return {.app = app, .run = start, .ranks = true};
}

}  // namespace scalelab::host
