// grid for networks on the CPU: dense evaluation where it is needed, and forms that decide whole tiles where they can.
//
// A map is made in regions. A tile whose forms (mlp_bounds.h) leave one class is filled; others are divided in four.
// The cells of small tiles are judged one by one from the tile's form, a few operations each, and only what is open
// then goes through the network: a cell's label is what dense evaluation of that cell gives, always.
#include "kernels/mlp_grid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/mlp_bounds.h"
#include "kernels/mlp_check.h"

namespace scalelab::cpu {

BoundsWorkspace::BoundsWorkspace(const MlpPlan& plan, Context& context)
    : memory_(context, {(plan.features + 2 * plan.width + plan.outputs) * kFormRow}) {
  features = memory_.view().data();
  layers[0] = features + plan.features * kFormRow;
  layers[1] = layers[0] + plan.width * kFormRow;
  scores = layers[1] + plan.width * kFormRow;
  std::fill_n(features, memory_.size(), 0.0F);
}

void pack_magnitudes(const MlpPlan& plan, const float* packed, float* magnitudes) {
  std::transform(packed, packed + plan.size, magnitudes, [](float w) { return std::abs(w); });
  for (int l = 0; l < plan.shape.hidden_layers; ++l) {
    float* const bias = magnitudes + plan.hidden[l].bias;
    for (std::int64_t i = 0; i < plan.width; ++i) bias[i] *= rounding_of(plan.hidden[l].fan_in);
  }
  for (std::int64_t j = 0; j < plan.outputs; ++j) magnitudes[plan.output_bias + j] *= rounding_of(plan.width);
}

namespace {

// Cells of the band: rows and columns count from its first.
struct Tile {
  std::int64_t row, column, rows, columns;
  int level;  // its side before it was cut to the band is 2^level
};

// Tiles by the level of their side: of a region, of the tiles whose cells are judged, and of those divided no further.
constexpr int kLargestLevel = MapWork::kLevels - 1, kSmallestRegion = 6, kJudgedLevel = 4, kLeastLevel = 3;
static_assert(std::int64_t{1} << kJudgedLevel == kJudged);
// To bound a tile costs about as much as to evaluate this many cells.
constexpr std::int64_t kTileCost = 8;

// Of a band, by column and by row.
struct MapCentres {
  MapCentres(const Grid& grid, std::int64_t row_begin, std::int64_t rows) {
    for (std::int64_t i = 0; i < grid.size; ++i) x.push_back(centre_of(i, grid.step_x(), grid.x_min));
    for (std::int64_t i = 0; i < rows; ++i) y.push_back(centre_of(row_begin + i, grid.step_y(), grid.y_min));
  }
  std::int64_t columns() const { return static_cast<std::int64_t>(x.size()); }
  std::vector<float> x, y;
};

// One thread's work on one network's map.
class MapPainter {
 public:
  MapPainter(const MlpPlan& plan, const MapCentres& centres, Context& context)
      : plan_(plan),
        centres_(centres),
        bounds_(plan, context),
        work_(plan, plan.block, false, context),
        open_labels_(static_cast<std::size_t>(work_.columns)),
        found_(open_labels_.size()) {}

  void set_network(const float* packed, const float* magnitudes, std::uint8_t* labels) {
    bounds_.packed = packed;
    bounds_.magnitudes = magnitudes;
    labels_ = labels;
  }

  void paint(const Tile& region) {
    if (has_bounds(plan_.shape)) {
      waiting_.push_back(region);
    } else {
      open_all(region);
    }
    while (!waiting_.empty()) {
      const std::size_t first = waiting_.size() - std::min<std::size_t>(waiting_.size(), kTileBatch);
      batch_.assign(waiting_.begin() + static_cast<std::ptrdiff_t>(first), waiting_.end());
      waiting_.resize(first);
      bound_batch();
      for (std::size_t t = 0; t < batch_.size(); ++t) settle(batch_[t], static_cast<std::int64_t>(t));
    }
    evaluate_open();
  }

  const MapWork& done() const { return done_; }

