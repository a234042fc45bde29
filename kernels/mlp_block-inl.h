// mlp_block: the arithmetic of one block of samples through one network, forward and backward, once per vector target.
// Included inside foreach_target; see kernels/README.md and mlp_block.h.
#if defined(SCALELAB_KERNELS_MLP_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALELAB_KERNELS_MLP_BLOCK_INL_H_
#undef SCALELAB_KERNELS_MLP_BLOCK_INL_H_
#else
#define SCALELAB_KERNELS_MLP_BLOCK_INL_H_
#endif

#include <utility>

#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/vector_math-inl.h"
#include "kernels/mlp_block.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;

// --- the product -----------------------------------------------------------------------------------------------------

enum class Begin { zero, bias, result };  // what the sum of an element starts from
enum class Finish { plain, relu, gate };  // gate: 0 where the element of `gate` is not above 0

// result (rows, columns) = begin + left (rows, depth) right (depth, columns): each element one fma chain over ascending
// depth. Columns are a multiple of kLine; the rows of `right`, `result` and `gate` are contiguous and aligned.
struct Product {
  std::int64_t rows, depth, columns;
  const float* left;
  std::int64_t left_row, left_depth;  // strides
  const float* right;
  std::int64_t right_stride;
  float* result;
  std::int64_t result_stride;
  Begin begin = Begin::zero;
  const float* bias = nullptr;  // (rows)
  Finish finish = Finish::plain;
  const float* gate = nullptr;  // as `result`
};

// A tile of kRows x kVectors elements stays in registers: each step of depth feeds kRows * kVectors fmas with kVectors
// loads and kRows broadcasts. Measured best of 4 x 4, 6 x 4, 8 x 2 and 8 x 3 with 32 registers, and of 4 x 2, 6 x 2,
// 8 x 1 and 8 x 2 with 16.
inline constexpr int kTileRows = HWY_TARGET == HWY_AVX2 ? 6 : 4;
inline constexpr int kTileVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;

template <int kRows, int kVectors>
HWY_INLINE void product_tile(const Product& p, std::int64_t row, std::int64_t column) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  float* const result = p.result + row * p.result_stride + column;
  Vector sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = p.begin == Begin::zero   ? hn::Zero(d)
                  : p.begin == Begin::bias ? hn::Set(d, p.bias[row + i])
                                           : hn::Load(d, result + i * p.result_stride + j * lanes);
    }
  }
  const float* left = p.left + row * p.left_row;
  const float* right = p.right + column;
  const std::int64_t left_row = p.left_row, left_depth = p.left_depth, right_stride = p.right_stride;
  for (std::int64_t k = p.depth; k > 0; --k) {
    Vector r[kVectors];
    for (int j = 0; j < kVectors; ++j) r[j] = hn::Load(d, right + j * lanes);
    for (int i = 0; i < kRows; ++i) {
      const Vector l = hn::Set(d, left[i * left_row]);
      for (int j = 0; j < kVectors; ++j) sum[i][j] = fused(d, l, r[j], sum[i][j]);
    }
    left += left_depth;
    right += right_stride;
  }
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      const std::int64_t at = i * p.result_stride + j * lanes;
      Vector value = sum[i][j];
      if (p.finish == Finish::relu) value = hn::IfThenZeroElse(hn::Lt(value, hn::Zero(d)), value);  // NaN stays
      if (p.finish == Finish::gate) {
        const Vector gate = hn::Load(d, p.gate + row * p.result_stride + column + at);
        value = hn::IfThenElseZero(hn::Gt(gate, hn::Zero(d)), value);
      }
      hn::Store(value, d, result + at);
    }
  }
}

// The rows that are left when no whole tile is.
template <int kVectors, int kRows = kTileRows - 1>
HWY_INLINE void product_rest(const Product& p, std::int64_t row, std::int64_t column) {
  if (p.rows - row == kRows) {
    product_tile<kRows, kVectors>(p, row, column);
  } else if constexpr (kRows > 1) {
    product_rest<kVectors, kRows - 1>(p, row, column);
  }
}

