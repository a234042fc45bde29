// mlp_step: what one optimiser step multiplies by, in fp64 and rounded once: the same bits on every backend.
#pragma once

#include <cstdint>

#include "scalelab/math.h"
#include "scalelab/mlp.h"

namespace scalelab {

struct MlpStep {
  float rate = 0;          // learning rate
  float scaled_rate = 0;   // adam: rate / (1 - beta1^t)
  float inverse_root = 1;  // adam: 1 / sqrt(1 - beta2^t)
};

SCALELAB_HD inline double integer_power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

// Step `step` (from 0) of `steps`.
SCALELAB_HD inline MlpStep mlp_step(float learning_rate, Schedule schedule, Optimizer optimizer, float beta1,
                                    float beta2, std::int64_t step, std::int64_t steps) {
  double rate = learning_rate;
  if (schedule == Schedule::cosine) {
    rate *= 0.5 * (1 + sin_cos_turns(0.5 * static_cast<double>(step) / static_cast<double>(steps)).cos);
  }
  MlpStep result;
  result.rate = static_cast<float>(rate);
  if (optimizer == Optimizer::adam) {
    result.scaled_rate = static_cast<float>(rate / (1 - integer_power(beta1, step + 1)));
    result.inverse_root = static_cast<float>(1 / square_root(1 - integer_power(beta2, step + 1)));
  }
  return result;
}

}  // namespace scalelab
