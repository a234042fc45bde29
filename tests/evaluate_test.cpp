// evaluate: that what trials share changes no bit of what any of them measures.
#include "host/lab/evaluate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "host/program/error.h"

#include "tests/program.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

Trial small(const std::string& model, std::int64_t n = 120) {
  Trial trial;
  trial.model = model;
  trial.n = n;
  trial.epochs = 3;
  trial.grid = 48;
  trial.density_points = 200;
  return resolved(trial);
}

std::vector<Measurement> measured(const std::vector<Trial>& trials, const Backend& backend) {
  const Common common{.quiet = true};
  Context context(backend, 0, 1);
  Progress progress(true);
  Session session{common, context, progress};
  std::vector<Measurement> result(trials.size());
  evaluate(trials, session, [&](std::size_t i, const Measurement& measurement) { result[i] = measurement; });
  return result;
}

std::string bits(const Measurement& measurement) {
  std::string text = measurement.status;
  for (const auto& [name, value] : measurement.values) text += fmt::format(" {}={:a}", name, value);
  return text;
}

// Memory of a backend ends at each piece that is asked for in turn: trials fail, and what the others measure is theirs.
TEST(Evaluate, ANetworkWithoutMemoryTakesNoOthersPlace) {
  static long asked, refused;
  Backend scarce = cpu_backend();
  scarce.allocate = [](std::size_t bytes, Context& context) -> void* {
    if (++asked == refused) throw std::bad_alloc();
    return cpu_backend().allocate(bytes, context);
  };
  std::vector<Trial> trials;
  for (const std::uint64_t seed : {1, 2, 3}) {
    trials.push_back(small("mlp-xy", 40));
    trials.back().start = seed;
  }
  asked = refused = 0;
  const auto want = measured(trials, scarce);
  const long pieces = asked;
  int failed = 0;
  for (long piece = 1; piece <= pieces; ++piece) {
    asked = 0;
    refused = piece;
    std::vector<Measurement> got;
    try {
      got = measured(trials, scarce);
    } catch (const std::bad_alloc&) {
      continue;  // before any trial
    }
    for (std::size_t i = 0; i < trials.size(); ++i) {
      failed += got[i].failed();
      EXPECT_TRUE(got[i].failed() || bits(got[i]) == bits(want[i])) << "piece " << piece << ", trial " << i;
    }
  }
  EXPECT_GE(failed, 6) << "of each network its parameters and its mark of divergence";
}

class EvaluateOnBackend : public test::OnBackend {};

TEST_P(EvaluateOnBackend, KnnTrialsThatShareASearchMeasureWhatEachMeasuresAlone) {
  std::vector<Trial> trials;
  for (const char* model : {"knn-5", "knn-1", "knn-120", "knn-3", "knn-1@polar", "knn-5@polar", "knn-1@polar:0.25"}) {
    trials.push_back(small(model));
    Trial kept = small(model);
    kept.keep = "random";
    kept.fraction = 0.5;  // knn-120 then has too few rows, and is the only one that fails
    trials.push_back(resolved(kept));
    Trial other = small(model);
    other.seed = 1;
    trials.push_back(resolved(other));
  }
  const auto together = measured(trials, backend());
  for (std::size_t i = 0; i < trials.size(); ++i) {
    EXPECT_EQ(bits(measured({trials[i]}, backend())[0]), bits(together[i])) << to_json(trials[i]);
    EXPECT_EQ(together[i].failed(), trials[i].model == "knn-120" && trials[i].keep == "random") << together[i].status;
  }
  EXPECT_NE(bits(together[0]), bits(together[3]));
}
SCALELAB_ON_EACH_BACKEND(EvaluateOnBackend);

TEST(Evaluate, KnnTrialsThatDifferInKAloneAreOneWork) {
  EXPECT_EQ(work_key(small("knn-1")), work_key(small("knn-5")));
  EXPECT_NE(work_key(small("knn-1")), work_key(small("knn-1", 121)));
  EXPECT_EQ(work_key(small("knn-1@polar")), work_key(small("knn-5@polar")));
  EXPECT_NE(work_key(small("knn-1@polar")), work_key(small("knn-1")));
  EXPECT_NE(work_key(small("knn-1@polar")), work_key(small("knn-1@polar:0.25")));
  EXPECT_NE(work_key(small("mlp-xy")), work_key(small("mlp-polar")));
}

// The map of cells and the vote for fresh points see the same neighbours: with the angle almost at no weight the radius
// alone decides, and the two errors are those of concentric rings.
TEST(Evaluate, NeighboursOnAnEncodingAreFoundForPointsAndForCells) {
  const auto rings = measured({small("knn-1@polar:1e-6")}, cpu_backend())[0];
  const TrialData data = load_data(small("knn-1@polar:1e-6"));
  const auto label_at = [&](double x, double y) {
    std::size_t nearest = 0;
    double best = 10;
    for (std::size_t i = 0; i < data.train.labels.size(); ++i) {
      const double apart =
          std::abs(std::hypot(data.train.points[2 * i], data.train.points[2 * i + 1]) - std::hypot(x, y));
      if (apart < best) {
        best = apart;
        nearest = i;
      }
    }
    return data.train.labels[nearest];
  };
  int wrong = 0;
  for (int cell = 0; cell < 48 * 48; ++cell) {
    const double x = (cell % 48 + 0.5) / 24 - 1, y = (cell / 48 + 0.5) / 24 - 1;
    wrong += label_at(x, y) != Spiral{}.inside(x, y);
  }
  // A cell whose two nearest radii are equally far but for rounding may go either way.
  EXPECT_NEAR(rings.values.at("grid_error"), wrong / (48.0 * 48.0), 4 / (48.0 * 48.0));
  EXPECT_NEAR(rings.values.at("density_error"), rings.values.at("grid_error"), 0.25);
  EXPECT_EQ(rings.values.at("train_error"), 0);
}

