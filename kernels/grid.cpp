// grid on the CPU: what the k nearest references, or the true manifold, say at every cell centre of a band of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/grid.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/point_tree.h"
#include "kernels/knn_check.h"
#include "kernels/knn_tile-inl.h"
#include "scalelab/backend.h"

#ifndef SCALELAB_KERNELS_GRID_TASK  // once, not once per target
#define SCALELAB_KERNELS_GRID_TASK
namespace scalelab::cpu {

// What grid_knn or grid_knn_labels is asked for, or one of the models of grid_confusion.
struct GridTask {
  const PointTree& tree;
  const Grid& grid;
  std::int64_t row_begin, rows;
  std::size_t k;
  int* ids = nullptr;                              // (rows, G, k), or null: labels are asked for
  float* distances = nullptr;                      // (rows, G, k), or null
  const std::uint8_t* reference_labels = nullptr;  // (n), or null: neighbours are asked for
  std::uint8_t* labels = nullptr;                  // (rows, G), or null: each tile's go elsewhere
};

// Counts pairs of labels. Neighbouring cells mostly agree: eight equal pairs are counted at once, and four tables take
// turns, since adding to one would wait for its last sum.
class PairCounts {
 public:
  explicit PairCounts(std::int64_t classes) : classes_(classes), tables_(kTables * classes * classes) {}

  void add(const std::uint8_t* a, const std::uint8_t* b, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      std::uint64_t of_a, of_b;
      std::memcpy(&of_a, a + i, 8);
      std::memcpy(&of_b, b + i, 8);
      constexpr std::uint64_t kEach = 0x0101010101010101;  // 1 in every byte
      if (of_a == kEach * a[i] && of_b == kEach * b[i]) {
        cell(i / 8, a[i], b[i]) += 8;
      } else {
        for (std::int64_t j = i; j < i + 8; ++j) ++cell(j, a[j], b[j]);
      }
    }
    for (; i < n; ++i) ++cell(i, a[i], b[i]);
  }
  void add_to(View<std::int64_t> counts) const {
    for (std::int64_t i = 0; i < counts.size(); ++i) {
      for (int table = 0; table < kTables; ++table) counts.data()[i] += tables_[table * counts.size() + i];
    }
  }

 private:
  static constexpr int kTables = 4;
  std::int64_t& cell(std::int64_t turn, std::int64_t row, std::int64_t column) {
    const std::int64_t last = classes_ - 1;  // keeps labels beyond the classes inside the table
    return tables_[(turn % kTables * classes_ + std::min(row, last)) * classes_ + std::min(column, last)];
  }
  std::int64_t classes_;
  std::vector<std::int64_t> tables_;
};

// One of the two models of grid_confusion: what its neighbours are found by, or the truth.
struct ConfusionSide {
  std::optional<PointTree> tree;
  std::optional<GridTask> task;
  Spiral spiral;
};

}  // namespace scalelab::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

// One thread's work on the tiles of a task.
class GridTiles {
 public:
  explicit GridTiles(const GridTask& task)
      : task_(task), k_(task.k), selector_(task.k), labels_(task.labels), label_stride_(task.grid.size) {}

  // Cells [column, column + width) x [row, row + height) of the band; rows count from the band's first.
  struct Area {
    std::int64_t column, row, width, height;
  };

  // The labels of the areas visited from now on, all within `area`, go to `labels` (area.height, area.width).
  void put_labels(const Area& area, std::uint8_t* labels) {
    labels_ = labels;
    label_row_ = area.row;
    label_column_ = area.column;
    label_stride_ = area.width;
  }

  // Answers every cell of the area. `list` has the candidates of a tile around it, or is null: then they are gathered.
  void visit(const Area& area, const Candidates* list, std::size_t level) {
    const Tile tile = tile_of(area);
    const std::int64_t cells = area.width * area.height;
    if (list == nullptr) {
      Candidates& gathered = work_.level(level++);
      if (!collect(task_.tree, tile, k_, work_, gathered)) return search_or_split(area, level);
      if (task_.reference_labels != nullptr) {
        for (std::size_t i = 0; i < gathered.size; ++i) gathered.label[i] = task_.reference_labels[gathered.id[i]];
      }
      list = &gathered;
    }
    Candidates& near = work_.level(level++);
    if (task_.reference_labels != nullptr) {
      narrow<2, true>(*list, tile, k_, work_, near);
      const Vote vote = count_labels(near);
      if (vote.decided) {
        for (std::int64_t i = 0; i < area.height; ++i) {
          std::memset(label_at(area.row + i, area.column), vote.winner, area.width);
        }
      } else if (cells > 4 * kSmallest || is_worth_splitting(cells, near.size)) {
        split(area, &near, level);
      } else {
        label_cells(area, near, vote);
      }
      return;
    }
    narrow<2, false>(*list, tile, k_, work_, near);
    if (is_worth_splitting(cells, near.size)) {
      split(area, &near, level);
    } else {
      list_cells(area, near);
    }
  }

