// max_margin_check: the argument checks that both twins of max_margin make.
#pragma once

#include <stdexcept>

#include "scalelab/max_margin.h"

namespace scalelab {

inline void check_max_margin(View<const float> examples, View<float> students, View<float> margins, View<int> sweeps,
                             const MaxMarginOptions& options) {
  const std::int64_t m = examples.extent(0), n = examples.extent(1), d = examples.extent(2);
  if (examples.rank() != 3 || n < 1 || d < 1) {
    throw std::invalid_argument("max_margin: examples must be (m, n, d) with n and d at least 1");
  }
  if (n > INT32_MAX) throw std::invalid_argument("max_margin: more than 2^31 - 1 examples in a set");
  if (students.extent(0) != m || students.extent(1) != d || margins.size() != m || sweeps.size() != m) {
    throw std::invalid_argument("max_margin: students must be (m, d), margins and sweeps (m)");
  }
  if (!(options.tolerance > 0) || options.max_sweeps < 1) {
    throw std::invalid_argument("max_margin: tolerance must be above 0 and max_sweeps at least 1");
  }
}

}  // namespace scalelab