 private:
  const float* xs(const Tile& tile) const { return centres_.x.data() + tile.column; }
  const float* ys(const Tile& tile) const { return centres_.y.data() + tile.row; }
  Side x_side(const Tile& tile) const { return side_of(xs(tile)[0], xs(tile)[tile.columns - 1]); }
  Side y_side(const Tile& tile) const { return side_of(ys(tile)[0], ys(tile)[tile.rows - 1]); }
  std::uint8_t* labels_at(std::int64_t row, std::int64_t column) const {
    return labels_ + row * centres_.columns() + column;
  }

  void bound_batch() {
    const auto count = static_cast<std::int64_t>(batch_.size());
    const std::int64_t tiles = bounds_.tiles = round_up(count, kLine);
    for (std::int64_t t = 0; t < tiles; ++t) {
      Form forms[3];
      const Tile& tile = batch_[static_cast<std::size_t>(std::min(t, count - 1))];
      bound_features(plan_.shape.encoding, x_side(tile), y_side(tile), forms);
      for (std::int64_t f = 0; f < plan_.features; ++f) {
        float* const at = bounds_.features + f * kFormRow + t;
        at[0] = forms[f].centre;
        at[tiles] = forms[f].x;
        at[2 * tiles] = forms[f].y;
        at[3 * tiles] = forms[f].radius;
      }
    }
    bound_scores(plan_, bounds_);
  }

  void settle(const Tile& tile, std::int64_t t) {
    ++done_.bounded[static_cast<std::size_t>(tile.level)];
    const int label = class_of_tile({bounds_.scores + t, kFormRow, bounds_.tiles, plan_.shape.outputs});
    if (label >= 0) {
      ++done_.decided[static_cast<std::size_t>(tile.level)];
      for (std::int64_t i = 0; i < tile.rows; ++i) {
        std::memset(labels_at(tile.row + i, tile.column), label, static_cast<std::size_t>(tile.columns));
      }
    } else if (tile.level > kJudgedLevel) {
      divide(tile);
    } else if (label == kHopeless) {
      open_all(tile);
    } else if (!judge(tile, t)) {
      divide(tile);
    }
  }

  void divide(const Tile& tile) {
    const std::int64_t side = std::int64_t{1} << (tile.level - 1);
    for (std::int64_t row = 0; row < tile.rows; row += side) {
      for (std::int64_t column = 0; column < tile.columns; column += side) {
        const Tile part{tile.row + row, tile.column + column, std::min(side, tile.rows - row),
                        std::min(side, tile.columns - column), tile.level - 1};
        if (part.rows * part.columns > kTileCost) {
          waiting_.push_back(part);
        } else {
          open_all(part);
        }
      }
    }
  }

  // Labels the cells that the tile's form decides and opens the others; false, and nothing done, where it is worth more
  // to divide the tile.
  bool judge(const Tile& tile, std::int64_t t) {
    const Side across = x_side(tile), down = y_side(tile);
    places_.rows = tile.rows;
    places_.columns = tile.columns;
    for (std::int64_t j = 0; j < tile.columns; ++j) places_.xi[j] = place_in(across, xs(tile)[j]);
    for (std::int64_t i = 0; i < tile.rows; ++i) places_.eta[i] = place_in(down, ys(tile)[i]);
    const std::int64_t undecided = judge_cells(bounds_, plan_.outputs, t, places_, classes_);
    if (tile.level > kLeastLevel && undecided > 4 * kTileCost) return false;
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      std::uint8_t* const row = labels_at(tile.row + i, tile.column);
      for (std::int64_t j = 0; j < tile.columns; ++j) {
        const std::int16_t label = classes_[i * kJudged + j];
        row[j] = static_cast<std::uint8_t>(label);
        if (label == kOpen) open(tile.row + i, tile.column + j);
      }
    }
    done_.judged += tile.rows * tile.columns - undecided;
    return true;
  }

  void open(std::int64_t row, std::int64_t column) {
    work_.inputs[open_] = centres_.x[static_cast<std::size_t>(column)];
    work_.inputs[work_.columns + open_] = centres_.y[static_cast<std::size_t>(row)];
    open_labels_[static_cast<std::size_t>(open_)] = labels_at(row, column);
    if (++open_ == work_.columns) evaluate_open();
  }