template <int kVectors>
HWY_INLINE void product_columns(const Product& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + kTileRows <= p.rows; row += kTileRows) product_tile<kTileRows, kVectors>(p, row, column);
  product_rest<kVectors>(p, row, column);
}

HWY_NOINLINE void multiply(const Product& p) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  std::int64_t column = 0;
  for (; column + kTileVectors * lanes <= p.columns; column += kTileVectors * lanes) {
    product_columns<kTileVectors>(p, column);
  }
  for (; column < p.columns; column += lanes) product_columns<1>(p, column);
}

#if HWY_TARGET != HWY_SCALAR
// One 4 x 4 tile in each 128-bit half, or in the whole of a narrower vector.
using Tiles = hn::CappedTag<float, HWY_CAP_GE256 ? 8 : 4>;

// Four columns of row 0, and in the upper half of row 4.
HWY_INLINE hn::Vec<Tiles> load_tiles(const float* from, std::int64_t stride) {
#if HWY_CAP_GE256
  const hn::Half<Tiles> half;
  return hn::Combine(Tiles(), hn::Load(half, from + 4 * stride), hn::Load(half, from));
#else
  (void)stride;
  return hn::Load(Tiles(), from);
#endif
}
#endif

// turned (columns, turned_stride) = the transpose of `matrix` (rows, columns of stride `stride`): rows are read, and
// columns written, up to the next multiple of kTurnedRows.
HWY_NOINLINE void transpose(const float* matrix, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                            float* turned, std::int64_t turned_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      turned[column * turned_stride + row] = matrix[row * stride + column];
    }
  }
#else
  const Tiles d;
  for (std::int64_t row = 0; row < rows; row += static_cast<std::int64_t>(hn::Lanes(d))) {
    for (std::int64_t column = 0; column < columns; column += 4) {
      const float* from = matrix + row * stride + column;
      const auto r0 = load_tiles(from, stride), r1 = load_tiles(from + stride, stride);
      const auto r2 = load_tiles(from + 2 * stride, stride), r3 = load_tiles(from + 3 * stride, stride);
      const auto low_even = hn::InterleaveLower(d, r0, r2), low_odd = hn::InterleaveLower(d, r1, r3);
      const auto high_even = hn::InterleaveUpper(d, r0, r2), high_odd = hn::InterleaveUpper(d, r1, r3);
      float* to = turned + column * turned_stride + row;
      hn::Store(hn::InterleaveLower(d, low_even, low_odd), d, to);
      hn::Store(hn::InterleaveUpper(d, low_even, low_odd), d, to + turned_stride);
      hn::Store(hn::InterleaveLower(d, high_even, high_odd), d, to + 2 * turned_stride);
      hn::Store(hn::InterleaveUpper(d, high_even, high_odd), d, to + 3 * turned_stride);
    }
  }
#endif
}

// --- products below fp32 ---------------------------------------------------------------------------------------------
// The depth of a product is cut into blocks of kDepthBlock terms, the last one filled with zeros, and a block of each
// factor is written once for every part of the product, one behind the other: a product of the factors in parts is then
// one fma chain that takes, block after block, hi.hi, hi.lo and lo.hi, each in ascending depth.

// The nearest bf16, ties to even, as a float. NaN stays NaN.
HWY_INLINE Vector to_bf16(Vector x) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::And(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffU))), hn::Set(du, 0xffff0000U));
  return hn::IfThenElse(hn::Eq(x, x), hn::BitCast(d, rounded), x);
}

enum class Factor { left, right };

// Stores the parts of `x` that a factor shows in the blocks of a product, `step` floats from one block to the next.
HWY_INLINE void store_parts(Precision precision, Factor factor, Vector x, float* to, std::int64_t step) {
  const Floats d;
  const Vector hi = to_bf16(x);
  hn::Store(hi, d, to);
  if (precision == Precision::bf16) return;
  const Vector lo = to_bf16(hn::Sub(x, hi));
  hn::Store(factor == Factor::left ? hi : lo, d, to + step);
  hn::Store(factor == Factor::left ? lo : hi, d, to + 2 * step);
}

