// The CUDA runtime's functions, in the place of libcudart_static.a. All work is done when a call returns.
#include <cuda_runtime_api.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
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
cudaError_t answer_of(int device, int launches = 0) {
  static const std::string text = setting("PTX_LOST", "-1:0");
  static const int lost = std::stoi(text);
  static std::atomic<int> left = std::stoi(text.substr(text.find(':') + 1));
  if (device != lost) return cudaSuccess;
  return returns((left -= launches) > 0 ? cudaSuccess : cudaErrorIllegalAddress);
}
u64 address_of(const void* at) { return reinterpret_cast<u64>(at); }

// --- the device imitated, and how many of a kernel's blocks one of its multiprocessors holds --------------------------
struct Device {
  const char* name;
  int major, minor, sms, shared_per_sm, shared_optin, threads_per_sm, blocks_per_sm;
};
const Device& device() {
  static const Device devices[] = {
      {"PTX machine, like an H200", 9, 0, 132, 228 << 10, 227 << 10, 2048, 32},
      {"PTX machine, like an A100", 8, 0, 108, 164 << 10, 163 << 10, 2048, 32},
      {"PTX machine, like a T4", 7, 5, 40, 64 << 10, 64 << 10, 1024, 16},
  };
  static const Device chosen = [] {
    const std::string arch = setting("PTX_ARCH", "90");
    Device one = arch == "80" ? devices[1] : arch == "75" ? devices[2] : devices[0];
    one.sms = std::stoi(setting("PTX_MULTIPROCESSORS", std::to_string(one.sms).c_str()));
    return one;
  }();
  return chosen;
}

// A guess from what is live at once: ptxas is not asked.
int registers_of(const Kernel& kernel) {
  const int most = std::min(255, 65536 / std::max(1, (kernel.max_threads + 127) / 128 * 128));
  return std::min(std::max(32, kernel.pressure + 12), most);
}

int resident_blocks(const Kernel& kernel, int threads, std::size_t dynamic_shared) {
  const Device& d = device();
  const int warps = (threads + 31) / 32;
  const int per_warp = (registers_of(kernel) * 32 + 255) / 256 * 256;
  const int by_registers = 65536 / 4 / per_warp * 4 / warps;
  const std::size_t shared = (kernel.static_shared + dynamic_shared + (d.major >= 8 ? 1024 : 0) + 127) / 128 * 128;
  const int by_shared = shared == 0 ? 32 : static_cast<int>(d.shared_per_sm / shared);
  return std::max(0, std::min({by_registers, by_shared, d.threads_per_sm / (warps * 32), d.blocks_per_sm}));
}

