// figure: pictures of what the models say: the two classes as areas, the boundary in black, the training points on top.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "host/data/png.h"
#include "host/studies/compare.h"

namespace scalelab::host {

// The classes: as points, and as areas (the diverging scale's outer and inner stops).
inline constexpr Rgb kBlue = {0x32, 0x84, 0xd0}, kOrange = {0xc0, 0x64, 0x00};
inline constexpr Rgb kBlueArea = {0xd3, 0xe6, 0xf9}, kOrangeArea = {0xf6, 0xdd, 0xca};

struct Image {
  int width = 0, height = 0;
  std::vector<Rgb> pixels;  // from the top row down

  Image(int w, int h, Rgb fill) : width(w), height(h), pixels(static_cast<std::size_t>(w) * h, fill) {}
  Rgb& at(int row, int column) { return pixels[static_cast<std::size_t>(row) * width + column]; }
  const Rgb& at(int row, int column) const { return pixels[static_cast<std::size_t>(row) * width + column]; }
};

// A label map of the domain, (2 S, 2 S) with row 0 at the smallest y, as an S x S picture, each pixel the mean of four
// cells. Points of both classes are drawn as discs, then the boundary over them.
Image draw_map(std::span<const std::uint8_t> labels, int size, std::span<const float> points,
               std::span<const std::uint8_t> point_labels);

// Half the width and height, each pixel the mean of four.
Image halved(const Image& image);

// Text in letters of 5 x 7 dots and two below the line, `scale` pixels to a dot: what names of models and captions need
// (lower case, digits, `N+-.,%=`); anything else is a space. Returns the width in
// pixels.
int draw_text(Image& image, int row, int column, const std::string& text, int scale, Rgb ink);

// A palette PNG with the 256 colours that cover the picture best.
void write_image(const std::filesystem::path& file, const Image& image);

struct Figure {
  std::filesystem::path file;
  std::string model;   // a model's name, `truth` or `sheet`
  std::int64_t n = 0;  // points drawn; 0 for the bare truth and the sheet
};

// One picture for every model and size, of the first seed; the truth, bare and under the largest set's points; and the
// sheet of all of them side by side.
std::vector<Figure> draw_figures(const Comparison& comparison, const std::filesystem::path& folder, Session& session);

}  // namespace scalelab::host
