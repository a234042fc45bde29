// The order of points, in three steps:
//
//   buckets  A sample of the points is halved six times, every part at the median of its widest axis. The cuts divide
//            all points into buckets of about as many each, however unevenly they lie.
//   codes    A point's key is its bucket, and then its place on a Morton curve over the bucket; the sort is by key.
//   windows  Every 256 points that then stand side by side are halved as the sample was, down to the runs asked for.
//
// Few points are one window and need no sort.
#include <algorithm>
#include <bit>

#include "kernels/cuda/point_order.cuh"

namespace scalelab::cuda {

namespace {

constexpr int kThreads = 256;           // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
constexpr int kBuckets = 64;            // 6 bits of a key, beside the cells of a curve (cell_bits)
constexpr int kSamples = 8 * kBuckets;  // a block halves them in its shared memory
constexpr int kWindow = 256;            // points that a block halves in its shared memory, two a thread
constexpr int kOneWindow = 1024;        // so many points are sorted as one window
static_assert(kSamples <= kOneWindow);

// Floats as unsigned numbers of the same order.
__device__ unsigned ordered_bits(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ float from_ordered_bits(unsigned bits) {
  return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7fffffffU : ~bits);
}

__device__ float coordinate(const float4& point, int axis) {
  return axis == 0 ? point.x : axis == 1 ? point.y : point.z;
}

// A point as x, y, z and the bits of an index.
__device__ float4 point_at(View<const float> points, std::int64_t i, int index) {
  const std::int64_t d = points.extent(1);
  return make_float4(points(i, 0), d > 1 ? points(i, 1) : 0.0F, d > 2 ? points(i, 2) : 0.0F, __int_as_float(index));
}

// --- halving ---------------------------------------------------------------------------------------------------------

// A box as ordered bits, so that integer atomics can find it.
struct Bounds {
  unsigned low[3], high[3];

