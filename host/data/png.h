// png: palette pictures, written a band of rows at a time so that a 16384 x 16384 map needs no copy.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace scalelab::host {

using Rgb = std::array<std::uint8_t, 3>;

// Of class 0 and class 1 where there are two; page.css and live.js have them by the same names and values.
inline constexpr Rgb kBlue = {0x32, 0x84, 0xd0}, kOrange = {0xc0, 0x64, 0x00};

// An 8-bit palette PNG of the given size, written from the top row down. `commit` finishes the file (files.h).
class PngWriter {
 public:
  PngWriter(const std::filesystem::path& file, std::int64_t width, std::int64_t height, std::span<const Rgb> palette);
  ~PngWriter();
  void write_row(std::span<const std::uint8_t> indices);  // (width) palette indices
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The colour of a class: blue and orange for two, Petroff's ten beyond, and from the eleventh class on the colours
// farthest from all before them. No two of up to 254 classes share one; of more than kMostToldApart some look alike.
inline constexpr int kMostToldApart = 24;
Rgb class_colour(int index, int classes);

// Turns bands of a label map into palette indices, with the data's points on top: where there is room, discs of the
// class's colour inside a white ring, else dots of a darker shade. A point on ground of another colour is one that the
// model gets wrong.
class ClassPicture {
 public:
  ClassPicture(int classes, std::int64_t size);  // of a picture of size x size pixels
  std::span<const Rgb> palette() const { return palette_; }
  // Points (n, 2) and their labels, in a picture that shows [x_min, x_max] x [y_min, y_max], y upwards.
  void set_points(std::span<const float> points, std::span<const std::uint8_t> labels, double x_min, double x_max,
                  double y_min, double y_max);
  // In: the labels of picture rows [row_begin, row_begin + rows), row 0 at the top, (rows, size); out: palette indices.
  // Bands join without a seam.
  void paint(std::span<std::uint8_t> labels, std::int64_t row_begin) const;

 private:
  struct Point {
    std::int32_t column, row;
    std::uint8_t label;
  };
  std::vector<Rgb> palette_;
  std::vector<Point> points_;
  int colours_, darks_, radius_ = 0;  // of colours, and of darker shades: as many, or one for all
  std::int64_t size_;
};

}  // namespace scalelab::host
