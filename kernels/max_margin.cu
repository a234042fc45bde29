// A block of 16 threads solves one set. Thread j owns chain j of every dot product, and with it coordinates j, j + 16,
// ... of the student: nobody else reads or writes those, so that the student needs no synchronisation. All 16 hold the
// sum of a dot product, and decide alike. Multipliers are written by thread 0 and read by all.
#include "scalelab/max_margin.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device.cuh"
#include "kernels/max_margin_check.h"
#include "scalelab/random.h"

namespace scalelab::cuda {
namespace {

constexpr int kChains = 16;              // of a dot product (max_margin.h), a lane each
constexpr unsigned kSetLanes = 0xffffU;  // those lanes

// The 16 chains added pairwise: j with j + 8, then 4, 2, 1; the same bits on every lane, because + commutes.
__device__ float add_chains(float chain) {
  for (int half = kChains / 2; half >= 1; half /= 2) {
    const float other = __shfl_xor_sync(kSetLanes, chain, half);
    chain += other;
  }
  return chain;
}

__device__ float dot(const float* a, const float* b, std::int64_t d) {
  float chain = 0;
  for (std::int64_t c = threadIdx.x; c < d; c += kChains) chain = fmaf(a[c], b[c], chain);
  return add_chains(chain);
}

// Where a block keeps its set's state, one row of each for every set.
struct MarginScratch {
  float *students, *squared_norms, *multipliers;  // (m, d), (m, n), (m, n)
  int* support;                                   // (m, n)
};

__global__ void max_margin_kernel(const float* all_examples, std::int64_t n, std::int64_t d, MaxMarginOptions options,
                                  MarginScratch scratch, float* students, float* margins, int* sweeps) {
  const std::int64_t set = blockIdx.x;
  const float* examples = all_examples + set * n * d;
  float* w = scratch.students + set * d;
  float* squared_norms = scratch.squared_norms + set * n;
  float* multipliers = scratch.multipliers + set * n;
  int* support = scratch.support + set * n;
  const bool first = threadIdx.x == 0;
  for (std::int64_t c = threadIdx.x; c < d; c += kChains) w[c] = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float norm = dot(examples + i * d, examples + i * d, d);
    if (first) {
      squared_norms[i] = norm;
      multipliers[i] = 0;
    }
  }
  __syncwarp(kSetLanes);

  // A sweep over all examples, then sweeps over those with a multiplier until these hold, as in the CPU twin.
  constexpr int kInner = 64;
  int made = 0, result = -1, inner = kInner;
  std::int64_t supporting = 0;
  while (made < options.max_sweeps) {
    const bool over_all = inner == kInner;
    const auto count = static_cast<std::uint32_t>(over_all ? n : supporting);
    const Shuffle order(count, 0, static_cast<std::uint32_t>(made));
    float worst = 0;
    for (std::uint32_t position = 0; position < count; ++position) {
      const std::uint32_t at = order(position);
      const std::int64_t i = over_all ? static_cast<std::int64_t>(at) : support[at];
      const float* row = examples + i * d;
      const float norm = squared_norms[i], multiplier = multipliers[i];
      if (!(norm > 0)) continue;
      const float shortfall = 1.0F - dot(w, row, d);
      worst = fmaxf(worst, multiplier > 0 ? fabsf(shortfall) : fmaxf(shortfall, 0.0F));
      const float raised = fmaxf(multiplier + shortfall / norm, 0.0F);
      if (raised != multiplier) {
        for (std::int64_t c = threadIdx.x; c < d; c += kChains) w[c] = fmaf(raised - multiplier, row[c], w[c]);
      }
      __syncwarp(kSetLanes);
      if (first) multipliers[i] = raised;
      __syncwarp(kSetLanes);
    }
    ++made;
    if (over_all) {
      if (worst <= options.tolerance) {
        result = made;
        break;
      }
      supporting = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        if (!(multipliers[i] > 0)) continue;
        if (first) support[supporting] = static_cast<int>(i);
        ++supporting;
      }
      __syncwarp(kSetLanes);
      inner = 0;
    } else {
      ++inner;
      if (worst <= 0.5F * options.tolerance) inner = kInner;
    }
  }

  const float length = sqrtf(dot(w, w, d));
  for (std::int64_t c = threadIdx.x; c < d; c += kChains) {
    w[c] = length > 0 ? w[c] / length : 0.0F;
    students[set * d + c] = w[c];
  }
  float smallest = INFINITY;
  for (std::int64_t i = 0; i < n; ++i) smallest = fminf(smallest, dot(w, examples + i * d, d));
  if (first) {
    margins[set] = smallest;
    sweeps[set] = result;
  }
}

}  // namespace

void max_margin(View<const float> examples, View<float> students, View<float> margins, View<int> sweeps,
                const MaxMarginOptions& options, Context& context) {
  const Range range("max_margin");
  check_max_margin(examples, students, margins, sweeps, options);
  const std::int64_t m = examples.extent(0), n = examples.extent(1), d = examples.extent(2);
  if (m == 0) return;
  Scratch<float> w(m * d, context), norms(m * n, context), multipliers(m * n, context);
  Scratch<int> support(m * n, context);
  const MarginScratch scratch{w.data(), norms.data(), multipliers.data(), support.data()};
  launch(context, m, kChains, 0, max_margin_kernel, examples.data(), n, d, options, scratch, students.data(),
         margins.data(), sweeps.data());
}

}  // namespace scalelab::cuda
