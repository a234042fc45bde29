// choice: which rows stay: how hard each is, near-duplicates first, then a share of what they leave.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

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

// What is chosen from. The memory is the caller's.
struct Choosable {
  std::string name;               // of the file
  std::span<const float> values;  // (n, d)
  std::int64_t features = 0;      // d
  std::span<const int> labels{};  // (n), 0 .. classes - 1; empty: there are none
  int classes = 1;
  bool pixels = false;

  std::int64_t size() const { return std::ssize(values) / features; }
};

struct ScoredRows {
  std::vector<float> scores;             // (n), larger is harder
  std::optional<Prototypes> prototypes;  // clusters: for the score, and to look for near-duplicates within
};
// Networks that score are 64 wide with 3 hidden layers, and see a million rows each (10 epochs at least, 10,000 at most).
// `given`: the scores of "file". Failure(kBadData) for a row without a direction, Failure(kMisuse) where a network cannot
// tell so many classes.
ScoredRows score_rows(const ChoiceOptions& options, const Choosable& rows, std::span<const float> given,
                      std::uint64_t seed, Session& session);

// What was decided of every row.
struct ChosenRows {
  ScoredRows scored;
  std::vector<Duplicate> duplicates;           // removed first
  std::vector<const Duplicate*> duplicate_of;  // (n), null where a row is none
  std::int64_t wanted = 0, left = 0;           // rows that the share asks for; rows that are no near-duplicates
  std::vector<std::int64_t> kept;              // ids, ascending
  std::vector<bool> stays;                     // (n)
  std::vector<std::int64_t> kept_of_class;
};
ChosenRows choose_rows(const ChoiceOptions& options, const Choosable& rows, ScoredRows scored, std::uint64_t seed,
                       Session& session);

}  // namespace scalelab::host
