#include "host/pages/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace scalelab::host {

namespace {

constexpr std::int64_t kMostPointsDrawn = 20'000;  // more would hide the picture

constexpr int kSizedFor = 512;  // pixels along the picture whose points have the radius stated

constexpr Rgb kPaper = {0xff, 0xff, 0xff};

Rgb mean_of_four(const Rgb& a, const Rgb& b, const Rgb& c, const Rgb& d) {
  Rgb mean;
  for (std::size_t i = 0; i < 3; ++i) mean[i] = static_cast<std::uint8_t>((a[i] + b[i] + c[i] + d[i] + 2) / 4);
  return mean;
}

// 5 x 7 letters and two rows below the line, a row of dots to five bits, the top row first.
struct Letter {
  char name;
  std::array<std::uint8_t, 9> rows;
};
constexpr Letter kLetters[] = {
    {'0', {0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110}},
    {'1', {0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110}},
    {'2', {0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111}},
    {'3', {0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110}},
    {'4', {0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010}},
    {'5', {0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110}},
    {'6', {0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110}},
    {'7', {0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000}},
    {'8', {0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110}},
    {'9', {0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100}},
    {'a', {0b00000, 0b00000, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111}},
    {'b', {0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110}},
    {'c', {0b00000, 0b00000, 0b01111, 0b10000, 0b10000, 0b10000, 0b01111}},
    {'d', {0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111}},
    {'e', {0b00000, 0b00000, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110}},
    {'f', {0b00110, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b01000}},
    {'g', {0b00000, 0b00000, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110}},
    {'h', {0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001}},
    {'i', {0b00100, 0b00000, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110}},
    {'k', {0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010}},
    {'l', {0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110}},
    {'m', {0b00000, 0b00000, 0b11010, 0b10101, 0b10101, 0b10101, 0b10101}},
    {'n', {0b00000, 0b00000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001}},
    {'o', {0b00000, 0b00000, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110}},
    {'p', {0b00000, 0b00000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000}},
    {'r', {0b00000, 0b00000, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000}},
    {'s', {0b00000, 0b00000, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110}},
    {'t', {0b01000, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b00110}},
    {'u', {0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111}},
    {'v', {0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100}},
    {'w', {0b00000, 0b00000, 0b10101, 0b10101, 0b10101, 0b10101, 0b01010}},
    {'x', {0b00000, 0b00000, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001}},
    {'y', {0b00000, 0b00000, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110}},
    {'N', {0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001}},
    {':', {0b00000, 0b01100, 0b01100, 0b00000, 0b01100, 0b01100, 0b00000}},
    {'@', {0b01110, 0b10001, 0b10111, 0b10101, 0b10111, 0b10000, 0b01110}},
    {'+', {0b00000, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0b00000}},
    {'-', {0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000}},
    {'.', {0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100}},
    {',', {0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100, 0b00100, 0b01000}},
    {'%', {0b11001, 0b11010, 0b00010, 0b00100, 0b01000, 0b01011, 0b10011}},
    {'=', {0b00000, 0b00000, 0b11111, 0b00000, 0b11111, 0b00000, 0b00000}},
};

}  // namespace

Image draw_map(std::span<const std::uint8_t> labels, int size, std::span<const float> points,
               std::span<const std::uint8_t> point_labels) {
  const int cells = 2 * size;
  Image fine(cells, cells, kBlueArea);
  // The label at a picture position: pictures run from the top down, label maps from the smallest y up.
  const auto label = [&](int row, int column) {
    return labels[static_cast<std::size_t>(cells - 1 - row) * cells + static_cast<std::size_t>(column)];
  };
  for (int row = 0; row < cells; ++row) {
    for (int column = 0; column < cells; ++column) {
      if (label(row, column) != 0) fine.at(row, column) = kOrangeArea;
    }
  }
  // Radius in fine cells; in a picture of kSizedFor 2.3 pixels at 1,000 points, 1 at 10,000.
  const std::size_t n = std::min<std::size_t>(point_labels.size(), kMostPointsDrawn);
  const double radius =
      2 * std::clamp(2.3 * std::pow(static_cast<double>(std::max<std::size_t>(n, 1)) / 1000, -0.36), 0.8, 4.0) * size /
      kSizedFor;
  for (std::size_t i = 0; i < n; ++i) {
    const double x = (points[2 * i] + 1.0) * size - 0.5, y = (1.0 - points[2 * i + 1]) * size - 0.5;
    const Rgb colour = point_labels[i] != 0 ? kOrange : kBlue;
    for (int row = std::max(0, static_cast<int>(std::ceil(y - radius))); row <= std::min<double>(cells - 1, y + radius);
         ++row) {
      for (int column = std::max(0, static_cast<int>(std::ceil(x - radius)));
           column <= std::min<double>(cells - 1, x + radius); ++column) {
        if ((row - y) * (row - y) + (column - x) * (column - x) <= radius * radius) fine.at(row, column) = colour;
      }
    }
  }
  for (int row = 0; row < cells; ++row) {
    for (int column = 0; column < cells; ++column) {
      const auto here = label(row, column);
      const bool edge =
          (row > 0 && label(row - 1, column) != here) || (row + 1 < cells && label(row + 1, column) != here) ||
          (column > 0 && label(row, column - 1) != here) || (column + 1 < cells && label(row, column + 1) != here);
      if (edge) fine.at(row, column) = {0, 0, 0};
    }
  }
  return halved(fine);
}

