#include "host/own_data/choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/lab/difficulty.h"
#include "host/lab/evaluate.h"

namespace scalelab::host {

namespace {

// The rows as networks and `boundary` see them.
Dataset scaled(const ChoiceOptions& options, const LabelledRows& rows) {
  if (rows.classes > kMostClasses) {
    throw Failure(kMisuse, fmt::format("--score {}: {} has {} classes, and this score tells {} apart at most; use "
                                       "another",
                                       options.score, rows.name, rows.classes, kMostClasses));
  }
  Dataset data = dataset_of(rows);
  scale_features(data);
  return data;
}

}  // namespace

const std::vector<std::string>& own_scores() {
  static const std::vector<std::string> names = {"kmeans", "kmeans-cosine", "class-mean", "boundary",
                                                 "el2n",   "forgetting",    "ddd",        "random"};
  return names;
}

Dataset dataset_of(const LabelledRows& rows) {
  Dataset data;
  data.points.assign(rows.values.begin(), rows.values.end());
  data.labels.assign(rows.labels.begin(), rows.labels.end());
  data.features = static_cast<int>(rows.features);
  data.classes = rows.classes;
  data.pixels = rows.pixels;
  return data;
}

bool clusters_by_cosine(const std::string& score) { return score != "kmeans"; }

bool score_needs_labels(const std::string& score) { return score != "file" && needs_labels(score, "input"); }

std::vector<float> plain_scores(const ChoiceOptions& options, const LabelledRows& rows, std::span<const float> given,
                                std::uint64_t seed, Session& session) {
  const std::int64_t n = rows.size();
  if (options.score == "file") return {given.begin(), given.end()};
  if (options.score == "class-mean") return class_mean_distances(rows.values, rows.features, rows.labels, rows.classes);
  if (options.score == "random") return random_scores(n, seed);
  Trial trial;  // what a score needs of one
  trial.data = rows.name;
  trial.n = n;
  trial.seed = static_cast<std::uint32_t>(seed ^ seed >> 32);
  trial.model = "mlp-xy";
  trial.epochs = static_cast<int>(std::clamp<std::int64_t>(1000000 / n, 10, 10000));
  trial.score = options.score;
  return difficulty(trial, scaled(options, rows), session);
}

void choose_among_left(const ChoiceOptions& options, const LabelledRows& rows, std::uint64_t seed, ChosenRows& choice) {
  const std::int64_t n = rows.size();
  std::sort(choice.duplicates.begin(), choice.duplicates.end(),
            [](const Duplicate& a, const Duplicate& b) { return a.row < b.row; });
  choice.duplicate_of.resize(static_cast<std::size_t>(n));
  for (const Duplicate& duplicate : choice.duplicates) choice.duplicate_of[duplicate.row] = &duplicate;
  choice.wanted = std::clamp<std::int64_t>(std::llround(options.share * static_cast<double>(n)), 1, n);
  std::vector<int> left, left_labels;
  std::vector<float> left_scores;
  for (std::int64_t row = 0; row < n; ++row) {
    if (choice.duplicate_of[row] != nullptr) continue;
    left.push_back(static_cast<int>(row));
    left_scores.push_back(choice.scores[row]);
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

}  // namespace scalelab::host
