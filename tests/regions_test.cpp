// Regions against their definitions, counted cell by cell, and patches against maps that are easily counted by hand.
#include "host/lab/regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace scalelab::host {
namespace {

constexpr std::size_t kSparse = 0, kCentre = 1, kTip = 2;

Regions::Counts counted_in_row(const Regions& regions, std::int64_t row, std::int64_t begin, std::int64_t end) {
  Regions::Counts counts{};
  regions.count(row, begin, end, counts);
  return counts;
}

TEST(Regions, AreThePlacesThatTheirDefinitionsName) {
  const Grid grid{.size = 128};
  const CellMass mass(mixture_of_world(3), grid.size);
  const Regions regions(Spiral{}, mass, grid);
  std::vector<double> masses;
  for (std::int64_t cell = 0; cell < 128 * 128; ++cell)
    masses.push_back(mass.of(cell / 128, cell % 128, cell % 128 + 1));
  std::vector<double> sorted = masses;
  std::sort(sorted.begin(), sorted.end());
  Regions::Counts all{};
  for (std::int64_t row = 0; row < 128; ++row) {
    regions.count(row, 0, 128, all);
    for (std::int64_t column = 0; column < 128; ++column) {
      const auto here = counted_in_row(regions, row, column, column + 1);
      const double x = (static_cast<double>(column) + 0.5) / 64 - 1, y = (static_cast<double>(row) + 0.5) / 64 - 1;
      EXPECT_EQ(here[kSparse], masses[static_cast<std::size_t>(row * 128 + column)] < sorted[128 * 128 / 4]);
      EXPECT_EQ(here[kCentre], std::hypot(x, y) < 0.23);
      // The band ends at radius 0.92 in the direction of 3 pi / 4; a quarter turn before, at 0.8625, it looks along pi/4.
      const double turned = std::fmod(std::atan2(y, x) - 0.75 * M_PI + 4 * M_PI, 2 * M_PI);
      const double line = 0.23 * (3 + turned / (2 * M_PI));
      EXPECT_EQ(here[kTip], turned >= 1.5 * M_PI && std::abs(std::hypot(x, y) - line) <= 0.115) << x << " " << y;
    }
  }
  EXPECT_EQ(all[kSparse], 128 * 128 / 4);
  for (std::size_t region = 0; region < Regions::kCount; ++region) {
    EXPECT_EQ(static_cast<double>(all[region]), regions.cells(region)) << Regions::kMeasures[region];
    EXPECT_GT(all[region], 0) << Regions::kMeasures[region];
  }
  // The tip looks to the upper left, and the place before it to the upper right.
  const auto cell = [](double at) { return static_cast<std::int64_t>((at + 1) * 64); };
  EXPECT_EQ(counted_in_row(regions, cell(0.65), cell(-0.6), cell(-0.6) + 1)[kTip], 1);
  EXPECT_EQ(counted_in_row(regions, cell(-0.65), cell(-0.6), cell(-0.6) + 1)[kTip], 0);
}

// Beyond 1024 cells along it, what is counted is a sample of them.
TEST(Regions, OfAFineGridAreThoseOfACoarseOneWithinTheirEdges) {
  const Grid fine{.size = 2048}, coarse{.size = 1024};
  const CellMass fine_mass(default_mixture(), 2048), coarse_mass(default_mixture(), 1024);
  const Regions many(Spiral{}, fine_mass, fine), few(Spiral{}, coarse_mass, coarse);
  for (std::size_t region = 0; region < Regions::kCount; ++region) {
    EXPECT_NEAR(many.cells(region) / (4 * few.cells(region)), 1, 0.01) << Regions::kMeasures[region];
  }
}

std::int64_t patches_of(const std::vector<std::string>& rows) {
  Patches patches(std::ssize(rows));
  for (const std::string& row : rows) {
    std::vector<std::uint8_t> labels;
    for (const char c : row) labels.push_back(c == '#');
    patches.add_row(labels);
  }
  return patches.count();
}

TEST(Patches, HangTogetherByTheirSides) {
  EXPECT_EQ(patches_of({"....", "....", "....", "...."}), 1);
  EXPECT_EQ(patches_of({"##..", "##..", "....", "...#"}), 3);
  EXPECT_EQ(patches_of({"#...", ".#..", "..#.", "...#"}), 6);               // corners join nothing
  EXPECT_EQ(patches_of({"#.#.#", "#.#.#", "#.#.#", "#.#.#", "#####"}), 3);  // a comb joins at its foot
  EXPECT_EQ(patches_of({"#####", "#...#", "#.#.#", "#...#", "#####"}), 3);  // a ring about a ring about a dot
  EXPECT_EQ(patches_of({"#.##", "#..#", "##.#", "...#"}), 3);
}

TEST(Patches, BelowAShareOfThePlaneAreNotCounted) {
  const std::int64_t size = 1024;  // a patch has 256 cells or more
  for (const std::int64_t side : {15, 16}) {
    Patches patches(size);
    for (std::int64_t row = 0; row < size; ++row) {
      std::vector<std::uint8_t> labels(static_cast<std::size_t>(size), 0);
      if (row < side) std::fill_n(labels.begin() + 100, side, 1);
      patches.add_row(labels);
    }
    EXPECT_EQ(patches.count(), side == 16 ? 2 : 1);
  }
}

// The band and what lies about it: one patch each, however finely it is drawn.
TEST(Patches, OfTheTruthAreTwo) {
  for (const std::int64_t size : {256, 512, 1024}) {
    const Grid grid{.size = size};
    Patches patches(size);
    for (std::int64_t row = 0; row < size; ++row) {
      std::vector<std::uint8_t> labels;
      for (std::int64_t column = 0; column < size; ++column) {
        const float x = std::fma(static_cast<float>(column) + 0.5F, grid.step_x(), grid.x_min);
        const float y = std::fma(static_cast<float>(row) + 0.5F, grid.step_y(), grid.y_min);
        labels.push_back(Spiral{}.inside(x, y));
      }
      patches.add_row(labels);
    }
    EXPECT_EQ(patches.count(), 2) << size;
  }
}

}  // namespace
}  // namespace scalelab::host
