// bins: equal parts of the way from the least of some values to the greatest, for a histogram.
#pragma once

#include <cstddef>
#include <vector>

namespace scalelab::host {

class Bins {
 public:
  // One bin where the two are equal.
  Bins(double least, double greatest);
  std::size_t count() const { return count_; }
  std::size_t of(double value) const;  // which one holds a value between the two
  std::vector<double> edges() const;   // (count + 1), ascending

 private:
  double least_, range_;
  std::size_t count_;
};

}  // namespace scalelab::host
