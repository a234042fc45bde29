// k-means on the CPU. Any d: rows against vectors of centroids (kmeans_rows.h). d = 2, 3 fits, and large assignments:
// sorted tiles (kmeans_tiles.h), most of which are added to a centroid without touching a point.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kmeans.cpp"
#include <hwy/foreach_target.h>

#include "kernels/kmeans_rows-inl.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/distance.h"
#include "kernels/kmeans_check.h"
#include "kernels/kmeans_ranks.h"
#include "kernels/kmeans_rows.h"
#include "kernels/kmeans_tiles.h"
#include "kernels/kmeans_total.h"
#include "scalelab/random.h"

#ifndef SCALELAB_KERNELS_KMEANS_CPP_
#define SCALELAB_KERNELS_KMEANS_CPP_
namespace scalelab::cpu {

// Centroids of a box, in structure-of-arrays form with ascending ids; room for whole vectors behind the last.
struct Candidates {
  explicit Candidates(std::int64_t capacity) {
    for (auto& axis : x) axis.resize(static_cast<std::size_t>(capacity + kMaxLanes));
    id.resize(static_cast<std::size_t>(capacity + kMaxLanes));
  }
  std::vector<float> x[kTreeFeatures];
  std::vector<int> id;
  int count = 0;
};

// What one thread works in.
struct TileScratch {
  explicit TileScratch(std::int64_t k) : of_block(k), of_tile(k), lower(static_cast<std::size_t>(k + kMaxLanes)) {}
  Candidates of_block, of_tile;
  std::vector<float> lower;
  alignas(64) int label[kTilePoints];
  alignas(64) float distance[kTilePoints];
  alignas(64) std::int64_t fixed[kTreeFeatures][kTilePoints];
};

}  // namespace scalelab::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

using DF64 = hn::CappedTag<double, kMaxLanes / 2>;
using DI64 = hn::RebindToSigned<DF64>;

// to_fixed for a vector.
HWY_INLINE hn::Vec<DI64> to_fixed_lanes(const float* x, hn::Vec<DF64> units_per_one) {
  const DF64 df;
  const DI64 di;
  const auto round = hn::Set(df, kRoundToInteger);
  const auto wide = hn::PromoteTo(df, hn::LoadU(hn::Rebind<float, DF64>(), x));
  return hn::Sub(hn::BitCast(di, hn::Add(hn::Mul(wide, units_per_one), round)), hn::BitCast(di, round));
}

// --- rows

// Adds features [c_begin, c_end) of rows of points (rows, d) to the totals (k, d) of their labels.
void add_rows(const float* points, const int* labels, std::int64_t rows, std::int64_t d, std::int64_t c_begin,
              std::int64_t c_end, const double* units_per_one, std::int64_t* totals) {
  const DF64 df;
  const DI64 di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* x = points + row * d;
    std::int64_t* total = totals + labels[row] * d;
    std::int64_t c = c_begin;
    for (; c + lanes <= c_end; c += lanes) {
      const auto fixed = to_fixed_lanes(x + c, hn::LoadU(df, units_per_one + c));
      hn::StoreU(hn::Add(hn::LoadU(di, total + c), fixed), di, total + c);
    }
    for (; c < c_end; ++c) total[c] += to_fixed(x[c], units_per_one[c]);
  }
}

// largest(c) = max(largest(c), |points(row, c)|).
void largest_of_rows(const float* points, std::int64_t rows, std::int64_t d, float* largest) {
  const DF df;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* x = points + row * d;
    std::int64_t c = 0;
    for (; c + lanes <= d; c += lanes) {
      hn::StoreU(hn::Max(hn::LoadU(df, largest + c), hn::Abs(hn::LoadU(df, x + c))), df, largest + c);
    }
    for (; c < d; ++c) largest[c] = std::max(largest[c], std::abs(x[c]));
  }
}

// Distances of a vector of consecutive points to p.
template <int D>
HWY_INLINE VF distances_to(const float* points, std::int64_t d, const float* p, VI row_offsets) {
  const DF df;
  VF sum = hn::Zero(df);
  if constexpr (D == 2) {
    (void)row_offsets;
    VF x, y;
    hn::LoadInterleaved2(df, points, x, y);
    const VF tx = hn::Sub(x, hn::Set(df, p[0])), ty = hn::Sub(y, hn::Set(df, p[1]));
    sum = fused(df, ty, ty, fused(df, tx, tx, sum));
  } else {
    for (std::int64_t c = 0; c < d; ++c) {
      const VF t = hn::Sub(hn::GatherIndex(df, points + c, row_offsets), hn::Set(df, p[c]));
      sum = fused(df, t, t, sum);
    }
  }
  return sum;
}

