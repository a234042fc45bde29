// scalelab prune: which rows of one's own data to keep, and for every other row why not.
#include <fmt/format.h>

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
#include "host/lab/difficulty.h"
#include "host/own_data/near_duplicates.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

struct PruneOptions {
  std::string data, labels, score = "kmeans", keep = "hard", out;
  double fraction = 1, near_duplicates = -1, class_floor = 0.5;
  int clusters = 0;
  bool round_float64 = false;
};

struct Rows {
  std::optional<NpyMatrix> file;
  std::vector<float> own;         // of a file that is not used where it lies
  std::span<const float> values;  // (n, d)
  std::int64_t features = 0;
  std::vector<int> labels;               // (n), or empty
  std::vector<std::string> class_names;  // of the labels
  std::int64_t size() const { return static_cast<std::int64_t>(values.size()) / features; }
};

bool is_csv(const std::string& file) { return std::filesystem::path(file).extension() == ".csv"; }

// Rows that may be anywhere do not move: `rows` is filled in place.
void read_rows(const PruneOptions& options, Rows& rows) {
  if (is_csv(options.data)) {
    if (!options.labels.empty()) throw Failure(kMisuse, "--labels: the last column of the CSV file holds the labels");
    Dataset data = read_points_csv(options.data);
    rows.own = std::move(data.points);
    rows.values = rows.own;
    rows.features = data.features;
    rows.labels.assign(data.labels.begin(), data.labels.end());
    rows.class_names = data.class_names;
  } else {
    rows.file.emplace(options.data, options.round_float64);
    rows.features = rows.file->features();
    rows.values = checked_rows(*rows.file, rows.own);
  }
  if (rows.size() > INT32_MAX) {
    throw Failure(kBadData,
                  fmt::format("{}: {} rows; at most 2147483647 can be told apart", options.data, rows.size()));
  }
  if (!options.labels.empty()) {
    const std::vector<std::int64_t> labels = read_npy_integers(options.labels);
    if (std::ssize(labels) != rows.size()) {
      throw Failure(kBadData, fmt::format("{}: holds {} labels where {} has {} rows", options.labels, labels.size(),
                                          options.data, rows.size()));
    }
    std::map<std::int64_t, int> classes;
    for (const std::int64_t label : labels) classes.emplace(label, 0);
    for (auto& [label, number] : classes) {
      number = static_cast<int>(rows.class_names.size());
      rows.class_names.push_back(std::to_string(label));
    }
    for (const std::int64_t label : labels) rows.labels.push_back(classes.at(label));
  }
}

std::vector<float> random_scores(std::int64_t n, std::uint64_t seed) {
  std::vector<float> scores;
  for (std::int64_t row = 0; row < n; ++row) {
    scores.push_back(uniform_float(random_words(seed, Stream::rows, static_cast<std::uint64_t>(row))[0]));
  }
  return scores;
}