 private:
  static constexpr std::int64_t kSmallest = 16;  // cells of a tile that is not split any more

  Tile tile_of(const Area& area) const {
    Tile tile;
    set_axis(tile, 0, centre_x(area.column), centre_x(area.column + area.width - 1));
    set_axis(tile, 1, centre_y(area.row), centre_y(area.row + area.height - 1));
    return tile;
  }
  float centre_x(std::int64_t column) const { return cell_centre(column, task_.grid.step_x(), task_.grid.x_min); }
  float centre_y(std::int64_t row) const {
    return cell_centre(task_.row_begin + row, task_.grid.step_y(), task_.grid.y_min);
  }

  // Four quarters about halve the candidates that are not neighbours everywhere; weighed against filtering four lists.
  bool is_worth_splitting(std::int64_t cells, std::size_t candidates) const {
    if (cells <= kSmallest) return false;
    const double vectors = static_cast<double>(cells) / static_cast<double>(selector_.lanes());
    const double saved = 0.5 * vectors * static_cast<double>(candidates - k_) * selector_.clocks_per_candidate();
    return saved > 4 * (100 + 2.5 * static_cast<double>(candidates));
  }

  void split(const Area& area, const Candidates* list, std::size_t level) {
    // Powers of two, so that all but the last tile of a row are whole vectors.
    const auto half = [](std::int64_t n) {
      return n == 1 ? n : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)) / 2);
    };
    const std::int64_t width = half(area.width), height = half(area.height);
    for (std::int64_t row = 0; row < area.height; row += height) {
      for (std::int64_t column = 0; column < area.width; column += width) {
        visit({area.column + column, area.row + row, std::min(width, area.width - column),
               std::min(height, area.height - row)},
              list, level);
      }
    }
  }

  // An area whose list would be too long.
  void search_or_split(const Area& area, std::size_t level) {
    if (area.width * area.height > kSmallest) return split(area, nullptr, level);
    for (std::int64_t row = area.row; row < area.row + area.height; ++row) {
      for (std::int64_t column = area.column; column < area.column + area.width; ++column) search_cell(row, column);
    }
  }

  // One cell by itself, down the tree.
  void search_cell(std::int64_t row, std::int64_t column) {
    const float centre[3] = {centre_x(column), centre_y(row), 0};
    search(task_.tree, centre, k_, work_);
    if (task_.reference_labels != nullptr) {
      *label_at(row, column) = most_common([&](std::size_t j) { return task_.reference_labels[work_.found[j].id]; });
      return;
    }
    std::sort_heap(work_.found.begin(), work_.found.end());
    const std::size_t to = static_cast<std::size_t>(row * task_.grid.size + column) * k_;
    for (std::size_t j = 0; j < k_; ++j) {
      task_.ids[to + j] = work_.found[j].id;
      if (task_.distances != nullptr) task_.distances[to + j] = work_.found[j].distance;
    }
  }

  // What a list says about every vote that can come from it.
  struct Vote {
    bool decided;
    int winner;  // where decided
    bool two;    // the list has two labels:
    int smaller, larger;
  };
  Vote count_labels(const Candidates& list) {
    const DI di;
    const std::size_t lanes = hn::Lanes(di), n = list.size;
    VI least = hn::Set(di, 255), most = hn::Zero(di);
    for (std::size_t i = 0; i < n; i += lanes) {
      const VI label = hn::LoadU(di, list.label.data() + i);
      const auto valid = hn::FirstN(di, n - i);
      least = hn::IfThenElse(valid, hn::Min(least, label), least);
      most = hn::IfThenElse(valid, hn::Max(most, label), most);
    }
    const int smaller = hn::GetLane(hn::MinOfLanes(di, least)), larger = hn::GetLane(hn::MaxOfLanes(di, most));
    if (smaller == larger) return {true, smaller, false, smaller, larger};
    std::size_t of_smaller = 0, of_larger = 0;
    for (std::size_t i = 0; i < n; ++i) {
      of_smaller += list.label[i] == smaller;
      of_larger += list.label[i] == larger;
    }
    if (of_smaller + of_larger < n) return count_many(list);
    // At most of_larger of the k neighbours carry the larger label, so at least k - of_larger the smaller; and so on.
    if (2 * of_larger <= k_) return {true, smaller, true, smaller, larger};
    if (2 * of_smaller < k_) return {true, larger, true, smaller, larger};
    return {false, 0, true, smaller, larger};
  }
  Vote count_many(const Candidates& list) {
    std::size_t counts[256] = {};
    for (std::size_t i = 0; i < list.size; ++i) ++counts[list.label[i]];
    int first = 0, second = -1;  // the two most common labels
    for (int label = 1; label < 256; ++label) {
      if (counts[label] > counts[first]) {
        second = first;
        first = label;
      } else if (second < 0 || counts[label] > counts[second]) {
        second = label;
      }
    }
    const std::size_t others = std::min(k_, list.size - counts[first]), rival = std::min(k_, counts[second]);
    return {k_ - others > rival, first, false, 0, 0};
  }

  // Calls body(queries, coordinates, part, columns) for every vector of cells of the area: a vector covers `columns`
  // columns, a power of two, and as many rows as then fit. Lanes beyond the area repeat its last column or row, `part`
  // is what lies within.
  template <class Body>
  HWY_INLINE void for_each_vector(const Area& area, const Candidates& list, const Body& body) {
    const DF d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const std::int64_t columns = std::min(lanes, static_cast<std::int64_t>(std::bit_ceil<std::uint64_t>(area.width)));
    const std::int64_t rows = lanes / columns;
    alignas(64) float x[kMostLanes], y[kMostLanes], across[kMostLanes], down[kMostLanes];
    const float* const coordinates[3] = {x, y, nullptr};
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      across[lane] = static_cast<float>(lane % columns);
      down[lane] = static_cast<float>(lane / columns);
    }
    // cell_centre() for every lane. Cell numbers are below 2^17, so that their sums with 0.5 are exact.
    const auto centre = [d](const float* offset, std::int64_t first, std::int64_t last, float step, float low)
                            HWY_ATTR {
                              const VF number = hn::Add(hn::Set(d, static_cast<float>(first)), hn::Load(d, offset));
                              const VF within = hn::Min(number, hn::Set(d, static_cast<float>(last)));
                              return fused(d, hn::Add(within, hn::Set(d, 0.5F)), hn::Set(d, step), hn::Set(d, low));
                            };
    const Grid& grid = task_.grid;
    const std::int64_t top = task_.row_begin + area.row;
    const std::size_t squared = list.size <= Selector<2>::kMostPacked ? list.size : 0;
    if (x_squared_.size() < (squared + 1) * lanes) x_squared_.resize(2 * (squared + 1) * lanes);
    float* HWY_RESTRICT x_squared = x_squared_.data();
    for (std::int64_t column = 0; column < area.width; column += columns) {
      const VF vx = centre(across, area.column + column, area.column + area.width - 1, grid.step_x(), grid.x_min);
      hn::Store(vx, d, x);
      for (std::size_t c = 0; c < squared; ++c) {
        const VF t = hn::Sub(vx, hn::Set(d, list.x[c]));
        hn::StoreU(hn::Mul(t, t), d, x_squared + c * lanes);
      }
      for (std::int64_t row = 0; row < area.height; row += rows) {
        const VF vy = centre(down, top + row, top + area.height - 1, grid.step_y(), grid.y_min);
        hn::Store(vy, d, y);
        const CellLanes queries{vx, vy, x_squared, list.y.data()};
        body(queries, coordinates,
             Area{area.column + column, area.row + row, std::min(columns, area.width - column),
                  std::min(rows, area.height - row)},
             columns);
      }
    }
  }

  void list_cells(const Area& area, const Candidates& list) {
    selector_.use(list);
    const std::int64_t k = static_cast<std::int64_t>(k_), lanes = static_cast<std::int64_t>(selector_.lanes());
    for_each_vector(
        area, list,
        [&](const CellLanes& queries, const float* const* coordinates, const Area& part, std::int64_t columns)
            HWY_ATTR {
              selector_.nearest(queries, coordinates, task_.distances != nullptr, work_);
              const std::int64_t first = (part.row * task_.grid.size + part.column) * k;
              if (part.width == lanes) {
                selector_.write(task_.ids + first, task_.distances != nullptr ? task_.distances + first : nullptr);
                return;
              }
              int ids[kMaxNeighbours * kMostLanes];
              float distances[kMaxNeighbours * kMostLanes];
              selector_.write(ids, task_.distances != nullptr ? distances : nullptr);
              for (std::int64_t i = 0; i < part.height; ++i) {
                const std::int64_t to = first + i * task_.grid.size * k, from = i * columns * k;
                std::memcpy(task_.ids + to, ids + from, part.width * k * sizeof(int));
                if (task_.distances != nullptr) {
                  std::memcpy(task_.distances + to, distances + from, part.width * k * sizeof(float));
                }
              }
            });
  }

  void label_cells(const Area& area, const Candidates& list, const Vote& vote) {
    const DI di;
    const hn::Rebind<std::uint8_t, DI> d8;
    if (vote.two) {
      selector_.use_with_labels(list, vote.larger);
    } else {
      selector_.use(list);
    }
    for_each_vector(
        area, list,
        [&](const CellLanes& queries, const float* const* coordinates, const Area& part, std::int64_t columns)
            HWY_ATTR {
              alignas(64) std::uint8_t labels[kMostLanes];
              if (vote.two) {
                const VI count = selector_.count_votes(queries, coordinates, vote.larger, work_);
                const auto larger_wins = hn::Gt(hn::Add(count, count), hn::Set(di, static_cast<int>(k_)));
                const VI winner = hn::IfThenElse(larger_wins, hn::Set(di, vote.larger), hn::Set(di, vote.smaller));
                hn::StoreU(hn::DemoteTo(d8, winner), d8, labels);
              } else {
                selector_.nearest(queries, coordinates, false, work_);
                for (std::size_t lane = 0; lane < selector_.lanes(); ++lane) {
                  labels[lane] = most_common([&](std::size_t j) { return list.label[selector_.slot(j, lane)]; });
                }
              }
              for (std::int64_t i = 0; i < part.height; ++i) {
                std::memcpy(label_at(part.row + i, part.column), labels + i * columns, part.width);
              }
            });
  }

  std::uint8_t* label_at(std::int64_t row, std::int64_t column) const {
    return labels_ + (row - label_row_) * label_stride_ + (column - label_column_);
  }

  // The label of most of k neighbours, the smallest of equally common ones; label_of(j) is the label of the j-th.
  template <class LabelOf>
  std::uint8_t most_common(const LabelOf& label_of) {
    int winner = 0, most = 0;
    for (std::size_t j = 0; j < k_; ++j) {
      const int label = label_of(j), count = ++votes_[label];
      if (count > most || (count == most && label < winner)) {
        most = count;
        winner = label;
      }
    }
    for (std::size_t j = 0; j < k_; ++j) votes_[label_of(j)] = 0;
    return static_cast<std::uint8_t>(winner);
  }

  const GridTask& task_;
  std::size_t k_;
  Workspace work_;
  Selector<2> selector_;
  std::vector<float> x_squared_;
  int votes_[256] = {};
  std::uint8_t* labels_;  // of cell (label_row_, label_column_)
  std::int64_t label_row_ = 0, label_column_ = 0, label_stride_;
};

