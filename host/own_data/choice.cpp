#include "host/own_data/choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/data/dataset.h"
#include "host/lab/difficulty.h"
#include "host/lab/evaluate.h"

namespace scalelab::host {

namespace {

// The rows at length 1, (n, d), for cosines.
std::vector<float> directions(const ChoiceOptions& options, const Choosable& rows) {
  const std::int64_t d = rows.features;
  std::vector<float> unit = unit_rows(rows.values, d);
  for (std::int64_t row = 0; row < rows.size(); ++row) {
    const auto begin = unit.begin() + row * d;
    if (std::any_of(begin, begin + d, [](float value) { return value != 0; })) continue;
    throw Failure(kBadData,
                  fmt::format("{}: row {} is all zeros and has no direction; take it out, or use {}", rows.name, row,
                              options.duplicates() ? "no --near-duplicates" : "--score kmeans"));
  }
  return unit;
}

// The rows as networks see them.
Dataset scaled(const ChoiceOptions& options, const Choosable& rows) {
  if (rows.classes > kMostClasses) {
    throw Failure(kMisuse, fmt::format("--score {}: {} has {} classes, and networks tell {} apart at most; use another "
                                       "score",
                                       options.score, rows.name, rows.classes, kMostClasses));
  }
  Dataset data;
  data.points.assign(rows.values.begin(), rows.values.end());
  data.labels.assign(rows.labels.begin(), rows.labels.end());
  data.features = static_cast<int>(rows.features);
  data.classes = rows.classes;
  data.pixels = rows.pixels;
  scale_features(data);
  return data;
}

// The choice among what near-duplicates leave.
void choose_among_left(const ChoiceOptions& options, const Choosable& rows, std::uint64_t seed, ChosenRows& choice) {
  const std::int64_t n = rows.size();
  choice.wanted = std::clamp<std::int64_t>(std::llround(options.share * static_cast<double>(n)), 1, n);
  std::vector<int> left, left_labels;
  std::vector<float> left_scores;
  for (std::int64_t row = 0; row < n; ++row) {
    if (choice.duplicate_of[row] != nullptr) continue;
    left.push_back(static_cast<int>(row));
    left_scores.push_back(choice.scored.scores[row]);
    left_labels.push_back(rows.labels.empty() ? 0 : rows.labels[row]);
  }
  choice.left = std::ssize(left);
  const double share = static_cast<double>(std::min(choice.wanted, choice.left)) / static_cast<double>(choice.left);
  choice.stays.resize(static_cast<std::size_t>(n));
  choice.kept_of_class.resize(static_cast<std::size_t>(rows.classes));
  for (const int i :
       keep_rows(left_scores, left_labels, rows.classes, options.keep, share, seed, options.class_floor)) {
    choice.kept.push_back(left[i]);
    choice.stays[left[i]] = true;
    ++choice.kept_of_class[left_labels[i]];
  }
}

}  // namespace

const std::vector<std::string>& own_scores() {
  static const std::vector<std::string> names = {"kmeans", "kmeans-cosine", "class-mean", "boundary",
                                                 "el2n",   "forgetting",    "ddd",        "random"};
  return names;
}

bool score_needs_labels(const std::string& score) { return score != "file" && needs_labels(score, "input"); }

ScoredRows score_rows(const ChoiceOptions& options, const Choosable& rows, std::span<const float> given,
                      std::uint64_t seed, Session& session) {
  const std::int64_t n = rows.size(), d = rows.features;
  ScoredRows scored;
  if (options.clusters > 0) {
    scored.prototypes = options.score == "kmeans"
                            ? euclidean_prototypes(rows.values, d, options.clusters, seed, session)
                            : cosine_prototypes(directions(options, rows), d, options.clusters, seed, session);
  }
  if (options.score == "file") {
    scored.scores.assign(given.begin(), given.end());
  } else if (options.clustered()) {
    scored.scores = scored.prototypes->distances;
  } else if (options.score == "class-mean") {
    scored.scores = class_mean_distances(rows.values, d, rows.labels, rows.classes);
  } else if (options.score == "random") {
    scored.scores = random_scores(n, seed);
  } else {
    Trial trial;  // what a score needs of one
    trial.data = rows.name;
    trial.n = n;
    trial.seed = static_cast<std::uint32_t>(seed ^ seed >> 32);
    trial.model = "mlp-xy";
    trial.epochs = static_cast<int>(std::clamp<std::int64_t>(1000000 / n, 10, 10000));
    trial.score = options.score;
    scored.scores = difficulty(trial, scaled(options, rows), session);
  }
  return scored;
}

ChosenRows choose_rows(const ChoiceOptions& options, const Choosable& rows, ScoredRows scored, std::uint64_t seed,
                       Session& session) {
  const auto n = static_cast<std::size_t>(rows.size());
  ChosenRows choice;
  choice.scored = std::move(scored);
  if (options.duplicates()) {
    const auto& prototypes = choice.scored.prototypes;
    choice.duplicates =
        near_duplicates(directions(options, rows), rows.features, prototypes ? prototypes->labels : std::vector<int>(n),
                        preference(choice.scored.scores, options.keep == "hard"), options.near_duplicates, session);
  }
  choice.duplicate_of.resize(n);
  for (const Duplicate& duplicate : choice.duplicates) choice.duplicate_of[duplicate.row] = &duplicate;
  choose_among_left(options, rows, seed, choice);
  return choice;
}

}  // namespace scalelab::host