Outcome run(const PruneOptions& options, Session& session) {
  const bool clustered = options.score == "kmeans" || options.score == "kmeans-cosine";
  const bool duplicates = options.near_duplicates >= 0;
  if (clustered && options.clusters == 0) {
    throw Failure(kMisuse, fmt::format("--score {} needs --clusters", options.score));
  }
  if (!clustered && !duplicates && options.clusters != 0) {
    throw Failure(kMisuse,
                  fmt::format("--clusters is of no use to --score {} without --near-duplicates", options.score));
  }
  if (!(options.fraction > 0)) throw Failure(kMisuse, "--fraction must be above 0");
  Rows rows;
  read_rows(options, rows);
  const std::int64_t n = rows.size(), d = rows.features;
  if (options.clusters > n) {
    throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", options.clusters, options.data, n));
  }
  if (options.score == "class-mean" && rows.labels.empty()) {
    throw Failure(kMisuse, "--score class-mean needs --labels, or a CSV file with labels");
  }
  if (!rows.file) {
    FeatureRanges ranges(d);
    ranges.add(rows.values);
    if (!ranges.distances_fit()) throw Failure(kBadData, options.data + ": " + FeatureRanges::kTooFar);
  }
  make_output_folder(options.out);
  const std::filesystem::path folder = options.out;

  std::vector<float> unit;
  if (duplicates || options.score == "kmeans-cosine") {
    unit = unit_rows(rows.values, d);
    for (std::int64_t row = 0; row < n; ++row) {
      const auto begin = unit.begin() + row * d;
      if (std::any_of(begin, begin + d, [](float value) { return value != 0; })) continue;
      throw Failure(kBadData, fmt::format("{}: row {} is all zeros and has no direction; take it out, or use {}",
                                          options.data, row, duplicates ? "no --near-duplicates" : "--score kmeans"));
    }
  }

  // Clusters, for the score and to look for near-duplicates within.
  Stage stage(session, "prune");
  std::optional<Prototypes> prototypes;
  if (options.clusters > 0) {
    prototypes = options.score == "kmeans"
                     ? euclidean_prototypes(rows.values, d, options.clusters, session.common.seed, session)
                     : cosine_prototypes(unit, d, options.clusters, session.common.seed, session);
  }
  std::vector<float> scores;
  if (clustered) {
    scores = prototypes->distances;
  } else if (options.score == "class-mean") {
    scores = class_mean_distances(rows.values, d, rows.labels, static_cast<int>(rows.class_names.size()));
  } else {
    scores = random_scores(n, session.common.seed);
  }

  std::vector<Duplicate> removed;
  if (duplicates) {
    const std::vector<int> one_cluster(prototypes ? 0 : static_cast<std::size_t>(n));
    removed = near_duplicates(unit, d, prototypes ? prototypes->labels : one_cluster,
                              preference(scores, options.keep == "hard"), options.near_duplicates, session);
  }
  std::vector<const Duplicate*> duplicate_of(static_cast<std::size_t>(n));
  for (const Duplicate& duplicate : removed) duplicate_of[duplicate.row] = &duplicate;

  // The choice among what is left.
  const auto wanted = std::clamp<std::int64_t>(std::llround(options.fraction * static_cast<double>(n)), 1, n);
  std::vector<int> left, left_labels;
  std::vector<float> left_scores;
  for (std::int64_t row = 0; row < n; ++row) {
    if (duplicate_of[row] != nullptr) continue;
    left.push_back(static_cast<int>(row));
    left_scores.push_back(scores[row]);
    left_labels.push_back(rows.labels.empty() ? 0 : rows.labels[row]);
  }
  const int classes = std::max<int>(1, static_cast<int>(rows.class_names.size()));
  const std::int64_t kept_count = std::min<std::int64_t>(wanted, std::ssize(left));
  const std::vector<int> kept_of_left = keep_rows(left_scores, left_labels, classes, options.keep,
                                                  static_cast<double>(kept_count) / static_cast<double>(left.size()),
                                                  session.common.seed, options.class_floor);
  std::vector<std::int64_t> kept;
  std::vector<bool> stays(static_cast<std::size_t>(n));
  std::vector<std::int64_t> kept_of_class(static_cast<std::size_t>(classes));
  for (const int i : kept_of_left) {
    kept.push_back(left[i]);
    stays[left[i]] = true;
    ++kept_of_class[left_labels[i]];
  }

  std::string csv = "id,reason,matched_id,cosine,score\n";
  OutputFile removed_file(folder / "removed.csv");
  std::int64_t across_labels = 0;
  const auto number = [](float value) {
    char digits[32];
    return std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  for (std::int64_t row = 0; row < n; ++row) {
    if (stays[row]) continue;
    if (const Duplicate* duplicate = duplicate_of[row]; duplicate != nullptr) {
      csv += fmt::format("{},near-duplicate,{},{},{}\n", row, duplicate->matched, number(duplicate->cosine),
                         number(scores[row]));
      across_labels += !rows.labels.empty() && rows.labels[row] != rows.labels[duplicate->matched];
    } else {
      csv += fmt::format("{},fraction,,,{}\n", row, number(scores[row]));
    }
    if (csv.size() > std::size_t{1} << 20) {
      removed_file.write(csv);
      csv.clear();
    }
  }
  removed_file.write(csv);
  NpyWriter<std::int64_t> kept_file(folder / "kept_ids.npy", {std::ssize(kept)});
  kept_file.write(kept);
  NpyWriter<float> scores_file(folder / "scores.npy", {n});
  scores_file.write(scores);

  Outcome outcome;
  nlohmann::json& document = outcome.document;
  document = {
      {"schema", 1},
      {"data", {{"file", options.data}, {"fingerprint", fingerprint_of(options.data)}, {"n", n}, {"d", d}}},
      {"score", options.score},
      {"keep", options.keep},
      {"fraction", options.fraction},
      {"class_floor", options.class_floor},
      {"seed", session.common.seed},
      {"kept", kept.size()},
      {"removed", {{"near_duplicates", removed.size()}, {"fraction", n - std::ssize(kept) - std::ssize(removed)}}},
      {"seconds", stage.seconds()},
      {"environment", environment(session)}};
  outcome.text = fmt::format("{}: {} of {} rows kept ({} {}), {} near-duplicates and {} others removed, seed {}\n",
                             options.out, kept.size(), n, options.keep, options.score, removed.size(),
                             n - std::ssize(kept) - std::ssize(removed), session.common.seed);
  if (kept_count < wanted) {
    outcome.text += fmt::format("--fraction {} asks for {} rows; without near-duplicates there are {}\n",
                                options.fraction, wanted, left.size());
  }
  if (prototypes) {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(options.clusters));
    for (const int label : prototypes->labels) ++sizes[label];
    const auto empty = std::count(sizes.begin(), sizes.end(), 0);
    document["clusters"] = {{"k", options.clusters},
                            {"metric", options.score == "kmeans" ? "euclidean" : "cosine"},
                            {"iterations", prototypes->iterations},
                            {"converged", prototypes->converged},
                            {"empty_repaired", prototypes->repaired},
                            {"empty", empty},
                            {"sizes", sizes}};
    outcome.text += fmt::format(
        "{} clusters of {} to {} rows, {} iterations{}; {} emptied on the way and repaired, {} "
        "empty at the end\n",
        options.clusters, *std::min_element(sizes.begin(), sizes.end()), *std::max_element(sizes.begin(), sizes.end()),
        prototypes->iterations, prototypes->converged ? "" : " (not converged)", prototypes->repaired, empty);
  }
  if (duplicates) {
    document["near_duplicates"] = {
        {"eps", options.near_duplicates},
        {"within", prototypes ? "clusters" : "all rows"},
        {"representative", options.keep == "easy" ? "the easiest row: lowest score, then lowest id"
                                                  : "the hardest row: highest score, then lowest id"},
        {"across_labels", rows.labels.empty() ? nlohmann::json() : nlohmann::json(across_labels)}};
    if (across_labels > 0) {
      outcome.text +=
          fmt::format("{} of the near-duplicates had another label than the row they match\n", across_labels);
    }
  }
  if (!rows.labels.empty()) {
    auto& list = document["classes"] = nlohmann::json::array();
    std::vector<std::int64_t> all(static_cast<std::size_t>(classes));
    for (const int label : rows.labels) ++all[label];
    for (int c = 0; c < classes; ++c) {
      list.push_back({{"label", rows.class_names[c]}, {"n", all[c]}, {"kept", kept_of_class[c]}});
    }
  }
  remove_stale_result(folder / "result.json");
  kept_file.commit();
  scores_file.commit();
  removed_file.commit();
  write_file(folder / "result.json", json_text(document));
  return outcome;
}

}  // namespace

