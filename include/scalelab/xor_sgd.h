// xor_sgd: online SGD of two-layer networks on an XOR-like Gaussian mixture, in three orders, thousands of runs at
// once (Sarao Mannelli et al. 2024, doi 10.1088/1742-5468/ad864b).
#pragma once

#include <cstdint>
#include <span>

#include "scalelab/view.h"

namespace scalelab {

class Context;

enum class Gate : std::uint8_t { relu, erf };  // erf: erf(z / sqrt 2)

// Which variance an example has: easy first, hard first, or drawn at each step. The share of easy examples is the same.
enum class Order : std::uint8_t { curriculum, anti, random };

// Four clusters of equal mass at +-e1 (label +1) and +-e2 (label -1), x = centre + sqrt(variance) N(0, I_d).
// The network's output is sum_k v_k g(w_k . x / sqrt(d)); it starts at start * N(0, 1) in every weight. One example a
// step, half squared error; w moves at `rate`, v at rate / d. Time is steps / d.
struct XorProblem {
  int dimension = 200;  // d, 2 .. 4096
  float easy_variance = 0.05F, hard_variance = 0.25F;
  float easy_share = 0.5F;  // of the steps, in [0, 1]
  float rate = 0.5F;
  bool decay = false;  // rate falls linearly to 0 over the run
  float start = 0.5F;
  bool train_output = true;  // false: v keeps its start
  Gate gate = Gate::relu;
  float time = 10;           // steps / d, the budget
  int evaluations = 10;      // at equal distances in time, the last at the end
  int test_examples = 1000;  // hard ones, the same for all runs of a seed
};

struct XorRun {
  std::uint64_t seed = 0;  // of the start and of the examples: runs that share it are paired
  int hidden = 8;          // K, 1 .. 1024; a wider network's first K units start as a narrower one's
  Order order = Order::random;
};

// Accuracy on hard examples along each run. An output of exactly zero counts as wrong.
// Arithmetic  fp32; sums over coordinates as in max_margin.h; examples from Philox(seed, Stream::points, step, pair),
//             so that step s of a seed has the same cluster, and the same noise before scaling, in every order.
// Throws      std::invalid_argument on values outside their ranges or outputs that do not fit, naming the run.
// Returns     when the work is done. A run's result depends on itself and the problem alone. Deterministic.
using XorSgd = void(const XorProblem& problem, std::span<const XorRun> runs,
                    View<float> accuracies,  // (m, evaluations) out
                    Context&);

namespace cpu {
XorSgd xor_sgd;
}
namespace cuda {
XorSgd xor_sgd;
}

}  // namespace scalelab
