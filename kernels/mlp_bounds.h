// mlp_bounds: what a network can say anywhere on a tile of a grid, in affine forms. Both backends build on this header.
//
// A tile is a rectangle of cells. xi and eta, both in [-1, 1], say where a cell's centre (x, y) lies in it: x is
// tile.x + tile.half_x xi, y likewise. A form (centre, x, y, radius) encloses a quantity on the tile: what dense
// evaluation computes for it in fp32, rounding errors and all, is within `radius` of centre + x xi + y eta at every
// cell.
//
// Forms pass through a network as cells do. Through a product of fan-in n: centre, x and y by the weights, the radius
// by their absolute values, and what rounding adds with it: a chain of n fmas is off by at most n 2^-24 times the sum
// of the absolute values of its terms, once in the dense evaluation and once in the forms' own arithmetic. So the
// radius of an input is first widened by rounding_of(n) times the largest absolute value the input takes on the tile,
// and the bias enters with the same factor. Through a ReLU: a neuron that is positive on the whole tile passes, one
// that is nowhere positive becomes 0, and between them the line through both ends of the interval takes its place, off
// by half of its greatest error (the smallest radius a form can have).
//
// A bound may fail and must never lie: what overflows, or meets what is not finite, has a radius of NaN, which decides
// nothing.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "scalelab/grid.h"
#include "scalelab/math.h"
#include "scalelab/mlp.h"

namespace scalelab {

struct Form {
  float centre, x, y, radius;
};

// Above the relative error of a few operations each rounded once, n of them in a chain, made twice. The 16 beyond 2 n
// pay for the few operations that prepare a form or judge it.
SCALELAB_HD inline float rounding_of(std::int64_t fan_in) { return static_cast<float>(2 * fan_in + 16) * 0x1p-24F; }
// A form is judged by what it says at a cell: 16 roundings of the largest absolute value it takes.
inline constexpr float kScoreRounding = 0x1p-20F;
// More than a chain can lose to numbers too small for fp32.
inline constexpr float kUnderflow = 0x1p-110F;
// A radius from here on is no bound: with less, no partial sum of the dense evaluation comes near the largest float,
// for the radius holds at least 2^-20 of the sum of absolute values.
inline constexpr float kLargestRadius = 0x1p100F;
inline constexpr float kNoBound = std::numeric_limits<float>::quiet_NaN();

// The networks whose tiles can be bounded.
inline bool has_bounds(const MlpShape& shape) { return shape.activation == Activation::relu && !shape.layer_norm; }

// The centre of a cell, as grid.h defines it; index is its column or row.
SCALELAB_HD inline float centre_of(std::int64_t index, float step, float low) {
  return ::fmaf(static_cast<float>(index) + 0.5F, step, low);
}

// Where the cells of a tile lie along one axis: within `half` of `middle`.
struct Side {
  float middle, half;
};
SCALELAB_HD inline Side side_of(float first, float last) {
  const double middle = 0.5 * first + 0.5 * last;
  Side side{static_cast<float>(middle), 0};
  const double below = static_cast<double>(side.middle) - first, above = static_cast<double>(last) - side.middle;
  side.half = static_cast<float>((below > above ? below : above) * (1 + 0x1p-22));
  return side;
}

// xi or eta of a cell's centre.
SCALELAB_HD inline float place_in(const Side& side, float at) {
  return side.half > 0 ? (at - side.middle) / side.half : 0;
}

// Forms of a network's features on a tile, shape.inputs = 2: Taylor's first order about the middle, the radius from the
// second derivatives' bounds on the tile. On tiles that hold the origin, or both sides of the cut of the angle, polar
// features have no bound.
SCALELAB_HD inline void bound_features(Encoding encoding, const Side& x_side, const Side& y_side, Form* features) {
  if (encoding == Encoding::none) {
    features[0] = {x_side.middle, x_side.half, 0, 0};
    features[1] = {y_side.middle, 0, y_side.half, 0};
    return;
  }
  const double x = x_side.middle, y = y_side.middle, hx = x_side.half, hy = y_side.half;
  const double near_x = ::fabs(x) - hx, near_y = ::fabs(y) - hy;
  const double inner_x = near_x > 0 ? near_x : 0, inner_y = near_y > 0 ? near_y : 0;
  const double nearest = ::sqrt(inner_x * inner_x + inner_y * inner_y) * (1 - 0x1p-40);  // to the origin
  const double r = ::sqrt(x * x + y * y), reach = hx * hx + hy * hy;
  const bool cut = encoding != Encoding::polar_trig && x - hx <= 0 && near_y <= 0;
  if (!(nearest > 0x1p-100) || !(r < 0x1p100) || cut) {
    features[0] = features[1] = {kNoBound, kNoBound, kNoBound, kNoBound};
    if (encoding == Encoding::polar_trig) features[2] = features[0];
    return;
  }
  // The encoding in fp32 (vector_math-inl.h) is off by less than 16 * 2^-24 (1 + r): 4 roundings of the radius, and of
  // the angle roundings that come to 11 * 2^-24. As much again for these forms, which become fp32.
  const double rounding = 0x1p-19 * (1 + r);
  const auto form = [&](double centre, double by_x, double by_y, double radius) {
    return Form{static_cast<float>(centre), static_cast<float>(by_x * hx), static_cast<float>(by_y * hy),
                static_cast<float>((radius + rounding) * (1 + 0x1p-20))};
  };
  const double cosine = x / r, sine = y / r;
  // The second derivative of the radius along a direction is between 0 and 1 / r.
  const double bow = 0.25 * reach / nearest;
  const bool raw = encoding == Encoding::polar_raw;
  const double scale = raw ? 1 : 2;
  features[0] = form(scale * (r + bow) - (raw ? 0 : 1), scale * cosine, scale * sine, scale * bow);
  if (encoding == Encoding::polar_trig) {
    // Of cosine and sine at most sqrt(2) / r^2; of the angle 1 / r^2.
    const double bent = 0.7072 * reach / (nearest * nearest);
    features[1] = form(cosine, sine * sine / r, -sine * cosine / r, bent);
    features[2] = form(sine, -sine * cosine / r, cosine * cosine / r, bent);
    return;
  }
  const double unit = raw ? 1 : 1 / kPi;
  features[1] = form(unit * angle(y, x), -unit * sine / r, unit * cosine / r, unit * 0.5 * reach / (nearest * nearest));
}

// The forms of a tile's scores: part p (centre, x, y, radius) of score j is at[j * row + p * part].
struct ScoreForms {
  const float* at;
  std::int64_t row, part;
  int outputs;

