// tree_search: the k nearest points of a tree (box_tree.cuh) for the queries of a warp, exact, in two ways.
//
//   search_together  a query on every lane, neighbours in its registers, k <= 32. The warp walks the tree once for all
//                    its queries (or for a part of them, where they lie too far apart to share a walk) and hands the
//                    points it meets to every lane.
//   search_alone     one query for the whole warp, neighbours in shared memory, k <= 128.
//
// A third function, list_candidates, finds the points that matter to a whole box of queries.
//
// Both look at near boxes first, so that far from all points, where every one is about as near, few are looked at.
//
// The searches cannot overflow: points wait in a buffer that is emptied into the neighbours found so far whenever it
// fills, and a subtree is left out only when none of its points can come before a query's k-th neighbour by (distance,
// index).
#pragma once

#include <type_traits>

#include "kernels/cuda/box_tree.cuh"

namespace scalelab::cuda {

inline constexpr int kMostTogether = 32;  // largest k of search_together

// The k least keys met so far, ascending in the last k of K slots. The slots before them hold 0, which no key is below.
template <int K>
struct Nearest {
  Key keys[K];

  __device__ void clear(int k) {
#pragma unroll
    for (int j = 0; j < K; ++j) keys[j] = j < K - k ? 0 : kFarthest;
  }
  __device__ Key worst() const { return keys[K - 1]; }
  __device__ void insert(Key key) {
    if (!(key < keys[K - 1])) return;
#pragma unroll
    for (int j = K - 1; j > 0; --j) keys[j] = key < keys[j - 1] ? keys[j - 1] : (key < keys[j] ? key : keys[j]);
    keys[0] = key < keys[0] ? key : keys[0];
  }
};

// Calls body with the shortest list that holds k neighbours, as a std::integral_constant. k <= kMostTogether.
template <class Body>
void with_list_length(int k, Body&& body) {
  if (k <= 1) return body(std::integral_constant<int, 1>{});
  if (k <= 3) return body(std::integral_constant<int, 3>{});
  if (k <= 5) return body(std::integral_constant<int, 5>{});
  if (k <= 9) return body(std::integral_constant<int, 9>{});
  if (k <= 16) return body(std::integral_constant<int, 16>{});
  return body(std::integral_constant<int, 32>{});
}

// Lanes up to which a party's points are offered to one of its queries after the other, instead of to all of them.
inline constexpr int kNarrowParty = 4;

// Points that a party may meet for each of its queries: for more of them a walk of its own costs a query less.
inline constexpr int kPointsPerMember = 40;

// What a warp of search_together needs of shared memory.
union TogetherBuffer {
  static constexpr int kPoints = 64;  // two warps of them: emptied when less room than for one is left
  float4 points[kPoints];
  float distances[kSeedPoints];
};

// Aligned lanes [begin, begin + width) that share a walk, and the box of their queries.
struct Party {
  int begin, width;
  Box box;
};

// The most lanes from `begin` on, a power of two up to `most` and aligned to it, whose queries' box has a squared
// diagonal of at most `size`; at least one.
__device__ inline Party gather_party(float x, float y, float z, int begin, float size, int most) {
  Party party{begin, 1, point_box(x, y, z)};
  while (party.width < most && begin % (2 * party.width) == 0) {
    Box merged;
    for (int axis = 0; axis < 3; ++axis) {
      const float low = __shfl_xor_sync(kAllLanes, party.box.low[axis], party.width);
      const float high = __shfl_xor_sync(kAllLanes, party.box.high[axis], party.width);
      merged.low[axis] = smaller(party.box.low[axis], low);
      merged.high[axis] = larger(party.box.high[axis], high);
    }
    const float diagonal = __shfl_sync(kAllLanes, squared_diagonal(merged.low, merged.high), begin);
    if (!(diagonal <= size)) break;
    party.box = merged;
    party.width *= 2;
  }
  for (int axis = 0; axis < 3; ++axis) {
    party.box.low[axis] = __shfl_sync(kAllLanes, party.box.low[axis], begin);
    party.box.high[axis] = __shfl_sync(kAllLanes, party.box.high[axis], begin);
  }
  return party;
}

// Offers `count` points to the list of one lane, whose query is (x, y, z): every lane takes a point, and those that
// belong into the list go there nearest first.
template <int K>
__device__ inline void insert_nearest(const float4* points, int count, float x, float y, float z, int member,
                                      Nearest<K>& nearest) {
  const float own_x = __shfl_sync(kAllLanes, x, member);
  const float own_y = __shfl_sync(kAllLanes, y, member);
  const float own_z = __shfl_sync(kAllLanes, z, member);
  for (int begin = 0; begin < count; begin += kWarp) {
    const int i = begin + lane_index();
    Key key = kFarthest;
    if (i < count) key = make_key(point_distance(own_x, own_y, own_z, points[i]), point_index(points[i]));
    while (true) {
      const Key least = warp_min(key);
      const Key worst = __shfl_sync(kAllLanes, nearest.worst(), member);
      if (!(least < worst)) break;
      if (lane_index() == member) nearest.insert(least);
      if (key == least) key = kFarthest;
    }
  }
}

// The k nearest points of (x, y, z), each lane's own query, into `nearest`; lanes without one repeat another's. With them
// compete the keys that start(nearest) puts there. Near queries should come together: only the time depends on it.
// k <= K, k <= tree.count.
template <int K, class Start>
__device__ inline void search_together(const BoxTree& tree, float x, float y, float z, int k, Start start,
                                       TogetherBuffer& buffer, Nearest<K>& nearest) {
  const int lane = lane_index();
  const Box own = point_box(x, y, z);
  int alone_until = 0;  // lanes that a wider party proved too expensive for
  for (int begin = 0; begin < kWarp;) {
    const float seed_x = __shfl_sync(kAllLanes, x, begin);
    const float seed_y = __shfl_sync(kAllLanes, y, begin);
    const float seed_z = __shfl_sync(kAllLanes, z, begin);
    const Box seed = point_box(seed_x, seed_y, seed_z);
    const int seed_leaf = nearest_leaf(tree, seed);
    float bound = first_bound(tree, seed, seed_leaf, k, buffer.distances);
    const BoxNode leaf_box = tree.nodes[1][seed_leaf];
    const float leaf_low[3] = {leaf_box.low.x, leaf_box.low.y, leaf_box.low.z};
    const float leaf_high[3] = {leaf_box.high.x, leaf_box.high.y, leaf_box.high.z};
    // A party twice the size of a leaf, or of the ball that holds k points, meets a few leaves too many at most, where
    // the points lie around it. Where they lie to one side, far away, it may meet all: then its lanes go one by one.
    const float size = 4 * larger(bound, squared_diagonal(leaf_low, leaf_high));
    const Party party = gather_party(x, y, z, begin, size, begin < alone_until ? 1 : kWarp);
    const bool mine = lane >= party.begin && lane < party.begin + party.width;
    const bool narrow = party.width <= kNarrowParty;
    if (party.width > 1) bound = first_bound(tree, party.box, seed_leaf, k, buffer.distances);
    Key worst = make_key(bound, -1);  // no neighbour of a lane comes behind it: at this distance, none at all
    if (mine) start(nearest);
    int waiting = 0;
    int left = party.width == 1 ? tree.count : kPointsPerMember * party.width;  // points that it may still meet

    const auto empty_buffer = [&] {
      __syncwarp();
      if (narrow) {
        for (int member = party.begin; member < party.begin + party.width; ++member) {
          insert_nearest(buffer.points, waiting, x, y, z, member, nearest);
        }
      } else {
        for (int i = 0; i < waiting; ++i) {
          const float4 point = buffer.points[i];
          if (mine) nearest.insert(make_key(point_distance(x, y, z, point), point_index(point)));
        }
      }
      left -= waiting;
      waiting = 0;
      __syncwarp();
      const Key last = warp_max(mine ? nearest.worst() : 0);
      worst = last < worst ? last : worst;
    };
    walk_tree(
        tree,
        [&](const BoxNode& node) {
          const float least = least_distance(party.box, node.low, node.high);
          return left >= 0 && make_key(least, __float_as_int(node.low.w)) <= worst ? __float_as_uint(least) : kLeftOut;
        },
        [&](const BoxNode& node) {
          const Key first = make_key(least_distance(own, node.low, node.high), __float_as_int(node.low.w));
          return __any_sync(kAllLanes, mine && first < nearest.worst()) != 0;
        },
        [&](int first, int last) {
          const int i = first + lane;
          bool near = i < last;
          float4 point{};
          if (near) {
            point = tree.points[i];
            near = make_key(least_distance(party.box, point, point), point_index(point)) <= worst;
          }
          const unsigned votes = __ballot_sync(kAllLanes, near);
          if (near) buffer.points[waiting + lanes_below(votes)] = point;
          waiting += __popc(votes);
          if (waiting > (narrow ? 0 : TogetherBuffer::kPoints - kWarp)) empty_buffer();
        });
    empty_buffer();
    if (left < 0) {
      alone_until = begin + party.width;
    } else {
      begin += party.width;
    }
  }
}

// Keeps, in place and in order, those of `count` points that `keep` accepts; returns how many.
template <class Keep>
__device__ inline int compact(float4* points, int count, Keep keep) {
  int kept = 0;
  for (int begin = 0; begin < count; begin += kWarp) {
    const int i = begin + lane_index();
    float4 point{};
    bool stays = i < count;
    if (stays) {
      point = points[i];
      stays = keep(point);
    }
    const unsigned votes = __ballot_sync(kAllLanes, stays);
    __syncwarp();
    if (stays) points[kept + lanes_below(votes)] = point;
    kept += __popc(votes);
  }
  __syncwarp();
  return kept;
}

// Most points that list_candidates lists.
inline constexpr int kMostCandidates = 256;  // 4 KB of points and 1 KB of their distances, for each warp

// Of points that every query of a box is equally far from only the k of least index can be among its k nearest.
struct Ties {
  float4 pivot;          // one of them
  int last = INT32_MAX;  // the k-th least index of those found

