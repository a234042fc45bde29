// max_margin: the max-margin perceptron of many independent sets of examples.
#pragma once

#include "scalelab/view.h"

namespace scalelab {

class Context;

struct MaxMarginOptions {
  // Stop when every example's margin, measured so that the smallest is to be 1, misses its condition by at most this:
  // at least 1 - tolerance without a multiplier, within tolerance of 1 with one.
  float tolerance = 1e-3F;
  int max_sweeps = 200000;  // over all examples or over the supporting ones
};

// For each of m sets, the unit vector w through the origin that maximises the smallest w . example, by dual coordinate
// ascent: sweeps over examples, in a new order each (shuffled_index of random.h with seed 0), each visit moving one
// multiplier to where its own condition holds.
//
// Arithmetic  fp32. A dot product is 16 fma chains, chain j over coordinates j, j + 16, ..., added pairwise: j with
//             j + 8, then 4, 2, 1. A set's result depends on its examples alone.
// Not separable or slow: sweeps = -1 when max_sweeps were not enough; the student is then the last iterate.
// Throws      std::invalid_argument on shapes that do not fit, n < 1, d < 1, tolerance <= 0 or max_sweeps < 1.
// Returns     after queueing the work (the CPU: after finishing it). Deterministic.
using MaxMargin = void(View<const float> examples,  // (m, n, d) label times input
                       View<float> students,        // (m, d) out, unit vectors
                       View<float> margins,         // (m) out: the smallest student . example
                       View<int> sweeps,            // (m) out: sweeps made, or -1
                       const MaxMarginOptions& options, Context&);

namespace cpu {
MaxMargin max_margin;
}
namespace cuda {
MaxMargin max_margin;
}

}  // namespace scalelab