// The same product with its factors in parts, in `work`.
HWY_NOINLINE Product in_parts(Product p, const MlpWorkspace& work) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t parts = work.precision == Precision::bf16x3 ? 3 : 1, depth = round_up(p.depth, kDepthBlock);
  const auto place = [=](std::int64_t k) { return k / kDepthBlock * kDepthBlock * parts + k % kDepthBlock; };
  // (depth, columns) into (parts * depth, columns)
  const auto rows_in_parts = [&](Factor factor, const float* from, std::int64_t stride, std::int64_t columns,
                                 float* to) HWY_ATTR {
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t c = 0; c < columns; c += lanes) {
        const Vector x = k < p.depth ? hn::Load(d, from + k * stride + c) : hn::Zero(d);
        store_parts(work.precision, factor, x, to + place(k) * columns + c, kDepthBlock * columns);
      }
    }
  };
  rows_in_parts(Factor::right, p.right, p.right_stride, p.columns, work.right_parts);
  p.right = work.right_parts;
  p.right_stride = p.columns;
  if (p.left_row == 1) {
    rows_in_parts(Factor::left, p.left, p.left_depth, p.left_depth, work.left_parts);
  } else {
    // (rows, depth) into (rows, parts * depth)
    for (std::int64_t row = 0; row < p.rows; ++row) {
      for (std::int64_t k = 0; k < depth; k += lanes) {
        store_parts(work.precision, Factor::left, hn::Load(d, p.left + row * p.left_row + k),
                    work.left_parts + row * parts * depth + place(k), kDepthBlock);
      }
    }
    p.left_row = parts * depth;
  }
  p.left = work.left_parts;
  p.depth = parts * depth;
  return p;
}

// A product between two hidden layers, on the rung of `work`. A left factor whose depth is contiguous is read to the
// end of the depth's last block.
HWY_INLINE void multiply_on_rung(const Product& p, const MlpWorkspace& work) {
  multiply(work.precision == Precision::fp32 ? p : in_parts(p, work));
}

// --- the parts of a layer --------------------------------------------------------------------------------------------

// Features in place of the raw inputs, over `columns` columns.
HWY_NOINLINE void encode(const MlpPlan& plan, float* inputs, std::int64_t stride, std::int64_t columns) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  if (plan.shape.encoding == Encoding::none) return;
  for (std::int64_t c = 0; c < columns; c += lanes) {
    float *first = inputs + c, *second = first + stride;
    const Vector x = hn::Load(d, first), y = hn::Load(d, second);
    const Polar<Vector> polar = radius_of(d, x, y);
    if (plan.shape.encoding == Encoding::polar_raw) {
      hn::Store(polar.radius, d, first);
      hn::Store(angle_of(d, x, y, polar.ratio), d, second);
      continue;
    }
    hn::Store(fused(d, hn::Set(d, 2.0F), polar.radius, hn::Set(d, -1.0F)), d, first);
    if (plan.shape.encoding == Encoding::polar) {
      hn::Store(hn::Mul(angle_of(d, x, y, polar.ratio), hn::Set(d, 0x1.45f306p-2F)), d, second);  // 1 / pi
    } else {
      const auto origin = hn::Eq(polar.radius, hn::Zero(d));
      const Vector one = hn::Set(d, 1.0F), safe = hn::IfThenElse(origin, one, polar.radius);
      hn::Store(hn::IfThenElse(origin, one, hn::Div(x, safe)), d, second);
      hn::Store(hn::IfThenElse(origin, hn::Zero(d), hn::Div(y, safe)), d, second + stride);
    }
  }
}