Command add_prune(CLI::App& program) {
  auto options = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand("prune", "Which rows of one's own data to keep, and why not the others");
  app->add_option("--data", options->data,
                  "Rows (n, d), .npy of float32 or float16; or labelled points, .csv (the last column is the label)")
      ->required();
  app->add_option("--labels", options->labels, "Labels (n), .npy of integers; classes then keep their floor");
  app->add_option("--score", options->score,
                  "How hard a row is: kmeans (distance to the nearest centroid), kmeans-cosine (on unit rows), "
                  "class-mean (distance to the mean of its class), random")
      ->check(CLI::IsMember({"kmeans", "kmeans-cosine", "class-mean", "random"}));
  app->add_option("--keep", options->keep, "The hard rows or the easy ones")->check(CLI::IsMember({"hard", "easy"}));
  app->add_option("--fraction", options->fraction, "Share of all n rows to keep")->check(real_number(0, 1));
  app->add_option("--clusters", options->clusters,
                  "k of k-means; with --near-duplicates alone, clusters to look within")
      ->check(whole_number(1, INT32_MAX))
      ->default_str("");
  app->add_option("--near-duplicates", options->near_duplicates,
                  "First remove rows whose cosine with a kept row of their cluster is at least 1 - eps; of such rows "
                  "the hardest stays (with --keep easy: the easiest)")
      ->check(real_number(0, 2))
      ->default_str("");
  app->add_option("--class-floor", options->class_floor,
                  "Each class keeps at least this share of an equal part, while it has as many rows")
      ->check(real_number(0, 1));
  app->add_flag("--round-float64", options->round_float64, "Accept float64 files and round them to float32");
  app->add_option("-o,--out", options->out,
                  "Folder for kept_ids.npy (int64, ascending), scores.npy (n) float32, removed.csv (id, reason, "
                  "matched id, cosine, score) and result.json")
      ->required();
  add_notes(*app, {"scalelab prune --data rows.npy --clusters 100 --keep hard --fraction 0.4 -o kept"});
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
