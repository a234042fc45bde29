// scalelab prune: which rows of one's own data to keep, and for every other row why not.
//
// result.json, schema 1: data {file, fingerprint, n, d}, score, keep, fraction, class_floor, seed, kept, removed
// {near_duplicates, fraction}, seconds, environment; and where there are such: clusters {k, metric, iterations,
// converged, empty_repaired, empty, sizes}, near_duplicates {eps, within, representative, across_labels}, classes
// [{label, n, kept}].
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
  double near_duplicates = -1, class_floor = 0.5;
  std::optional<double> fraction;
  int clusters = 0;
  bool round_float64 = false;

  bool clustered() const { return score == "kmeans" || score == "kmeans-cosine"; }
  bool looks_for_duplicates() const { return near_duplicates >= 0; }
  double share() const { return fraction.value_or(1); }  // of all rows, to keep
};

struct Rows {
  std::optional<NpyMatrix> file;
  std::vector<float> own;         // of a file that is not used where it lies
  std::span<const float> values;  // (n, d)
  std::int64_t features = 0;
  std::vector<int> labels;               // (n), or empty
  std::vector<std::string> class_names;  // of the labels
  std::int64_t size() const { return static_cast<std::int64_t>(values.size()) / features; }
  int classes() const { return std::max(1, static_cast<int>(class_names.size())); }  // one without labels
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

// What does not fit together among the options, and among options and rows.
void check(const PruneOptions& options) {
  const bool clustered = options.clustered();
  if (clustered && options.clusters == 0) {
    throw Failure(kMisuse, fmt::format("--score {} needs --clusters", options.score));
  }
  if (!clustered && !options.looks_for_duplicates() && options.clusters != 0) {
    throw Failure(kMisuse,
                  fmt::format("--clusters is of no use to --score {} without --near-duplicates", options.score));
  }
  if (options.fraction && !(*options.fraction > 0)) throw Failure(kMisuse, "--fraction must be above 0");
  if (!options.fraction && !options.looks_for_duplicates()) {
    throw Failure(kMisuse, "every row would stay: give --fraction, --near-duplicates or both");
  }
}

void check(const PruneOptions& options, const Rows& rows) {
  if (options.clusters > rows.size()) {
    throw Failure(kMisuse,
                  fmt::format("--clusters {}: {} holds only {} rows", options.clusters, options.data, rows.size()));
  }
  if (options.score == "class-mean" && rows.labels.empty()) {
    throw Failure(kMisuse, "--score class-mean needs --labels, or a CSV file with labels");
  }
  if (rows.file) return;  // checked when it was read
  FeatureRanges ranges(rows.features);
  ranges.add(rows.values);
  if (!ranges.distances_fit()) throw Failure(kBadData, options.data + ": " + FeatureRanges::kTooFar);
}

// The rows at length 1, where cosines are asked for; else nothing.
std::vector<float> directions_of(const PruneOptions& options, const Rows& rows) {
  if (!options.looks_for_duplicates() && options.score != "kmeans-cosine") return {};
  std::vector<float> unit = unit_rows(rows.values, rows.features);
  for (std::int64_t row = 0; row < rows.size(); ++row) {
    const auto begin = unit.begin() + row * rows.features;
    if (std::any_of(begin, begin + rows.features, [](float value) { return value != 0; })) continue;
    throw Failure(kBadData,
                  fmt::format("{}: row {} is all zeros and has no direction; take it out, or use {}", options.data, row,
                              options.looks_for_duplicates() ? "no --near-duplicates" : "--score kmeans"));
  }
  return unit;
}

// How hard each row is, and the clusters: for the score, and to look for near-duplicates within.
struct Scored {
  std::vector<float> scores;  // (n)
  std::optional<Prototypes> prototypes;
};
Scored score_rows(const PruneOptions& options, const Rows& rows, const std::vector<float>& unit, Session& session) {
  const std::uint64_t seed = session.common.seed;
  Scored scored;
  if (options.clusters > 0) {
    scored.prototypes = options.score == "kmeans"
                            ? euclidean_prototypes(rows.values, rows.features, options.clusters, seed, session)
                            : cosine_prototypes(unit, rows.features, options.clusters, seed, session);
  }
  if (options.clustered()) {
    scored.scores = scored.prototypes->distances;
  } else if (options.score == "class-mean") {
    scored.scores = class_mean_distances(rows.values, rows.features, rows.labels, rows.classes());
  } else {
    scored.scores = random_scores(rows.size(), seed);
  }
  return scored;
}

// Which rows stay, and of the others which were near-duplicates.
struct Selection {
  std::vector<Duplicate> duplicates;
  std::vector<const Duplicate*> duplicate_of;  // (n); null: the row is none
  std::int64_t left = 0, wanted = 0;           // rows without the near-duplicates, and rows asked for
  std::vector<std::int64_t> kept;              // ascending
  std::vector<bool> stays;                     // (n)
  std::vector<std::int64_t> kept_of_class;     // (classes); of data without labels all

