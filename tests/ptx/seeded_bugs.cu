// Small kernels, each with one bug that a template argument puts in, and what the machine must report of it under
// PTX_RACE=1 and PTX_INITCHECK=1. The fixed twin of every case must give the right result without a report.
//
//   seeded_bugs                  runs all, each in a process of its own, and prints a table; 1: something was not as it must
//   seeded_bugs NAME bug|fixed   runs one: 0 right result, 3 wrong result, else the report ended the process
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cub/block/block_scan.cuh>
#include <string>
#include <vector>

namespace {

constexpr int kThreads = 256;  // eight warps
constexpr unsigned kAll = 0xffffffffU;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "call failed: %s\n", cudaGetErrorName(error));
  std::abort();
}

template <class T>
class Device {
 public:
  explicit Device(const std::vector<T>& host) : size_(host.size()) {
    check(cudaMalloc(&data_, size_ * sizeof(T)));
    check(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> host(size_);
    check(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

template <class... Parameters, class... Arguments>
void launch(unsigned blocks, unsigned threads, std::size_t shared, void (*kernel)(Parameters...),
            Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  check(cudaLaunchKernelEx(&config, kernel, arguments...));
}

enum class Together { cluster, grid };
template <class... Parameters, class... Arguments>
void launch_together(Together together, unsigned blocks, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchAttribute attribute{};
  if (together == Together::cluster) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {4, 1, 1};
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(kThreads);
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, arguments...));
}

std::vector<float> ramp(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return values;
}
std::vector<int> zeros(int n) { return std::vector<int>(static_cast<std::size_t>(n), 0); }

// Most kernels here are one block that turns ramp(kThreads) into something easily checked.
using OneBlock = void(const float* in, float* out);
template <class Want>
bool one_block(OneBlock* kernel, std::size_t shared, Want want) {
  const Device<float> in(ramp(kThreads));
  const Device<float> out(std::vector<float>(kThreads, -1.0F));
  launch(1, kThreads, shared, kernel, in.data(), out.data());
  const std::vector<float> got = out.host();
  for (int i = 0; i < kThreads; ++i) {
    if (got[static_cast<std::size_t>(i)] != static_cast<float>(want(i))) return false;
  }
  return true;
}
int same(int i) { return i; }
int reversed(int i) { return kThreads - 1 - i; }
int first(int) { return 0; }

struct Tile {
  float value[kThreads];
};
struct TwoTiles {
  float a[kThreads], b[kThreads];
};
struct Counter {
  int value;
};

__device__ int me() { return static_cast<int>(threadIdx.x); }
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}
__device__ void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

// --- addresses -------------------------------------------------------------------------------------------------------
template <bool bug>
__global__ void read_past_end(const float* in, float* out) {
  const float next = bug || me() + 1 < kThreads ? in[me() + 1] : 0;
  out[me()] = next >= 0 ? in[me()] : 0;
}
template <bool bug>
__global__ void write_before_start(const float* in, float* out) {
  out[me()] = in[me()];
  if (bug && me() == 0) out[-1] = 0;
}
template <bool bug>
__global__ void shared_overflow(const float* in, float* out) {
  float* tile = dynamic_shared<Tile>()->value;
  tile[me()] = in[me()];
  if (bug && me() == 0) tile[kThreads] = 0;
  out[me()] = tile[me()];
}
template <bool bug>
__global__ void member_overflow(const float* in, float* out) {
  TwoTiles& tiles = *dynamic_shared<TwoTiles>();
  tiles.b[me()] = 0;
  tiles.a[me() + (bug ? 1 : 0)] = in[me()];
  out[me()] = tiles.a[me() + (bug ? 1 : 0)];
}
template <bool bug>
__global__ void misaligned_vector(const float* in, float* out) {
  const auto* vectors = reinterpret_cast<const float4*>(in + (bug ? 1 : 0));
  const float4 four = vectors[me() % 8];
  out[me()] = (four.x + four.y + four.z + four.w) * 0 + in[me()];
}
template <bool bug>
__global__ void local_overflow(const float* in, float* out) {
  float best[4] = {};
  for (int i = 0; i <= (bug ? me() : me() % 4); ++i) best[i] = in[me()];
  out[me()] = best[bug ? 0 : me() % 4];
}
__global__ void copy(const float* in, float* out) { out[me()] = in[me()]; }

bool use_after_free(bool bug) {
  float* in = nullptr;
  check(cudaMalloc(&in, kThreads * sizeof(float)));
  check(cudaMemcpy(in, ramp(kThreads).data(), kThreads * sizeof(float), cudaMemcpyHostToDevice));
  const Device<float> out(ramp(kThreads));
  if (bug) check(cudaFree(in));
  launch(1, kThreads, 0, copy, in, out.data());
  if (!bug) check(cudaFree(in));
  return out.host() == ramp(kThreads);
}
bool host_reads_device(bool bug) {
  const Device<float> in(ramp(kThreads));
  return (bug ? in.data()[3] : in.host()[3]) == 3;
}
bool kernel_reads_host(bool bug) {
  const std::vector<float> host = ramp(kThreads);
  const Device<float> in(host), out(host);
  launch(1, kThreads, 0, copy, bug ? host.data() : in.data(), out.data());
  return out.host() == host;
}
bool uninitialised_global(bool bug) {
  float* in = nullptr;
  check(cudaMalloc(&in, kThreads * sizeof(float)));
  if (!bug) check(cudaMemset(in, 0, kThreads * sizeof(float)));
  const Device<float> out(ramp(kThreads));
  launch(1, kThreads, 0, copy, in, out.data());
  check(cudaFree(in));
  return out.host() == std::vector<float>(kThreads, 0.0F);
}
bool copy_past_end(bool bug) {
  const Device<float> in(ramp(kThreads));
  std::vector<float> host(kThreads + 1);
  check(cudaMemcpy(host.data(), in.data(), (kThreads + (bug ? 1 : 0)) * sizeof(float), cudaMemcpyDeviceToHost));
  return host[5] == 5;
}

// --- shared memory and barriers --------------------------------------------------------------------------------------
template <bool bug>
__global__ void uninitialised_shared(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  if (!bug || me() != 7) tile.value[me()] = in[me()];
  __syncthreads();
  out[me()] = tile.value[kThreads - 1 - me()];
}
template <bool bug>
__global__ void no_barrier_after_load(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = 0;
  __syncthreads();
  tile.value[me()] = in[me()];
  if (!bug) __syncthreads();
  out[me()] = tile.value[kThreads - 1 - me()];
}
template <bool bug>
__global__ void no_barrier_before_reload(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  float sum = 0;
  for (int step = 0; step < 2; ++step) {
    tile.value[me()] = in[me()];
    __syncthreads();
    sum += tile.value[kThreads - 1 - me()];
    if (!bug) __syncthreads();
  }
  out[me()] = sum / 2;
}
template <bool bug>
__global__ void no_barrier_before_overwrite(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = in[me()];
  __syncthreads();
  out[me()] = tile.value[0];
  if (!bug) __syncthreads();
  // In forward order this thread is the last: no read that comes after it can betray it.
  if (me() == kThreads - 2) tile.value[0] = -1;
}
template <bool bug>
__global__ void no_barrier_in_reduction(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = in[me()];
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (me() < half) tile.value[me()] = min(tile.value[me()], tile.value[me() + half]);
    if (!bug || half != 32) __syncthreads();
  }
  out[me()] = tile.value[0];
}
template <bool bug>
__global__ void no_barrier_before_broadcast(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = -1;
  __syncthreads();
  if (me() == kThreads - 1) tile.value[0] = in[0];
  if (!bug) __syncthreads();
  out[me()] = tile.value[0];
}
template <bool bug>
__global__ void no_barrier_after_clear(const float*, float* out) {
  Counter& counter = *dynamic_shared<Counter>();
  if (me() == 64) counter.value = 0;
  if (!bug) __syncthreads();
  atomicAdd(&counter.value, 1);
  __syncthreads();
  out[me()] = static_cast<float>(counter.value - kThreads);
}
template <bool bug>
__global__ void no_barrier_between_buffers(const float* in, float* out) {
  TwoTiles& tiles = *dynamic_shared<TwoTiles>();
  float* from = tiles.a;
  float* to = tiles.b;
  from[me()] = in[me()];
  __syncthreads();
  for (int step = 0; step < 4; ++step) {
    to[me()] = from[(me() + kThreads / 4) % kThreads];
    if (!bug || step % 2 == 0) __syncthreads();
    float* const read = from;
    from = to;
    to = read;
  }
  out[me()] = from[me()];
}
template <bool bug>
__global__ void no_warp_barrier(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = -1;
  __syncthreads();
  tile.value[me()] = in[me()];
  if (!bug) __syncwarp();
  const float other = tile.value[me() ^ 1];
  __syncwarp();
  tile.value[me()] = other;
  __syncwarp();
  out[me()] = tile.value[me() ^ 1];
}
template <bool bug>
__global__ void no_warp_barrier_before_write(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = in[me()];
  __syncwarp();
  const float smallest = min(tile.value[me()], tile.value[me() ^ 16]);
  if (!bug) __syncwarp();
  tile.value[me()] = smallest;
  __syncwarp();
  out[me()] = tile.value[me()] + static_cast<float>(me() & 16);
}
template <bool bug>
__global__ void half_a_warp_barrier(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = -1;
  __syncthreads();
  tile.value[me()] = in[me()];
  __syncwarp(!bug ? kAll : me() % 32 < 16 ? 0x0000ffffU : 0xffff0000U);
  out[me()] = tile.value[me() % 32 < 16 ? me() : me() - 16];  // one half reads of the other, which reads nothing of it
}
template <bool bug>
__global__ void shuffle_for_a_barrier(const float* in, float* out) {
  Tile& tile = *dynamic_shared<Tile>();
  tile.value[me()] = -1;
  __syncthreads();
  tile.value[me()] = in[me()];
  if (bug) {
    __shfl_sync(kAll, me(), 0);
  } else {
    __syncwarp();
  }
  out[me()] = tile.value[me() / 32 * 32 + 31 - me() % 32];
}
using WarpScans = cub::BlockScan<int, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
struct ScanTwice {
  WarpScans::TempStorage scan;
};
template <bool bug>
__global__ void storage_used_again(const float*, float* out) {
  auto& storage = dynamic_shared<ScanTwice>()->scan;
  int a, b;
  WarpScans(storage).ExclusiveSum(1, a);
  if (!bug) __syncthreads();
  WarpScans(storage).ExclusiveSum(2, b);
  out[me()] = static_cast<float>(b - a);
}
template <bool bug>
__global__ void sum_in_shared(const float*, float* out) {
  Counter& counter = *dynamic_shared<Counter>();
  if (me() == 0) counter.value = 0;
  __syncthreads();
  if (bug) {
    counter.value += 1;
  } else {
    atomicAdd(&counter.value, 1);
  }
  __syncthreads();
  out[me()] = static_cast<float>(counter.value - kThreads);
}
template <bool bug>
__global__ void bytes_that_overlap(const float* in, float* out) {
  auto* bytes = reinterpret_cast<unsigned char*>(out);
  for (int i = 0; i < 4; ++i) bytes[i * kThreads + me()] = 0;  // the four bytes of a float by four threads
  if (bug && me() == 5) bytes[6] = 0;
  __syncthreads();
  out[me()] = in[me()];
}