  // Whether the points of a box, with the least index in low.w, are more of them and come behind.
  __device__ bool leave_out(const Box& queries, const float4& low, const float4& high) const {
    return point_index(low) > last && hold(queries, low, high);
  }
  __device__ bool hold(const Box& queries, const float4& low, const float4& high) const {
    return equally_far(queries,
                       make_float4(smaller(low.x, pivot.x), smaller(low.y, pivot.y), smaller(low.z, pivot.z), 0.0F),
                       make_float4(larger(high.x, pivot.x), larger(high.y, pivot.y), larger(high.z, pivot.z), 0.0F));
  }
};

// The ties with the last of `count` > k points. `scratch` (count) in shared memory; synchronised on return.
__device__ inline Ties find_ties(const Box& queries, const float4* points, int count, int k, float* scratch) {
  Ties ties{points[count - 1]};
  int tied = 0;
  for (int begin = 0; begin < count; begin += kWarp) {
    const int i = begin + lane_index();
    const bool one = i < count && ties.hold(queries, points[i], points[i]);
    if (i < count) scratch[i] = one ? points[i].w : 0.0F;  // bits of an index, which upper_kth puts in order
    const unsigned votes = __ballot_sync(kAllLanes, one);
    tied += __popc(votes);
  }
  __syncwarp();
  if (tied > k) ties.last = __float_as_int(upper_kth(scratch, count, count - tied + k, 0));
  __syncwarp();
  return ties;
}

// Lists every point that can be among the k nearest of any query in the box, and returns how many; -1 when they are too
// many. `candidates` and `ends` (scratch) hold kMostCandidates and lie in shared memory; synchronised on return.
__device__ inline int list_candidates(const BoxTree& tree, const Box& box, int k, float4* candidates, float* ends) {
  static_assert(kSeedPoints <= kMostCandidates);
  float bound = first_bound(tree, box, nearest_leaf(tree, box), k, ends);
  int count = 0;
  bool fits = true;
  Ties ties{};
  // Any k points bound the k-th smallest distance: those listed so far serve, and soon better than the first ones.
  // Where more than `many` are left, ties are looked for among them.
  const auto tighten = [&](int many) {
    __syncwarp();
    for (int i = lane_index(); i < count; i += kWarp) {
      ends[i] = most_distance(box, candidates[i], candidates[i]);
    }
    __syncwarp();
    if (count >= k) bound = smaller(bound, upper_kth(ends, count, k));
    count = compact(candidates, count, [&](const float4& point) { return least_distance(box, point, point) <= bound; });
    if (count <= many) return;
    ties = find_ties(box, candidates, count, k, ends);
    count = compact(candidates, count, [&](const float4& point) { return !ties.leave_out(box, point, point); });
  };
  constexpr int kFull = kMostCandidates - kWarp;
  walk_tree(
      tree,
      [&](const BoxNode& node) {
        const float least = least_distance(box, node.low, node.high);
        const bool entered = fits && least <= bound && !ties.leave_out(box, node.low, node.high);
        return entered ? __float_as_uint(least) : kLeftOut;
      },
      [&](const BoxNode&) { return true; },
      [&](int first, int last) {
        const int i = first + lane_index();
        bool near = i < last;
        float4 point{};
        if (near) {
          point = tree.points[i];
          near = least_distance(box, point, point) <= bound && !ties.leave_out(box, point, point);
        }
        const unsigned votes = __ballot_sync(kAllLanes, near);
        if (near) candidates[count + lanes_below(votes)] = point;
        count += __popc(votes);
        if (count > kFull) {
          tighten(kFull);
          fits = count <= kFull;
        }
      });
  if (!fits) return -1;
  tighten(2 * k + kWarp);
  return count;
}

// What a warp of search_alone needs of shared memory.
union AloneBuffer {
  static constexpr int kKeys = 256;  // twice kMaxNeighbours: the list, and as many that wait to be sorted in
  Key keys[kKeys];
  float distances[kSeedPoints];
};

// Sorts `count` keys, a power of two, ascending. Bitonic: the warp compares and exchanges count / 2 pairs a step.
__device__ inline void warp_sort(Key* keys, int count) {
  for (int run = 2; run <= count; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int pair = lane_index(); pair < count / 2; pair += kWarp) {
        const int i = pair % step + pair / step * step * 2;
        const Key a = keys[i], b = keys[i + step];
        const bool ascending = (i & run) == 0;
        if ((b < a) == ascending) {
          keys[i] = b;
          keys[i + step] = a;
        }
      }
      __syncwarp();
    }
  }
}

