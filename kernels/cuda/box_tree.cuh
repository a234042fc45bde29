// box_tree: points in 1 to 3 dimensions as a tree of boxes, 32 children to a node, and the walks of a warp over it.
//
// The points lie in an order that keeps near ones together (point_order.cuh); node i of level l covers the nodes (level
// 1: the points) [32 i, 32 i + 32) of the level below, and is their bounding box. There is nothing else to the tree: no
// pointers, no cells to overflow, so that clustered and duplicate points cost no more than others.
//
// Bounds are exact. Rounding is monotone, so over a box of queries each |q - p|, its square and the sum in canonical
// order are all bounded by the same fp32 operations on the ends of the box: `least_distance` and `most_distance` bound
// the canonical distance itself, its rounding included, with nothing added for safety.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/distance.h"
#include "kernels/tile.h"

namespace scalelab::cuda {

inline constexpr int kMaxLevels = 6;  // 32^7 exceeds the most points there can be, 2^31 - 1

struct BoxNode {
  float4 low;   // x, y, z; w: the bits of the least index beneath
  float4 high;  // x, y, z; w: unused
};

struct BoxTree {
  const float4* points;  // (count) x, y, z (0 beyond the dimensions given); w: the bits of the point's index
  int count;
  int levels;                            // the top one has at most 32 nodes
  const BoxNode* nodes[kMaxLevels + 1];  // by level, 1 .. levels
  int node_counts[kMaxLevels + 1];
};

// The tree of a set of points, and the memory it lies in.
class BoxTreeStorage {
 public:
  // points (n, d), d 1 .. 3, 1 <= n < 2^31; point i is known as first_index + i. Queued on the stream; nothing waits.
  BoxTreeStorage(View<const float> points, Context& context, int first_index = 0);
  // The same order of points with new coordinates: boxes follow, the order grows stale (walks stay exact).
  void move_points(View<const float> points, Context& context);
  BoxTree tree() const { return tree_; }

