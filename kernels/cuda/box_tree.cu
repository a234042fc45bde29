// Building a tree of boxes: the order of the points (point_order.cuh), and one bounding box per 32 children, level by
// level.
#include "kernels/cuda/box_tree.cuh"

#include "kernels/cuda/point_order.cuh"

namespace scalelab::cuda {

namespace {

constexpr int kThreads = 256;  // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds

__device__ float coordinate(View<const float> points, std::int64_t i, int axis) {
  return axis < points.extent(1) ? points(i, axis) : 0.0F;
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

BoxTreeStorage::BoxTreeStorage(View<const float> points, Context& context, int first_index)
    : points_(points.extent(0), context),
      nodes_(node_total(points.extent(0)), context),
      first_index_(first_index),
      tree_{} {
  order_points(points, points_.data(), kWarp, context, first_index);
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
