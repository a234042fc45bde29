// Loops that do one thing each, on every multiprocessor at once. Each is given a number of steps and doubled until it
// takes milliseconds, so that the launch does not show; times are of a steady clock round launch and wait.
#include "scalelab/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "kernels/cuda/device.cuh"

namespace scalelab::cuda {
namespace {

constexpr int kThreads = 256;  // a block: divides the 1024, 1536 or 2048 threads that a multiprocessor holds
constexpr int kChains = 8;     // independent chains a thread: they hide the latency of one instruction

__global__ void empty_kernel() {}

// A thread copies float4s, a grid apart: whole lines for each warp.
__global__ void copy_kernel(const float4* from, float4* to, std::int64_t count, int steps) {
  for (int step = 0; step < steps; ++step) {
    for (std::int64_t i = global_thread(); i < count; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
      to[i] = from[i];
    }
  }
}

__global__ void write_kernel(float4* to, std::int64_t count, int steps) {
  for (int step = 0; step < steps; ++step) {
    const float value = static_cast<float>(step);
    for (std::int64_t i = global_thread(); i < count; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
      to[i] = float4{value, value, value, value};
    }
  }
}

// Sums the same `count` float4s over and over: those that L2 holds come from there from the second pass on. In each pass a
// block takes the share that its neighbour took before, or its multiprocessor would find its own in L1. `sink` keeps the
// loop alive.
__global__ void read_kernel(const float4* from, std::int64_t count, int steps, float* sink) {
  float sum = 0;
  for (int step = 0; step < steps; ++step) {
    const std::int64_t block = (static_cast<std::int64_t>(blockIdx.x) + step) % gridDim.x;
    for (std::int64_t i = block * blockDim.x + threadIdx.x; i < count;
         i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
      const float4 value = from[i];
      sum += value.x + value.y + value.z + value.w;
    }
  }
  if (sum == -1.0F) *sink = sum;
}

__global__ void fma_kernel(int steps, float factor, float* sink) {
  float chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = static_cast<float>(threadIdx.x + c);
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int unrolled = 0; unrolled < 8; ++unrolled) {
#pragma unroll
      for (int c = 0; c < kChains; ++c) chain[c] = fmaf(chain[c], factor, 1.0F);
    }
  }
  float sum = 0;
  for (int c = 0; c < kChains; ++c) sum += chain[c];
  if (sum == -1.0F) *sink = sum;
}

// A minimum and a maximum take turns, against values that change from turn to turn, so that none can be left out.
__global__ void minimum_kernel(int steps, float low, float high, float* sink) {
  float chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = static_cast<float>(threadIdx.x + c);
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int unrolled = 0; unrolled < 4; ++unrolled) {
#pragma unroll
      for (int c = 0; c < kChains; ++c) chain[c] = fmaxf(fminf(chain[c], chain[(c + 1) % kChains]), low);
    }
    low = fminf(high, low);
  }
  float sum = 0;
  for (int c = 0; c < kChains; ++c) sum += chain[c];
  if (sum == -1.0F) *sink = sum;
}

struct SharedLines {
  float4 lines[2 * kThreads];
};

// Each thread reads float4s of its own and its neighbours, without bank conflicts.
__global__ void shared_kernel(int steps, float* sink) {
  SharedLines& shared = *dynamic_shared<SharedLines>();
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = 0; half < 2; ++half) {
    shared.lines[half * kThreads + thread] = float4{1.0F, 2.0F, 3.0F, static_cast<float>(thread)};
  }
  __syncthreads();
  float4 sum = {0, 0, 0, 0};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int unrolled = 0; unrolled < 8; ++unrolled) {
      const float4 value = shared.lines[(thread + 8 * unrolled + step) & (2 * kThreads - 1)];
      sum.x += value.x;
      sum.y += value.y;
      sum.z += value.z;
      sum.w += value.w;
    }
  }
  if (sum.x + sum.y + sum.z + sum.w == -1.0F) *sink = sum.x;
}

__global__ void barrier_kernel(int steps) {
  for (int step = 0; step < steps; ++step) __syncthreads();
}

// Four accumulators a warp, each of a 16 x 8 tile; k = 16: 4096 operations an instruction.
__global__ void tensor_kernel(int steps, float* sink) {
  float sums[4][4] = {};
#if __CUDA_ARCH__ >= 800
  const unsigned a = 0x3f803f80U + threadIdx.x, b = 0x3f003f00U;  // pairs of bf16
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, "
          "{%0, %1, %2, %3};"
          : "+f"(sums[c][0]), "+f"(sums[c][1]), "+f"(sums[c][2]), "+f"(sums[c][3])
          : "r"(a), "r"(b));
    }
  }
