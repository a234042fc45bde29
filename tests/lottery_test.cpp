// lottery: masks against their definition, chains against training one network after the other, and the fault that
// must not pass: a pruned weight that comes back.
#include "host/lab/lottery.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

#include "host/data/dataset.h"
#include "host/lab/evaluate.h"
#include "host/lab/model.h"
#include "host/program/error.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

MlpShape shape_of(int width, int layers, bool layer_norm = false) {
  MlpShape shape;
  shape.encoding = Encoding::polar;
  shape.width = width;
  shape.hidden_layers = layers;
  shape.layer_norm = layer_norm;
  return shape;
}

// Data and what a command hands to run_lottery. The memory is the CPU's.
struct Bench {
  explicit Bench(const Backend& backend = cpu_backend(), int threads = 0) : context(backend, 0, threads) {
    data = sample_spiral(default_mixture(), Spiral{}, 200, 3);
    common.quiet = true;
  }
  LotteryChain chain(std::uint64_t seed, std::vector<Ticket> wanted, int width = 12) {
    LotteryChain chain;
    chain.run.shape = shape_of(width, 2, seed % 2 == 1);
    chain.run.inputs = View<const float>(data.points.data(), {200, 2});
    chain.run.labels = View<const std::uint8_t>(data.labels.data(), {200});
    chain.run.epochs = 6;
    chain.run.seed = seed;
    chain.wanted = std::move(wanted);
    return chain;
  }
  struct Reported {
    std::vector<float> parameters;
    std::vector<std::uint8_t> mask;
    std::int64_t weights;
    double density, moved, start_overlap;
    int width;
    bool diverged;
  };
  // By (chain, ticket); each must come once.
  std::map<std::pair<std::size_t, std::size_t>, Reported> run(const std::vector<LotteryChain>& chains) {
    std::map<std::pair<std::size_t, std::size_t>, Reported> result;
    run_lottery(chains, session, [&](const LotteryNetwork& n) {
      const Reported one{{n.parameters.data(), n.parameters.data() + n.parameters.size()},
                         {n.mask.begin(), n.mask.end()},
                         n.weights,
                         n.density,
                         n.moved,
                         n.start_overlap,
                         n.shape.width,
                         n.diverged};
      EXPECT_TRUE(result.emplace(std::pair(n.chain, n.ticket), one).second) << n.chain << " " << n.ticket;
    });
    return result;
  }

  Common common;
  Context context;
  Progress progress{true};
  Session session{common, context, progress};
  Dataset data;
};

TEST(Lottery, OnlyWeightsOfHiddenLayersArePrunable) {
  EXPECT_EQ(prunable_weights(shape_of(2, 2)),
            (std::vector<std::uint8_t>{1, 1, 1, 1, 0, 0, /**/ 1, 1, 1, 1, 0, 0, /**/ 0, 0, 0}));
  EXPECT_EQ(prunable_weights(shape_of(2, 2, true)),
            (std::vector<std::uint8_t>{1, 1, 1, 1, 0, 0, 0, 0, 0, 0, /**/ 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, /**/ 0, 0, 0}));
  MlpShape shape = shape_of(3, 1);
  shape.encoding = Encoding::none;
  shape.inputs = 5;
  shape.outputs = 4;
  std::vector<std::uint8_t> want(15 + 3 + 12 + 4, 0);
  std::fill_n(want.begin(), 15, 1);
  EXPECT_EQ(prunable_weights(shape), want);
}

TEST(Lottery, LevelNKeepsFourFifthsToTheN) {
  const std::int64_t weights = 2 * 128 + 128 * 128;
  EXPECT_EQ(kept_at_level(weights, 0), weights);
  EXPECT_EQ(kept_at_level(weights, 1), 13312);
  EXPECT_EQ(kept_at_level(weights, 10), 1787);  // 10.7 %
  EXPECT_EQ(kept_at_level(weights, 11), 1429);  // 8.6 %
  EXPECT_EQ(kept_at_level(weights, 15), 585);
}