// Sorts the first `count` of up to `capacity` (a power of two) keys, after writes that need no barrier of their own.
__device__ inline void sort_front(Key* keys, int count, int capacity) {
  int size = kWarp;
  while (size < count) size *= 2;
  if (size > capacity) size = capacity;
  for (int i = count + lane_index(); i < size; i += kWarp) keys[i] = kFarthest;
  __syncwarp();
  warp_sort(keys, size);
}

// The k nearest points of one query, the same on every lane, into buffer.keys[0 .. k), ascending and synchronised; with
// them compete the k keys that prior(0 .. k - 1) gives, where `with_prior`. k <= 128, k <= tree.count.
template <class Prior>
__device__ inline void search_alone(const BoxTree& tree, float x, float y, float z, int k, bool with_prior, Prior prior,
                                    AloneBuffer& buffer) {
  const Box query = point_box(x, y, z);
  const float reach = first_bound(tree, query, nearest_leaf(tree, query), k, buffer.distances);
  Key worst = make_key(reach, -1);  // of all keys at this distance the last
  int found = 0;
  if (with_prior) {
    for (int j = lane_index(); j < k; j += kWarp) buffer.keys[j] = prior(j);
    found = k;
  }
  const auto cut = [&] {
    sort_front(buffer.keys, found, AloneBuffer::kKeys);
    if (found < k) return;
    found = k;
    const Key last = buffer.keys[k - 1];
    worst = last < worst ? last : worst;
    __syncwarp();
  };
  const auto distance = [&](const BoxNode& node) {
    const float least = least_distance(query, node.low, node.high);
    return make_key(least, __float_as_int(node.low.w)) <= worst ? __float_as_uint(least) : kLeftOut;
  };
  walk_tree(
      tree, distance, [](const BoxNode&) { return true; },
      [&](int first, int last) {
        const int i = first + lane_index();
        Key key = kFarthest;
        if (i < last) {
          const float4 point = tree.points[i];
          key = make_key(point_distance(x, y, z, point), point_index(point));
        }
        const unsigned votes = __ballot_sync(kAllLanes, key <= worst);
        if (key <= worst) buffer.keys[found + lanes_below(votes)] = key;
        found += __popc(votes);
        if (found > AloneBuffer::kKeys - kWarp) cut();
      });
  cut();
}

}  // namespace scalelab::cuda
