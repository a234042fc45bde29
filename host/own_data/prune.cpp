// scalelab prune: which rows of one's own data to keep, for every other row why not, and what that choice is worth.
//
// result.json, schema 1: host/results.md says what it holds.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <optional>

#include "host/data/npy.h"
#include "host/data/source.h"
#include "host/lab/trial_options.h"
#include "host/own_data/choice.h"
#include "host/own_data/prune_check.h"
#include "host/own_data/prune_page.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/publish.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

struct PruneOptions {
  Source source;
  ChoiceOptions choice;
  std::string score_file, out;
  std::optional<double> fraction;
  std::optional<int> splits;
};

void check_options(PruneOptions& options) {
  ChoiceOptions& choice = options.choice;
  if (!options.score_file.empty()) choice.score = "file";
  if (choice.clustered() && choice.clusters == 0) {
    // Near-duplicates are looked for without clusters as well: it is the default score that asks for them.
    const char* why = choice.duplicates() ? " (the score says which of the near-duplicates stays)" : "";
    throw Failure(kMisuse, fmt::format("--score {} needs --clusters{}: give --clusters 100, or --score random, which "
                                       "does without",
                                       choice.score, why));
  }
  if (!choice.clustered() && !choice.duplicates() && choice.clusters != 0) {
    throw Failure(kMisuse,
                  fmt::format("--clusters is of no use to --score {} without --near-duplicates", choice.score));
  }
  if (options.fraction && !(*options.fraction > 0)) throw Failure(kMisuse, "--fraction must be above 0");
  if (!options.fraction && !choice.duplicates()) {
    throw Failure(kMisuse, "every row would stay: give --fraction, --near-duplicates or both");
  }
  choice.share = options.fraction.value_or(1);
}

void check_rows(const PruneOptions& options, const Choosable& rows) {
  if (options.choice.clusters > rows.size()) {
    throw Failure(kMisuse, fmt::format("--clusters {}: {} holds only {} rows", options.choice.clusters,
                                       options.source.data, rows.size()));
  }
  if (score_needs_labels(options.choice.score) && rows.labels.empty()) {
    throw Failure(kMisuse,
                  fmt::format("--score {} needs --labels, or data that bring their labels", options.choice.score));
  }
}

// One's own scores, (n).
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
                         digits(choice.scored.scores[row]));
    } else {
      csv += fmt::format("{},fraction,,,{}\n", row, digits(choice.scored.scores[row]));
    }
    if (csv.size() > std::size_t{1} << 20) {
      file.write(csv);
      csv.clear();
    }
  }
  file.write(csv);
}

