// Small kernels, each with one bug that `bug` puts in, and what the machine must report of it under PTX_RACE=1,
// PTX_INITCHECK=1 and a PTX_LIMIT. Without its bug each must give the right result without a report.
//
//   seeded_bugs                  runs all, each in a process of its own, and prints a table; 1: something was not as it must
//   seeded_bugs NAME bug|fixed   runs one: 0 right result, 3 wrong result, else the report ended the process
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cub/block/block_scan.cuh>
#include <functional>
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

// What a kernel is given. in: 0, 1, 2 ... for a block; out and mail: -1, for every thread of the launch; ints: zeros.
struct At {
  bool bug;
  const float* in;
  float *out, *mail;
  int* ints;
};
enum class Together { no, cluster, grid };
struct Shape {
  unsigned blocks = 1;
  std::size_t shared = 2 * kThreads * sizeof(float);
  Together together = Together::no;
};
template <class F>
__global__ void run_kernel(F f, At at) {
  f(at);
}
// Whether the kernel leaves want(i) in each out[i].
template <class F>
bool gives(F f, bool bug, int (*want)(int), Shape shape, const float* other_in = nullptr) {
  std::vector<float> ramp(kThreads), nothing(shape.blocks * kThreads, -1.0F);
  for (int i = 0; i < kThreads; ++i) ramp[static_cast<std::size_t>(i)] = static_cast<float>(i);
  const Device<float> in(ramp), mail(nothing), out(nothing);
  const Device<int> ints(std::vector<int>(32, 0));
  cudaLaunchAttribute attribute{};
  attribute.id =
      shape.together == Together::grid ? cudaLaunchAttributeCooperative : cudaLaunchAttributeClusterDimension;
  if (shape.together == Together::grid)
    attribute.val.cooperative = 1;
  else
    attribute.val.clusterDim = {4, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shape.shared;
  config.attrs = &attribute;
  config.numAttrs = shape.together == Together::no ? 0 : 1;
  const At at{bug, other_in != nullptr ? other_in : in.data(), out.data(), mail.data(), ints.data()};
  check(cudaLaunchKernelEx(&config, run_kernel<F>, f, at));
  const std::vector<float> got = out.host();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] != static_cast<float>(want(static_cast<int>(i)))) return false;
  }
  return true;
}
int same(int i) { return i % kThreads; }
int reversed(int i) { return kThreads - 1 - i % kThreads; }
int zero(int) { return 0; }
int one(int) { return 1; }

__device__ int me() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }
__device__ int mine() { return block() * kThreads + me(); }
__device__ float* tile() {  // dynamic shared memory
  extern __shared__ __align__(16) float bytes[];
  return bytes;
}
__device__ int& counter() { return *reinterpret_cast<int*>(tile()); }
struct TwoTiles {
  float a[kThreads], b[kThreads];
};
__device__ void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

struct Case {
  std::string name;
  const char* must_say;  // null: the case has no bug
  std::function<bool(bool bug)> run;
};
class Cases {
 public:
  template <class F>
  void kernel(const char* name, const char* must_say, int (*want)(int), F f, Shape shape = {}) {
    all.push_back({name, must_say, [=](bool bug) { return gives(f, bug, want, shape); }});
  }
  void host(const char* name, const char* must_say, bool (*run)(bool)) { all.push_back({name, must_say, run}); }
  std::vector<Case> all;
};
constexpr char kBounds[] = "out of bounds", kRace[] = "race: ", kDiverged[] = "divergent barrier",
               kRefused[] = "cudaErrorInvalidValue";
constexpr Shape kOneTile{1, kThreads * sizeof(float)};

