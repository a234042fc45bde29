// knn_tile: the exact k nearest references of the queries of a tile, from a candidate list proven complete (tile.h).
// Included once per target, inside foreach_target, after simd-inl.h.
//
// References come from a PointTree: `collect` gathers a list for a large tile, `narrow` filters a list for a part of
// its tile, and a Selector finds the neighbours of one vector of queries, a query a lane. Where even a small tile's list
// would be long (references far denser than queries), `search` walks down the tree for each query by itself: so no
// input costs more than a short list or a walk for every query.
//
// A candidate's position in its list is its slot. Selection works on packed keys: the bits of the canonical distance,
// the lowest of them replaced by the slot, compared as floats. Only distances that agree in all other bits can come out
// in the wrong order: they are found afterwards, and put in order of (distance, id) from what they were before packing.
// References with equal coordinates are in order of id in every list, so that ties by the thousand cost no exchanges.
#if defined(SCALELAB_KERNELS_KNN_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_KNN_TILE_INL_H_
#undef SCALELAB_KERNELS_KNN_TILE_INL_H_
#else
#define SCALELAB_KERNELS_KNN_TILE_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/cpu/examined.h"
#include "kernels/cpu/point_tree.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/distance.h"
#include "kernels/tile.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
inline constexpr std::size_t kMostLanes = hn::MaxLanes(DF());

// Key of a place that no candidate has taken: above every distance that does not overflow.
inline constexpr float kNoKey = std::numeric_limits<float>::max();

// A list of candidates, as arrays with room for one vector behind the last. z is used for three coordinates only.
struct Candidates {
  std::vector<float> x, y, z;
  std::vector<int> id;
  std::vector<int> label;  // filled only where labels are asked for
  std::size_t size = 0;

  void reserve(std::size_t n) {
    n += kMostLanes;
    if (x.size() >= n) return;
    n += n / 2;
    for (auto* v : {&x, &y, &z}) v->resize(n);
    for (auto* v : {&id, &label}) v->resize(n);
  }
};

// One of the nearest references found so far: of the k nearest the last in order of (distance, id) tops a heap.
struct Found {
  float distance;
  int id;
  std::int64_t place;  // among the tree's points
  bool operator<(const Found& other) const { return nearer(distance, id, other.distance, other.id); }
};

// What a thread needs while it works, kept between its tiles.
struct Workspace {
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { references_examined += static_cast<std::int64_t>(examined); }

  std::deque<Candidates> levels;               // one list per level of nested tiles
  std::vector<float> low, high;                // ends of `narrow`
  std::vector<Found> found;                    // `search`
  std::vector<int> tied;                       // `find_ties`
  std::vector<std::pair<float, int>> nearest;  // `solve_lane`
  std::vector<std::int64_t> stack;
  std::vector<float> distance;  // `solve_lane`
  std::size_t examined = 0;     // boxes and references looked at (examined.h)

  Candidates& level(std::size_t i) {
    while (levels.size() <= i) levels.emplace_back();
    return levels[i];
  }
};

// Longest list that `collect` is asked for: a longer one costs more than what is gained by sharing it.
inline std::size_t longest_list(std::size_t k) { return 1536 + 8 * k; }

// A value that at least k of the n values reach (are at most), close to the k-th smallest: bisection on the value,
// which needs no sorting and ends when exactly k are counted. k <= n; all values finite.
HWY_INLINE float upper_bound_of_kth(const float* HWY_RESTRICT values, std::size_t n, std::size_t k) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d);
  VF least = hn::Set(d, kNoKey), most = hn::Set(d, -kNoKey);
  for (std::size_t i = 0; i < n; i += lanes) {
    const VF v = hn::LoadU(d, values + i);
    const auto valid = hn::FirstN(d, n - i);
    least = hn::IfThenElse(valid, hn::Min(least, v), least);
    most = hn::IfThenElse(valid, hn::Max(most, v), most);
  }
  float low = hn::GetLane(hn::MinOfLanes(d, least)), high = hn::GetLane(hn::MaxOfLanes(d, most));
  if (k == n) return high;
  for (int step = 0; step < 14; ++step) {
    const float middle = 0.5F * low + 0.5F * high;
    if (!(middle < high)) break;
    const VF bound = hn::Set(d, middle);
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; i += lanes) {
      const auto reached = hn::And(hn::Le(hn::LoadU(d, values + i), bound), hn::FirstN(d, n - i));
      count += hn::CountTrue(d, reached);
    }
    if (count >= k) {
      high = middle;
      if (count == k) break;
    } else {
      low = middle;
    }
  }
  return high;
}

// Squared distance of a point to the box of a node, by the steps of the canonical distance: as each of them is monotone
// in |q - p|, it is at most the computed distance of every point in the box.
inline float box_distance(const PointTree::Node& node, const float query[3]) {
  float sum = 0;
  for (int i = 0; i < 3; ++i) {
    const float outside = std::max({node.low[i] - query[i], query[i] - node.high[i], 0.0F});
    sum = std::fma(outside, outside, sum);
  }
  return sum;
}