template <int D>
HWY_INLINE bool lower_distances_of(const float* points, std::int64_t rows, std::int64_t d, const float* p,
                                   float* distances) {
  const DF df;
  const DI di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  const VI row_offsets = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int>(d)));
  bool lowered = false;
  std::int64_t row = 0;
  for (; row + lanes <= rows; row += lanes) {
    const VF now = distances_to<D>(points + row * d, d, p, row_offsets);
    const VF before = hn::LoadU(df, distances + row);
    const auto less = hn::Lt(now, before);
    if (!hn::AllFalse(df, less)) {
      lowered = true;
      hn::StoreU(hn::IfThenElse(less, now, before), df, distances + row);
    }
  }
  for (; row < rows; ++row) {
    float now = 0;
    for (std::int64_t c = 0; c < d; ++c) now = add_squared_difference(points[row * d + c], p[c], now);
    lowered = lowered || now < distances[row];
    distances[row] = std::min(distances[row], now);
  }
  return lowered;
}

// distances(row) = min(distances(row), distance of the row to p); whether any became less.
bool lower_distances(const float* points, std::int64_t rows, std::int64_t d, const float* p, float* distances) {
  return d == 2 ? lower_distances_of<2>(points, rows, d, p, distances)
                : lower_distances_of<0>(points, rows, d, p, distances);
}

// Sum of the weights of `rows` distances (kmeans.h).
std::int64_t total_weight(const float* distances, std::int64_t rows, double units_per_one) {
  const DF64 df;
  const DI64 di;
  const hn::Rebind<float, DF64> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(df));
  const auto units = hn::Set(df, units_per_one);
  alignas(64) float bounded[kMaxLanes];
  alignas(64) std::int64_t sums[kMaxLanes];
  auto sum = hn::Zero(di);
  std::int64_t row = 0;
  for (; row + lanes <= rows; row += lanes) {
    hn::StoreU(hn::Min(hn::LoadU(half, distances + row), hn::Set(half, FLT_MAX)), half, bounded);
    sum = hn::Add(sum, to_fixed_lanes(bounded, units));
  }
  hn::StoreU(sum, di, sums);
  std::int64_t total = std::accumulate(sums, sums + lanes, std::int64_t{0});
  for (; row < rows; ++row) total += to_fixed(std::min(distances[row], FLT_MAX), units_per_one);
  return total;
}

// --- sorted tiles

// Keeps of `in` the centroids that may be nearest to a point of the box (kmeans_tiles.h), in their order.
template <int D>
void keep_candidates(const PointBox& box, const Candidates& in, float* lower, Candidates& out) {
  const DF df;
  const DI di;
  const int lanes = static_cast<int>(hn::Lanes(df));
  VF low[D], high[D];
  for (int c = 0; c < D; ++c) {
    low[c] = hn::Set(df, box.low[c]);
    high[c] = hn::Set(df, box.high[c]);
  }
  const VF infinity = hn::Set(df, std::numeric_limits<float>::infinity());
  VF least_upper = infinity;
  for (int j = 0; j < in.count; j += lanes) {
    VF nearest = hn::Zero(df), farthest = hn::Zero(df);
    for (int c = 0; c < D; ++c) {
      const VF p = hn::LoadU(df, in.x[c].data() + j);
      const VF from_low = hn::Sub(low[c], p), from_high = hn::Sub(high[c], p);
      const VF outside = hn::Max(hn::Max(from_low, hn::Neg(from_high)), hn::Zero(df));
      const VF reach = hn::Max(hn::Abs(from_low), hn::Abs(from_high));
      nearest = fused(df, outside, outside, nearest);
      farthest = fused(df, reach, reach, farthest);
    }
    hn::StoreU(nearest, df, lower + j);
    const auto real = hn::FirstN(df, static_cast<size_t>(in.count - j));
    least_upper = hn::Min(least_upper, hn::IfThenElse(real, farthest, infinity));
  }
  const VF bound = hn::MinOfLanes(df, least_upper);
  out.count = 0;
  for (int j = 0; j < in.count; j += lanes) {
    const auto keep =
        hn::And(hn::Le(hn::LoadU(df, lower + j), bound), hn::FirstN(df, static_cast<size_t>(in.count - j)));
    if (hn::AllFalse(df, keep)) continue;
    for (int c = 0; c < D; ++c) {
      hn::CompressStore(hn::LoadU(df, in.x[c].data() + j), keep, df, out.x[c].data() + out.count);
    }
    out.count += static_cast<int>(
        hn::CompressStore(hn::LoadU(di, in.id.data() + j), hn::RebindMask(di, keep), di, out.id.data() + out.count));
  }
}

