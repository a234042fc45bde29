// Small kernels with places for bugs, of which one at a time is put in, and what the machine must report of it under
// PTX_RACE=1, PTX_INITCHECK=1 and a PTX_LIMIT. Without a bug each must give the right result without a report. Each runs in
// a process of its own.
#include <gtest/gtest.h>

#include <cub/block/block_scan.cuh>
#include <functional>
#include <memory>
#include <string>

#include "array.cuh"

namespace {

constexpr int kThreads = 256;  // eight warps
constexpr unsigned kAll = 0xffffffffU;

// What a kernel is given. bug: which is in it, 0: none. in: 0, 1, 2 ... for a block; out and mail: -1, for every thread of
// the launch; ints: zeros.
struct At {
  int bug;
  const float* in;
  float *out, *mail;
  int* ints;
};
struct Shape {
  unsigned blocks = 1;
  std::size_t shared = 2 * kThreads * sizeof(float);
  unsigned cluster = 1;
  bool cooperative = false;
};
template <class F>
__global__ void run_kernel(At at) {
  F()(at);
}
// Whether the kernel leaves want(i) in each out[i].
template <class F>
bool gives(int (*want)(int), int bug, Shape shape, const float* other_in = nullptr) {
  std::vector<float> ramp(kThreads), nothing(shape.blocks * kThreads, -1.0F);
  for (int i = 0; i < kThreads; ++i) ramp[i] = static_cast<float>(i);
  const Array<float> in(ramp), mail(nothing), out(nothing);
  const Array<int> ints(std::vector<int>(32, 0));
  cudaLaunchAttribute attributes[2]{{cudaLaunchAttributeCooperative}, {cudaLaunchAttributeClusterDimension}};
  attributes[0].val.cooperative = shape.cooperative;
  attributes[1].val.clusterDim = {shape.cluster, 1, 1};
  const cudaLaunchConfig_t config{dim3(shape.blocks), dim3(kThreads), shape.shared, nullptr, attributes, 2};
  check(cudaLaunchKernelEx(&config, run_kernel<F>,
                           At{bug, other_in != nullptr ? other_in : in.data, out.data, mail.data, ints.data}));
  const std::vector<float> got = out.host();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] != static_cast<float>(want(static_cast<int>(i)))) return false;
  }
  return true;
}
int same(int i) { return i % kThreads; }
int reversed(int i) { return kThreads - 1 - i % kThreads; }
int one(int) { return 1; }

__device__ int me() { return static_cast<int>(threadIdx.x); }
__device__ int lane() { return me() % 32; }
__device__ int block() { return static_cast<int>(blockIdx.x); }
__device__ int mine() { return block() * kThreads + me(); }
__device__ float* tile() {  // dynamic shared memory
  extern __shared__ __align__(16) float bytes[];
  return bytes;
}
__device__ int& counter() { return *reinterpret_cast<int*>(tile()); }
__device__ void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

struct Bug {
  std::string name;
  const char* must_say = "race: ";
};
struct Case {  // a kernel, or something the host does; its bugs have the numbers 1, 2 ...
  std::function<bool(int bug)> run;
  std::vector<Bug> bugs;
};
template <class F>
Case kernel(int (*want)(int), std::vector<Bug> bugs, Shape shape = {}) {
  return {[=](int bug) { return gives<F>(want, bug, shape); }, std::move(bugs)};
}
constexpr char kBounds[] = "out of bounds", kDiverged[] = "divergent barrier", kDeadlock[] = "DEADLOCK",
               kRefused[] = "cudaErrorInvalidValue";