TEST(Lottery, TheSmallestGoFirstAndTiesByIndex) {
  const MlpShape shape = shape_of(2, 2);
  // Hidden weights at 0 .. 3 and 6 .. 9; what is not prunable is smaller than all of them.
  const std::vector<float> parameters = {3, -1, 2, 1, 0, 0, -1, 4, 1, -5, 0, 0, 0, 0, 0};
  std::vector<std::uint8_t> mask(15, 1);
  const auto pruned = [&](std::int64_t kept) {
    const auto result = prune_smallest(parameters, mask, shape, kept);
    std::vector<int> gone;
    for (int i = 0; i < 15; ++i) {
      if (result[static_cast<std::size_t>(i)] == 0) gone.push_back(i);
    }
    return gone;
  };
  EXPECT_EQ(pruned(8), (std::vector<int>{}));
  EXPECT_EQ(pruned(7), (std::vector<int>{1}));
  EXPECT_EQ(pruned(5), (std::vector<int>{1, 3, 6}));  // of four ones, those of the lowest index
  EXPECT_EQ(pruned(2), (std::vector<int>{0, 1, 2, 3, 6, 8}));
  EXPECT_EQ(pruned(0), (std::vector<int>{0, 1, 2, 3, 6, 7, 8, 9}));
  EXPECT_THROW(pruned(9), std::invalid_argument);
  EXPECT_THROW(pruned(-1), std::invalid_argument);
  mask[9] = 0;  // the largest is gone already: it does not come back
  EXPECT_EQ(pruned(5), (std::vector<int>{1, 3, 9}));
  EXPECT_THROW(pruned(8), std::invalid_argument);
  std::vector<float> broken = parameters;
  broken[7] = NAN;
  EXPECT_THROW(prune_smallest(broken, mask, shape, 5), std::invalid_argument);
  EXPECT_THROW(prune_smallest(broken, mask, shape_of(3, 2), 5), std::invalid_argument);
}

TEST(Lottery, RandomMasksHaveEachLayersDensityAndAreNested) {
  const MlpShape shape = shape_of(20, 3, true);
  const auto trained = test::uniform_floats(static_cast<std::size_t>(parameter_count(shape)), 6);
  std::vector<std::uint8_t> denser(trained.size(), 1), random_denser = denser;
  for (int level = 1; level <= 8; ++level) {
    const auto mask = prune_smallest(trained, denser, shape, kept_at_level(40 + 400 + 400, level));
    const auto random = random_mask_like(mask, shape, 5);
    for (const auto& [begin, count] : {std::pair{0, 40}, {100, 400}, {560, 400}}) {
      EXPECT_EQ(std::count(random.begin() + begin, random.begin() + begin + count, 1),
                std::count(mask.begin() + begin, mask.begin() + begin + count, 1));
    }
    for (std::size_t i = 0; i < random.size(); ++i) {
      EXPECT_LE(random[i], random_denser[i]);
      EXPECT_LE(mask[i], denser[i]);
      EXPECT_TRUE(prunable_weights(shape)[i] == 1 || random[i] == 1);
    }
    EXPECT_NE(random, mask);
    EXPECT_NE(random, random_mask_like(mask, shape, 6));
    denser = mask;
    random_denser = random;
  }
}

TEST(Lottery, TheSmallDenseNetworkHasAsManyParameters) {
  // 128 x 128 on (r, theta): level 10 leaves 1787 weights, 256 biases and 129 of the output. w (w + 5) + 1 = 2172.
  EXPECT_EQ(small_dense_shape(shape_of(128, 2), 1787).width, 44);
  for (const int layers : {1, 2, 3}) {
    const MlpShape shape = shape_of(40, layers, layers == 3);
    for (std::int64_t kept = 1; kept <= 80 + (layers - 1) * 1600; kept += 7) {
      const std::int64_t target = parameter_count(shape) - (80 + (layers - 1) * 1600) + kept;
      const MlpShape small = small_dense_shape(shape, kept);
      EXPECT_EQ(small.hidden_layers, layers);
      for (int width = 2; width <= 256; ++width) {
        MlpShape other = small;
        other.width = width;
        EXPECT_LE(std::abs(parameter_count(small) - target), std::abs(parameter_count(other) - target));
      }
    }
  }
}

