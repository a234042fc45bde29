#include "host/lab/error_count.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "host/data/dataset.h"

namespace scalelab::host {

namespace {
// Points scored in one call: bounds the memory of neighbours and scores.
constexpr std::int64_t kChunk = std::int64_t{1} << 18;
}  // namespace

std::uint8_t vote(std::span<const int> neighbours, std::span<const std::uint8_t> labels) {
  if (neighbours.size() == 1) return labels[static_cast<std::size_t>(neighbours[0])];
  std::array<int, kMostClasses> counts{};
  std::uint8_t best = kMostClasses - 1;
  for (const int neighbour : neighbours) {
    const std::uint8_t label = labels[static_cast<std::size_t>(neighbour)];
    const int count = ++counts[label];
    if (count > counts[best] || (count == counts[best] && label < best)) best = label;
  }
  return best;
}

void knn_labels(const KnnRows& rows, const Grid& grid, std::int64_t row_begin, View<std::uint8_t> band,
                Context& context) {
  const Backend& backend = context.backend();
  const int k = rows.model.neighbours;
  if (rows.model.shape.encoding == Encoding::none) {
    backend.grid_knn_labels(rows.references, rows.labels, k, grid, row_begin, band, context);
    return;
  }
  const std::int64_t some = std::clamp<std::int64_t>(kChunk / grid.size, 1, band.extent(0));
  for (std::int64_t begin = 0; begin < band.extent(0); begin += some) {
    const View<std::uint8_t> part = band.rows(begin, std::min(some, band.extent(0) - begin));
    std::vector<float> centres;
    centres.reserve(static_cast<std::size_t>(2 * part.size()));
    for (std::int64_t row = 0; row < part.extent(0); ++row) {
      const float y = std::fma(static_cast<float>(row_begin + begin + row) + 0.5F, grid.step_y(), grid.y_min);
      for (std::int64_t column = 0; column < grid.size; ++column) {
        centres.push_back(std::fma(static_cast<float>(column) + 0.5F, grid.step_x(), grid.x_min));
        centres.push_back(y);
      }
    }
    const Buffer<float> queries(context, distance_features(rows.model, centres),
                                {part.size(), rows.references.extent(1)});
    Buffer<int> indices(context, {part.size(), k});
    backend.knn(rows.references, queries, indices, View<float>(), context);
    const std::vector<int> neighbours = indices.to_host();
    std::vector<std::uint8_t> labels(static_cast<std::size_t>(part.size()));
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto width = static_cast<std::size_t>(k);
      labels[i] = vote(std::span(neighbours).subspan(i * width, width), rows.on_host);
    }
    backend.upload(part.data(), labels.data(), labels.size(), context);
  }
}

GridTruth::GridTruth(Context& context, const Spiral& spiral, const Mixture& mixture, std::int64_t size,
                     std::int64_t band_rows)
    : context_(context),
      grid_{.size = size},
      band_rows_(band_rows),
      truth_(context, {size, size}),
      mass_(mixture, size),
      regions_(spiral, mass_, grid_) {
  if (band_rows_ <= 0) band_rows_ = std::max<std::int64_t>(1, kBandCells / size);
  band_rows_ = std::min(band_rows_, size);
  context_.backend().grid_spiral_labels(spiral, grid_, 0, truth_, context_);
  host_truth_ = truth_.to_host();
}