  __device__ float least(int axis) const { return from_ordered_bits(low[axis]); }
  __device__ float extent(int axis) const { return from_ordered_bits(high[axis]) - least(axis); }
  __device__ int widest() const {
    const int of_two = extent(1) > extent(0) ? 1 : 0;
    return extent(2) > extent(of_two) ? 2 : of_two;
  }
};

// Points in a block's shared memory. Of all slots, twice as many as threads, the first `count` hold points.
template <int kSlots>
struct Window {
  static constexpr int kLeastPart = 8;  // the smallest whose box is asked for: a bucket's samples
  float4 points[kSlots];
  Key keys[kSlots];                    // on their way between warps
  Bounds bounds[kSlots / kLeastPart];  // of the parts
};

// The box of every `part` slots, a power of two. By the whole block.
template <int kSlots>
__device__ void bound_parts(Window<kSlots>& window, int count, int part) {
  const int thread = static_cast<int>(threadIdx.x);
  constexpr unsigned kMost = 0xffffffffU;  // no ordered bits exceed it
  if (thread < 2 * static_cast<int>(blockDim.x) / part) window.bounds[thread] = {{kMost, kMost, kMost}, {0, 0, 0}};
  __syncthreads();
  Bounds own{{kMost, kMost, kMost}, {0, 0, 0}};
  const auto add = [&](int axis, unsigned low, unsigned high) {
    own.low[axis] = low < own.low[axis] ? low : own.low[axis];
    own.high[axis] = high > own.high[axis] ? high : own.high[axis];
  };
  const int lanes = part / 2 < kWarp ? part / 2 : kWarp;  // of a warp, in one part
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    for (int slot = 2 * thread; slot < 2 * thread + 2; ++slot) {
      if (slot >= count) continue;
      const unsigned bits = ordered_bits(coordinate(window.points[slot], axis));
      add(axis, bits, bits);
    }
    for (int step = 1; step < lanes; step *= 2) {
      const unsigned low = __shfl_xor_sync(kAllLanes, own.low[axis], step);
      const unsigned high = __shfl_xor_sync(kAllLanes, own.high[axis], step);
      add(axis, low, high);
    }
    if (thread % lanes != 0) continue;
    atomicMin(&window.bounds[2 * thread / part].low[axis], own.low[axis]);
    atomicMax(&window.bounds[2 * thread / part].high[axis], own.high[axis]);
  }
  __syncthreads();
}

// Sorts every `part` slots by the coordinate of the axis in which they are widest; equal ones, and slots without
// points, which come last, stay in order. By the whole block.
template <int kSlots>
__device__ void sort_parts(Window<kSlots>& window, int count, int part) {
  bound_parts(window, count, part);
  const int thread = static_cast<int>(threadIdx.x);
  const int axis = window.bounds[2 * thread / part].widest();
  const auto key_of = [&](int slot) {
    const unsigned bits = slot < count ? ordered_bits(coordinate(window.points[slot], axis)) : 0xffffffffU;
    return static_cast<Key>(bits) << 32 | static_cast<unsigned>(slot);
  };
  const int slot = 2 * thread;
  Key first = key_of(slot), second = key_of(slot + 1);
  // Bitonic: a thread keeps the lesser or the greater of each of its keys and the one `step` slots away.
  for (int run = 2; run <= part; run *= 2) {
    const bool ascending = (slot & run) == 0 || run == part;
    for (int step = run / 2; step > 1; step /= 2) {
      Key other_first, other_second;
      if (step / 2 < kWarp) {
        other_first = __shfl_xor_sync(kAllLanes, first, step / 2);
        other_second = __shfl_xor_sync(kAllLanes, second, step / 2);
      } else {
        window.keys[slot] = first;
        window.keys[slot + 1] = second;
        __syncthreads();
        other_first = window.keys[slot ^ step];
        other_second = window.keys[(slot + 1) ^ step];
        __syncthreads();
      }
      const bool keeps_lesser = ((slot & step) == 0) == ascending;
      first = (other_first < first) == keeps_lesser ? other_first : first;
      second = (other_second < second) == keeps_lesser ? other_second : second;
    }
    const Key least = first < second ? first : second, most = first < second ? second : first;
    first = ascending ? least : most;
    second = ascending ? most : least;
  }
  const float4 first_point = window.points[key_index(first)], second_point = window.points[key_index(second)];
  __syncthreads();
  window.points[slot] = first_point;
  window.points[slot + 1] = second_point;
  __syncthreads();
}

// --- buckets ---------------------------------------------------------------------------------------------------------

// Node i of 1 .. kBuckets - 1 cuts what it covers: points of at least cut[i] along axis[i] go to node 2 i + 1, others to
// 2 i; bucket b is node kBuckets + b. Cells of a bucket's Morton curve begin at low and are 1 / scale wide.
struct Buckets {
  float cut[kBuckets];
  int axis[kBuckets];
  float low[kBuckets][3], scale[kBuckets];
};

// Cells along an axis of a curve: together with the bucket they fit a key.
__device__ int cell_bits(std::int64_t d) { return d == 3 ? 19 : 24; }

// One block, two samples a thread. A curve covers the box of a bucket's sample and as much again on each side: what
// lies farther out, an outlier, is counted at its edge and costs the others nothing. A bucket whose sample is all in one
// place takes the box of the smallest part around it that is not.
__global__ void __launch_bounds__(kSamples / 2) buckets_kernel(View<const float> points, Buckets* buckets) {
  auto& window = *dynamic_shared<Window<kSamples>>();
  const int thread = static_cast<int>(threadIdx.x);
  const auto n = static_cast<std::uint64_t>(points.extent(0));
  for (int slot = 2 * thread; slot < 2 * thread + 2; ++slot) {
    // Evenly spread, but each at a place of its own within its share: data may repeat itself with any period.
    const std::uint64_t place = static_cast<unsigned>(slot) * 2654435769U;
    const auto from = static_cast<std::int64_t>((static_cast<unsigned>(slot) * n + (place * n >> 32)) / kSamples);
    window.points[slot] = point_at(points, from, slot);
  }
  __syncthreads();
  const float cells = static_cast<float>(1 << cell_bits(points.extent(1)));
  constexpr int kShare = kSamples / kBuckets;
  float low[3] = {0, 0, 0}, scale = 0;
  for (int part = kSamples; part >= kShare; part /= 2) {
    if (part > kShare) {
      sort_parts(window, kSamples, part);
    } else {
      bound_parts(window, kSamples, part);
    }
    if (thread < kSamples / part && part > kShare) {
      const int node = kSamples / part + thread, axis = window.bounds[thread].widest();
      buckets->axis[node] = axis;
      buckets->cut[node] = coordinate(window.points[thread * part + part / 2], axis);
    }
    if (thread < kBuckets) {
      const Bounds& box = window.bounds[thread * kShare / part];
      const float extent = box.extent(box.widest());
      if (extent > 0 && cells / extent < 0x1p127F) {
        scale = cells / (3 * extent);
        for (int axis = 0; axis < 3; ++axis) low[axis] = box.least(axis) - extent;
      }
    }
    __syncthreads();
  }
  if (thread >= kBuckets) return;
  buckets->scale[thread] = scale;
  for (int axis = 0; axis < 3; ++axis) buckets->low[thread][axis] = low[axis];
}

// --- codes -----------------------------------------------------------------------------------------------------------

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

// A coordinate's cell among so many from `low` on.
__device__ std::uint64_t cell_of(float value, float low, float scale, float cells) {
  const float cell = (value - low) * scale;
  return static_cast<std::uint64_t>(cell < 0.0F ? 0.0F : (cell < cells - 1.0F ? cell : cells - 1.0F));
}

// Keys, and the identity.
__global__ void codes_kernel(View<const float> points, const Buckets* buckets, std::uint64_t* keys, int* order) {
  const std::int64_t i = global_thread();
  if (i >= points.extent(0)) return;
  const float4 point = point_at(points, i, 0);
  int node = 1;
  while (node < kBuckets) node = 2 * node + (coordinate(point, buckets->axis[node]) >= buckets->cut[node] ? 1 : 0);
  const int bucket = node - kBuckets, bits = cell_bits(points.extent(1));
  const float cells = static_cast<float>(1 << bits);
  std::uint64_t cell[3];
  for (int axis = 0; axis < 3; ++axis) {
    cell[axis] = cell_of(coordinate(point, axis), buckets->low[bucket][axis], buckets->scale[bucket], cells);
  }
  const bool solid = points.extent(1) == 3;
  const std::uint64_t code =
      solid ? spread_by_three(cell[0]) | spread_by_three(cell[1]) << 1 | spread_by_three(cell[2]) << 2
            : spread_by_two(cell[0]) | spread_by_two(cell[1]) << 1;
  keys[i] = static_cast<std::uint64_t>(bucket) << (solid ? 3 : 2) * bits | code;
  order[i] = static_cast<int>(i);
}

// `order` null: as they are.
__global__ void gather_kernel(View<const float> points, const int* order, int first_index, float4* ordered) {
  const std::int64_t i = global_thread();
  if (i >= points.extent(0)) return;
  const int from = order == nullptr ? static_cast<int>(i) : order[i];
  ordered[i] = point_at(points, from, first_index + from);
}

// --- windows ---------------------------------------------------------------------------------------------------------

// A block halves so many of the points as it has slots, two a thread, down to `run`.
template <int kSlots>
__global__ void __launch_bounds__(kSlots / 2) window_kernel(float4* points, std::int64_t n, int run) {
  auto& window = *dynamic_shared<Window<kSlots>>();
  const int thread = static_cast<int>(threadIdx.x), slots = 2 * static_cast<int>(blockDim.x);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * slots;
  const int count = n - begin < slots ? static_cast<int>(n - begin) : slots;
  for (int slot = thread; slot < slots; slot += static_cast<int>(blockDim.x)) {
    window.points[slot] = slot < count ? points[begin + slot] : float4{};
  }
  __syncthreads();
  for (int part = slots; part > run; part /= 2) sort_parts(window, count, part);
  for (int slot = thread; slot < count; slot += static_cast<int>(blockDim.x)) {
    points[begin + slot] = window.points[slot];
  }
}

}  // namespace