void say_clusters(const ChoiceOptions& options, const Prototypes& prototypes, Outcome& outcome) {
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

void say_duplicates(const ChoiceOptions& options, const Choosable& rows, const ChosenRows& choice, Outcome& outcome) {
  const auto across = std::count_if(choice.duplicates.begin(), choice.duplicates.end(), [&](const Duplicate& one) {
    return !rows.labels.empty() && rows.labels[one.row] != rows.labels[one.matched];
  });
  outcome.document["near_duplicates"] = {
      {"eps", options.near_duplicates},
      {"within", choice.scored.prototypes ? "clusters" : "all rows"},
      {"representative", options.keep == "easy" ? "the easiest row: lowest score, then lowest id"
                                                : "the hardest row: highest score, then lowest id"},
      {"across_labels", rows.labels.empty() ? nlohmann::json() : nlohmann::json(across)}};
  if (across > 0) {
    outcome.text += fmt::format("{} of the near-duplicates had another label than the row they match\n", across);
  }
}

void say_classes(const ChoiceOptions& options, const Choosable& rows, const std::vector<std::string>& names,
                 const ChosenRows& choice, Outcome& outcome) {
  constexpr int kMostNamed = 12;  // classes: more are in result.json alone
  auto& list = outcome.document["classes"] = nlohmann::json::array();
  std::vector<std::int64_t> all(static_cast<std::size_t>(rows.classes));
  for (const int label : rows.labels) ++all[label];
  std::vector<std::string> named;
  for (int c = 0; c < rows.classes; ++c) {
    list.push_back({{"label", names[c]}, {"n", all[c]}, {"kept", choice.kept_of_class[c]}});
    named.push_back(fmt::format("{}: {} of {}", names[c], choice.kept_of_class[c], all[c]));
  }
  outcome.text += fmt::format("--class-floor {} asks for {} rows of each class", options.class_floor,
                              class_floor_rows(options.class_floor, std::ssize(choice.kept), rows.classes));
  if (rows.classes <= kMostNamed) outcome.text += fmt::format("; kept are {}", fmt::join(named, ", "));
  outcome.text += "\n";
}

// Whether the choice is measured, by --splits, or else where it takes about a minute of one core at the most.
int splits_of(const PruneOptions& options, const Choosable& rows, std::string& why_not) {
  constexpr int kDefaultSplits = 5;
  constexpr double kMostSeconds = 60;
  const int splits = options.splits.value_or(kDefaultSplits);
  if (splits == 0) {
    why_not = "--splits 0";
  } else if (rows.labels.empty()) {
    why_not = "without labels there is no error to measure";
  } else if (rows.classes > kMostClasses) {
    why_not = fmt::format("more than {} classes", kMostClasses);
  } else if (rows.size() < kFewestToCheck) {
    why_not = fmt::format("fewer than {} rows", kFewestToCheck);
  } else if (const double seconds = check_seconds(options.choice, rows, splits);
             !options.splits && seconds > kMostSeconds) {
    why_not = fmt::format("it takes about {:.0f} minutes of a core; --splits {} measures it", seconds / 60, splits);
  }
  if (!why_not.empty() && options.splits.value_or(0) > 0) throw Failure(kMisuse, "--splits: " + why_not);
  return why_not.empty() ? splits : 0;
}

Outcome outcome_of(const PruneOptions& options, const Rows& file, const Choosable& rows, const ChosenRows& choice,
                   Session& session) {
  const std::int64_t n = rows.size(), kept = std::ssize(choice.kept), duplicates = std::ssize(choice.duplicates);
  Outcome outcome;
  outcome.document = {
      {"schema", 1},
      {"data", {{"file", options.source.data}, {"fingerprint", file.fingerprint()}, {"n", n}, {"d", rows.features}}},
      {"score", options.choice.score},
      {"keep", options.choice.keep},
      {"fraction", options.choice.share},
      {"class_floor", options.choice.class_floor},
      {"seed", session.common.seed},
      {"kept", kept},
      {"removed", {{"near_duplicates", duplicates}, {"fraction", n - kept - duplicates}}},
      {"histogram", score_histogram(choice)}};
  outcome.text = fmt::format("{}: {} of {} rows kept ({} {}), {} near-duplicates and {} others removed, seed {}\n",
                             options.out, kept, n, options.choice.keep, options.choice.score, duplicates,
                             n - kept - duplicates, session.common.seed);
  if (options.fraction && choice.left < choice.wanted) {
    outcome.text += fmt::format("--fraction {} asks for {} rows; without near-duplicates there are {}\n",
                                options.choice.share, choice.wanted, choice.left);
  }
  if (choice.scored.prototypes) say_clusters(options.choice, *choice.scored.prototypes, outcome);
  if (options.choice.duplicates()) say_duplicates(options.choice, rows, choice, outcome);
  if (!rows.labels.empty()) say_classes(options.choice, rows, file.labels().names, choice, outcome);
  return outcome;
}

// What the choice is worth, or why that was not measured.
std::vector<Finding> say_worth(const PruneOptions& options, const Choosable& rows, std::span<const float> given,
                               Session& session, Outcome& outcome) {
  std::string why_not;
  const int splits = splits_of(options, rows, why_not);
  nlohmann::json& worth = outcome.document["worth"];
  worth = {{"splits", splits}, {"verdict", nullptr}, {"why_not", nullptr}, {"findings", nlohmann::json::array()}};
  if (splits == 0) {
    worth["why_not"] = why_not;
    outcome.text += "what this choice is worth was not measured: " + why_not + "\n";
    return {};
  }
  const PruneCheck check = check_choice(options.choice, rows, given, splits, session.common.seed, session);
  worth["verdict"] = check.verdict;
  worth["findings"] = to_json({check.finding});
  outcome.text += to_text({check.finding});
  return {check.finding};
}

Outcome run(PruneOptions options, Session& session) {
  check_options(options);
  Rows file(options.source);
  const std::span<const float> values = file.checked();
  const Choosable rows{
      options.source.data, values, file.features(), file.labels().of_row, std::max(1, file.labels().classes()),
      file.pixels()};
  check_rows(options, rows);
  const std::vector<float> given = read_scores(options, rows.size());
  std::string why_not;
  splits_of(options, rows, why_not);
  make_output_folder(options.out);
  const std::filesystem::path folder = options.out;

  const Stage stage(session, "prune");
  const std::uint64_t seed = session.common.seed;
  const ChosenRows choice =
      choose_rows(options.choice, rows, score_rows(options.choice, rows, given, seed, session), seed, session);
  OutputFile removed_file(folder / "removed.csv");
  write_removed(choice, removed_file);
  NpyWriter<std::int64_t> kept_file(folder / "kept_ids.npy", {std::ssize(choice.kept)});
  kept_file.write(choice.kept);
  NpyWriter<float> scores_file(folder / "scores.npy", {rows.size()});
  scores_file.write(choice.scored.scores);
  Outcome outcome = outcome_of(options, file, rows, choice, session);
  outcome.document["seconds"] = stage.seconds();
  const std::vector<Finding> worth = say_worth(options, rows, given, session, outcome);
  outcome.document["environment"] = environment(session);

  file.require_unchanged();
  publish(folder, json_text(outcome.document), kept_file, scores_file, removed_file);
  outcome.page = std::make_shared<Page>(prune_page(outcome.document, rows, choice, file.labels().names, worth));
  outcome.folder = folder;
  return outcome;
}

}  // namespace