// Calls body(area) for the tiles of a band, on threads. They are large enough that gathering their candidates costs
// little, and there are enough of them for all threads.
inline constexpr std::int64_t kLargestSide = 256;
template <class Body>
void for_each_tile(std::int64_t size, std::int64_t rows, Context& context, const Body& body) {
  std::int64_t side = kLargestSide;
  const auto across = [&side](std::int64_t n) { return (n + side - 1) / side; };
  while (side > 32 && across(size) * across(rows) < 16 * context.threads()) side /= 2;
  const std::int64_t columns = across(size), tiles = columns * across(rows);
  parallel_for(context, tiles, [&](std::int64_t tile) {
    const std::int64_t column = tile % columns * side, row = tile / columns * side;
    body(GridTiles::Area{column, row, std::min(side, size - column), std::min(side, rows - row)});
  });
}

void map_grid(const GridTask& task, Context& context) {
  std::vector<std::unique_ptr<GridTiles>> workers(std::max(context.threads(), 1));
  for_each_tile(task.grid.size, task.rows, context, [&](const GridTiles::Area& area) {
    std::unique_ptr<GridTiles>& worker = workers[thread_index()];
    if (!worker) worker = std::make_unique<GridTiles>(task);
    worker->visit(area, nullptr, 0);
  });
}