struct Addresses {
  __device__ void operator()(const At& at) const {
    __shared__ float own[kThreads];
    float best[4] = {};
    const float* from = at.in + me() + (at.bug == 1 ? 1 : 0);
    if (at.bug == 2 && me() == 9) from = nullptr;
    if (at.bug == 10 && me() == 9) from = reinterpret_cast<const float*>(-sizeof(float));
    asm volatile("" : "+l"(from));  // of which the compiler knows nothing
    own[me()] = *from;
    if (at.bug == 3 && me() == 0) at.out[-1] = 0;
    const float4 four = reinterpret_cast<const float4*>(at.in + (at.bug == 4 ? 1 : 0))[me() % 8];
    __syncthreads();
    if (at.bug != 5 || me() != 7) tile()[me()] = own[me() + (at.bug == 6 ? 1 : 0)];
    if (at.bug == 7 && me() == 0) tile()[kThreads] = 0;
    for (int i = 0; i <= (at.bug == 8 ? me() : me() % 4); ++i) best[i] = four.x + four.y + four.z + four.w;
    if (at.bug == 9 && me() == 77) __trap();
    at.out[me()] = tile()[me()] + best[at.bug == 8 ? 0 : me() % 4] * 0;
  }
};
struct BlockBarriers {
  __device__ void operator()(const At& at) const {
    const auto barrier_but_for = [&](int bug) {
      if (at.bug != bug) __syncthreads();
    };
    float *a = tile(), *b = tile() + kThreads, sum = 0;
    b[me()] = 0;
    a[me() + (at.bug == 1 ? 1 : 0)] = 0;
    __syncthreads();
    for (int step = 0; step < 2; ++step) {
      a[me()] = at.in[me()];
      barrier_but_for(2);
      sum += a[kThreads - 1 - me()];
      barrier_but_for(3);
    }
    bool right = sum == 2 * at.in[kThreads - 1 - me()] && a[0] == 0;
    barrier_but_for(4);
    // In forward order this thread is the last: no read that comes after it can betray it.
    if (me() == kThreads - 2) a[0] = -1;
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (at.bug != 5 || half != 16) __syncthreads();
      if (me() < half) a[me()] = min(a[me()], a[me() + half]);
    }
    __syncthreads();
    if (me() == kThreads - 1) a[1] = 7;
    barrier_but_for(6);
    right &= a[0] == -1 && a[1] == 7;
    __syncthreads();
    if (me() == 64) counter() = 0;
    barrier_but_for(7);
    if (at.bug == 8)
      counter() += 1;
    else
      atomicAdd(&counter(), 1);
    __syncthreads();
    at.out[me()] = right && counter() == kThreads ? at.in[me()] : -1;
  }
};
struct SharedMemory {
  __device__ void operator()(const At& at) const {
    float *from = tile(), *to = tile() + kThreads;
    from[me()] = at.in[me()];
    __syncthreads();
    for (int step = 0; step < 4; ++step) {
      to[me()] = from[(me() + kThreads / 4) % kThreads];
      if (at.bug != 1 || step % 2 == 0) __syncthreads();
      float* const read = from;
      from = to;
      to = read;
    }
    const float value = from[me()];
    __syncthreads();
    using Scan = cub::BlockScan<int, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
    auto& storage = *reinterpret_cast<Scan::TempStorage*>(tile());
    int a, b;
    Scan(storage).ExclusiveSum(1, a);
    if (at.bug != 2) __syncthreads();
    Scan(storage).ExclusiveSum(2, b);
    auto* bytes = reinterpret_cast<unsigned char*>(at.out);
    for (int i = 0; i < 4; ++i) bytes[i * kThreads + me()] = 0;  // the four bytes of a float by four threads
    if (at.bug == 3 && me() == 5) bytes[6] = 0;
    __syncthreads();
    at.out[me()] = a == me() && b == 2 * me() ? value : -1;
  }
};
// Blocks take jobs from a queue until there are none.
struct JobQueue {
  __device__ void operator()(const At& at) const {
    for (;;) {
      if (me() == 0) counter() = atomicAdd(at.ints, 1);
      __syncthreads();
      const int job = counter();
      if (at.bug != 1) __syncthreads();
      if (job >= 3) return;
      at.out[job * kThreads + me()] = at.in[me()];
    }
  }
};
struct WarpBarriers {
  __device__ void operator()(const At& at) const {
    tile()[me()] = -1;
    __syncthreads();
    tile()[me()] = at.in[me()];
    if (at.bug == 1) __shfl_sync(kAll, me(), 0);
    if (at.bug != 1 && at.bug != 2) __syncwarp(at.bug != 3 ? kAll : lane() < 16 ? 0x0000ffffU : 0xffff0000U);
    const float other = tile()[lane() < 16 ? me() : me() - 16];  // of one half, which reads nothing of the other
    if (at.bug != 4) __syncwarp();
    tile()[me()] = other + (lane() < 16 ? 0 : 16);
    if (at.bug != 5) __syncwarp();
    at.out[me()] = tile()[me() ^ 1] + (lane() % 2 == 0 ? -1 : 1);
  }
};

