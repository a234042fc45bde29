// kmeans_rows: assignment in any number of features (kmeans_rows.h), once per vector target: points in registers
// against vectors of centroids, a lane one centroid. Included inside foreach_target; see kernels/README.md.
#if defined(SCALELAB_KERNELS_KMEANS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_KMEANS_ROWS_INL_H_
#undef SCALELAB_KERNELS_KMEANS_ROWS_INL_H_
#else
#define SCALELAB_KERNELS_KMEANS_ROWS_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "kernels/cpu/byte_bounds-inl.h"
#include "kernels/cpu/proposals-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/distance.h"
#include "kernels/kmeans_rows.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

using DF = hn::CappedTag<float, kMaxLanes>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// --- canonical distances at once

// packed(group, c, lane) = centroids(group * lanes + lane, c); lanes without a centroid are infinitely far.
void pack(const float* centroids, std::int64_t k, std::int64_t d, float* packed) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
  for (std::int64_t group = 0; group * lanes < k; ++group) {
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const std::int64_t j = group * lanes + lane;
      for (std::int64_t c = 0; c < d; ++c) {
        packed[(group * d + c) * lanes + lane] = j < k ? centroids[j * d + c] : std::numeric_limits<float>::infinity();
      }
    }
  }
}

// Distances of P points to V groups of centroids, the first of which has index `first`, and per lane the best so far:
// of equal ones the lowest index, because indices ascend.
template <int P, int V>
HWY_INLINE void nearest_in_groups(const float* const* points, std::int64_t d, const float* groups, int first,
                                  float* best, int* best_index) {
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  VF sums[P][V];
  for (int i = 0; i < P; ++i) {
    for (int v = 0; v < V; ++v) sums[i][v] = hn::Zero(df);
  }
  for (std::int64_t c = 0; c < d; ++c) {
    VF p[V];
    for (int v = 0; v < V; ++v) p[v] = hn::LoadU(df, groups + (v * d + c) * lanes);
    for (int i = 0; i < P; ++i) {
      const VF q = hn::Set(df, points[i][c]);
      for (int v = 0; v < V; ++v) {
        const VF t = hn::Sub(q, p[v]);
        sums[i][v] = fused(df, t, t, sums[i][v]);
      }
    }
  }
  for (int i = 0; i < P; ++i) {
    VF least = hn::LoadU(df, best + i * lanes);
    VI index = hn::LoadU(di, best_index + i * lanes);
    for (int v = 0; v < V; ++v) {
      const auto less = hn::Lt(sums[i][v], least);
      least = hn::IfThenElse(less, sums[i][v], least);
      index = hn::IfThenElse(hn::RebindMask(di, less), hn::Iota(di, static_cast<int>(first + v * lanes)), index);
    }
    hn::StoreU(least, df, best + i * lanes);
    hn::StoreU(index, di, best_index + i * lanes);
  }
}

template <int V>
HWY_INLINE void nearest_of_rows(const float* const* points, int rows, std::int64_t d, const float* groups, int first,
                                float* best, int* best_index) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
  int row = 0;
  for (; row + kPointsAtOnce <= rows; row += kPointsAtOnce) {
    nearest_in_groups<kPointsAtOnce, V>(points + row, d, groups, first, best + row * lanes, best_index + row * lanes);
  }
  for (; row < rows; ++row) {
    nearest_in_groups<1, V>(points + row, d, groups, first, best + row * lanes, best_index + row * lanes);
  }
}

// The nearest of k packed centroids for at most kScoreRows points, d features behind each pointer.
void assign_points(const float* const* points, int count, std::int64_t d, const float* packed, std::int64_t k,
                   int* labels, float* distances) {
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  const std::int64_t groups = (k + lanes - 1) / lanes;
  alignas(64) float best[kScoreRows * kMaxLanes];
  alignas(64) int best_index[kScoreRows * kMaxLanes];
  for (int i = 0; i < count; ++i) {
    hn::StoreU(hn::Set(df, std::numeric_limits<float>::infinity()), df, best + i * lanes);
    hn::StoreU(hn::Iota(di, 0), di, best_index + i * lanes);
  }
  for (std::int64_t group = 0; group < groups; group += kGroupsAtOnce) {
    const float* at = packed + group * d * lanes;
    const int first = static_cast<int>(group * lanes);
    switch (std::min<std::int64_t>(kGroupsAtOnce, groups - group)) {
      case 1: nearest_of_rows<1>(points, count, d, at, first, best, best_index); break;
      case 2: nearest_of_rows<2>(points, count, d, at, first, best, best_index); break;
      case 3: nearest_of_rows<3>(points, count, d, at, first, best, best_index); break;
      default: nearest_of_rows<kGroupsAtOnce>(points, count, d, at, first, best, best_index); break;
    }
  }
  for (int i = 0; i < count; ++i) {
    float least = best[i * lanes];
    int index = best_index[i * lanes];
    for (std::int64_t lane = 1; lane < lanes; ++lane) {
      if (nearer(best[i * lanes + lane], best_index[i * lanes + lane], least, index)) {
        least = best[i * lanes + lane];
        index = best_index[i * lanes + lane];
      }
    }
    labels[i] = index;
    distances[i] = least;
  }
}

