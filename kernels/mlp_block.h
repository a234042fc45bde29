// mlp_block: how the CPU backend holds one network and works on one block of samples. No vector code here.
//
// A block is a matrix with one row per feature and one column per sample, so that a vector holds the same feature of
// neighbouring samples and every sum runs within a lane, in ascending order: its bits do not depend on the width of a
// vector, the size of a block, or what else the block holds.
#pragma once

#include <array>
#include <cstdint>

#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/mlp.h"

namespace scalelab::cpu {

// Columns and stored rows come in multiples of this many floats: one cache line, one AVX-512 vector.
inline constexpr std::int64_t kLine = 16;
// A transpose reads rows in multiples of this many; those behind the last are zeros.
inline constexpr std::int64_t kTurnedRows = 8;
// A product on a rung below fp32 goes through its depth in blocks of this many terms, as a tensor core does.
inline constexpr std::int64_t kDepthBlock = 16;
static_assert(kDepthBlock == kLine);

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Where the parts of a network lie in its packed form, and its dimensions. Packed, a hidden layer's weights are turned
// to (fan_in, width) and every row is padded with zeros to `stride`: gradients, moments and masks have the same form,
// and an optimiser step is one loop over `size` floats.
struct MlpPlan {
  struct Hidden {
    std::int64_t fan_in, weights, bias, gain, shift;  // offsets; gain and shift with layer norm only
  };
  explicit MlpPlan(const MlpShape& shape);

  MlpShape shape;
  std::int64_t features, width, outputs;
  std::int64_t stride;  // of a packed row: width rounded up
  std::array<Hidden, kMaxHiddenLayers> hidden;
  std::int64_t output_weights, output_bias;  // (outputs, stride), (outputs rounded up)
  std::int64_t size;                         // floats of a packed network
  std::int64_t block;                        // columns of a block that keep a layer in the nearest cache
};

// Between the row of p parameters that mlp.h describes and the packed form. `pack` writes the padding, as zeros.
void pack(const MlpPlan& plan, const float* parameters, float* packed);
void unpack(const MlpPlan& plan, const float* packed, float* parameters);

// Memory for one block of `columns` samples; all of it starts as zeros. Each matrix is (rows, columns) unless said.
struct MlpWorkspace {
  MlpWorkspace(const MlpPlan& plan, std::int64_t columns, bool training, Context& context,
               Precision precision = Precision::fp32);

  std::int64_t columns;
  Precision precision;                               // of products between hidden layers
  float* inputs;                                     // (max(inputs, features)) raw inputs, then features
  float* scores;                                     // (outputs)
  std::array<float*, kMaxHiddenLayers> activations;  // (width) of each hidden layer; two take turns when not training
  // Training only.
  std::array<float*, kMaxHiddenLayers> normalized;         // (width) layer norm before gain and shift
  std::array<float*, kMaxHiddenLayers> inverse_deviation;  // (1)
  std::array<float*, kMaxHiddenLayers> slopes;             // (width) derivative of gelu
  float *deltas, *next_deltas;                             // (width) gradient with respect to a layer's values
  float* product;                                          // (width)
  float* turned;                                           // (columns, stride) a (width, columns) matrix, transposed
  float* score_deltas;                                     // (outputs)
  float* losses;                                           // (1)
  float* labels;                                           // (1)
  float *left_parts, *right_parts;  // below fp32: the factors of one product, in parts (mlp_block-inl.h)

 private:
  Buffer<float> memory_;
};

// Scores of `count` samples of one network: from raw inputs in `work.inputs` to `work.scores`. Both matrices have
// `work.columns` columns, of which the first `count` count and the others must hold finite numbers.
void score_block(const MlpPlan& plan, const float* packed, std::int64_t count, MlpWorkspace& work);

// The classes that `work.scores` predict for the first `count` samples.
void predicted_classes(const MlpPlan& plan, const MlpWorkspace& work, std::int64_t count, std::uint8_t* classes);

}  // namespace scalelab::cpu