// label[slot] = place in `candidates` of the nearest one, distance[slot] = its distance.
template <int D>
HWY_INLINE void label_tile(const float* const* coordinates, int slots, const Candidates& candidates, int* label,
                           float* distance) {
  const DF df;
  const DI di;
  const int lanes = static_cast<int>(hn::Lanes(df));
  for (int slot = 0; slot < slots; slot += lanes) {
    VF q[D];
    for (int c = 0; c < D; ++c) q[c] = hn::LoadU(df, coordinates[c] + slot);
    VF best = hn::Set(df, std::numeric_limits<float>::infinity());
    VI place = hn::Zero(di);
    for (int j = 0; j < candidates.count; ++j) {
      VF sum = hn::Zero(df);
      for (int c = 0; c < D; ++c) {
        const VF t = hn::Sub(q[c], hn::Set(df, candidates.x[c][j]));
        sum = fused(df, t, t, sum);
      }
      const auto less = hn::Lt(sum, best);
      best = hn::Min(sum, best);
      place = hn::IfThenElse(hn::RebindMask(di, less), hn::Set(di, j), place);
    }
    hn::StoreU(place, di, label + slot);
    hn::StoreU(best, df, distance + slot);
  }
}

// totals(centroid) is D totals and a count.
template <int D>
HWY_INLINE void add_box(const PointBox& box, std::int64_t* total) {
  for (int c = 0; c < D; ++c) total[c] += box.total[c];
  total[D] += box.count;
}

// Above this many candidates a tile's points are added one by one.
constexpr int kMaskedCandidates = 8;

// Adds a labelled tile to the totals (k, D + 1) of its candidates.
template <int D>
HWY_INLINE void add_tile(const PointBox& box, const float* const* coordinates, int slots, const Candidates& candidates,
                         const double* units_per_one, TileScratch& scratch, std::int64_t* totals) {
  const DF64 df;
  const DI64 di;
  const hn::Rebind<int, DI64> half;
  const int lanes = static_cast<int>(hn::Lanes(df));
  for (int c = 0; c < D; ++c) {
    const auto units = hn::Set(df, units_per_one[c]);
    for (int slot = 0; slot < slots; slot += lanes) {
      hn::StoreU(to_fixed_lanes(coordinates[c] + slot, units), di, scratch.fixed[c] + slot);
    }
  }
  if (candidates.count > kMaskedCandidates) {
    for (int slot = 0; slot < box.count; ++slot) {
      std::int64_t* total = totals + std::int64_t{candidates.id[scratch.label[slot]]} * (D + 1);
      for (int c = 0; c < D; ++c) total[c] += scratch.fixed[c][slot];
      ++total[D];
    }
    return;
  }
  // Slots behind the last point hold copies of it, and so have its label: what they add is taken off again.
  const int copies = slots - static_cast<int>(box.count);
  PointBox rest = box;  // what the last candidate gets: all but the others' share
  for (int j = 0; j + 1 < candidates.count; ++j) {
    const auto place = hn::Set(di, j);
    hn::Vec<DI64> sum[D], count = hn::Zero(di);
    for (int c = 0; c < D; ++c) sum[c] = hn::Zero(di);
    for (int slot = 0; slot < slots; slot += lanes) {
      const auto mine = hn::Eq(hn::PromoteTo(di, hn::LoadU(half, scratch.label + slot)), place);
      for (int c = 0; c < D; ++c) {
        sum[c] = hn::Add(sum[c], hn::IfThenElseZero(mine, hn::LoadU(di, scratch.fixed[c] + slot)));
      }
      count = hn::Sub(count, hn::VecFromMask(di, mine));
    }
    PointBox share;
    for (int c = 0; c < D; ++c) share.total[c] = hn::GetLane(hn::SumOfLanes(di, sum[c]));
    share.count = hn::GetLane(hn::SumOfLanes(di, count));
    if (scratch.label[slots - 1] == j) {
      for (int c = 0; c < D; ++c) share.total[c] -= copies * scratch.fixed[c][slots - 1];
      share.count -= copies;
    }
    add_box<D>(share, totals + std::int64_t{candidates.id[j]} * (D + 1));
    for (int c = 0; c < D; ++c) rest.total[c] -= share.total[c];
    rest.count -= share.count;
  }
  add_box<D>(rest, totals + std::int64_t{candidates.id[candidates.count - 1]} * (D + 1));
}

// One block of tiles. With `totals` (k, D + 1): adds its points to their centroids' totals. With `labels` (n) and
// `distances` (n): writes them instead.
template <int D>
HWY_INLINE void assign_block_of(const SortedTiles& tiles, std::int64_t block, const Candidates& centroids,
                                const double* units_per_one, TileScratch& scratch, std::int64_t* totals, int* labels,
                                float* distances) {
  keep_candidates<D>(tiles.blocks[block], centroids, scratch.lower.data(), scratch.of_block);
  if (totals != nullptr && scratch.of_block.count == 1) {
    add_box<D>(tiles.blocks[block], totals + std::int64_t{scratch.of_block.id[0]} * (D + 1));
    return;
  }
  const std::int64_t end = std::min((block + 1) * kBlockTiles, tiles.tile_count);
  for (std::int64_t tile = block * kBlockTiles; tile < end; ++tile) {
    const PointBox& box = tiles.tiles[tile];
    Candidates& candidates = scratch.of_tile;
    keep_candidates<D>(box, scratch.of_block, scratch.lower.data(), candidates);
    // All points in one place: every candidate is as near, and the first has the lowest index.
    if (std::equal(box.low, box.low + D, box.high)) candidates.count = 1;
    if (totals != nullptr && candidates.count == 1) {
      add_box<D>(box, totals + std::int64_t{candidates.id[0]} * (D + 1));
      continue;
    }
    const std::int64_t first = tiles.first_slot[tile];
    const int slots = tiles.slots(tile);
    const float* coordinates[D];
    for (int c = 0; c < D; ++c) coordinates[c] = &tiles.coordinates.view()(c, first);
    label_tile<D>(coordinates, slots, candidates, scratch.label, scratch.distance);
    if (totals != nullptr) {
      add_tile<D>(box, coordinates, slots, candidates, units_per_one, scratch, totals);
      continue;
    }
    const int* order = tiles.order.view().data() + first;
    for (int slot = 0; slot < box.count; ++slot) {
      labels[order[slot]] = candidates.id[scratch.label[slot]];
      distances[order[slot]] = scratch.distance[slot];
    }
  }
}

