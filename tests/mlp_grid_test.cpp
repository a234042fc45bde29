// grid_mlp_labels: what a network predicts at every cell centre, against its scores at those points and the oracle that
// is the sign of a sum in fp64; bands, tiles, neighbours, threads and vector targets change no bit.
#include <hwy/targets.h>

#include <cmath>
#include <string>

#include "tests/support.h"

namespace scalelab::test {
namespace {

class MlpGrid : public OnBackend {};
SCALELAB_ON_EACH_BACKEND(MlpGrid);

const Grid kGrid{.size = 57, .x_min = -1.25F, .x_max = 0.75F, .y_min = -0.5F, .y_max = 1};

std::vector<float> start(const MlpShape& shape, int networks) {
  return uniform_floats(networks * parameter_count(shape), 4, -0.5F, 0.5F);
}

// (m, rows, G)
std::vector<std::uint8_t> labels_of(const MlpShape& shape, const std::vector<float>& parameters, const Grid& grid,
                                    std::int64_t row_begin, std::int64_t rows, Context& context) {
  const std::int64_t p = parameter_count(shape), m = static_cast<std::int64_t>(parameters.size()) / p;
  const Guarded<float> parameters_(context, parameters, {m, p});
  const Guarded<std::uint8_t> labels(context, {m, rows, grid.size});
  context.backend().grid_mlp_labels(shape, parameters_, grid, row_begin, labels, context);
  return labels.to_host();
}

std::vector<MlpShape> shapes() {
  return {{.inputs = 2, .encoding = Encoding::none, .width = 2, .hidden_layers = 1},
          {.inputs = 2, .encoding = Encoding::polar, .width = 17, .hidden_layers = 3},
          {.inputs = 2, .encoding = Encoding::polar_raw, .width = 64, .hidden_layers = 2, .layer_norm = true},
          {.inputs = 2,
           .encoding = Encoding::polar_trig,
           .width = 12,
           .hidden_layers = 2,
           .outputs = 4,
           .activation = Activation::tanh}};
}

// The centre of every cell, as grid.h defines it.
std::vector<float> centres(const Grid& grid) {
  std::vector<float> points;
  for (std::int64_t row = 0; row < grid.size; ++row) {
    for (std::int64_t column = 0; column < grid.size; ++column) {
      points.push_back(std::fma(static_cast<float>(column) + 0.5F, grid.step_x(), grid.x_min));
      points.push_back(std::fma(static_cast<float>(row) + 0.5F, grid.step_y(), grid.y_min));
    }
  }
  return points;
}

// On the CPU the very class of the score that mlp_forward gives the cell's centre; elsewhere, unless two classes lie
// within 1e-4 of each other there.
TEST_P(MlpGrid, LabelsAreTheClassesOfTheScores) {
  Context context(backend());
  const std::vector<float> points = centres(kGrid);
  const std::int64_t n = kGrid.size * kGrid.size;
  for (const MlpShape& shape : shapes()) {
    const auto parameters = start(shape, 2);
    const auto labels = labels_of(shape, parameters, kGrid, 0, kGrid.size, context);
    const Guarded<float> inputs(context, points, {n, 2}), scores_(context, {2, n, shape.outputs});
    const Guarded<float> networks(context, parameters, {2, parameter_count(shape)});
    context.backend().mlp_forward(shape, networks, inputs, scores_, context);
    const auto scores = scores_.to_host();
    std::vector<int> seen(256);
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      int best = 0;
      float margin = 1e30F;
      if (shape.outputs == 1) {
        best = scores[i] > 0;
        margin = std::abs(scores[i]);
      } else {
        for (int j = 1; j < shape.outputs; ++j) {
          if (scores[i * shape.outputs + j] > scores[i * shape.outputs + best]) best = j;
        }
        for (int j = 0; j < shape.outputs; ++j) {
          if (j != best) margin = std::min(margin, scores[i * shape.outputs + best] - scores[i * shape.outputs + j]);
        }
      }
      if (on_cpu() || margin > 1e-4F) {
        ASSERT_EQ(labels[i], best) << "width " << shape.width << " cell " << i;
      }
      ++seen[labels[i]];
    }
    EXPECT_GT(seen[0] < 2 * n ? 1 : 0, 0) << "a map of one class shows nothing, width " << shape.width;
  }
}

// x + y > 0.25 by a network that computes exactly that: max(x + y - 1/4, 0) - max(1/4 - x - y, 0).
TEST_P(MlpGrid, AKnownHalfPlane) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .width = 2, .hidden_layers = 1};
  const std::vector<float> parameters = {1, 1, -1, -1, -0.25F, 0.25F, 1, -1, 0};
  const Grid grid{.size = 64};  // centres are multiples of 1/64: every sum is exact
  const auto labels = labels_of(shape, parameters, grid, 0, 64, context);
  const auto points = centres(grid);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ASSERT_EQ(labels[i], points[2 * i] + points[2 * i + 1] > 0.25F ? 1 : 0) << "cell " << i;
  }
}

