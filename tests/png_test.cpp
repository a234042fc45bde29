// png: what is written reads back pixel for pixel, bands join without a seam, and points lie where they should.
#include "host/data/png.h"

#include <gtest/gtest.h>

#include <png.h>
#include <unistd.h>
#include <set>

#include <fstream>
#include <iterator>
#include <string>

#include "host/program/error.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

class Png : public testing::Test {
 protected:
  Png() : file_(fs::path(testing::TempDir()) / ("scalelab_png_" + std::to_string(::getpid()) + ".png")) {}
  ~Png() override { fs::remove(file_); }
  // Colours, row by row, as libpng's own reader sees them.
  std::vector<Rgb> read(std::int64_t width, std::int64_t height) const {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    EXPECT_NE(png_image_begin_read_from_file(&image, file_.c_str()), 0) << image.message;
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
    image.format = PNG_FORMAT_RGB;
    std::vector<Rgb> pixels(static_cast<std::size_t>(width * height));
    EXPECT_NE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr), 0) << image.message;
    return pixels;
  }
  const fs::path file_;
};

std::vector<std::uint8_t> some_labels(std::size_t n, int classes, std::uint64_t seed) {
  std::vector<std::uint8_t> labels(n);
  for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::uint8_t>(test::uniform_int(seed, i, 0, classes - 1));
  return labels;
}

TEST_F(Png, ReadsBackPixelForPixel) {
  std::vector<Rgb> palette;
  for (int i = 0; i < 256; ++i)
    palette.push_back({static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(255 - i), 7});
  for (const auto& [width, height, colours] : {std::array{1, 1, 1}, std::array{37, 21, 256}, std::array{300, 5, 3}}) {
    const auto pixels = some_labels(static_cast<std::size_t>(width * height), colours, 1);
    PngWriter writer(file_, width, height, std::span(palette).first(static_cast<std::size_t>(colours)));
    for (int row = 0; row < height; ++row) {
      writer.write_row(
          std::span(pixels).subspan(static_cast<std::size_t>(row * width), static_cast<std::size_t>(width)));
    }
    EXPECT_FALSE(fs::exists(file_));
    writer.commit();
    const auto got = read(width, height);
    for (std::size_t i = 0; i < pixels.size(); ++i) ASSERT_EQ(got[i], palette[pixels[i]]) << i;
    std::ifstream input(file_, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(input)), {});
    EXPECT_EQ(bytes[24], 8);  // bits a pixel
    EXPECT_EQ(bytes[25], 3);  // palette
    fs::remove(file_);
  }
}

TEST_F(Png, MisuseAndFullDisksAreErrors) {
  const std::vector<Rgb> palette(2);
  EXPECT_THROW(PngWriter(file_, 0, 1, palette), std::invalid_argument);
  EXPECT_THROW(PngWriter(file_, 1, 1, {}), std::invalid_argument);
  const auto row = some_labels(100000, 2, 2);
  {
    PngWriter writer(file_, 100000, 3, palette);
    EXPECT_THROW(writer.write_row(std::span(row).first(99)), std::invalid_argument);
    writer.write_row(row);
    EXPECT_THROW(writer.commit(), std::invalid_argument);  // two rows are missing
  }
  EXPECT_FALSE(fs::exists(file_));
  try {
    PngWriter writer("/dev/full", 100000, 10, palette);
    for (int i = 0; i < 10; ++i) writer.write_row(row);
    writer.commit();
    ADD_FAILURE() << "a full disk went unnoticed";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kCannotWrite);
  }
}

TEST(ClassPicture, ColoursAreThoseOfTheClasses) {
  EXPECT_EQ(class_colour(0, 2), (Rgb{0x32, 0x84, 0xd0}));
  EXPECT_EQ(class_colour(1, 2), (Rgb{0xc0, 0x64, 0x00}));
  EXPECT_EQ(class_colour(0, 3), (Rgb{0x3f, 0x90, 0xda}));
  for (const int classes : {2, 3, 10, 11, 12, 127, 128, 254, 255, 256}) {
    EXPECT_LE(ClassPicture(classes, 10).palette().size(), 256U);
    std::set<Rgb> different;
    for (int c = 0; c < std::min(classes, 254); ++c) different.insert(class_colour(c, classes));
    EXPECT_EQ(different.size(), static_cast<std::size_t>(std::min(classes, 254))) << classes;
  }
  // Up to kMostToldApart classes, every pair is at least this far apart in RGB.
  for (int a = 0; a < kMostToldApart; ++a) {
    for (int b = 0; b < a; ++b) {
      const Rgb x = class_colour(a, kMostToldApart), y = class_colour(b, kMostToldApart);
      double squared = 0;
      for (int c = 0; c < 3; ++c) squared += (x[c] - y[c]) * (x[c] - y[c]);
      EXPECT_GE(squared, 40 * 40) << a << " and " << b;
    }
  }
}

TEST(ClassPicture, BandsJoinWithoutASeam) {
  for (const int classes : {2, 3, 40}) {
    for (const int n : {5, 400, 20000}) {  // discs with a ring, small discs, dots
      constexpr std::int64_t kSize = 301;
      ClassPicture picture(classes, kSize);
      picture.set_points(test::uniform_floats(static_cast<std::size_t>(2 * n), 3),
                         some_labels(static_cast<std::size_t>(n), classes, 4), -0.9, 0.9, -0.8, 1);
      const auto labels = some_labels(kSize * kSize, classes, 5);
      auto whole = labels;
      picture.paint(whole, 0);
      for (const auto index : whole) ASSERT_LT(index, picture.palette().size());
      EXPECT_NE(whole, labels);
      for (const std::int64_t rows : {1, 7, 64, 300}) {
        auto banded = labels;
        for (std::int64_t row = 0; row < kSize; row += rows) {
          const std::int64_t count = std::min(rows, kSize - row);
          picture.paint(
              std::span(banded).subspan(static_cast<std::size_t>(row * kSize), static_cast<std::size_t>(count * kSize)),
              row);
        }
        EXPECT_TRUE(test::same_bits(banded, whole)) << classes << " classes, " << n << " points, " << rows << " rows";
      }
    }
  }
}

TEST(ClassPicture, PointsLieWhereTheyShould) {
  constexpr std::int64_t kSize = 640;
  ClassPicture picture(2, kSize);
  // In a picture of [0, 4] x [10, 14]: near the upper left, and outside.
  const std::vector<float> points = {0.5F, 13.5F, 9, 9};
  const std::vector<std::uint8_t> labels = {1, 0};
  picture.set_points(points, labels, 0, 4, 10, 14);
  std::vector<std::uint8_t> pixels(kSize * kSize, 0);
  picture.paint(pixels, 0);
  const auto colour = [&](int row, int column) { return picture.palette()[pixels[row * kSize + column]]; };
  EXPECT_EQ(colour(80, 80), class_colour(1, 2));
  EXPECT_EQ(colour(0, 0), class_colour(0, 2));
  double row = 0, column = 0, painted = 0, white = 0;
  for (int i = 0; i < kSize * kSize; ++i) {
    if (pixels[i] == 0) continue;
    row += i / kSize;
    column += i % kSize;
    painted += 1;
    white += picture.palette()[pixels[i]] == Rgb{255, 255, 255};
  }
  EXPECT_EQ(row / painted, 80);
  EXPECT_EQ(column / painted, 80);
  EXPECT_GT(white, 0.1 * painted);
  EXPECT_LT(painted, 0.001 * kSize * kSize);
}

}  // namespace
}  // namespace scalelab::host