void assign_block(const SortedTiles& tiles, std::int64_t block, const Candidates& centroids,
                  const double* units_per_one, TileScratch& scratch, std::int64_t* totals, int* labels,
                  float* distances) {
  if (tiles.d == 2) {
    assign_block_of<2>(tiles, block, centroids, units_per_one, scratch, totals, labels, distances);
  } else {
    assign_block_of<3>(tiles, block, centroids, units_per_one, scratch, totals, labels, distances);
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {

HWY_EXPORT(pack);
HWY_EXPORT(assign_rows);
HWY_EXPORT(measure_rows);
HWY_EXPORT(pack_proposals);
HWY_EXPORT(propose_rows);
HWY_EXPORT(add_rows);
HWY_EXPORT(largest_of_rows);
HWY_EXPORT(lower_distances);
HWY_EXPORT(total_weight);
HWY_EXPORT(assign_block);

namespace {

constexpr std::int64_t kBlockRows = kKmeansBlockRows;  // of every pass over rows
constexpr std::int64_t kPieceRows = 7 * kScoreRows;    // what a thread assigns and adds while it is in the cache
// Totals of all threads together may take this much; beyond it they share one table, and points are read twice.
constexpr std::int64_t kTotalsBytes = std::int64_t{256} << 20;
// Assigning alone pays for sorting the points from this many centroids and pairs up.
constexpr std::int64_t kTiledCentroids = 128, kTiledPairs = std::int64_t{1} << 23;

// Threads worth waking for passes of so many multiply-adds each: one per 2^18 of them, some tens of microseconds.
int useful_threads(double multiply_adds, const Context& context) {
  return static_cast<int>(std::clamp<double>(multiply_adds * 0x1p-18, 1, context.threads()));
}

// Calls body(block, first row, rows) for every block of kBlockRows rows.
template <class Body>
void for_each_block(Context& context, std::int64_t n, Body&& body) {
  parallel_for(context, (n + kBlockRows - 1) / kBlockRows, [&](std::int64_t block) {
    body(block, block * kBlockRows, std::min(kBlockRows, n - block * kBlockRows));
  });
}

// Of each feature, for the totals of all rows of all ranks.
std::vector<FixedPoint> fixed_points(View<const float> points, std::int64_t all, Communicator& ranks,
                                     Context& context) {
  const std::int64_t n = points.extent(0), d = points.extent(1);
  std::vector<std::vector<float>> largest(static_cast<std::size_t>(context.threads()));
  for_each_block(context, n, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    auto& own = largest[static_cast<std::size_t>(thread_index())];
    own.resize(static_cast<std::size_t>(d), 0.0F);
    HWY_DYNAMIC_DISPATCH(largest_of_rows)(&points(row, 0), rows, d, own.data());
  });
  std::vector<std::int64_t> most(static_cast<std::size_t>(d));  // bits, which order as what they stand for
  for (const auto& own : largest) {
    for (std::size_t c = 0; c < own.size(); ++c) most[c] = std::max<std::int64_t>(most[c], std::bit_cast<int>(own[c]));
  }
  ranks.max(most);
  std::vector<FixedPoint> fixed;
  for (const std::int64_t bits : most) fixed.push_back(fixed_point(std::bit_cast<float>(static_cast<int>(bits)), all));
  return fixed;
}

std::vector<double> all_units_per_one(const std::vector<FixedPoint>& fixed) {
  std::vector<double> all;
  for (const FixedPoint& f : fixed) all.push_back(f.units_per_one);
  return all;
}

double sum_in_blocks(View<const float> distances, Communicator& ranks, Context& context) {
  const std::int64_t n = distances.size();
  std::vector<double> sums(static_cast<std::size_t>((n + kBlockRows - 1) / kBlockRows));
  for_each_block(context, n, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
    double sum = 0;
    for (std::int64_t i = row; i < row + rows; ++i) sum += static_cast<double>(distances(i));
    sums[static_cast<std::size_t>(block)] = sum;
  });
  sums = ranks.gather(sums);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// Sums of points and how many there are, per centroid.
struct Totals {
  std::vector<std::int64_t> sum;    // (k, d)
  std::vector<std::int64_t> count;  // (k)
};

// Points made ready for assignment to any centroids: sorted into tiles where d allows, as they are otherwise.
class Assignment {
 public:
  // `units_per_one` (d) of the totals; zero where only labels are asked for.
  Assignment(View<const float> points, std::int64_t k, bool tiled, std::vector<double> units_per_one, Context& context)
      : points_(points), k_(k), context_(context), units_per_one_(std::move(units_per_one)) {
    if (points.empty()) return;
    if (tiled) {
      tiles_.emplace(points, units_per_one_.data(), context);
      scratch_.reserve(static_cast<std::size_t>(context.threads()));
      for (int t = 0; t < context.threads(); ++t) scratch_.emplace_back(k);
    } else {
      packed_.emplace(context, Shape{(k + kMaxLanes - 1) / kMaxLanes * kMaxLanes, points.extent(1)});
      if (scores_pay(points.extent(1), k)) measure_points();
    }
  }

  void labels(View<const float> centroids, View<int> labels, View<float> distances) {
    if (tiles_) {
      const Candidates all = distinct(centroids);
      parallel_for(context_, tiles_->block_count, [&](std::int64_t block) {
        HWY_DYNAMIC_DISPATCH(assign_block)
        (*tiles_, block, all, units_per_one_.data(), own_scratch(), nullptr, labels.data(), distances.data());
      });
      return;
    }
    if (points_.empty()) return;
    pack_centroids(centroids);
    for_each_piece([&](std::int64_t row, std::int64_t rows) {
      assign_piece(centroids, row, rows, &labels(row), &distances(row));
    });
  }

  // `labels` (n) are scratch.
  void totals(View<const float> centroids, View<int> labels, Totals& totals) {
    const std::int64_t d = points_.extent(1), n = points_.extent(0);
    totals.sum.assign(static_cast<std::size_t>(k_ * d), 0);
    totals.count.assign(static_cast<std::size_t>(k_), 0);
    if (points_.empty()) return;
    const auto threads = static_cast<std::size_t>(context_.threads());
    if (tiles_) {
      const Candidates all = distinct(centroids);
      std::vector<std::vector<std::int64_t>> parts(threads);
      parallel_for(context_, tiles_->block_count, [&](std::int64_t block) {
        auto& own = parts[static_cast<std::size_t>(thread_index())];
        own.resize(static_cast<std::size_t>(k_ * (d + 1)));
        HWY_DYNAMIC_DISPATCH(assign_block)
        (*tiles_, block, all, units_per_one_.data(), own_scratch(), own.data(), nullptr, nullptr);
      });
      for (const auto& own : parts) {
        for (std::size_t j = 0; !own.empty() && j < totals.count.size(); ++j) {
          const std::int64_t* row = own.data() + j * static_cast<std::size_t>(d + 1);
          for (std::int64_t c = 0; c < d; ++c) totals.sum[j * static_cast<std::size_t>(d) + c] += row[c];
          totals.count[j] += row[d];
        }
      }
      return;
    }
    const bool shared = static_cast<std::int64_t>(threads) * k_ * d * 8 > kTotalsBytes;
    pack_centroids(centroids);
    std::vector<std::vector<std::int64_t>> parts(threads);
    for_each_piece([&](std::int64_t row, std::int64_t rows) {
      assign_piece(centroids, row, rows, &labels(row), nullptr);
      if (shared) return;
      auto& own = parts[static_cast<std::size_t>(thread_index())];
      own.resize(totals.sum.size());
      HWY_DYNAMIC_DISPATCH(add_rows)(&points_(row, 0), &labels(row), rows, d, 0, d, units_per_one_.data(), own.data());
    });
    if (shared) {
      constexpr std::int64_t kSlice = 16;  // features of a cache line: threads write apart from each other
      parallel_for(context_, (d + kSlice - 1) / kSlice, [&](std::int64_t slice) {
        HWY_DYNAMIC_DISPATCH(add_rows)
        (points_.data(), labels.data(), n, d, slice * kSlice, std::min(d, (slice + 1) * kSlice), units_per_one_.data(),
         totals.sum.data());
      });
    } else {
      for (const auto& own : parts) {
        for (std::size_t i = 0; i < own.size(); ++i) totals.sum[i] += own[i];
      }
    }
    for (std::int64_t i = 0; i < n; ++i) ++totals.count[static_cast<std::size_t>(labels(i))];
  }

 private:
  template <class Body>
  void for_each_piece(Body&& body) {
    const std::int64_t n = points_.extent(0);
    parallel_for(context_, (n + kPieceRows - 1) / kPieceRows,
                 [&](std::int64_t piece) { body(piece * kPieceRows, std::min(kPieceRows, n - piece * kPieceRows)); });
  }

  // The centre is the mean of some points, the same for all centroids to come.
  void measure_points() {
    const std::int64_t n = points_.extent(0), d = points_.extent(1), some = std::min<std::int64_t>(n, 256);
    std::vector<double> sum(static_cast<std::size_t>(d));
    for (std::int64_t i = 0; i < some; ++i) {
      for (std::int64_t c = 0; c < d; ++c) sum[static_cast<std::size_t>(c)] += points_(i * (n / some), c);
    }
    for (const double s : sum) proposals_.centroids.centre.push_back(static_cast<float>(s / static_cast<double>(some)));
    proposals_.length.resize(static_cast<std::size_t>(n));
    proposals_.spread.resize(static_cast<std::size_t>(n));
    for_each_piece([&](std::int64_t row, std::int64_t rows) {
      HWY_DYNAMIC_DISPATCH(measure_rows)
      (&points_(row, 0), rows, d, proposals_.centroids.centre.data(), &proposals_.length[static_cast<std::size_t>(row)],
       &proposals_.spread[static_cast<std::size_t>(row)]);
    });
  }

  void pack_centroids(View<const float> centroids) {
    const std::int64_t d = points_.extent(1);
    HWY_DYNAMIC_DISPATCH(pack)(centroids.data(), k_, d, packed_->view().data());
    if (!proposals_.centroids.centre.empty()) HWY_DYNAMIC_DISPATCH(pack_proposals)(centroids.data(), k_, d, proposals_);
  }

  // `distances` (rows) may be null.
  void assign_piece(View<const float> centroids, std::int64_t row, std::int64_t rows, int* labels, float* distances) {
    const std::int64_t d = points_.extent(1);
    const float* packed = packed_->view().data();
    if (!proposals_.centroids.centre.empty()) {
      HWY_DYNAMIC_DISPATCH(propose_rows)
      (&points_(row, 0), row, rows, d, proposals_, centroids.data(), packed, k_, labels, distances);
      return;
    }
    float scratch[kPieceRows];
    HWY_DYNAMIC_DISPATCH(assign_rows)
    (&points_(row, 0), rows, d, packed, k_, labels, distances == nullptr ? scratch : distances);
  }

  TileScratch& own_scratch() { return scratch_[static_cast<std::size_t>(thread_index())]; }

  // The centroids without copies of an earlier one, which are nearest to nothing.
  Candidates distinct(View<const float> centroids) const {
    const std::int64_t d = centroids.extent(1);
    std::vector<int> ids(static_cast<std::size_t>(k_));
    std::iota(ids.begin(), ids.end(), 0);
    const auto row = [&](int j) { return &centroids(j, 0); };
    std::sort(ids.begin(), ids.end(), [&](int a, int b) {
      for (std::int64_t c = 0; c < d; ++c) {
        if (row(a)[c] != row(b)[c]) return row(a)[c] < row(b)[c];
      }
      return a < b;
    });
    ids.erase(std::unique(ids.begin(), ids.end(), [&](int a, int b) { return std::equal(row(a), row(a) + d, row(b)); }),
              ids.end());
    std::sort(ids.begin(), ids.end());
    Candidates all(k_);
    for (const int j : ids) {
      for (std::int64_t c = 0; c < d; ++c) all.x[c][static_cast<std::size_t>(all.count)] = centroids(j, c);
      all.id[static_cast<std::size_t>(all.count++)] = j;
    }
    return all;
  }

  View<const float> points_;
  std::int64_t k_;
  Context& context_;
  std::vector<double> units_per_one_;  // (d)
  std::optional<SortedTiles> tiles_;
  std::vector<TileScratch> scratch_;  // one per thread
  std::optional<Buffer<float>> packed_;
  Proposals proposals_;
};

// Moves points into empty clusters as kmeans.h promises; returns how many. `totals` are those of all ranks, `first` is
// this rank's first row among all.
int repair(View<const float> points, View<const int> labels, View<const float> distances, std::int64_t first,
           const std::vector<FixedPoint>& fixed, Totals& totals, Communicator& ranks) {
  const std::int64_t n = points.extent(0), d = points.extent(1), k = static_cast<std::int64_t>(totals.count.size());
  const std::int64_t empty = std::count(totals.count.begin(), totals.count.end(), 0);
  const std::int64_t wanted = farthest_wanted(n, empty, k);
  std::vector<int> farthest(static_cast<std::size_t>(n));
  std::iota(farthest.begin(), farthest.end(), 0);
  std::partial_sort(farthest.begin(), farthest.begin() + wanted, farthest.end(),
                    [&](int a, int b) { return nearer(-distances(a), a, -distances(b), b); });
  std::vector<FarRow> far;
  for (std::int64_t i = 0; i < wanted; ++i) {
    const int row = farthest[static_cast<std::size_t>(i)];
    far.push_back({distances(row), labels(row), first + row});
  }
  const std::vector<Move> moves = moves_into_empty(std::move(far), totals.count, ranks);
  // What each moved row counts as, from the rank that owns it.
  std::vector<std::int64_t> moved(moves.size() * static_cast<std::size_t>(d));
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const std::int64_t row = moves[i].row - first;
    for (std::int64_t c = 0; row >= 0 && row < n && c < d; ++c) {
      moved[i * d + c] = to_fixed(points(row, c), fixed[static_cast<std::size_t>(c)].units_per_one);
    }
  }
  ranks.sum(moved);
  for (std::size_t i = 0; i < moves.size(); ++i) {
    for (std::int64_t c = 0; c < d; ++c) {
      totals.sum[static_cast<std::size_t>(moves[i].from * d + c)] -= moved[i * d + c];
      totals.sum[static_cast<std::size_t>(moves[i].to * d + c)] = moved[i * d + c];
    }
    --totals.count[static_cast<std::size_t>(moves[i].from)];
    totals.count[static_cast<std::size_t>(moves[i].to)] = 1;
  }
  return static_cast<int>(empty);
}

// Writes the means; returns the summed squared movement.
double move_centroids(const Totals& totals, const std::vector<FixedPoint>& fixed, View<float> centroids) {
  double all = 0;
  for (std::int64_t j = 0; j < centroids.extent(0); ++j) {
    double movement = 0;
    for (std::int64_t c = 0; c < centroids.extent(1); ++c) {
      const float mean =
          mean_of_total(totals.sum[static_cast<std::size_t>(j * centroids.extent(1) + c)],
                        totals.count[static_cast<std::size_t>(j)], fixed[static_cast<std::size_t>(c)].unit);
      const double t = static_cast<double>(mean) - static_cast<double>(centroids(j, c));
      movement = std::fma(t, t, movement);
      centroids(j, c) = mean;
    }
    all += movement;
  }
  return all;
}

// The inertia of all points about their one centroid. `distances` (n) is scratch.
double spread_of(View<const float> points, std::int64_t all, const std::vector<FixedPoint>& fixed,
                 View<float> distances, Communicator& ranks, Context& context) {
  const std::int64_t n = points.extent(0), d = points.extent(1);
  const std::vector<double> units_per_one = all_units_per_one(fixed);
  std::vector<std::vector<std::int64_t>> parts(static_cast<std::size_t>(context.threads()));
  const std::vector<int> zeros(static_cast<std::size_t>(std::min(n, kBlockRows)), 0);
  for_each_block(context, n, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    auto& own = parts[static_cast<std::size_t>(thread_index())];
    own.resize(static_cast<std::size_t>(d));
    HWY_DYNAMIC_DISPATCH(add_rows)(&points(row, 0), zeros.data(), rows, d, 0, d, units_per_one.data(), own.data());
  });
  std::vector<std::int64_t> totals(fixed.size());
  for (const auto& own : parts) {
    for (std::size_t c = 0; c < own.size(); ++c) totals[c] += own[c];
  }
  ranks.sum(totals);
  std::vector<float> mean;
  for (std::size_t c = 0; c < fixed.size(); ++c) mean.push_back(mean_of_total(totals[c], all, fixed[c].unit));
  for_each_block(context, n, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    std::fill(&distances(row), &distances(row) + rows, std::numeric_limits<float>::infinity());
    HWY_DYNAMIC_DISPATCH(lower_distances)(&points(row, 0), rows, d, mean.data(), &distances(row));
  });
  return sum_in_blocks(distances, ranks, context);
}

