// mixture: where the spiral's points come from: Gaussian spots in the plane, and how much of them lies where.
#pragma once

#include <cstdint>
#include <vector>

namespace scalelab::host {

// Gaussian spots in the plane, truncated to [-1, 1]^2.
struct Mixture {
  struct Spot {
    double x, y, sigma, weight;
  };
  std::vector<Spot> spots;
};

// The 24 spots of mixture-default.csv.
const Mixture& default_mixture();
// Other mixtures: centres uniform in the domain, sigma log-uniform in [.06, .25], weights uniform in [.5, 1.5],
// normalised.
Mixture random_mixture(std::uint64_t seed, int spots = 24);
// The mixture of a world: the default one of world 0, else random_mixture(world).
Mixture mixture_of_world(std::uint64_t world);

// The share of a mixture's points, truncated to [-1, 1]^2, that falls on cells of a G x G grid over that square: within
// 1e-12, from arithmetic that is the same everywhere. All cells together have 1.
class CellMass {
 public:
  CellMass(const Mixture& mixture, std::int64_t size);  // size: G
  // Of the cells [begin, end) of a row; row 0 lies at the smallest y.
  double of(std::int64_t row, std::int64_t begin, std::int64_t end) const;

 private:
  std::size_t spots_;
  std::vector<double> rows_;     // (G, spots): a spot's weight, times its share in the row's range of y
  std::vector<double> columns_;  // (G + 1, spots): a spot's share in the range of x left of the column
};

// e^x from arithmetic alone, so that it is the same everywhere; below -700 it is e^-700, above 700 e^700.
double exponential(double x);

}  // namespace scalelab::host
