// scalelab prune: which rows of one's own data to keep, and for every other row why not.
//
// result.json, schema 1: data {file, fingerprint, n, d}, score, keep, fraction, class_floor, seed, kept, removed
// {near_duplicates, fraction}, seconds, environment; and where there are such: clusters {k, metric, iterations,
// converged, empty_repaired, empty, sizes}, near_duplicates {eps, within, representative, across_labels}, classes
// [{label, n, kept}].
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
#include "host/lab/row_scores.h"
#include "host/own_data/near_duplicates.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/publish.h"

namespace scalelab::host {

namespace {

struct PruneOptions {
  Source source;
  std::string score = "kmeans", keep = "hard", out;
  double near_duplicates = -1, class_floor = kClassFloor;
  std::optional<double> fraction;
  int clusters = 0;

  bool clustered() const { return score == "kmeans" || score == "kmeans-cosine"; }
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
  const std::vector<int>& labels() const { return rows.labels().of_row; }  // (n), or empty
  int classes() const { return std::max(1, rows.labels().classes()); }
};

void check_options(const PruneOptions& options) {
  if (options.clustered() && options.clusters == 0) {
    // Near-duplicates are looked for without clusters as well: it is the default score that asks for them.
    const char* why = options.duplicates() ? " (the score says which of the near-duplicates stays)" : "";
    throw Failure(kMisuse, fmt::format("--score {} needs --clusters{}: give --clusters 100, or --score random, which "
                                       "does without",
                                       options.score, why));
  }
  if (!options.clustered() && !options.duplicates() && options.clusters != 0) {
    throw Failure(kMisuse,
                  fmt::format("--clusters is of no use to --score {} without --near-duplicates", options.score));
  }
  if (options.fraction && !(*options.fraction > 0)) throw Failure(kMisuse, "--fraction must be above 0");
  if (!options.fraction && !options.duplicates()) {
    throw Failure(kMisuse, "every row would stay: give --fraction, --near-duplicates or both");
  }
}

void check_rows(const PruneOptions& options, const Choosable& rows) {
  if (options.clusters > rows.size()) {
    throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", options.clusters, options.source.data,
                                       rows.size()));
  }
  if (options.score == "class-mean" && rows.labels().empty()) {
    throw Failure(kMisuse, "--score class-mean needs --labels, or data that bring their labels");
  }
}

// The rows at length 1, (n, d), for cosines.
std::vector<float> directions(const PruneOptions& options, const Choosable& rows) {
  const std::int64_t d = rows.features();
  std::vector<float> unit = unit_rows(rows.values, d);
  for (std::int64_t row = 0; row < rows.size(); ++row) {
    const auto begin = unit.begin() + row * d;
    if (std::any_of(begin, begin + d, [](float value) { return value != 0; })) continue;
    throw Failure(kBadData, fmt::format("{}: row {} is all zeros and has no direction; take it out, or use {}",
                                        options.source.data, row,
                                        options.duplicates() ? "no --near-duplicates" : "--score kmeans"));
  }
  return unit;
}

// What was decided of every row.
struct Choice {
  std::optional<Prototypes> prototypes;        // clusters: for the score, and to look for near-duplicates within
  std::vector<float> scores;                   // (n)
  std::vector<Duplicate> duplicates;           // removed first
  std::vector<const Duplicate*> duplicate_of;  // (n), null where a row is none
  std::int64_t wanted = 0, left = 0;           // rows that --fraction asks for; rows that are no near-duplicates
  std::vector<std::int64_t> kept;              // ids, ascending
  std::vector<bool> stays;                     // (n)
  std::vector<std::int64_t> kept_of_class;
};

// The choice among what near-duplicates leave.
void choose(const PruneOptions& options, const Choosable& rows, std::uint64_t seed, Choice& choice) {
  const std::int64_t n = rows.size();
  choice.wanted = std::clamp<std::int64_t>(std::llround(options.share() * static_cast<double>(n)), 1, n);
  std::vector<int> left, left_labels;
  std::vector<float> left_scores;
  for (std::int64_t row = 0; row < n; ++row) {
    if (choice.duplicate_of[row] != nullptr) continue;
    left.push_back(static_cast<int>(row));
    left_scores.push_back(choice.scores[row]);
    left_labels.push_back(rows.labels().empty() ? 0 : rows.labels()[row]);
  }
  choice.left = std::ssize(left);
  const double share = static_cast<double>(std::min(choice.wanted, choice.left)) / static_cast<double>(choice.left);
  choice.stays.resize(static_cast<std::size_t>(n));
  choice.kept_of_class.resize(static_cast<std::size_t>(rows.classes()));
  for (const int i :
       keep_rows(left_scores, left_labels, rows.classes(), options.keep, share, seed, options.class_floor)) {
    choice.kept.push_back(left[i]);
    choice.stays[left[i]] = true;
    ++choice.kept_of_class[left_labels[i]];
  }
}