// --- kernels, as nvcc has left them in the program -------------------------------------------------------------------
struct FatBinary {
  const char* data = nullptr;
  std::unique_ptr<Module> module;  // none until a kernel of it is asked for
};
struct Entry {  // a kernel as the host knows it
  FatBinary* binary = nullptr;
  std::string name;
  std::size_t dynamic_shared_limit = 48 << 10;
  Kernel* kernel = nullptr;  // decoded, once it was asked for
};
// By the host's function, which is its own handle. Constructors of other files ask for it.
std::unordered_map<const void*, Entry>& entries() {
  static auto* const all = new std::unordered_map<const void*, Entry>;
  return *all;
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
  if (binary.module != nullptr) return binary.module.get();
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

// Decodes the kernel when it is first asked for.
cudaError_t prepare(Entry& entry) {
  if (entry.kernel != nullptr) return cudaSuccess;
  try {
    Module* const module = load(*entry.binary);
    if (module == nullptr) return cudaErrorNoKernelImageForDevice;
    const auto kernel = module->kernels.find(entry.name);
    if (kernel == module->kernels.end()) return cudaErrorInvalidDeviceFunction;
    decode(*kernel->second);
    entry.kernel = kernel->second.get();
  } catch (const std::exception& error) {
    die("in " + demangled(entry.name) + ": " + error.what());
  }
  return cudaSuccess;
}
// What body(entry) returns of the kernel of a function of the host.
template <class F>
cudaError_t with_kernel(const void* function, F&& body) {
  const std::lock_guard hold(lock);
  const auto found = entries().find(function);
  if (found == entries().end()) return returns(cudaErrorInvalidDeviceFunction);
  const cudaError_t status = prepare(found->second);
  return returns(status == cudaSuccess ? body(found->second) : status);
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
cudaError_t check_launch(const Launch& run, std::size_t dynamic_shared_limit) {
  const Device& d = device();
  const Kernel& kernel = *run.kernel;
  const int threads = static_cast<int>(run.block);
  if (run.grid == 0 || run.block == 0 || run.block > 1024 || run.grid > 0x7fffffff)
    return cudaErrorInvalidConfiguration;
  if (threads > kernel.max_threads || run.dynamic_shared > dynamic_shared_limit ||
      run.dynamic_shared + kernel.static_shared > static_cast<std::size_t>(d.shared_optin))
    return cudaErrorInvalidValue;
  if (run.cluster != 1) {
    if (d.major < 9) return cudaErrorInvalidValue;
    if (!has_clusters() || run.cluster == 0 || run.cluster > 8 || run.grid % run.cluster != 0)
      return cudaErrorInvalidClusterSize;
  }
  const int resident = resident_blocks(kernel, threads, run.dynamic_shared);
  if (resident == 0) return cudaErrorLaunchOutOfResources;
  const bool fits = run.grid <= static_cast<u64>(resident) * d.sms;
  return run.cooperative && !fits ? cudaErrorCooperativeLaunchTooLarge : cudaSuccess;
}

Launch launch_of(const cudaLaunchConfig_t& config) {
  Launch run;
  run.grid = size_of(config.gridDim);
  run.block = size_of(config.blockDim);
  run.dynamic_shared = config.dynamicSmemBytes;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const auto& [id, padding, value] = config.attrs[i];
    if (id == cudaLaunchAttributeCooperative)
      run.cooperative = value.cooperative != 0;
    else if (id == cudaLaunchAttributeClusterDimension)
      run.cluster = size_of({value.clusterDim.x, value.clusterDim.y, value.clusterDim.z});
    else
      die("launch attribute " + std::to_string(id) + " is not known");
  }
  return run;
}

// Where a copy's side lies, which must be what the copy's kind says, and in what was allocated; null: it is not.
char* side_of(const void* at, std::size_t bytes, bool on_device) {
  const u64 address = address_of(at);
  const bool in = memory::in_arena(address);
  if (!on_device) return in ? nullptr : static_cast<char*>(const_cast<void*>(at));
  if (in && memory::holds(at, bytes)) return memory::host(address);
  std::fprintf(stderr, "PTX machine: a copy or fill of %zu bytes at %s does not fit\n", bytes,
               memory::describe(address).c_str());
  return nullptr;
}

}  // namespace