// values = gain * (values - mean) / sqrt(variance + 1e-5) + shift, mean and variance over the rows of a column.
// `normalized` and `inverse_deviation` take what backward needs, unless null.
HWY_NOINLINE void normalize(const MlpPlan& plan, const MlpPlan::Hidden& layer, const float* packed, float* values,
                            std::int64_t stride, std::int64_t columns, float* normalized, float* inverse_deviation) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector width = hn::Set(d, static_cast<float>(plan.width));
  for (std::int64_t c = 0; c < columns; c += lanes) {
    Vector sum = hn::Zero(d), squares = hn::Zero(d);
    for (std::int64_t f = 0; f < plan.width; ++f) sum = hn::Add(sum, hn::Load(d, values + f * stride + c));
    const Vector mean = hn::Div(sum, width);
    for (std::int64_t f = 0; f < plan.width; ++f) {
      const Vector centred = hn::Sub(hn::Load(d, values + f * stride + c), mean);
      squares = fused(d, centred, centred, squares);
    }
    const Vector variance = hn::Add(hn::Div(squares, width), hn::Set(d, 1e-5F));
    const Vector inverse = hn::Div(hn::Set(d, 1.0F), hn::Sqrt(variance));
    if (inverse_deviation != nullptr) hn::Store(inverse, d, inverse_deviation + c);
    for (std::int64_t f = 0; f < plan.width; ++f) {
      const Vector value = hn::Mul(hn::Sub(hn::Load(d, values + f * stride + c), mean), inverse);
      if (normalized != nullptr) hn::Store(value, d, normalized + f * stride + c);
      const Vector gain = hn::Set(d, packed[layer.gain + f]), shift = hn::Set(d, packed[layer.shift + f]);
      hn::Store(fused(d, gain, value, shift), d, values + f * stride + c);
    }
  }
}

// From the gradient with respect to the values behind `normalize` to the one before it, in place.
HWY_NOINLINE void normalize_backward(const MlpPlan& plan, const MlpPlan::Hidden& layer, const float* packed,
                                     float* deltas, std::int64_t stride, std::int64_t columns, const float* normalized,
                                     const float* inverse_deviation) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector width = hn::Set(d, static_cast<float>(plan.width));
  for (std::int64_t c = 0; c < columns; c += lanes) {
    Vector sum = hn::Zero(d), dot = hn::Zero(d);
    for (std::int64_t f = 0; f < plan.width; ++f) {
      const Vector delta = hn::Mul(hn::Load(d, deltas + f * stride + c), hn::Set(d, packed[layer.gain + f]));
      sum = hn::Add(sum, delta);
      dot = fused(d, delta, hn::Load(d, normalized + f * stride + c), dot);
      hn::Store(delta, d, deltas + f * stride + c);
    }
    const Vector mean = hn::Div(sum, width), share = hn::Neg(hn::Div(dot, width));
    const Vector inverse = hn::Load(d, inverse_deviation + c);
    for (std::int64_t f = 0; f < plan.width; ++f) {
      const Vector centred = hn::Sub(hn::Load(d, deltas + f * stride + c), mean);
      const Vector delta = fused(d, share, hn::Load(d, normalized + f * stride + c), centred);
      hn::Store(hn::Mul(delta, inverse), d, deltas + f * stride + c);
    }
  }
}

// values = activation(values); `slopes` takes gelu's derivative, unless null.
HWY_NOINLINE void activate(const MlpPlan& plan, float* values, std::int64_t stride, std::int64_t columns,
                           float* slopes) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector zero = hn::Zero(d), one = hn::Set(d, 1.0F), two = hn::Set(d, 2.0F);
  for (std::int64_t f = 0; f < plan.width; ++f) {
    for (std::int64_t c = f * stride; c < f * stride + columns; c += lanes) {
      const Vector x = hn::Load(d, values + c);
      switch (plan.shape.activation) {
        case Activation::relu: hn::Store(hn::IfThenZeroElse(hn::Lt(x, zero), x), d, values + c); break;
        case Activation::tanh: hn::Store(tanh_of(d, x), d, values + c); break;
        case Activation::gelu: {
          // x s, s = (1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3); beyond 10 s is 0 or 1.
          const Vector limit = hn::Set(d, 10.0F);
          const Vector near = hn::IfThenElse(hn::Gt(hn::Abs(x), limit), hn::CopySign(limit, x), x);
          const Vector cubic = hn::Mul(hn::Mul(near, near), hn::Set(d, 0.044715F));
          const Vector scale = hn::Set(d, 0x1.988454p0F);  // 2 sqrt(2/pi)
          const Vector twice_u = hn::Mul(hn::Mul(scale, near), hn::Add(one, cubic));
          const Vector e = exp_of_negative(d, hn::Neg(hn::Abs(twice_u)));
          const Vector share = hn::Div(one, hn::Add(one, e)), rest = hn::Mul(e, share);
          const Vector s = hn::IfThenElse(hn::Lt(x, zero), rest, share);
          hn::Store(hn::Mul(x, s), d, values + c);
          if (slopes != nullptr) {
            // s + x s (1 - s) 2u', 2u' = 2 sqrt(2/pi) (1 + 3 * 0.044715 x^2)
            const Vector slope = hn::Mul(scale, fused(d, hn::Add(two, one), cubic, one));
            hn::Store(fused(d, hn::Mul(near, slope), hn::Mul(share, rest), s), d, slopes + c);
          }
          break;
        }
      }
    }
  }
}

