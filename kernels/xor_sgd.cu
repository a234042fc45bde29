// A block of 128 threads trains one run after another; 16 threads share a unit or a test example. Thread j of the 16
// owns chain j of every dot product, and with it coordinates j, j + 16, ... of the unit's weights. In shared memory:
// the example, and of each unit its output weight, its pre-activation, and its activation, later its push. Weights and
// the test examples of the block's seed lie in scratch of the block's own.
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
  float out[kMaxHidden], pre[kMaxHidden];
  float active[kMaxHidden];  // activations; once the error is known, pushes
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

// What one block works with: the problem, its shared memory, its part of the scratch, and the run's hidden units.
struct XorBlock {
  const XorProblem& problem;
  XorShared& shared;
  float *weights, *tests, *labels;  // (hidden, d), (test examples, d), (test examples)
  int thread, lane, team, d, hidden;
  float root;  // 1 / sqrt(d)
};

// Unit k draws its d input weights and then its output weight.
__device__ void draw_weights(const XorBlock& b, std::uint64_t seed) {
  for (int k = b.team; k < b.hidden; k += kTeams) {
    for (int c = 2 * b.lane; c <= b.d; c += 2 * kChains) {
      const NormalPair pair = normal_pair(
          random_words(seed, Stream::weights, static_cast<std::uint64_t>(k), static_cast<std::uint32_t>(c / 2)));
      for (int half = 0; half < 2; ++half) {
        const float value = b.problem.start * static_cast<float>(half == 0 ? pair.first : pair.second);
        if (c + half < b.d) b.weights[static_cast<std::int64_t>(k) * b.d + c + half] = value;
        if (c + half == b.d) b.shared.out[k] = value;
      }
    }
  }
}

// Example `number` of a seed, of cluster `cluster` with this variance, into x (d).
__device__ void draw_example(const XorBlock& b, std::uint64_t seed, std::uint64_t number, const XorDraw& cluster,
                             float variance, float* x) {
  const float scale = sqrtf(variance);
  draw_noise(seed, number, b.d, b.shared.noise);
  __syncthreads();
  for (int c = b.thread; c < b.d; c += kThreads) x[c] = placed(cluster, scale, b.shared.noise[c], c, b.root);
  __syncthreads();
}

__device__ float label_of(const XorDraw& cluster) { return cluster.axis == 0 ? 1.0F : -1.0F; }

// The test examples of a seed: all of them hard.
__device__ void draw_tests(const XorBlock& b, std::uint64_t seed) {
  for (int t = 0; t < b.problem.test_examples; ++t) {
    const std::uint64_t number = kXorTestSteps + static_cast<std::uint64_t>(t);
    const XorDraw cluster = draw_xor_cluster(seed, number);
    if (b.thread == 0) b.labels[t] = label_of(cluster);
    draw_example(b, seed, number, cluster, b.problem.hard_variance, b.tests + static_cast<std::int64_t>(t) * b.d);
  }
}

// Weights of unit k times x, on each of the 16 threads of a team; 0 for a team that has no unit or example here. All
// teams of a warp call it together.
__device__ float dot(const XorBlock& b, int k, const float* x, bool present) {
  float chain = 0;
  if (present) {
    const float* row = b.weights + static_cast<std::int64_t>(k) * b.d;
    for (int c = b.lane; c < b.d; c += kChains) chain = fmaf(row[c], x[c], chain);
  }
  return add_chains(chain);
}

// shared.pre and shared.active of every unit from shared.x, and shared.error = label - output, summed over units in
// ascending order: by one thread, while the activations are found by all.
__device__ void forward(const XorBlock& b, float label) {
  // All teams of a warp go round together: the last rounds may have no unit.
  for (int first = 0; first < b.hidden; first += kTeams) {
    const int k = first + b.team;
    const float sum = dot(b, k, b.shared.x, k < b.hidden);
    if (k < b.hidden && b.lane == 0) b.shared.pre[k] = sum;
  }
  __syncthreads();
  for (int k = b.thread; k < b.hidden; k += kThreads) b.shared.active[k] = activation(b.shared.pre[k], b.problem.gate);
  __syncthreads();
  if (b.thread == 0) {
    float sum = 0;
#pragma unroll 8
    for (int k = 0; k < b.hidden; ++k) sum = fmaf(b.shared.out[k], b.shared.active[k], sum);
    b.shared.error = label - sum;
  }
  __syncthreads();
}

