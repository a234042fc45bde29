// The CPU twin of max_margin.h: one set of examples per thread, coordinates across the vector.
#include "scalelab/max_margin.h"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parallel.h"
#include "kernels/max_margin_check.h"
#include "scalelab/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/max_margin.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/chains-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {
namespace {

void max_margin_set(const float* examples, std::int64_t n, std::int64_t d, const MaxMarginOptions& options,
                    float* student, float* margin, int* sweeps) {
  const std::int64_t padded = padded_length(d);
  const auto rows = aligned_floats(n * padded);
  const auto w = aligned_floats(padded);
  std::vector<float> squared_norms(static_cast<std::size_t>(n)), multipliers(static_cast<std::size_t>(n));
  std::fill(w.get(), w.get() + padded, 0.0F);
  for (std::int64_t i = 0; i < n; ++i) {
    float* row = rows.get() + i * padded;
    std::copy(examples + i * d, examples + (i + 1) * d, row);
    std::fill(row + d, row + padded, 0.0F);
    squared_norms[i] = dot(row, row, padded);
  }
  // A sweep over all examples, then sweeps over those with a multiplier (the few that support the student) until these
  // hold, at most kInner; only a sweep over all can end the search.
  constexpr int kInner = 64;
  std::vector<std::int32_t> all(static_cast<std::size_t>(n)), support;
  std::iota(all.begin(), all.end(), 0);
  int made = 0;
  const auto sweep_over = [&](const std::vector<std::int32_t>& chosen) {
    const auto count = static_cast<std::uint32_t>(chosen.size());
    const Shuffle order(count, 0, static_cast<std::uint32_t>(made));
    float worst = 0;
    for (std::uint32_t position = 0; position < count; ++position) {
      const std::int64_t i = chosen[order(position)];
      const float* row = rows.get() + i * padded;
      if (!(squared_norms[i] > 0)) continue;  // an example at the origin has margin 0 whatever the student
      const float shortfall = 1.0F - dot(w.get(), row, padded);
      worst = std::max(worst, multipliers[i] > 0 ? std::abs(shortfall) : std::max(shortfall, 0.0F));
      const float raised = std::max(multipliers[i] + shortfall / squared_norms[i], 0.0F);
      if (raised != multipliers[i]) add_scaled(raised - multipliers[i], row, w.get(), padded);
      multipliers[i] = raised;
    }
    ++made;
    return worst;
  };
  *sweeps = -1;
  while (made < options.max_sweeps) {
    if (sweep_over(all) <= options.tolerance) {
      *sweeps = made;
      break;
    }
    support.clear();
    for (std::int32_t i : all) {
      if (multipliers[i] > 0) support.push_back(i);
    }
    for (int inner = 0; inner < kInner && made < options.max_sweeps; ++inner) {
      if (sweep_over(support) <= 0.5F * options.tolerance) break;
    }
  }
  const float length = std::sqrt(dot(w.get(), w.get(), padded));
  for (std::int64_t c = 0; c < padded; ++c) w[c] = length > 0 ? w[c] / length : 0.0F;
  float smallest = INFINITY;
  for (std::int64_t i = 0; i < n; ++i) smallest = std::min(smallest, dot(w.get(), rows.get() + i * padded, padded));
  std::copy(w.get(), w.get() + d, student);
  *margin = smallest;
}

}  // namespace
}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {

HWY_EXPORT(max_margin_set);

void max_margin(View<const float> examples, View<float> students, View<float> margins, View<int> sweeps,
                const MaxMarginOptions& options, Context& context) {
  const std::int64_t m = examples.extent(0), n = examples.extent(1), d = examples.extent(2);
  check_max_margin(examples, students, margins, sweeps, options);
  parallel_for(context, m, [&](std::int64_t set) {
    HWY_DYNAMIC_DISPATCH(max_margin_set)
    (&examples(set, 0, 0), n, d, options, &students(set, 0), &margins(set), &sweeps(set));
  });
}

}  // namespace scalelab::cpu
#endif
