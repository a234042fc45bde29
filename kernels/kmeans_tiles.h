// kmeans_tiles: points in the plane or in space, sorted once into small tiles whose boxes say which centroids can
// matter.
//
// The bound. Rounding is monotone, so every step of the canonical distance (difference, fma) is monotone in |x - p|,
// and that chain evaluated at the nearest (farthest) coordinate of a box is a lower (upper) bound of the *computed*
// distance of p to every point of the box: no allowance for rounding is needed. A centroid whose lower bound exceeds
// some centroid's upper bound is therefore nearest to no point of the box, not even by a tie.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kmeans_total.h"
#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/knn.h"

namespace scalelab::cpu {

// Points of a tile: large enough that finding its candidates costs less than using them, small enough that its box
// meets few clusters. Also the most slots of a tile.
inline constexpr int kTilePoints = 256;
// A tile's slots are padded to this with copies of its last point, so that vectors need no tail.
inline constexpr int kTileAlign = 16;
// Tiles of a block: one list of candidates is made for the block, out of which its tiles choose theirs.
inline constexpr int kBlockTiles = 32;

// The smallest box round some points, and their totals (kmeans_total.h).
struct PointBox {
  float low[kTreeFeatures], high[kTreeFeatures];
  std::int64_t total[kTreeFeatures] = {};
  std::int64_t count = 0;
};

struct SortedTiles {
  // `points` (n, d), n >= 1, d = 2 or 3; `units_per_one` (d) of the totals.
  SortedTiles(View<const float> points, const double* units_per_one, Context& context);

  int slots(std::int64_t tile) const { return static_cast<int>(first_slot[tile + 1] - first_slot[tile]); }

  int d;
  std::int64_t tile_count, block_count;
  std::vector<std::int64_t> first_slot;  // (tiles + 1)
  std::vector<PointBox> tiles, blocks;   // block b: tiles [b * kBlockTiles, (b + 1) * kBlockTiles)
  Buffer<int> order;                     // (slots) index of the point in a slot
  Buffer<float> coordinates;             // (d, slots)
};

}  // namespace scalelab::cpu