GridScore GridTruth::score(const Paint& paint) const {
  const Backend& backend = context_.backend();
  Buffer<std::uint8_t> band(context_, {band_rows_, grid_.size});
  Buffer<std::int64_t> counts(context_, {2, 2});
  counts.upload(std::array<std::int64_t, 4>{});
  std::vector<std::uint8_t> labels;
  double mass = 0;  // of the wrong cells
  Regions::Counts wrong{};
  Patches patches(grid_.size);
  for (std::int64_t begin = 0; begin < grid_.size; begin += band_rows_) {
    const std::int64_t rows = std::min(band_rows_, grid_.size - begin);
    const View<std::uint8_t> part = band.view().rows(0, rows);
    paint(begin, part);
    backend.label_confusion(truth_.view().rows(begin, rows), part, counts, context_);
    labels.resize(static_cast<std::size_t>(part.size()));
    backend.download(labels.data(), part.data(), labels.size(), context_);
    for (std::int64_t row = begin; row < begin + rows; ++row) {
      const std::uint8_t* truth = host_truth_.data() + row * grid_.size;
      const std::uint8_t* found = labels.data() + (row - begin) * grid_.size;
      double in_row = 0;
      for (std::int64_t at = 0; (at = next_place(truth, found, at, grid_.size, false)) < grid_.size;) {
        const std::int64_t end = next_place(truth, found, at, grid_.size, true);
        in_row += mass_.of(row, at, end);
        regions_.count(row, at, end, wrong);
        at = end;
      }
      mass += in_row;
      patches.add_row({found, static_cast<std::size_t>(grid_.size)});
    }
  }
  const std::vector<std::int64_t> c = counts.to_host();  // (truth, model)
  const auto cells = static_cast<double>(grid_.size) * static_cast<double>(grid_.size);
  GridScore score{static_cast<double>(c[1] + c[2]) / cells, mass, static_cast<double>(c[1] + c[3]) / cells};
  for (std::size_t region = 0; region < Regions::kCount; ++region) {
    const double all = regions_.cells(region);
    score.region_errors[region] = all > 0 ? static_cast<double>(wrong[region]) / all : std::nan("");
  }
  score.patches = patches.count();
  return score;
}

GridScore GridTruth::knn(const KnnRows& rows) const {
  return score([&](std::int64_t row, View<std::uint8_t> band) { knn_labels(rows, grid_, row, band, context_); });
}

GridScore GridTruth::network(const MlpShape& shape, View<const float> parameters) const {
  const View<const float> one(parameters.data(), {1, parameters.size()});
  return score([&](std::int64_t row, View<std::uint8_t> band) {
    const View<std::uint8_t> labels(band.data(), {1, band.extent(0), band.extent(1)});
    context_.backend().grid_mlp_labels(shape, one, grid_, row, labels, context_);
  });
}

std::vector<double> knn_point_errors(View<const float> references, std::span<const std::uint8_t> reference_labels,
                                     std::span<const int> ks, View<const float> points,
                                     std::span<const std::uint8_t> labels, Context& context) {
  const auto q = static_cast<std::int64_t>(labels.size());
  std::vector<std::int64_t> wrong(ks.size());
  if (ks.empty() || q == 0) return std::vector<double>(ks.size());
  const int k_max = *std::max_element(ks.begin(), ks.end());
  for (std::int64_t begin = 0; begin < q; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, q - begin);
    Buffer<int> indices(context, {count, k_max});
    context.backend().knn(references, points.rows(begin, count), indices, View<float>(), context);
    const std::vector<int> neighbours = indices.to_host();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::span<const int> row(neighbours.data() + i * k_max, static_cast<std::size_t>(k_max));
      for (std::size_t j = 0; j < ks.size(); ++j) {
        wrong[j] += vote(row.first(static_cast<std::size_t>(ks[j])), reference_labels) !=
                    labels[static_cast<std::size_t>(begin + i)];
      }
    }
  }
  std::vector<double> errors;
  for (const std::int64_t w : wrong) errors.push_back(static_cast<double>(w) / static_cast<double>(q));
  return errors;
}

std::vector<std::uint8_t> network_predictions(const MlpShape& shape, View<const float> parameters,
                                              View<const float> points, Context& context) {
  const std::int64_t q = points.extent(0);
  const View<const float> one(parameters.data(), {1, parameters.size()});
  std::vector<std::uint8_t> predicted(static_cast<std::size_t>(q));
  for (std::int64_t begin = 0; begin < q; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, q - begin);
    Buffer<float> scores(context, {1, count, shape.outputs});
    context.backend().mlp_forward(shape, one, points.rows(begin, count), scores, context);
    const std::vector<float> host = scores.to_host();
    for (std::int64_t i = 0; i < count; ++i) {
      const float* row = host.data() + i * shape.outputs;
      const auto best = shape.outputs == 1 ? (row[0] > 0 ? 1 : 0) : std::max_element(row, row + shape.outputs) - row;
      predicted[static_cast<std::size_t>(begin + i)] = static_cast<std::uint8_t>(best);
    }
  }
  return predicted;
}

double network_point_error(const MlpShape& shape, View<const float> parameters, View<const float> points,
                           std::span<const std::uint8_t> labels, Context& context) {
  if (labels.empty()) return 0;
  const auto predicted = network_predictions(shape, parameters, points, context);
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) wrong += predicted[i] != labels[i];
  return static_cast<double>(wrong) / static_cast<double>(labels.size());
}

}  // namespace scalelab::host