Image halved(const Image& image) {
  Image half(image.width / 2, image.height / 2, kPaper);
  for (int row = 0; row < half.height; ++row) {
    for (int column = 0; column < half.width; ++column) {
      half.at(row, column) = mean_of_four(image.at(2 * row, 2 * column), image.at(2 * row, 2 * column + 1),
                                          image.at(2 * row + 1, 2 * column), image.at(2 * row + 1, 2 * column + 1));
    }
  }
  return half;
}

int draw_text(Image& image, int row, int column, const std::string& text, int scale, Rgb ink) {
  const int start = column;
  for (const char c : text) {
    const auto* letter =
        std::find_if(std::begin(kLetters), std::end(kLetters), [c](const Letter& l) { return l.name == c; });
    for (int r = 0; letter != std::end(kLetters) && r < 9 * scale; ++r) {
      for (int dot = 0; dot < 5 * scale; ++dot) {
        const bool set = (letter->rows[static_cast<std::size_t>(r / scale)] >> (4 - dot / scale)) & 1;
        if (set && row + r < image.height && column + dot < image.width) image.at(row + r, column + dot) = ink;
      }
    }
    column += 6 * scale;
  }
  return column - start;
}

void write_image(const std::filesystem::path& file, const Image& image) {
  // Colours to five bits a channel; the 256 most frequent make the palette, each as the mean of what fell into it.
  struct Bin {
    std::int64_t count = 0;
    std::array<std::int64_t, 3> sum{};
  };
  const auto bin_of = [](const Rgb& c) { return (c[0] >> 3) << 10 | (c[1] >> 3) << 5 | c[2] >> 3; };
  std::map<int, Bin> bins;
  for (const Rgb& pixel : image.pixels) {
    Bin& bin = bins[bin_of(pixel)];
    ++bin.count;
    for (std::size_t i = 0; i < 3; ++i) bin.sum[i] += pixel[i];
  }
  std::vector<std::pair<int, Bin>> order(bins.begin(), bins.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
  std::vector<Rgb> palette;
  for (const auto& [key, bin] : order) {
    if (palette.size() == 256) break;
    Rgb colour;
    for (std::size_t i = 0; i < 3; ++i) colour[i] = static_cast<std::uint8_t>((bin.sum[i] + bin.count / 2) / bin.count);
    palette.push_back(colour);
  }
  // Which of the palette each bin is nearest to.
  std::map<int, std::uint8_t> nearest;
  for (const auto& [key, bin] : order) {
    int best = 0, best_distance = 1 << 30;
    for (std::size_t i = 0; i < palette.size(); ++i) {
      int distance = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        const int difference = static_cast<int>(bin.sum[c] / bin.count) - palette[i][c];
        distance += difference * difference;
      }
      if (distance < best_distance) {
        best_distance = distance;
        best = static_cast<int>(i);
      }
    }
    nearest[key] = static_cast<std::uint8_t>(best);
  }
  PngWriter png(file, image.width, image.height, palette);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.width));
  for (int r = 0; r < image.height; ++r) {
    for (int c = 0; c < image.width; ++c) row[static_cast<std::size_t>(c)] = nearest[bin_of(image.at(r, c))];
    png.write_row(row);
  }
  png.commit();
}

void paste(Image& onto, const Image& image, int row, int column) {
  for (int r = 0; r < image.height; ++r) {
    for (int c = 0; c < image.width; ++c) onto.at(row + r, column + c) = image.at(r, c);
  }
}

}  // namespace scalelab::host
