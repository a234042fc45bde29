// grid_mlp_labels: what a network predicts at every cell centre, against its scores at those points, and where these
// are exact against closed forms; bands, tiles, neighbours, threads and vector targets change no bit, and most cells of
// trained networks never meet the network.
#include <hwy/targets.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>

#include "kernels/mlp_grid.h"
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

// Every label of a band is the class of the scores that mlp_forward gives the cell's centre on the same backend.
// Returns how many cells are not of class 0.
std::int64_t expect_dense(const MlpShape& shape, const std::vector<float>& parameters, const Grid& grid,
                          std::int64_t row_begin, std::int64_t rows, Context& context, const std::string& trace) {
  const std::int64_t p = parameter_count(shape), m = static_cast<std::int64_t>(parameters.size()) / p;
  const auto labels = labels_of(shape, parameters, grid, row_begin, rows, context);
  const Buffer<float> networks(context, parameters, {m, p});
  const std::int64_t band = std::max<std::int64_t>(1, (1 << 18) / grid.size);
  std::int64_t ones = 0;
  for (std::int64_t row = 0; row < rows; row += band) {
    const std::int64_t n = std::min(band, rows - row) * grid.size;
    const Buffer<float> inputs(context, cell_centres(grid, row_begin + row, n / grid.size), {n, 2});
    Buffer<float> scores_(context, {m, n, shape.outputs});
    context.backend().mlp_forward(shape, networks, inputs, scores_, context);
    const auto scores = scores_.to_host();
    for (std::int64_t network = 0; network < m; ++network) {
      for (std::int64_t i = 0; i < n; ++i) {
        const float* score = &scores[static_cast<std::size_t>((network * n + i) * shape.outputs)];
        int best = shape.outputs == 1 && score[0] > 0 ? 1 : 0;
        for (int j = 1; j < shape.outputs; ++j) {
          if (score[j] > score[best]) best = j;
        }
        const std::size_t cell = static_cast<std::size_t>((network * rows + row) * grid.size + i);
        if (labels[cell] != best) {
          ADD_FAILURE() << trace << ": network " << network << " row " << row_begin + row + i / grid.size << " column "
                        << i % grid.size << ": label " << +labels[cell] << ", score " << score[0] << ", class " << best;
          return -1;
        }
        ones += best != 0 ? 1 : 0;
      }
    }
  }
  return ones;
}

TEST_P(MlpGrid, LabelsAreTheClassesOfTheScores) {
  Context context(backend());
  for (const MlpShape& shape : shapes()) {
    const std::string trace = "width " + std::to_string(shape.width);
    EXPECT_GT(expect_dense(shape, start(shape, 2), kGrid, 0, kGrid.size, context, trace), 0)
        << "a map of one class shows nothing, " << trace;
  }
}

// x + y > 0.25 by a network that computes exactly that: max(x + y - 1/4, 0) - max(1/4 - x - y, 0).
TEST_P(MlpGrid, AKnownHalfPlane) {
  Context context(backend());
  const MlpShape shape{.inputs = 2, .width = 2, .hidden_layers = 1};
  const std::vector<float> parameters = {1, 1, -1, -1, -0.25F, 0.25F, 1, -1, 0};
  for (const std::int64_t size : {64, 1024}) {
    const Grid grid{.size = size};  // centres are multiples of 1/1024: every sum is exact, and many are 0
    const auto labels = labels_of(shape, parameters, grid, 0, size, context);
    const auto points = cell_centres(grid, 0, size);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      ASSERT_EQ(labels[i], points[2 * i] + points[2 * i + 1] > 0.25F ? 1 : 0) << "cell " << i << " of size " << size;
    }
  }
}

// Shapes, sizes, rectangles and weights at random, and all of them awkward.
TEST_P(MlpGrid, RandomNetworksAsDense) {
  Context context(backend());
  const int trials = on_executor() ? 40 : 100;
  for (int trial = 0; trial < trials; ++trial) {
    const auto pick = [&](std::uint64_t what, std::vector<double> from) {
      return from[static_cast<std::size_t>(
          uniform_int(500 + what, static_cast<std::uint64_t>(trial), 0, static_cast<std::int64_t>(from.size()) - 1))];
    };
    MlpShape shape;
    shape.encoding = static_cast<Encoding>(trial % 4);
    shape.width =
        static_cast<int>(pick(1, {2, 3, 16, 17, 33, 64, on_executor() ? 65.0 : 128.0, on_executor() ? 66.0 : 256.0}));
    shape.hidden_layers = static_cast<int>(pick(2, {1, 2, 3, 4}));
    shape.outputs = static_cast<int>(pick(3, {1, 1, 2, 3, 9}));
    shape.activation = static_cast<Activation>(pick(4, {0, 0, 0, 1, 2}));
    shape.layer_norm = pick(5, {0, 0, 0, 1}) != 0;
    const auto size =
        static_cast<std::int64_t>(on_executor() ? pick(6, {1, 9, 37, 50}) : pick(6, {1, 7, 31, 57, 100, 129, 200}));
    const float reach = static_cast<float>(pick(7, {1, 1, 0.01, 3000}));
    const float x = static_cast<float>(pick(8, {0, 0, -0.9, 0.6, 1000})) * reach;
    const float y = static_cast<float>(pick(9, {0, 0, -0.9, 0.6, 1000})) * reach;
    const Grid grid{
        .size = size, .x_min = x - reach, .x_max = x + reach, .y_min = y - reach, .y_max = y + 0.5F * reach};
    const std::int64_t row_begin = uniform_int(510, static_cast<std::uint64_t>(trial), 0, size / 2);
    const std::int64_t rows = uniform_int(511, static_cast<std::uint64_t>(trial), 1, size - row_begin);
    // He's variance keeps values of one size through the layers: networks with boundaries.
    const float spread = std::sqrt(6 / static_cast<float>(shape.width)) * static_cast<float>(pick(10, {1, 1, 3}));
    const auto parameters = uniform_floats(static_cast<std::size_t>(2 * parameter_count(shape)),
                                           600 + static_cast<std::uint64_t>(trial), -spread, spread);
    expect_dense(shape, parameters, grid, row_begin, rows, context, "trial " + std::to_string(trial));
    if (HasFailure()) return;
  }
}