// The k nearest references of one query, by definition, into work.found in no order. Walks down the tree, the nearer
// child first; of two that are as near the one with the least id, so that ties by the thousand are left out too.
inline void search(const PointTree& tree, const float query[3], std::size_t k, Workspace& work) {
  const auto& nodes = tree.nodes();
  const auto& points = tree.points();
  auto& found = work.found;
  auto& stack = work.stack;
  found.clear();
  stack.assign(1, 0);
  while (!stack.empty()) {
    const std::int64_t i = stack.back();
    stack.pop_back();
    ++work.examined;
    const PointTree::Node& node = nodes[i];
    if (found.size() == k && !(Found{box_distance(node, query), node.least, 0} < found.front())) continue;
    if (!node.leaf()) {
      const std::int64_t left = i + 1, right = i + node.right;
      const bool left_first = nearer(box_distance(nodes[left], query), nodes[left].least,
                                     box_distance(nodes[right], query), nodes[right].least);
      stack.push_back(left_first ? right : left);
      stack.push_back(left_first ? left : right);
      continue;
    }
    work.examined += static_cast<std::size_t>(node.end - node.begin);
    for (std::int64_t j = node.begin; j < node.end; ++j) {
      Found other{0, points[j].id, j};
      for (int c = 0; c < 3; ++c) other.distance = add_squared_difference(query[c], points[j].x[c], other.distance);
      if (found.size() == k) {
        if (!(other < found.front())) continue;
        std::pop_heap(found.begin(), found.end());
        found.pop_back();
      }
      found.push_back(other);
      std::push_heap(found.begin(), found.end());
    }
  }
}

// At most the lower end of TileBounds::range of every point in the box of a node: its steps are monotone too.
inline float least_end(const PointTree::Node& node, const TileBounds& bounds) {
  float squared = 0, swing = 0;
  for (int i = 0; i < 3; ++i) {
    const float gap = std::max({node.low[i] - bounds.centre[i], bounds.centre[i] - node.high[i], 0.0F});
    const float aside = std::max(std::fabs(node.low[i] - bounds.origin[i]), std::fabs(node.high[i] - bounds.origin[i]));
    squared = std::fma(gap, gap, squared);
    swing = std::fma(bounds.reach[i], aside, swing);
  }
  return std::fma(squared, 1.0F - kSlack, -swing);
}

// Of references that every query of a tile is equally far from only the k of least id can be among its k nearest: far
// away from all references, these may be all of them.
struct Ties {
  float least[3];                              // at most |x_i| of any query
  float pivot[3];                              // one of those references
  int last = std::numeric_limits<int>::max();  // the k-th least id of those found

  explicit Ties(const Tile& tile) {
    for (int i = 0; i < 3; ++i) least[i] = (std::fabs(tile.centre[i]) - tile.half[i]) * (1.0F - kSlack);
  }
  // Whether those of a box with this least id are more of them, and come behind.
  bool leave_out(const float low[3], const float high[3], int least_id) const {
    return least_id > last && hold(low, high);
  }
  bool hold(const float low[3], const float high[3]) const {
    for (int i = 0; i < 3; ++i) {
      if (!axis_ties(least[i], std::min(low[i], pivot[i]), std::max(high[i], pivot[i]))) return false;
    }
    return true;
  }
};

// Looks for ties with the last candidate of the list, and leaves out those that cannot matter.
inline void find_ties(Candidates& list, std::size_t k, Workspace& work, Ties& ties) {
  const auto at = [&list](std::size_t i, float p[3]) {
    p[0] = list.x[i];
    p[1] = list.y[i];
    p[2] = list.z[i];
  };
  float p[3];
  at(list.size / 2, p);
  at(list.size - 1, ties.pivot);
  ties.last = std::numeric_limits<int>::max();
  ++work.examined;
  if (!ties.hold(p, p)) return;  // where ties fill a list, they are in the middle too
  work.examined += list.size;
  auto& ids = work.tied;
  ids.clear();
  for (std::size_t i = 0; i < list.size; ++i) {
    at(i, p);
    if (ties.hold(p, p)) ids.push_back(list.id[i]);
  }
  if (ids.size() <= k) return;
  std::nth_element(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(k) - 1, ids.end());
  ties.last = ids[k - 1];
  std::size_t size = 0;
  for (std::size_t i = 0; i < list.size; ++i) {
    at(i, p);
    if (ties.leave_out(p, p, list.id[i])) continue;
    list.x[size] = p[0];
    list.y[size] = p[1];
    list.z[size] = p[2];
    list.id[size++] = list.id[i];
  }
  list.size = size;
}

