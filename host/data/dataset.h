// dataset: labelled points, and those of the spiral problem.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "host/data/mixture.h"
#include "scalelab/spiral.h"

namespace scalelab::host {

inline constexpr int kMostClasses = 256;  // a label is a byte

struct Dataset {
  std::vector<float> points;         // (n, d)
  std::vector<std::uint8_t> labels;  // (n), 0 .. classes - 1
  int features = 2;                  // d
  int classes = 2;
  std::vector<std::string> class_names{};  // what each class is called in the file it came from
  // Whether all features are pixels, whole numbers 0 to 255 in one unit.
  bool pixels = false;

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

// n points of the mixture, labelled by the spiral (1 inside, 0 outside), each label turned over with probability
// `label_noise`. Point i depends on (seed, i) alone, so that the first n of a larger set are the smaller set; the same
// bits on every machine.
Dataset sample_spiral(const Mixture& mixture, const Spiral& spiral, std::int64_t n, std::uint64_t seed,
                      double label_noise = 0);

}  // namespace scalelab::host