// The arithmetic of angle() in math.h, a lane for a call.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V angle_lanes(D d, V y, V x) {
  const auto constant = [d](double c) { return hn::Set(d, c); };
  const V ax = hn::Abs(x), ay = hn::Abs(y), one = constant(1.0), zero = hn::Zero(d);
  const auto x_larger = hn::Gt(ax, ay);
  const V larger = hn::IfThenElse(x_larger, ax, ay), smaller = hn::IfThenElse(x_larger, ay, ax);
  V t = hn::Div(smaller, larger);  // NaN at the origin, replaced at the end
  const auto beyond_eighth = hn::Gt(t, constant(0.41421356237309503));
  t = hn::IfThenElse(beyond_eighth, hn::Div(hn::Sub(t, one), hn::Add(t, one)), t);
  V base = hn::IfThenElseZero(beyond_eighth, constant(kPi / 4));
  const auto beyond_sixteenth = hn::Gt(hn::Abs(t), constant(0.19891236737965800));
  const auto positive = hn::Gt(t, zero);
  const V u = hn::IfThenElse(positive, constant(0.41421356237309503), constant(-0.41421356237309503));
  const V step = hn::IfThenElse(positive, constant(kPi / 8), constant(-kPi / 8));
  base = hn::IfThenElse(beyond_sixteenth, hn::Add(base, step), base);
  t = hn::IfThenElse(beyond_sixteenth, hn::Div(hn::Sub(t, u), fused(d, u, t, one)), t);
  const V t2 = hn::Mul(t, t), minus_t2 = hn::Neg(t2);
  V series = constant(1.0 / 21);
  for (int power = 19; power >= 3; power -= 2) series = fused(d, series, minus_t2, constant(1.0 / power));
  V result = hn::Add(base, fused(d, hn::Mul(series, minus_t2), t, t));
  result = hn::IfThenElse(hn::Gt(ay, ax), hn::Sub(constant(kPi / 2), result), result);
  result = hn::IfThenElse(hn::Lt(x, zero), hn::Sub(constant(kPi), result), result);
  result = hn::IfThenElse(hn::Lt(y, zero), hn::Neg(result), result);
  return hn::IfThenElse(hn::Eq(larger, zero), zero, result);
}