struct SharedOverflow {
  __device__ void operator()(const At& at) const {
    tile()[me()] = at.in[me()];
    if (at.bug && me() == 0) tile()[kThreads] = 0;
    at.out[me()] = tile()[me()];
  }
};
void addresses(Cases& to) {
  to.kernel("global-read-past-end", kBounds, same, [] __device__(const At& at) {
    const float next = at.bug || me() + 1 < kThreads ? at.in[me() + 1] : 0;
    at.out[me()] = next >= 0 ? at.in[me()] : 0;
  });
  to.kernel("global-write-before-start", kBounds, same, [] __device__(const At& at) {
    at.out[me()] = at.in[me()];
    if (at.bug && me() == 0) at.out[-1] = 0;
  });
  to.kernel("null-pointer", "(null)", same, [] __device__(const At& at) {
    const float* from = at.bug && me() == 9 ? nullptr : at.in + me();
    asm volatile("" : "+l"(from));
    at.out[me()] = *from;
  });
  to.kernel("dynamic-shared-overflow", kBounds, same, SharedOverflow(), kOneTile);
  to.host("shared-smaller-than-its-array", kBounds, [](bool bug) {
    return gives(SharedOverflow(), false, same, {1, kThreads * sizeof(float) - (bug ? 4 : 0)});
  });
  to.kernel("static-shared-overflow", kBounds, same, [] __device__(const At& at) {
    __shared__ float own[kThreads];
    own[me()] = at.in[me()];
    __syncthreads();
    at.out[me()] = own[me() + (at.bug ? 1 : 0)];
  });
  to.kernel("shared-member-overflow", kRace, same, [] __device__(const At& at) {
    TwoTiles& tiles = *reinterpret_cast<TwoTiles*>(tile());
    tiles.b[me()] = 0;
    tiles.a[me() + (at.bug ? 1 : 0)] = at.in[me()];
    at.out[me()] = tiles.a[me() + (at.bug ? 1 : 0)];
  });
  to.kernel("local-array-overflow", kBounds, same, [] __device__(const At& at) {
    float best[4] = {};
    for (int i = 0; i <= (at.bug ? me() : me() % 4); ++i) best[i] = at.in[me()];
    at.out[me()] = best[at.bug ? 0 : me() % 4];
  });
  to.kernel("misaligned-float4", "misaligned address", same, [] __device__(const At& at) {
    const float4 four = reinterpret_cast<const float4*>(at.in + (at.bug ? 1 : 0))[me() % 8];
    at.out[me()] = (four.x + four.y + four.z + four.w) * 0 + at.in[me()];
  });
  to.kernel("uninitialised-shared-read", "that nobody has written", reversed, [] __device__(const At& at) {
    if (!at.bug || me() != 7) tile()[me()] = at.in[me()];
    __syncthreads();
    at.out[me()] = tile()[kThreads - 1 - me()];
  });
  to.kernel("trap", "trap", same, [] __device__(const At& at) {
    at.out[me()] = at.in[me()];
    if (at.bug && me() == 77) __trap();
  });
}

// What the host does wrong.
struct Copy {
  __device__ void operator()(const At& at) const { at.out[mine()] = at.in[me()]; }
};
void hosts(Cases& to) {
  to.host("shared-beyond-48-KiB-unasked", kRefused, [](bool bug) {
    return gives(Copy(), bug, same, {1, (std::size_t{48} << 10) + (bug ? 4 : 0)});
  });
  to.host("use-after-free", "FREED", [](bool bug) {
    Device<float>* in = new Device<float>(std::vector<float>(kThreads, 1.0F));
    float* const data = in->data();
    if (bug) delete in;
    return gives(Copy(), bug, one, {}, data);
  });
  to.host("kernel-reads-host-memory", "no device memory", [](bool bug) {
    const std::vector<float> host(kThreads, 1.0F);
    const Device<float> in(host);
    return gives(Copy(), bug, one, {}, bug ? host.data() : in.data());
  });
  to.host("uninitialised-global-read", "uninitialised memory", [](bool bug) {
    float* in = nullptr;
    check(cudaMalloc(&in, kThreads * sizeof(float)));
    if (!bug) check(cudaMemset(in, 0, kThreads * sizeof(float)));
    return gives(Copy(), bug, zero, {}, in);
  });
  to.host("host-reads-device-memory", "host code touched", [](bool bug) {
    const Device<float> in(std::vector<float>(kThreads, 3.0F));
    return (bug ? in.data()[3] : in.host()[3]) == 3;
  });
  to.host("copy-past-end", kRefused, [](bool bug) {
    const Device<float> in(std::vector<float>(kThreads, 5.0F));
    std::vector<float> host(kThreads + 1);
    check(cudaMemcpy(host.data(), in.data(), (kThreads + (bug ? 1 : 0)) * sizeof(float), cudaMemcpyDeviceToHost));
    return host[5] == 5;
  });
}

