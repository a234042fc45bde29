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
void pack_proposals(const float* centroids, std::int64_t k, std::int64_t d, Proposals& of) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(DF()));
  const std::int64_t places = (k + lanes - 1) / lanes * lanes;
  Scored& scored = of.centroids;
  const float* centre = scored.centre.data();
  const std::vector<float> origin(static_cast<std::size_t>(d));
  const double centre_length = slightly_above(std::sqrt(extents_of(centre, d, origin.data()).square));
  of.packed.assign(static_cast<std::size_t>(places * d), 0.0F);
  scored.half.assign(static_cast<std::size_t>(places), std::numeric_limits<float>::infinity());
  scored.longest = scored.most_half = 0;
  for (std::int64_t j = 0; j < k; ++j) {
    const float* c = centroids + j * d;
    float* to = &of.packed[static_cast<std::size_t>((j / lanes * d) * lanes + j % lanes)];
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

// As assign_rows, of rows [first, first + rows) of the points; `distances` may be null. Blocks in which scores decide
// little, and those behind them, are assigned by canonical distances.
void propose_rows(const float* points, std::int64_t first, std::int64_t rows, std::int64_t d, const Proposals& of,
                  const float* centroids, const float* packed, std::int64_t k, int* labels, float* distances) {
  constexpr int kMostCandidates = 4;  // beyond, the row is assigned by canonical distances
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  const std::int64_t groups = (k + lanes - 1) / lanes;
  const VF infinity = hn::Set(df, std::numeric_limits<float>::infinity());
  Scores scores;
  int own_labels[kScoreRows];
  float own_distances[kScoreRows], other_distances[kScoreRows];
  bool decide = true;
  for (std::int64_t begin = 0; begin < rows; begin += kScoreRows) {
    const int count = static_cast<int>(std::min<std::int64_t>(kScoreRows, rows - begin));
    const float* block = points + begin * d;
    int* label = labels + begin;
    float* distance = distances == nullptr ? own_distances : distances + begin;
    if (!decide) {
      assign_rows(block, count, d, packed, k, label, distance);
      continue;
    }
    for (int i = 0; i < count; ++i) {
      hn::StoreU(infinity, df, scores.best + i * lanes);
      hn::StoreU(infinity, df, scores.second + i * lanes);
      hn::StoreU(hn::Iota(di, 0), di, scores.index + i * lanes);
    }
    for (std::int64_t group = 0; group < groups; group += kGroupsAtOnce) {
      const float* at = of.packed.data() + group * d * lanes;
      const float* half = of.centroids.half.data() + group * lanes;
      const int id = static_cast<int>(group * lanes);
      switch (std::min<std::int64_t>(kGroupsAtOnce, groups - group)) {
        case 1: score_panel<1>(block, count, d, at, half, id, scores); break;
        case 2: score_panel<2>(block, count, d, at, half, id, scores); break;
        case 3: score_panel<3>(block, count, d, at, half, id, scores); break;
        default: score_panel<kGroupsAtOnce>(block, count, d, at, half, id, scores); break;
      }
    }
    Pairs pairs(d, [label, distance](int row, int id, float d2) {
      if (!nearer(d2, id, distance[row], label[row])) return;
      distance[row] = d2;
      label[row] = id;
    });
    const float* undecided[kScoreRows];
    int undecided_count = 0;
    for (int i = 0; i < count; ++i) {
      const VF best = hn::LoadU(df, scores.best + i * lanes), second = hn::LoadU(df, scores.second + i * lanes);
      const float least = hn::GetLane(hn::MinOfLanes(df, best));
      const std::int64_t row = first + begin + i;
      const float limit = score_limit(least, of.length[static_cast<std::size_t>(row)],
                                      of.spread[static_cast<std::size_t>(row)], d, of.centroids);
      const auto near = hn::Le(best, hn::Set(df, limit));
      const std::size_t candidates = hn::CountTrue(df, near);
      if (candidates == 0 || candidates > kMostCandidates || !hn::AllFalse(df, hn::Le(second, hn::Set(df, limit)))) {
        undecided[undecided_count++] = block + i * d;
        continue;
      }
      if (candidates == 1 && distances == nullptr) {
        label[i] = scores.index[i * lanes + hn::FindKnownFirstTrue(df, near)];
        continue;
      }
      label[i] = std::numeric_limits<int>::max();
      distance[i] = std::numeric_limits<float>::infinity();
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        if (!(scores.best[i * lanes + lane] <= limit)) continue;
        const std::int64_t id = scores.index[i * lanes + lane];
        pairs.add(i, block + i * d, static_cast<int>(id), centroids + id * d);
      }
    }
    pairs.finish();
    assign_points(undecided, undecided_count, d, packed, k, own_labels, other_distances);
    for (int i = 0; i < undecided_count; ++i) {
      const std::int64_t row = (undecided[i] - block) / d;
      label[row] = own_labels[i];
      distance[row] = other_distances[i];
    }
    decide = 2 * undecided_count < count;
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