void order_points(View<const float> points, float4* ordered, int run, Context& context, int first_index) {
  const std::int64_t n = points.extent(0);
  const std::int64_t blocks = ceil_div(n, kThreads);
  if (n <= kOneWindow) {
    launch(context, blocks, kThreads, 0, gather_kernel, points, static_cast<const int*>(nullptr), first_index, ordered);
    const int slots = std::max(static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))), 2 * kWarp);
    if (n > run) launch(context, 1, slots / 2, sizeof(Window<kOneWindow>), window_kernel<kOneWindow>, ordered, n, run);
    return;
  }
  Scratch<Buckets> buckets(1, context);
  Scratch<std::uint64_t> keys(n, context);
  Scratch<int> order(n, context);
  launch(context, 1, kSamples / 2, sizeof(Window<kSamples>), buckets_kernel, points, buckets.data());
  launch(context, blocks, kThreads, 0, codes_kernel, points, buckets.data(), keys.data(), order.data());
  sort_pairs(keys.data(), order.data(), n, context);
  launch(context, blocks, kThreads, 0, gather_kernel, points, order.data(), first_index, ordered);
  if (run >= kWindow) return;
  launch(context, ceil_div(n, kWindow), kWindow / 2, sizeof(Window<kWindow>), window_kernel<kWindow>, ordered, n, run);
}

}  // namespace scalelab::cuda
