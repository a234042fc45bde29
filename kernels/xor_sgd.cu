// A block of 128 threads trains one run after another; 16 threads share a unit or a test example. Thread j of the 16
// owns chain j of every dot product, and with it coordinates j, j + 16, ... of the unit's weights. In shared memory:
// the example, and of each unit its output weight, its pre-activation and its push. Weights and the test examples of
// the block's seed lie in scratch of the block's own.
#include "scalelab/xor_sgd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/xor_sgd_check.h"

namespace scalelab::cuda {
namespace {

constexpr int kThreads = 128, kChains = 16, kTeams = kThreads / kChains;
constexpr int kMaxHidden = 1024, kMaxDimension = 4096;

struct XorShared {
  float out[kMaxHidden], pre[kMaxHidden], push[kMaxHidden];
  float noise[kMaxDimension], x[kMaxDimension];
  float error;
  int right[kTeams];
};

struct XorScratch {
  float *weights, *tests;  // (blocks, most hidden, d), (blocks, test examples, d)
  float* labels;           // (blocks, test examples)
  int most_hidden;
};

// The 16 chains added pairwise: j with j + 8, then 4, 2, 1; the same bits on each of the 16, because + commutes. A warp
// holds two teams of 16, which take this together.
__device__ float add_chains(float chain) {
  for (int half = kChains / 2; half >= 1; half /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, chain, half);
    chain += other;
  }
  return chain;
}

__device__ float activation(float z, Gate gate) {
  return gate == Gate::relu ? fmaxf(z, 0.0F) : static_cast<float>(::erf(static_cast<double>(z) * 0.70710678118654752));
}
__device__ float slope(float z, Gate gate) {
  if (gate == Gate::relu) return z > 0 ? 1.0F : 0.0F;
  return static_cast<float>(0.79788456080286536 * ::exp(-0.5 * static_cast<double>(z) * z));
}

// Standard normals for the coordinates of example `number` of a seed, by all threads of the block.
__device__ void draw_noise(std::uint64_t seed, std::uint64_t number, int d, float* noise) {
  for (int c = 2 * static_cast<int>(threadIdx.x); c < d; c += 2 * kThreads) {
    const NormalPair pair = normal_pair(random_words(seed, Stream::points, number, static_cast<std::uint32_t>(c / 2)));
    noise[c] = static_cast<float>(pair.first);
    if (c + 1 < d) noise[c + 1] = static_cast<float>(pair.second);
  }
}

// (centre + sqrt(variance) noise) / sqrt(d), coordinate c.
__device__ float placed(const XorDraw& cluster, float scale, float noise, int c, float root) {
  return c == cluster.axis ? fmaf(scale, noise, cluster.centre) * root : scale * noise * root;
}

__global__ void __launch_bounds__(kThreads)
    xor_sgd_kernel(XorProblem problem, const XorRun* runs, std::int64_t m, std::int64_t steps, std::int64_t easy_steps,
                   XorScratch scratch, float* accuracies) {
  XorShared& shared = *dynamic_shared<XorShared>();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kChains, team = thread / kChains;
  const int d = problem.dimension;
  const float root = 1.0F / sqrtf(static_cast<float>(d));
  float* weights = scratch.weights + static_cast<std::int64_t>(blockIdx.x) * scratch.most_hidden * d;
  float* tests = scratch.tests + static_cast<std::int64_t>(blockIdx.x) * problem.test_examples * d;
  float* labels = scratch.labels + static_cast<std::int64_t>(blockIdx.x) * problem.test_examples;

  for (std::int64_t r = blockIdx.x; r < m; r += gridDim.x) {
    const XorRun run = runs[r];
    const int hidden = run.hidden;
    // Unit k draws its d input weights and then its output weight.
    for (int k = team; k < hidden; k += kTeams) {
      for (int c = 2 * lane; c <= d; c += 2 * kChains) {
        const NormalPair pair = normal_pair(
            random_words(run.seed, Stream::weights, static_cast<std::uint64_t>(k), static_cast<std::uint32_t>(c / 2)));
        for (int half = 0; half < 2; ++half) {
          const float value = problem.start * static_cast<float>(half == 0 ? pair.first : pair.second);
          if (c + half < d) weights[static_cast<std::int64_t>(k) * d + c + half] = value;
          if (c + half == d) shared.out[k] = value;
        }
      }
    }
    for (int t = 0; t < problem.test_examples; ++t) {
      draw_noise(run.seed, kXorTestSteps + static_cast<std::uint64_t>(t), d, shared.noise);
      __syncthreads();
      const XorDraw cluster = draw_xor_cluster(run.seed, kXorTestSteps + static_cast<std::uint64_t>(t));
      const float scale = sqrtf(problem.hard_variance);
      for (int c = thread; c < d; c += kThreads) {
        tests[static_cast<std::int64_t>(t) * d + c] = placed(cluster, scale, shared.noise[c], c, root);
      }
      if (thread == 0) labels[t] = cluster.axis == 0 ? 1.0F : -1.0F;
      __syncthreads();
    }

    int evaluation = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      const XorDraw cluster = draw_xor_cluster(run.seed, static_cast<std::uint64_t>(step));
      const float label = cluster.axis == 0 ? 1.0F : -1.0F;
      const float rate =
          problem.decay ? problem.rate * static_cast<float>(steps - step) / static_cast<float>(steps) : problem.rate;
      bool easy = cluster.uniform < problem.easy_share;
      if (run.order == Order::curriculum) easy = step < easy_steps;
      if (run.order == Order::anti) easy = step >= steps - easy_steps;
      const float scale = sqrtf(easy ? problem.easy_variance : problem.hard_variance);
      draw_noise(run.seed, static_cast<std::uint64_t>(step), d, shared.noise);
      __syncthreads();
      for (int c = thread; c < d; c += kThreads) shared.x[c] = placed(cluster, scale, shared.noise[c], c, root);
      __syncthreads();
      // All teams of a warp go round together: the last rounds may have no unit.
      for (int first = 0; first < hidden; first += kTeams) {
        const int k = first + team;
        float chain = 0;
        if (k < hidden) {
          const float* row = weights + static_cast<std::int64_t>(k) * d;
          for (int c = lane; c < d; c += kChains) chain = fmaf(row[c], shared.x[c], chain);
        }
        const float sum = add_chains(chain);
        if (k < hidden && lane == 0) shared.pre[k] = sum;
      }
      __syncthreads();
      if (thread == 0) {
        float sum = 0;
        for (int k = 0; k < hidden; ++k) sum = fmaf(shared.out[k], activation(shared.pre[k], problem.gate), sum);
        shared.error = label - sum;
      }
      __syncthreads();
      const float error = shared.error;
      for (int k = thread; k < hidden; k += kThreads) {
        const float z = shared.pre[k];
        shared.push[k] = rate * error * shared.out[k] * slope(z, problem.gate);
        if (problem.train_output) {
          shared.out[k] = fmaf(rate / static_cast<float>(d) * error, activation(z, problem.gate), shared.out[k]);
        }
      }
      __syncthreads();
      for (int k = team; k < hidden; k += kTeams) {
        const float push = shared.push[k];
        if (push == 0) continue;
        float* row = weights + static_cast<std::int64_t>(k) * d;
        for (int c = lane; c < d; c += kChains) row[c] = fmaf(push, shared.x[c], row[c]);
      }
      while (evaluation < problem.evaluations && (step + 1) * problem.evaluations >= (evaluation + 1) * steps) {
        __syncthreads();
        int right = 0;
        for (int first = 0; first < problem.test_examples; first += kTeams) {
          const int t = first + team;
          float sum = 0;
          for (int k = 0; k < hidden; ++k) {
            const float* row = weights + static_cast<std::int64_t>(k) * d;
            float chain = 0;
            if (t < problem.test_examples) {
              for (int c = lane; c < d; c += kChains) {
                chain = fmaf(row[c], tests[static_cast<std::int64_t>(t) * d + c], chain);
              }
            }
            const float z = add_chains(chain);
            sum = fmaf(shared.out[k], activation(z, problem.gate), sum);
          }
          if (t < problem.test_examples) right += sum * labels[t] > 0;
        }
        if (lane == 0) shared.right[team] = right;
        __syncthreads();
        if (thread == 0) {
          int all = 0;
          for (int i = 0; i < kTeams; ++i) all += shared.right[i];
          accuracies[r * problem.evaluations + evaluation] =
              static_cast<float>(all) / static_cast<float>(problem.test_examples);
        }
        ++evaluation;
      }
      __syncthreads();
    }
  }
}

}  // namespace

