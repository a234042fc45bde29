// Building a tree of boxes: Morton codes, their sort, and one bounding box per 32 children, level by level.
#include "kernels/cuda/box_tree.cuh"

namespace scalelab::cuda {

namespace {

constexpr int kThreads = 256;

// Floats as unsigned numbers of the same order, so that integer atomics can find bounds.
__device__ unsigned ordered_bits(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ float from_ordered_bits(unsigned bits) {
  return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7fffffffU : ~bits);
}

// Bounding box of all points: low x, y, z, then high x, y, z, as ordered bits.
struct Bounds {
  unsigned low[3], high[3];
};

__device__ float coordinate(View<const float> points, std::int64_t i, int axis) {
  return axis < points.extent(1) ? points(i, axis) : 0.0F;
}

__global__ void start_bounds_kernel(Bounds* bounds) {
  const int axis = static_cast<int>(threadIdx.x);
  bounds->low[axis] = 0xffffffffU;
  bounds->high[axis] = 0;
}

// A thread strides over the points; a warp adds its box to the result once.
__global__ void bounds_kernel(View<const float> points, Bounds* bounds) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  unsigned low[3] = {0xffffffffU, 0xffffffffU, 0xffffffffU}, high[3] = {};
  for (std::int64_t i = global_thread(); i < points.extent(0); i += stride) {
    for (int axis = 0; axis < 3; ++axis) {
      const unsigned bits = ordered_bits(coordinate(points, i, axis));
      low[axis] = bits < low[axis] ? bits : low[axis];
      high[axis] = bits > high[axis] ? bits : high[axis];
    }
  }
  for (int axis = 0; axis < 3; ++axis) {
    const unsigned least = warp_min(low[axis]);
    const unsigned most = warp_max(high[axis]);
    if (lane_index() != 0) continue;
    atomicMin(&bounds->low[axis], least);
    atomicMax(&bounds->high[axis], most);
  }
}

// The 21 low bits of a number, two zeros between neighbours.
__device__ std::uint64_t spread_by_three(std::uint64_t bits) {
  bits = (bits | bits << 32) & 0x001f00000000ffffULL;
  bits = (bits | bits << 16) & 0x001f0000ff0000ffULL;
  bits = (bits | bits << 8) & 0x100f00f00f00f00fULL;
  bits = (bits | bits << 4) & 0x10c30c30c30c30c3ULL;
  return (bits | bits << 2) & 0x1249249249249249ULL;
}

// The 32 bits of a number, a zero between neighbours.
__device__ std::uint64_t spread_by_two(std::uint64_t bits) {
  bits = (bits | bits << 16) & 0x0000ffff0000ffffULL;
  bits = (bits | bits << 8) & 0x00ff00ff00ff00ffULL;
  bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0fULL;
  bits = (bits | bits << 2) & 0x3333333333333333ULL;
  return (bits | bits << 1) & 0x5555555555555555ULL;
}

// A coordinate's place in [low, high] in `cells` steps. All axes share one scale, so that cells are cubes.
__device__ std::uint64_t cell_of(float value, float low, float scale, float cells) {
  const float cell = (value - low) * scale;
  return static_cast<std::uint64_t>(cell < 0.0F ? 0.0F : (cell < cells - 1.0F ? cell : cells - 1.0F));
}

// Morton codes of up to 21 bits an axis in three dimensions, 24 in one or two (a float has no more), and the identity.
__global__ void codes_kernel(View<const float> points, const Bounds* bounds, std::uint64_t* codes, int* order) {
  const std::int64_t i = global_thread();
  if (i >= points.extent(0)) return;
  const bool solid = points.extent(1) == 3;
  const float cells = solid ? 0x1p21F : 0x1p24F;
  float low[3], extent = 0;
  for (int axis = 0; axis < 3; ++axis) {
    low[axis] = from_ordered_bits(bounds->low[axis]);
    extent = larger(extent, from_ordered_bits(bounds->high[axis]) - low[axis]);
  }
  const float scale = extent > 0 && cells / extent < 0x1p127F ? cells / extent : 0.0F;
  std::uint64_t cell[3];
  for (int axis = 0; axis < 3; ++axis) cell[axis] = cell_of(coordinate(points, i, axis), low[axis], scale, cells);
  codes[i] = solid ? spread_by_three(cell[0]) | spread_by_three(cell[1]) << 1 | spread_by_three(cell[2]) << 2
                   : spread_by_two(cell[0]) | spread_by_two(cell[1]) << 1;
  order[i] = static_cast<int>(i);
}

__global__ void gather_kernel(View<const float> points, const int* order, int first_index, float4* gathered) {
  const std::int64_t i = global_thread();
  if (i >= points.extent(0)) return;
  const int from = order[i];
  gathered[i] = make_float4(coordinate(points, from, 0), coordinate(points, from, 1), coordinate(points, from, 2),
                            __int_as_float(first_index + from));
}

// Points stay in their places and take the coordinates that their index now has.
__global__ void move_kernel(View<const float> points, int first_index, float4* gathered) {
  const std::int64_t i = global_thread();
  if (i >= points.extent(0)) return;
  const int index = __float_as_int(gathered[i].w), from = index - first_index;
  gathered[i] = make_float4(coordinate(points, from, 0), coordinate(points, from, 1), coordinate(points, from, 2),
                            __int_as_float(index));
}

// A warp makes one node of 32 children, which are points where `points` is given, else nodes.
__global__ void nodes_kernel(const float4* points, const BoxNode* children, int child_count, BoxNode* nodes) {
  const std::int64_t node = global_warp();
  const std::int64_t child = node * kWarp + lane_index();
  if (node * kWarp >= child_count) return;
  // A lane without a child of its own repeats the last one.
  const std::int64_t own = child < child_count ? child : child_count - 1;
  BoxNode box;
  if (points != nullptr) {
    box = {points[own], points[own]};
  } else {
    box = children[own];
  }
  const float low_x = warp_min(box.low.x);
  const float low_y = warp_min(box.low.y);
  const float low_z = warp_min(box.low.z);
  const float high_x = warp_max(box.high.x);
  const float high_y = warp_max(box.high.y);
  const float high_z = warp_max(box.high.z);
  const int least_index = warp_min(__float_as_int(box.low.w));
  if (lane_index() != 0) return;
  nodes[node].low = make_float4(low_x, low_y, low_z, __int_as_float(least_index));
  nodes[node].high = make_float4(high_x, high_y, high_z, 0.0F);
}

std::int64_t node_total(std::int64_t count) {
  std::int64_t total = 0;
  do {
    count = ceil_div(count, kWarp);
    total += count;
  } while (count > kWarp);
  return total;
}

}  // namespace

