// The CPU twin of xor_sgd.h: the runs of one seed together on a thread, because they share their examples.
#include "scalelab/xor_sgd.h"

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parallel.h"
#include "kernels/xor_sgd_check.h"
#include "scalelab/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/xor_sgd.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/chains-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {
namespace {

using Row = hwy::AlignedFreeUniquePtr<float[]>;

// Standard normals for the coordinates of example `number` of a seed.
void draw_noise(std::uint64_t seed, std::uint64_t number, int d, float* noise) {
  for (int c = 0; c < d; c += 2) {
    const NormalPair pair = normal_pair(random_words(seed, Stream::points, number, static_cast<std::uint32_t>(c / 2)));
    noise[c] = static_cast<float>(pair.first);
    if (c + 1 < d) noise[c + 1] = static_cast<float>(pair.second);
  }
}

struct Network {
  int hidden;
  std::int64_t padded;
  Row weights;             // (hidden, padded)
  std::vector<float> out;  // (hidden)
  std::vector<float> pre;  // (hidden) of the last forward pass

  // sum_k v_k g(w_k . x / sqrt(d)), x already divided by sqrt(d).
  float forward(const float* x, Gate gate) {
    float sum = 0;
    for (int k = 0; k < hidden; ++k) {
      pre[k] = dot(weights.get() + k * padded, x, padded);
      sum = ::fmaf(out[k], activation(pre[k], gate), sum);
    }
    return sum;
  }
  static float activation(float z, Gate gate) {
    return gate == Gate::relu ? std::max(z, 0.0F)
                              : static_cast<float>(std::erf(static_cast<double>(z) * 0.70710678118654752));
  }
  static float slope(float z, Gate gate) {
    if (gate == Gate::relu) return z > 0 ? 1.0F : 0.0F;
    return static_cast<float>(0.79788456080286536 * std::exp(-0.5 * static_cast<double>(z) * z));
  }
};

// All runs of one seed; accuracies[i] points at the row of runs[i].
void run_seed(const XorProblem& problem, const std::vector<XorRun>& runs, const std::vector<float*>& accuracies) {
  const int d = problem.dimension;
  const std::int64_t padded = padded_length(d);
  const std::uint64_t seed = runs[0].seed;
  const float root = 1.0F / std::sqrt(static_cast<float>(d));
  const std::int64_t steps = xor_steps(problem), easy_steps = xor_easy_steps(problem);

  std::vector<Network> networks;
  for (const XorRun& run : runs) {
    Network net{run.hidden, padded, aligned_floats(run.hidden * padded), std::vector<float>(run.hidden),
                std::vector<float>(run.hidden)};
    std::fill(net.weights.get(), net.weights.get() + run.hidden * padded, 0.0F);
    for (int k = 0; k < run.hidden; ++k) {
      // Unit k draws its d input weights and then its output weight.
      for (int c = 0; c <= d; ++c) {
        const NormalPair pair = normal_pair(
            random_words(seed, Stream::weights, static_cast<std::uint64_t>(k), static_cast<std::uint32_t>(c / 2)));
        const float value = problem.start * static_cast<float>(c % 2 == 0 ? pair.first : pair.second);
        (c < d ? net.weights[k * padded + c] : net.out[k]) = value;
      }
    }
    networks.push_back(std::move(net));
  }

  const Row noise = aligned_floats(padded);
  const Row x = aligned_floats(padded);
  const Row test = aligned_floats(problem.test_examples * padded);
  std::vector<float> test_labels(problem.test_examples);
  std::fill(noise.get(), noise.get() + padded, 0.0F);
  // x = (centre + sqrt(variance) noise) / sqrt(d)
  const auto place = [&](const XorDraw& cluster, float variance, float* row) {
    const float scale = std::sqrt(variance);
    for (std::int64_t c = 0; c < padded; ++c) row[c] = scale * noise[c] * root;
    row[cluster.axis] = ::fmaf(scale, noise[cluster.axis], cluster.centre) * root;
  };
  for (int i = 0; i < problem.test_examples; ++i) {
    draw_noise(seed, kXorTestSteps + i, d, noise.get());
    const XorDraw cluster = draw_xor_cluster(seed, kXorTestSteps + i);
    place(cluster, problem.hard_variance, test.get() + i * padded);
    test_labels[i] = cluster.axis == 0 ? 1.0F : -1.0F;
  }

  int evaluation = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    draw_noise(seed, step, d, noise.get());
    const XorDraw cluster = draw_xor_cluster(seed, step);
    const float label = cluster.axis == 0 ? 1.0F : -1.0F;
    const float rate =
        problem.decay ? problem.rate * static_cast<float>(steps - step) / static_cast<float>(steps) : problem.rate;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      bool easy = cluster.uniform < problem.easy_share;
      if (runs[i].order == Order::curriculum) easy = step < easy_steps;
      if (runs[i].order == Order::anti) easy = step >= steps - easy_steps;
      place(cluster, easy ? problem.easy_variance : problem.hard_variance, x.get());
      Network& net = networks[i];
      const float error = label - net.forward(x.get(), problem.gate);
      for (int k = 0; k < net.hidden; ++k) {
        const float slope = Network::slope(net.pre[k], problem.gate);
        const float push = rate * error * net.out[k] * slope;
        if (problem.train_output) {
          net.out[k] =
              ::fmaf(rate / static_cast<float>(d) * error, Network::activation(net.pre[k], problem.gate), net.out[k]);
        }
        if (push != 0) add_scaled(push, x.get(), net.weights.get() + k * padded, padded);
      }
    }
    while (evaluation < problem.evaluations && (step + 1) * problem.evaluations >= (evaluation + 1) * steps) {
      for (std::size_t i = 0; i < runs.size(); ++i) {
        int right = 0;
        for (int t = 0; t < problem.test_examples; ++t) {
          right += networks[i].forward(test.get() + t * padded, problem.gate) * test_labels[t] > 0;
        }
        accuracies[i][evaluation] = static_cast<float>(right) / static_cast<float>(problem.test_examples);
      }
      ++evaluation;
    }
  }
}

}  // namespace
}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {

HWY_EXPORT(run_seed);

void xor_sgd(const XorProblem& problem, std::span<const XorRun> runs, View<float> accuracies, Context& context) {
  check_xor_sgd(problem, runs, accuracies);
  const auto m = static_cast<std::int64_t>(runs.size());
  std::map<std::uint64_t, std::vector<std::int64_t>> by_seed;
  for (std::int64_t i = 0; i < m; ++i) {
    by_seed[runs[i].seed].push_back(i);
  }
  std::vector<std::vector<std::int64_t>> groups;
  for (auto& [seed, members] : by_seed) groups.push_back(std::move(members));
  parallel_for(context, static_cast<std::int64_t>(groups.size()), [&](std::int64_t group) {
    std::vector<XorRun> members;
    std::vector<float*> rows;
    for (std::int64_t i : groups[group]) {
      members.push_back(runs[i]);
      rows.push_back(&accuracies(i, 0));
    }
    HWY_DYNAMIC_DISPATCH(run_seed)(problem, members, rows);
  });
}

}  // namespace scalelab::cpu
#endif
