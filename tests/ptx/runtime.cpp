// The CUDA runtime's functions, in the place of libcudart_static.a. All work is done when a call returns.
#include <cuda_runtime_api.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <tuple>

#include "tests/ptx/machine.h"

struct CUstream_st {
  int device = 0;
};
// Bytes in use and reserved: what the pool has reserved stays with it until it is trimmed, or somebody waits for the
// device and it has more than `keeps`.
struct CUmemPoolHandle_st {
  std::uint64_t used = 0, reserved = 0, keeps = 0;
  void trim(std::uint64_t to) { reserved = std::max(used, std::min(reserved, to)); }
};

namespace {

using namespace ptx;

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
int device_count() { return std::stoi(setting("PTX_DEVICES", "1")); }
bool has_pools() { return is_on("PTX_POOLS", "1"); }
bool has_clusters() { return is_on("PTX_CLUSTERS", "1"); }
std::map<int, CUmemPoolHandle_st> default_pools;  // by device
std::set<cudaMemPool_t> pools;                    // these, and those made by cudaMemPoolCreate
std::unordered_map<void*, std::pair<cudaMemPool_t, std::size_t>> pool_pieces;
std::recursive_mutex lock;

cudaError_t returns(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
cudaError_t returns(bool is_valid) { return returns(is_valid ? cudaSuccess : cudaErrorInvalidValue); }
cudaError_t check_device(int device) {
  return returns(device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice);
}
// PTX_LOST=DEVICE:N: from its N-th launch on this device fails in all that it is asked, as one that a kernel has broken.
struct Lost {
  Lost() {
    const std::string text = setting("PTX_LOST", "-1:0");
    device = std::stoi(text);
    left = std::stoi(text.substr(text.find(':') + 1));
  }
  int device;
  std::atomic<int> left;  // launches before that
};
cudaError_t answer_of(int device, int launches = 0) {
  static Lost lost;
  if (device != lost.device) return cudaSuccess;
  return returns((lost.left -= launches) > 0 ? cudaSuccess : cudaErrorIllegalAddress);
}
u64 address_of(const void* at) { return reinterpret_cast<u64>(at); }

// --- kernels, as nvcc has left them in the program -------------------------------------------------------------------
struct FatBinary {
  const char* data = nullptr;
  std::unique_ptr<Module> module;
  bool loaded = false;
};
struct Entry {  // a kernel as the host knows it
  FatBinary* binary = nullptr;
  std::string name;
  int dynamic_shared_limit = 48 << 10;
  Kernel* kernel = nullptr;  // decoded, once it was asked for
};
struct Known {
  std::deque<FatBinary> binaries;
  std::unordered_map<const void*, Entry> entries;  // by the host's function, which is its own handle
};
Known& known() {  // constructors of other files ask for it
  static Known* k = new Known;
  return *k;
}

int arch_of(const std::string& text) {
  const std::size_t at = text.find(".target sm_");
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + 11);
}

template <class T>
T read(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
// An entry of a fat binary: its kind, the size of its header, and of what lies behind it, which may be packed by zstd.
constexpr u16 kPtx = 1;
constexpr u64 kPacked = 0x8000, kPackedOtherwise = 0x2000;
std::string ptx_of(const char* entry) {
  const char* const text = entry + read<u32>(entry + 4);
  const u64 flags = read<u64>(entry + 40);
  if (flags & kPackedOtherwise) die("the PTX is packed in a way that this machine does not know");
  if ((flags & kPacked) == 0) return std::string(text, strnlen(text, read<u64>(entry + 8)));
  std::string unpacked(read<u64>(entry + 56), '\0');
  const std::size_t got = ZSTD_decompress(unpacked.data(), unpacked.size(), text, read<u32>(entry + 16));
  if (ZSTD_isError(got)) die(std::string("the PTX cannot be unpacked: ") + ZSTD_getErrorName(got));
  unpacked.resize(strnlen(unpacked.data(), got));
  return unpacked;
}

// The newest PTX of the fat binary that the device takes; null: there is none.
Module* load(FatBinary& binary) {
  if (std::exchange(binary.loaded, true)) return binary.module.get();
  const char* at = binary.data;
  if (read<u32>(at) != 0xBA55ED50) die("no fat binary where one was registered");
  const char* const end = at + read<u16>(at + 6) + read<u64>(at + 8);
  std::string best;
  const int own = device().major * 10 + device().minor;
  for (at += read<u16>(at + 6); at < end; at += read<u32>(at + 4) + read<u64>(at + 8)) {
    if (read<u16>(at) != kPtx) continue;
    std::string text = ptx_of(at);
    const int arch = arch_of(text);
    const bool exact_only = text.find(".target sm_" + std::to_string(arch) + "a") != std::string::npos;
    if ((exact_only ? arch == own : arch <= own) && (best.empty() || arch >= arch_of(best))) best = std::move(text);
  }
  if (!best.empty()) binary.module = parse_module(std::move(best));
  return binary.module.get();
}

// Decodes the kernel of a function of the host.
cudaError_t find(const void* function, Entry*& entry) {
  const std::lock_guard hold(lock);
  const auto found = known().entries.find(function);
  if (found == known().entries.end()) return cudaErrorInvalidDeviceFunction;
  entry = &found->second;
  if (entry->kernel != nullptr) return cudaSuccess;
  try {
    Module* const module = load(*entry->binary);
    if (module == nullptr) return cudaErrorNoKernelImageForDevice;
    const auto kernel = module->kernels.find(entry->name);
    if (kernel == module->kernels.end()) return cudaErrorInvalidDeviceFunction;
    decode(*kernel->second);
    entry->kernel = kernel->second.get();
  } catch (const std::exception& error) {
    die("in " + demangled(entry->name) + ": " + error.what());
  }
  return cudaSuccess;
}
// What body(entry) returns of the function's kernel.
template <class F>
cudaError_t with_kernel(const void* function, F&& body) {
  Entry* entry = nullptr;
  const cudaError_t status = find(function, entry);
  return returns(status == cudaSuccess ? body(*entry) : status);
}

// --- launches --------------------------------------------------------------------------------------------------------
// The default streams belong to whichever device is current.
int stream_device(cudaStream_t stream) { return address_of(stream) <= 2 ? current_device : stream->device; }

// Of a grid, a block or a cluster; what has no thread is one of no size.
u32 size_of(dim3 d) {
  if (d.x != 0 && (d.y != 1 || d.z != 1)) die("launches of more than one dimension are not known");
  return d.x;
}

// What a real launch would check, in its words.
cudaError_t check_launch(const Launch& run, int dynamic_shared_limit) {
  const Device& d = device();
  const Kernel& kernel = *run.kernel;
  const int shared = static_cast<int>(run.dynamic_shared), threads = static_cast<int>(run.block);
  if (run.grid == 0 || run.block == 0 || run.block > 1024 || run.grid > 0x7fffffff)
    return cudaErrorInvalidConfiguration;
  if (threads > kernel.max_threads || shared > dynamic_shared_limit ||
      shared + static_cast<int>(kernel.static_shared) > d.shared_optin)
    return cudaErrorInvalidValue;
  if (run.cluster > 1) {
    if (d.major < 9) return cudaErrorInvalidValue;
    if (!has_clusters() || run.cluster > 8 || run.grid % run.cluster != 0) return cudaErrorInvalidClusterSize;
  }
  const int resident = resident_blocks(kernel, threads, run.dynamic_shared);
  if (resident == 0) return cudaErrorLaunchOutOfResources;
  const bool fits = run.grid <= static_cast<u64>(resident) * d.sms;
  return run.cooperative && !fits ? cudaErrorCooperativeLaunchTooLarge : cudaSuccess;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                   cudaStream_t stream, u32 cluster = 1, bool cooperative = false) {
  if (stream_device(stream) != current_device) return returns(cudaErrorInvalidResourceHandle);
  if (const cudaError_t status = answer_of(current_device, 1); status != cudaSuccess) return status;
  return with_kernel(function, [&](Entry& entry) {
    Kernel* const kernel = entry.kernel;
    Launch run;
    run.kernel = kernel;
    run.grid = size_of(grid);
    run.block = size_of(block);
    run.cluster = cluster;
    run.cooperative = cooperative;
    run.dynamic_shared = static_cast<u32>(shared);
    const cudaError_t status = check_launch(run, entry.dynamic_shared_limit);
    const std::lock_guard hold(lock);
    if (is_on("PTX_VERBOSE"))
      std::fprintf(stderr, "PTX machine: %s%s <<<%u, %u, %zu>>>%s cluster %u\n",
                   status == cudaSuccess ? "" : (std::string("refused, ") + cudaGetErrorName(status) + ": ").c_str(),
                   demangled(entry.name).substr(0, 100).c_str(), run.grid, run.block, shared,
                   cooperative ? " cooperative" : "", cluster);
    if (status != cudaSuccess) return status;
    run.parameters.assign(kernel->parameter_bytes + 16, 0);
    for (std::size_t i = 0; i < kernel->parameters.size(); ++i)
      std::memcpy(&run.parameters[kernel->parameters[i].at], arguments[i], kernel->parameters[i].bytes);
    run.shared = kernel->shared;
    run.shared_bytes = round_up(kernel->shared_end, 1024);
    if (shared > 0) run.shared.push_back({"dynamic", run.shared_bytes, shared, 16});
    run.shared_bytes += run.dynamic_shared;
    execute(run);
    return cudaSuccess;
  });
}
u32 cluster_of(const cudaLaunchConfig_t& config, bool& cooperative) {
  u32 cluster = 1;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const auto& [id, padding, value] = config.attrs[i];
    if (id == cudaLaunchAttributeCooperative)
      cooperative = value.cooperative != 0;
    else if (id == cudaLaunchAttributeClusterDimension)
      cluster = size_of({value.clusterDim.x, value.clusterDim.y, value.clusterDim.z});
    else
      die("launch attribute " + std::to_string(id) + " is not known");
  }
  return cluster;
}

// A copy's sides must be what its kind says, and lie in what was allocated.
bool fits(const void* at, std::size_t bytes, bool on_device) {
  const bool in = memory::in_arena(address_of(at));
  if (!on_device) return !in;
  if (in && memory::holds(at, bytes)) return true;
  std::fprintf(stderr, "PTX machine: a copy or fill of %zu bytes at %s does not fit\n", bytes,
               memory::describe(address_of(at)).c_str());
  return false;
}
char* place_of(const void* at, bool on_device) {
  return on_device ? memory::host(address_of(at)) : static_cast<char*>(const_cast<void*>(at));
}

}  // namespace