  std::int64_t others() const { return std::ssize(stays) - std::ssize(kept) - std::ssize(duplicates); }
};

// First near-duplicates go, within clusters where there are any; then a fraction of all rows is chosen of those left.
Selection select(const PruneOptions& options, const Rows& rows, const Scored& scored, const std::vector<float>& unit,
                 Session& session) {
  const std::int64_t n = rows.size();
  Selection chosen;
  if (options.looks_for_duplicates()) {
    const std::vector<int> one_cluster(scored.prototypes ? 0 : static_cast<std::size_t>(n));
    chosen.duplicates =
        near_duplicates(unit, rows.features, scored.prototypes ? scored.prototypes->labels : one_cluster,
                        preference(scored.scores, options.keep == "hard"), options.near_duplicates, session);
  }
  chosen.duplicate_of.resize(static_cast<std::size_t>(n));
  for (const Duplicate& duplicate : chosen.duplicates) chosen.duplicate_of[duplicate.row] = &duplicate;

  std::vector<int> left, labels;
  std::vector<float> scores;
  for (std::int64_t row = 0; row < n; ++row) {
    if (chosen.duplicate_of[row] != nullptr) continue;
    left.push_back(static_cast<int>(row));
    scores.push_back(scored.scores[row]);
    labels.push_back(rows.labels.empty() ? 0 : rows.labels[row]);
  }
  chosen.left = std::ssize(left);
  chosen.wanted = std::clamp<std::int64_t>(std::llround(options.share() * static_cast<double>(n)), 1, n);
  const double share = static_cast<double>(std::min(chosen.wanted, chosen.left)) / static_cast<double>(chosen.left);
  chosen.stays.resize(static_cast<std::size_t>(n));
  chosen.kept_of_class.resize(static_cast<std::size_t>(rows.classes()));
  for (const int i :
       keep_rows(scores, labels, rows.classes(), options.keep, share, session.common.seed, options.class_floor)) {
    chosen.kept.push_back(left[i]);
    chosen.stays[left[i]] = true;
    ++chosen.kept_of_class[labels[i]];
  }
  return chosen;
}

// Every row that goes, with its reason.
void write_removed(OutputFile& file, const Selection& chosen, const std::vector<float>& scores) {
  const auto number = [](float value) {
    char digits[32];
    return std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  std::string csv = "id,reason,matched_id,cosine,score\n";
  for (std::size_t row = 0; row < chosen.stays.size(); ++row) {
    if (chosen.stays[row]) continue;
    const Duplicate* duplicate = chosen.duplicate_of[row];
    csv += duplicate == nullptr ? fmt::format("{},fraction,,,{}\n", row, number(scores[row]))
                                : fmt::format("{},near-duplicate,{},{},{}\n", row, duplicate->matched,
                                              number(duplicate->cosine), number(scores[row]));
    if (csv.size() > std::size_t{1} << 20) {
      file.write(csv);
      csv.clear();
    }
  }
  file.write(csv);
}

// What is said of the clusters, of near-duplicates and of classes: into the document, and a line each on the terminal.
void tell_clusters(const PruneOptions& options, const Prototypes& prototypes, Outcome& outcome) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(options.clusters));
  for (const int label : prototypes.labels) ++sizes[label];
  const auto empty = std::count(sizes.begin(), sizes.end(), 0);
  outcome.document["clusters"] = {{"k", options.clusters},
                                  {"metric", options.score == "kmeans" ? "euclidean" : "cosine"},
                                  {"iterations", prototypes.iterations},
                                  {"converged", prototypes.converged},
                                  {"empty_repaired", prototypes.repaired},
                                  {"empty", empty},
                                  {"sizes", sizes}};
  outcome.text += fmt::format(
      "{} clusters of {} to {} rows, {} iterations{}; {} emptied on the way and repaired, {} "
      "empty at the end\n",
      options.clusters, *std::min_element(sizes.begin(), sizes.end()), *std::max_element(sizes.begin(), sizes.end()),
      prototypes.iterations, prototypes.converged ? "" : " (not converged)", prototypes.repaired, empty);
}