  void open_all(const Tile& tile) {
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      for (std::int64_t begin = 0, count; begin < tile.columns; begin += count) {
        count = std::min(tile.columns - begin, work_.columns - open_);
        std::uint8_t* const labels = labels_at(tile.row + i, tile.column + begin);
        for (std::int64_t j = 0; j < count; ++j) open_labels_[static_cast<std::size_t>(open_ + j)] = labels + j;
        std::copy_n(xs(tile) + begin, count, work_.inputs + open_);
        std::fill_n(work_.inputs + work_.columns + open_, count, ys(tile)[i]);
        open_ += count;
        if (open_ == work_.columns) evaluate_open();
      }
    }
  }

  void evaluate_open() {
    if (open_ == 0) return;
    score_block(plan_, bounds_.packed, open_, work_);
    predicted_classes(plan_, work_, open_, found_.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(open_); ++i) *open_labels_[i] = found_[i];
    done_.dense += open_;
    open_ = 0;
  }

  const MlpPlan& plan_;
  const MapCentres& centres_;
  BoundsWorkspace bounds_;
  MlpWorkspace work_;
  std::uint8_t* labels_ = nullptr;  // (rows, G) of the network
  std::vector<Tile> waiting_, batch_;
  std::int64_t open_ = 0;  // cells whose inputs are the first columns of work_, each with the place of its label
  std::vector<std::uint8_t*> open_labels_;
  std::vector<std::uint8_t> found_;
  CellPlaces places_{};
  std::int16_t classes_[kJudged * kJudged];
  MapWork done_;
};

}  // namespace

void map_networks(const MlpShape& shape, View<const float> parameters, const Grid& grid, std::int64_t row_begin,
                  View<std::uint8_t> labels, MapWork* done, Context& context) {
  const std::int64_t m = labels.extent(0), rows = labels.extent(1), p = parameter_count(shape);
  const MlpPlan plan(shape);
  Buffer<float> packed(context, {m, plan.size}), magnitudes(context, {m, plan.size});
  for (std::int64_t i = 0; i < m; ++i) {
    pack(plan, parameters.data() + i * p, packed.view().data() + i * plan.size);
    pack_magnitudes(plan, packed.view().data() + i * plan.size, magnitudes.view().data() + i * plan.size);
  }
  const MapCentres centres(grid, row_begin, rows);
  // Regions as large as leave every thread a share: a small one ends with a batch that is not full.
  int level = kLargestLevel;
  const auto regions_across = [&](std::int64_t cells) { return (cells + (std::int64_t{1} << level) - 1) >> level; };
  while (level > kSmallestRegion && m * regions_across(rows) * regions_across(grid.size) < 8 * context.threads()) {
    --level;
  }
  const std::int64_t side = std::int64_t{1} << level, across = regions_across(grid.size);
  const std::int64_t regions = regions_across(rows) * across;
  std::vector<std::unique_ptr<MapPainter>> painters(static_cast<std::size_t>(std::max(context.threads(), 1)));
  parallel_for(context, m * regions, [&](std::int64_t i) {
    const std::int64_t network = i / regions, row = i % regions / across * side, column = i % across * side;
    auto& painter = painters[static_cast<std::size_t>(thread_index())];
    if (!painter) painter = std::make_unique<MapPainter>(plan, centres, context);
    painter->set_network(packed.view().data() + network * plan.size, magnitudes.view().data() + network * plan.size,
                         labels.data() + network * rows * grid.size);
    painter->paint({row, column, std::min(side, rows - row), std::min(side, grid.size - column), level});
  });
  if (done == nullptr) return;
  for (const auto& painter : painters) {
    if (!painter) continue;
    const MapWork& part = painter->done();
    for (int l = 0; l < MapWork::kLevels; ++l) {
      done->bounded[l] += part.bounded[l];
      done->decided[l] += part.decided[l];
    }
    done->judged += part.judged;
    done->dense += part.dense;
  }
}

void grid_mlp_labels(const MlpShape& shape, View<const float> parameters, const Grid& grid, std::int64_t row_begin,
                     View<std::uint8_t> labels, Context& context) {
  check_grid_mlp_labels(shape, parameters, grid, row_begin, labels);
  if (!labels.empty()) map_networks(shape, parameters, grid, row_begin, labels, nullptr, context);
}

}  // namespace scalelab::cpu
