// projection: rows of many features as points of a plane, to be looked at.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace scalelab::host {

struct Projection {
  std::vector<std::int64_t> rows;             // ids, ascending: all, or a random choice of kMostProjected
  std::vector<std::array<double, 2>> points;  // one for each
  std::string x_title, y_title;               // "first principal component, 31 % of the variance"
};

inline constexpr std::int64_t kMostProjected = 2000;

// The plane of largest variance of those rows (their first two principal components); of one or two features the features
// themselves. The same bits every time.
Projection project(std::span<const float> values, std::int64_t features, std::uint64_t seed);

}  // namespace scalelab::host