Command add_prune(CLI::App& program) {
  auto options = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand("prune", "Which rows of one's own data to keep, and why not the others");
  add_rows(*app, options->source);
  ChoiceOptions& choice = options->choice;
  CLI::Option* score =
      app->add_option("--score", choice.score, "How hard a row is, see the end")->check(one_of(own_scores()));
  app->add_option("--score-file", options->score_file,
                  "In place of --score one's own: .npy of a number for each row (n), larger where a row is harder")
      ->excludes(score);
  app->add_option("--keep", choice.keep, "The hard rows or the easy ones")->check(one_of({"hard", "easy"}));
  app->add_option("--fraction", options->fraction,
                  "Share of all n rows to keep; without it all that are no near-duplicates")
      ->check(real_number(0, 1))
      ->default_str("");
  app->add_option("--clusters", choice.clusters, "k of k-means; with --near-duplicates alone, clusters to look within")
      ->check(whole_number(1, INT32_MAX))
      ->default_str("");
  app->add_option("--near-duplicates", choice.near_duplicates,
                  "First remove rows whose cosine with a kept row of their cluster is at least 1 - eps; of such rows "
                  "the hardest stays (with --keep easy: the easiest)")
      ->check(real_number(0, 2))
      ->default_str("");
  app->add_option("--class-floor", choice.class_floor,
                  "Each class keeps at least this share of an equal part, while it has as many rows")
      ->check(real_number(0, 1));
  app->add_option("--splits", options->splits,
                  "With labels: measures what the choice is worth on so many splits into rows to learn from and rows "
                  "held out, against as many random rows and against all; 0: not. Without it 5, where they take about "
                  "a minute at most")
      ->check(whole_number(0, 1000))
      ->default_str("");
  app->add_option("-o,--out", options->out,
                  "Folder for kept_ids.npy (int64, ascending), scores.npy (n) float32, removed.csv (id, reason, "
                  "matched id, cosine, score), result.json and report.html")
      ->required();
  std::string scores = kScoresHelp;  // but that which asks for a boundary that is known
  const std::size_t margin = scores.find("  margin");
  scores.erase(margin, scores.find('\n', margin) + 1 - margin);
  scores += "  random         a random number, which every other score has to beat\n";
  add_notes(*app,
            {"scalelab prune --data rows.npy --clusters 100 --keep hard --fraction 0.4 -o kept",
             "scalelab prune --data rows.npy --labels labels.npy --score el2n --fraction 0.4 -o kept"},
            {scores, kFormatsHelp});
  return {app, [options](Session& session) { return run(*options, session); }};
}

}  // namespace scalelab::host
