// choice: which rows stay: how hard each is, near-duplicates first, then a share of what they leave.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/data/dataset.h"
#include "host/lab/row_scores.h"
#include "host/own_data/near_duplicates.h"
#include "host/program/command.h"

namespace scalelab::host {

struct ChoiceOptions {
  std::string score = "kmeans";  // of own_scores(), or "file": scores that are given
  std::string keep = "hard";     // hard, easy, random
  double near_duplicates = -1;   // eps; below 0: none are looked for
  double class_floor = kClassFloor;
  double share = 1;  // of all rows, to keep
  int clusters = 0;  // k of k-means

  bool clustered() const { return score == "kmeans" || score == "kmeans-cosine"; }
  bool duplicates() const { return near_duplicates >= 0; }
};

// The scores that own data can have, as difficulty.h defines them, but that kmeans, kmeans-cosine and class-mean see
// the rows as they are; those of networks and `boundary` see each feature scaled to [-1, 1] by its range.
const std::vector<std::string>& own_scores();
bool score_needs_labels(const std::string& score);
// Whether the clusters made for a score, or to look for near-duplicates within, are by cosine.
bool clusters_by_cosine(const std::string& score);

// What is chosen from. The memory is the caller's.
struct LabelledRows {
  std::string name;               // of the file
  std::span<const float> values;  // (n, d)
  std::int64_t features = 0;      // d
  std::span<const int> labels{};  // (n), 0 .. classes - 1; empty: there are none
  int classes = 1;
  bool pixels = false;

  std::int64_t size() const { return std::ssize(values) / features; }
};

// The rows as data with labels.
Dataset dataset_of(const LabelledRows& rows);

// Scores that need no clusters, (n), larger where a row is harder; `given`: those of "file". Networks that score are 64
// wide with 3 hidden layers, and see a million rows each (10 epochs at least, 10,000 at most). Failure(kMisuse) for a
// score that works on a Dataset, where there are more than kMostClasses.
std::vector<float> plain_scores(const ChoiceOptions& options, const LabelledRows& rows, std::span<const float> given,
                                std::uint64_t seed, Session& session);

// What was decided of every row.
struct ChosenRows {
  std::vector<int> clusters;                   // (n), for the score and to look for near-duplicates within; or empty
  std::optional<Prototypes> fit;               // where the clusters were made here
  std::vector<float> scores;                   // (n)
  std::vector<Duplicate> duplicates;           // removed first; in the end by row, ascending
  std::vector<const Duplicate*> duplicate_of;  // (n), null where a row is none
  std::int64_t wanted = 0, left = 0;           // rows that the share asks for; rows that are no near-duplicates
  std::vector<std::int64_t> kept;              // ids, ascending
  std::vector<bool> stays;                     // (n)
  std::vector<std::int64_t> kept_of_class;
};
// Ends a choice that has its scores and, in any order, its duplicates: among what these leave.
void choose_among_left(const ChoiceOptions& options, const LabelledRows& rows, std::uint64_t seed, ChosenRows& choice);

}  // namespace scalelab::host