// deltas *= the activation's derivative. relu's is the gate of the product that made them. `held`: the rung on which
// the layer above has multiplied the activations.
HWY_NOINLINE void activate_backward(const MlpPlan& plan, float* deltas, std::int64_t stride, std::int64_t columns,
                                    const float* activations, const float* slopes, Precision held) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t f = 0; f < plan.width; ++f) {
    for (std::int64_t c = f * stride; c < f * stride + columns; c += lanes) {
      Vector slope;
      if (plan.shape.activation == Activation::tanh) {
        Vector value = hn::Load(d, activations + c);
        if (held != Precision::fp32) {
          const Vector hi = to_bf16(value);
          value = held == Precision::bf16 ? hi : hn::Add(hi, to_bf16(hn::Sub(value, hi)));
        }
        slope = fused(d, hn::Neg(value), value, hn::Set(d, 1.0F));
      } else {
        slope = hn::Load(d, slopes + c);
      }
      hn::Store(hn::Mul(hn::Load(d, deltas + c), slope), d, deltas + c);
    }
  }
}

HWY_NOINLINE void multiply_elements(const float* a, const float* b, float* result, std::int64_t n) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) hn::Store(hn::Mul(hn::Load(d, a + i), hn::Load(d, b + i)), d, result + i);
}

// --- the loss --------------------------------------------------------------------------------------------------------

// A gradient this small moves nothing, and left alone would fill the network with subnormal numbers, which are slow.
inline constexpr float kNoDelta = 0x1p-80F;

HWY_INLINE Vector without_traces(Vector x, float limit) {
  const Floats d;
  return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(d, limit)), x);
}

// Losses of a block, and `score_deltas` = scale * the gradient of each by its scores.
HWY_NOINLINE void binary_loss(const MlpLoss& loss, float scale, std::int64_t columns, MlpWorkspace& work) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector zero = hn::Zero(d), one = hn::Set(d, 1.0F), gamma = hn::Set(d, loss.focal_gamma);
  for (std::int64_t c = 0; c < columns; c += lanes) {
    // u = +-z, large when right; p = 1 / (1 + e^-u) is given to the true class, q = 1 - p; softplus(x) = log(1 + e^x).
    const Vector z = hn::Load(d, work.scores + c);
    const auto is_one = hn::Gt(hn::Load(d, work.labels + c), zero);
    const Vector u = hn::IfThenElse(is_one, z, hn::Neg(z)), size = hn::Abs(z);
    const auto right = hn::Gt(u, zero);
    const Vector e = exp_of_negative(d, hn::Neg(size)), share = hn::Div(one, hn::Add(one, e)), rest = hn::Mul(e, share);
    const Vector q = hn::IfThenElse(right, rest, share);
    const Vector log1p = log1p_of_unit(d, e), with_size = hn::Add(size, log1p);
    const Vector minus_log_p = hn::IfThenElse(right, log1p, with_size);
    Vector value = minus_log_p, slope = hn::Neg(q);  // slope: by u
    if (loss.focal_gamma > 0) {
      const Vector p = hn::IfThenElse(right, share, rest), minus_log_q = hn::IfThenElse(right, with_size, log1p);
      const Vector focus = exp_of_negative(d, hn::Neg(hn::Mul(gamma, minus_log_q)));
      value = hn::Mul(focus, minus_log_p);
      slope = hn::Neg(hn::Mul(focus, fused(d, hn::Mul(gamma, p), minus_log_p, q)));
    }
    hn::Store(value, d, work.losses + c);
    const Vector delta = hn::Mul(hn::IfThenElse(is_one, slope, hn::Neg(slope)), hn::Set(d, scale));
    hn::Store(without_traces(delta, kNoDelta), d, work.score_deltas + c);
  }
}