// The same for rows of points (rows, d).
void assign_rows(const float* points, std::int64_t rows, std::int64_t d, const float* packed, std::int64_t k,
                 int* labels, float* distances) {
  const float* at[kScoreRows];
  for (std::int64_t begin = 0; begin < rows; begin += kScoreRows) {
    const int count = static_cast<int>(std::min<std::int64_t>(kScoreRows, rows - begin));
    for (int i = 0; i < count; ++i) at[i] = points + (begin + i) * d;
    assign_points(at, count, d, packed, k, labels + begin, distances + begin);
  }
}

// --- scores propose

// At least |x| and |x - centre|^2 of rows (rows, d).
void measure_rows(const float* points, std::int64_t rows, std::int64_t d, const float* centre, float* length,
                  float* spread) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const Extents x = extents_of(points + row * d, d, centre);
    length[row] = rounded_up(slightly_above(std::sqrt(x.square)));
    spread[row] = rounded_up(slightly_above(x.spread));
  }
}

// Makes centroids (k, d) ready; their centre is given.
void pack_proposals(const float* centroids, std::int64_t k, std::int64_t d, Proposals& proposals) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
  const std::int64_t places = (k + lanes - 1) / lanes * lanes;
  Scored& scored = proposals.centroids;
  const float* centre = scored.centre.data();
  const std::vector<float> origin(static_cast<std::size_t>(d));
  const double centre_length = slightly_above(std::sqrt(extents_of(centre, d, origin.data()).square));
  proposals.packed.assign(static_cast<std::size_t>(places * d), 0.0F);
  scored.half.assign(static_cast<std::size_t>(places), std::numeric_limits<float>::infinity());
  scored.longest = scored.most_half = 0;
  for (std::int64_t j = 0; j < k; ++j) {
    const float* c = centroids + j * d;
    float* to = &proposals.packed[static_cast<std::size_t>((j / lanes * d) * lanes + j % lanes)];
    for (std::int64_t i = 0; i < d; ++i) to[i * lanes] = centre[i] - c[i];
    scored.half[static_cast<std::size_t>(j)] = add_half(extents_of(c, d, centre), centre_length, scored);
  }
}

// What the scores of a block of rows have shown so far, per row and lane: the least, whose it is, and the second.
struct Scores {
  alignas(64) float panel[kScoreRows * kGroupsAtOnce * kMaxLanes];
  alignas(64) float best[kScoreRows * kMaxLanes], second[kScoreRows * kMaxLanes];
  alignas(64) int index[kScoreRows * kMaxLanes];
};

template <int V>
HWY_INLINE void score_panel(const float* points, int rows, std::int64_t d, const float* groups, const float* half,
                            int first, Scores& scores) {
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  score_rows<V>(points, rows, d, groups, half, scores.panel);
  for (int row = 0; row < rows; ++row) {
    VF best = hn::LoadU(df, scores.best + row * lanes), second = hn::LoadU(df, scores.second + row * lanes);
    VI index = hn::LoadU(di, scores.index + row * lanes);
    for (int v = 0; v < V; ++v) {
      const VF score = hn::LoadU(df, scores.panel + (row * kGroupsAtOnce + v) * lanes);
      const auto less = hn::Lt(score, best);
      second = hn::Min(second, hn::Max(score, best));
      best = hn::Min(score, best);
      index = hn::IfThenElse(hn::RebindMask(di, less), hn::Iota(di, static_cast<int>(first + v * lanes)), index);
    }
    hn::StoreU(best, df, scores.best + row * lanes);
    hn::StoreU(second, df, scores.second + row * lanes);
    hn::StoreU(index, di, scores.index + row * lanes);
  }
}

