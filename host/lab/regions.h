// regions: parts of the plane in which a map's errors are counted apart, and the patches that a map is made of.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "host/data/mixture.h"
#include "scalelab/grid.h"
#include "scalelab/spiral.h"

namespace scalelab::host {

// Of a grid over [-1, 1]^2:
//   sparse  the quarter of its cells on which the fewest of the mixture's points fall
//   centre  less than a pitch from the origin, where the spiral begins
//   tip     at most half a pitch from the band's centre line over its last quarter turn, where it ends
class Regions {
 public:
  static constexpr std::array kMeasures = {"sparse_error", "centre_error", "tip_error"};
  static constexpr std::size_t kCount = kMeasures.size();
  using Counts = std::array<std::int64_t, kCount>;

  // `mass` must outlive this. Of a grid beyond 1024 x 1024 the quarter and the numbers of cells are those of 1024 x 1024
  // cells that lie evenly among them.
  Regions(const Spiral& spiral, const CellMass& mass, const Grid& grid);
  // Adds the cells [begin, end) of a row to the count of every region they lie in.
  void count(std::int64_t row, std::int64_t begin, std::int64_t end, Counts& counts) const;
  double cells(std::size_t region) const { return cells_[region]; }  // how many it has; 0 on a grid too coarse for it

 private:
  std::array<bool, kCount> at(std::int64_t row, std::int64_t column) const;

  Spiral spiral_;
  const CellMass& mass_;
  Grid grid_;
  double least_mass_ = 0;  // a cell with less is sparse
  std::array<double, kCount> cells_{};
};

// How many patches a map of two labels has: cells of one label that hang together by their sides, of 1/4096 of the
// plane or more. The truth has two, the band and what lies about it. Rows are given one after the other.
class Patches {
 public:
  explicit Patches(std::int64_t size) : size_(size) {}  // cells to a row, and rows
  void add_row(std::span<const std::uint8_t> labels);
  std::int64_t count() const;

 private:
  struct Run {
    std::int64_t begin, end;
    std::uint8_t label;
    std::size_t patch;
  };
  std::size_t root(std::size_t patch);

  std::int64_t size_;
  std::vector<Run> above_;            // the row before
  std::vector<std::size_t> parent_;   // of each patch that was begun; its own where it was not joined to another
  std::vector<std::int64_t> area_{};  // of roots, in cells
};

// The first place from `at` on where two rows differ (or, with `equal`, where they do not), else `size`.
std::int64_t next_place(const std::uint8_t* a, const std::uint8_t* b, std::int64_t at, std::int64_t size, bool equal);

}  // namespace scalelab::host