extern "C" {

// --- what nvcc's host code calls
void** __cudaRegisterFatBinary(void* wrapper) {
  const std::lock_guard hold(lock);
  FatBinary& binary = known().binaries.emplace_back();
  binary.data = read<const char*>(static_cast<char*>(wrapper) + 8);
  return reinterpret_cast<void**>(&binary);
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  const std::lock_guard hold(lock);
  known().entries[host] = {reinterpret_cast<FatBinary*>(handle), name};
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
static thread_local std::vector<std::tuple<dim3, dim3, std::size_t, cudaStream_t>> configurations;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream) {
  configurations.emplace_back(grid, block, shared, stream);
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  std::tie(*grid, *block, *shared, *static_cast<cudaStream_t*>(stream)) = configurations.back();
  configurations.pop_back();
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream);
}

// --- launches, and what is known of kernels
cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                                        std::size_t shared, cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared, stream, 1, true);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  bool cooperative = false;
  const u32 cluster = cluster_of(*config, cooperative);
  return launch(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream,
                cluster, cooperative);
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return with_kernel(function, [&](Entry& entry) {
    const bool fits = value >= 0 && value + static_cast<int>(entry.kernel->static_shared) <= device().shared_optin;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || !fits) return cudaErrorInvalidValue;
    entry.dynamic_shared_limit = value;
    return cudaSuccess;
  });
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return with_kernel(function, [&](const Entry& entry) {
    const Kernel& kernel = *entry.kernel;
    *attributes = {};
    attributes->sharedSizeBytes = kernel.static_shared;
    attributes->localSizeBytes = kernel.local_bytes;
    attributes->maxThreadsPerBlock = kernel.max_threads;
    attributes->numRegs = registers_of(kernel);
    attributes->ptxVersion = arch_of(kernel.module->text);
    attributes->binaryVersion = device().major * 10 + device().minor;
    attributes->maxDynamicSharedSizeBytes = entry.dynamic_shared_limit;
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   std::size_t shared, unsigned) {
  *blocks = 0;
  return with_kernel(function, [&](const Entry& entry) {
    if (threads <= 0 || threads > entry.kernel->max_threads) return cudaErrorInvalidValue;
    if (static_cast<int>(shared) <= entry.dynamic_shared_limit)
      *blocks = resident_blocks(*entry.kernel, threads, shared);
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* function, const cudaLaunchConfig_t* config) {
  int blocks = 0;
  *clusters = 0;
  if (device().major < 9) return returns(cudaErrorNotSupported);
  if (!has_clusters()) return returns(cudaErrorInvalidClusterSize);
  bool cooperative = false;
  const int size = static_cast<int>(cluster_of(*config, cooperative));
  const cudaError_t status = cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      &blocks, function, static_cast<int>(size_of(config->blockDim)), config->dynamicSmemBytes, 0);
  if (status == cudaSuccess)  // in GPCs of 16 to 18 multiprocessors
    *clusters = device().sms / 18 * (16 * blocks / size) + device().sms % 18 * blocks / size;
  return status;
}
cudaError_t cudaFuncGetName(const char** name, const void* function) {
  return with_kernel(function, [&](const Entry& entry) { return *name = entry.name.c_str(), cudaSuccess; });
}

// --- memory
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard hold(lock);
  *total = memory::total();
  *free = memory::total() - memory::used();
  for (const cudaMemPool_t pool : pools) *free -= pool->reserved - pool->used;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** to, std::size_t bytes) {
  *to = bytes == 0 ? nullptr : reinterpret_cast<void*>(memory::allocate(bytes));
  return returns(bytes == 0 || *to != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* at) { return returns(at == nullptr || memory::release(address_of(at))); }
cudaError_t cudaMallocFromPoolAsync(void** to, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  if (const cudaError_t status = answer_of(stream_device(stream)); status != cudaSuccess) return status;
  if (!has_pools()) return returns(cudaErrorNotSupported);
  const std::lock_guard hold(lock);
  const cudaError_t status = cudaMalloc(to, bytes);
  if (status != cudaSuccess || bytes == 0) return status;
  pool_pieces[*to] = {pool, bytes};
  pool->used += bytes;
  pool->reserved = std::max(pool->reserved, pool->used);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* at, cudaStream_t) {
  const std::lock_guard hold(lock);
  if (const auto piece = pool_pieces.extract(at)) piece.mapped().first->used -= piece.mapped().second;
  return cudaFree(at);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (!fits(to, bytes, to_device) || !fits(from, bytes, from_device)) return returns(cudaErrorInvalidValue);
  std::memmove(place_of(to, to_device), place_of(from, from_device), bytes);
  if (to_device && memory::tracks_init()) memory::mark_init(address_of(to), bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t status = answer_of(stream_device(stream)); status != cudaSuccess) return status;
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemset(void* at, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!fits(at, bytes, true)) return returns(cudaErrorInvalidValue);
  std::memset(place_of(at, true), value, bytes);
  if (memory::tracks_init()) memory::mark_init(address_of(at), bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* at, int value, std::size_t bytes, cudaStream_t) {
  return cudaMemset(at, value, bytes);
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  if (!has_pools()) return returns(cudaErrorNotSupported);
  const std::lock_guard hold(lock);
  pools.insert(*pool = &default_pools[device]);
  return check_device(device);
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  if (!has_pools()) return returns(cudaErrorNotSupported);
  const std::lock_guard hold(lock);
  pools.insert(*pool = new CUmemPoolHandle_st);
  return check_device(properties->location.id);
}
// What it lent out and did not get back is lent out still.
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  const std::lock_guard hold(lock);
  if (pools.erase(pool) == 0) return returns(cudaErrorInvalidValue);
  if (pool->used == 0) delete pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return returns(cudaErrorInvalidValue);
  pool->keeps = *static_cast<u64*>(value);
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  const std::lock_guard hold(lock);
  const std::map<cudaMemPoolAttr, u64> values{{cudaMemPoolAttrReleaseThreshold, pool->keeps},
                                              {cudaMemPoolAttrReservedMemCurrent, pool->reserved},
                                              {cudaMemPoolAttrUsedMemCurrent, pool->used}};
  const auto found = values.find(attribute);
  if (found != values.end()) *static_cast<u64*>(value) = found->second;
  return returns(found != values.end());
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t keep) {
  const std::lock_guard hold(lock);
  pool->trim(keep);
  return cudaSuccess;
}

// --- streams
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st{current_device};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard hold(lock);
  for (const cudaMemPool_t pool : pools) pool->trim(pool->keeps);
  return answer_of(stream_device(stream));
}

// --- the device
cudaError_t cudaGetDeviceCount(int* count) { return *count = device_count(), cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = current_device, cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
  const cudaError_t status = check_device(device);
  if (status == cudaSuccess) current_device = device;
  return status;
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char* bus, int length, int device) {
  std::snprintf(bus, static_cast<std::size_t>(length), "0000:00:00.0");
  return check_device(device);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int ordinal) {
  const Device& d = device();
  *p = {};
  std::snprintf(p->name, sizeof(p->name), "%s", d.name);
  p->totalGlobalMem = memory::total();
  p->major = d.major;
  p->minor = d.minor;
  p->multiProcessorCount = d.sms;
  return check_device(ordinal);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int ordinal) {
  const Device& d = device();
  static const std::unordered_map<int, int> values{{cudaDevAttrMaxGridDimX, 0x7fffffff},
                                                   {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
                                                   {cudaDevAttrMaxSharedMemoryPerBlockOptin, d.shared_optin},
                                                   {cudaDevAttrMultiProcessorCount, d.sms},
                                                   {cudaDevAttrComputeCapabilityMajor, d.major},
                                                   {cudaDevAttrComputeCapabilityMinor, d.minor},
                                                   {cudaDevAttrUnifiedAddressing, 1},
                                                   {cudaDevAttrCooperativeLaunch, 1},
                                                   {cudaDevAttrClusterLaunch, d.major >= 9},
                                                   {cudaDevAttrKernelExecTimeout, std::getenv("PTX_LIMIT") != nullptr},
                                                   {cudaDevAttrMemoryPoolsSupported, has_pools()}};
  const auto found = values.find(attribute);
  if (found == values.end()) die("device attribute " + std::to_string(attribute) + " is not known");
  *value = found->second;
  return check_device(ordinal);
}

// --- errors
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t error) {
#define PTX_NAMED(name) \
  { cudaError##name, "cudaError" #name }
  static const std::unordered_map<int, const char*> names{
      {cudaSuccess, "cudaSuccess"},      PTX_NAMED(InvalidValue),         PTX_NAMED(MemoryAllocation),
      PTX_NAMED(InvalidConfiguration),   PTX_NAMED(InvalidDevice),        PTX_NAMED(NotSupported),
      PTX_NAMED(NoKernelImageForDevice), PTX_NAMED(LaunchOutOfResources), PTX_NAMED(CooperativeLaunchTooLarge),
      PTX_NAMED(InvalidClusterSize),     PTX_NAMED(IllegalAddress),       PTX_NAMED(InvalidDeviceFunction),
      PTX_NAMED(InvalidResourceHandle)};
#undef PTX_NAMED
  const auto found = names.find(error);
  return found == names.end() ? "cudaError (of the PTX machine)" : found->second;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(error);
}

}  // extern "C"