// Gathers every reference that can be among the k nearest of any query in the tile, and more. Returns false, with `out`
// unusable, when that would be more than longest_list(k).
//
// The k nearest of the centre bound the k-th upper end, and their mean is the point o of tile.h: seen from there, the
// rest of a cluster far from the tile is left out by boxes, not point by point.
inline bool collect(const PointTree& tree, const Tile& tile, std::size_t k, Workspace& work, Candidates& out) {
  const auto& nodes = tree.nodes();
  const auto& points = tree.points();
  search(tree, tile.centre, k, work);
  double sum[3] = {0, 0, 0};
  for (const Found& found : work.found) {
    for (int c = 0; c < 3; ++c) sum[c] += points[found.place].x[c];
  }
  float origin[3];
  for (int c = 0; c < 3; ++c) origin[c] = static_cast<float>(sum[c] / static_cast<double>(k));
  const TileBounds bounds(tile, origin);
  float upper = 0;
  for (const Found& found : work.found) upper = std::max(upper, bounds.range(points[found.place].x).high);
  const float threshold = bounds.threshold(upper);

  const std::size_t most = longest_list(k);
  Ties ties(tile);
  auto& stack = work.stack;
  out.size = 0;
  out.reserve(most);
  stack.assign(1, 0);
  while (!stack.empty()) {
    const std::int64_t i = stack.back();
    stack.pop_back();
    ++work.examined;
    const PointTree::Node& node = nodes[i];
    if (least_end(node, bounds) > threshold || ties.leave_out(node.low, node.high, node.least)) continue;
    if (!node.leaf()) {
      stack.push_back(i + node.right);
      stack.push_back(i + 1);
      continue;
    }
    const auto more = static_cast<std::size_t>(node.end - node.begin);
    if (out.size + more > most) {
      find_ties(out, k, work, ties);
      if (out.size + more > most / 2) return false;
    }
    work.examined += more;
    for (std::int64_t j = node.begin; j < node.end; ++j, ++out.size) {
      out.x[out.size] = points[j].x[0];
      out.y[out.size] = points[j].x[1];
      out.z[out.size] = points[j].x[2];
      out.id[out.size] = points[j].id;
    }
  }
  return true;
}

// The candidates of `in` that TileBounds cannot rule out; `out` may be `in`.
template <int kFeatures, bool kLabels>
HWY_NOINLINE void keep_possible(const Candidates& in, const TileBounds& bounds, std::size_t k, Workspace& work,
                                Candidates& out) {
  const DF d;
  const DI di;
  const std::size_t lanes = hn::Lanes(d), n = in.size;
  work.examined += n;
  if (work.low.size() < n + kMostLanes) {
    work.low.resize(2 * n + kMostLanes);
    work.high.resize(2 * n + kMostLanes);
  }
  float* HWY_RESTRICT low = work.low.data();
  float* HWY_RESTRICT high = work.high.data();
  const VF inner = hn::Set(d, 1.0F - kSlack), outer = hn::Set(d, 1.0F + kSlack);
  for (std::size_t i = 0; i < n; i += lanes) {  // TileBounds::range
    VF squared = hn::Zero(d), swing = hn::Zero(d);
    HWY_UNROLL(3)
    for (int axis = 0; axis < kFeatures; ++axis) {
      const VF p = hn::LoadU(d, (axis == 0 ? in.x : axis == 1 ? in.y : in.z).data() + i);
      const VF t = hn::Sub(hn::Set(d, bounds.centre[axis]), p);
      const VF aside = hn::Abs(hn::Sub(p, hn::Set(d, bounds.origin[axis])));
      squared = fused(d, t, t, squared);
      swing = fused(d, hn::Set(d, bounds.reach[axis]), aside, swing);
    }
    hn::StoreU(fused(d, squared, inner, hn::Neg(swing)), d, low + i);
    hn::StoreU(fused(d, squared, outer, swing), d, high + i);
  }
  const VF threshold = hn::Set(d, bounds.threshold(upper_bound_of_kth(high, n, k)));
  out.reserve(n);
  std::size_t size = 0;
  // A store may fill its vector, which ends no later than the vector just loaded: in place, nothing unread is lost.
  for (std::size_t i = 0; i < n; i += lanes) {
    const auto keep = hn::And(hn::Le(hn::LoadU(d, low + i), threshold), hn::FirstN(d, n - i));
    const auto keep_int = hn::RebindMask(di, keep);
    hn::CompressStore(hn::LoadU(d, in.x.data() + i), keep, d, out.x.data() + size);
    hn::CompressStore(hn::LoadU(d, in.y.data() + i), keep, d, out.y.data() + size);
    if constexpr (kFeatures == 3) hn::CompressStore(hn::LoadU(d, in.z.data() + i), keep, d, out.z.data() + size);
    if constexpr (kLabels) hn::CompressStore(hn::LoadU(di, in.label.data() + i), keep_int, di, out.label.data() + size);
    size += hn::CompressStore(hn::LoadU(di, in.id.data() + i), keep_int, di, out.id.data() + size);
  }
  out.size = size;
}

// The mean of about the k candidates nearest to the centre of the tile.
template <int kFeatures>
HWY_NOINLINE void mean_of_nearest(const Candidates& list, const Tile& tile, std::size_t k, Workspace& work,
                                  float mean[3]) {
  float* HWY_RESTRICT squared = work.low.data();
  for (std::size_t i = 0; i < list.size; ++i) {
    const float p[3] = {list.x[i], list.y[i], kFeatures == 3 ? list.z[i] : 0.0F};
    squared[i] = 0;
    for (int axis = 0; axis < kFeatures; ++axis) {
      squared[i] += (tile.centre[axis] - p[axis]) * (tile.centre[axis] - p[axis]);
    }
  }
  const float bound = upper_bound_of_kth(squared, list.size, k);
  double sum[3] = {0, 0, 0};
  std::int64_t count = 0;
  for (std::size_t i = 0; i < list.size; ++i) {
    if (squared[i] > bound) continue;
    ++count;
    sum[0] += list.x[i];
    sum[1] += list.y[i];
    if constexpr (kFeatures == 3) sum[2] += list.z[i];
  }
  for (int axis = 0; axis < 3; ++axis) mean[axis] = static_cast<float>(sum[axis] / static_cast<double>(count));
}

