// byte_remainders: rows of which rounding to bytes (kernels/cpu/byte_bounds.h) leaves what lies wholly along the row they
// are held against, so that the bound is reached: without one of its terms the nearest is taken for farther than a rival.
#pragma once

#include <vector>

#include "tests/support.h"

namespace scalelab::test {

struct ByteRemainders {
  static constexpr std::int64_t kFeatures = 64, kOthers = 62;
  // What is left of the row lies along the nearest, or else what is left of the nearest along the row.
  explicit ByteRemainders(bool of_row) : row(kFeatures), nearest(kFeatures), rival(kFeatures) {
    for (std::int64_t c = 0; c < kFeatures; ++c) {
      const float v = sign(1, c);
      row[c] = v * (of_row ? (c == 0 ? 127.0F : 10.4F) : 1000.0F);
      nearest[c] = v * (of_row ? (c == 0 ? 0.0F : 20.0F) : (c == 0 ? 127.0F : 10.4F));
      rival[c] = v * (of_row ? (c == 0 ? 2.0F : 0.0F) : (c == 0 ? 127.0F : c < 16 ? 11.0F : 10.0F));
    }
    for (std::int64_t i = 0; i < kOthers * kFeatures; ++i) others.push_back(10 * sign(2, i));
  }
  static float sign(std::uint64_t seed, std::int64_t i) {
    return random_words(seed, Stream::points, static_cast<std::uint64_t>(i))[0] % 2 == 0 ? 1.0F : -1.0F;
  }
  std::vector<float> row, nearest, rival;  // (64)
  std::vector<float> others;               // (62, 64)
};

// Every row, and beside it its opposite: their mean, which scores are centred on, is 0.
inline std::vector<float> with_opposites(const std::vector<float>& rows, std::int64_t d) {
  std::vector<float> all;
  for (auto row = rows.begin(); row != rows.end(); row += d) {
    all.insert(all.end(), row, row + d);
    for (std::int64_t c = 0; c < d; ++c) all.push_back(-row[c]);
  }
  return all;
}

}  // namespace scalelab::test
