// spiral: the closed manifold whose inside is class 1 (orange) and whose outside is class 0 (blue).
#pragma once

#include <cmath>

#include "scalelab/math.h"
#include "scalelab/view.h"

namespace scalelab {

// A band that winds `turns` times round the origin: centre line r = c t at polar angle start_angle + t, t in [0, T],
// T = 2 pi turns, c = tip_radius / T, pitch P = 2 pi c; half-width w(t) = P/4 min(1, t / (2 pi), (T - t) / (pi/2)):
// a cusp over the first turn, a sharp tip over the last quarter turn. Domain [-1, 1]^2.
struct Spiral {
  double turns = 4;
  double tip_radius = 0.92;
  double start_angle = 0.75 * kPi;

  // Evaluated in fp64 with the arithmetic of math.h: the same bits everywhere.
  SCALELAB_HD bool inside(double x, double y) const {
    const double two_pi = 2 * kPi, t_end = two_pi * turns, c = tip_radius / t_end;
    const double rho = square_root(::fma(x, x, y * y));
    double phi = angle(y, x) - start_angle;
    phi = ::fma(-two_pi, ::floor(phi / two_pi), phi);
    double turn = ::rint((rho / c - phi) / two_pi);
    turn = turn > 0 ? turn : 0;
    const double t = ::fma(two_pi, turn, phi);
    double width = 1.0;
    width = t / two_pi < width ? t / two_pi : width;
    width = (t_end - t) / (kPi / 2) < width ? (t_end - t) / (kPi / 2) : width;
    return ::fabs(::fma(-c, t, rho)) < 0.5 * kPi * c * width;
  }
};

}  // namespace scalelab