// The candidates of `in` that can be among the k nearest of a query in the tile.
template <int kFeatures, bool kLabels>
void narrow(const Candidates& in, const Tile& tile, std::size_t k, Workspace& work, Candidates& out) {
  keep_possible<kFeatures, kLabels>(in, TileBounds(tile, tile.centre), k, work, out);
  // Many are left where the nearest lie close together and far away: seen from amid them, most others drop out.
  if (out.size <= 2 * k + 16) return;
  float mean[3];
  mean_of_nearest<kFeatures>(out, tile, k, work, mean);
  keep_possible<kFeatures, kLabels>(out, TileBounds(tile, mean), k, work, out);
}

// The k nearest candidates of one query by definition: every distance, in order of (distance, id).
template <int kFeatures>
HWY_NOINLINE void solve_lane(const Candidates& list, const float query[3], std::size_t k, Workspace& work,
                             int* HWY_RESTRICT slots, float* HWY_RESTRICT distances) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d), n = list.size;
  work.examined += n;
  if (work.distance.size() < n + kMostLanes) work.distance.resize(2 * n + kMostLanes);
  float* HWY_RESTRICT distance = work.distance.data();
  const VF qx = hn::Set(d, query[0]), qy = hn::Set(d, query[1]), qz = hn::Set(d, query[2]);
  for (std::size_t i = 0; i < n; i += lanes) {
    const VF tx = hn::Sub(qx, hn::LoadU(d, list.x.data() + i)), ty = hn::Sub(qy, hn::LoadU(d, list.y.data() + i));
    VF s = fused(d, ty, ty, hn::Mul(tx, tx));
    if constexpr (kFeatures == 3) {
      const VF tz = hn::Sub(qz, hn::LoadU(d, list.z.data() + i));
      s = fused(d, tz, tz, s);
    }
    hn::StoreU(s, d, distance + i);
  }
  const VF bound = hn::Set(d, upper_bound_of_kth(distance, n, k));
  auto& nearest = work.nearest;
  nearest.clear();
  for (std::size_t i = 0; i < n; i += lanes) {
    const auto within = hn::And(hn::Le(hn::LoadU(d, distance + i), bound), hn::FirstN(d, n - i));
    if (hn::AllFalse(d, within)) continue;
    for (std::size_t j = i; j < std::min(n, i + lanes); ++j) {
      if (distance[j] <= hn::GetLane(bound)) nearest.emplace_back(distance[j], static_cast<int>(j));
    }
  }
  std::partial_sort(nearest.begin(), nearest.begin() + k, nearest.end(), [&list](const auto& a, const auto& b) {
    return nearer(a.first, list.id[a.second], b.first, list.id[b.second]);
  });
  for (std::size_t j = 0; j < k; ++j) {
    slots[j] = nearest[j].second;
    distances[j] = nearest[j].first;
  }
}

// --- selection on packed keys ----------------------------------------------------------------------------------------

HWY_INLINE void exchange(VF& a, VF& b) {
  const VF low = hn::Min(a, b);
  b = hn::Max(a, b);
  a = low;
}

// The kCount smallest of n keys in ascending order, by insertion into registers; places beyond n get kNoKey.
// key(c) gives the vector of keys of candidate c.
template <int kCount, class Key>
HWY_INLINE void select_by_insertion(std::size_t n, const Key& key, VF (&best)[kCount]) {
  const DF d;
  HWY_UNROLL(9)
  for (int j = 0; j < kCount; ++j) {  // the first kCount: each is inserted among those before it
    VF v = static_cast<std::size_t>(j) < n ? key(j) : hn::Set(d, kNoKey);
    HWY_UNROLL(9)
    for (int i = 0; i < j; ++i) exchange(best[i], v);
    best[j] = v;
  }
  for (std::size_t c = kCount; c < n; ++c) {
    VF v = key(c);
    HWY_UNROLL(9)
    for (int i = 0; i + 1 < kCount; ++i) exchange(best[i], v);
    best[kCount - 1] = hn::Min(best[kCount - 1], v);
  }
}

