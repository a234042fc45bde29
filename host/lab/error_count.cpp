#include "host/lab/error_count.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace scalelab::host {

namespace {
// Points scored in one call: bounds the memory of neighbours and scores.
constexpr std::int64_t kChunk = std::int64_t{1} << 18;

// The first place from `at` on where two rows differ (or, with `equal`, where they do not), else `size`. Stretches that
// are equal are passed over eight cells at a time.
std::int64_t next_place(const std::uint8_t* a, const std::uint8_t* b, std::int64_t at, std::int64_t size, bool equal) {
  for (; at < size; ++at) {
    while (!equal && at + 8 <= size && std::memcmp(a + at, b + at, 8) == 0) at += 8;
    if (at < size && (a[at] == b[at]) == equal) return at;
  }
  return size;
}

// The mass of the cells of one row whose labels differ.
double mass_of_wrong(const CellMass& mass, std::int64_t row, const std::uint8_t* truth, const std::uint8_t* labels,
                     std::int64_t size) {
  double sum = 0;
  for (std::int64_t at = 0; (at = next_place(truth, labels, at, size, false)) < size;) {
    const std::int64_t end = next_place(truth, labels, at, size, true);
    sum += mass.of(row, at, end);
    at = end;
  }
  return sum;
}
}  // namespace

std::uint8_t vote(std::span<const int> neighbours, std::span<const std::uint8_t> labels) {
  if (neighbours.size() == 1) return labels[static_cast<std::size_t>(neighbours[0])];
  std::array<int, 256> counts{};
  std::uint8_t best = 255;
  for (const int neighbour : neighbours) {
    const std::uint8_t label = labels[static_cast<std::size_t>(neighbour)];
    const int count = ++counts[label];
    if (count > counts[best] || (count == counts[best] && label < best)) best = label;
  }
  return best;
}

GridTruth::GridTruth(Context& context, const Spiral& spiral, const Mixture& mixture, std::int64_t size,
                     std::int64_t band_rows)
    : context_(context),
      grid_{.size = size},
      band_rows_(band_rows),
      truth_(context, {size, size}),
      mass_(mixture, size) {
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
  for (std::int64_t row = 0; row < grid_.size; row += band_rows_) {
    const std::int64_t rows = std::min(band_rows_, grid_.size - row);
    const View<std::uint8_t> part = band.view().rows(0, rows);
    paint(row, part);
    backend.label_confusion(truth_.view().rows(row, rows), part, counts, context_);
    labels.resize(static_cast<std::size_t>(part.size()));
    backend.download(labels.data(), part.data(), labels.size(), context_);
    for (std::int64_t r = 0; r < rows; ++r) {
      mass += mass_of_wrong(mass_, row + r, host_truth_.data() + (row + r) * grid_.size, labels.data() + r * grid_.size,
                            grid_.size);
    }
  }
  const std::vector<std::int64_t> c = counts.to_host();  // (truth, model)
  const auto cells = static_cast<double>(grid_.size) * static_cast<double>(grid_.size);
  return {static_cast<double>(c[1] + c[2]) / cells, mass, static_cast<double>(c[1] + c[3]) / cells};
}

GridScore GridTruth::knn(View<const float> references, View<const std::uint8_t> labels, int k) const {
  return score([&](std::int64_t row, View<std::uint8_t> band) {
    context_.backend().grid_knn_labels(references, labels, k, grid_, row, band, context_);
  });
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