#endif
  float sum = 0;
  for (int c = 0; c < 4; ++c) sum += sums[c][0] + sums[c][1] + sums[c][2] + sums[c][3];
  if (sum == -1.0F) *sink = sum;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds that one step takes, the best of what fits into `seconds`; `run(steps)` queues a launch of so many.
template <class Run>
double seconds_of_a_step(double seconds, Context& context, const Run& run) {
  const auto once = [&](int steps) {
    const double before = now();
    run(steps);
    SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
    return now() - before;
  };
  once(1);  // loads the kernel
  int steps = 1;
  double took = once(steps);
  while (took < 2e-3 && steps < (1 << 26)) {
    steps *= 2;
    took = once(steps);
  }
  double best = took;
  for (const double start = now(); now() - start < seconds;) best = std::min(best, once(steps));
  return best / steps;
}

}  // namespace

Ceilings measure_ceilings(double seconds, Context& context) {
  const Range range("measure_ceilings");
  int multiprocessors = 0, major = 0;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
  SCALELAB_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, context.device()));
  const std::int64_t blocks = 8 * static_cast<std::int64_t>(multiprocessors);
  const std::int64_t memory = std::int64_t{1} << 24;  // float4s: 256 MiB, beyond any L2
  const std::int64_t cached = std::int64_t{1} << 20;  // 16 MiB, within it
  const double share = seconds / 10;
  Scratch<float4> from(memory, context), to(memory, context);
  Scratch<float> sink(1, context);
  SCALELAB_CHECK(
      cudaMemsetAsync(from.data(), 0, static_cast<std::size_t>(memory) * sizeof(float4), stream_of(context)));
  const auto threads = static_cast<double>(blocks * kThreads);
  const double line = sizeof(float4);

  Ceilings ceilings;
  ceilings.copy_bytes = 2 * line * static_cast<double>(memory) / seconds_of_a_step(share, context, [&](int steps) {
                          launch(context, blocks, kThreads, 0, copy_kernel, from.data(), to.data(), memory, steps);
                        });
  ceilings.read_bytes = line * static_cast<double>(memory) / seconds_of_a_step(share, context, [&](int steps) {
                          launch(context, blocks, kThreads, 0, read_kernel, from.data(), memory, steps, sink.data());
                        });
  ceilings.write_bytes = line * static_cast<double>(memory) / seconds_of_a_step(share, context, [&](int steps) {
                           launch(context, blocks, kThreads, 0, write_kernel, to.data(), memory, steps);
                         });
  ceilings.cache_bytes = line * static_cast<double>(cached) / seconds_of_a_step(share, context, [&](int steps) {
                           launch(context, blocks, kThreads, 0, read_kernel, from.data(), cached, steps, sink.data());
                         });
  ceilings.fma_flop = threads * kChains * 8 * 2 / seconds_of_a_step(share, context, [&](int steps) {
                        launch(context, blocks, kThreads, 0, fma_kernel, steps, 0.999F, sink.data());
                      });
  ceilings.minimum_ops = threads * kChains * 4 * 2 / seconds_of_a_step(share, context, [&](int steps) {
                           launch(context, blocks, kThreads, 0, minimum_kernel, steps, 0.5F, 1e9F, sink.data());
                         });
  ceilings.shared_bytes = threads * 8 * line / seconds_of_a_step(share, context, [&](int steps) {
                            launch(context, blocks, kThreads, sizeof(SharedLines), shared_kernel, steps, sink.data());
                          });
  if (major >= 8) {
    ceilings.tensor_flop = threads / kWarp * 4 * 4096 / seconds_of_a_step(share, context, [&](int steps) {
                             launch(context, blocks, kThreads, 0, tensor_kernel, steps, sink.data());
                           });
  }
  ceilings.barrier_seconds =
      seconds_of_a_step(share, context, [&](int steps) { launch(context, 1, kThreads, 0, barrier_kernel, steps); });
  double launch_seconds = 1;
  for (const double start = now(); now() - start < share;) {
    const double before = now();
    launch(context, 1, kWarp, 0, empty_kernel);
    SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
    launch_seconds = std::min(launch_seconds, now() - before);
  }
  ceilings.launch_seconds = launch_seconds;
  return ceilings;
}

}  // namespace scalelab::cuda