// Own rows and their distances to the nearest centroid so far, for the draws of k-means++.
class Seeding {
 public:
  Seeding(View<const float> points, Context& context)
      : points_(points),
        n_(points.extent(0)),
        context_(context),
        distances_(context, {n_}),
        weights_(static_cast<std::size_t>((n_ + kBlockRows - 1) / kBlockRows)) {
    std::fill_n(distances_.view().data(), n_, std::numeric_limits<float>::infinity());
  }

  Draws::OwnRows own_rows() {
    return {.largest =
                [this] {
                  const float* own = distances_.view().data();
                  return n_ == 0 ? 0 : *std::max_element(own, own + n_);
                },
            .weigh =
                [this](double units_per_one) {
                  units_per_one_ = units_per_one;
                  for_each_block(context_, n_, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
                    weigh(block, row, rows);
                  });
                },
            .weight = [this] { return std::accumulate(weights_.begin(), weights_.end(), std::int64_t{0}); },
            .at = [this](std::int64_t left) { return row_at(left); }};
  }

  // Lowers the distances by a new centroid (d).
  void choose(const float* centroid) {
    for_each_block(context_, n_, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
      float* own = &distances_.view()(row);
      if (HWY_DYNAMIC_DISPATCH(lower_distances)(&points_(row, 0), rows, points_.extent(1), centroid, own)) {
        weigh(block, row, rows);
      }
    });
  }

 private:
  void weigh(std::int64_t block, std::int64_t row, std::int64_t rows) {
    weights_[static_cast<std::size_t>(block)] =
        HWY_DYNAMIC_DISPATCH(total_weight)(&distances_.view()(row), rows, units_per_one_);
  }

  std::int64_t row_at(std::int64_t left) const {
    std::size_t block = 0;
    while (left >= weights_[block]) left -= weights_[block++];
    for (std::int64_t row = static_cast<std::int64_t>(block) * kBlockRows;; ++row) {
      left -= to_fixed(std::min(distances_.view()(row), FLT_MAX), units_per_one_);
      if (left < 0) return row;
    }
  }

  View<const float> points_;
  std::int64_t n_;
  Context& context_;
  Buffer<float> distances_;            // (n)
  std::vector<std::int64_t> weights_;  // of each block
  double units_per_one_ = 0;           // none before centroid 0 is there
};

}  // namespace

