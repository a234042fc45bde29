#include "host/studies/compare_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "host/data/dataset.h"
#include "host/lab/error_count.h"

namespace scalelab::host {

namespace {

constexpr int kPanel = 512;                        // pixels along a panel
constexpr std::int64_t kMostPointsDrawn = 20'000;  // more would hide the picture

constexpr Rgb kInk = {0x1c, 0x1c, 0x1a}, kPaper = {0xff, 0xff, 0xff}, kGrey = {0x66, 0x66, 0x62};

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
    {'+', {0b00000, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0b00000}},
    {'-', {0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000}},
    {'.', {0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100}},
    {',', {0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100, 0b00100, 0b01000}},
    {'%', {0b11001, 0b11010, 0b00010, 0b00100, 0b01000, 0b01011, 0b10011}},
    {'=', {0b00000, 0b00000, 0b11111, 0b00000, 0b11111, 0b00000, 0b00000}},
};

void paste(Image& onto, const Image& image, int row, int column) {
  for (int r = 0; r < image.height; ++r) {
    for (int c = 0; c < image.width; ++c) onto.at(row + r, column + c) = image.at(r, c);
  }
}

// One block per model, three to a row, its sizes side by side.
Image draw_sheet(const std::vector<std::string>& names, const std::vector<std::vector<Image>>& panels,
                 const std::vector<std::vector<std::string>>& captions) {
  constexpr int kSmall = kPanel / 2, kGap = 8, kTitle = 26, kCaption = 26, kMargin = 24, kScale = 2;
  std::size_t sizes = 1;
  for (const auto& row : panels) sizes = std::max(sizes, row.size());
  const int across = static_cast<int>(std::clamp<std::size_t>(6 / sizes, 1, 3));
  const int block_width = static_cast<int>(sizes) * (kSmall + kGap) - kGap + kMargin;
  const int block_height = kTitle + kSmall + kCaption + kMargin;
  const int down = (static_cast<int>(panels.size()) + across - 1) / across;
  Image sheet(across * block_width + kMargin, down * block_height + kMargin, kPaper);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const int row = kMargin + static_cast<int>(i) / across * block_height;
    const int column = kMargin + static_cast<int>(i) % across * block_width;
    draw_text(sheet, row, column, names[i], kScale, kInk);
    for (std::size_t j = 0; j < panels[i].size(); ++j) {
      const int left = column + static_cast<int>(j) * (kSmall + kGap);
      paste(sheet, halved(panels[i][j]), row + kTitle, left);
      draw_text(sheet, row + kTitle + kSmall + 8, left, captions[i][j], kScale, kGrey);
    }
  }
  return sheet;
}

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
  // Radius in fine cells: 2.3 pixels at 1,000 points, 1 at 10,000.
  const std::size_t n = std::min<std::size_t>(point_labels.size(), kMostPointsDrawn);
  const double radius =
      2 * std::clamp(2.3 * std::pow(static_cast<double>(std::max<std::size_t>(n, 1)) / 1000, -0.36), 0.8, 4.0) * size /
      kPanel;
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

std::vector<Figure> draw_figures(const Comparison& comparison, const std::filesystem::path& folder, Session& session) {
  const CompareOptions& options = comparison.options;
  Context& context = session.context;
  const Backend& backend = context.backend();
  const std::uint64_t seed = options.seeds[0];
  const Dataset data = sample_spiral(default_mixture(), Spiral{}, options.sizes.back(), seed, options.noise);
  const Buffer<float> points(context, data.points, {data.size(), 2});
  const Buffer<std::uint8_t> labels(context, data.labels, {data.size()});
  const Grid grid{.size = 2 * kPanel};
  Buffer<std::uint8_t> map(context, {1, grid.size, grid.size});
  const View<std::uint8_t> flat(map.view().data(), {grid.size, grid.size});

  std::vector<Figure> figures;
  std::vector<std::string> names;
  std::vector<std::vector<Image>> panels;
  std::vector<std::vector<std::string>> captions;
  const auto add = [&](const std::string& model, std::int64_t n, Image image, const std::string& caption) {
    const std::string file = n > 0 ? fmt::format("{}-{}.png", model, n) : model + ".png";
    write_image(folder / file, image);
    figures.push_back({folder / file, model, n});
    panels.back().push_back(std::move(image));
    captions.back().push_back(caption);
  };
  const auto next_block = [&](const std::string& name) {
    names.push_back(name);
    panels.emplace_back();
    captions.emplace_back();
  };

  next_block("truth");
  backend.grid_spiral_labels(Spiral{}, grid, 0, flat, context);
  add("truth", 0, draw_map(map.to_host(), kPanel, {}, {}), "");
  add("truth", data.size(), draw_map(map.to_host(), kPanel, data.points, data.labels),
      fmt::format("N={}", grouped(data.size())));
  const auto total = static_cast<std::int64_t>(options.models.size() * options.sizes.size());
  for (std::size_t m = 0; m < options.models.size(); ++m) {
    const Model& model = options.models[m];
    next_block(model.name);
    for (const std::int64_t n : options.sizes) {
      if (model.is_knn()) {
        backend.grid_knn_labels(points.view().rows(0, n), labels.view().rows(0, n), model.neighbours, grid, 0, flat,
                                context);
      } else {
        const std::vector<float>& trained = comparison.networks.at({m, n});
        const auto p = static_cast<std::int64_t>(trained.size());
        backend.grid_mlp_labels(model.shape, Buffer<float>(context, trained, {1, p}), grid, 0, map, context);
      }
      const auto count = static_cast<std::size_t>(n);
      const auto row = std::find_if(comparison.rows.begin(), comparison.rows.end(),
                                    [&](const Row& r) { return r.model == model.name && r.n == n && r.seed == seed; });
      add(model.name, n,
          draw_map(map.to_host(), kPanel, std::span(data.points).first(2 * count), std::span(data.labels).first(count)),
          fmt::format("N={}  {}%", grouped(n), percent(row->grid_error)));
      session.progress.update("pictures", static_cast<std::int64_t>(figures.size()) - 2, total);
    }
  }
  const Image sheet = draw_sheet(names, panels, captions);
  write_image(folder / "sheet.png", sheet);
  figures.push_back({folder / "sheet.png", "sheet", 0});
  return figures;
}

}  // namespace scalelab::host
