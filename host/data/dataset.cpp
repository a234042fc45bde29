#include "host/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "host/program/error.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Points between two looks at whether a signal came.
constexpr std::int64_t kSignalCheck = 1 << 16;

}  // namespace

Dataset sample_spiral(const Mixture& mixture, const Spiral& spiral, std::int64_t n, std::uint64_t seed,
                      double label_noise) {
  if (n < 0) throw std::invalid_argument(fmt::format("{} points were asked for", n));
  if (!(label_noise >= 0 && label_noise <= 1)) {
    throw std::invalid_argument(fmt::format("label noise is a probability, not {}", label_noise));
  }
  std::vector<double> cumulative;
  double total = 0;
  for (const auto& spot : mixture.spots) cumulative.push_back(total += spot.weight);
  if (!(total > 0)) throw std::invalid_argument("the mixture has no weight");

  Dataset data;
  data.class_names = {"0", "1"};
  data.points.resize(static_cast<std::size_t>(2 * n));
  data.labels.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % kSignalCheck == 0) throw_if_interrupted();
    const auto index = static_cast<std::uint64_t>(i);
    // Draws until one lies in the domain; draw t takes lanes 2 t (which spot) and 2 t + 1 (where in it).
    float x = 0, y = 0;
    for (std::uint32_t draw = 0;; ++draw) {
      const Words which = random_words(seed, Stream::points, index, 2 * draw);
      const double level = total * uniform_double(which[0], which[1]);
      const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, level);
      const auto& spot = mixture.spots[static_cast<std::size_t>(found - cumulative.begin())];
      const NormalPair z = normal_pair(random_words(seed, Stream::points, index, 2 * draw + 1));
      x = static_cast<float>(std::fma(spot.sigma, z.first, spot.x));
      y = static_cast<float>(std::fma(spot.sigma, z.second, spot.y));
      if (std::abs(x) <= 1 && std::abs(y) <= 1) break;
      if (draw >= 1U << 20) throw std::invalid_argument("the mixture lies almost wholly outside [-1, 1]^2");
    }
    bool label = spiral.inside(x, y);
    if (label_noise > 0) {
      const Words noise = random_words(seed, Stream::label_noise, index);
      if (uniform_double(noise[0], noise[1]) < label_noise) label = !label;
    }
    data.points[2 * i] = x;
    data.points[2 * i + 1] = y;
    data.labels[i] = label ? 1 : 0;
  }
  return data;
}

}  // namespace scalelab::host