// --- between blocks --------------------------------------------------------------------------------------------------
// out[0] becomes the sum of all blocks' parts, added by the block that finishes last.
template <int bug>
__global__ void last_block(float* parts, unsigned* finished, float* out) {
  Counter& last = *dynamic_shared<Counter>();
  if (me() == 0) {
    parts[blockIdx.x] = static_cast<float>(blockIdx.x);
    if (bug != 1) __threadfence();
    last.value = atomicAdd(finished, 1U) == gridDim.x - 1 ? 1 : 0;
    if (bug != 2) __threadfence();
  }
  __syncthreads();
  if (last.value == 0 || me() != 33) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i];
  out[0] = sum;
}
template <int bug>
bool run_last_block() {
  const Device<float> parts(ramp(8)), out(ramp(1));
  const Device<unsigned> finished(std::vector<unsigned>(1, 0U));
  launch(8, kThreads, sizeof(Counter), last_block<bug>, parts.data(), finished.data(), out.data());
  return out.host()[0] == 28;
}
template <bool bug>
__global__ void sum_between_blocks(int* total) {
  if (bug) {
    if (me() == 0) *total += 1;
  } else {
    if (me() == 0) atomicAdd(total, 1);
  }
}
template <bool bug>
__global__ void overwrites_what_blocks_read(int* values, int* out) {
  if (me() == 0) out[blockIdx.x] = values[0];
  if (me() == 32 && blockIdx.x == gridDim.x - 1) values[bug ? 0 : 1] = 7;
}
// Blocks take jobs from a queue until there are none.
template <bool bug>
__global__ void job_queue(int* next, int* taken, int jobs) {
  Counter& job = *dynamic_shared<Counter>();
  for (;;) {
    if (me() == 0) job.value = atomicAdd(next, 1);
    __syncthreads();
    const int mine = job.value;
    if (!bug) __syncthreads();
    if (mine >= jobs) return;
    if (me() == 0) taken[mine] = 1;
  }
}
template <bool bug>
__global__ void plain_read_of_atomic(int* counter, int* seen) {
  if (me() == 0) atomicAdd(counter, 1);
  __syncthreads();
  if (me() == 1) seen[blockIdx.x] = bug ? *counter : atomicAdd(counter, 0);
}
// --- divergence ------------------------------------------------------------------------------------------------------
template <bool bug>
__global__ void barrier_in_branch(const float* in, float* out) {
  if (!bug || me() < 64) __syncthreads();
  out[me()] = in[me()];
}
template <bool bug>
__global__ void barrier_after_return(const float* in, float* out) {
  out[me()] = in[me()];
  if (bug && me() == kThreads - 1) return;
  __syncthreads();
}
template <bool bug>
__global__ void barriers_of_two_branches(const float* in, float* out) {
  if (bug && me() < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[me()] = in[me()];
}
template <bool bug>
__global__ void barriers_in_unequal_loops(const float* in, float* out) {
  for (int i = 0; i < (bug ? 1 + me() / 32 : 4); ++i) __syncthreads();
  out[me()] = in[me()];
}
template <bool bug>
__global__ void shuffle_in_branch(const float* in, float* out) {
  float value = in[me()];
  if (!bug || me() % 2 == 0) value = __shfl_sync(kAll, value, 0);
  out[me()] = value * 0;
}
template <bool bug>
__global__ void lane_outside_its_mask(const float* in, float* out) {
  if (me() % 32 < (bug ? 17 : 16)) out[me()] = __shfl_sync(0x0000ffffU, in[me()], me() % 16);
  out[me()] = in[me()];
}
template <bool bug>
__global__ void shuffle_from_outside_mask(const float* in, float* out) {
  float value = in[me()];
  if (me() % 32 < 16) value = __shfl_sync(0x0000ffffU, value, bug ? 20 : 3);
  out[me()] = value * 0;
}
template <bool bug>
__global__ void masks_that_differ(const float* in, float* out) {
  const float value = __shfl_sync(bug && me() % 32 == 5 ? 0x7fffffffU : kAll, in[me()], me() % 32);
  out[me()] = value;
}

// --- blocks that run together ----------------------------------------------------------------------------------------
// Each block of a cluster of four passes its numbers to the next one.
template <int bug>
__global__ void pass_on_in_cluster(const float* in, float* out, float* mail) {
  const int block = static_cast<int>(blockIdx.x), next = block / 4 * 4 + (block + 1) % 4;
  mail[next * kThreads + me()] = in[me()];
  if (bug == 1) __syncthreads();
  if (bug == 0 || (bug == 2 && (blockIdx.x % 4 != 3 || me() != 5))) cluster_barrier();
  out[block * kThreads + me()] = mail[block * kThreads + kThreads - 1 - me()];
}
// The same round the whole grid, behind a barrier made of an atomic counter.
template <int bug>
__global__ void pass_on_in_grid(const float* in, float* out, float* mail, int* arrived) {
  const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x), next = (block + 1) % blocks;
  mail[next * kThreads + me()] = in[me()];
  __syncthreads();
  if (me() == 0) {
    if (bug != 1) __threadfence();
    atomicAdd(arrived, 1);
    while (atomicAdd(arrived, 0) < blocks) {
    }
    if (bug != 2) __threadfence();
  }
  if (bug != 3) __syncthreads();
  out[block * kThreads + me()] = mail[block * kThreads + kThreads - 1 - me()];
}
template <int bug>
bool pass_on(Together together, unsigned blocks) {
  const Device<float> in(ramp(kThreads)), mail(std::vector<float>(blocks * kThreads, -1.0F));
  const Device<float> out(std::vector<float>(blocks * kThreads, -1.0F));
  const Device<int> arrived(zeros(1));
  if (together == Together::cluster) {
    launch_together(together, blocks, pass_on_in_cluster<bug>, in.data(), out.data(), mail.data());
  } else {
    launch_together(together, blocks, pass_on_in_grid<bug>, in.data(), out.data(), mail.data(), arrived.data());
  }
  const std::vector<float> got = out.host();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] != static_cast<float>(reversed(static_cast<int>(i) % kThreads))) return false;
  }
  return true;
}