// At most kScoreRows rows on their way to a label, the first of them row `first` of all points.
struct RowBlock {
  RowBlock(const float* points, std::int64_t first, int count, std::int64_t d, const Proposals& proposals,
           const float* centroids, int* labels, float* distances)
      : points(points),
        first(first),
        count(count),
        d(d),
        proposals(proposals),
        centroids(centroids),
        label(labels),
        distance(distances == nullptr ? own_distances : distances),
        only_labels(distances == nullptr) {}

  const float* row(int i) const { return points + i * d; }
  float limit(int i, float least) const {
    const auto at = static_cast<std::size_t>(first + i);
    return score_limit(least, proposals.length[at], proposals.spread[at], d, proposals.centroids);
  }
  void leave(int i) { undecided[undecided_count++] = row(i); }
  // The nearest of a few candidates, one after the other by compare().
  void begin_comparison(int i) {
    label[i] = std::numeric_limits<int>::max();
    distance[i] = std::numeric_limits<float>::infinity();
  }
  void compare(int i, int id, float d2) {
    if (!nearer(d2, id, distance[i], label[i])) return;
    distance[i] = d2;
    label[i] = id;
  }

  const float* points;
  std::int64_t first;
  int count;
  std::int64_t d;
  const Proposals& proposals;
  const float* centroids;
  int* label;
  float* distance;
  bool only_labels;
  float own_distances[kScoreRows];
  const float* undecided[kScoreRows];  // rows of which proposals cannot decide
  int undecided_count = 0;
};

constexpr int kMostCandidates = 4;  // beyond, a row is assigned by canonical distances

// By the scores of all pairs.
void propose_by_scores(std::int64_t k, RowBlock& block) {
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  const std::int64_t groups = (k + lanes - 1) / lanes, d = block.d;
  const VF infinity = hn::Set(df, std::numeric_limits<float>::infinity());
  Scores scores;
  for (int i = 0; i < block.count; ++i) {
    hn::StoreU(infinity, df, scores.best + i * lanes);
    hn::StoreU(infinity, df, scores.second + i * lanes);
    hn::StoreU(hn::Iota(di, 0), di, scores.index + i * lanes);
  }
  for (std::int64_t group = 0; group < groups; group += kGroupsAtOnce) {
    const float* at = block.proposals.packed.data() + group * d * lanes;
    const float* half = block.proposals.centroids.half.data() + group * lanes;
    const int id = static_cast<int>(group * lanes);
    switch (std::min<std::int64_t>(kGroupsAtOnce, groups - group)) {
      case 1: score_panel<1>(block.points, block.count, d, at, half, id, scores); break;
      case 2: score_panel<2>(block.points, block.count, d, at, half, id, scores); break;
      case 3: score_panel<3>(block.points, block.count, d, at, half, id, scores); break;
      default: score_panel<kGroupsAtOnce>(block.points, block.count, d, at, half, id, scores); break;
    }
  }
  Pairs pairs(d, [&block](int row, int id, float d2) { block.compare(row, id, d2); });
  for (int i = 0; i < block.count; ++i) {
    const VF best = hn::LoadU(df, scores.best + i * lanes), second = hn::LoadU(df, scores.second + i * lanes);
    const float limit = block.limit(i, hn::GetLane(hn::MinOfLanes(df, best)));
    const auto near = hn::Le(best, hn::Set(df, limit));
    const std::size_t candidates = hn::CountTrue(df, near);
    if (candidates == 0 || candidates > kMostCandidates || !hn::AllFalse(df, hn::Le(second, hn::Set(df, limit)))) {
      block.leave(i);
      continue;
    }
    if (candidates == 1 && block.only_labels) {
      block.label[i] = scores.index[i * lanes + hn::FindKnownFirstTrue(df, near)];
      continue;
    }
    block.begin_comparison(i);
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      if (!(scores.best[i * lanes + lane] <= limit)) continue;
      const std::int64_t id = scores.index[i * lanes + lane];
      pairs.add(i, block.row(i), static_cast<int>(id), block.centroids + id * d);
    }
  }
  pairs.finish();
}