// A network of one hidden layer, all of whose neurons are positive, whose output is 0 but for rounding: every hidden
// value enters once with a weight and once with its opposite. What the labels then show is how dense evaluation rounds.
TEST_P(MlpGrid, WhereOnlyRoundingIsLeft) {
  Context context(backend());
  for (const int width : {4, 16, 64, 250}) {
    for (const float scale : {1.0F, 1e8F, 1e-6F}) {
      const MlpShape shape{.inputs = 2, .width = width, .hidden_layers = 1};
      const auto random = uniform_floats(static_cast<std::size_t>(4 * width), 700 + static_cast<std::uint64_t>(width));
      std::vector<float> parameters;
      const int half = width / 2;
      for (int o = 0; o < width; ++o) {
        parameters.insert(parameters.end(), {random[o % half], random[half + o % half]});
      }
      for (int o = 0; o < width; ++o) parameters.push_back(3 + random[width + o % half]);
      for (int o = 0; o < width; ++o)
        parameters.push_back((o < half ? scale : -scale) * (2 + random[2 * width + o % half]));
      parameters.push_back(0);
      const Grid grid{.size = on_executor() ? 33 : 257};
      const std::int64_t cells = grid.size * grid.size;
      const std::int64_t ones = expect_dense(shape, parameters, grid, 0, grid.size, context,
                                             "width " + std::to_string(width) + ", scale " + std::to_string(scale));
      EXPECT_TRUE(ones > cells / 50 && ones < cells - cells / 50) << ones << " ones of " << cells << " are no noise";
    }
  }
}

// Equal scores belong to the lowest class, and a score of 0 to class 0, on boundaries that run through cells' centres
// and on whole maps.
TEST_P(MlpGrid, TiesAreTheLowestClass) {
  Context context(backend());
  const Grid grid{.size = on_executor() ? 32 : 256};
  for (const int outputs : {1, 2, 5}) {
    const MlpShape shape{.inputs = 2, .width = 4, .hidden_layers = 2, .outputs = outputs};
    const std::vector<float> zeros(static_cast<std::size_t>(parameter_count(shape)));
    EXPECT_EQ(expect_dense(shape, zeros, grid, 0, grid.size, context, "zeros"), 0);
  }
  // |x| and |y| as two scores, and a third that equals the first: ties on the diagonals, whose centres are exact.
  const MlpShape shape{.inputs = 2, .width = 4, .hidden_layers = 1, .outputs = 3};
  const std::vector<float> parameters = {1, 0, -1, 0, 0, 1, 0, -1, 0, 0, 0, 0, 1, 1,
                                         0, 0, 0,  0, 1, 1, 1, 1,  0, 0, 0, 0, 0};
  const auto labels = labels_of(shape, parameters, grid, 0, grid.size, context);
  const auto points = cell_centres(grid, 0, grid.size);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ASSERT_EQ(labels[i], std::abs(points[2 * i + 1]) > std::abs(points[2 * i]) ? 1 : 0) << "cell " << i;
  }
}

