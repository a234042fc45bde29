// mlp_twins: the cuda networks are the cpu networks, bit for bit: scores, gradients, whole training runs, label maps.
//
// mlp.h promises agreement within rounding only. But both twins form every sum by the same chain of fused multiply-adds
// and share their elementary functions step for step, so that in fp32 nothing may differ at all: any difference is a
// mistake in one of them, and what one backend trained the other can repeat. Only an epoch's loss is a sum in fp64
// whose order is open: it may differ by one unit in the last place of fp32. Below fp32 the same holds where tests/ptx
// adds as the CPU does (PTX_MMA=chain); a GPU's tensor cores do not, and mlp_test holds them to bounds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "scalelab/grid.h"
#include "scalelab/mlp.h"
#include "tests/support.h"

namespace scalelab::test {
namespace {

class MlpTwins : public TwinBackends {};

std::string name_of(const MlpShape& shape) {
  return "inputs " + std::to_string(shape.inputs) + " encoding " + std::to_string(static_cast<int>(shape.encoding)) +
         " width " + std::to_string(shape.width) + " layers " + std::to_string(shape.hidden_layers) + " outputs " +
         std::to_string(shape.outputs) + " activation " + std::to_string(static_cast<int>(shape.activation)) +
         (shape.layer_norm ? " layer norm" : "");
}

// One of each way through the kernels: the three sizes that live on chip, exact and padded; the general one; few inputs
// and many; one output and several; each activation with layer norm and without.
std::vector<MlpShape> shapes() {
  return {{.width = 16, .hidden_layers = 2},
          {.encoding = Encoding::polar, .width = 13, .hidden_layers = 3, .layer_norm = true},
          {.encoding = Encoding::polar_trig,
           .width = 7,
           .hidden_layers = 2,
           .activation = Activation::gelu,
           .layer_norm = true},
          {.inputs = 21, .width = 32, .hidden_layers = 1, .outputs = 5},
          {.encoding = Encoding::polar_raw, .width = 30, .hidden_layers = 4, .activation = Activation::tanh},
          {.width = 64, .hidden_layers = 3},
          {.inputs = 8, .width = 50, .hidden_layers = 2, .outputs = 3, .activation = Activation::gelu},
          {.inputs = 9, .width = 65, .hidden_layers = 2, .outputs = 2, .layer_norm = true},
          {.inputs = 300, .width = 20, .hidden_layers = 2, .activation = Activation::gelu, .layer_norm = true}};
}

std::vector<float> start(const MlpShape& shape, int networks, std::uint64_t seed) {
  const float reach = 1 / std::sqrt(static_cast<float>(std::max(2, std::min(shape.width, feature_count(shape)))));
  return uniform_floats(static_cast<std::size_t>(networks * parameter_count(shape)), seed, -reach, reach);
}

std::vector<std::uint8_t> some_labels(std::size_t n, int outputs, std::uint64_t seed) {
  std::vector<std::uint8_t> labels(n);
  for (std::size_t i = 0; i < n; ++i)
    labels[i] = static_cast<std::uint8_t>(uniform_int(seed, i, 0, std::max(2, outputs) - 1));
  return labels;
}

testing::AssertionResult within_one_unit(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "sizes " << got.size() << " and " << want.size();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;
    constexpr float kFar = std::numeric_limits<float>::infinity();
    if (got[i] >= std::nextafter(want[i], -kFar) && got[i] <= std::nextafter(want[i], kFar)) continue;
    return testing::AssertionFailure() << "at " << i << ": got " << got[i] << ", want " << want[i];
  }
  return testing::AssertionSuccess();
}

TEST_F(MlpTwins, ScoresHaveTheSameBits) {
  for (const MlpShape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    const std::int64_t m = 3, n = on_gpu_ ? 1009 : 67, p = parameter_count(shape);
    const auto parameters = start(shape, m, 1), inputs = uniform_floats(n * shape.inputs, 2, -1.5F, 1.5F);
    const auto scores = [&](Context& context) {
      const Guarded<float> parameters_(context, parameters, {m, p}), inputs_(context, inputs, {n, shape.inputs});
      const Guarded<float> out(context, {m, n, shape.outputs});
      context.backend().mlp_forward(shape, parameters_, inputs_, out, context);
      return out.to_host();
    };
    EXPECT_TRUE(same_bits(scores(*cuda_), scores(*cpu_)));
  }
}

// More networks than blocks: each block goes from one network to the next.
TEST_F(MlpTwins, ScoresOfManyNetworksHaveTheSameBits) {
  const MlpShape shape{.width = 64, .hidden_layers = 1};
  const std::int64_t m = on_gpu_ ? 3000 : 30, n = 3, p = parameter_count(shape);
  const auto parameters = start(shape, static_cast<int>(m), 9), inputs = uniform_floats(2 * n, 10);
  const auto scores = [&](Context& context) {
    const Guarded<float> parameters_(context, parameters, {m, p}), inputs_(context, inputs, {n, 2});
    const Guarded<float> out(context, {m, n, 1});
    context.backend().mlp_forward(shape, parameters_, inputs_, out, context);
    return out.to_host();
  };
  EXPECT_TRUE(same_bits(scores(*cuda_), scores(*cpu_)));
}

TEST_F(MlpTwins, GradientsHaveTheSameBits) {
  for (const MlpShape& shape : shapes()) {
    for (float gamma : {0.0F, 2.0F}) {
      SCOPED_TRACE(name_of(shape) + " gamma " + std::to_string(gamma));
      // More rows than a tile of either backend, and a last group that is not whole.
      const std::int64_t m = 2, n = gamma == 0 ? 131 : 31, p = parameter_count(shape);
      const auto parameters = start(shape, m, 3), inputs = uniform_floats(n * shape.inputs, 4, -1.5F, 1.5F);
      const auto labels = some_labels(n, shape.outputs, 5);
      struct Result {
        std::vector<float> gradients, losses;
      };
      const auto result = [&](Context& context) {
        const Guarded<float> parameters_(context, parameters, {m, p}), inputs_(context, inputs, {n, shape.inputs});
        const Guarded<std::uint8_t> labels_(context, labels, {n});
        const Guarded<float> gradients(context, {m, p}), losses(context, {m});
        context.backend().mlp_backward(shape, {gamma}, parameters_, inputs_, labels_, gradients, losses, context);
        return Result{gradients.to_host(), losses.to_host()};
      };
      const Result got = result(*cuda_), want = result(*cpu_);
      EXPECT_TRUE(same_bits(got.gradients, want.gradients));
      EXPECT_TRUE(same_bits(got.losses, want.losses));
    }
  }
}

// A run and its data, of which a backend gets a copy.
struct Trial {
  MlpRun run;  // its Views unset
  std::int64_t n = 0;
  std::vector<int> rows;
  std::vector<std::uint8_t> weight_mask;
  std::vector<float> state;  // empty: zeros
  std::uint64_t seed = 0;
};

struct Outcome {
  std::vector<float> parameters, state, epoch_losses;
  std::vector<int> diverged;
};

// All trials in one call.
std::vector<Outcome> train(const std::vector<Trial>& trials, Context& context) {
  struct Memory {
    Guarded<float> inputs, parameters, state, epoch_losses;
    Guarded<std::uint8_t> labels, weight_mask;
    Guarded<int> rows, diverged;
  };
  std::vector<Memory> memory;
  std::vector<MlpRun> runs;
  for (const Trial& trial : trials) {
    const MlpShape& shape = trial.run.shape;
    const std::int64_t p = parameter_count(shape), n = trial.n;
    const auto of = [](std::size_t size) { return static_cast<std::int64_t>(size); };
    memory.push_back({{context, uniform_floats(n * shape.inputs, trial.seed, -1.5F, 1.5F), {n, shape.inputs}},
                      {context, start(shape, 1, trial.seed + 1), {p}},
                      {context, trial.state.empty() ? std::vector<float>(2 * p, 0.0F) : trial.state, {2 * p}},
                      {context, {trial.run.epochs}},
                      {context, some_labels(n, shape.outputs, trial.seed + 2), {n}},
                      {context, trial.weight_mask, {of(trial.weight_mask.size())}},
                      {context, trial.rows, {of(trial.rows.size())}},
                      {context, {1}}});
    const Memory& m = memory.back();
    MlpRun run = trial.run;
    run.inputs = m.inputs;
    run.labels = m.labels;
    run.parameters = m.parameters;
    run.state = m.state;
    run.epoch_losses = m.epoch_losses;
    run.diverged = m.diverged;
    if (!trial.rows.empty()) run.rows = m.rows;
    if (!trial.weight_mask.empty()) run.weight_mask = m.weight_mask;
    runs.push_back(run);
  }
  context.backend().mlp_train(runs, context);
  std::vector<Outcome> outcomes;
  for (const Memory& m : memory) {
    outcomes.push_back({m.parameters.to_host(), m.state.to_host(), m.epoch_losses.to_host(), m.diverged.to_host()});
  }
  return outcomes;
}

void expect_same(const std::vector<Trial>& trials, Context& cuda, Context& cpu) {
  const auto got = train(trials, cuda), want = train(trials, cpu);
  for (std::size_t i = 0; i < trials.size(); ++i) {
    SCOPED_TRACE("run " + std::to_string(i) + ", seed " + std::to_string(trials[i].seed) + ": " +
                 name_of(trials[i].run.shape) + " n " + std::to_string(trials[i].n) + " rows " +
                 std::to_string(trials[i].rows.size()) + " batch " + std::to_string(trials[i].run.batch_size) +
                 " epochs " + std::to_string(trials[i].run.epochs));
    EXPECT_TRUE(same_bits(got[i].parameters, want[i].parameters));
    EXPECT_TRUE(same_bits(got[i].state, want[i].state));
    EXPECT_TRUE(within_one_unit(got[i].epoch_losses, want[i].epoch_losses));
    EXPECT_EQ(got[i].diverged, want[i].diverged);
  }
}

// Shapes, data, optimisers, batches, schedules, masks and row lists at random, all in one call.
TEST_F(MlpTwins, TrainingHasTheSameBits) {
  std::vector<Trial> trials;
  const int count = on_gpu_ ? 200 : 24;
  for (int i = 0; i < count; ++i) {
    Trial trial;
    trial.seed = 1000 + 10 * static_cast<std::uint64_t>(i);
    std::uint64_t draws = 0;
    const auto draw = [&](int low, int high) { return static_cast<int>(uniform_int(trial.seed, draws++, low, high)); };
    MlpRun& run = trial.run;
    MlpShape& shape = run.shape;
    const auto list = shapes();
    shape = list[static_cast<std::size_t>(i) % list.size()];
    if (i >= static_cast<int>(list.size())) {
      shape.width = draw(2, on_gpu_ ? 256 : 40);
      shape.hidden_layers = draw(1, on_gpu_ ? 4 : 2);
    }
    run.loss.focal_gamma = draw(0, 1) == 0 ? 0.0F : 2.0F;
    trial.n = draw(1, on_gpu_ ? 1000 : 100);
    run.batch_size = draw(0, 3) == 0 ? 0 : draw(1, 90);
    run.epochs = draw(1, 3);
    if (!on_gpu_ && run.batch_size > 0) run.batch_size = std::max(run.batch_size, static_cast<int>(trial.n) / 3);
    run.shuffle = draw(0, 2) > 0;
    run.seed = trial.seed;
    run.optimizer = draw(0, 2) == 0 ? Optimizer::sgd : Optimizer::adam;
    run.momentum = 0.9F;
    run.schedule = draw(0, 1) == 0 ? Schedule::constant : Schedule::cosine;
    run.learning_rate = 0.01F;
    run.weight_decay = draw(0, 1) == 0 ? 0.0F : 0.01F;
    if (draw(0, 2) == 0) {
      trial.rows.resize(static_cast<std::size_t>(draw(1, 80)));
      for (int& row : trial.rows) row = draw(0, static_cast<int>(trial.n) - 1);
    }
    if (draw(0, 2) == 0) {
      trial.weight_mask.resize(static_cast<std::size_t>(parameter_count(shape)));
      for (auto& learns : trial.weight_mask) learns = draw(0, 3) == 0 ? 0 : 1;
    }
    if (sums_known_) run.precision = static_cast<Precision>(i % 3);
    trials.push_back(trial);
  }
  expect_same(trials, *cuda_, *cpu_);
}

// Moments from below the smallest normal number to beyond what a step without branches takes, and zeros among them;
// constants of a step that such steps take, and some that they do not.
TEST_F(MlpTwins, AdamStepsOfEverySizeHaveTheSameBits) {
  std::vector<Trial> trials;
  for (float epsilon : {1e-8F, 1e-30F, 3.0F}) {
    for (float rate : {3e-3F, 1e-25F}) {
      Trial trial;
      trial.seed = 5000 + trials.size();
      trial.n = 8;
      trial.run.shape = {.width = 32, .hidden_layers = 2};
      trial.run.epochs = 2;
      trial.run.batch_size = 0;
      trial.run.epsilon = epsilon;
      trial.run.learning_rate = rate;
      const auto p = static_cast<std::uint64_t>(parameter_count(trial.run.shape));
      for (std::uint64_t i = 0; i < 2 * p; ++i) {
        const auto exponent = static_cast<int>(uniform_int(trial.seed, i, -135, 14));
        const float size = exponent < -132 ? 0.0F : std::ldexp(1 + static_cast<float>(i % 997) / 997, exponent);
        trial.state.push_back(i < p && i % 2 == 0 ? -size : size);
      }
      trials.push_back(trial);
    }
  }
  expect_same(trials, *cuda_, *cpu_);
}

// Networks that take more and more of a multiprocessor's memory, up to some that it does not hold: at each precision by
// another amount.
TEST_F(MlpTwins, WhatFitsOnAChipAndWhatDoesNotHasTheSameBits) {
  std::vector<Trial> trials;
  for (int width : {32, 64}) {
    for (int layers : {2, 3, 4}) {
      for (bool layer_norm : {false, true}) {
        Trial trial;
        trial.seed = 6000 + trials.size();
        trial.n = 8;
        trial.run.shape = {.width = width, .hidden_layers = layers, .activation = Activation::gelu};
        trial.run.shape.layer_norm = layer_norm;
        trial.run.epochs = 1;
        if (sums_known_) trial.run.precision = Precision::bf16x3;
        trials.push_back(trial);
      }
    }
  }
  expect_same(trials, *cuda_, *cpu_);
}

// Many steps of the article's network. Beyond ten steps mlp.h promises no agreement at all; the twins keep it.
TEST_F(MlpTwins, ALongRunHasTheSameBits) {
  Trial trial;
  trial.seed = 7;
  trial.n = on_gpu_ ? 1000 : 96;
  trial.run.shape = {.encoding = Encoding::polar, .width = on_gpu_ ? 64 : 16, .hidden_layers = on_gpu_ ? 3 : 2};
  trial.run.epochs = on_gpu_ ? 200 : 60;
  trial.run.batch_size = 48;
  expect_same({trial}, *cuda_, *cpu_);
  // One epoch of many batches, as a run has that visits rows in an order of its own.
  Trial once = trial;
  once.run.epochs = 1;
  once.run.batch_size = 1;
  expect_same({once}, *cuda_, *cpu_);
  if (!sums_known_) return;
  trial.run.precision = Precision::bf16x3;
  trial.run.epochs = 20;
  expect_same({trial}, *cuda_, *cpu_);
}

// A run that leaves the finite numbers does so at the same epoch, and harms no neighbour.
TEST_F(MlpTwins, DivergenceIsTheSame) {
  std::vector<Trial> trials(3);
  for (std::size_t i = 0; i < trials.size(); ++i) {
    trials[i].seed = 20 + i;
    trials[i].n = 40;
    trials[i].run.shape = {.width = 12, .hidden_layers = 3};
    trials[i].run.epochs = 12;
    trials[i].run.batch_size = 16;
    trials[i].run.schedule = Schedule::constant;
    trials[i].run.optimizer = Optimizer::sgd;
    trials[i].run.learning_rate = i == 1 ? 1e6F : 0.05F;
  }
  expect_same(trials, *cuda_, *cpu_);
  const auto outcomes = train(trials, *cuda_);
  EXPECT_EQ(outcomes[0].diverged[0], -1);
  EXPECT_GE(outcomes[1].diverged[0], 0);
  EXPECT_EQ(outcomes[2].diverged[0], -1);
}

// A few runs of wide networks are each trained by a team of blocks: a cluster, or for a large batch more blocks than a
// cluster holds; many such runs by a block each. All with the CPU's bits, also where one diverges and its team goes on
// to the next.
TEST_F(MlpTwins, TeamsOfBlocksHaveTheSameBits) {
  Trial small;
  small.seed = 40;
  small.n = 90;
  small.run.shape = {.encoding = Encoding::polar,
                     .width = 100,
                     .hidden_layers = 2,
                     .activation = Activation::gelu,
                     .layer_norm = true};
  small.run.epochs = 2;
  small.run.batch_size = 40;
  expect_same({small}, *cuda_, *cpu_);

  Trial large;
  large.seed = 50;
  large.n = on_gpu_ ? 5000 : 330;
  large.run.shape = {.width = on_gpu_ ? 256 : 128, .hidden_layers = 2, .outputs = 3};
  large.run.epochs = 1;
  large.run.batch_size = on_gpu_ ? 2000 : 320;
  expect_same({large}, *cuda_, *cpu_);
  if (sums_known_) {
    small.run.precision = Precision::bf16x3;
    expect_same({small}, *cuda_, *cpu_);
    large.n = large.run.batch_size = 130;
    large.run.shape.width = 72;
    large.run.precision = Precision::bf16;
    expect_same({large}, *cuda_, *cpu_);
  }

  std::vector<Trial> many(on_gpu_ ? 300 : 40);
  for (std::size_t i = 0; i < many.size(); ++i) {
    many[i].seed = 60 + 3 * i;
    many[i].n = 10 + static_cast<std::int64_t>(i);
    many[i].run.shape = {.width = 70, .hidden_layers = 1};
    many[i].run.epochs = i % 5 == 1 ? 3 : 1;
    many[i].run.schedule = Schedule::constant;
    many[i].run.optimizer = Optimizer::sgd;
    many[i].run.learning_rate = i % 5 == 1 ? 1e37F : 0.05F;
    many[i].run.batch_size = 8;
  }
  expect_same(many, *cuda_, *cpu_);
  const std::vector<Trial> few(many.begin(), many.begin() + 3);
  expect_same(few, *cuda_, *cpu_);
  EXPECT_GE(train(few, *cuda_)[1].diverged[0], 0);
}

TEST_F(MlpTwins, LabelMapsAreTheSame) {
  const Grid grid{.size = on_gpu_ ? 1024 : 37, .x_min = -1.25F, .x_max = 0.75F, .y_min = -1, .y_max = 1};
  for (MlpShape shape : shapes()) {
    if (shape.inputs != 2) continue;
    SCOPED_TRACE(name_of(shape));
    const std::int64_t m = 2, p = parameter_count(shape), begin = 5, rows = 11;
    const auto parameters = start(shape, m, 8);
    const auto labels = [&](Context& context) {
      const Guarded<float> parameters_(context, parameters, {m, p});
      const Guarded<std::uint8_t> out(context, {m, rows, grid.size});
      context.backend().grid_mlp_labels(shape, parameters_, grid, begin, out, context);
      return out.to_host();
    };
    const auto got = labels(*cuda_);
    EXPECT_TRUE(same_bits(got, labels(*cpu_)));
  }
}

}  // namespace
}  // namespace scalelab::test