Choice choice_of(const PruneOptions& options, const Choosable& rows, Session& session) {
  const std::int64_t n = rows.size(), d = rows.features();
  const std::uint64_t seed = session.common.seed;
  std::vector<float> unit;
  if (options.duplicates() || options.score == "kmeans-cosine") unit = directions(options, rows);
  Choice choice;
  if (options.clusters > 0) {
    choice.prototypes = options.score == "kmeans"
                            ? euclidean_prototypes(rows.values, d, options.clusters, seed, session)
                            : cosine_prototypes(unit, d, options.clusters, seed, session);
  }
  if (options.clustered()) {
    choice.scores = choice.prototypes->distances;
  } else if (options.score == "class-mean") {
    choice.scores = class_mean_distances(rows.values, d, rows.labels(), rows.classes());
  } else {
    choice.scores = random_scores(n, seed);
  }
  if (options.duplicates()) {
    const std::vector<int> one_cluster(choice.prototypes ? 0 : static_cast<std::size_t>(n));
    choice.duplicates =
        near_duplicates(unit, d, choice.prototypes ? choice.prototypes->labels : one_cluster,
                        preference(choice.scores, options.keep == "hard"), options.near_duplicates, session);
  }
  choice.duplicate_of.resize(static_cast<std::size_t>(n));
  for (const Duplicate& duplicate : choice.duplicates) choice.duplicate_of[duplicate.row] = &duplicate;
  choose(options, rows, seed, choice);
  return choice;
}

// removed.csv: every row that does not stay, and why.
void write_removed(const Choice& choice, OutputFile& file) {
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

void say_clusters(const PruneOptions& options, const Prototypes& prototypes, Outcome& outcome) {
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

void say_duplicates(const PruneOptions& options, const Choosable& rows, const Choice& choice, Outcome& outcome) {
  const auto across = std::count_if(choice.duplicates.begin(), choice.duplicates.end(), [&](const Duplicate& one) {
    return !rows.labels().empty() && rows.labels()[one.row] != rows.labels()[one.matched];
  });
  outcome.document["near_duplicates"] = {
      {"eps", options.near_duplicates},
      {"within", choice.prototypes ? "clusters" : "all rows"},
      {"representative", options.keep == "easy" ? "the easiest row: lowest score, then lowest id"
                                                : "the hardest row: highest score, then lowest id"},
      {"across_labels", rows.labels().empty() ? nlohmann::json() : nlohmann::json(across)}};
  if (across > 0) {
    outcome.text += fmt::format("{} of the near-duplicates had another label than the row they match\n", across);
  }
}

void say_classes(const PruneOptions& options, const Choosable& rows, const Choice& choice, Outcome& outcome) {
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

Outcome outcome_of(const PruneOptions& options, const Choosable& rows, const Choice& choice, double seconds,
                   Session& session) {
  const std::int64_t n = rows.size(), kept = std::ssize(choice.kept), duplicates = std::ssize(choice.duplicates);
  Outcome outcome;
  outcome.document = {
      {"schema", 1},
      {"data",
       {{"file", options.source.data}, {"fingerprint", rows.rows.fingerprint()}, {"n", n}, {"d", rows.features()}}},
      {"score", options.score},
      {"keep", options.keep},
      {"fraction", options.share()},
      {"class_floor", options.class_floor},
      {"seed", session.common.seed},
      {"kept", kept},
      {"removed", {{"near_duplicates", duplicates}, {"fraction", n - kept - duplicates}}},
      {"seconds", seconds},
      {"environment", environment(session)}};
  outcome.text =
      fmt::format("{}: {} of {} rows kept ({} {}), {} near-duplicates and {} others removed, seed {}\n", options.out,
                  kept, n, options.keep, options.score, duplicates, n - kept - duplicates, session.common.seed);
  if (options.fraction && choice.left < choice.wanted) {
    outcome.text += fmt::format("--fraction {} asks for {} rows; without near-duplicates there are {}\n",
                                options.share(), choice.wanted, choice.left);
  }
  if (choice.prototypes) say_clusters(options, *choice.prototypes, outcome);
  if (options.duplicates()) say_duplicates(options, rows, choice, outcome);
  if (!rows.labels().empty()) say_classes(options, rows, choice, outcome);
  return outcome;
}

Outcome run(const PruneOptions& options, Session& session) {
  check_options(options);
  const Choosable rows(options.source);
  check_rows(options, rows);
  make_output_folder(options.out);
  const std::filesystem::path folder = options.out;

  Stage stage(session, "prune");
  const Choice choice = choice_of(options, rows, session);
  OutputFile removed_file(folder / "removed.csv");
  write_removed(choice, removed_file);
  NpyWriter<std::int64_t> kept_file(folder / "kept_ids.npy", {std::ssize(choice.kept)});
  kept_file.write(choice.kept);
  NpyWriter<float> scores_file(folder / "scores.npy", {rows.size()});
  scores_file.write(choice.scores);
  Outcome outcome = outcome_of(options, rows, choice, stage.seconds(), session);

  rows.rows.require_unchanged();
  publish(folder, json_text(outcome.document), kept_file, scores_file, removed_file);
  return outcome;
}

}  // namespace

Command add_prune(CLI::App& program) {
  auto options = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand("prune", "Which rows of one's own data to keep, and why not the others");
  add_rows(*app, options->source);
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
  app->add_option("-o,--out", options->out,
                  "Folder for kept_ids.npy (int64, ascending), scores.npy (n) float32, removed.csv (id, reason, "
                  "matched id, cosine, score) and result.json")
      ->required();
  add_notes(*app, {"scalelab prune --data rows.npy --clusters 100 --keep hard --fraction 0.4 -o kept"}, {kFormatsHelp});
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
