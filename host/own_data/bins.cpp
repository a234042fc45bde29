#include "host/own_data/bins.h"

#include <algorithm>

namespace scalelab::host {

Bins::Bins(double least, double greatest)
    : least_(least), range_(greatest - least), count_(greatest > least ? 40 : 1) {}

std::size_t Bins::of(double value) const {
  const double share = range_ > 0 ? (value - least_) / range_ : 0;
  return std::min(count_ - 1, static_cast<std::size_t>(share * static_cast<double>(count_)));
}

std::vector<double> Bins::edges() const {
  std::vector<double> edges;
  for (std::size_t bin = 0; bin <= count_; ++bin) {
    edges.push_back(least_ + range_ * static_cast<double>(bin) / static_cast<double>(count_));
  }
  return edges;
}

}  // namespace scalelab::host
