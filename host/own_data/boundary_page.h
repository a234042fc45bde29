// boundary_page: a decision map as a page shows it: small, with names on it, the points over it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "host/data/dataset.h"
#include "host/data/png.h"
#include "host/pages/page.h"

namespace scalelab::host {

// map.png: the map of `size` x `size` cells at kMostMapCells a side at the most, without points.
class MapPicture {
 public:
  static constexpr std::int64_t kMostMapCells = 640;
  MapPicture(const std::filesystem::path& file, std::int64_t size, int classes);
  // Rows [row_begin, row_begin + rows) of the map from the top down, (rows, size).
  void add(std::span<const std::uint8_t> labels, std::int64_t row_begin);
  void commit();

  // The place deepest inside each class's widest area, as shares of the map from its left and its bottom; {-1, -1} where
  // that is too narrow for a name.
  std::vector<std::array<double, 2>> places_of_names() const;

 private:
  std::int64_t size_, side_;
  int classes_;
  std::vector<std::uint8_t> cells_;  // (side, side), from the top down
  PngWriter png_;
};

// What host/results.md says of `points`: a choice of the points, each with its class.
nlohmann::json points_to_show(const Dataset& data, std::uint64_t seed);

// document: result.json; folder: where map.png is.
Page boundary_page(const nlohmann::json& document, const std::filesystem::path& folder);

}  // namespace scalelab::host
