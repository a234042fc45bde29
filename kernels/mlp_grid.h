// mlp_grid: how the CPU backend bounds a network on a batch of tiles, and what a map cost. No vector code here.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/mlp_block.h"
#include "scalelab/grid.h"

namespace scalelab::cpu {

// Tiles of a batch: one register tile of a product across.
inline constexpr std::int64_t kTileBatch = 64;
// Floats from one row of forms to the next: centres of the batch's tiles, then slopes by x, by y, and radii. The line
// beyond them keeps neighbouring rows out of each other's place in the cache.
inline constexpr std::int64_t kFormRow = 4 * kTileBatch + kLine;
// The largest side in cells of tiles whose cells are judged one by one.
inline constexpr std::int64_t kJudged = kLine;

// Memory for the forms of up to kTileBatch tiles; all of it starts as zeros. Part p (centre, x, y, radius) of row i and
// tile t is at [i * kFormRow + p * tiles + t].
struct BoundsWorkspace {
  BoundsWorkspace(const MlpPlan& plan, Context& context);

  std::int64_t tiles = kTileBatch;  // of the batch at hand, a multiple of kLine
  float* features;                  // (features)
  std::array<float*, 2> layers;     // (width) hidden layers take turns
  float* scores;                    // (outputs)
  const float* packed;              // the network
  const float* magnitudes;          // its absolute values, biases times the rounding of their layer

 private:
  Buffer<float> memory_;
};

// `magnitudes` of a packed network.
void pack_magnitudes(const MlpPlan& plan, const float* packed, float* magnitudes);

// From the features' forms in `work.features` to `work.scores`.
void bound_scores(const MlpPlan& plan, const BoundsWorkspace& work);

// Where the cells of a tile lie in it (mlp_bounds.h).
struct CellPlaces {
  std::int64_t rows, columns;  // up to kJudged
  alignas(64) float xi[kJudged], eta[kJudged];
};

// classes[row * kJudged + column] = the class of each of a tile's cells that the scores' forms decide, kOpen where they
// do not. Returns how many are open.
std::int64_t judge_cells(const BoundsWorkspace& work, std::int64_t outputs, std::int64_t tile, const CellPlaces& places,
                         std::int16_t* classes);

// How a map's cells were labelled.
struct MapWork {
  static constexpr int kLevels = 10;                       // sides of 1 to 512 cells
  std::array<std::int64_t, kLevels> bounded{}, decided{};  // tiles by log2 of their side
  std::int64_t judged = 0;                                 // cells by the forms of a tile that was not decided
  std::int64_t dense = 0;                                  // cells by dense evaluation
};

// grid_mlp_labels, which also adds up what it did.
void map_networks(const MlpShape& shape, View<const float> parameters, const Grid& grid, std::int64_t row_begin,
                  View<std::uint8_t> labels, MapWork* done, Context& context);

}  // namespace scalelab::cpu
