// The part of the CUDA runtime and of CUDA C++ that the kernels use, for the test executor: g++ reads a .cu with this
// in place of the toolkit's header. Anything not here does not compile, which is meant: it has no tested meaning. There
// is no static __shared__ (sanitizers put no redzones round it) and no __activemask.
#pragma once
#define CUDART_VERSION 13000

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "simt.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

// --- vector types ----------------------------------------------------------------------------------------------------
#define SIMT_VECTORS(T, name)                                        \
  struct name##1 {                                                   \
    T x;                                                             \
  };                                                                 \
  struct alignas(2 * sizeof(T)) name##2 {                            \
    T x, y;                                                          \
  };                                                                 \
  struct name##3 {                                                   \
    T x, y, z;                                                       \
  };                                                                 \
  struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) name##4 {       \
    T x, y, z, w;                                                    \
  };                                                                 \
  inline name##1 make_##name##1(T x) { return {x}; }                 \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SIMT_VECTORS(signed char, char)
SIMT_VECTORS(unsigned char, uchar)
SIMT_VECTORS(short, short)
SIMT_VECTORS(unsigned short, ushort)
SIMT_VECTORS(int, int)
SIMT_VECTORS(unsigned, uint)
SIMT_VECTORS(long long, longlong)
SIMT_VECTORS(unsigned long long, ulonglong)
SIMT_VECTORS(float, float)
SIMT_VECTORS(double, double)
#undef SIMT_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  operator uint3() const { return {x, y, z}; }
};

extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

