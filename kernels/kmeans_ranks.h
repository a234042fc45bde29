// kmeans_ranks: what k-means agrees on where several ranks own its rows (kmeans.h). With one rank nothing is sent.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "kernels/kmeans_total.h"
#include "scalelab/communicator.h"

namespace scalelab {

// Which rows of all are whose.
struct RankRows {
  std::vector<std::int64_t> begin;  // (ranks + 1): rank r owns rows [begin(r), begin(r + 1))

  std::int64_t all() const { return begin.back(); }
  int owner_of(std::int64_t row) const;
};
// `own` rows of this rank. Throws std::invalid_argument, on every rank, when they are not dealt as kmeans.h asks, or when
// they are more than 2^31 - 1.
RankRows agree_on_rows(std::int64_t own, Communicator& ranks);

// One row far from its centroid; `index` counts all rows.
struct FarRow {
  float distance;
  int label;
  std::int64_t index;
};
// A row that leaves a cluster for an empty one.
struct Move {
  std::int64_t row;
  int from, to;
};
// The moves that fill the empty clusters (kmeans.h), in order, the same on every rank. `own` are the farthest rows of this
// rank, `farthest_wanted` of them or all; `counts` (k) those of all ranks.
std::vector<Move> moves_into_empty(std::vector<FarRow> own, std::vector<std::int64_t> counts, Communicator& ranks);
// A row that is passed over is the last of its cluster, so at most k are.
inline std::int64_t farthest_wanted(std::int64_t n, std::int64_t empty, std::int64_t k) {
  return n < empty + k ? n : empty + k;
}

// The draws of k-means++ (kmeans.h) over the rows of all ranks, of which this one knows its own.
class Draws {
 public:
  // What is asked of own rows and their distances to the nearest centroid so far.
  struct OwnRows {
    std::function<float()> largest;                     // distance; 0 without rows
    std::function<void(double units_per_one)> weigh;    // counts the weights anew, in these units
    std::function<std::int64_t()> weight;               // of all own rows
    std::function<std::int64_t(std::int64_t left)> at;  // the first own row at which their weights exceed `left`
  };
  Draws(const RankRows& rows, Communicator& ranks, OwnRows own)
      : rows_(rows), ranks_(ranks), own_(std::move(own)), chosen_(static_cast<std::size_t>(own_count())) {}

  // Which of all rows is centroid j.
  std::int64_t draw(std::uint64_t seed, std::int64_t j);
  // Sets the units by the distances there are: after centroid 0, and then as draws ask for it.
  void set_units();

 private:
  std::int64_t first() const { return rows_.begin[static_cast<std::size_t>(ranks_.rank())]; }
  std::int64_t own_count() const { return rows_.begin[static_cast<std::size_t>(ranks_.rank()) + 1] - first(); }
  std::int64_t find(std::uint64_t seed, std::int64_t j);
  std::int64_t first_unchosen();

  const RankRows& rows_;
  Communicator& ranks_;
  OwnRows own_;
  std::vector<bool> chosen_;                // of own rows
  std::int64_t first_unchosen_ = 0;         // no own row before it is unchosen
  std::uint64_t last_all_ = kNeverChanged;  // the sum of all weights that the last change of units left
};

}  // namespace scalelab
