// error_count: how wrong a model is, against the truth: on a grid, where every place counts alike or as often as the data
// visit it, and on points.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "host/data/mixture.h"
#include "host/lab/model.h"
#include "host/lab/regions.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

// The label that most of the k neighbours carry; of labels with equally many, the smallest, as GridKnnLabels votes.
std::uint8_t vote(std::span<const int> neighbours, std::span<const std::uint8_t> labels);

// A kNN model and the rows that it knows, in host and backend memory.
struct KnnRows {
  const Model& model;
  View<const float> references;             // (n, f) its distance_features
  View<const std::uint8_t> labels;          // (n)
  std::span<const std::uint8_t> on_host{};  // (n) the labels again; needed where the model has an encoding
};
// The labels that it gives a band of a grid's rows, (rows, G): those of GridKnnLabels, on an encoding the vote of the
// nearest in its features.
void knn_labels(const KnnRows& rows, const Grid& grid, std::int64_t row_begin, View<std::uint8_t> band,
                Context& context);

struct GridScore {
  double error = 0;          // fraction of cells whose label is not the true one
  double density_error = 0;  // the same, each cell weighted by the share of the mixture's points that fall on it
  double class_one = 0;      // fraction of cells labelled 1
  // Fraction of the cells of each region (Regions::kMeasures) whose label is not the true one; NaN where it has none.
  std::array<double, Regions::kCount> region_errors{};
  std::int64_t patches = 0;  // Patches
  bool one_class() const { return class_one == 0 || class_one == 1; }
};

// The true labels of a G x G grid over the domain, one byte a cell in backend memory, and the comparison of label maps
// with them. Maps are made and compared in bands of rows, so that one map never takes more than kBandCells bytes. The
// weights are summed on the host, run by run of wrong cells, so that they are the same bits for equal maps.
class GridTruth {
 public:
  static constexpr std::int64_t kBandCells = std::int64_t{1} << 24;  // 16 MiB

  // band_rows: rows to a band, 0 for as many as kBandCells allows. The Context must outlive this.
  GridTruth(Context& context, const Spiral& spiral, const Mixture& mixture, std::int64_t size,
            std::int64_t band_rows = 0);

  const Grid& grid() const { return grid_; }
  View<const std::uint8_t> labels() const { return truth_; }  // (G, G)
  GridTruth(const GridTruth&) = delete;

  // `paint` fills `band`, (rows, G), with the model's labels of rows [row_begin, row_begin + rows).
  using Paint = std::function<void(std::int64_t row_begin, View<std::uint8_t> band)>;
  GridScore score(const Paint& paint) const;
  GridScore knn(const KnnRows& rows) const;
  GridScore network(const MlpShape& shape, View<const float> parameters) const;  // parameters (p)

 private:
  Context& context_;
  Grid grid_;
  std::int64_t band_rows_;
  Buffer<std::uint8_t> truth_;
  std::vector<std::uint8_t> host_truth_;
  CellMass mass_;
  Regions regions_;
};

// The fraction of the points whose predicted label is not the one given, for kNN at each k of `ks` (one search serves
// all of them). reference_labels and labels are host memory.
std::vector<double> knn_point_errors(View<const float> references,                    // (n, d)
                                     std::span<const std::uint8_t> reference_labels,  // (n)
                                     std::span<const int> ks,                         // each 1 .. n
                                     View<const float> points,                        // (q, d)
                                     std::span<const std::uint8_t> labels,            // (q)
                                     Context& context);

// The class one network predicts for every point (mlp.h, predicted class), and the fraction that is not the label
// given.
std::vector<std::uint8_t> network_predictions(const MlpShape& shape, View<const float> parameters,  // (p)
                                              View<const float> points,                             // (q, d)
                                              Context& context);
double network_point_error(const MlpShape& shape, View<const float> parameters,  // (p)
                           View<const float> points,                             // (q, d)
                           std::span<const std::uint8_t> labels,                 // (q)
                           Context& context);

}  // namespace scalelab::host