HWY_NOINLINE void softmax_loss(const MlpPlan& plan, const MlpLoss& loss, float scale, std::int64_t columns,
                               MlpWorkspace& work) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t stride = work.columns;
  const Vector zero = hn::Zero(d), one = hn::Set(d, 1.0F), gamma = hn::Set(d, loss.focal_gamma);
  for (std::int64_t c = 0; c < columns; c += lanes) {
    const Vector label = hn::Load(d, work.labels + c);
    Vector largest = hn::Load(d, work.scores + c);
    for (std::int64_t j = 1; j < plan.outputs; ++j) {
      const Vector z = hn::Load(d, work.scores + j * stride + c);
      largest = hn::IfThenElse(hn::Gt(z, largest), z, largest);
    }
    // e_j = e^(z_j - largest). `others`: the sum over all but the true class, so that q = 1 - p does not cancel.
    Vector others = zero, true_e = zero, true_gap = zero;
    for (std::int64_t j = 0; j < plan.outputs; ++j) {
      const Vector gap = hn::Sub(hn::Load(d, work.scores + j * stride + c), largest), e = exp_of_negative(d, gap);
      const auto is_true = hn::Eq(label, hn::Set(d, static_cast<float>(j)));
      others = hn::IfThenElse(is_true, others, hn::Add(others, e));
      true_e = hn::IfThenElse(is_true, e, true_e);
      true_gap = hn::IfThenElse(is_true, gap, true_gap);
      hn::Store(e, d, work.score_deltas + j * stride + c);
    }
    const Vector sum = hn::Add(others, true_e), q = hn::Div(others, sum);
    // -log p = log(sum) - gap; where the true class is the largest, log(1 + others), exact for a small one.
    const Vector log_sum = hn::IfThenElse(hn::Lt(others, one), log1p_of_unit(d, others), log_of_positive(d, sum));
    const Vector minus_log_p =
        hn::IfThenElse(hn::Eq(true_gap, zero), log_sum, hn::Sub(log_of_positive(d, sum), true_gap));
    Vector value = minus_log_p, slope = hn::Neg(q);  // slope: by the true class's score
    if (loss.focal_gamma > 0) {
      const Vector p = hn::Div(true_e, sum);
      const auto sure = hn::Eq(q, zero);
      const Vector minus_log_q = hn::Neg(log_of_positive(d, hn::IfThenElse(sure, one, q)));
      Vector focus = exp_of_negative(d, hn::Neg(hn::Mul(gamma, minus_log_q)));
      focus = hn::IfThenZeroElse(sure, focus);
      value = hn::Mul(focus, minus_log_p);
      slope = hn::Neg(hn::Mul(focus, fused(d, hn::Mul(gamma, p), minus_log_p, q)));
    }
    hn::Store(value, d, work.losses + c);
    // The slopes of the other classes share out minus the true one's.
    const Vector scaled = hn::Mul(slope, hn::Set(d, scale));
    const Vector share = hn::Neg(hn::Div(scaled, hn::IfThenElse(hn::Eq(others, zero), one, others)));
    for (std::int64_t j = 0; j < plan.outputs; ++j) {
      float* delta = work.score_deltas + j * stride + c;
      const auto is_true = hn::Eq(label, hn::Set(d, static_cast<float>(j)));
      const Vector other = hn::Mul(hn::Load(d, delta), share);
      hn::Store(without_traces(hn::IfThenElse(is_true, scaled, other), kNoDelta), d, delta);
    }
  }
}

// --- a block through the network -------------------------------------------------------------------------------------