extern "C" {

// --- what nvcc's host code calls
void** __cudaRegisterFatBinary(void* wrapper) {
  return reinterpret_cast<void**>(new FatBinary{read<const char*>(static_cast<char*>(wrapper) + 8), nullptr});
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  const std::lock_guard hold(lock);
  entries()[host] = {reinterpret_cast<FatBinary*>(handle), name};
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
  const cudaLaunchConfig_t config{grid, block, shared, stream, nullptr, 0};
  return cudaLaunchKernelExC(&config, kernel, arguments);
}

// --- launches, and what is known of kernels
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  if (stream_device(config->stream) != current_device) return returns(cudaErrorInvalidResourceHandle);
  if (const cudaError_t status = answer_of(current_device, 1); status != cudaSuccess) return status;
  return with_kernel(function, [&](Entry& entry) {
    Kernel& kernel = *entry.kernel;
    Launch run = launch_of(*config);
    run.kernel = &kernel;
    const cudaError_t status = check_launch(run, entry.dynamic_shared_limit);
    if (is_on("PTX_VERBOSE"))
      std::fprintf(stderr, "PTX machine: %s%s <<<%u, %u, %zu>>>%s cluster %u\n",
                   status == cudaSuccess ? "" : (std::string("refused, ") + cudaGetErrorName(status) + ": ").c_str(),
                   demangled(entry.name).substr(0, 100).c_str(), run.grid, run.block, run.dynamic_shared,
                   run.cooperative ? " cooperative" : "", run.cluster);
    if (status != cudaSuccess) return status;
    run.parameters.resize(kernel.parameter_bytes + 16);
    for (std::size_t i = 0; i < kernel.parameters.size(); ++i)
      std::memcpy(&run.parameters[kernel.parameters[i].at], arguments[i], kernel.parameters[i].bytes);
    run.shared = kernel.shared;
    run.shared_bytes = round_up(kernel.shared_end, 1024);
    if (run.dynamic_shared > 0) run.shared.push_back({"dynamic", run.shared_bytes, run.dynamic_shared, 16});
    run.shared_bytes += static_cast<u32>(run.dynamic_shared);
    execute(run);
    return cudaSuccess;
  });
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return with_kernel(function, [&](Entry& entry) {
    const bool fits = value >= 0 && value <= device().shared_optin - static_cast<int>(entry.kernel->static_shared);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || !fits) return cudaErrorInvalidValue;
    entry.dynamic_shared_limit = static_cast<std::size_t>(value);
    return cudaSuccess;
  });
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return with_kernel(function, [&](const Entry& entry) {
    *attributes = {};
    attributes->ptxVersion = arch_of(entry.kernel->module->text);  // CUB reads no other
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   std::size_t shared, unsigned) {
  *blocks = 0;
  return with_kernel(function, [&](const Entry& entry) {
    if (threads <= 0 || threads > entry.kernel->max_threads) return cudaErrorInvalidValue;
    if (shared <= entry.dynamic_shared_limit) *blocks = resident_blocks(*entry.kernel, threads, shared);
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* function, const cudaLaunchConfig_t* config) {
  const Launch run = launch_of(*config);
  int blocks = 0;
  *clusters = 0;
  if (device().major < 9) return returns(cudaErrorNotSupported);
  if (!has_clusters() || run.cluster == 0) return returns(cudaErrorInvalidClusterSize);
  const int size = static_cast<int>(run.cluster);
  const cudaError_t status = cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      &blocks, function, static_cast<int>(run.block), run.dynamic_shared, 0);
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
  *total = memory::kTotal;
  *free = memory::kTotal - memory::used();
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
  char* const target = side_of(to, bytes, to_device);
  const char* const source = side_of(from, bytes, from_device);
  if (target == nullptr || source == nullptr) return returns(cudaErrorInvalidValue);
  std::memmove(target, source, bytes);
  if (to_device) memory::mark_init(address_of(to), bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t status = answer_of(stream_device(stream)); status != cudaSuccess) return status;
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemsetAsync(void* at, int value, std::size_t bytes, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  char* const target = side_of(at, bytes, true);
  if (target == nullptr) return returns(cudaErrorInvalidValue);
  std::memset(target, value, bytes);
  memory::mark_init(address_of(at), bytes);
  return cudaSuccess;
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
  const u64* const found = attribute == cudaMemPoolAttrReleaseThreshold     ? &pool->keeps
                           : attribute == cudaMemPoolAttrReservedMemCurrent ? &pool->reserved
                           : attribute == cudaMemPoolAttrUsedMemCurrent     ? &pool->used
                                                                            : nullptr;
  if (found != nullptr) *static_cast<u64*>(value) = *found;
  return returns(found != nullptr);
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
  p->totalGlobalMem = memory::kTotal;
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
