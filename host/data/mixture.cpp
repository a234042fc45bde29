#include "host/data/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include "embedded.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

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

// A spot's density along one axis, integrated from -1 to the right edge of each of `size` cells: Gauss and Legendre's
// rule of 3 nodes on pieces of at most sigma / 16, whose relative error is below (1/16)^6 15 / 2016000 < 1e-12.
std::vector<double> shares_along(double centre, double sigma, std::int64_t size) {
  static const double kNode = std::sqrt(0.6);
  const double cell = 2.0 / static_cast<double>(size);
  const auto pieces = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(16 * cell / sigma)));
  const double half = cell / (2 * static_cast<double>(pieces)), scale = half / (sigma * std::sqrt(2 * kPi));
  const auto density = [&](double at) {
    const double z = (at - centre) / sigma;
    return exponential(-0.5 * z * z);
  };
  std::vector<double> shares(1, 0.0);
  double sum = 0;
  for (std::int64_t piece = 0; piece < size * pieces; ++piece) {
    const double middle = std::fma(static_cast<double>(2 * piece + 1), half, -1.0);
    sum += scale * (5 * density(middle - kNode * half) + 8 * density(middle) + 5 * density(middle + kNode * half)) / 9;
    if ((piece + 1) % pieces == 0) shares.push_back(sum);
  }
  return shares;
}

}  // namespace

const Mixture& default_mixture() {
  static const Mixture mixture = parse_mixture(embedded::mixture_default_csv);
  return mixture;
}

Mixture random_mixture(std::uint64_t seed, int spots) {
  if (spots < 1) throw std::invalid_argument(fmt::format("a mixture needs at least one spot, not {}", spots));
  constexpr double kSmallest = 0.06, kLargest = 0.25;  // sigmas, about as widely spread as the default mixture's
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

Mixture mixture_of_world(std::uint64_t world) { return world == 0 ? default_mixture() : random_mixture(world); }

CellMass::CellMass(const Mixture& mixture, std::int64_t size)
    : spots_(mixture.spots.size()),
      rows_(static_cast<std::size_t>(size) * spots_),
      columns_(static_cast<std::size_t>(size + 1) * spots_) {
  double whole = 0;  // of the untruncated mixture, what lies in the square
  for (std::size_t s = 0; s < spots_; ++s) {
    const auto& spot = mixture.spots[s];
    const std::vector<double> x = shares_along(spot.x, spot.sigma, size), y = shares_along(spot.y, spot.sigma, size);
    whole += spot.weight * x.back() * y.back();
    for (std::size_t i = 0; i < x.size(); ++i) columns_[i * spots_ + s] = x[i];
    for (std::size_t i = 0; i + 1 < y.size(); ++i) rows_[i * spots_ + s] = spot.weight * (y[i + 1] - y[i]);
  }
  for (double& share : rows_) share /= whole;
}

double CellMass::of(std::int64_t row, std::int64_t begin, std::int64_t end) const {
  const double* weight = rows_.data() + static_cast<std::size_t>(row) * spots_;
  const double* left = columns_.data() + static_cast<std::size_t>(begin) * spots_;
  const double* right = columns_.data() + static_cast<std::size_t>(end) * spots_;
  double mass = 0;
  for (std::size_t s = 0; s < spots_; ++s) mass += weight[s] * (right[s] - left[s]);
  return mass;
}

// x = m ln 2 + r, the Taylor series of e^r to r^13 (|r| < 0.35: next term below 5e-18).
double exponential(double x) {
  x = std::clamp(x, -700.0, 700.0);
  const double m = std::rint(x * 1.4426950408889634);
  double r = std::fma(m, -0x1.62e42fefa38p-1, x);  // ln 2 in two parts, as in math.h
  r = std::fma(m, -0x1.ef35793c7673p-45, r);
  double series = 1;
  for (int n = 13; n >= 1; --n) series = std::fma(series, r / n, 1.0);
  return std::ldexp(series, static_cast<int>(m));
}

}  // namespace scalelab::host