// From features in `work.inputs` to `work.scores`. With `training`, all that backward needs is left in `work`.
HWY_NOINLINE void forward(const MlpPlan& plan, const float* packed, std::int64_t count, bool training,
                          MlpWorkspace& work) {
  const std::int64_t columns = round_up(count, kLine), stride = work.columns;
  const bool relu = plan.shape.activation == Activation::relu, layer_norm = plan.shape.layer_norm;
  const float* below = work.inputs;
  for (int l = 0; l < plan.shape.hidden_layers; ++l) {
    const MlpPlan::Hidden& layer = plan.hidden[l];
    float* values = work.activations[l];
    const Product product{.rows = plan.width,
                          .depth = layer.fan_in,
                          .columns = columns,
                          .left = packed + layer.weights,
                          .left_row = 1,
                          .left_depth = plan.stride,
                          .right = below,
                          .right_stride = stride,
                          .result = values,
                          .result_stride = stride,
                          .begin = Begin::bias,
                          .bias = packed + layer.bias,
                          .finish = relu && !layer_norm ? Finish::relu : Finish::plain};
    if (l == 0) {
      multiply(product);
    } else {
      multiply_on_rung(product, work);
    }
    if (layer_norm) {
      normalize(plan, layer, packed, values, stride, columns, training ? work.normalized[l] : nullptr,
                training ? work.inverse_deviation[l] : nullptr);
    }
    if (!relu || layer_norm) activate(plan, values, stride, columns, training ? work.slopes[l] : nullptr);
    below = values;
  }
  multiply({.rows = plan.outputs,
            .depth = plan.width,
            .columns = columns,
            .left = packed + plan.output_weights,
            .left_row = plan.stride,
            .left_depth = 1,
            .right = below,
            .right_stride = stride,
            .result = work.scores,
            .result_stride = stride,
            .begin = Begin::bias,
            .bias = packed + plan.output_bias});
}

// sums (1, stride): those over the block's samples of a matrix turned to (count, stride), in the order of rows.
HWY_NOINLINE void add_columns(const MlpPlan& plan, std::int64_t count, Begin begin, const MlpWorkspace& work,
                              float* sums) {
  const float one = 1.0F;
  multiply({.rows = 1,
            .depth = count,
            .columns = plan.stride,
            .left = &one,
            .left_row = 0,
            .left_depth = 0,
            .right = work.turned,
            .right_stride = plan.stride,
            .result = sums,
            .result_stride = plan.stride,
            .begin = begin});
}

// The output layer: its gradient from work.score_deltas, and work.deltas of the last hidden layer.
HWY_NOINLINE void backward_output(const MlpPlan& plan, const float* packed, std::int64_t count, std::int64_t columns,
                                  Begin begin, MlpWorkspace& work, float* gradient) {
  const std::int64_t stride = work.columns;
  const int last = plan.shape.hidden_layers - 1;
  transpose(work.activations[last], plan.width, columns, stride, work.turned, plan.stride);
  multiply({.rows = plan.outputs,
            .depth = count,
            .columns = plan.stride,
            .left = work.score_deltas,
            .left_row = stride,
            .left_depth = 1,
            .right = work.turned,
            .right_stride = plan.stride,
            .result = gradient + plan.output_weights,
            .result_stride = plan.stride,
            .begin = begin});
  for (std::int64_t j = 0; j < plan.outputs; ++j) {
    float sum = begin == Begin::zero ? 0.0F : gradient[plan.output_bias + j];
    for (std::int64_t s = 0; s < count; ++s) sum += work.score_deltas[j * stride + s];
    gradient[plan.output_bias + j] = sum;
  }
  multiply({.rows = plan.width,
            .depth = plan.outputs,
            .columns = columns,
            .left = packed + plan.output_weights,
            .left_row = 1,
            .left_depth = plan.stride,
            .right = work.score_deltas,
            .right_stride = stride,
            .result = work.deltas,
            .result_stride = stride,
            .finish = plan.shape.activation == Activation::relu ? Finish::gate : Finish::plain,
            .gate = work.activations[last]});
}

