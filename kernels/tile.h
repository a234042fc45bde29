// tile: which references can be among the k nearest of any query in a box. Both compilers see this; no Highway here.
//
// A tile is a box with centre c and half sizes h that holds all its queries x, |x_i - c_i| <= h_i. For any point o
//
//     |x - p|^2 = g_p(x) + K(x),   g_p(x) = |c - p|^2 - 2 (x - c).(p - o),   K(x) = |x - c|^2 + 2 (x - c).(c - o),
//
// and K does not depend on the reference p: over the whole tile references can be compared by g alone, which lies in
//
//     |c - p|^2 +- 2 sum_i h_i |p_i - o_i|     (TileBounds::range)
//
// for every x. Let U be the k-th smallest upper end. A reference whose lower end exceeds U is strictly farther than k
// others from every query of the tile. With o = c this is at least as tight as comparing the least and greatest
// distances to the box; with o amid the nearest references it is much tighter where they all lie to one side.
//
// Rounding, u = 2^-24, d <= 3. The canonical distance s of |x - p|^2 = E is within (d + 2) u E <= 5 u E of it: 3 u from
// the first rounded square of a rounded difference, 1 u from each further fma. So E_p - E_r > 10.1 u E_r suffices for
// s_p > s_r. E_r <= M = U + sum_i h_i^2 + 2 sum_i h_i |c_i - o_i| for the k references below U. The ends themselves are
// sums of positive terms, each within 5 u of its value, and are moved outwards by 16 u (kSlack), which covers that and
// their last rounding. Hence a reference may be dropped when its lower end exceeds U + kSlack M, rounded: 16 u leaves
// 5.9 u M for the three roundings of that sum. kTiny covers underflow, whose absolute errors stay far below it.
#pragma once

#include <cmath>

#include "scalelab/view.h"

namespace scalelab {

inline constexpr float kSlack = 0x1p-20F;  // 16 u
inline constexpr float kTiny = 0x1p-120F;  // far above what underflow can lose

struct Tile {
  float centre[3] = {0, 0, 0};
  float half[3] = {0, 0, 0};  // rounded up: |x - centre| <= half holds for every query, in exact arithmetic
};

// Sets axis i of a tile whose queries lie in [low, high] there. A difference is within 1 u of its value (and exact when
// subnormal), so that 4 u cover it and the rounding of the product.
SCALELAB_HD inline void set_axis(Tile& tile, int axis, float low, float high) {
  const float centre = 0.5F * low + 0.5F * high;
  const float below = centre - low, above = high - centre;
  const float half = below > above ? below : above;
  tile.centre[axis] = centre;
  tile.half[axis] = half * (1.0F + 0x1p-22F);
}

// What a tile and a point o make of every reference.
struct TileBounds {
  float centre[3], origin[3], reach[3];  // c, o, 2 h (1 + kSlack)
  float spread;                          // sum_i h_i^2 + 2 sum_i h_i |c_i - o_i|, so that M = U + spread

  SCALELAB_HD TileBounds(const Tile& tile, const float o[3]) : spread(0) {
    for (int i = 0; i < 3; ++i) {
      centre[i] = tile.centre[i];
      origin[i] = o[i];
      reach[i] = 2.0F * tile.half[i] * (1.0F + kSlack);
      spread += tile.half[i] * tile.half[i] + reach[i] * ::fabsf(centre[i] - o[i]);
    }
  }

  struct Range {
    float low, high;
  };
  SCALELAB_HD Range range(const float p[3]) const {
    float squared = 0, swing = 0;
    for (int i = 0; i < 3; ++i) {
      const float t = centre[i] - p[i];
      squared = ::fmaf(t, t, squared);
      swing = ::fmaf(reach[i], ::fabsf(p[i] - origin[i]), swing);
    }
    return {::fmaf(squared, 1.0F - kSlack, -swing), ::fmaf(squared, 1.0F + kSlack, swing)};
  }

  // Lower ends above this cannot be among the k nearest, when k upper ends are at most `upper`.
  SCALELAB_HD float threshold(float upper) const { return upper + (kSlack * (upper + spread) + kTiny); }
};

// Whether along one axis queries x of |x| >= least have one difference, as it rounds, to all p in [low, high]: these
// coincide, or are so small beside every query that taking them away leaves it as it is (2^-25 of a number is at most
// half of what its last bit is worth). Where this holds along every axis, all queries are equally far from all p.
SCALELAB_HD inline bool axis_ties(float least, float low, float high) {
  const float most = ::fabsf(low) > ::fabsf(high) ? ::fabsf(low) : ::fabsf(high);
  return low == high || most * 0x1p25F <= least;
}

// Centre of a cell of a grid along one axis (grid.h).
SCALELAB_HD inline float cell_centre(long long index, float step, float low) {
  return ::fmaf(static_cast<float>(index) + 0.5F, step, low);
}

}  // namespace scalelab
