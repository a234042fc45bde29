// device: what every .cu file shares: checked calls, launches, scratch memory, named ranges, warp helpers, and the
// sort.
#pragma once

#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "scalelab/backend.h"
#include "scalelab/view.h"

namespace scalelab::cuda {

// --- host side -------------------------------------------------------------------------------------------------------

// Throws std::runtime_error naming file, line and call, and clears the error so that the next call starts clean.
void check_call(cudaError_t status, const char* call, std::source_location where);
#define SCALELAB_CHECK(call) ::scalelab::cuda::check_call((call), #call, std::source_location::current())

inline cudaStream_t stream_of(Context& context) { return static_cast<cudaStream_t>(context.stream); }

// A range on the profiler's timeline.
class Range {
 public:
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

// Scratch of an op: from the Context's pool, released in stream order when it goes out of scope.
template <class T>
class Scratch {
 public:
  Scratch(std::int64_t count, Context& context)
      : context_(context),
        data_(static_cast<T*>(context.backend().allocate(static_cast<std::size_t>(count) * sizeof(T), context))) {}
  ~Scratch() { context_.backend().release(data_, context_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }

 private:
  Context& context_;
  T* data_;
};

// Which blocks of a launch run at the same time, and may wait for each other: none, those of each cluster of so many,
// or all (a cooperative launch).
struct Together {
  int cluster = 1;
  bool all = false;

  // As a launch attribute; only for clusters and cooperative launches.
  cudaLaunchAttribute attribute() const {
    cudaLaunchAttribute result{};
    if (all) {
      result.id = cudaLaunchAttributeCooperative;
      result.val.cooperative = 1;
    } else {
      result.id = cudaLaunchAttributeClusterDimension;
      result.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    }
    return result;
  }
};

// Lets a kernel, which has no static shared memory, use all that a block of the Context's device may have. Done once for
// a kernel and device, and never undone: what one thread asks for does not take away what another needs.
void allow_shared_memory(const void* kernel, const Context& context);

// With SCALELAB_SYNC=1 in the environment: waits for the kernel just launched, and throws std::runtime_error with its
// name if it failed. Otherwise a failure shows at some later call.
void await_if_asked(const void* kernel, Context& context);

// Queues kernel<<<blocks, threads, shared_bytes>>>(arguments...) on the Context's stream. No blocks: no launch.
// The device is selected first: a stream takes launches only while its device is the thread's current one.
template <class... Parameters, class... Arguments>
void launch_together(Context& context, const Together& together, std::int64_t blocks, int threads,
                     std::size_t shared_bytes, void (*kernel)(Parameters...), Arguments... arguments) {
  if (blocks == 0) return;
  constexpr std::size_t kWithoutOptIn = 48 * 1024;  // what a kernel has on every device without asking
  if (blocks > INT32_MAX) throw std::runtime_error("a launch of " + std::to_string(blocks) + " blocks is too large");
  SCALELAB_CHECK(cudaSetDevice(context.device()));
  if (shared_bytes > kWithoutOptIn) allow_shared_memory(reinterpret_cast<const void*>(kernel), context);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream_of(context);
  cudaLaunchAttribute attribute{};
  if (together.all || together.cluster > 1) {
    attribute = together.attribute();
    config.attrs = &attribute;
    config.numAttrs = 1;
  }
  SCALELAB_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
  await_if_asked(reinterpret_cast<const void*>(kernel), context);
}
template <class... Parameters, class... Arguments>
void launch(Context& context, std::int64_t blocks, int threads, std::size_t shared_bytes, void (*kernel)(Parameters...),
            Arguments... arguments) {
  launch_together(context, {}, blocks, threads, shared_bytes, kernel, arguments...);
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Sorts `keys` ascending and carries `values` along; equal keys keep their order.
void sort_pairs(std::uint64_t* keys, int* values, std::int64_t count, Context& context);

// --- device side -----------------------------------------------------------------------------------------------------

inline constexpr int kWarp = 32;                    // threads, on every device
inline constexpr unsigned kAllLanes = 0xffffffffU;  // of a warp

// The block's dynamic shared memory, as the one struct that its launch sized it for.
template <class T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char scalelab_dynamic_shared[];
  return reinterpret_cast<T*>(scalelab_dynamic_shared);
}

// The barrier of a cluster: orders what its blocks wrote before it to all memory for what they read behind it.
__device__ inline void cluster_barrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#else
  __trap();  // no device of this architecture has clusters
#endif
}

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp_in_block() { return static_cast<int>(threadIdx.x / kWarp); }
__device__ inline std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t global_warp() { return global_thread() / kWarp; }

// The reduction of every lane's value, on every lane. Butterflies: each step combines the same pair on both of its
// lanes, so that for an operation that commutes all lanes end with the same bits.
template <class T, class Operation>
__device__ inline T warp_reduce(T value, Operation operation) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = operation(value, other);
  }
  return value;
}
template <class T>
__device__ inline T warp_sum(T value) {
  return warp_reduce(value, [](T a, T b) { return a + b; });
}
template <class T>
__device__ inline T warp_min(T value) {
  return warp_reduce(value, [](T a, T b) { return b < a ? b : a; });
}
template <class T>
__device__ inline T warp_max(T value) {
  return warp_reduce(value, [](T a, T b) { return a < b ? b : a; });
}

__device__ inline int lanes_below(unsigned mask) { return __popc(mask & ((1U << lane_index()) - 1U)); }

// A neighbour as one number whose order is the order of neighbours: by distance (not negative, so that its bits
// ascend with it), then by index.
using Key = unsigned long long;
inline constexpr Key kFarthest = ~Key{0};  // no key exceeds it

__device__ inline Key make_key(float distance, int index) {
  return static_cast<Key>(__float_as_uint(distance)) << 32 | static_cast<unsigned>(index);
}
__device__ inline float key_distance(Key key) { return __uint_as_float(static_cast<unsigned>(key >> 32)); }
__device__ inline int key_index(Key key) { return static_cast<int>(static_cast<unsigned>(key)); }

}  // namespace scalelab::cuda
