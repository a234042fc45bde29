#include "host/data/png.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <stdexcept>
#include <string>

#include "host/program/error.h"
#include "host/program/files.h"
#include "scalelab/math.h"

namespace scalelab::host {

namespace {

// libpng is left by longjmp, which must not cross a C++ frame that has anything to destroy. So its callbacks only
// store what went wrong, and `guarded` throws it once libpng has been left.
struct Sink {
  OutputFile* file;
  std::exception_ptr failure;
  std::string message;
};

void on_write(png_structp png, png_bytep data, png_size_t bytes) {
  auto* sink = static_cast<Sink*>(png_get_io_ptr(png));
  bool written = true;
  try {
    sink->file->write(data, bytes);
  } catch (...) {
    sink->failure = std::current_exception();
    written = false;
  }
  if (!written) png_error(png, "write");
}

void on_flush(png_structp) {}

void on_error(png_structp png, png_const_charp message) {
  auto* sink = static_cast<Sink*>(png_get_error_ptr(png));
  if (sink->message.empty()) sink->message = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

}  // namespace

struct PngWriter::State {
  State(const std::filesystem::path& path, std::int64_t picture_width, std::int64_t rows)
      : file(path), width(picture_width), rows_left(rows) {
    sink.file = &file;
  }
  ~State() {
    if (png != nullptr) png_destroy_write_struct(&png, &info);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Runs a step that calls libpng; the step must hold nothing to destroy.
  template <class Step>
  void guarded(const Step& step) {
    if (setjmp(png_jmpbuf(png)) == 0) {
      step();
      return;
    }
    if (sink.failure) std::rethrow_exception(sink.failure);
    throw std::runtime_error("libpng: " + sink.message);
  }

  OutputFile file;
  Sink sink{};
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::int64_t width, rows_left;
};

PngWriter::PngWriter(const std::filesystem::path& file, std::int64_t width, std::int64_t height,
                     std::span<const Rgb> palette)
    : state_(std::make_unique<State>(file, width, height)) {
  if (width < 1 || height < 1 || width > 1000000 || height > 1000000 || palette.empty() || palette.size() > 256) {
    throw std::invalid_argument(fmt::format(
        "png: {} x {} pixels of {} colours; sides are 1 .. 1000000, colours 1 .. 256", width, height, palette.size()));
  }
  State& s = *state_;
  s.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s.sink, on_error, on_warning);
  if (s.png == nullptr) throw std::runtime_error("libpng cannot be used: the library and its header differ");
  s.info = png_create_info_struct(s.png);
  if (s.info == nullptr) throw std::bad_alloc();
  s.guarded([&] {
    png_set_write_fn(s.png, &s.sink, on_write, on_flush);
    png_set_IHDR(s.png, s.info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                 PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color colours[256];
    for (std::size_t i = 0; i < palette.size(); ++i) colours[i] = {palette[i][0], palette[i][1], palette[i][2]};
    png_set_PLTE(s.png, s.info, colours, static_cast<int>(palette.size()));
    // Sub turns runs of one label into zeros, which the lowest level already packs well.
    png_set_filter(s.png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
    png_set_compression_level(s.png, 1);
    png_write_info(s.png, s.info);
  });
}

PngWriter::~PngWriter() = default;

void PngWriter::write_row(std::span<const std::uint8_t> indices) {
  State& s = *state_;
  if (static_cast<std::int64_t>(indices.size()) != s.width) {
    throw std::invalid_argument(fmt::format("png: a row of {} pixels, not {}", indices.size(), s.width));
  }
  if (s.rows_left == 0) throw std::invalid_argument("png: a row more than the picture has");
  s.guarded([&] { png_write_row(s.png, indices.data()); });
  --s.rows_left;
}

void PngWriter::commit() {
  State& s = *state_;
  if (s.rows_left != 0) throw std::invalid_argument(fmt::format("png: {} rows are missing", s.rows_left));
  s.guarded([&] { png_write_end(s.png, s.info); });
  s.file.commit();
}

namespace {

constexpr int kMostColours = 254;  // of classes: a picture has 256, of which the points' edges and dots take two

// How different two colours look, squared: RGB weighed by the mean red (the "redmean" approximation).
double difference(const Rgb& a, const Rgb& b) {
  const double red = 0.5 * (a[0] + b[0]), dr = a[0] - b[0], dg = a[1] - b[1], db = a[2] - b[2];
  return (2 + red / 256) * dr * dr + 4 * dg * dg + (2 + (255 - red) / 256) * db * db;
}

// Continues a list of colours to kMostColours: each next is the one of 16 x 16 x 16 that differs most from all before it,
// and from the black and white that points are drawn in.
std::vector<Rgb> continued(std::vector<Rgb> colours) {
  std::vector<Rgb> choice;
  for (int i = 0; i < 4096; ++i) {
    choice.push_back({static_cast<std::uint8_t>(17 * (i / 256)), static_cast<std::uint8_t>(17 * (i / 16 % 16)),
                      static_cast<std::uint8_t>(17 * (i % 16))});
  }
  std::vector<double> least(choice.size(), HUGE_VAL);  // to a colour taken
  const auto take = [&](const Rgb& colour) {
    for (std::size_t i = 0; i < choice.size(); ++i) least[i] = std::min(least[i], difference(choice[i], colour));
  };
  take({0, 0, 0});
  take({255, 255, 255});
  for (const Rgb& colour : colours) take(colour);
  while (colours.size() < kMostColours) {
    colours.push_back(choice[static_cast<std::size_t>(std::max_element(least.begin(), least.end()) - least.begin())]);
    take(colours.back());
  }
  return colours;
}

}  // namespace

Rgb class_colour(int index, int classes) {
  // Petroff's ten-colour sequence (arXiv 2107.02270), accessible to every kind of colour vision.
  static const std::vector<Rgb> kMany = continued({{0x3f, 0x90, 0xda},
                                                   {0xff, 0xa9, 0x0e},
                                                   {0xbd, 0x1f, 0x01},
                                                   {0x94, 0xa4, 0xa2},
                                                   {0x83, 0x2d, 0xb6},
                                                   {0xa9, 0x6b, 0x59},
                                                   {0xe7, 0x63, 0x00},
                                                   {0xb9, 0xac, 0x70},
                                                   {0x71, 0x75, 0x81},
                                                   {0x92, 0xda, 0xdd}});
  return classes <= 2 ? ((index & 1) != 0 ? kOrange : kBlue) : kMany[static_cast<std::size_t>(index % kMostColours)];
}

ClassPicture::ClassPicture(int classes, std::int64_t size)
    : colours_(std::min(classes, kMostColours)), darks_(2 * colours_ + 1 <= 256 ? colours_ : 1), size_(size) {
  for (int c = 0; c < colours_; ++c) palette_.push_back(class_colour(c, classes));
  for (int c = 0; c < darks_; ++c) {
    Rgb dark = palette_[static_cast<std::size_t>(c)];
    for (auto& channel : dark) channel = static_cast<std::uint8_t>(darks_ > 1 ? channel * 5 / 9 : 0);
    palette_.push_back(dark);
  }
  palette_.push_back({255, 255, 255});
}

void ClassPicture::set_points(std::span<const float> points, std::span<const std::uint8_t> labels, double x_min,
                              double x_max, double y_min, double y_max) {
  points_.clear();
  const double size = static_cast<double>(size_);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double column = std::floor((points[2 * i] - x_min) / (x_max - x_min) * size);
    const double row = std::floor((y_max - points[2 * i + 1]) / (y_max - y_min) * size);
    if (!(column >= -1e3 && column < size + 1e3 && row >= -1e3 && row < size + 1e3)) continue;
    points_.push_back({static_cast<std::int32_t>(column), static_cast<std::int32_t>(row), labels[i]});
  }
  // Discs of a hundred-and-sixtieth of the picture at most, and so small that together they cover a tenth of it.
  const double count = std::max<double>(1, static_cast<double>(points_.size()));
  radius_ = static_cast<int>(std::lround(std::min(size / 160, std::sqrt(0.1 / kPi / count) * size)));
}

void ClassPicture::paint(std::span<std::uint8_t> labels, std::int64_t row_begin) const {
  const std::int64_t rows = static_cast<std::int64_t>(labels.size()) / size_;
  if (colours_ == kMostColours) {
    for (auto& label : labels) label = static_cast<std::uint8_t>(label % kMostColours);
  }
  // A ring only where there is room for it to be seen as one.
  const int ring = radius_ >= 3 ? std::max(1, radius_ / 3) : 0;
  const int reach = radius_ + ring;
  const std::int64_t inner = std::int64_t{radius_} * radius_, outer = std::int64_t{reach} * reach;
  for (const Point& point : points_) {
    const std::int64_t top = std::max<std::int64_t>(point.row - reach, row_begin);
    const std::int64_t bottom = std::min<std::int64_t>(point.row + reach, row_begin + rows - 1);
    const std::int64_t left = std::max<std::int64_t>(point.column - reach, 0);
    const std::int64_t right = std::min<std::int64_t>(point.column + reach, size_ - 1);
    const auto dark = static_cast<std::uint8_t>(colours_ + point.label % darks_);
    const auto fill = ring > 0 ? static_cast<std::uint8_t>(point.label % colours_) : dark;
    const auto edge = static_cast<std::uint8_t>(colours_ + darks_);
    for (std::int64_t row = top; row <= bottom; ++row) {
      for (std::int64_t column = left; column <= right; ++column) {
        const std::int64_t dx = column - point.column, dy = row - point.row, d = dx * dx + dy * dy;
        if (d > outer) continue;
        labels[static_cast<std::size_t>((row - row_begin) * size_ + column)] = d > inner ? edge : fill;
      }
    }
  }
}

}  // namespace scalelab::host