 private:
  void build_boxes(Context& context);
  Scratch<float4> points_;
  Scratch<BoxNode> nodes_;
  int first_index_;
  BoxTree tree_;
};

// A box of queries.
struct Box {
  float low[3], high[3];
};

__device__ inline float larger(float a, float b) { return a < b ? b : a; }
__device__ inline float smaller(float a, float b) { return b < a ? b : a; }

// |q - p| over q in [low, high] and p in [p_low, p_high]: the least and the most, as the difference rounds.
__device__ inline float least_gap(float low, float high, float p_low, float p_high) {
  return larger(larger(low - p_high, p_low - high), 0.0F);
}
__device__ inline float most_gap(float low, float high, float p_low, float p_high) {
  return larger(high - p_low, p_high - low);
}
__device__ inline float chained_squares(float x, float y, float z) { return fmaf(z, z, fmaf(y, y, x * x)); }

__device__ inline float least_distance(const Box& box, const float4& low, const float4& high) {
  return chained_squares(least_gap(box.low[0], box.high[0], low.x, high.x),
                         least_gap(box.low[1], box.high[1], low.y, high.y),
                         least_gap(box.low[2], box.high[2], low.z, high.z));
}
__device__ inline float most_distance(const Box& box, const float4& low, const float4& high) {
  return chained_squares(most_gap(box.low[0], box.high[0], low.x, high.x),
                         most_gap(box.low[1], box.high[1], low.y, high.y),
                         most_gap(box.low[2], box.high[2], low.z, high.z));
}

// Whether every query of the box is equally far, as distances are computed, from all points of another (tile.h).
__device__ inline bool equally_far(const Box& queries, const float4& low, const float4& high) {
  return axis_ties(larger(queries.low[0], -queries.high[0]), low.x, high.x) &&
         axis_ties(larger(queries.low[1], -queries.high[1]), low.y, high.y) &&
         axis_ties(larger(queries.low[2], -queries.high[2]), low.z, high.z);
}

__device__ inline Box point_box(float x, float y, float z) { return {{x, y, z}, {x, y, z}}; }

// The squared length of a box's diagonal: a measure of size, not a bound.
__device__ inline float squared_diagonal(const float* low, const float* high) {
  return chained_squares(high[0] - low[0], high[1] - low[1], high[2] - low[2]);
}

// The canonical distance of two points of up to three dimensions: the missing ones add an exact zero.
__device__ inline float point_distance(float x, float y, float z, const float4& p) {
  const float s = add_squared_difference(x, p.x, 0.0F);
  return add_squared_difference(z, p.z, add_squared_difference(y, p.y, s));
}

__device__ inline int point_index(const float4& p) { return __float_as_int(p.w); }

// In the place of a distance's bits: beyond all of them, of those that overflow to infinity too.
inline constexpr unsigned kLeftOut = 0xffffffffU;

// Walks the tree with a whole warp, depth first: of siblings the nearest first, of those as near the one with the least
// index beneath it, which decides where distances are equal: far away from all points, every one may be as near.
//   distance(node)    one lane per node: the bits of its distance, or kLeftOut: it is then not entered, nor anything
//                     beneath it. Asked again whenever a sibling is done.
//   enter(node)       every lane with the same node, just before its children are looked at: may still refuse it.
//   leaf(first, last) every lane with the same range of points, at most 32 of them.
// Lane l holds the state of level l: the first of the siblings being visited, and a mask of those still to come.
template <class Distance, class Enter, class Leaf>
__device__ inline void walk_tree(const BoxTree& tree, Distance distance, Enter enter, Leaf leaf) {
  const int lane = lane_index();
  int first = 0;  // of the siblings on this lane's level
  int level = tree.levels;
  unsigned to_come = lane == level ? kAllLanes : 0;
  while (level <= tree.levels) {
    const unsigned siblings = __shfl_sync(kAllLanes, to_come, level);
    const int sibling = __shfl_sync(kAllLanes, first, level) + lane;
    unsigned bits = kLeftOut;
    if ((siblings >> lane & 1U) != 0 && sibling < tree.node_counts[level]) bits = distance(tree.nodes[level][sibling]);
    const unsigned remaining = __ballot_sync(kAllLanes, bits != kLeftOut);
    if (remaining == 0) {
      ++level;
      continue;
    }
    const unsigned least = warp_min(bits);
    unsigned nearest = __ballot_sync(kAllLanes, bits == least);
    if ((nearest & (nearest - 1)) != 0) {
      const int index = bits == least ? __float_as_int(tree.nodes[level][sibling].low.w) : INT32_MAX;
      const int least_index = warp_min(index);
      nearest = __ballot_sync(kAllLanes, index == least_index && bits == least);
    }
    const int taken = __ffs(static_cast<int>(nearest)) - 1;
    if (lane == level) to_come = remaining ^ (1U << taken);
    const int node = __shfl_sync(kAllLanes, sibling, taken);
    if (!enter(tree.nodes[level][node])) continue;
    const int child = kWarp * node;
    if (level == 1) {
      leaf(child, child + kWarp < tree.count ? child + kWarp : tree.count);
      continue;
    }
    --level;
    if (lane == level) {
      first = child;
      to_come = kAllLanes;
    }
  }
}

// The leaf that a walk straight down ends in, always taking the child that is nearest to the box, of those about as near
// the one that reaches least far: where to look first for near points. The same on every lane.
__device__ inline int nearest_leaf(const BoxTree& tree, const Box& box) {
  int node = 0;
  for (int level = tree.levels; level >= 1; --level) {
    const int child = (level == tree.levels ? 0 : kWarp * node) + lane_index();
    Key key = kFarthest;
    if (child < tree.node_counts[level]) {
      const BoxNode& candidate = tree.nodes[level][child];
      constexpr float kSmall = 0x1p-10F;  // the nearest side decides; where those are alike, the far one
      key = make_key(fmaf(kSmall, most_distance(box, candidate.low, candidate.high),
                          least_distance(box, candidate.low, candidate.high)),
                     child);
    }
    node = key_index(warp_min(key));
  }
  return node;
}

// A number that at least k of the warp's `count` distances do not exceed, and which lies hardly above the k-th smallest
// of them, as measured by how far they scatter, and by no more than so many steps of its bits (k <= count). `distances`
// lie in shared memory, written by this warp and synchronised.
__device__ inline float upper_kth(const float* distances, int count, int k, unsigned most_steps = 0xffffU) {
  unsigned low = 0xffffffffU, high = 0;  // bits of the least and the most: their order is the order of distances
  for (int i = lane_index(); i < count; i += kWarp) {
    const unsigned bits = __float_as_uint(distances[i]);
    low = bits < low ? bits : low;
    high = bits > high ? bits : high;
  }
  low = warp_min(low);
  high = warp_max(high);
  // Far from all points the distances agree in their leading bits: what is near enough depends on where they differ.
  const unsigned fine = (high - low) / 128, near_enough = fine < most_steps ? fine : most_steps;
  while (high - low > near_enough) {
    const unsigned middle = low + (high - low) / 2;
    int within = 0;
    for (int begin = 0; begin < count; begin += kWarp) {
      const int i = begin + lane_index();
      const bool below = i < count && __float_as_uint(distances[i]) <= middle;
      const unsigned votes = __ballot_sync(kAllLanes, below);
      within += __popc(votes);
    }
    if (within >= k) {
      high = middle;
      if (within == k) break;
    } else {
      low = middle + 1;
    }
  }
  return __uint_as_float(high);
}

// Most points that first_bound looks at; `distances` must hold as many.
inline constexpr int kSeedPoints = 256;

// A squared distance within which every query of the box certainly has k points (k <= 128, k <= tree.count): the k-th
// smallest of the most distances to the points around `leaf`, about twice as many as k.
__device__ inline float first_bound(const BoxTree& tree, const Box& box, int leaf, int k, float* distances) {
  const int wanted = (2 * k + kWarp - 1) / kWarp * kWarp;
  int first = kWarp * leaf - (wanted - kWarp) / 2;
  if (first > tree.count - wanted) first = tree.count - wanted;
  if (first < 0) first = 0;
  const int count = tree.count - first < wanted ? tree.count - first : wanted;
  for (int i = lane_index(); i < count; i += kWarp) {
    const float4 point = tree.points[first + i];
    distances[i] = most_distance(box, point, point);
  }
  __syncwarp();
  const float bound = upper_kth(distances, count, k);
  __syncwarp();
  return bound;
}

}  // namespace scalelab::cuda
