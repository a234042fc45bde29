// xor_sgd_check: the argument checks that both twins of xor_sgd make, and what they draw alike.
#pragma once

#include <cmath>
#include <span>
#include <stdexcept>
#include <string>

#include "scalelab/random.h"
#include "scalelab/xor_sgd.h"

namespace scalelab {

inline void check_xor_sgd(const XorProblem& problem, std::span<const XorRun> runs, View<float> accuracies) {
  const auto refuse = [](const std::string& what) { throw std::invalid_argument("xor_sgd: " + what); };
  if (problem.dimension < 2 || problem.dimension > 4096) refuse("dimension must be 2 to 4096");
  if (!(problem.easy_variance > 0) || !(problem.hard_variance > 0)) refuse("variances must be above 0");
  if (!(problem.easy_share >= 0 && problem.easy_share <= 1)) refuse("easy_share must be in [0, 1]");
  if (!(problem.rate > 0) || !(problem.start >= 0)) refuse("rate must be above 0 and start not below 0");
  if (problem.evaluations < 1 || problem.test_examples < 1) refuse("evaluations and test_examples must be at least 1");
  if (!(static_cast<double>(problem.time) * problem.dimension >= problem.evaluations) || problem.time > 1e6) {
    refuse("time must hold a step for every evaluation, and be at most 1e6");
  }
  const auto m = static_cast<std::int64_t>(runs.size());
  if (accuracies.extent(0) != m || (m > 0 && accuracies.extent(1) != problem.evaluations)) {
    refuse("accuracies must be (runs, evaluations)");
  }
  for (std::int64_t i = 0; i < m; ++i) {
    if (runs[static_cast<std::size_t>(i)].hidden < 1 || runs[static_cast<std::size_t>(i)].hidden > 1024) {
      refuse("run " + std::to_string(i) + ": hidden must be 1 to 1024");
    }
  }
}

inline constexpr std::uint64_t kXorTestSteps = std::uint64_t{1} << 40;  // test examples are numbered from here on

// Which of the four clusters, and a uniform number for the order that draws the variance.
struct XorDraw {
  int axis;      // 0: label +1, 1: label -1
  float centre;  // +1 or -1 along it
  float uniform;
};
SCALELAB_HD inline XorDraw draw_xor_cluster(std::uint64_t seed, std::uint64_t number) {
  const Words words = random_words(seed, Stream::points, number, 0xffffffffU);
  return {static_cast<int>(words[0] >> 31), (words[0] >> 30 & 1U) != 0 ? 1.0F : -1.0F, uniform_float(words[1])};
}

// Steps of a run, and how many of them are easy in the sorted orders.
inline std::int64_t xor_steps(const XorProblem& problem) {
  return static_cast<std::int64_t>(std::llround(static_cast<double>(problem.time) * problem.dimension));
}
inline std::int64_t xor_easy_steps(const XorProblem& problem) {
  return static_cast<std::int64_t>(
      std::llround(static_cast<double>(problem.easy_share) * static_cast<double>(xor_steps(problem))));
}

}  // namespace scalelab
