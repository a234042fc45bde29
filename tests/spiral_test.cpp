// spiral.h against a polygon with 80,000 corners drawn with the C library, and against fixed bits.
#include "scalelab/spiral.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support.h"

namespace scalelab {
namespace {

// The band's outline, out along its outer edge and back along its inner one, with point-in-polygon by counting the
// edges crossed to the right. Edges are kept in strips of y.
class Polygon {
 public:
  static constexpr int kSide = 40000, kStrips = 4096;

  explicit Polygon(const Spiral& spiral) {
    const double pi = std::acos(-1.0), end = 2 * pi * spiral.turns, c = spiral.tip_radius / end, pitch = 2 * pi * c;
    for (int i = 0; i < 2 * kSide; ++i) {
      const bool out = i < kSide;
      const double t = end * (out ? i : 2 * kSide - 1 - i) / (kSide - 1);
      const double width = pitch / 4 * std::min({1.0, t / (2 * pi), (end - t) / (pi / 2)});
      const double radius = out ? c * t + width : c * t - width;
      x_.push_back(radius * std::cos(spiral.start_angle + t));
      y_.push_back(radius * std::sin(spiral.start_angle + t));
    }
    strips_.resize(kStrips);
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const std::size_t j = (i + 1) % x_.size();
      for (int s = strip(std::min(y_[i], y_[j])); s <= strip(std::max(y_[i], y_[j])); ++s) {
        strips_[static_cast<std::size_t>(s)].push_back(i);
      }
    }
  }
  bool inside(double x, double y) const {
    bool odd = false;
    for (const std::size_t i : strips_[static_cast<std::size_t>(strip(y))]) {
      const std::size_t j = (i + 1) % x_.size();
      if ((y_[i] > y) == (y_[j] > y)) continue;
      if (x < x_[i] + (y - y_[i]) / (y_[j] - y_[i]) * (x_[j] - x_[i])) odd = !odd;
    }
    return odd;
  }
  double area() const {
    double twice = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const std::size_t j = (i + 1) % x_.size();
      twice += x_[i] * y_[j] - x_[j] * y_[i];
    }
    return std::abs(twice) / 2;
  }
  double length() const {
    double sum = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const std::size_t j = (i + 1) % x_.size();
      sum += std::hypot(x_[i] - x_[j], y_[i] - y_[j]);
    }
    return sum;
  }

 private:
  static int strip(double y) { return std::clamp(static_cast<int>((y + 1.25) / 2.5 * kStrips), 0, kStrips - 1); }
  std::vector<double> x_, y_;
  std::vector<std::vector<std::size_t>> strips_;
};

double cell(int i, int size) { return (i + 0.5) * 2 / size - 1; }

TEST(Spiral, InsideAgreesWithThePolygonEverywhere) {
  for (const Spiral& spiral : {Spiral{}, Spiral{.turns = 2, .tip_radius = 0.7, .start_angle = -1}}) {
    const Polygon polygon(spiral);
    int different = 0, inside = 0;
    for (int row = 0; row < 512; ++row) {
      for (int column = 0; column < 512; ++column) {
        const double x = cell(column, 512), y = cell(row, 512);
        inside += spiral.inside(x, y);
        different += spiral.inside(x, y) != polygon.inside(x, y);
      }
    }
    const auto draws = test::uniform_floats(400000, 5);
    for (std::size_t i = 0; i < draws.size(); i += 2) {
      different += spiral.inside(draws[i], draws[i + 1]) != polygon.inside(draws[i], draws[i + 1]);
    }
    EXPECT_EQ(different, 0);
    EXPECT_GT(inside, 10000);
  }
}

TEST(Spiral, AreaAndBoundaryAreThoseOfTheBand) {
  const Polygon polygon{Spiral{}};
  EXPECT_NEAR(polygon.length(), 23.29, 0.005);
  EXPECT_NEAR(polygon.area() / 4, 0.305, 0.0005);
  constexpr int kSize = 2048;
  std::int64_t inside = 0;
  for (int row = 0; row < kSize; ++row) {
    for (int column = 0; column < kSize; ++column) inside += Spiral{}.inside(cell(column, kSize), cell(row, kSize));
  }
  // Only the cells that the boundary crosses can be counted wrongly, by half a cell each way at random: fewer than
  // 3 length / cell width of them; five standard deviations.
  const double width = 2.0 / kSize, crossed = 3 * polygon.length() / width;
  EXPECT_NEAR(static_cast<double>(inside) * width * width, polygon.area(),
              5 * 0.5 * std::sqrt(crossed) * width * width);
}

TEST(Spiral, LabelsAreFixedBits) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (int row = 0; row < 512; ++row) {
    for (int column = 0; column < 512; ++column) {
      hash = (hash ^ (Spiral{}.inside(cell(column, 512), cell(row, 512)) ? 1U : 0U)) * 0x100000001b3U;
    }
  }
  EXPECT_EQ(hash, 12402996590383312430U);
}

TEST(Spiral, OriginTipAndBeyond) {
  const Spiral spiral;
  EXPECT_FALSE(spiral.inside(0, 0));  // the cusp has no width
  const auto at = [&](double r, double t) {
    return spiral.inside(r * std::cos(spiral.start_angle + t), r * std::sin(spiral.start_angle + t));
  };
  EXPECT_TRUE(at(0.9, 8 * kPi * 0.9 / 0.92));     // on the centre line, near the tip
  EXPECT_FALSE(at(0.93, 8 * kPi * 0.93 / 0.92));  // beyond it
  EXPECT_FALSE(spiral.inside(1, 1));
  EXPECT_FALSE(spiral.inside(-1, -1));
}

}  // namespace
}  // namespace scalelab