// mail[0] becomes the sum of the blocks' numbers, added by the block that finishes last, and out 1 where it is right.
struct LastBlock {
  __device__ void operator()(const At& at) const {
    at.out[mine()] = 1;
    if (me() == 0) {
      at.mail[block()] = static_cast<float>(block());
      if (at.bug != 1) __threadfence();
      counter() = atomicAdd(at.ints, 1) == static_cast<int>(gridDim.x) - 1 ? 1 : 0;
      if (at.bug != 2) __threadfence();
    }
    __syncthreads();
    if (counter() == 0 || me() != 33) return;
    float all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) all += at.mail[i];
    at.out[mine()] = all == 28 ? 1 : 0;
  }
};
struct BetweenBlocks {
  __device__ void operator()(const At& at) const {
    at.out[mine()] = at.in[me()] + static_cast<float>(at.ints[1]);
    if (me() == 32 && block() == 5) at.ints[at.bug == 1 ? 1 : 2] = 7;
    if (me() == 0 && at.bug == 2) at.ints[0] += 1;
    if (me() == 0 && at.bug != 2) atomicAdd(at.ints, 1);
    __syncthreads();
    if ((at.bug == 3 ? at.ints[0] : atomicAdd(at.ints, 0)) == 0) at.out[mine()] = -1;
    while (at.bug == 4 && atomicAdd(at.ints + 3, 0) == 0) {
    }
  }
};
// Each block of a cluster of four passes its numbers to the next one.
struct PassOnInCluster {
  __device__ void operator()(const At& at) const {
    const int next = block() / 4 * 4 + (block() + 1) % 4;
    at.mail[next * kThreads + me()] = at.in[me()];
    if (at.bug == 1) __syncthreads();
    // In the second case the threads that go past it race before anyone waits in vain.
    if (at.bug == 0 || (at.bug == 2 && (block() % 4 != 3 || me() != 5))) cluster_barrier();
    at.out[mine()] = at.mail[block() * kThreads + kThreads - 1 - me()];
  }
};
// The same round the whole grid, behind a barrier made of an atomic counter.
struct PassOnInGrid {
  __device__ void operator()(const At& at) const {
    const int blocks = static_cast<int>(gridDim.x), next = (block() + 1) % blocks;
    at.mail[next * kThreads + me()] = at.in[me()];
    __syncthreads();
    if (me() == 0) {
      if (at.bug != 1) __threadfence();
      atomicAdd(at.ints, 1);
      while (atomicAdd(at.ints, 0) < blocks) {
      }
      if (at.bug != 2) __threadfence();
    }
    if (at.bug != 3) __syncthreads();
    at.out[mine()] = at.mail[block() * kThreads + kThreads - 1 - me()];
  }
};