// --- right in every way: what the fixed twins above do not use -------------------------------------------------------
__global__ void warp_operations(const float* in, float* out) {
  const int lane = me() % 32;
  const unsigned odd = __ballot_sync(kAll, lane % 2);
  const float up = __shfl_up_sync(kAll, in[me()], 1);
  const float down = __shfl_down_sync(kAll, in[me()], 1, 8);
  const float across = __shfl_xor_sync(kAll, in[me()], 31);
  const unsigned alike = __match_any_sync(kAll, lane / 4);
  const int sum = __reduce_add_sync(kAll, lane);
  const int voted = __syncthreads_count(me() < 10);
  const bool right = odd == 0xaaaaaaaaU && up == static_cast<float>(lane == 0 ? me() : me() - 1) &&
                     down == static_cast<float>(lane % 8 == 7 ? me() : me() + 1) &&
                     across == static_cast<float>(me() / 32 * 32 + 31 - lane) && alike == 0xfU << lane / 4 * 4 &&
                     sum == 496 && voted == 10 && __all_sync(kAll, lane < 32) != 0 && __any_sync(kAll, lane == 32) == 0;
  out[me()] = right ? 0.0F : 1.0F;
}
// --- the table -------------------------------------------------------------------------------------------------------
struct Case {
  const char* name;
  const char* must_say;  // null: the case has no bug
  bool (*run)(bool bug);
};
#define ONE_BLOCK(kernel, Shared, want) \
  [](bool bug) { return one_block(bug ? kernel<true> : kernel<false>, sizeof(Shared), want); }