void kmeans_assign(View<const float> points, View<const float> centroids, View<int> labels, View<float> distances,
                   Context& context) {
  check_kmeans_assign(points, centroids, labels, distances);
  const std::int64_t n = points.extent(0), d = points.extent(1), k = centroids.extent(0);
  if (n == 0) return;
  Buffer<float> own_distances(context, {distances.empty() ? n : 0});
  const bool tiled = (d >= 2 && d <= kTreeFeatures) && k >= kTiledCentroids && n * k >= kTiledPairs;
  Assignment assignment(points, k, tiled, std::vector<double>(static_cast<std::size_t>(d)), context);
  assignment.labels(centroids, labels, distances.empty() ? own_distances.view() : distances);
}

void kmeans_plus_plus(View<const float> points, std::uint64_t seed, View<float> centroids, Context& context) {
  const RankRows rows = agree_on_rows(points.extent(0), context.ranks);
  check_kmeans_plus_plus(points, rows.all(), centroids);
  const std::int64_t k = centroids.extent(0);
  Context quiet(context.backend(), context.device(),
                useful_threads(static_cast<double>(points.size()), context));  // progress is in centroids
  Seeding seeding(points, quiet);
  Draws draws(rows, context.ranks, seeding.own_rows());
  const std::int64_t first = rows.begin[static_cast<std::size_t>(context.ranks.rank())];
  for (std::int64_t j = 0; j < k; ++j) {
    const std::int64_t pick = draws.draw(seed, j), row = pick - first;
    if (row >= 0 && row < points.extent(0)) std::copy_n(&points(row, 0), points.extent(1), &centroids(j, 0));
    const std::span centroid(&centroids(j, 0), static_cast<std::size_t>(points.extent(1)));
    context.ranks.broadcast(centroid, rows.owner_of(pick));
    seeding.choose(centroid.data());
    if (j == 0) draws.set_units();
    if (context.progress) context.progress(j + 1, k);
  }
}