struct Divergence {
  __device__ void operator()(const At& at) const {
    float value = at.in[me()];
    if (at.bug != 1 || me() < 64) __syncthreads();
    if (at.bug == 2 && lane() >= 16) {
      __syncwarp();
    } else {
      __syncthreads();
    }
    if (at.bug == 3 && me() == kThreads - 1) return;
    __syncthreads();
    if (at.bug == 4 && me() < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
    for (int i = 0; i < (at.bug == 5 ? 1 + me() / 32 : 4); ++i) __syncthreads();
    if (lane() < (at.bug == 6 ? 17 : 16)) value = __shfl_sync(0x0000ffffU, value, at.bug == 7 ? 20 : lane());
    value = __shfl_sync(at.bug == 8 && lane() == 5 ? 0x7fffffffU : kAll, value, lane());
    if (at.bug != 9 || me() % 2 == 0) value = __shfl_sync(kAll, value, lane());
    at.out[me()] = value;
  }
};
struct Copy {
  __device__ void operator()(const At& at) const { at.out[mine()] = at.in[me()]; }
};

// What the host does wrong.
const std::vector<float> ones(kThreads, 1.0F);
bool more_shared(int bug) { return gives<Copy>(same, 0, {1, std::vector{49152UL, 49156UL, 1UL << 32}[bug]}); }
bool clusters(int bug) { return gives<Copy>(same, 0, {1, 0, bug != 0 ? 0U : 1U}); }
bool less_shared(int bug) { return gives<Addresses>(same, 0, {1, kThreads * sizeof(float) - (bug != 0 ? 4 : 0)}); }
bool freed(int bug) {
  auto in = std::make_unique<Array<float>>(ones);
  float* const data = in->data;
  if (bug != 0) in.reset();
  return gives<Copy>(one, 0, {}, data);
}
bool host_memory(int bug) {
  const Array<float> in(ones);
  return gives<Copy>(one, 0, {}, bug != 0 ? ones.data() : in.data);
}
bool unwritten(int bug) {
  const Array<float> in = bug != 0 ? Array<float>(kThreads) : Array<float>(ones);
  return gives<Copy>(one, 0, {}, in.data);
}
bool device_memory(int bug) {
  const Array<float> in(ones);
  return (bug != 0 ? in.data[3] : in.host()[3]) == 1;
}
bool copy(int bug) {
  const Array<float> in(ones);
  std::vector<float> host(kThreads + 1);
  check(cudaMemcpy(host.data(), in.data, (kThreads + (bug != 0 ? 1 : 0)) * sizeof(float), cudaMemcpyDeviceToHost));
  return host[5] == 1;
}
bool large_grid(int bug) {
  return gives<PassOnInGrid>(reversed, 0, {bug != 0 ? 2048U / kThreads * 132U + 1U : 6U, 0, 1, true});
}

// clang-format off
std::vector<Case> cases() {
  return {
      kernel<Addresses>(same, {
          {"global-read-past-end", kBounds}, {"null-pointer", "null\\)"}, {"global-write-before-start", kBounds},
          {"misaligned-float4", "misaligned address"}, {"uninitialised-shared-read", "that nobody has written"},
          {"static-shared-overflow", kBounds}, {"dynamic-shared-overflow", kBounds}, {"local-array-overflow", kBounds},
          {"trap", "trap"}, {"null-pointer-minus-one", kBounds}}, {1, kThreads * sizeof(float)}),
      {more_shared, {{"shared-beyond-48-KiB-unasked", kRefused}, {"shared-of-4-GiB", kRefused}}},
      {clusters, {{"cluster-of-no-block", "cudaErrorInvalidClusterSize"}}},
      {less_shared, {{"shared-smaller-than-its-array", kBounds}}},
      {freed, {{"use-after-free", "FREED"}}},
      {host_memory, {{"kernel-reads-host-memory", "no device memory"}}},
      {unwritten, {{"uninitialised-global-read", "uninitialised memory"}}},
      {device_memory, {{"host-reads-device-memory", "host code touched"}}},
      {copy, {{"copy-past-end", kRefused}}},
      {large_grid, {{"grid-barrier-of-too-many-blocks", "cudaErrorCooperativeLaunchTooLarge"}}},
      kernel<BlockBarriers>(same, {
          {"shared-member-overflow"}, {"no-syncthreads-after-load"}, {"no-syncthreads-before-reload"},
          {"no-syncthreads-before-overwrite"}, {"no-syncthreads-in-reduction"}, {"no-syncthreads-before-broadcast"},
          {"no-syncthreads-after-clear"}, {"plain-sum-in-shared"}}),
      kernel<SharedMemory>(same, {
          {"no-syncthreads-between-buffers"}, {"cub-storage-used-again"}, {"bytes-that-overlap"}}),
      kernel<JobQueue>(same, {{"no-syncthreads-in-job-queue"}}, {3}),
      kernel<WarpBarriers>(same, {
          {"shuffle-taken-for-syncwarp"}, {"no-syncwarp-after-write"}, {"syncwarp-of-half-a-warp"},
          {"no-syncwarp-before-write"}, {"no-syncwarp-before-read"}}),
      kernel<LastBlock>(one, {{"no-threadfence-before-atomic"}, {"no-threadfence-after-atomic"}}, {8}),
      kernel<BetweenBlocks>(same, {
          {"write-of-what-other-blocks-read"}, {"plain-sum-between-blocks"}, {"plain-read-of-an-atomic"},
          {"waits-for-ever", "TIME LIMIT"}}, {8}),
      kernel<PassOnInCluster>(reversed, {
          {"no-cluster-barrier"}, {"cluster-barrier-in-a-branch"}}, {8, 0, 4}),
      kernel<PassOnInGrid>(reversed, {
          {"no-threadfence-before-grid-barrier"}, {"no-threadfence-after-grid-barrier"},
          {"no-syncthreads-after-grid-barrier"}}, {6, 0, 1, true}),
      kernel<Divergence>(same, {
          {"syncthreads-in-a-branch", kDiverged}, {"syncthreads-of-half-a-warp", kDeadlock},
          {"syncthreads-after-a-return", kDiverged}, {"syncthreads-of-two-branches", kDiverged},
          {"syncthreads-in-unequal-loops", kDiverged}, {"lane-outside-its-mask", "not in its own member mask"},
          {"shuffle-from-outside-the-mask", "does not take part"}, {"masks-that-differ", kDeadlock},
          {"shuffle-in-a-branch", "lanes that have returned"}}),
  };
}
// clang-format on

TEST(SeededBugs, EachIsReportedAndNothingElse) {
  for (const Case& c : cases()) {
    EXPECT_EXIT(std::_Exit(c.run(0) ? 0 : 3), testing::ExitedWithCode(0), "") << "without " << c.bugs[0].name;
    for (std::size_t i = 0; i < c.bugs.size(); ++i)
      EXPECT_DEATH(std::_Exit(c.run(static_cast<int>(i) + 1) ? 0 : 3), c.bugs[i].must_say) << c.bugs[i].name;
  }
}

}  // namespace