void block_barriers(Cases& to) {
  to.kernel("no-syncthreads-after-load", kRace, reversed, [] __device__(const At& at) {
    tile()[me()] = 0;
    __syncthreads();
    tile()[me()] = at.in[me()];
    if (!at.bug) __syncthreads();
    at.out[me()] = tile()[kThreads - 1 - me()];
  });
  to.kernel("no-syncthreads-before-reload", kRace, reversed, [] __device__(const At& at) {
    float sum = 0;
    for (int step = 0; step < 2; ++step) {
      tile()[me()] = at.in[me()];
      __syncthreads();
      sum += tile()[kThreads - 1 - me()];
      if (!at.bug) __syncthreads();
    }
    at.out[me()] = sum / 2;
  });
  to.kernel("no-syncthreads-before-overwrite", kRace, zero, [] __device__(const At& at) {
    tile()[me()] = at.in[me()];
    __syncthreads();
    at.out[me()] = tile()[0];
    if (!at.bug) __syncthreads();
    // In forward order this thread is the last: no read that comes after it can betray it.
    if (me() == kThreads - 2) tile()[0] = -1;
  });
  to.kernel("no-syncthreads-in-reduction", kRace, zero, [] __device__(const At& at) {
    tile()[me()] = at.in[me()];
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (me() < half) tile()[me()] = min(tile()[me()], tile()[me() + half]);
      if (!at.bug || half != 32) __syncthreads();
    }
    at.out[me()] = tile()[0];
  });
  to.kernel("no-syncthreads-before-broadcast", kRace, zero, [] __device__(const At& at) {
    tile()[me()] = -1;
    __syncthreads();
    if (me() == kThreads - 1) tile()[0] = at.in[0];
    if (!at.bug) __syncthreads();
    at.out[me()] = tile()[0];
  });
  to.kernel("no-syncthreads-after-clear", kRace, zero, [] __device__(const At& at) {
    if (me() == 64) counter() = 0;
    if (!at.bug) __syncthreads();
    atomicAdd(&counter(), 1);
    __syncthreads();
    at.out[me()] = static_cast<float>(counter() - kThreads);
  });
  to.kernel("no-syncthreads-between-buffers", kRace, same, [] __device__(const At& at) {
    float *from = tile(), *to = tile() + kThreads;
    from[me()] = at.in[me()];
    __syncthreads();
    for (int step = 0; step < 4; ++step) {
      to[me()] = from[(me() + kThreads / 4) % kThreads];
      if (!at.bug || step % 2 == 0) __syncthreads();
      float* const read = from;
      from = to;
      to = read;
    }
    at.out[me()] = from[me()];
  });
}
void shared_memory(Cases& to) {
  // Blocks take jobs from a queue until there are none.
  const auto queue = [] __device__(const At& at) {
    for (;;) {
      if (me() == 0) counter() = atomicAdd(at.ints, 1);
      __syncthreads();
      const int job = counter();
      if (!at.bug) __syncthreads();
      if (job >= 3) return;
      at.out[job * kThreads + me()] = at.in[me()];
    }
  };
  to.kernel("no-syncthreads-in-job-queue", kRace, same, queue, {3});
  to.kernel("cub-storage-used-again", kRace, same, [] __device__(const At& at) {
    using Scan = cub::BlockScan<int, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
    auto& storage = *reinterpret_cast<Scan::TempStorage*>(tile());
    int a, b;
    Scan(storage).ExclusiveSum(1, a);
    if (!at.bug) __syncthreads();
    Scan(storage).ExclusiveSum(2, b);
    at.out[me()] = static_cast<float>(b - a);
  });
  to.kernel("plain-sum-in-shared", kRace, zero, [] __device__(const At& at) {
    if (me() == 0) counter() = 0;
    __syncthreads();
    if (at.bug)
      counter() += 1;
    else
      atomicAdd(&counter(), 1);
    __syncthreads();
    at.out[me()] = static_cast<float>(counter() - kThreads);
  });
  to.kernel("bytes-that-overlap", kRace, same, [] __device__(const At& at) {
    auto* bytes = reinterpret_cast<unsigned char*>(at.out);
    for (int i = 0; i < 4; ++i) bytes[i * kThreads + me()] = 0;  // the four bytes of a float by four threads
    if (at.bug && me() == 5) bytes[6] = 0;
    __syncthreads();
    at.out[me()] = at.in[me()];
  });
}