TEST(Evaluate, AnotherTestSeedDrawsOtherTestPointsAndLeavesTheRest) {
  Trial other = small("knn-1");
  other.test_seed = 1;
  const auto both = measured({small("knn-1"), resolved(other)}, cpu_backend());
  EXPECT_EQ(both[0].values.at("grid_error"), both[1].values.at("grid_error"));
  EXPECT_NE(both[0].values.at("density_error"), both[1].values.at("density_error"));
}

TEST(Evaluate, WithoutDrawsTheDensityErrorIsThatOfTheMapAndNearThatOfManyDraws) {
  Trial weighted = small("knn-3");
  weighted.density_points = 0;
  weighted.test_seed = 5;  // of no draws
  Trial other = weighted;
  other.test_seed = 6;
  EXPECT_EQ(trial_id(resolved(weighted)), trial_id(resolved(other)));
  Trial drawn = weighted;
  drawn.density_points = 100000;
  for (const std::uint64_t world : {0, 3}) {
    weighted.world = drawn.world = world;
    weighted.grid = drawn.grid = 512;
    const auto both = measured({resolved(weighted), resolved(drawn)}, cpu_backend());
    const double p = both[1].values.at("density_error");
    EXPECT_NE(both[0].values.at("density_error"), both[0].values.at("grid_error"));
    EXPECT_NEAR(both[0].values.at("density_error"), p, 5 * std::sqrt(p * (1 - p) / 100000)) << world;
  }
}

TEST(Evaluate, AWorldChangesThePointsAndAStartChangesNetworksAlone) {
  const auto with = [](const char* model, std::uint64_t world, std::uint64_t start) {
    Trial trial = small(model);
    trial.world = world;
    trial.start = start;
    return resolved(trial);
  };
  EXPECT_EQ(trial_id(with("knn-1", 0, 1)), trial_id(with("knn-1", 0, 0)));
  EXPECT_NE(trial_id(with("mlp-xy", 0, 1)), trial_id(with("mlp-xy", 0, 0)));
  const auto results = measured({with("knn-1", 0, 0), with("knn-1", 1, 0), with("mlp-xy", 0, 0), with("mlp-xy", 1, 0),
                                 with("mlp-xy", 0, 1), with("mlp-xy", 0, 2)},
                                cpu_backend());
  std::set<std::string> seen;
  for (const auto& result : results) {
    const float weight = result.parameters.empty() ? 0 : result.parameters[0];
    EXPECT_TRUE(seen.insert(fmt::format("{} {:a}", bits(result), weight)).second) << bits(result);
  }
  EXPECT_EQ(seen.size(), results.size());
  Trial file = small("mlp-xy");
  file.data = "perceptron";
  file.world = 1;
  EXPECT_THROW(resolved(file), Failure);
}

class EvaluateFiles : public Program {};

// A file whose rows tell themselves apart: each seed deals out its own test rows, the same for every n and every choice, and
// no test row is trained on.
TEST_F(EvaluateFiles, EachSeedSplitsAFileByItself) {
  std::string text;
  for (int row = 0; row < 100; ++row) text += fmt::format("{},{},{}\n", row, row % 7, row % 2);
  write_text(folder_ / "p.csv", text);
  const auto rows_of = [](const Dataset& data) {
    std::set<float> rows;
    for (std::size_t i = 0; i < data.points.size(); i += 2) rows.insert(data.points[i]);
    return rows;
  };
  std::set<std::set<float>> tests;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Trial trial = small("knn-1", 80);
    trial.data = folder_ / "p.csv";
    trial.seed = seed;
    const TrialData all = load_data(resolved(trial));
    const auto test = rows_of(*all.test), train = rows_of(all.train);
    EXPECT_EQ(test.size(), 20U);
    EXPECT_EQ(train.size(), 80U);
    for (const float row : test) EXPECT_FALSE(train.contains(row));
    tests.insert(test);
    trial.n = 30;
    trial.keep = "random";
    trial.fraction = 0.5;
    const TrialData few = load_data(resolved(trial));
    EXPECT_EQ(rows_of(*few.test), test) << "paired";
    EXPECT_EQ(std::vector<float>(all.train.points.begin(), all.train.points.begin() + 60), few.train.points)
        << "nested";
  }
  EXPECT_EQ(tests.size(), 8U);
}

TEST(Evaluate, ANetworkBringsItsParameters) {
  const auto both = measured({small("mlp-polar"), small("knn-1")}, cpu_backend());
  EXPECT_EQ(std::ssize(both[0].parameters), parameter_count(network_of(small("mlp-polar"), "mlp-polar", 2, 2).shape));
  EXPECT_TRUE(both[1].parameters.empty());
}

}  // namespace
}  // namespace scalelab::host
