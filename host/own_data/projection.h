// projection: rows of many features as points of a plane, to be looked at.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "host/pages/page.h"

namespace scalelab::host {

inline constexpr std::int64_t kMostProjected = 2000;  // dots: more would hide each other

// Copies a row's features, (d), to `to`.
using ReadRow = std::function<void(std::int64_t row, std::span<float> to)>;
// Of rows (n, d) in memory, which must outlive it.
ReadRow row_reader(std::span<const float> rows, std::int64_t features);

// The ids of the rows that a page shows, ascending: all n, or a random choice of kMostProjected; fewer of very many
// features.
std::vector<std::int64_t> rows_to_show(std::int64_t n, std::int64_t features, std::uint64_t seed);

// The plane in which rows vary most: through their mean along their first two principal components. Of one or two
// features the features themselves. The same bits every time.
class Plane {
 public:
  // At least one row.
  Plane(const std::vector<std::int64_t>& rows, std::int64_t features, const ReadRow& read);
  std::array<double, 2> at(std::span<const float> row) const;

  // As result.json holds them: {x_title, y_title}, "1st principal component, 31 % of variance"; and of rows
  // {rows (ids), x, y}, six digits of each coordinate.
  nlohmann::json titles() const;
  nlohmann::json points(const std::vector<std::int64_t>& rows, const ReadRow& read) const;

 private:
  std::int64_t features_;
  std::vector<double> mean_, first_, second_;  // (d)
  double share_x_ = 0, share_y_ = 0;           // of the variance
};

// A chart of such a plane without points, and the sentence on which of n rows it shows.
Chart plane_chart(const nlohmann::json& plane, const std::string& title, const std::string& command);
std::string shown_rows_text(std::int64_t shown, std::int64_t n, const std::string& noun, std::int64_t features);
// The points of `points` for which `take` holds, named "row 17" and what `note` says.
Line points_line(const nlohmann::json& points, const std::string& name, const std::string& colour,
                 const std::function<bool(std::size_t)>& take,
                 const std::function<std::string(std::size_t)>& note = {});
// The first features of a row as text: "0.1, 2, ...".
std::string row_text(std::span<const float> row);

}  // namespace scalelab::host