void warp_barriers(Cases& to) {
  to.kernel("no-syncwarp-after-write", kRace, same, [] __device__(const At& at) {
    tile()[me()] = -1;
    __syncthreads();
    tile()[me()] = at.in[me()];
    if (!at.bug) __syncwarp();
    const float other = tile()[me() ^ 1];
    __syncwarp();
    tile()[me()] = other;
    __syncwarp();
    at.out[me()] = tile()[me() ^ 1];
  });
  to.kernel("no-syncwarp-before-write", kRace, same, [] __device__(const At& at) {
    tile()[me()] = at.in[me()];
    __syncwarp();
    const float smallest = min(tile()[me()], tile()[me() ^ 16]);
    if (!at.bug) __syncwarp();
    tile()[me()] = smallest;
    __syncwarp();
    at.out[me()] = tile()[me()] + static_cast<float>(me() & 16);
  });
  const auto below = [](int i) { return i % 32 < 16 ? i : i - 16; };
  to.kernel("syncwarp-of-half-a-warp", kRace, below, [] __device__(const At& at) {
    tile()[me()] = -1;
    __syncthreads();
    tile()[me()] = at.in[me()];
    __syncwarp(!at.bug ? kAll : me() % 32 < 16 ? 0x0000ffffU : 0xffff0000U);
    at.out[me()] = tile()[me() % 32 < 16 ? me() : me() - 16];  // one half reads of the other, which reads nothing of it
  });
  const auto across = [](int i) { return i / 32 * 32 + 31 - i % 32; };
  to.kernel("shuffle-taken-for-syncwarp", kRace, across, [] __device__(const At& at) {
    tile()[me()] = -1;
    __syncthreads();
    tile()[me()] = at.in[me()];
    if (at.bug)
      __shfl_sync(kAll, me(), 0);
    else
      __syncwarp();
    at.out[me()] = tile()[me() / 32 * 32 + 31 - me() % 32];
  });
}

// mail[0] becomes the sum of the blocks' numbers, added by the block that finishes last, and out 1 where it is right.
template <int kBug>
void last_block(Cases& to, const char* name) {
  const auto sum = [] __device__(const At& at) {
    at.out[mine()] = 1;
    if (me() == 0) {
      at.mail[block()] = static_cast<float>(block());
      if (!at.bug || kBug != 1) __threadfence();
      counter() = atomicAdd(at.ints, 1) == static_cast<int>(gridDim.x) - 1 ? 1 : 0;
      if (!at.bug || kBug != 2) __threadfence();
    }
    __syncthreads();
    if (counter() == 0 || me() != 33) return;
    float all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) all += at.mail[i];
    at.out[mine()] = all == 28 ? 1 : 0;
  };
  to.kernel(name, kRace, one, sum, {8});
}
void between_blocks(Cases& to) {
  last_block<1>(to, "no-threadfence-before-atomic");
  last_block<2>(to, "no-threadfence-after-atomic");
  const auto sum = [] __device__(const At& at) {
    at.out[mine()] = at.in[me()];
    if (me() != 0) return;
    if (at.bug)
      *at.ints += 1;
    else
      atomicAdd(at.ints, 1);
  };
  to.kernel("plain-sum-between-blocks", kRace, same, sum, {8});
  const auto overwrite = [] __device__(const At& at) {
    at.out[mine()] = static_cast<float>(at.ints[0]);
    if (me() == 32 && block() == 5) at.ints[at.bug ? 0 : 1] = 7;
  };
  to.kernel("write-of-what-other-blocks-read", kRace, zero, overwrite, {6});
  const auto read = [] __device__(const At& at) {
    if (me() == 0) atomicAdd(at.ints, 1);
    __syncthreads();
    at.out[mine()] = (at.bug ? *at.ints : atomicAdd(at.ints, 0)) > 0 ? 1 : 0;
  };
  to.kernel("plain-read-of-an-atomic", kRace, one, read, {4});
  to.kernel("waits-for-ever", "TIME LIMIT", same, [] __device__(const At& at) {
    while (at.bug && atomicAdd(at.ints, 0) == 0) {
    }
    at.out[me()] = at.in[me()];
  });
}