// What scores have shown so far of a row whose scores are computed one by one.
class NearCentroids {
 public:
  // The score of a centroid that may be nearest: kept while it is within the limit of the least.
  void add(const RowBlock& block, int i, int id, float score) {
    if (!(score <= limit)) return;
    if (score < least_) {
      least_ = score;
      const float lower = block.limit(i, score);
      open = !(lower <= limit);  // also where nothing can be said
      limit = std::min(limit, lower);
    }
    if (count_ == kMost) keep_near();
    if (count_ == kMost) open = true;
    if (open) return;
    score_[count_] = score;
    id_[count_++] = id;
  }
  // Leaves the candidates.
  int keep_near() {
    int kept = 0;
    for (int j = 0; j < count_; ++j) {
      if (!(score_[j] <= limit)) continue;
      score_[kept] = score_[j];
      id_[kept++] = id_[j];
    }
    return count_ = kept;
  }
  int id(int j) const { return id_[j]; }

  float limit = std::numeric_limits<float>::infinity();
  bool open = false;  // whether proposals cannot decide

 private:
  static constexpr int kMost = 8;  // candidates: with more within the limit, scores do not decide
  float least_ = std::numeric_limits<float>::infinity();
  int count_ = 0;
  float score_[kMost];
  int id_[kMost];
};

// By bounds from bytes, and the scores of what these leave.
class ByteProposals {
 public:
  // With `hinted`, labels hold where rows were before.
  ByteProposals(std::int64_t k, bool hinted, RowBlock& block)
      : k_(k), hinted_(hinted), block_(block), proposals_(block.proposals), d_(block.d) {}

  // Returns how many scores were computed, or -1 when it gave up for there are too many.
  std::int64_t run() {
    // A score alone costs as much as ten among many.
    const std::int64_t most = block_.count * (k_ / 10 + 16), groups = (k_ + kMaxLanes - 1) / kMaxLanes;
    for (int i = 0; hinted_ && i < block_.count; ++i) score(i, block_.label[i]);
    for (std::int64_t group = 0; group < groups; group += kByteGroups) {
      visit_panel(group, std::min<std::int64_t>(kByteGroups, groups - group));
      if (scores_ > most) return -1;
    }
    decide();
    return scores_;
  }

 private:
  static constexpr std::int64_t kOfRow = kByteGroups * kMaxLanes;

  void score(int i, std::int64_t id) {
    ++scores_;
    const float half = proposals_.centroids.half[static_cast<std::size_t>(id)];
    near_[i].add(block_, i, static_cast<int>(id),
                 score_of(block_.row(i), proposals_.negative.data() + id * d_, half, d_));
  }

  // Scores the centroids of a panel of groups whose lower bounds are within the limits.
  void visit_panel(std::int64_t group, std::int64_t groups) {
    const DF df;
    const std::int64_t width = byte_width(d_), first = group * kMaxLanes;
    const std::int64_t count = std::min(k_ - first, groups * kMaxLanes);
    lower_panel(&proposals_.byte_points.bytes[static_cast<std::size_t>(block_.first * width)],
                &proposals_.byte_points.rows[static_cast<std::size_t>(block_.first)], block_.count, width,
                proposals_.byte_centroids, group, groups, sums_, lower_);
    for (int i = 0; i < block_.count; ++i) {
      const float* lower = lower_ + i * kOfRow;
      VF least = hn::Load(df, lower);
      for (int v = 1; v < kByteGroups; ++v) least = hn::Min(least, hn::Load(df, lower + v * kMaxLanes));
      if (HWY_LIKELY(hn::AllTrue(df, hn::Gt(least, hn::Set(df, near_[i].limit)))) || near_[i].open) continue;
      const auto offer = [&](std::int64_t j) {
        if (!(lower[j] > near_[i].limit) && !(hinted_ && first + j == block_.label[i])) score(i, first + j);
      };
      const std::int64_t likely = group > 0 || hinted_ ? -1 : std::min_element(lower, lower + count) - lower;
      if (likely >= 0) offer(likely);  // a limit to go by
      for (std::int64_t v = 0; v < groups; ++v) {
        const auto within = hn::Not(hn::Gt(hn::Load(df, lower + v * kMaxLanes), hn::Set(df, near_[i].limit)));
        if (hn::AllFalse(df, within)) continue;
        for_each_lane(within, [&](int lane) {
          if (const std::int64_t j = v * kMaxLanes + lane; j < count && j != likely) offer(j);
        });
      }
    }
  }