TEST(Lottery, ChainsAreWhatTheirWordsSay) {
  Bench bench;
  const LotteryChain chain = bench.chain(5, {{"dense", 0},
                                             {"rewound", 1},
                                             {"rewound", 3},
                                             {"fine-tuned", 2},
                                             {"restarted", 2},
                                             {"random-mask", 3},
                                             {"small-dense", 2},
                                             {"dense-long", 2}});
  const auto got = bench.run({chain});
  ASSERT_EQ(got.size(), 8U);

  // The same by hand, one network after the other.
  const MlpShape shape = chain.run.shape;
  const auto train = [&](const MlpShape& s, std::vector<float> parameters, std::vector<std::uint8_t> mask) {
    MlpRun run = chain.run;
    run.shape = s;
    run.parameters = View<float>(parameters.data(), {static_cast<std::int64_t>(parameters.size())});
    run.weight_mask = View<const std::uint8_t>(mask.data(), {static_cast<std::int64_t>(mask.size())});
    cpu::mlp_train(std::vector{run}, bench.context);
    return parameters;
  };
  const auto start = initial_parameters(shape, 5);
  const std::vector<std::uint8_t> all(start.size(), 1);
  const std::int64_t weights = 2 * 12 + 12 * 12;
  const auto dense = train(shape, start, all);
  const auto mask1 = prune_smallest(dense, all, shape, kept_at_level(weights, 1));
  const auto rewound1 = train(shape, start, mask1), tuned1 = train(shape, dense, mask1);
  const auto mask2 = prune_smallest(rewound1, mask1, shape, kept_at_level(weights, 2));
  const auto tuned_mask2 = prune_smallest(tuned1, mask1, shape, kept_at_level(weights, 2));
  const auto rewound2 = train(shape, start, mask2);
  const auto mask3 = prune_smallest(rewound2, mask2, shape, kept_at_level(weights, 3));
  const auto random3 = random_mask_like(mask3, shape, 5);
  const MlpShape small = small_dense_shape(shape, kept_at_level(weights, 2));
  const auto at = [&](std::size_t ticket) { return got.at({0, ticket}); };
  EXPECT_TRUE(test::same_bits(at(0).parameters, dense));
  EXPECT_TRUE(test::same_bits(at(1).parameters, rewound1));
  EXPECT_TRUE(test::same_bits(at(2).parameters, train(shape, start, mask3)));
  EXPECT_TRUE(test::same_bits(at(3).parameters, train(shape, tuned1, tuned_mask2)));
  EXPECT_TRUE(test::same_bits(at(4).mask, mask2));
  EXPECT_TRUE(test::same_bits(at(5).parameters, train(shape, start, random3)));
  EXPECT_TRUE(test::same_bits(
      at(6).parameters,
      train(small, initial_parameters(small, 5), std::vector<std::uint8_t>(initial_parameters(small, 5).size(), 1))));
  EXPECT_EQ(at(6).width, small.width);
  EXPECT_TRUE(test::same_bits(at(7).parameters, train(shape, train(shape, dense, all), all)));
  // The new start is another one, and training does not lead both to the same place.
  EXPECT_FALSE(test::same_bits(at(4).parameters, rewound2));

  // Counted, not assumed.
  EXPECT_EQ(at(0).weights, weights);
  EXPECT_EQ(at(2).weights, kept_at_level(weights, 3));
  EXPECT_DOUBLE_EQ(at(2).density, static_cast<double>(kept_at_level(weights, 3)) / static_cast<double>(weights));
  EXPECT_EQ(at(5).weights, at(2).weights);
  for (std::size_t i = 0; i < start.size(); ++i) {
    ASSERT_TRUE(mask3[i] == 1 || at(2).parameters[i] == 0) << i;
  }
  // How far what is left moved, and what pruning the start would have left; what was tuned began where the chain did.
  const auto prunable = prunable_weights(shape);
  const auto expect_start = [&](std::size_t ticket, const std::vector<std::uint8_t>& mask, int level) {
    const auto by_start = prune_smallest(start, all, shape, kept_at_level(weights, level));
    double moved = 0, length = 0, both = 0;
    for (std::size_t i = 0; i < start.size(); ++i) {
      if (prunable[i] == 0 || mask[i] == 0) continue;
      moved += std::pow(static_cast<double>(at(ticket).parameters[i]) - start[i], 2);
      length += std::pow(static_cast<double>(start[i]), 2);
      both += by_start[i];
    }
    EXPECT_NEAR(at(ticket).moved, std::sqrt(moved / length), 1e-12);
    EXPECT_NEAR(at(ticket).start_overlap, both / static_cast<double>(kept_at_level(weights, level)), 1e-12);
  };
  expect_start(2, mask3, 3);
  expect_start(3, tuned_mask2, 2);
  expect_start(7, all, 0);
}

TEST(Lottery, SameBitsAloneTogetherAndOnAnyNumberOfThreads) {
  std::vector<Ticket> every = {{"dense", 0}};
  for (const char* kind : {"rewound", "fine-tuned", "dense-long", "restarted", "random-mask", "small-dense"}) {
    for (int level = 1; level <= 3; ++level) every.push_back({kind, level});
  }
  Bench bench, one_thread(cpu_backend(), 1);
  const auto all = bench.run({bench.chain(2, every), bench.chain(3, every, 20), bench.chain(4, every)});
  EXPECT_EQ(all.size(), 3 * every.size());
  const auto alone = one_thread.run({one_thread.chain(3, every, 20)});
  for (std::size_t ticket = 0; ticket < every.size(); ++ticket) {
    EXPECT_TRUE(test::same_bits(alone.at({0, ticket}).parameters, all.at({1, ticket}).parameters)) << ticket;
    // And whatever else is wanted.
    const auto single = bench.run({bench.chain(4, {every[ticket]})});
    ASSERT_EQ(single.size(), 1U);
    EXPECT_TRUE(test::same_bits(single.at({0, 0}).parameters, all.at({2, ticket}).parameters)) << ticket;
  }
}