// Weights that are not finite, or that make what is not: NaN is above nothing.
TEST_P(MlpGrid, WhatIsNotFinite) {
  Context context(backend());
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const Grid grid{.size = on_executor() ? 20 : 64};
  for (const int outputs : {1, 3}) {
    const MlpShape shape{.inputs = 2, .width = 8, .hidden_layers = 2, .outputs = outputs};
    const auto parameters = start(shape, 1);
    const auto last = static_cast<std::int64_t>(parameters.size()) - 1;
    for (const float value : {nan, infinity, -infinity, 3e38F, -3e38F, 1e-42F}) {
      for (const std::int64_t at : {std::int64_t{0}, std::int64_t{17}, std::int64_t{40}, last - 9, last}) {
        if (leave_out(7)) continue;
        auto changed = parameters;
        changed[static_cast<std::size_t>(at)] = value;
        expect_dense(shape, changed, grid, 0, grid.size, context, std::to_string(value) + " at " + std::to_string(at));
      }
    }
    for (const float factor : {1e10F, 1e-10F}) {  // overflow on the way, and numbers too small for fp32
      auto changed = parameters;
      for (float& value : changed) value *= factor;
      expect_dense(shape, changed, grid, 0, grid.size, context, "factor " + std::to_string(factor));
    }
  }
  // 3e38 (2 max(x + 1/2, 0) - 2 max(x + 3/5, 0)) is below 0 wherever x > -1/2, but on the way there the sum overflows
  // where x > 0.07: infinity, class 1.
  const MlpShape shape{.inputs = 2, .width = 4, .hidden_layers = 1};
  const std::vector<float> parameters = {1,    0,    1,    0,     1,     0,      1,      0, 0.5F,
                                         0.5F, 0.6F, 0.6F, 3e38F, 3e38F, -3e38F, -3e38F, 0};
  const Grid wide{.size = 96};
  EXPECT_GT(expect_dense(shape, parameters, wide, 0, wide.size, context, "overflow"), wide.size);
}

// A rectangle about the origin, the cut of the angle and far away, at sizes that put cells' centres on all of them.
TEST_P(MlpGrid, PolarFeaturesNearTheirEdges) {
  Context context(backend());
  for (const Encoding encoding : {Encoding::polar, Encoding::polar_raw, Encoding::polar_trig}) {
    const MlpShape shape{.inputs = 2, .encoding = encoding, .width = 12, .hidden_layers = 2};
    const auto parameters = uniform_floats(static_cast<std::size_t>(parameter_count(shape)), 5);
    for (const std::int64_t size : on_executor() ? std::vector<std::int64_t>{33} : std::vector<std::int64_t>{64, 255}) {
      for (const Grid& grid :
           {Grid{.size = size}, Grid{.size = size, .x_min = -1e-4F, .x_max = 1e-4F, .y_min = -1e-4F, .y_max = 1e-4F},
            Grid{.size = size, .x_min = -1.5F, .x_max = -0.5F, .y_min = -0.5F, .y_max = 0.5F},
            Grid{.size = size, .x_min = -1e-30F, .x_max = 1e-30F, .y_min = -1e-38F, .y_max = 1e-38F},
            Grid{.size = size, .x_min = -1e30F, .x_max = 1e30F, .y_min = -1, .y_max = 1},
            Grid{.size = size, .x_min = 1, .x_max = 1.00001F, .y_min = -1000, .y_max = 1000}}) {
        expect_dense(shape, parameters, grid, 0, size, context,
                     "x " + std::to_string(grid.x_min) + " size " + std::to_string(size));
      }
    }
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

// Networks as `compare` trains them: few cells are left to dense evaluation, and none is labelled otherwise.
TEST_P(MlpGrid, TrainedNetworksAsDense) {
  const std::int64_t n = 600;
  const Spiral spiral;
  const std::vector<float> points = uniform_floats(static_cast<std::size_t>(2 * n), 9);
  std::vector<std::uint8_t> classes;
  for (std::int64_t i = 0; i < n; ++i) {
    classes.push_back(
        spiral.inside(points[static_cast<std::size_t>(2 * i)], points[static_cast<std::size_t>(2 * i + 1)]));
  }
  Context cpu(cpu_backend()), context(backend());
  const Buffer<float> inputs(cpu, points, {n, 2});
  const Buffer<std::uint8_t> labels(cpu, classes, {n});
  for (const Encoding encoding : {Encoding::none, Encoding::polar, Encoding::polar_raw, Encoding::polar_trig}) {
    for (const int outputs : {1, 2}) {
      if (leave_out(5)) continue;
      MlpRun run;
      run.shape = {.inputs = 2, .encoding = encoding, .width = 32, .hidden_layers = 3, .outputs = outputs};
      const std::int64_t p = parameter_count(run.shape);
      Buffer<float> parameters(cpu, uniform_floats(static_cast<std::size_t>(p), 10, -0.18F, 0.18F), {p});
      run.inputs = inputs;
      run.labels = labels;
      run.parameters = parameters;
      run.epochs = 60;
      cpu_backend().mlp_train(std::span(&run, 1), cpu);
      const auto trained = parameters.to_host();
      const Grid grid{.size = on_executor() ? 50 : 1024};
      const std::string trace = "encoding " + std::to_string(static_cast<int>(encoding));
      const std::int64_t rows = on_executor() ? 30 : 1024;
      EXPECT_GT(expect_dense(run.shape, trained, grid, grid.size - rows, rows, context, trace), 0);
      if (!on_cpu()) continue;
      cpu::MapWork done;
      const Buffer<float> network(cpu, trained, {1, p});
      Buffer<std::uint8_t> map(cpu, {1, rows, grid.size});
      cpu::map_networks(run.shape, network, grid, 0, map, &done, cpu);
      EXPECT_LT(done.dense, rows * grid.size / 20) << trace;
      EXPECT_GT(done.judged, 0);
      EXPECT_GT(done.decided[7], 0) << trace;
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
