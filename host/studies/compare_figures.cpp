#include "host/studies/compare_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/data/dataset.h"
#include "host/lab/error_count.h"
#include "host/pages/picture.h"
#include "host/program/words.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

constexpr int kPanel = 512;  // pixels along a panel

constexpr Rgb kInk = {0x1c, 0x1c, 0x1a}, kPaper = {0xff, 0xff, 0xff}, kGrey = {0x66, 0x66, 0x62};

// One block per model, three to a row, its sizes side by side.
Image draw_sheet(const std::vector<std::string>& names, const std::vector<std::vector<Image>>& panels,
                 const std::vector<std::vector<std::string>>& captions) {
  constexpr int kSmall = kPanel / 2, kGap = 8, kTitle = 26, kCaption = 26, kMargin = 24, kScale = 2;  // pixels
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

std::vector<Figure> draw_figures(const Comparison& comparison, const std::filesystem::path& folder, Session& session) {
  const CompareOptions& options = comparison.options;
  Context& context = session.context;
  const Backend& backend = context.backend();
  const std::uint64_t seed = options.seeds[0];
  const Dataset data =
      sample_spiral(mixture_of_world(options.worlds[0]), Spiral{}, options.sizes.back(), seed, options.noise);
  const Buffer<std::uint8_t> labels(context, data.labels, {data.size()});
  // Maps have twice the cells of a panel a side: four of them make a pixel.
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

  // The truth, without points and with those of the largest size.
  next_block("truth");
  backend.grid_spiral_labels(Spiral{}, grid, 0, flat, context);
  add("truth", 0, draw_map(map.to_host(), kPanel, {}, {}), "");
  add("truth", data.size(), draw_map(map.to_host(), kPanel, data.points, data.labels),
      fmt::format("n={}", grouped(data.size())));
  const auto total = static_cast<std::int64_t>(options.models.size() * options.sizes.size());
  const Stage stage(session, "pictures");
  for (const Model& model : options.models) {
    next_block(model.name);
    for (const std::int64_t n : options.sizes) {
      const auto count = static_cast<std::size_t>(n);
      if (model.is_knn()) {
        const Buffer<float> rows(context, distance_features(model, std::span(data.points).first(2 * count)),
                                 {n, feature_count(model.shape)});
        knn_labels({model, rows, labels.view().rows(0, n), std::span(data.labels).first(count)}, grid, 0, flat,
                   context);
      } else {
        const auto trained = comparison.networks.find({model.name, n});
        if (trained == comparison.networks.end()) continue;  // it could not be trained
        const auto p = std::ssize(trained->second);
        backend.grid_mlp_labels(model.shape, Buffer<float>(context, trained->second, {1, p}), grid, 0, map, context);
      }
      const Measurement* measured = comparison.measurement(model.name, n, seed);
      const double error = measured == nullptr || measured->failed() ? std::nan("") : measured->values.at("grid_error");
      add(model.name, n,
          draw_map(map.to_host(), kPanel, std::span(data.points).first(2 * count), std::span(data.labels).first(count)),
          fmt::format("n={}  {}%", grouped(n), percent(error)));
      session.context.progress(static_cast<std::int64_t>(figures.size()) - 2, total);
    }
  }
  const Image sheet = draw_sheet(names, panels, captions);
  write_image(folder / "sheet.png", sheet);
  figures.push_back({folder / "sheet.png", "sheet", 0});
  return figures;
}

}  // namespace scalelab::host
