// mlp_bounds: forms (mlp_bounds.h) of a batch of tiles through a network, once per vector target.
// Included inside foreach_target; see kernels/README.md and mlp_grid.h.
#if defined(SCALELAB_KERNELS_MLP_BOUNDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_MLP_BOUNDS_INL_H_
#undef SCALELAB_KERNELS_MLP_BOUNDS_INL_H_
#else
#define SCALELAB_KERNELS_MLP_BOUNDS_INL_H_
#endif

#include "kernels/mlp_block-inl.h"
#include "kernels/mlp_bounds.h"
#include "kernels/mlp_grid.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

struct FormVector {
  Vector centre, x, y, radius;
};

HWY_INLINE FormVector load_form(const float* row, std::int64_t tiles) {
  const Floats d;
  return {hn::Load(d, row), hn::Load(d, row + tiles), hn::Load(d, row + 2 * tiles), hn::Load(d, row + 3 * tiles)};
}

HWY_INLINE void store_form(const FormVector& form, float* row, std::int64_t tiles) {
  const Floats d;
  hn::Store(form.centre, d, row);
  hn::Store(form.x, d, row + tiles);
  hn::Store(form.y, d, row + 2 * tiles);
  hn::Store(form.radius, d, row + 3 * tiles);
}

// The sum of absolute values that a form takes beside its centre and its radius.
HWY_INLINE Vector slope_of(const FormVector& form) { return hn::Add(hn::Abs(form.x), hn::Abs(form.y)); }

// The radius that a product of fan-in n gives, from its chain by absolute values; NaN where it is too large to be one.
HWY_INLINE Vector radius_of_product(Vector chain, float rounding) {
  const Floats d;
  const Vector radius = fused(d, chain, hn::Set(d, 1.0F + rounding), hn::Set(d, kUnderflow));
  return hn::IfThenElse(hn::Lt(radius, hn::Set(d, kLargestRadius)), radius, hn::Set(d, kNoBound));
}

// Forms before a ReLU of `rows` neurons to forms behind it, widened for a product with this rounding.
HWY_NOINLINE void rectify(float* forms, std::int64_t rows, std::int64_t tiles, float own_rounding,
                          float next_rounding) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector zero = hn::Zero(d), one = hn::Set(d, 1.0F), half = hn::Set(d, 0.5F);
  const Vector upward = hn::Set(d, 1.0F + 0x1p-20F), next = hn::Set(d, next_rounding);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t c = 0; c < tiles; c += lanes) {
      float* const at = forms + row * kFormRow + c;
      FormVector form = load_form(at, tiles);
      form.radius = radius_of_product(form.radius, own_rounding);
      const Vector reach = hn::Mul(hn::Add(slope_of(form), form.radius), upward);
      const Vector low = hn::Sub(form.centre, reach), high = hn::Add(form.centre, reach);
      // Between: relu(z) - share z lies in [0, 2 offset] for low <= z <= high.
      const Vector share = hn::Div(high, hn::Sub(high, low));
      const Vector fall = hn::Neg(hn::Mul(share, low)), rise = hn::Mul(hn::Sub(one, share), high);
      const Vector offset = hn::Mul(half, hn::IfThenElse(hn::Gt(rise, fall), rise, fall));
      const Vector radius = fused(d, fused(d, share, form.radius, offset), upward, hn::Set(d, kUnderflow));
      const FormVector between{fused(d, share, form.centre, offset), hn::Mul(share, form.x), hn::Mul(share, form.y),
                               radius};
      const auto passes = hn::Ge(low, zero), gone = hn::Le(high, zero);
      const auto choose = [&](Vector whole, Vector part)
                              HWY_ATTR { return hn::IfThenZeroElse(gone, hn::IfThenElse(passes, whole, part)); };
      // `high` is the largest value behind the ReLU, whichever form it has.
      store_form({choose(form.centre, between.centre), choose(form.x, between.x), choose(form.y, between.y),
                  fused(d, next, hn::IfThenZeroElse(gone, high), choose(form.radius, between.radius))},
                 at, tiles);
    }
  }
}

// Forms (rows) = bias + weights (rows, fan_in) forms `below`.
void multiply_forms(const BoundsWorkspace& work, std::int64_t rows, std::int64_t fan_in, std::int64_t weights,
                    std::int64_t bias, bool turned, std::int64_t stride, const float* below, float* forms) {
  const std::int64_t tiles = work.tiles;
  Product product{.rows = rows,
                  .depth = fan_in,
                  .columns = tiles,
                  .left = work.packed + weights,
                  .left_row = turned ? 1 : stride,
                  .left_depth = turned ? stride : 1,
                  .right = below,
                  .right_stride = kFormRow,
                  .result = forms,
                  .result_stride = kFormRow,
                  .begin = Begin::bias,
                  .bias = work.packed + bias};
  multiply(product);
  product.columns = 2 * tiles;
  product.right = below + tiles;
  product.result = forms + tiles;
  product.begin = Begin::zero;
  multiply(product);
  product.columns = tiles;
  product.left = work.magnitudes + weights;
  product.right = below + 3 * tiles;
  product.result = forms + 3 * tiles;
  product.begin = Begin::bias;
  product.bias = work.magnitudes + bias;
  multiply(product);
}