void divergence(Cases& to) {
  to.kernel("syncthreads-in-a-branch", kDiverged, same, [] __device__(const At& at) {
    if (!at.bug || me() < 64) __syncthreads();
    at.out[me()] = at.in[me()];
  });
  to.kernel("syncthreads-of-half-a-warp", "DEADLOCK", same, [] __device__(const At& at) {
    if (!at.bug || me() % 32 < 16) {
      __syncthreads();
    } else {
      __syncwarp();
    }
    at.out[me()] = at.in[me()];
  });
  to.kernel("syncthreads-after-a-return", kDiverged, same, [] __device__(const At& at) {
    at.out[me()] = at.in[me()];
    if (at.bug && me() == kThreads - 1) return;
    __syncthreads();
  });
  to.kernel("syncthreads-of-two-branches", kDiverged, same, [] __device__(const At& at) {
    if (at.bug && me() < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
    at.out[me()] = at.in[me()];
  });
  to.kernel("syncthreads-in-unequal-loops", kDiverged, same, [] __device__(const At& at) {
    for (int i = 0; i < (at.bug ? 1 + me() / 32 : 4); ++i) __syncthreads();
    at.out[me()] = at.in[me()];
  });
  to.kernel("shuffle-in-a-branch", "lanes that have returned", zero, [] __device__(const At& at) {
    float value = at.in[me()];
    if (!at.bug || me() % 2 == 0) value = __shfl_sync(kAll, value, 0);
    at.out[me()] = value * 0;
  });
  to.kernel("lane-outside-its-mask", "not in its own member mask", same, [] __device__(const At& at) {
    if (me() % 32 < (at.bug ? 17 : 16)) at.out[me()] = __shfl_sync(0x0000ffffU, at.in[me()], me() % 16);
    at.out[me()] = at.in[me()];
  });
  to.kernel("shuffle-from-outside-the-mask", "does not take part", zero, [] __device__(const At& at) {
    float value = at.in[me()];
    if (me() % 32 < 16) value = __shfl_sync(0x0000ffffU, value, at.bug ? 20 : 3);
    at.out[me()] = value * 0;
  });
  to.kernel("masks-that-differ", "DEADLOCK", same, [] __device__(const At& at) {
    at.out[me()] = __shfl_sync(at.bug && me() % 32 == 5 ? 0x7fffffffU : kAll, at.in[me()], me() % 32);
  });
}

// Each block of a cluster of four passes its numbers to the next one.
template <int kBug>
void pass_on_in_cluster(Cases& to, const char* name) {
  const auto pass_on = [] __device__(const At& at) {
    const int next = block() / 4 * 4 + (block() + 1) % 4, bug = at.bug ? kBug : 0;
    at.mail[next * kThreads + me()] = at.in[me()];
    if (bug == 1) __syncthreads();
    if (bug == 0 || (bug == 2 && (block() % 4 != 3 || me() != 5))) cluster_barrier();
    at.out[mine()] = at.mail[block() * kThreads + kThreads - 1 - me()];
  };
  to.kernel(name, kRace, reversed, pass_on, {8, 0, Together::cluster});
}
// The same round the whole grid, behind a barrier made of an atomic counter.
template <int kBug>
struct PassOnInGrid {
  __device__ void operator()(const At& at) const {
    const int blocks = static_cast<int>(gridDim.x), next = (block() + 1) % blocks, bug = at.bug ? kBug : 0;
    at.mail[next * kThreads + me()] = at.in[me()];
    __syncthreads();
    if (me() == 0) {
      if (bug != 1) __threadfence();
      atomicAdd(at.ints, 1);
      while (atomicAdd(at.ints, 0) < blocks) {
      }
      if (bug != 2) __threadfence();
    }
    if (bug != 3) __syncthreads();
    at.out[mine()] = at.mail[block() * kThreads + kThreads - 1 - me()];
  }
};
void together(Cases& to) {
  constexpr Shape kGrid{6, 0, Together::grid};
  pass_on_in_cluster<1>(to, "no-cluster-barrier");
  pass_on_in_cluster<2>(to,
                        "cluster-barrier-in-a-branch");  // the threads that go past it race before anyone waits in vain
  to.kernel("no-threadfence-before-grid-barrier", kRace, reversed, PassOnInGrid<1>(), kGrid);
  to.kernel("no-threadfence-after-grid-barrier", kRace, reversed, PassOnInGrid<2>(), kGrid);
  to.kernel("no-syncthreads-after-grid-barrier", kRace, reversed, PassOnInGrid<3>(), kGrid);
  to.host("grid-barrier-of-too-many-blocks", "cudaErrorCooperativeLaunchTooLarge", [](bool bug) {
    return gives(PassOnInGrid<0>(), bug, reversed, {bug ? 2048U / kThreads * 132U + 1U : 6U, 0, Together::grid});
  });
}

// Right in every way: what the cases above do not use.
void nothing_wrong(Cases& to) {
  to.kernel("warp operations, all right", nullptr, zero, [] __device__(const At& at) {
    const int lane = me() % 32;
    const unsigned odd = __ballot_sync(kAll, lane % 2);
    const float up = __shfl_up_sync(kAll, at.in[me()], 1), down = __shfl_down_sync(kAll, at.in[me()], 1, 8);
    const float across = __shfl_xor_sync(kAll, at.in[me()], 31);
    const unsigned alike = __match_any_sync(kAll, lane / 4);
    const int sum = __reduce_add_sync(kAll, lane), voted = __syncthreads_count(me() < 10);
    const bool right = odd == 0xaaaaaaaaU && up == static_cast<float>(lane == 0 ? me() : me() - 1) &&
                       down == static_cast<float>(lane % 8 == 7 ? me() : me() + 1) &&
                       across == static_cast<float>(me() / 32 * 32 + 31 - lane) && alike == 0xfU << lane / 4 * 4 &&
                       sum == 496 && voted == 10 && __all_sync(kAll, lane < 32) != 0 &&
                       __any_sync(kAll, lane == 32) == 0;
    at.out[me()] = right ? 0.0F : 1.0F;
  });
}

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
  Cases cases;
  for (const auto add : {addresses, hosts, block_barriers, shared_memory, warp_barriers, between_blocks, divergence,
                         together, nothing_wrong})
    add(cases);
  int failures = 0;
  for (const Case& c : cases.all) {
    if (argc == 3 && c.name == argv[1]) return c.run(std::string(argv[2]) == "bug") ? 0 : 3;
    if (argc != 1) continue;
    int of_fixed = 0, of_bug = 0;
    const std::string fixed = run_apart(c, false, of_fixed), bug = run_apart(c, true, of_bug);
    const bool found = c.must_say == nullptr ? of_bug == 0 : of_bug != 0 && bug.find(c.must_say) != std::string::npos;
    std::printf("%-36s %s%s\n", c.name.c_str(),
                c.must_say == nullptr ? "-"
                : found               ? c.must_say
                                      : "NOT FOUND",
                of_fixed == 0 ? "" : ", and without it FAILED");
    if (!found) std::printf("  ended with %d:%s\n", of_bug, bug.c_str());
    if (of_fixed != 0) std::printf("  without it ended with %d:%s\n", of_fixed, fixed.c_str());
    failures += (found ? 0 : 1) + (of_fixed == 0 ? 0 : 1);
  }
  std::printf("%zu cases, %d failures\n", cases.all.size(), failures);
  return argc == 1 && failures == 0 ? 0 : 1;
}