constexpr char kBounds[] = "out of bounds", kRace[] = "race: ", kDiverged[] = "divergent barrier";
const Case kCases[] = {
    {"global-read-past-end", kBounds, ONE_BLOCK(read_past_end, Tile, same)},
    {"global-write-before-start", kBounds, ONE_BLOCK(write_before_start, Tile, same)},
    {"use-after-free", "FREED", use_after_free},
    {"dynamic-shared-overflow", kBounds, ONE_BLOCK(shared_overflow, Tile, same)},
    {"shared-member-overflow", kRace, ONE_BLOCK(member_overflow, TwoTiles, same)},
    {"shared-smaller-than-its-struct", kBounds,
     [](bool bug) { return one_block(shared_overflow<false>, sizeof(Tile) - (bug ? 4 : 0), same); }},
    {"shared-beyond-48-KiB-unasked", "cudaErrorInvalidValue",
     [](bool bug) { return one_block(copy, (48 << 10) + (bug ? 4 : 0), same); }},
    {"local-array-overflow", kBounds, ONE_BLOCK(local_overflow, Tile, same)},
    {"misaligned-float4", "misaligned address", ONE_BLOCK(misaligned_vector, Tile, same)},
    {"host-reads-device-memory", "host code touched", host_reads_device},
    {"kernel-reads-host-memory", "no device memory", kernel_reads_host},
    {"copy-past-end", "cudaErrorInvalidValue", copy_past_end},
    {"uninitialised-global-read", "uninitialised memory", uninitialised_global},
    {"uninitialised-shared-read", "that nobody has written", ONE_BLOCK(uninitialised_shared, Tile, reversed)},
    {"no-syncthreads-after-load", kRace, ONE_BLOCK(no_barrier_after_load, Tile, reversed)},
    {"no-syncthreads-before-reload", kRace, ONE_BLOCK(no_barrier_before_reload, Tile, reversed)},
    {"no-syncthreads-before-overwrite", kRace, ONE_BLOCK(no_barrier_before_overwrite, Tile, first)},
    {"no-syncthreads-in-reduction", kRace, ONE_BLOCK(no_barrier_in_reduction, Tile, first)},
    {"no-syncthreads-before-broadcast", kRace, ONE_BLOCK(no_barrier_before_broadcast, Tile, first)},
    {"no-syncthreads-after-clear", kRace, ONE_BLOCK(no_barrier_after_clear, Counter, first)},
    {"no-syncthreads-between-buffers", kRace, ONE_BLOCK(no_barrier_between_buffers, TwoTiles, same)},
    {"no-syncthreads-in-job-queue", kRace,
     [](bool bug) {
       const Device<int> next(zeros(1)), taken(zeros(20));
       launch(3, kThreads, sizeof(Counter), bug ? job_queue<true> : job_queue<false>, next.data(), taken.data(), 20);
       return taken.host() == std::vector<int>(20, 1);
     }},
    {"no-syncwarp-after-write", kRace, ONE_BLOCK(no_warp_barrier, Tile, same)},
    {"no-syncwarp-before-write", kRace, ONE_BLOCK(no_warp_barrier_before_write, Tile, same)},
    {"syncwarp-of-half-a-warp", kRace,
     ONE_BLOCK(half_a_warp_barrier, Tile, [](int i) { return i % 32 < 16 ? i : i - 16; })},
    {"shuffle-taken-for-syncwarp", kRace,
     ONE_BLOCK(shuffle_for_a_barrier, Tile, [](int i) { return i / 32 * 32 + 31 - i % 32; })},
    {"cub-storage-used-again", kRace, ONE_BLOCK(storage_used_again, ScanTwice, same)},
    {"plain-sum-in-shared", kRace, ONE_BLOCK(sum_in_shared, Counter, first)},
    {"bytes-that-overlap", kRace, ONE_BLOCK(bytes_that_overlap, Tile, same)},
    {"no-threadfence-before-atomic", kRace, [](bool bug) { return bug ? run_last_block<1>() : run_last_block<0>(); }},
    {"no-threadfence-after-atomic", kRace, [](bool bug) { return bug ? run_last_block<2>() : run_last_block<0>(); }},
    {"plain-sum-between-blocks", kRace,
     [](bool bug) {
       const Device<int> total(zeros(1));
       launch(8, kThreads, 0, bug ? sum_between_blocks<true> : sum_between_blocks<false>, total.data());
       return total.host()[0] == 8;
     }},
    {"write-of-what-other-blocks-read", kRace,
     [](bool bug) {
       const Device<int> values(zeros(2)), out(zeros(6));
       launch(6, kThreads, 0, bug ? overwrites_what_blocks_read<true> : overwrites_what_blocks_read<false>,
              values.data(), out.data());
       return out.host() == zeros(6);
     }},
    {"plain-read-of-an-atomic", kRace,
     [](bool bug) {
       const Device<int> counter(zeros(1)), seen(zeros(4));
       launch(4, kThreads, 0, bug ? plain_read_of_atomic<true> : plain_read_of_atomic<false>, counter.data(),
              seen.data());
       return counter.host()[0] == 4;
     }},
    {"syncthreads-in-a-branch", kDiverged, ONE_BLOCK(barrier_in_branch, Tile, same)},
    {"syncthreads-after-a-return", kDiverged, ONE_BLOCK(barrier_after_return, Tile, same)},
    {"syncthreads-of-two-branches", kDiverged, ONE_BLOCK(barriers_of_two_branches, Tile, same)},
    {"syncthreads-in-unequal-loops", kDiverged, ONE_BLOCK(barriers_in_unequal_loops, Tile, same)},
    {"shuffle-in-a-branch", "lanes that have returned", ONE_BLOCK(shuffle_in_branch, Tile, first)},
    {"lane-outside-its-mask", "not in its own member mask", ONE_BLOCK(lane_outside_its_mask, Tile, same)},
    {"shuffle-from-outside-the-mask", "does not take part", ONE_BLOCK(shuffle_from_outside_mask, Tile, first)},
    {"masks-that-differ", "DEADLOCK", ONE_BLOCK(masks_that_differ, Tile, same)},
    {"no-cluster-barrier", kRace,
     [](bool bug) { return bug ? pass_on<1>(Together::cluster, 8) : pass_on<0>(Together::cluster, 8); }},
    {"cluster-barrier-in-a-branch", kRace,  // the threads that go past it race before anyone waits in vain
     [](bool bug) { return bug ? pass_on<2>(Together::cluster, 8) : pass_on<0>(Together::cluster, 8); }},
    {"no-threadfence-before-grid-barrier", kRace,
     [](bool bug) { return bug ? pass_on<1>(Together::grid, 6) : pass_on<0>(Together::grid, 6); }},
    {"no-threadfence-after-grid-barrier", kRace,
     [](bool bug) { return bug ? pass_on<2>(Together::grid, 6) : pass_on<0>(Together::grid, 6); }},
    {"no-syncthreads-after-grid-barrier", kRace,
     [](bool bug) { return bug ? pass_on<3>(Together::grid, 6) : pass_on<0>(Together::grid, 6); }},
    {"grid-barrier-of-too-many-blocks", "cudaErrorCooperativeLaunchTooLarge",
     [](bool bug) { return pass_on<0>(Together::grid, bug ? 2048U / kThreads * 132U + 1U : 6U); }},
    {"warp operations, all right", nullptr, [](bool) { return one_block(warp_operations, 0, first); }},
};

