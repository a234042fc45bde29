// picture: small pictures in memory: label maps with points and boundary, text in dots, palette PNGs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "host/data/png.h"

namespace scalelab::host {

// What the classes' areas are filled with: the inner stops of the diverging scale whose outer ones are kBlue and
// kOrange.
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

// Copies `image` onto another, its top left corner at (row, column); it must lie within.
void paste(Image& onto, const Image& image, int row, int column);

}  // namespace scalelab::host