void bound_scores(const MlpPlan& plan, const BoundsWorkspace& work) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float first_rounding = rounding_of(plan.features), rounding = rounding_of(plan.width);
  for (std::int64_t f = 0; f < plan.features; ++f) {
    for (std::int64_t c = 0; c < work.tiles; c += lanes) {
      float* const at = work.features + f * kFormRow + c;
      FormVector form = load_form(at, work.tiles);
      const Vector largest = hn::Add(hn::Add(hn::Abs(form.centre), slope_of(form)), form.radius);
      form.radius = fused(d, hn::Set(d, first_rounding), largest, form.radius);
      store_form(form, at, work.tiles);
    }
  }
  const float* below = work.features;
  for (int l = 0; l < plan.shape.hidden_layers; ++l) {
    const MlpPlan::Hidden& layer = plan.hidden[l];
    float* const forms = work.layers[l % 2];
    multiply_forms(work, plan.width, layer.fan_in, layer.weights, layer.bias, true, plan.stride, below, forms);
    rectify(forms, plan.width, work.tiles, l == 0 ? first_rounding : rounding, rounding);
    below = forms;
  }
  multiply_forms(work, plan.outputs, plan.width, plan.output_weights, plan.output_bias, false, plan.stride, below,
                 work.scores);
  for (std::int64_t j = 0; j < plan.outputs; ++j) {
    for (std::int64_t c = 0; c < work.tiles; c += lanes) {
      float* const at = work.scores + j * kFormRow + c;
      FormVector form = load_form(at, work.tiles);
      form.radius = radius_of_product(form.radius, rounding);
      const Vector size = hn::Add(hn::Abs(form.centre), slope_of(form));
      form.radius = fused(d, hn::Set(d, kScoreRounding), size, form.radius);
      store_form(form, at, work.tiles);
    }
  }
}

// The class of the cells at (xi, eta) of a tile where its scores decide it, kOpen where they do not.
HWY_INLINE Vector class_at(const BoundsWorkspace& work, std::int64_t outputs, std::int64_t tile, Vector xi,
                           Vector eta) {
  const Floats d;
  const Vector zero = hn::Zero(d), open = hn::Set(d, static_cast<float>(kOpen));
  const auto part = [&](std::int64_t j, int p)
                        HWY_ATTR { return hn::Set(d, work.scores[j * kFormRow + p * work.tiles + tile]); };
  const auto score = [&](std::int64_t j)
                         HWY_ATTR { return fused(d, part(j, 1), xi, fused(d, part(j, 2), eta, part(j, 0))); };
  Vector best = score(0), label = zero, radius = part(0, 3);
  if (outputs == 1) {  // against the score 0 of class 0
    label = hn::IfThenElseZero(hn::Gt(best, zero), hn::Set(d, 1.0F));
    return hn::IfThenElse(hn::Gt(hn::Abs(best), radius), label, open);
  }
  for (std::int64_t j = 1; j < outputs; ++j) {
    const Vector value = score(j);
    const auto above = hn::Gt(value, best);
    best = hn::IfThenElse(above, value, best);
    label = hn::IfThenElse(above, hn::Set(d, static_cast<float>(j)), label);
    radius = hn::IfThenElse(above, part(j, 3), radius);
  }
  Vector decided = label;
  for (std::int64_t j = 0; j < outputs; ++j) {
    const Vector margin = hn::Sub(hn::Sub(best, score(j)), hn::Add(radius, part(j, 3)));
    const auto beaten = hn::Or(hn::Gt(margin, zero), hn::Eq(label, hn::Set(d, static_cast<float>(j))));
    decided = hn::IfThenElse(beaten, decided, open);
  }
  return decided;
}

std::int64_t judge_cells(const BoundsWorkspace& work, std::int64_t outputs, std::int64_t tile, const CellPlaces& places,
                         std::int16_t* classes) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t undecided = 0;
  for (std::int64_t i = 0; i < places.rows; ++i) {
    const Vector eta = hn::Set(d, places.eta[i]);
    alignas(64) float found[kJudged];
    for (std::int64_t c = 0; c < places.columns; c += lanes) {
      hn::Store(class_at(work, outputs, tile, hn::Load(d, places.xi + c), eta), d, found + c);
    }
    for (std::int64_t j = 0; j < places.columns; ++j) {
      classes[i * kJudged + j] = static_cast<std::int16_t>(found[j]);
      undecided += found[j] == static_cast<float>(kOpen) ? 1 : 0;
    }
  }
  return undecided;
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
