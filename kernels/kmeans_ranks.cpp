#include "kernels/kmeans_ranks.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>

#include "scalelab/kmeans.h"
#include "scalelab/random.h"

namespace scalelab {

int RankRows::owner_of(std::int64_t row) const {
  return static_cast<int>(std::upper_bound(begin.begin(), begin.end(), row) - begin.begin()) - 1;
}

RankRows agree_on_rows(std::int64_t own, Communicator& ranks) {
  RankRows rows{{0}};
  for (const std::int64_t count : ranks.gather(std::vector<std::int64_t>{own})) {
    const std::int64_t first = rows.all();
    if (count > 0 && first % kKmeansBlockRows != 0) {
      throw std::invalid_argument("kmeans: the rows of rank " + std::to_string(rows.begin.size() - 1) + " begin at " +
                                  std::to_string(first) + ", which is no multiple of " +
                                  std::to_string(kKmeansBlockRows));
    }
    rows.begin.push_back(first + count);
  }
  if (rows.all() > std::numeric_limits<int>::max()) throw std::invalid_argument("kmeans: more than 2^31 - 1 rows");
  return rows;
}

std::vector<Move> moves_into_empty(std::vector<FarRow> own, std::vector<std::int64_t> counts, Communicator& ranks) {
  std::vector<FarRow> far = ranks.gather(own);
  std::sort(far.begin(), far.end(), [](const FarRow& a, const FarRow& b) {
    return a.distance != b.distance ? a.distance > b.distance : a.index < b.index;
  });
  std::vector<Move> moves;
  std::size_t next = 0;
  for (std::size_t j = 0; j < counts.size(); ++j) {
    if (counts[j] != 0) continue;
    while (counts[static_cast<std::size_t>(far[next].label)] < 2) ++next;
    const FarRow& row = far[next++];
    moves.push_back({row.index, row.label, static_cast<int>(j)});
    --counts[static_cast<std::size_t>(row.label)];
    counts[j] = 1;
  }
  return moves;
}

std::int64_t Draws::draw(std::uint64_t seed, std::int64_t j) {
  const std::int64_t row = find(seed, j);
  if (row >= first() && row < first() + own_count()) chosen_[static_cast<std::size_t>(row - first())] = true;
  return row;
}

std::int64_t Draws::find(std::uint64_t seed, std::int64_t j) {
  const Words words = random_words(seed, Stream::kmeans, static_cast<std::uint64_t>(j));
  if (j == 0) {
    return static_cast<std::int64_t>(uniform_below(static_cast<std::uint64_t>(rows_.all()), words[0], words[1]));
  }
  std::vector<std::int64_t> weights;  // of ranks
  const auto weigh_ranks = [&] {
    weights = ranks_.gather(std::vector{own_.weight()});
    return static_cast<std::uint64_t>(std::accumulate(weights.begin(), weights.end(), std::int64_t{0}));
  };
  std::uint64_t all = weigh_ranks();
  if (weights_too_coarse(all, last_all_, rows_.all())) {
    set_units();
    all = last_all_ = weigh_ranks();
  }
  if (all == 0) return first_unchosen();
  auto left = static_cast<std::int64_t>(uniform_below(all, words[0], words[1]));
  std::size_t owner = 0;
  while (left >= weights[owner]) left -= weights[owner++];
  const bool mine = static_cast<int>(owner) == ranks_.rank();
  std::int64_t row = mine ? first() + own_.at(left) : 0;
  ranks_.broadcast(std::span(&row, 1), static_cast<int>(owner));
  return row;
}

void Draws::set_units() {
  std::int64_t bits = std::bit_cast<std::int32_t>(std::min(own_.largest(), FLT_MAX));  // order as what they stand for
  ranks_.max(std::span(&bits, 1));
  own_.weigh(fixed_point(std::bit_cast<float>(static_cast<std::int32_t>(bits)), rows_.all()).units_per_one);
}

std::int64_t Draws::first_unchosen() {
  while (first_unchosen_ < own_count() && chosen_[static_cast<std::size_t>(first_unchosen_)]) ++first_unchosen_;
  const std::vector<std::int64_t> unchosen = ranks_.gather(std::vector{first_unchosen_});
  std::size_t rank = 0;
  while (rows_.begin[rank] + unchosen[rank] == rows_.begin[rank + 1]) ++rank;
  return rows_.begin[rank] + unchosen[rank];
}

}  // namespace scalelab