// Layer norm of hidden layer l: the gradient of its shift and gain, and work.deltas before it.
HWY_NOINLINE void backward_layer_norm(const MlpPlan& plan, int l, const float* packed, std::int64_t count,
                                      std::int64_t columns, Begin begin, MlpWorkspace& work, float* gradient) {
  const MlpPlan::Hidden& layer = plan.hidden[l];
  const std::int64_t stride = work.columns;
  transpose(work.deltas, plan.width, columns, stride, work.turned, plan.stride);
  add_columns(plan, count, begin, work, gradient + layer.shift);
  for (std::int64_t f = 0; f < plan.width; ++f) {
    const std::int64_t row = f * stride;
    multiply_elements(work.deltas + row, work.normalized[l] + row, work.product + row, columns);
  }
  transpose(work.product, plan.width, columns, stride, work.turned, plan.stride);
  add_columns(plan, count, begin, work, gradient + layer.gain);
  normalize_backward(plan, layer, packed, work.deltas, stride, columns, work.normalized[l], work.inverse_deviation[l]);
}

// The weights and biases of hidden layer l: their gradient from work.deltas, and work.deltas of the layer below.
HWY_NOINLINE void backward_hidden(const MlpPlan& plan, int l, const float* packed, std::int64_t count,
                                  std::int64_t columns, Begin begin, MlpWorkspace& work, float* gradient) {
  const MlpPlan::Hidden& layer = plan.hidden[l];
  const std::int64_t stride = work.columns;
  transpose(work.deltas, plan.width, columns, stride, work.turned, plan.stride);
  add_columns(plan, count, begin, work, gradient + layer.bias);
  const Product by_weights{.rows = layer.fan_in,
                           .depth = count,
                           .columns = plan.stride,
                           .left = l > 0 ? work.activations[l - 1] : work.inputs,
                           .left_row = stride,
                           .left_depth = 1,
                           .right = work.turned,
                           .right_stride = plan.stride,
                           .result = gradient + layer.weights,
                           .result_stride = plan.stride,
                           .begin = begin};
  if (l == 0) return multiply(by_weights);
  multiply_on_rung(by_weights, work);
  multiply_on_rung({.rows = plan.width,
                    .depth = plan.width,
                    .columns = columns,
                    .left = packed + layer.weights,
                    .left_row = plan.stride,
                    .left_depth = 1,
                    .right = work.deltas,
                    .right_stride = stride,
                    .result = work.next_deltas,
                    .result_stride = stride,
                    .finish = plan.shape.activation == Activation::relu ? Finish::gate : Finish::plain,
                    .gate = work.activations[l - 1]},
                   work);
  std::swap(work.deltas, work.next_deltas);
}

// After forward with `training`: the losses of the block's samples, and the gradient of the mean over `samples` of
// them. `first`: the block begins a sum; otherwise it is added to what `gradient` (packed) holds, in the order of rows.
HWY_NOINLINE void backward(const MlpPlan& plan, const MlpLoss& loss, const float* packed, std::int64_t count,
                           std::int64_t samples, bool first, MlpWorkspace& work, float* gradient) {
  const std::int64_t columns = round_up(count, kLine);
  const Begin begin = first ? Begin::zero : Begin::result;
  const float scale = 1.0F / static_cast<float>(samples);
  if (plan.outputs == 1) {
    binary_loss(loss, scale, columns, work);
  } else {
    softmax_loss(plan, loss, scale, columns, work);
  }
  backward_output(plan, packed, count, columns, begin, work, gradient);
  for (int l = plan.shape.hidden_layers - 1; l >= 0; --l) {
    // A ReLU's slope was applied by the product that made the deltas (Finish::gate).
    if (plan.shape.activation != Activation::relu) {
      activate_backward(plan, work.deltas, work.columns, columns, work.activations[l], work.slopes[l],
                        l + 1 < plan.shape.hidden_layers ? work.precision : Precision::fp32);
    }
    if (plan.shape.layer_norm) backward_layer_norm(plan, l, packed, count, columns, begin, work, gradient);
    backward_hidden(plan, l, packed, count, columns, begin, work, gradient);
  }
}

}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
