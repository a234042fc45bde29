// The CUDA backend's table: streams, the stream-ordered pool, copies, errors.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <source_location>
#include <string>
#include <utility>

#include "kernels/cuda/device.cuh"
#include "scalelab/backend.h"

namespace scalelab {

namespace cuda {

void check_call(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky is hereby cleared; a sticky one will be reported again
  throw std::runtime_error(std::string(where.file_name()) + ":" + std::to_string(where.line()) + ": " + call + ": " +
                           cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")");
}

void allow_shared_memory(const void* kernel, const Context& context) {
  static std::mutex lock;
  static std::set<std::pair<const void*, int>> allowed;
  const std::lock_guard hold(lock);
  if (allowed.contains({kernel, context.device()})) return;
  int most = 0;
  SCALELAB_CHECK(cudaSetDevice(context.device()));
  SCALELAB_CHECK(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, context.device()));
  SCALELAB_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  allowed.emplace(kernel, context.device());
}

void await_if_asked(const void* kernel, Context& context) {
  static const bool asked = [] {
    const char* value = std::getenv("SCALELAB_SYNC");
    return value != nullptr && std::string(value) == "1";
  }();
  if (!asked) return;
  const cudaError_t status = cudaStreamSynchronize(stream_of(context));
  if (status == cudaSuccess) return;
  const char* name = "a kernel";
#if CUDART_VERSION >= 12030
  cudaFuncGetName(&name, kernel);
#else
  (void)kernel;
#endif
  cudaGetLastError();
  throw std::runtime_error(std::string("the kernel ") + name + " failed: " + cudaGetErrorName(status) + " (" +
                           cudaGetErrorString(status) + ")");
}

namespace {

void select_device(const Context& context) { SCALELAB_CHECK(cudaSetDevice(context.device())); }

std::string in_mib(std::size_t bytes) { return std::to_string((bytes + (1U << 20) - 1) >> 20) + " MiB"; }

void check_exists(int device) {
  int count = 0;
  SCALELAB_CHECK(cudaGetDeviceCount(&count));
  if (device >= 0 && device < count) return;
  throw std::invalid_argument("device " + std::to_string(device) + " does not exist: there are " +
                              std::to_string(count));
}

bool has_pools(int device) {
  int pools = 0;
  return cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device) == cudaSuccess && pools != 0;
}

// A pool for each device that has a Context without one of the caller's, and how many share it. What an op releases stays
// in it, so that the next op need not ask the driver again; with the device's last such Context all of it goes back. It is
// not the device's default pool, which belongs to everybody in the process.
class Pools {
 public:
  void join(int device) {
    const std::lock_guard hold(lock_);
    Shared& shared = pools_[device];
    if (shared.contexts == 0) shared.pool = make(device);
    ++shared.contexts;
  }
  void leave(int device) noexcept {
    const std::lock_guard hold(lock_);
    Shared& shared = pools_[device];
    if (--shared.contexts == 0) cudaMemPoolDestroy(shared.pool);
  }
  cudaMemPool_t of(int device) {
    const std::lock_guard hold(lock_);
    return pools_[device].pool;
  }

 private:
  struct Shared {
    cudaMemPool_t pool = nullptr;
    int contexts = 0;
  };
  static cudaMemPool_t make(int device) {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    cudaMemPool_t pool = nullptr;
    SCALELAB_CHECK(cudaMemPoolCreate(&pool, &properties));
    std::uint64_t keep_all = UINT64_MAX;
    SCALELAB_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all));
    return pool;
  }
  std::mutex lock_;
  std::map<int, Shared> pools_;
};
// Never destroyed: a Context may outlive what is.
Pools& pools() {
  static Pools* const all = new Pools;
  return *all;
}

// What close() undoes, and open() where it fails.
void leave_pool(const Context& context) noexcept {
  if (context.pool() == nullptr) pools().leave(context.device());
}

cudaMemPool_t pool_of(const Context& context) {
  return context.pool() != nullptr ? static_cast<cudaMemPool_t>(context.pool()) : pools().of(context.device());
}

// What the pool has reserved and nobody uses: the driver counts it as used, an op may have it.
std::size_t unused_in_pool(const Context& context) {
  std::uint64_t reserved = 0, used = 0;
  cudaMemPool_t pool = pool_of(context);
  SCALELAB_CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  SCALELAB_CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  return reserved - used;
}

void open(Context& context) {
  check_exists(context.device());
  if (!has_pools(context.device())) {
    throw std::invalid_argument("device " + std::to_string(context.device()) + " has no memory pools");
  }
  select_device(context);
  if (context.pool() == nullptr) pools().join(context.device());
  if (!context.has_own_stream()) return;
  cudaStream_t stream = nullptr;
  const cudaError_t status = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (status != cudaSuccess) leave_pool(context);
  SCALELAB_CHECK(status);
  context.stream = stream;
}

void close(Context& context) noexcept {
  cudaSetDevice(context.device());
  cudaStreamSynchronize(stream_of(context));
  if (context.has_own_stream()) cudaStreamDestroy(stream_of(context));
  leave_pool(context);
  cudaGetLastError();
  context.stream = nullptr;
}

