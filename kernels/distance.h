// distance: the canonical squared distance, one step of it; both compilers see this.
#pragma once

#include <cmath>

#include "scalelab/view.h"

namespace scalelab {

// s + (q - p)^2, one rounding for the difference and one for the fma. Chained from s = 0 over ascending coordinates it
// is the distance that knn.h promises.
SCALELAB_HD inline float add_squared_difference(float q, float p, float s) {
  const float t = q - p;
  return ::fmaf(t, t, s);
}

// The order of neighbours: by distance, then by index.
SCALELAB_HD inline bool nearer(float distance_a, int index_a, float distance_b, int index_b) {
  return distance_a < distance_b || (distance_a == distance_b && index_a < index_b);
}

}  // namespace scalelab