// The CPU backend, but that it trains every weight, pruned or not.
const Backend& forgetful_backend() {
  static const Backend forgetful = [] {
    Backend backend = cpu_backend();
    backend.mlp_train = [](std::span<const MlpRun> runs, Context& context) {
      std::vector<MlpRun> unmasked(runs.begin(), runs.end());
      for (MlpRun& run : unmasked) run.weight_mask = {};
      cpu::mlp_train(unmasked, context);
    };
    return backend;
  }();
  return forgetful;
}

TEST(Lottery, AMaskThatGrowsBackIsAFault) {
  Bench bench(forgetful_backend());
  EXPECT_NO_THROW(bench.run({bench.chain(1, {{"dense", 0}, {"small-dense", 4}})}));  // nothing is pruned
  for (const char* kind : {"rewound", "fine-tuned", "restarted", "random-mask"}) {
    try {
      bench.run({bench.chain(1, {{kind, 1}})});
      ADD_FAILURE() << kind << " passed";
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kCheckFailed);
      EXPECT_NE(std::string(failure.what()).find(std::string(kind) + " at level 1"), std::string::npos);
    }
  }
}

TEST(Lottery, AMaskThatGrowsBackEndsASweepInsteadOfBecomingARow) {
  Bench bench(forgetful_backend());
  Trial trial;
  trial.n = 50;
  trial.width = 8;
  trial.epochs = 3;
  trial.grid = trial.density_points = 16;
  trial.ticket = "rewound";
  trial.level = 1;
  int reported = 0;
  try {
    evaluate(std::vector{resolved(trial)}, bench.session, [&](std::size_t, const Measurement&) { ++reported; });
    ADD_FAILURE() << "passed";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kCheckFailed);
  }
  EXPECT_EQ(reported, 0);
}

TEST(Lottery, WhatDivergesIsReportedAndStopsItsOwnChainOnly) {
  Bench bench;
  LotteryChain wild =
      bench.chain(1, {{"dense", 0}, {"rewound", 2}, {"restarted", 1}, {"fine-tuned", 1}, {"small-dense", 1}});
  wild.run.learning_rate = 1e30F;
  const auto got = bench.run({wild, bench.chain(2, {{"rewound", 1}})});
  ASSERT_EQ(got.size(), 6U);
  for (std::size_t ticket = 0; ticket < 5; ++ticket) EXPECT_TRUE(got.at({0, ticket}).diverged) << ticket;
  EXPECT_FALSE(got.at({1, 0}).diverged);
}

// The CPU backend, but that every training diverges at once and leaves NaN.
const Backend& diverging_backend() {
  static const Backend diverging = [] {
    Backend backend = cpu_backend();
    backend.mlp_train = [](std::span<const MlpRun> runs, Context&) {
      for (const MlpRun& run : runs) {
        std::fill_n(run.parameters.data(), run.parameters.size(), std::numeric_limits<float>::quiet_NaN());
        *run.diverged.data() = 0;
      }
    };
    return backend;
  }();
  return diverging;
}

// A network that diverged counts in means and pairs like any other, so its errors are measured: weights that are NaN
// call everything one class. So are those of a ticket whose chain diverged before it.
TEST(Lottery, ErrorsOfWhatDivergedAreMeasured) {
  Bench bench(diverging_backend());
  std::vector<Trial> trials;
  for (const Ticket& ticket : std::vector<Ticket>{{"dense", 0}, {"rewound", 2}, {"small-dense", 1}}) {
    Trial trial;
    trial.n = 50;
    trial.width = 8;
    trial.epochs = 3;
    trial.grid = trial.density_points = 16;
    trial.ticket = ticket.kind;
    trial.level = ticket.level;
    trials.push_back(resolved(trial));
  }
  std::size_t reported = 0;
  evaluate(trials, bench.session, [&](std::size_t i, const Measurement& measurement) {
    ++reported;
    EXPECT_EQ(measurement.status, "diverged") << trials[i].ticket;
    for (const char* error : {"grid_error", "density_error", "train_error"}) {
      ASSERT_TRUE(measurement.values.contains(error)) << trials[i].ticket;
      EXPECT_GT(measurement.values.at(error), 0) << trials[i].ticket << error;
      EXPECT_LT(measurement.values.at(error), 1) << trials[i].ticket << error;
    }
  });
  EXPECT_EQ(reported, trials.size());
}

TEST(Lottery, RefusesTicketsThatAreNone) {
  Bench bench;
  for (const Ticket& ticket : std::vector<Ticket>{
           {"dense", 1}, {"rewound", 0}, {"rewound", 16}, {"restarted", -1}, {"golden", 1}, {"small-dense", 0}}) {
    EXPECT_THROW(bench.run({bench.chain(1, {ticket})}), std::invalid_argument) << ticket.kind << ticket.level;
  }
  EXPECT_TRUE(bench.run({}).empty());
  EXPECT_TRUE(bench.run({bench.chain(1, {})}).empty());
}

}  // namespace
}  // namespace scalelab::host