// Rows of `lanes` keys in memory, for counts that registers cannot hold.
class KeyRows {
 public:
  KeyRows(float* memory, std::size_t lanes) : memory_(memory), lanes_(lanes) {}
  HWY_INLINE VF load(std::size_t row) const { return hn::Load(DF(), memory_ + row * lanes_); }
  HWY_INLINE void store(std::size_t row, VF v) const { hn::Store(v, DF(), memory_ + row * lanes_); }
  HWY_INLINE void exchange_rows(std::size_t a, std::size_t b) const {
    const VF x = load(a), y = load(b);
    store(a, hn::Min(x, y));
    store(b, hn::Max(x, y));
  }
  // Batcher's odd-even merge sort of `count` rows, a power of two.
  void sort(std::size_t count) const {
    for (std::size_t p = 1; p < count; p *= 2) {
      for (std::size_t s = p; s >= 1; s /= 2) {
        for (std::size_t j = s % p; j + s < count; j += 2 * s) {
          for (std::size_t i = j; i < std::min(j + s, count - s); ++i) {
            if (((i ^ (i + s)) & ~(2 * p - 1)) == 0) exchange_rows(i, i + s);
          }
        }
      }
    }
  }
  // Sorts rows that first rise and then fall, or the reverse.
  void sort_bitonic(std::size_t count) const {
    for (std::size_t s = count / 2; s >= 1; s /= 2) {
      for (std::size_t j = 0; j < count; j += 2 * s) {
        for (std::size_t i = j; i < j + s; ++i) exchange_rows(i, i + s);
      }
    }
  }

 private:
  float* memory_;
  std::size_t lanes_;
};

// Rows 0 .. k - 1 get the k smallest of n keys in ascending order, row k the smallest of all others. With `count` the
// power of two at or above k, blocks of `count` keys are sorted and merged with the best so far. A key that is no
// smaller than the k-th best in any lane is not sorted at all.
template <class Key>
HWY_INLINE void select_by_merging(std::size_t n, std::size_t k, const Key& key, float* best_memory,
                                  float* block_memory) {
  const DF d;
  const std::size_t lanes = hn::Lanes(d), count = std::bit_ceil(k);
  const KeyRows best(best_memory, lanes), block(block_memory, lanes);
  const VF none = hn::Set(d, kNoKey);
  for (std::size_t j = 0; j < count; ++j) best.store(j, j < n ? key(j) : none);
  best.sort(count);
  VF rejected = none;
  for (std::size_t c = count; c < n;) {
    std::size_t filled = 0;
    const VF worst = best.load(k - 1);
    for (; c < n && filled < count; ++c) {
      const VF v = key(c);
      if (hn::AllFalse(d, hn::Lt(v, worst))) {
        rejected = hn::Min(rejected, v);
      } else {
        block.store(filled++, v);
      }
    }
    if (filled == 0) break;
    std::size_t sorted = std::bit_ceil(filled);
    for (std::size_t j = filled; j < sorted; ++j) block.store(j, none);
    block.sort(sorted);
    // The smaller half of two ascending rows of `count`, the second read backwards, is bitonic.
    for (std::size_t j = 0; j < sorted; ++j) {
      const std::size_t i = count - 1 - j;
      const VF a = best.load(i), b = block.load(j);
      best.store(i, hn::Min(a, b));
      rejected = hn::Min(rejected, hn::Max(a, b));
    }
    best.sort_bitonic(count);
  }
  best.store(k, k < count ? hn::Min(best.load(k), rejected) : rejected);
}

// Where the queries of one vector are and how far candidate c lies: grid cells in columns share the squares of x.
struct CellLanes {
  VF x, y;
  const float* HWY_RESTRICT x_squared;  // (candidates, lanes): rounded (x - p.x)^2
  const float* HWY_RESTRICT py;
  HWY_INLINE VF distance(std::size_t c) const {
    const DF d;
    const VF t = hn::Sub(y, hn::Set(d, py[c]));
    return fused(d, t, t, hn::LoadU(d, x_squared + c * hn::Lanes(d)));
  }
};

template <int kFeatures>
struct PointLanes {
  VF x, y, z;
  const float *HWY_RESTRICT px, *HWY_RESTRICT py, *HWY_RESTRICT pz;
  HWY_INLINE VF distance(std::size_t c) const {
    const DF d;
    const VF tx = hn::Sub(x, hn::Set(d, px[c])), ty = hn::Sub(y, hn::Set(d, py[c]));
    VF s = fused(d, ty, ty, hn::Mul(tx, tx));
    if constexpr (kFeatures == 3) {
      const VF tz = hn::Sub(z, hn::Set(d, pz[c]));
      s = fused(d, tz, tz, s);
    }
    return s;
  }
};

// Packed keys of the candidates: bits of the distance above, a tag below.
template <class Lanes>
struct PackedKeys {
  const Lanes& queries;
  const int* HWY_RESTRICT tags;
  VI distance_mask;
  HWY_INLINE VF operator()(std::size_t c) const {
    const DF d;
    const DI di;
    return hn::BitCast(d, hn::OrAnd(hn::Set(di, tags[c]), hn::BitCast(di, queries.distance(c)), distance_mask));
  }
};

