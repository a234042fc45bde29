#include "host/lab/regions.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace scalelab::host {

// Stretches that are equal are passed over eight cells at a time.
std::int64_t next_place(const std::uint8_t* a, const std::uint8_t* b, std::int64_t at, std::int64_t size, bool equal) {
  for (; at < size; ++at) {
    while (!equal && at + 8 <= size && std::memcmp(a + at, b + at, 8) == 0) at += 8;
    if (at < size && (a[at] == b[at]) == equal) return at;
  }
  return size;
}

Regions::Regions(const Spiral& spiral, const CellMass& mass, const Grid& grid)
    : spiral_(spiral), mass_(mass), grid_(grid) {
  // Cells looked at along a side: a million tell the lowest quarter of the masses well enough.
  constexpr std::int64_t kMostAlong = 1024;
  const std::int64_t step = (grid.size + kMostAlong - 1) / kMostAlong;
  std::vector<double> masses;
  for (std::int64_t row = step / 2; row < grid.size; row += step) {
    for (std::int64_t column = step / 2; column < grid.size; column += step) {
      masses.push_back(mass.of(row, column, column + 1));
    }
  }
  const auto quarter = masses.begin() + std::ssize(masses) / 4;
  std::nth_element(masses.begin(), quarter, masses.end());
  least_mass_ = *quarter;
  const auto looked_at = static_cast<double>(masses.size());
  for (std::int64_t row = step / 2; row < grid.size; row += step) {
    for (std::int64_t column = step / 2; column < grid.size; column += step) {
      const auto in = at(row, column);
      for (std::size_t region = 0; region < kCount; ++region) cells_[region] += in[region];
    }
  }
  const double all = static_cast<double>(grid.size) * static_cast<double>(grid.size);
  for (double& cells : cells_) cells *= all / looked_at;
}

std::array<bool, Regions::kCount> Regions::at(std::int64_t row, std::int64_t column) const {
  const double x = std::fma(static_cast<float>(column) + 0.5F, grid_.step_x(), grid_.x_min);
  const double y = std::fma(static_cast<float>(row) + 0.5F, grid_.step_y(), grid_.y_min);
  const double turn = 2 * kPi, pitch = spiral_.tip_radius / spiral_.turns;
  const double r = square_root(std::fma(x, x, y * y));
  bool tip = false;
  if (std::abs(r - pitch * (spiral_.turns - 0.125)) <= 0.625 * pitch) {  // else it is too near or too far
    double phi = angle(y, x) - spiral_.start_angle;
    phi -= turn * std::floor(phi / turn);
    const double centre_line = pitch * (spiral_.turns - 1 + phi / turn);  // of the last turn
    tip = phi >= 0.75 * turn && std::abs(r - centre_line) <= pitch / 2;
  }
  return {mass_.of(row, column, column + 1) < least_mass_, r < pitch, tip};
}

void Regions::count(std::int64_t row, std::int64_t begin, std::int64_t end, Counts& counts) const {
  for (std::int64_t column = begin; column < end; ++column) {
    const auto in = at(row, column);
    for (std::size_t region = 0; region < kCount; ++region) counts[region] += in[region];
  }
}

std::size_t Patches::root(std::size_t patch) {
  while (parent_[patch] != patch) patch = parent_[patch] = parent_[parent_[patch]];
  return patch;
}

void Patches::add_row(std::span<const std::uint8_t> labels) {
  const auto size = std::ssize(labels);
  std::vector<Run> runs;
  std::size_t first = 0;  // run of the row above that may still meet a run of this one
  for (std::int64_t begin = 0; begin < size;) {
    // A run ends where a label is unlike the one behind it.
    const std::int64_t end = 1 + next_place(labels.data(), labels.data() + 1, begin, size - 1, false);
    Run run{begin, end, labels[static_cast<std::size_t>(begin)], parent_.size()};
    parent_.push_back(run.patch);
    area_.push_back(end - begin);
    while (first < above_.size() && above_[first].end <= begin) ++first;
    for (std::size_t i = first; i < above_.size() && above_[i].begin < end; ++i) {
      if (above_[i].label != run.label) continue;
      const std::size_t mine = root(run.patch), other = root(above_[i].patch);
      if (mine == other) continue;
      parent_[mine] = other;
      area_[other] += area_[mine];
    }
    runs.push_back(run);
    begin = end;
  }
  above_ = std::move(runs);
}

std::int64_t Patches::count() const {
  const double least = static_cast<double>(size_) * static_cast<double>(size_) / 4096;
  std::int64_t count = 0;
  for (std::size_t patch = 0; patch < parent_.size(); ++patch) {
    count += parent_[patch] == patch && static_cast<double>(area_[patch]) >= least;
  }
  return count;
}

}  // namespace scalelab::host