// The arithmetic of Spiral::inside for `cells` cells of a row of the grid, from column `first` on.
void spiral_row(const Spiral& spiral, const Grid& grid, std::int64_t row, std::int64_t first, std::int64_t cells,
                std::uint8_t* HWY_RESTRICT labels) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  constexpr std::size_t kMost = hn::MaxLanes(d);
  const std::size_t lanes = hn::Lanes(d);
  const double two_pi = 2 * kPi, t_end = two_pi * spiral.turns, c = spiral.tip_radius / t_end;
  const double y_scalar = std::fma(static_cast<float>(row) + 0.5F, grid.step_y(), grid.y_min);
  const V y = hn::Set(d, y_scalar), y_squared = hn::Set(d, y_scalar * y_scalar);
  const V turn_length = hn::Set(d, two_pi), one = hn::Set(d, 1.0), zero = hn::Zero(d);
  alignas(64) double centres[kMost], inside[kMost];
  for (std::int64_t column = 0; column < cells; column += lanes) {
    for (std::size_t i = 0; i < lanes; ++i) {
      centres[i] = std::fma(static_cast<float>(first + column + i) + 0.5F, grid.step_x(), grid.x_min);
    }
    const V x = hn::Load(d, centres);
    const V rho = hn::Sqrt(fused(d, x, x, y_squared));
    V phi = hn::Sub(angle_lanes(d, y, x), hn::Set(d, spiral.start_angle));
    phi = fused(d, hn::Neg(turn_length), hn::Floor(hn::Div(phi, turn_length)), phi);
    V turn = hn::Round(hn::Div(hn::Sub(hn::Div(rho, hn::Set(d, c)), phi), turn_length));
    turn = hn::IfThenElse(hn::Gt(turn, zero), turn, zero);
    const V t = fused(d, turn_length, turn, phi);
    const V cusp = hn::Div(t, turn_length), tip = hn::Div(hn::Sub(hn::Set(d, t_end), t), hn::Set(d, kPi / 2));
    V width = hn::IfThenElse(hn::Lt(cusp, one), cusp, one);
    width = hn::IfThenElse(hn::Lt(tip, width), tip, width);
    const V off = hn::Abs(fused(d, hn::Set(d, -c), t, rho));
    hn::Store(hn::IfThenElseZero(hn::Lt(off, hn::Mul(hn::Set(d, 0.5 * kPi * c), width)), one), d, inside);
    const std::size_t count = std::min<std::size_t>(lanes, cells - column);
    for (std::size_t i = 0; i < count; ++i) labels[column + i] = inside[i] != 0;
  }
}