void morton_order(View<const float> points, int* order, Context& context) {
  const std::int64_t n = points.extent(0);
  if (n == 0) return;
  Scratch<Bounds> bounds(1, context);
  Scratch<std::uint64_t> codes(n, context);
  launch(context, 1, 3, 0, start_bounds_kernel, bounds.data());
  constexpr std::int64_t kMostBlocks = 1024;
  const std::int64_t blocks = ceil_div(n, kThreads);
  launch(context, blocks < kMostBlocks ? blocks : kMostBlocks, kThreads, 0, bounds_kernel, points, bounds.data());
  launch(context, blocks, kThreads, 0, codes_kernel, points, bounds.data(), codes.data(), order);
  sort_pairs(codes.data(), order, n, context);
}

void gather_points(View<const float> points, const int* order, float4* gathered, Context& context, int first_index) {
  launch(context, ceil_div(points.extent(0), kThreads), kThreads, 0, gather_kernel, points, order, first_index,
         gathered);
}

BoxTreeStorage::BoxTreeStorage(View<const float> points, Context& context, int first_index)
    : points_(points.extent(0), context),
      nodes_(node_total(points.extent(0)), context),
      first_index_(first_index),
      tree_{} {
  Scratch<int> order(points.extent(0), context);
  morton_order(points, order.data(), context);
  gather_points(points, order.data(), points_.data(), context, first_index);
  tree_.points = points_.data();
  tree_.count = static_cast<int>(points.extent(0));
  build_boxes(context);
}

void BoxTreeStorage::move_points(View<const float> points, Context& context) {
  launch(context, ceil_div(points.extent(0), kThreads), kThreads, 0, move_kernel, points, first_index_, points_.data());
  build_boxes(context);
}

void BoxTreeStorage::build_boxes(Context& context) {
  BoxNode* next = nodes_.data();
  int count = tree_.count;
  tree_.levels = 0;
  do {
    const int children = count;
    const BoxNode* below = tree_.levels == 0 ? nullptr : tree_.nodes[tree_.levels];
    count = static_cast<int>(ceil_div(children, kWarp));
    ++tree_.levels;
    tree_.nodes[tree_.levels] = next;
    tree_.node_counts[tree_.levels] = count;
    launch(context, ceil_div(static_cast<std::int64_t>(count) * kWarp, kThreads), kThreads, 0, nodes_kernel,
           tree_.levels == 1 ? tree_.points : nullptr, below, children, next);
    next += count;
  } while (count > kWarp);
}

}  // namespace scalelab::cuda