TEST_P(MlpGrid, BandsNeighboursAndSizesChangeNoBit) {
  Context context(backend());
  for (const MlpShape& shape : shapes()) {
    const auto parameters = start(shape, 3);
    const auto whole = labels_of(shape, parameters, kGrid, 0, kGrid.size, context);
    const std::size_t map = kGrid.size * kGrid.size, p = parameter_count(shape);
    for (const std::int64_t band : {1, 8, 50}) {
      for (std::int64_t row = 0; row < kGrid.size; row += band) {
        const std::int64_t rows = std::min(band, kGrid.size - row);
        const auto part = labels_of(shape, parameters, kGrid, row, rows, context);
        for (int network = 0; network < 3; ++network) {
          const auto from = whole.begin() + network * map + row * kGrid.size;
          const auto got = part.begin() + network * rows * kGrid.size;
          ASSERT_TRUE(same_bits(std::vector<std::uint8_t>(got, got + rows * kGrid.size),
                                std::vector<std::uint8_t>(from, from + rows * kGrid.size)));
        }
      }
    }
    const std::vector<float> last(parameters.begin() + 2 * p, parameters.end());
    EXPECT_TRUE(same_bits(labels_of(shape, last, kGrid, 0, kGrid.size, context),
                          std::vector<std::uint8_t>(whole.begin() + 2 * map, whole.end())));
    EXPECT_TRUE(labels_of(shape, {}, kGrid, 3, 5, context).empty());
    EXPECT_TRUE(labels_of(shape, parameters, kGrid, 3, 0, context).empty());
    for (const std::int64_t size : {1, 31, 33, 257}) {
      const Grid grid{.size = size};
      EXPECT_EQ(labels_of(shape, last, grid, 0, size, context).size(), static_cast<std::size_t>(size * size));
    }
  }
}

TEST(MlpGridTargets, ThreadsAndVectorTargetsChangeNoBit) {
  Context one(cpu_backend(), 0, 1), two(cpu_backend(), 0, 2);
  for (const MlpShape& shape : shapes()) {
    const auto parameters = start(shape, 2);
    const auto want = labels_of(shape, parameters, kGrid, 0, kGrid.size, one);
    EXPECT_TRUE(same_bits(labels_of(shape, parameters, kGrid, 0, kGrid.size, two), want));
    const std::int64_t targets = hwy::SupportedTargets();
    for (std::int64_t rest = targets; rest != 0; rest &= rest - 1) {
      hwy::SetSupportedTargetsForTest(rest & -rest);
      EXPECT_TRUE(same_bits(labels_of(shape, parameters, kGrid, 0, kGrid.size, one), want))
          << hwy::TargetName(rest & -rest);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_P(MlpGrid, RefusesWhatDoesNotFit) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .width = 4, .hidden_layers = 1};
  const auto parameters = start(shape, 1);
  const Guarded<float> parameters_(context, parameters, {1, parameter_count(shape)});
  auto refused = [&](const MlpShape& s, const Grid& grid, std::int64_t row_begin, std::int64_t rows,
                     std::int64_t columns) {
    const Guarded<std::uint8_t> labels(context, {1, rows, columns});
    EXPECT_THROW(context.backend().grid_mlp_labels(s, parameters_, grid, row_begin, labels, context),
                 std::invalid_argument);
    for (const std::uint8_t label : labels.to_host()) ASSERT_EQ(label, Guarded<std::uint8_t>::poison());
  };
  refused({.inputs = 3, .width = 4, .hidden_layers = 1}, {.size = 8}, 0, 8, 8);
  refused({.inputs = 2, .width = 5, .hidden_layers = 1}, {.size = 8}, 0, 8, 8);
  refused({.inputs = 2, .width = 1, .hidden_layers = 1}, {.size = 8}, 0, 8, 8);
  refused(shape, {.size = 8}, 1, 8, 8);
  refused(shape, {.size = 8}, -1, 8, 8);
  refused(shape, {.size = 8}, 0, 8, 9);
  refused(shape, {.size = kMaxGrid + 1}, 0, 0, kMaxGrid + 1);
  refused(shape, {.size = 8, .x_min = 1, .x_max = 1}, 0, 8, 8);
}

}  // namespace
}  // namespace scalelab::test