// table[index] for every lane. Tables of up to four vectors are looked up in registers: a gather costs more.
template <class D, class V = hn::Vec<D>, class T = hn::TFromD<D>>
HWY_INLINE V look_up(D d, const T* HWY_RESTRICT table, std::size_t size, VI index) {
  const DI di;
  const std::size_t lanes = hn::Lanes(d);
  if (size > 4 * lanes) return hn::GatherIndex(d, table, index);
  const VI within = hn::And(index, hn::Set(di, static_cast<int>(lanes) - 1));
  const auto lookup = hn::IndicesFromVec(d, within);
  V result = hn::TableLookupLanes(hn::LoadU(d, table), lookup);
  for (std::size_t base = lanes; base < size; base += lanes) {
    const V part = hn::TableLookupLanes(hn::LoadU(d, table + base), lookup);
    const auto here = hn::Gt(index, hn::Set(di, static_cast<int>(base) - 1));
    result = hn::IfThenElse(hn::RebindMask(d, here), part, result);
  }
  return result;
}

// The neighbours of vectors of queries among the candidates of a list.
template <int kFeatures>
class Selector {
 public:
  static constexpr std::size_t kMostInRegisters = 8;  // nearest of a lane: AVX2 has 16 registers
  static constexpr std::size_t kMostInserted = 16;    // beyond, sorting a lane's distances costs less
  static constexpr std::size_t kRows = kMaxNeighbours + 1;
  // Longer lists leave too few bits of the distance in a key: they are solved lane by lane.
  static constexpr std::size_t kMostPacked = 1024;

  explicit Selector(std::size_t k) : k_(k), lanes_(hn::Lanes(DF())) {
    for (int i = 0; i < static_cast<int>(kMostPacked); ++i) tags_[i] = i;
    if (k <= kMostInRegisters) {
      for (std::size_t place = 0; place < k * lanes_; ++place) {
        pixel_[place] = static_cast<int>(place / k);
        for (std::size_t j = 0; j < k; ++j) {
          mask_[(place / lanes_ * k + j) * lanes_ + place % lanes_] = place % k == j ? -1 : 0;
        }
      }
    }
  }

  std::size_t lanes() const { return lanes_; }

  // About what a candidate costs a vector of queries: k + 1 exchanges, or its share of sorting blocks.
  double clocks_per_candidate() const {
    return k_ <= kMostInRegisters ? k_ + 2.0 : 5.0 * std::log2(static_cast<double>(k_));
  }

  // Prepares for a list; must be called before queries are asked about it, and the list must stay.
  void use(const Candidates& list) {
    list_ = &list;
    slot_bits_ = std::bit_width(std::max<std::size_t>(list.size, 2) - 1);
    sorted_ = false;
  }
  // The same, for votes between two labels: bit 0 of a tag says whether the candidate carries `one`.
  void use_with_labels(const Candidates& list, int one) {
    use(list);
    if (list.size > kMostPacked) return;
    for (std::size_t c = 0; c < list.size; ++c) votes_[c] = static_cast<int>(2 * c) | (list.label[c] == one);
  }

  // Slots and canonical distances of the k nearest of every lane, rows of `lanes`: slots(j, lane). `coordinates` has
  // an array over the lanes per feature. Distances are filled when asked for.
  template <class Lanes>
  void nearest(const Lanes& queries, const float* const* coordinates, bool want_distances, Workspace& work) {
    const DI di;
    work.examined += list_->size;
    if (list_->size > kMostPacked) {
      for (std::size_t lane = 0; lane < lanes_; ++lane) repair(lane, coordinates, work);
      return;
    }
    select(queries, tags_, slot_bits_);
    const VI slot_mask = hn::Set(di, (1 << slot_bits_) - 1);
    VI gap = hn::Set(di, std::numeric_limits<int>::max()), last_gap = gap;
    VI before = stored_key(0);
    for (std::size_t j = 0; j < k_; ++j) {
      hn::Store(hn::And(before, slot_mask), di, slots_ + j * lanes_);
      const VI after = stored_key(j + 1);
      if (j + 1 < k_) gap = hn::Min(gap, hn::Sub(after, before));
      if (j + 1 == k_) last_gap = hn::Sub(after, before);
      before = after;
    }
    // Keys less than 2^bits apart may agree in their distance bits (keys further apart cannot).
    const VI bucket = hn::Set(di, 1 << slot_bits_);
    const bool tied = !hn::AllFalse(di, hn::Lt(gap, bucket));
    if (want_distances || tied) exact_distances(queries);
    if (tied) put_in_order();
    const auto open = hn::Lt(last_gap, bucket);  // the k-th may not be the k-th
    if (!hn::AllFalse(di, open)) settle(queries, coordinates, hn::VecFromMask(di, open), work);
  }

  // How many of the k nearest of every lane carry the label of `use_with_labels`.
  template <class Lanes>
  VI count_votes(const Lanes& queries, const float* const* coordinates, int one, Workspace& work) {
    const DI di;
    work.examined += list_->size;
    if (list_->size > kMostPacked) {
      for (std::size_t lane = 0; lane < lanes_; ++lane) repair(lane, coordinates, work);
      return count_label(one);
    }
    select(queries, votes_, slot_bits_ + 1);
    VI count = hn::Zero(di);
    const VI one_bit = hn::Set(di, 1);
    for (std::size_t j = 0; j < k_; ++j) {
      count = hn::Add(count, hn::And(stored_key(j), one_bit));
    }
    const auto open = hn::Lt(hn::Sub(stored_key(k_), stored_key(k_ - 1)), hn::Set(di, 2 << slot_bits_));
    if (hn::AllFalse(di, open)) return count;
    const VI flags = hn::VecFromMask(di, open);
    for (std::size_t j = 0; j < k_; ++j) {
      hn::Store(hn::ShiftRight<1>(hn::And(stored_key(j), hn::Set(di, (2 << slot_bits_) - 1))), di, slots_ + j * lanes_);
    }
    settle(queries, coordinates, flags, work);
    return count_label(one);
  }