void tell_duplicates(const PruneOptions& options, const Rows& rows, const Selection& chosen, bool in_clusters,
                     Outcome& outcome) {
  const auto across = std::count_if(chosen.duplicates.begin(), chosen.duplicates.end(), [&](const Duplicate& d) {
    return !rows.labels.empty() && rows.labels[d.row] != rows.labels[d.matched];
  });
  outcome.document["near_duplicates"] = {
      {"eps", options.near_duplicates},
      {"within", in_clusters ? "clusters" : "all rows"},
      {"representative", options.keep == "easy" ? "the easiest row: lowest score, then lowest id"
                                                : "the hardest row: highest score, then lowest id"},
      {"across_labels", rows.labels.empty() ? nlohmann::json() : nlohmann::json(across)}};
  if (across > 0) {
    outcome.text += fmt::format("{} of the near-duplicates had another label than the row they match\n", across);
  }
}

void tell_classes(const Rows& rows, const Selection& chosen, Outcome& outcome) {
  auto& list = outcome.document["classes"] = nlohmann::json::array();
  std::vector<std::int64_t> all(rows.class_names.size());
  for (const int label : rows.labels) ++all[label];
  for (std::size_t c = 0; c < all.size(); ++c) {
    list.push_back({{"label", rows.class_names[c]}, {"n", all[c]}, {"kept", chosen.kept_of_class[c]}});
  }
}

Outcome outcome_of(const PruneOptions& options, const Rows& rows, const Scored& scored, const Selection& chosen,
                   double seconds, Session& session) {
  const std::int64_t n = rows.size();
  Outcome outcome;
  outcome.document = {
      {"schema", 1},
      {"data", {{"file", options.data}, {"fingerprint", fingerprint_of(options.data)}, {"n", n}, {"d", rows.features}}},
      {"score", options.score},
      {"keep", options.keep},
      {"fraction", options.share()},
      {"class_floor", options.class_floor},
      {"seed", session.common.seed},
      {"kept", chosen.kept.size()},
      {"removed", {{"near_duplicates", chosen.duplicates.size()}, {"fraction", chosen.others()}}},
      {"seconds", seconds},
      {"environment", environment(session)}};
  outcome.text = fmt::format("{}: {} of {} rows kept ({} {}), {} near-duplicates and {} others removed, seed {}\n",
                             options.out, chosen.kept.size(), n, options.keep, options.score, chosen.duplicates.size(),
                             chosen.others(), session.common.seed);
  if (options.fraction && chosen.left < chosen.wanted) {
    outcome.text += fmt::format("--fraction {} asks for {} rows; without near-duplicates there are {}\n",
                                options.share(), chosen.wanted, chosen.left);
  }
  if (scored.prototypes) tell_clusters(options, *scored.prototypes, outcome);
  if (options.looks_for_duplicates()) {
    tell_duplicates(options, rows, chosen, scored.prototypes.has_value(), outcome);
  }
  if (!rows.labels.empty()) tell_classes(rows, chosen, outcome);
  return outcome;
}

Outcome run(const PruneOptions& options, Session& session) {
  check(options);
  Rows rows;
  read_rows(options, rows);
  check(options, rows);
  make_output_folder(options.out);
  const std::vector<float> unit = directions_of(options, rows);

  const Stage stage(session, "prune");
  const Scored scored = score_rows(options, rows, unit, session);
  const Selection chosen = select(options, rows, scored, unit, session);

  // All files are written under other names first and appear together, result.json last.
  const std::filesystem::path folder = options.out;
  OutputFile removed_file(folder / "removed.csv");
  write_removed(removed_file, chosen, scored.scores);
  NpyWriter<std::int64_t> kept_file(folder / "kept_ids.npy", {std::ssize(chosen.kept)});
  kept_file.write(chosen.kept);
  NpyWriter<float> scores_file(folder / "scores.npy", {rows.size()});
  scores_file.write(scored.scores);
  Outcome outcome = outcome_of(options, rows, scored, chosen, stage.seconds(), session);
  remove_stale_result(folder / "result.json");
  kept_file.commit();
  scores_file.commit();
  removed_file.commit();
  write_file(folder / "result.json", json_text(outcome.document));
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
  app->add_option("--fraction", options->fraction,
                  "Share of all n rows to keep; without it all that are no near-duplicates")
      ->check(real_number(0, 1))
      ->default_str("");
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