  // The labels, by what the scores have left.
  void decide() {
    Pairs pairs(d_, [this](int row, int id, float d2) { block_.compare(row, id, d2); });
    for (int i = 0; i < block_.count; ++i) {
      const bool known = !near_[i].open && near_[i].limit < std::numeric_limits<float>::infinity();
      const int candidates = known ? near_[i].keep_near() : 0;
      if (candidates == 0 || candidates > kMostCandidates) {
        block_.leave(i);
        continue;
      }
      if (candidates == 1 && block_.only_labels) {
        block_.label[i] = near_[i].id(0);
        continue;
      }
      block_.begin_comparison(i);
      for (int j = 0; j < candidates; ++j) {
        pairs.add(i, block_.row(i), near_[i].id(j), block_.centroids + near_[i].id(j) * d_);
      }
    }
    pairs.finish();
  }

  std::int64_t k_;
  bool hinted_;
  RowBlock& block_;
  const Proposals& proposals_;
  std::int64_t d_, scores_ = 0;
  NearCentroids near_[kScoreRows];
  alignas(64) std::int32_t sums_[kScoreRows * kOfRow];
  alignas(64) float lower_[kScoreRows * kOfRow];
};

// Makes points (rows, d), the first of them row `first` of all, ready for bounds from bytes.
void round_points(const float* points, std::int64_t first, std::int64_t rows, std::int64_t d, Proposals& proposals) {
  round_rows_to_bytes(points, first, rows, d, proposals.centroids.centre.data(), proposals.byte_points);
}

// Makes centroids [begin, end) of (k, d) ready for bounds from bytes.
void round_centroids(const float* centroids, std::int64_t begin, std::int64_t end, std::int64_t d,
                     Proposals& proposals) {
  const float* centre = proposals.centroids.centre.data();
  round_groups_to_bytes(centroids, begin, end, d, centre, proposals.byte_centroids);
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t c = 0; c < d; ++c) {
      proposals.negative[static_cast<std::size_t>(j * d + c)] = centre[c] - centroids[j * d + c];
    }
  }
}

bool bytes_are_multiplied() { return multiplies_bytes(); }

// As assign_rows, of rows [first, first + rows) of the points; `distances` may be null. With `hinted`, labels hold where
// rows were before. Blocks in which proposals decide little, and those behind them, are assigned by canonical distances.
// Returns of how many pairs all features were needed.
std::int64_t propose_rows(const float* points, std::int64_t first, std::int64_t rows, std::int64_t d,
                          Proposals& proposals, const float* centroids, const float* packed, std::int64_t k,
                          bool hinted, int* labels, float* distances) {
  int own_labels[kScoreRows];
  float own_distances[kScoreRows];
  std::int64_t full = 0;
  bool decide = true, by_bytes = !proposals.byte_points.rows.empty();
  if (by_bytes && proposals.skip.load() > 0) {
    --proposals.skip;
    by_bytes = false;
  }
  for (std::int64_t begin = 0; begin < rows; begin += kScoreRows) {
    const int count = static_cast<int>(std::min<std::int64_t>(kScoreRows, rows - begin));
    const float* at = points + begin * d;
    float* distance = distances == nullptr ? nullptr : distances + begin;
    if (!decide) {
      assign_rows(at, count, d, packed, k, labels + begin, distance == nullptr ? own_distances : distance);
      full += count * k;
      continue;
    }
    RowBlock block(at, first + begin, count, d, proposals, centroids, labels + begin, distance);
    if (by_bytes) {
      const std::int64_t scores = ByteProposals(k, hinted, block).run();
      by_bytes = scores >= 0;
      if (by_bytes) {
        full += scores;
        proposals.next_skip = 1;
      } else {
        proposals.skip = proposals.next_skip.load();
        proposals.next_skip = std::min(2 * proposals.next_skip.load() + 1, 63);
      }
    }
    if (!by_bytes) {
      propose_by_scores(k, block);
      full += count * k;
    }
    full += block.undecided_count * k;
    assign_points(block.undecided, block.undecided_count, d, packed, k, own_labels, own_distances);
    for (int i = 0; i < block.undecided_count; ++i) {
      const std::int64_t row = (block.undecided[i] - at) / d;
      block.label[row] = own_labels[i];
      block.distance[row] = own_distances[i];
    }
    decide = 2 * block.undecided_count < count;
  }
  return full;
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
