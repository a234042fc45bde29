// xor_sgd against a plain double-precision simulation of the same draws, its limits, and the same bits everywhere.
#include "scalelab/xor_sgd.h"

#include <hwy/targets.h>

#include <algorithm>
#include <cmath>

#include "tests/support.h"

namespace scalelab::test {
namespace {

std::vector<float> train(const XorProblem& problem, const std::vector<XorRun>& runs, int threads = 0) {
  Context context(cpu_backend(), 0, threads);
  const auto m = static_cast<std::int64_t>(runs.size());
  Guarded<float> accuracies(context, {m, problem.evaluations});
  cpu::xor_sgd(problem, runs, accuracies, context);
  return accuracies.to_host();
}

// The definition in the header's words, in double, sums in plain order.
std::vector<double> simulate(const XorProblem& p, const XorRun& run) {
  const int d = p.dimension, K = run.hidden;
  const auto normals = [&](Stream stream, std::uint64_t index, int count) {
    std::vector<double> values;
    for (int c = 0; c < count; c += 2) {
      const NormalPair pair = normal_pair(random_words(run.seed, stream, index, static_cast<std::uint32_t>(c / 2)));
      values.push_back(pair.first);
      values.push_back(pair.second);
    }
    return values;
  };
  std::vector<std::vector<double>> w(K);
  std::vector<double> v(K);
  for (int k = 0; k < K; ++k) {
    auto values = normals(Stream::weights, k, d + 1);
    for (double& value : values) value *= p.start;
    v[k] = values[d];
    values.resize(d);
    w[k] = values;
  }
  const auto g = [&](double z) { return p.gate == Gate::relu ? std::max(z, 0.0) : std::erf(z / std::sqrt(2.0)); };
  const auto slope = [&](double z) {
    return p.gate == Gate::relu ? (z > 0 ? 1.0 : 0.0) : std::sqrt(2 / kPi) * std::exp(-z * z / 2);
  };
  struct Example {
    std::vector<double> x;
    double label, uniform;
  };
  const auto example = [&](std::uint64_t number, auto variance) {
    const Words words = random_words(run.seed, Stream::points, number, 0xffffffffU);
    auto x = normals(Stream::points, number, d);
    x.resize(d);
    const int axis = static_cast<int>(words[0] >> 31);
    const double uniform = uniform_float(words[1]);
    for (double& c : x) c *= std::sqrt(variance(uniform));
    x[axis] += (words[0] >> 30 & 1U) != 0 ? 1 : -1;
    return Example{x, axis == 0 ? 1.0 : -1.0, uniform};
  };
  const auto forward = [&](const std::vector<double>& x, std::vector<double>& z) {
    double sum = 0;
    for (int k = 0; k < K; ++k) {
      z[k] = 0;
      for (int c = 0; c < d; ++c) z[k] += w[k][c] * x[c] / std::sqrt(d);
      sum += v[k] * g(z[k]);
    }
    return sum;
  };
  std::vector<double> accuracies, z(K);
  const auto steps = std::llround(p.time * d), easy_steps = std::llround(p.easy_share * steps);
  for (std::int64_t s = 0; s < steps; ++s) {
    const Example e = example(s, [&](double uniform) -> double {
      bool easy = uniform < p.easy_share;
      if (run.order == Order::curriculum) easy = s < easy_steps;
      if (run.order == Order::anti) easy = s >= steps - easy_steps;
      return easy ? p.easy_variance : p.hard_variance;
    });
    const double rate = p.decay ? p.rate * double(steps - s) / steps : p.rate;
    const double error = e.label - forward(e.x, z);
    for (int k = 0; k < K; ++k) {
      const double push = rate * error * v[k] * slope(z[k]);
      if (p.train_output) v[k] += rate / d * error * g(z[k]);
      for (int c = 0; c < d; ++c) w[k][c] += push * e.x[c] / std::sqrt(d);
    }
    if ((s + 1) * p.evaluations / steps > s * p.evaluations / steps) {
      int right = 0;
      for (int t = 0; t < p.test_examples; ++t) {
        const Example test = example((std::uint64_t{1} << 40) + t, [&](double) -> double { return p.hard_variance; });
        right += forward(test.x, z) * test.label > 0;
      }
      accuracies.push_back(static_cast<double>(right) / p.test_examples);
    }
  }
  return accuracies;
}

TEST(XorSgd, FollowsTheDefinition) {
  // fp32 against fp64 over some hundred steps: the runs stay together, so only examples at the very boundary may be
  // judged differently: at most two of the 500.
  for (const Gate gate : {Gate::relu, Gate::erf}) {
    for (const Order order : {Order::curriculum, Order::anti, Order::random}) {
      XorProblem p;
      p.dimension = 33;
      p.gate = gate;
      p.time = 8;
      p.evaluations = 4;
      p.test_examples = 500;
      p.easy_share = 0.4F;
      p.decay = order == Order::anti;
      p.train_output = order != Order::random;
      const XorRun run{7, 6, order};
      const auto got = train(p, {run});
      const auto want = simulate(p, run);
      ASSERT_EQ(want.size(), 4U);
      for (int e = 0; e < 4; ++e) EXPECT_NEAR(got[e], want[e], 2.01 / 500) << static_cast<int>(order) << " at " << e;
    }
  }
}

TEST(XorSgd, LearnsWhatCanBeLearned) {
  XorProblem p;
  p.dimension = 20;
  p.time = 200;
  p.rate = 0.2F;
  p.decay = true;
  p.easy_variance = p.hard_variance = 0.05F;
  p.evaluations = 1;
  p.test_examples = 4000;
  // Bayes: 1 - 2 p (1 - p), p = Phi(-1 / sqrt(2 variance)): 0.9984 here. Wide networks come within two per cent.
  const auto got = train(p, {{1, 32, Order::random}, {2, 32, Order::random}});
  for (float accuracy : got) {
    EXPECT_GT(accuracy, 0.975F);
    EXPECT_LE(accuracy, 1.0F);
  }
  // One hidden ReLU unit cannot separate four clusters: where it is off its output is zero, and zero is wrong.
  EXPECT_LT(train(p, {{1, 1, Order::random}})[0], 0.6F);
}

TEST(XorSgd, SameBitsAloneTogetherThreadsAndTargets) {
  XorProblem p;
  p.dimension = 37;
  p.time = 4;
  p.test_examples = 100;
  std::vector<XorRun> runs;
  for (std::uint64_t seed : {3, 4, 5}) {
    for (const Order order : {Order::curriculum, Order::anti, Order::random}) runs.push_back({seed, 5, order});
  }
  const auto all = train(p, runs, 1);
  EXPECT_TRUE(same_bits(train(p, runs, 2), all));
  const auto alone = train(p, {runs[4]});
  EXPECT_TRUE(same_bits(alone, {all.begin() + 4 * p.evaluations, all.begin() + 5 * p.evaluations}));
  const std::int64_t targets = hwy::SupportedTargets();
  for (std::int64_t rest = targets; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    EXPECT_TRUE(same_bits(train(p, runs), all)) << hwy::TargetName(rest & -rest);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(XorSgd, OrdersDifferOnlyInOrder) {
  // With one variance for easy and hard all three orders are the same run.
  XorProblem p;
  p.dimension = 16;
  p.time = 5;
  p.easy_variance = p.hard_variance;
  const auto got = train(p, {{1, 4, Order::curriculum}, {1, 4, Order::anti}, {1, 4, Order::random}});
  const std::vector<float> first(got.begin(), got.begin() + p.evaluations);
  EXPECT_TRUE(same_bits({got.begin() + p.evaluations, got.begin() + 2 * p.evaluations}, first));
  EXPECT_TRUE(same_bits({got.begin() + 2 * p.evaluations, got.end()}, first));
}

TEST(XorSgd, RefusesWhatIsOutOfRange) {
  const auto refuses = [](auto change) {
    XorProblem p;
    p.time = 1;
    std::vector<XorRun> runs = {{0, 4, Order::random}};
    change(p, runs);
    EXPECT_THROW(train(p, runs), std::invalid_argument);
  };
  refuses([](XorProblem& p, auto&) { p.dimension = 1; });
  refuses([](XorProblem& p, auto&) { p.easy_variance = 0; });
  refuses([](XorProblem& p, auto&) { p.hard_variance = NAN; });
  refuses([](XorProblem& p, auto&) { p.easy_share = 1.5F; });
  refuses([](XorProblem& p, auto&) { p.rate = 0; });
  refuses([](XorProblem& p, auto&) { p.time = 0; });
  refuses([](XorProblem& p, auto&) { p.test_examples = 0; });
  refuses([](XorProblem&, auto& runs) { runs[0].hidden = 0; });
  Context context(cpu_backend());
  const std::vector<XorRun> runs(2);
  std::vector<float> small(3);
  EXPECT_THROW(cpu::xor_sgd(XorProblem{}, runs, View<float>(small.data(), {1, 3}), context), std::invalid_argument);
}

// --- every backend ---------------------------------------------------------------------------------------------------

class XorSgdBackends : public OnBackend {};
SCALELAB_ON_EACH_BACKEND(XorSgdBackends);

std::vector<float> train_on(const Backend& backend, const XorProblem& problem, const std::vector<XorRun>& runs) {
  Context context(backend);
  Guarded<float> accuracies(context, {static_cast<std::int64_t>(runs.size()), problem.evaluations});
  backend.xor_sgd(problem, runs, accuracies, context);
  return accuracies.to_host();
}

TEST_P(XorSgdBackends, GiveTheBitsOfTheCpu) {
  for (const int d : {2, 16, 33}) {
    XorProblem p;
    p.dimension = d;
    p.time = 4;
    p.evaluations = 3;
    p.test_examples = on_executor() ? 21 : 500;
    p.decay = d == 16;
    p.train_output = d != 16;
    // More runs than blocks of the executor, of widths around the eight units that a block takes at once.
    std::vector<XorRun> runs;
    for (std::uint64_t seed = 0; seed < (d == 2 ? 7 : 1); ++seed) {
      for (const Order order : {Order::curriculum, Order::anti, Order::random}) {
        runs.push_back({seed, static_cast<int>(1 + 8 * (seed % 3)), order});
      }
    }
    runs.push_back({9, 20, Order::random});
    EXPECT_TRUE(same_bits(train_on(backend(), p, runs), train(p, runs))) << d;
  }
}

TEST_P(XorSgdBackends, AgreeOnTheErrorFunctionButForRounding) {
  XorProblem p;
  p.dimension = 20;
  p.gate = Gate::erf;
  p.time = 3;
  p.evaluations = 2;
  p.test_examples = on_executor() ? 40 : 500;
  const std::vector<XorRun> runs = {{1, 6, Order::curriculum}, {2, 3, Order::anti}};
  const auto got = train_on(backend(), p, runs), want = train(p, runs);
  // The erf and exp of CUDA (which tests/ptx executes) and of the C library differ in the last bit: an example at the very
  // boundary may be judged differently.
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1.01F / p.test_examples);
}

}  // namespace
}  // namespace scalelab::test