// One step of SGD on the squared error of the example in shared.x.
__device__ void update(const XorBlock& b, float rate) {
  const float error = b.shared.error;
  for (int k = b.thread; k < b.hidden; k += kThreads) {
    const float active = b.shared.active[k];
    b.shared.active[k] = rate * error * b.shared.out[k] * slope(b.shared.pre[k], b.problem.gate);
    if (b.problem.train_output) {
      b.shared.out[k] = fmaf(rate / static_cast<float>(b.d) * error, active, b.shared.out[k]);
    }
  }
  __syncthreads();
  for (int k = b.team; k < b.hidden; k += kTeams) {
    const float push = b.shared.active[k];
    if (push == 0) continue;
    float* row = b.weights + static_cast<std::int64_t>(k) * b.d;
    for (int c = b.lane; c < b.d; c += kChains) row[c] = fmaf(push, b.shared.x[c], row[c]);
  }
}

// The share of test examples that the network labels rightly; counts on thread 0 alone.
__device__ float test_accuracy(const XorBlock& b) {
  int right = 0;
  for (int first = 0; first < b.problem.test_examples; first += kTeams) {
    const int t = first + b.team;
    const bool present = t < b.problem.test_examples;
    float sum = 0;
    // 16 units at a time: all of a team form their pre-activations, each of it one activation.
    for (int first_unit = 0; first_unit < b.hidden; first_unit += kChains) {
      const int units = min(kChains, b.hidden - first_unit);
      float own = 0;
      for (int i = 0; i < units; ++i) {
        const float z = dot(b, first_unit + i, b.tests + static_cast<std::int64_t>(t) * b.d, present);
        if (i == b.lane) own = z;
      }
      const float active = activation(own, b.problem.gate);
      for (int i = 0; i < units; ++i) {
        const float unit_active = __shfl_sync(kAllLanes, active, i, kChains);
        sum = fmaf(b.shared.out[first_unit + i], unit_active, sum);
      }
    }
    if (present) right += sum * b.labels[t] > 0;
  }
  if (b.lane == 0) b.shared.right[b.team] = right;
  __syncthreads();
  int all = 0;
  for (int i = 0; i < kTeams; ++i) all += b.shared.right[i];
  return static_cast<float>(all) / static_cast<float>(b.problem.test_examples);
}

__global__ void __launch_bounds__(kThreads)
    xor_sgd_kernel(XorProblem problem, const XorRun* runs, std::int64_t m, std::int64_t steps, std::int64_t easy_steps,
                   XorScratch scratch, float* accuracies) {
  const std::int64_t block = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x), d = problem.dimension;
  XorBlock b{problem,
             *dynamic_shared<XorShared>(),
             scratch.weights + block * scratch.most_hidden * d,
             scratch.tests + block * problem.test_examples * d,
             scratch.labels + block * problem.test_examples,
             thread,
             thread % kChains,
             thread / kChains,
             d,
             0,
             1.0F / sqrtf(static_cast<float>(d))};
  for (std::int64_t r = block; r < m; r += gridDim.x) {
    const XorRun run = runs[r];
    b.hidden = run.hidden;
    draw_weights(b, run.seed);
    draw_tests(b, run.seed);
    int evaluation = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      const XorDraw cluster = draw_xor_cluster(run.seed, static_cast<std::uint64_t>(step));
      const float rate =
          problem.decay ? problem.rate * static_cast<float>(steps - step) / static_cast<float>(steps) : problem.rate;
      bool easy = cluster.uniform < problem.easy_share;
      if (run.order == Order::curriculum) easy = step < easy_steps;
      if (run.order == Order::anti) easy = step >= steps - easy_steps;
      draw_example(b, run.seed, static_cast<std::uint64_t>(step), cluster,
                   easy ? problem.easy_variance : problem.hard_variance, b.shared.x);
      forward(b, label_of(cluster));
      update(b, rate);
      while (evaluation < problem.evaluations && (step + 1) * problem.evaluations >= (evaluation + 1) * steps) {
        __syncthreads();
        const float accuracy = test_accuracy(b);
        if (thread == 0) accuracies[r * problem.evaluations + evaluation] = accuracy;
        ++evaluation;
      }
      // No barrier: the next example meets at one before it replaces what this step has read.
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