// --- barriers, warp operations, fences -------------------------------------------------------------------------------
inline void __syncthreads(simt::Site site = simt::Site::current()) {
  simt::block_barrier("__syncthreads", false, site);
}
inline int __syncthreads_count(int predicate, simt::Site site = simt::Site::current()) {
  return simt::block_barrier("__syncthreads_count", predicate != 0, site);
}
inline int __syncthreads_or(int predicate, simt::Site site = simt::Site::current()) {
  return simt::block_barrier("__syncthreads_or", predicate != 0, site) > 0;
}
inline int __syncthreads_and(int predicate, simt::Site site = simt::Site::current()) {
  return simt::block_barrier("__syncthreads_and", predicate == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = ~0U, simt::Site site = simt::Site::current()) {
  simt::warp_gather("__syncwarp", mask, 0, true, site);
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() { simt::fence(); }
inline void __nanosleep(unsigned) { simt::atomic_point(); }
long long clock64();

namespace simt {

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// The value of lane `source`. A lane beyond the block's end gives all ones: NaN, or -1.
template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source, Site site) {
  const Gathered lanes = warp_gather(name, mask, to_bits(value), false, site);
  if ((mask >> source & 1) == 0) {
    fail("%s at %s:%u reads lane %u, which its mask %08x leaves out", name, site.file_name(), site.line(), source,
         mask);
  }
  return from_bits<T>(lanes.present >> source & 1 ? lanes.value[source] : ~std::uint64_t{0});
}

// `fold` of the values of all present lanes, in lane order.
template <class T, class Fold>
T reduce(const char* name, unsigned mask, T value, Site site, Fold fold) {
  const Gathered lanes = warp_gather(name, mask, to_bits(value), false, site);
  T result{};
  bool first = true;
  for (int i = 0; i < 32; ++i) {
    if ((lanes.present >> i & 1) == 0) continue;
    const T other = from_bits<T>(lanes.value[i]);
    result = first ? other : fold(result, other);
    first = false;
  }
  return result;
}

}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, simt::Site site = simt::Site::current()) {
  const unsigned first = simt::lane() & ~(width - 1U);
  return simt::shuffle("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Site site = simt::Site::current()) {
  const unsigned within = simt::lane() & (width - 1U);
  return simt::shuffle("__shfl_up_sync", mask, value, simt::lane() - (within >= delta ? delta : 0), site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Site site = simt::Site::current()) {
  const unsigned within = simt::lane() & (width - 1U);
  const bool inside = within + delta < static_cast<unsigned>(width);
  return simt::shuffle("__shfl_down_sync", mask, value, simt::lane() + (inside ? delta : 0), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, simt::Site site = simt::Site::current()) {
  const unsigned other = simt::lane() ^ static_cast<unsigned>(bits);
  const bool inside = other / width <= simt::lane() / width;
  return simt::shuffle("__shfl_xor_sync", mask, value, inside ? other : simt::lane(), site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, simt::Site site = simt::Site::current()) {
  const unsigned bit = predicate != 0 ? 1U << simt::lane() : 0U;
  return simt::reduce("__ballot_sync", mask, bit, site, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, predicate == 0, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {
  const simt::Gathered lanes = simt::warp_gather("__match_any_sync", mask, simt::to_bits(value), false, site);
  unsigned equal = 0;
  for (int i = 0; i < 32; ++i) {
    if (lanes.present >> i & 1 && lanes.value[i] == simt::to_bits(value)) equal |= 1U << i;
  }
  return equal;
}
#define SIMT_WARP_REDUCE(op, expression)                                                                       \
  template <class T>                                                                                           \
  T __reduce_##op##_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {                    \
    return simt::reduce("__reduce_" #op "_sync", mask, value, site, [](T a, T b) -> T { return expression; }); \
  }
SIMT_WARP_REDUCE(add, a + b)
SIMT_WARP_REDUCE(min, a < b ? a : b)
SIMT_WARP_REDUCE(max, a < b ? b : a)
SIMT_WARP_REDUCE(and, a& b)
SIMT_WARP_REDUCE(or, a | b)
SIMT_WARP_REDUCE(xor, a ^ b)
#undef SIMT_WARP_REDUCE

// --- atomics: relaxed, as on the device; the race build sees them through the compiler's own hooks ------------------
namespace simt {
template <class T, class Update>
T atomic_update(T* address, Update update) {
  atomic_point();
  T old, next;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do {
    next = update(old);
  } while (!__atomic_compare_exchange(address, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
}  // namespace simt
#define SIMT_ATOMIC(Name, expression)                                                \
  template <class T>                                                                 \
  T atomic##Name(T* address, std::type_identity_t<T> value) {                        \
    return simt::atomic_update(address, [value](T old) -> T { return expression; }); \
  }
SIMT_ATOMIC(Add, old + value)
SIMT_ATOMIC(Sub, old - value)
SIMT_ATOMIC(Min, value < old ? value : old)
SIMT_ATOMIC(Max, old < value ? value : old)
SIMT_ATOMIC(And, old& value)
SIMT_ATOMIC(Or, old | value)
SIMT_ATOMIC(Xor, old ^ value)
SIMT_ATOMIC(Exch, ((void)old, value))
SIMT_ATOMIC(Inc, old >= value ? 0 : old + 1)
#undef SIMT_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  return simt::atomic_update(address, [=](T old) { return old == expected ? desired : old; });
}

// --- loads, stores, arithmetic, bits ---------------------------------------------------------------------------------
template <class T>
T __ldg(const T* address) {
  return *address;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return ::sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline float rsqrtf(float a) { return 1 / ::sqrtf(a); }
inline int __float2int_rd(float a) { return static_cast<int>(::floorf(a)); }
inline int __float2int_rn(float a) { return static_cast<int>(::rintf(a)); }
inline long long __double2ll_rn(double a) { return ::llrint(a); }
inline int __float_as_int(float a) { return simt::from_bits<int>(simt::to_bits(a)); }
inline unsigned __float_as_uint(float a) { return simt::from_bits<unsigned>(simt::to_bits(a)); }
inline float __int_as_float(int a) { return simt::from_bits<float>(simt::to_bits(a)); }
inline float __uint_as_float(unsigned a) { return simt::from_bits<float>(simt::to_bits(a)); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __ffsll(long long a) { return __builtin_ffsll(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
inline int __clzll(long long a) { return a == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(a)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline unsigned __brev(unsigned a) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (a >> i & 1) << (31 - i);
  return reversed;
}

#define SIMT_MIN_MAX(T)                            \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX
inline float min(float a, float b) { return ::fminf(a, b); }
inline float max(float a, float b) { return ::fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }

// --- the runtime: one device; everything is finished when a call returns, so streams and events only keep order -----
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorCooperativeLaunchTooLarge = 720,
};
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaMemPool_t = struct CUmemPoolHandle_st*;
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrCooperativeLaunch = 95,
  cudaDevAttrMemoryPoolsSupported = 115,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrClusterLaunch = 120,
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaMemAllocationType { cudaMemAllocationTypePinned = 1 };
enum cudaMemLocationType { cudaMemLocationTypeDevice = 1 };
struct cudaMemLocation {
  cudaMemLocationType type;
  int id;
};
struct cudaMemPoolProps {
  cudaMemAllocationType allocType;
  cudaMemLocation location;
};
enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7
};
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaStreamDefault = 0;

struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
  int major, minor, multiProcessorCount, maxThreadsPerBlock, warpSize;
};
enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative = 2, cudaLaunchAttributeClusterDimension = 4 };
union cudaLaunchAttributeValue {
  int cooperative;
  struct {
    unsigned x, y, z;
  } clusterDim;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

namespace simt {
// Multiprocessors of the pretended device: few, so that grids sized by it stay small.
inline constexpr int kMultiprocessors = 4;
inline constexpr int kMaxSharedBytes = 232448;
inline constexpr unsigned kMaxCluster = 8;  // what every device with clusters takes
}  // namespace simt

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetPCIBusId(char* bus, int length, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
template <class T>
cudaError_t cudaMalloc(T** memory, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
template <class T>
cudaError_t cudaMallocAsync(T** memory, std::size_t bytes, cudaStream_t stream) {
  return cudaMallocAsync(reinterpret_cast<void**>(memory), bytes, stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t = nullptr);
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes);
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t = nullptr);
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties);
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaFuncGetName(const char** name, const void* function);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t bytes);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaEventDestroy(cudaEvent_t event);

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value > simt::kMaxSharedBytes) return cudaErrorInvalidValue;
  simt::allow_shared_bytes(reinterpret_cast<const void*>(kernel), static_cast<std::size_t>(value));
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int threads, std::size_t shared_bytes) {
  const int by_threads = 2048 / threads;
  *blocks = shared_bytes == 0 ? by_threads : min(by_threads, static_cast<int>(simt::kMaxSharedBytes / shared_bytes));
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel* kernel, const cudaLaunchConfig_t* config) {
  int blocks = 0;
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(config->blockDim.x),
                                                config->dynamicSmemBytes);
  *clusters = blocks * simt::kMultiprocessors / static_cast<int>(config->attrs[0].val.clusterDim.x);
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... given) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::remove_cv_t<Parameters>...> arguments;
  } call{kernel, {std::forward<Arguments>(given)...}};
  const dim3 grid = config->gridDim, block = config->blockDim;
  simt::Launch launch{{grid.x, grid.y, grid.z},
                      {block.x, block.y, block.z},
                      config->dynamicSmemBytes,
                      reinterpret_cast<const void*>(kernel),
                      [](void* opaque) {
                        const Call& c = *static_cast<const Call*>(opaque);
                        std::apply(c.kernel, c.arguments);
                      },
                      &call,
                      sizeof(call)};
  for (const cudaLaunchAttribute* a = config->attrs; a != config->attrs + config->numAttrs; ++a) {
    if (a->id == cudaLaunchAttributeClusterDimension && a->val.clusterDim.y == 1 && a->val.clusterDim.z == 1) {
      launch.cluster = a->val.clusterDim.x;
    } else if (a->id == cudaLaunchAttributeCooperative) {
      int resident = 0;
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, static_cast<int>(block.x * block.y * block.z),
                                                    config->dynamicSmemBytes);
      launch.cooperative = a->val.cooperative != 0;
      launch.resident = static_cast<std::size_t>(resident) * simt::kMultiprocessors;
    } else {
      return cudaErrorInvalidValue;  // programmatic launches and the like: not executed here
    }
  }
  return static_cast<cudaError_t>(simt::launch(launch));
}