  int slot(std::size_t j, std::size_t lane) const { return slots_[j * lanes_ + lane]; }

  // Writes (lanes, k) ids, and distances unless null, to contiguous memory. To be called after `nearest`.
  void write(int* HWY_RESTRICT ids, float* HWY_RESTRICT distances) {
    look_up_ids();
    interleave(ids_, ids);
    if (distances != nullptr) interleave(distances_, distances);
  }

 private:
  // keys_(0 .. k - 1) get the smallest keys in order, keys_(k) the smallest of the others.
  template <class Lanes>
  HWY_INLINE void select(const Lanes& queries, const int* HWY_RESTRICT tags, int bits) {
    const PackedKeys<Lanes> key{queries, tags, hn::Set(DI(), -1 << bits)};
    switch (k_) {
      case 1: return insert<1>(key);
      case 2: return insert<2>(key);
      case 3: return insert<3>(key);
      case 4: return insert<4>(key);
      case 5: return insert<5>(key);
      case 6: return insert<6>(key);
      case 7: return insert<7>(key);
      case 8: return insert<8>(key);
      default: break;
    }
    select_by_merging(list_->size, k_, key, keys_, block_);
  }
  template <int kNeighbours, class Key>
  HWY_INLINE void insert(const Key& key) {
    VF best[kNeighbours + 1];
    select_by_insertion<kNeighbours + 1>(list_->size, key, best);
    HWY_UNROLL(9)
    for (int j = 0; j <= kNeighbours; ++j) hn::Store(best[j], DF(), keys_ + j * lanes_);
  }

  HWY_INLINE VI stored_key(std::size_t j) const { return hn::BitCast(DI(), hn::Load(DF(), keys_ + j * lanes_)); }

  HWY_INLINE void look_up_ids() {
    const DI di;
    for (std::size_t j = 0; j < k_; ++j) {
      const VI slots = hn::Load(di, slots_ + j * lanes_);
      hn::Store(look_up(di, list_->id.data(), list_->size, slots), di, ids_ + j * lanes_);
    }
  }

  template <class Lanes>
  void exact_distances(const Lanes& queries) {
    const DF d;
    const DI di;
    const std::size_t n = list_->size;
    for (std::size_t j = 0; j < k_; ++j) {
      const VI slots = hn::Load(di, slots_ + j * lanes_);
      const VF tx = hn::Sub(queries.x, look_up(d, list_->x.data(), n, slots));
      const VF ty = hn::Sub(queries.y, look_up(d, list_->y.data(), n, slots));
      VF s = fused(d, ty, ty, hn::Mul(tx, tx));
      if constexpr (kFeatures == 3) {
        const VF tz = hn::Sub(queries.z, look_up(d, list_->z.data(), n, slots));
        s = fused(d, tz, tz, s);
      }
      hn::Store(s, d, distances_ + j * lanes_);
    }
  }