// Runs one case in a process of its own: what it wrote to stderr, and in `status` its exit code (or 128 + its signal).
std::string run_apart(const Case& c, bool bug, int& status) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    _exit(c.run(bug) ? 0 : 3);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  waitpid(child, &status, 0);
  status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  int failures = 0, cases = 0;
  for (const Case& c : kCases) {
    if (argc == 3 && c.name == std::string(argv[1])) return c.run(std::string(argv[2]) == "bug") ? 0 : 3;
    if (argc != 1) continue;
    int of_fixed = 0, of_bug = 0;
    const std::string fixed = run_apart(c, false, of_fixed), bug = run_apart(c, true, of_bug);
    const bool found = c.must_say == nullptr ? of_bug == 0 : of_bug != 0 && bug.find(c.must_say) != std::string::npos;
    std::printf("%-36s %s%s\n", c.name,
                c.must_say == nullptr ? "-"
                : found               ? c.must_say
                                      : "NOT FOUND",
                of_fixed == 0 ? "" : ", and its fixed twin FAILED");
    if (!found) std::printf("  ended with %d:%s\n", of_bug, bug.c_str());
    if (of_fixed != 0) std::printf("  the fixed twin ended with %d:%s\n", of_fixed, fixed.c_str());
    failures += (found ? 0 : 1) + (of_fixed == 0 ? 0 : 1);
    ++cases;
  }
  std::printf("%d cases, %d failures\n", cases, failures);
  return argc == 1 && failures == 0 ? 0 : 1;
}