  // A single score stands against 0, the score of class 0.
  SCALELAB_HD int classes() const { return outputs == 1 ? 2 : outputs; }
  SCALELAB_HD Form of(int j) const {
    if (outputs == 1 && j == 0) return {0, 0, 0, 0};
    const float* const form = at + (outputs == 1 ? 0 : j) * row;
    return {form[0], form[part], form[2 * part], form[3 * part]};
  }
};

// In place of a class: not decided; and not to be decided by smaller tiles either, or hardly.
inline constexpr int kOpen = -1, kHopeless = -2;

// The class of every cell of a tile, kOpen, or kHopeless: the radii of two classes hide all that their forms say of
// them, and still would when the tile is halved twice. A class that wins wins by more than a tie.
SCALELAB_HD inline int class_of_tile(const ScoreForms& scores) {
  int best = 0;
  for (int j = 1; j < scores.classes(); ++j) {
    if (scores.of(j).centre > scores.of(best).centre) best = j;
  }
  const Form winner = scores.of(best);
  int found = best;
  for (int j = 0; j < scores.classes(); ++j) {
    if (j == best) continue;
    const Form other = scores.of(j);
    const float lead = winner.centre - other.centre, radius = winner.radius + other.radius;
    const float slope = ::fabsf(winner.x - other.x) + ::fabsf(winner.y - other.y);
    if (!(radius < 4 * (lead + slope))) return kHopeless;
    if (!(lead - slope - radius > 0)) found = kOpen;
  }
  return found;
}

// The class of the cell at (xi, eta), or kOpen.
SCALELAB_HD inline int class_of_cell(const ScoreForms& scores, float xi, float eta) {
  const auto value = [&](const Form& form) { return ::fmaf(form.x, xi, ::fmaf(form.y, eta, form.centre)); };
  Form winner = scores.of(0);
  float best = value(winner);
  int found = 0;
  for (int j = 1; j < scores.classes(); ++j) {
    const Form form = scores.of(j);
    const float score = value(form);
    if (score > best) {
      best = score;
      winner = form;
      found = j;
    }
  }
  int decided = found;
  for (int j = 0; j < scores.classes(); ++j) {
    const Form other = scores.of(j);
    if (j != found && !(best - value(other) - (winner.radius + other.radius) > 0)) decided = kOpen;
  }
  return decided;
}

}  // namespace scalelab
