#include "host/own_data/projection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "host/program/words.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostValues = 4'000'000;  // of the rows whose plane is looked for
constexpr std::int64_t kFewestShown = 50;        // rows, however many features they have

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Length 1; what has none stays as it is.
void normalize(std::vector<double>& v) {
  const double length = std::sqrt(dot(v, v));
  for (double& x : v) x /= length > 0 ? length : 1;
}

// Rows about their mean, (m, d).
struct Centred {
  std::vector<std::vector<double>> rows;

  std::vector<double> along(const std::vector<double>& direction) const {  // (m)
    std::vector<double> at;
    for (const auto& row : rows) at.push_back(dot(row, direction));
    return at;
  }
  double variance() const {
    double sum = 0;
    for (const auto& row : rows) sum += dot(row, row);
    return sum;
  }
};

// Power iteration with the first direction taken out: the covariance is never made, so that many features cost little.
// It ends when the direction turns by less than a ten-thousandth, far below what can be seen.
std::vector<double> direction_of_largest_variance(const Centred& centred, const std::vector<double>& without) {
  constexpr int kIterations = 200;     // at most: of two directions alike in variance neither wins
  constexpr double kStill = 1 - 5e-9;  // the cosine of that turn
  const std::size_t d = centred.rows[0].size();
  std::vector<double> direction(d);
  for (std::size_t c = 0; c < d; ++c) direction[c] = 1 + 0.5 * std::sin(1.0 + static_cast<double>(c));
  const auto deflate = [&] {
    const double common = without.empty() ? 0 : dot(direction, without);
    for (std::size_t c = 0; c < d && common != 0; ++c) direction[c] -= common * without[c];
    normalize(direction);
  };
  deflate();
  for (int i = 0; i < kIterations; ++i) {
    const std::vector<double> at = centred.along(direction);
    std::vector<double> next(d);
    for (std::size_t r = 0; r < at.size(); ++r) {
      for (std::size_t c = 0; c < d; ++c) next[c] += at[r] * centred.rows[r][c];
    }
    if (dot(next, next) == 0) break;
    next.swap(direction);
    deflate();
    if (dot(next, direction) > kStill) break;
  }
  return direction;
}

double six_digits(double value) { return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr); }

}  // namespace

ReadRow row_reader(std::span<const float> rows, std::int64_t features) {
  return [rows, features](std::int64_t row, std::span<float> to) {
    std::copy_n(rows.begin() + row * features, features, to.begin());
  };
}

std::vector<std::int64_t> rows_to_show(std::int64_t n, std::int64_t features, std::uint64_t seed) {
  const std::int64_t shown =
      std::min(n, std::clamp<std::int64_t>(kMostValues / features, kFewestShown, kMostProjected));
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < shown; ++i) {
    rows.push_back(shuffled_index(static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(n), seed, 0));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

Plane::Plane(const std::vector<std::int64_t>& rows, std::int64_t features, const ReadRow& read) : features_(features) {
  if (features <= 2) return;
  const auto d = static_cast<std::size_t>(features);
  mean_.resize(d);
  Centred centred;
  std::vector<float> values(d);
  for (const std::int64_t row : rows) {
    read(row, values);
    centred.rows.emplace_back(values.begin(), values.end());
    for (std::size_t c = 0; c < d; ++c) mean_[c] += values[c] / static_cast<double>(rows.size());
  }
  for (auto& row : centred.rows) {
    for (std::size_t c = 0; c < d; ++c) row[c] -= mean_[c];
  }
  first_ = direction_of_largest_variance(centred, {});
  second_ = direction_of_largest_variance(centred, first_);
  const double all = centred.variance();
  if (all == 0) return;
  const std::vector<double> x = centred.along(first_), y = centred.along(second_);
  share_x_ = dot(x, x) / all;
  share_y_ = dot(y, y) / all;
}

std::array<double, 2> Plane::at(std::span<const float> row) const {
  if (features_ <= 2) return {row[0], features_ == 2 ? row[1] : 0.0F};
  std::array<double, 2> at{};
  for (std::size_t c = 0; c < mean_.size(); ++c) {
    const double from_mean = row[c] - mean_[c];
    at[0] += from_mean * first_[c];
    at[1] += from_mean * second_[c];
  }
  return at;
}

Json Plane::titles() const {
  if (features_ <= 2) return {{"x_title", "first feature"}, {"y_title", features_ == 2 ? "second feature" : ""}};
  const auto title = [](const char* which, double share) {
    return fmt::format("{} principal component, {:.0f} % of variance", which, 100 * share);
  };
  return {{"x_title", title("1st", share_x_)}, {"y_title", title("2nd", share_y_)}};
}

Json Plane::points(const std::vector<std::int64_t>& rows, const ReadRow& read) const {
  std::vector<float> values(static_cast<std::size_t>(features_));
  std::vector<double> x, y;
  for (const std::int64_t row : rows) {
    read(row, values);
    const std::array<double, 2> place = at(values);
    x.push_back(six_digits(place[0]));
    y.push_back(six_digits(place[1]));
  }
  return {{"rows", rows}, {"x", x}, {"y", y}};
}

Chart plane_chart(const Json& plane, const std::string& title, const std::string& command) {
  return {.id = "plane",
          .title = title,
          .x = Axis{.title = plane.at("x_title"), .short_name = "x"},
          .y = Axis{.title = plane.at("y_title"), .short_name = "y"},
          .command = command};
}

std::string shown_rows_text(std::int64_t shown, std::int64_t n, const std::string& noun, std::int64_t features) {
  std::string text = shown == n ? fmt::format("All {} {}.", grouped(n), noun)
                                : fmt::format("{} of {} {}, chosen at random.", grouped(shown), grouped(n), noun);
  if (features > 2) text += " The plane in which they vary most: most of their features are not seen.";
  return text;
}

Line points_line(const Json& points, const std::string& name, const std::string& colour,
                 const std::function<bool(std::size_t)>& take, const std::function<std::string(std::size_t)>& note) {
  Line line{.name = name, .colour = colour, .joined = false};
  const Json &rows = points.at("rows"), &x = points.at("x"), &y = points.at("y");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!take(i)) continue;
    std::string what = fmt::format("row {}", rows.at(i).get<std::int64_t>());
    if (note) what += ", " + note(i);
    line.marks.push_back({.x = x.at(i), .y = y.at(i), .note = std::move(what)});
  }
  return line;
}

std::string row_text(std::span<const float> row) {
  constexpr std::size_t kMostShown = 8;  // features: more do not fit the cell of a table
  std::string text;
  for (std::size_t c = 0; c < std::min(row.size(), kMostShown); ++c) {
    text += fmt::format("{}{:.4g}", c > 0 ? ", " : "", row[c]);
  }
  return row.size() > kMostShown ? text + ", \u2026" : text;
}

}  // namespace scalelab::host