KmeansResult kmeans_fit(View<const float> points, View<float> centroids, View<int> labels, const KmeansOptions& options,
                        Context& context) {
  Communicator& ranks = context.ranks;
  const RankRows rows = agree_on_rows(points.extent(0), ranks);
  check_kmeans_fit(points, rows.all(), centroids, labels, options);
  const std::int64_t n = points.extent(0), d = points.extent(1), k = centroids.extent(0);
  // Progress is in iterations, not in the pieces of one.
  Context quiet(context.backend(), context.device(),
                useful_threads(static_cast<double>(n * d) * static_cast<double>(k), context));
  const std::vector<FixedPoint> fixed = fixed_points(points, rows.all(), ranks, quiet);
  Buffer<float> distances(quiet, {n});
  double threshold = 0;
  if (options.tolerance > 0) {
    const double spread = spread_of(points, rows.all(), fixed, distances, ranks, quiet);
    threshold = options.tolerance * (spread / (static_cast<double>(rows.all()) * static_cast<double>(d)));
  }
  Assignment assignment(points, k, d >= 2 && d <= kTreeFeatures, all_units_per_one(fixed), quiet);
  KmeansResult result;
  Totals totals;
  while (result.iterations < options.max_iterations && !result.converged) {
    assignment.totals(centroids, labels, totals);
    ranks.sum(totals.sum);
    ranks.sum(totals.count);
    if (std::count(totals.count.begin(), totals.count.end(), 0) > 0) {
      assignment.labels(centroids, labels, distances);
      result.repaired +=
          repair(points, labels, distances, rows.begin[static_cast<std::size_t>(ranks.rank())], fixed, totals, ranks);
    }
    result.converged = move_centroids(totals, fixed, centroids) <= threshold;
    ++result.iterations;
    if (context.progress) context.progress(result.iterations, options.max_iterations);
    if (options.after_iteration) options.after_iteration(result);
  }
  assignment.labels(centroids, labels, distances);
  result.inertia = sum_in_blocks(distances, ranks, quiet);
  return result;
}

}  // namespace scalelab::cpu
#endif