  // Keys that agree in their distance bits stand in order of slot: neighbours are exchanged where (distance, id) says
  // otherwise, until none do.
  void put_in_order() {
    const DF d;
    const DI di;
    look_up_ids();
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t j = 0; j + 1 < k_; ++j) {
        const VF a = hn::Load(d, distances_ + j * lanes_), b = hn::Load(d, distances_ + (j + 1) * lanes_);
        const VI m = hn::Load(di, ids_ + j * lanes_), n = hn::Load(di, ids_ + (j + 1) * lanes_);
        const auto wrong = hn::Or(hn::Gt(a, b), hn::And(hn::Eq(a, b), hn::RebindMask(d, hn::Gt(m, n))));
        if (hn::AllFalse(d, wrong)) continue;
        changed = true;
        hn::Store(hn::Min(a, b), d, distances_ + j * lanes_);
        hn::Store(hn::Max(a, b), d, distances_ + (j + 1) * lanes_);
        const auto wrong_int = hn::RebindMask(di, wrong);
        hn::Store(hn::IfThenElse(wrong_int, n, m), di, ids_ + j * lanes_);
        hn::Store(hn::IfThenElse(wrong_int, m, n), di, ids_ + (j + 1) * lanes_);
        const VI s = hn::Load(di, slots_ + j * lanes_), t = hn::Load(di, slots_ + (j + 1) * lanes_);
        hn::Store(hn::IfThenElse(wrong_int, t, s), di, slots_ + j * lanes_);
        hn::Store(hn::IfThenElse(wrong_int, s, t), di, slots_ + (j + 1) * lanes_);
      }
    }
  }

  // Neighbours of lanes whose k-th key is too close to the next one: `flags` is not 0 there. Other lanes keep at least
  // their set of slots.
  template <class Lanes>
  void settle(const Lanes& queries, const float* const* coordinates, VI flags, Workspace& work) {
    const DI di;
    alignas(64) int open[kMostLanes];
    hn::Store(flags, di, open);
    const std::size_t count = lanes_ - static_cast<std::size_t>(std::count(open, open + lanes_, 0));
    if (count > 2 && k_ <= kMostInserted) {
      insert_exactly(queries);
      return;
    }
    for (std::size_t lane = 0; lane < lanes_; ++lane) {
      if (open[lane] != 0) repair(lane, coordinates, work);
    }
  }

  // All lanes by exact distances: candidates come in order of id, so that one that is not nearer goes behind.
  template <class Lanes>
  HWY_NOINLINE void insert_exactly(const Lanes& queries) {
    const DF d;
    const DI di;
    if (!sorted_) {
      sorted_ = true;
      for (std::size_t c = 0; c < list_->size; ++c) by_id_[c] = static_cast<int>(c);
      std::sort(by_id_, by_id_ + list_->size, [this](int a, int b) { return list_->id[a] < list_->id[b]; });
    }
    for (std::size_t j = 0; j < k_; ++j) hn::Store(hn::Set(d, kNoKey), d, distances_ + j * lanes_);
    for (std::size_t c = 0; c < list_->size; ++c) {
      const VF distance = queries.distance(by_id_[c]);
      if (hn::AllFalse(d, hn::Lt(distance, hn::Load(d, distances_ + (k_ - 1) * lanes_)))) continue;
      VF moved = distance;  // what goes into place j if all from there on move down
      VI moved_slot = hn::Set(di, by_id_[c]);
      for (std::size_t j = 0; j < k_; ++j) {
        const VF other = hn::Load(d, distances_ + j * lanes_);
        const VI other_slot = hn::Load(di, slots_ + j * lanes_);
        const auto moves = hn::Lt(distance, other);
        const auto moves_int = hn::RebindMask(di, moves);
        hn::Store(hn::IfThenElse(moves, moved, other), d, distances_ + j * lanes_);
        hn::Store(hn::IfThenElse(moves_int, moved_slot, other_slot), di, slots_ + j * lanes_);
        moved = hn::IfThenElse(moves, other, moved);
        moved_slot = hn::IfThenElse(moves_int, other_slot, moved_slot);
      }
    }
  }

  VI count_label(int one) const {
    const DI di;
    VI count = hn::Zero(di);
    for (std::size_t j = 0; j < k_; ++j) {
      const VI label = look_up(di, list_->label.data(), list_->size, hn::Load(di, slots_ + j * lanes_));
      count = hn::Add(count, hn::IfThenElseZero(hn::Eq(label, hn::Set(di, one)), hn::Set(di, 1)));
    }
    return count;
  }

  void repair(std::size_t lane, const float* const* coordinates, Workspace& work) {
    float query[3] = {0, 0, 0};
    for (int c = 0; c < kFeatures; ++c) query[c] = coordinates[c][lane];
    int slots[kMaxNeighbours];
    float distances[kMaxNeighbours];
    solve_lane<kFeatures>(*list_, query, k_, work, slots, distances);
    for (std::size_t j = 0; j < k_; ++j) {
      slots_[j * lanes_ + lane] = slots[j];
      distances_[j * lanes_ + lane] = distances[j];
    }
  }

  // (k, lanes) to (lanes, k).
  template <class T>
  HWY_INLINE void interleave(const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
    const DI di;
    if (k_ > kMostInRegisters) {
      for (std::size_t lane = 0; lane < lanes_; ++lane) {
        for (std::size_t j = 0; j < k_; ++j) to[lane * k_ + j] = from[j * lanes_ + lane];
      }
      return;
    }
    const int* HWY_RESTRICT rows = reinterpret_cast<const int*>(from);
    for (std::size_t v = 0; v < k_; ++v) {
      const auto lookup = hn::IndicesFromVec(di, hn::Load(di, pixel_ + v * lanes_));
      VI result = hn::Zero(di);
      for (std::size_t j = 0; j < k_; ++j) {
        const VI row = hn::TableLookupLanes(hn::Load(di, rows + j * lanes_), lookup);
        result = hn::OrAnd(result, row, hn::Load(di, mask_ + (v * k_ + j) * lanes_));
      }
      hn::StoreU(result, di, reinterpret_cast<int*>(to) + v * lanes_);
    }
  }

  std::size_t k_, lanes_;
  const Candidates* list_ = nullptr;
  int slot_bits_ = 1;
  bool sorted_ = false;  // whether by_id_ belongs to the list
  alignas(64) int tags_[kMostPacked], votes_[kMostPacked], by_id_[kMostPacked];
  alignas(64) float keys_[kRows * kMostLanes], block_[kMaxNeighbours * kMostLanes];
  alignas(64) int slots_[kMaxNeighbours * kMostLanes], ids_[kMaxNeighbours * kMostLanes];
  alignas(64) float distances_[kMaxNeighbours * kMostLanes];
  alignas(64) int pixel_[kMostInRegisters * kMostLanes];
  alignas(64) int mask_[kMostInRegisters * kMostInRegisters * kMostLanes];
};

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
