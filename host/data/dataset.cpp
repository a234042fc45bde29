#include "host/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "embedded.h"
#include "host/program/error.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

// Points between two looks at whether a signal came.
constexpr std::int64_t kSignalCheck = 1 << 16;

// e^x for |x| <= 2, by the Taylor series of e^(x/8) (next term below 1e-19) squared three times: arithmetic that is the
// same everywhere, as in math.h.
double exponential(double x) {
  const double t = x / 8;
  double series = 1.0;
  for (int n = 14; n >= 1; --n) series = std::fma(series, t / n, 1.0);
  for (int square = 0; square < 3; ++square) series *= series;
  return series;
}

Mixture parse_mixture(std::string_view csv) {
  Mixture mixture;
  std::size_t begin = csv.find('\n') + 1;  // behind the header
  while (begin < csv.size()) {
    const std::size_t end = std::min(csv.find('\n', begin), csv.size());
    double values[4] = {};
    const char* from = csv.data() + begin;
    for (double& value : values) {
      const auto [stop, error] = std::from_chars(from, csv.data() + end, value);
      if (error != std::errc()) throw std::logic_error("the built-in mixture cannot be read");
      from = stop + 1;  // behind the comma
    }
    mixture.spots.push_back({values[0], values[1], values[2], values[3]});
    begin = end + 1;
  }
  return mixture;
}

}  // namespace

const Mixture& default_mixture() {
  static const Mixture mixture = parse_mixture(embedded::mixture_default_csv);
  return mixture;
}

Mixture random_mixture(std::uint64_t seed, int spots) {
  if (spots < 1) throw std::invalid_argument(fmt::format("a mixture needs at least one spot, not {}", spots));
  constexpr double kSmallest = 0.06, kLargest = 0.25;
  const double span = natural_log(kLargest / kSmallest);
  Mixture mixture;
  double total = 0;
  for (int i = 0; i < spots; ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const Words a = random_words(seed, Stream::mixture, index, 0), b = random_words(seed, Stream::mixture, index, 1);
    const double weight = 0.5 + uniform_double(b[2], b[3]);
    mixture.spots.push_back({std::fma(2.0, uniform_double(a[0], a[1]), -1.0),
                             std::fma(2.0, uniform_double(a[2], a[3]), -1.0),
                             kSmallest * exponential(span * uniform_double(b[0], b[1])), weight});
    total += weight;
  }
  for (auto& spot : mixture.spots) spot.weight /= total;
  return mixture;
}

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