void* allocate(std::size_t bytes, Context& context) {
  select_device(context);
  void* memory = nullptr;
  const std::size_t asked = bytes == 0 ? 1 : bytes;
  cudaMemPool_t pool = pool_of(context);
  cudaError_t status = cudaMallocFromPoolAsync(&memory, asked, pool, stream_of(context));
  if (status == cudaErrorMemoryAllocation) {
    // The pool may hold enough, in pieces that work still queued will give back: wait, trim it unless it is the caller's,
    // try once more.
    cudaGetLastError();
    SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
    if (context.pool() == nullptr) SCALELAB_CHECK(cudaMemPoolTrimTo(pool, 0));
    status = cudaMallocFromPoolAsync(&memory, asked, pool, stream_of(context));
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free_bytes = 0, total_bytes = 0;
    SCALELAB_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
    throw OutOfMemory("out of memory on device " + std::to_string(context.device()) + ": " + in_mib(bytes) +
                      " were needed, " + in_mib(free_bytes) + " of " + in_mib(total_bytes) +
                      " are free; use fewer points, neighbours or grid rows at a time, another --device, or "
                      "--backend cpu");
  }
  SCALELAB_CHECK(status);
  return memory;
}

void release(void* memory, Context& context) noexcept {
  if (cudaFreeAsync(memory, stream_of(context)) != cudaSuccess) cudaGetLastError();
}

void upload(void* to, const void* from_host, std::size_t bytes, Context& context) {
  if (bytes == 0) return;
  SCALELAB_CHECK(cudaMemcpyAsync(to, from_host, bytes, cudaMemcpyHostToDevice, stream_of(context)));
  SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
}

void download(void* to_host, const void* from, std::size_t bytes, Context& context) {
  if (bytes == 0) return;
  SCALELAB_CHECK(cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, stream_of(context)));
  SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
}

void synchronize(Context& context) { SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context))); }

std::size_t memory_free(Context& context) {
  select_device(context);
  std::size_t free_bytes = 0, total_bytes = 0;
  SCALELAB_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return free_bytes + unused_in_pool(context);
}

// Neither of these calls makes a context on the device, which would take a good part of a second.
Backend::DeviceName name_device(int device) {
  check_exists(device);
  cudaDeviceProp properties{};
  SCALELAB_CHECK(cudaGetDeviceProperties(&properties, device));
  char bus[32] = {};
  SCALELAB_CHECK(cudaDeviceGetPCIBusId(bus, sizeof(bus), device));
  return {properties.name, bus};
}

std::string describe(Context& context) {
  cudaDeviceProp properties{};
  SCALELAB_CHECK(cudaGetDeviceProperties(&properties, context.device()));
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major) + std::to_string(properties.minor) +
         ", " + std::to_string(properties.multiProcessorCount) + " multiprocessors, " +
         in_mib(properties.totalGlobalMem);
}

}  // namespace
}  // namespace cuda

const Backend* cuda_backend(std::string* why_not) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    if (why_not == nullptr) return nullptr;
    if (status == cudaErrorInsufficientDriver) {
      *why_not = "no NVIDIA driver, or one older than the CUDA runtime of this build";
    } else if (status == cudaErrorNoDevice || status == cudaSuccess) {
      *why_not = "no CUDA device was found";
    } else {
      *why_not =
          std::string("the CUDA driver answers ") + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
    }
    return nullptr;
  }
  bool usable = false;
  for (int device = 0; device < count; ++device) usable = usable || cuda::has_pools(device);
  if (!usable) {
    cudaGetLastError();
    if (why_not != nullptr) *why_not = "the CUDA devices have no memory pools (some virtual GPUs), which this needs";
    return nullptr;
  }
  static const Backend table{
      .name = "cuda",
      .open = cuda::open,
      .close = cuda::close,
      .allocate = cuda::allocate,
      .release = cuda::release,
      .upload = cuda::upload,
      .download = cuda::download,
      .synchronize = cuda::synchronize,
      .memory_free = cuda::memory_free,
      .describe = cuda::describe,
      .knn = cuda::knn,
      .knn_merge = cuda::knn_merge,
      .grid_knn = cuda::grid_knn,
      .grid_knn_labels = cuda::grid_knn_labels,
      .grid_mlp_labels = cuda::grid_mlp_labels,
      .grid_spiral_labels = cuda::grid_spiral_labels,
      .label_confusion = cuda::label_confusion,
      .grid_confusion = cuda::grid_confusion,
      .pack_labels = cuda::pack_labels,
      .kmeans_assign = cuda::kmeans_assign,
      .kmeans_plus_plus = cuda::kmeans_plus_plus,
      .kmeans_fit = cuda::kmeans_fit,
      .mlp_forward = cuda::mlp_forward,
      .mlp_backward = cuda::mlp_backward,
      .mlp_train = cuda::mlp_train,
      .max_margin = cuda::max_margin,
      .xor_sgd = cuda::xor_sgd,
      .measure_ceilings = cuda::measure_ceilings,
      .name_device = cuda::name_device,
  };
  return &table;
}

}  // namespace scalelab