// One thread's work for grid_confusion: a tile's labels under both models, and the pairs counted so far.
class ConfusionTiles {
 public:
  ConfusionTiles(const ConfusionSide& a, const ConfusionSide& b, const Grid& grid, std::int64_t row_begin,
                 std::int64_t classes)
      : sides_{{a, {}, {}}, {b, {}, {}}}, grid_(grid), row_begin_(row_begin), counts_(classes) {
    for (Side& side : sides_) {
      side.labels.resize(kLargestSide * kLargestSide);
      if (side.model.task) side.tiles = std::make_unique<GridTiles>(*side.model.task);
    }
  }
  void count(const GridTiles::Area& area) {
    for (Side& side : sides_) {
      if (side.tiles) {
        side.tiles->put_labels(area, side.labels.data());
        side.tiles->visit(area, nullptr, 0);
        continue;
      }
      for (std::int64_t i = 0; i < area.height; ++i) {
        spiral_row(side.model.spiral, grid_, row_begin_ + area.row + i, area.column, area.width,
                   side.labels.data() + i * area.width);
      }
    }
    counts_.add(sides_[0].labels.data(), sides_[1].labels.data(), area.width * area.height);
  }
  const PairCounts& counts() const { return counts_; }

 private:
  struct Side {
    const ConfusionSide& model;
    std::unique_ptr<GridTiles> tiles;  // null: the truth
    std::vector<std::uint8_t> labels;
  };
  Side sides_[2];
  const Grid& grid_;
  std::int64_t row_begin_;
  PairCounts counts_;
};

void confuse_grid(const ConfusionSide& a, const ConfusionSide& b, const Grid& grid, std::int64_t row_begin,
                  std::int64_t rows, View<std::int64_t> counts, Context& context) {
  std::vector<std::unique_ptr<ConfusionTiles>> workers(std::max(context.threads(), 1));
  for_each_tile(grid.size, rows, context, [&](const GridTiles::Area& area) {
    std::unique_ptr<ConfusionTiles>& worker = workers[thread_index()];
    if (!worker) worker = std::make_unique<ConfusionTiles>(a, b, grid, row_begin, counts.extent(0));
    worker->count(area);
  });
  for (const auto& worker : workers) {
    if (worker) worker->counts().add_to(counts);
  }
}