void xor_sgd(const XorProblem& problem, std::span<const XorRun> runs, View<float> accuracies, Context& context) {
  const Range range("xor_sgd");
  check_xor_sgd(problem, runs, accuracies);
  const auto m = static_cast<std::int64_t>(runs.size());
  if (m == 0) return;
  int multiprocessors = 0, most_hidden = 0;
  SCALELAB_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, context.device()));
  for (const XorRun& run : runs) most_hidden = std::max(most_hidden, run.hidden);
  constexpr std::int64_t kBlocksPerMultiprocessor = 4;  // as many as their shared memory lets reside
  const std::int64_t blocks = std::min(m, kBlocksPerMultiprocessor * multiprocessors), d = problem.dimension;
  Scratch<XorRun> device_runs(m, context);
  Scratch<float> weights(blocks * most_hidden * d, context), tests(blocks * problem.test_examples * d, context),
      labels(blocks * problem.test_examples, context);
  context.backend().upload(device_runs.data(), runs.data(), runs.size_bytes(), context);
  const XorScratch scratch{weights.data(), tests.data(), labels.data(), most_hidden};
  launch(context, blocks, kThreads, sizeof(XorShared), xor_sgd_kernel, problem, device_runs.data(), m,
         xor_steps(problem), xor_easy_steps(problem), scratch, accuracies.data());
  SCALELAB_CHECK(cudaStreamSynchronize(stream_of(context)));
}

}  // namespace scalelab::cuda