// StoreMaskBits keeps the order of lanes: lane 0 is the lowest bit.
void pack_row(const std::uint8_t* HWY_RESTRICT labels, std::int64_t columns, std::uint8_t* HWY_RESTRICT bits) {
  const hn::ScalableTag<std::uint8_t> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t column = 0;
  for (; lanes >= 8 && column + lanes <= columns; column += lanes) {
    hn::StoreMaskBits(d, hn::Ne(hn::LoadU(d, labels + column), hn::Zero(d)), bits + column / 8);
  }
  for (; column < columns; ++column) {
    const std::uint8_t bit = static_cast<std::uint8_t>((labels[column] != 0 ? 1U : 0U) << column % 8);
    bits[column / 8] = static_cast<std::uint8_t>(column % 8 == 0 ? bit : bits[column / 8] | bit);
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {
namespace {

HWY_EXPORT(spiral_row);
HWY_EXPORT(map_grid);
HWY_EXPORT(confuse_grid);
HWY_EXPORT(pack_row);

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

}  // namespace

void grid_knn(View<const float> references, const Grid& grid, std::int64_t row_begin, View<int> indices,
              View<float> distances, Context& context) {
  const std::int64_t rows = check_band("grid_knn", grid, row_begin, indices.extent(0), indices.extent(1));
  const std::int64_t k = indices.extent(2);
  check_neighbours("grid_knn", references, k);
  if (indices.rank() != 3) refuse("grid_knn: indices must be of shape (rows, G, k)");
  if (distances.rank() != 0 && distances.size() != indices.size()) {
    refuse("grid_knn: distances have " + std::to_string(distances.size()) + " elements and indices " +
           std::to_string(indices.size()) + ": give the same shape, or an empty view to leave them out");
  }
  if (rows == 0) return;
  const PointTree tree = PointTree::of_references(references, static_cast<int>(k), context);
  GridTask task{tree, grid, row_begin, rows, static_cast<std::size_t>(k)};
  task.ids = indices.data();
  task.distances = distances.empty() ? nullptr : distances.data();
  HWY_DYNAMIC_DISPATCH(map_grid)(task, context);
}

void grid_knn_labels(View<const float> references, View<const std::uint8_t> reference_labels, int k, const Grid& grid,
                     std::int64_t row_begin, View<std::uint8_t> labels, Context& context) {
  const std::int64_t rows = check_band("grid_knn_labels", grid, row_begin, labels.extent(0), labels.extent(1));
  check_neighbours("grid_knn_labels", references, k);
  check_reference_labels("grid_knn_labels", references, reference_labels);
  if (rows == 0) return;
  const PointTree tree = PointTree::of_references(references, k, context);
  GridTask task{tree, grid, row_begin, rows, static_cast<std::size_t>(k)};
  task.reference_labels = reference_labels.data();
  task.labels = labels.data();
  HWY_DYNAMIC_DISPATCH(map_grid)(task, context);
}

void grid_spiral_labels(const Spiral& spiral, const Grid& grid, std::int64_t row_begin, View<std::uint8_t> labels,
                        Context& context) {
  const std::int64_t rows = check_band("grid_spiral_labels", grid, row_begin, labels.extent(0), labels.extent(1));
  parallel_for(context, rows, [&](std::int64_t i) {
    HWY_DYNAMIC_DISPATCH(spiral_row)(spiral, grid, row_begin + i, 0, grid.size, labels.data() + i * grid.size);
  });
}

void label_confusion(View<const std::uint8_t> a, View<const std::uint8_t> b, View<std::int64_t> counts,
                     Context& context) {
  const std::int64_t n = a.size();
  check_label_confusion(a, b, counts);
  // Pairs that a thread counts at a time: so many that adding up its tables costs little beside it.
  constexpr std::int64_t kPiece = 1 << 20;
  std::mutex mutex;
  parallel_for(context, (n + kPiece - 1) / kPiece, [&](std::int64_t piece) {
    const std::int64_t begin = piece * kPiece, count = std::min(n, begin + kPiece) - begin;
    PairCounts pairs(counts.extent(0));
    pairs.add(a.data() + begin, b.data() + begin, count);
    const std::lock_guard<std::mutex> lock(mutex);
    pairs.add_to(counts);
  });
}

void grid_confusion(const GridModel& a, const GridModel& b, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                    View<std::int64_t> counts, Context& context) {
  check_grid_confusion(a, b, grid, row_begin, rows, counts);
  if (rows == 0) return;
  ConfusionSide sides[2];
  const GridModel* const models[2] = {&a, &b};
  for (int i = 0; i < 2; ++i) {
    const GridModel& model = *models[i];
    sides[i].spiral = model.spiral;
    if (model.k == 0) continue;
    sides[i].tree = PointTree::of_references(model.references, model.k, context);
    sides[i].task.emplace(GridTask{*sides[i].tree, grid, row_begin, rows, static_cast<std::size_t>(model.k)});
    sides[i].task->reference_labels = model.labels.data();
  }
  HWY_DYNAMIC_DISPATCH(confuse_grid)(sides[0], sides[1], grid, row_begin, rows, counts, context);
}

void pack_labels(View<const std::uint8_t> labels, View<std::uint8_t> bits, Context& context) {
  check_pack_labels(labels, bits);
  if (labels.empty()) return;
  const std::int64_t columns = labels.extent(1), bytes = bits.extent(1);
  parallel_for(context, labels.extent(0), [&](std::int64_t row) {
    HWY_DYNAMIC_DISPATCH(pack_row)(labels.data() + row * columns, columns, bits.data() + row * bytes);
  });
}

}  // namespace scalelab::cpu
#endif
