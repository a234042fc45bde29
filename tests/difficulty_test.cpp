// difficulty: every score against a slow definition of itself, and the rows that a choice keeps.
#include "host/lab/difficulty.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "host/lab/model.h"
#include "host/program/error.h"
#include "tests/support.h"

namespace scalelab::host {
namespace {

class Difficulty : public testing::Test {
 protected:
  explicit Difficulty(int threads = 2) : context_(cpu_backend(), 0, threads) {}
  std::vector<float> scores(const Trial& trial, const Dataset& train) { return difficulty(trial, train, session_); }

  static Trial trial(const std::string& score, std::int64_t n) {
    Trial result;
    result.score = score;
    result.n = n;
    result.seed = 5;
    result.width = 16;
    result.hidden_layers = 2;
    result.epochs = 20;
    return result;
  }
  static Dataset spiral(const Trial& trial) {
    return sample_spiral(default_mixture(), Spiral{}, trial.n, trial.seed, trial.noise);
  }

  // Network j as a score trains it, after `epochs` of the trial's epochs.
  std::vector<float> network(const Trial& trial, const Dataset& train, int j, int epochs) {
    Model model = parse_model(trial.model);
    model.shape.width = trial.width;
    model.shape.hidden_layers = trial.hidden_layers;
    const std::uint64_t seed = trial.seed + (static_cast<std::uint64_t>(j + 1) << 32);
    const auto start = initial_parameters(model.shape, seed);
    const auto p = static_cast<std::int64_t>(start.size());
    Buffer<float> parameters(context_, start, {p});
    const Buffer<float> state(context_, std::vector<float>(static_cast<std::size_t>(2 * p)), {2 * p});
    const Buffer<float> inputs(context_, train.points, {train.size(), 2});
    const Buffer<std::uint8_t> labels(context_, train.labels, {train.size()});
    MlpRun run;
    run.shape = model.shape;
    run.inputs = inputs;
    run.labels = labels;
    run.parameters = parameters;
    run.state = state.view();
    run.epochs = trial.epochs;
    run.epoch_end = epochs;
    run.seed = seed;
    cpu_backend().mlp_train(std::span(&run, 1), context_);
    return parameters.to_host();
  }

  // Activations of every hidden layer in turn and the logit, in fp64, of a ReLU network on polar coordinates.
  static std::vector<double> last_hidden(const Trial& trial, const std::vector<float>& parameters, const float* point,
                                         double* logit) {
    const double r = std::hypot(point[0], point[1]);
    std::vector<double> layer = {2 * r - 1, std::atan2(point[1], point[0]) / kPi};
    const float* weight = parameters.data();
    for (int l = 0; l < trial.hidden_layers; ++l) {
      const float* bias = weight + trial.width * layer.size();
      std::vector<double> next;
      for (int o = 0; o < trial.width; ++o) {
        double sum = bias[o];
        for (const double value : layer) sum += value * *weight++;
        next.push_back(std::max(0.0, sum));
      }
      weight += trial.width;
      layer = next;
    }
    *logit = weight[trial.width];
    for (int i = 0; i < trial.width; ++i) *logit += layer[i] * weight[i];
    return layer;
  }

  Common common_{.quiet = true};
  Context context_;
  Progress progress_{true};
  Session session_{common_, context_, progress_};
};

ExitCode failure_code(const std::function<void()>& body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure.exit_code;
  }
  return kDone;
}

TEST_F(Difficulty, MarginIsTheDistanceAtWhichTheLabelTurns) {
  Trial t = trial("margin", 400);
  Dataset train = spiral(t);
  // Awkward places: the cusp, the tip, the edge of the domain, points of the boundary.
  for (const auto& [x, y] : std::vector<std::pair<float, float>>{
           {0, 0}, {1e-4F, 0}, {-0.65F, 0.65F}, {1, 1}, {-1, -1}, {0.5F, 0}, {-0.651F, 0.6505F}}) {
    train.points.insert(train.points.end(), {x, y});
    train.labels.push_back(Spiral{}.inside(x, y) ? 1 : 0);
  }
  t.n = train.size();
  const std::vector<float> got = scores(t, train);
  const Spiral truth;
  ASSERT_EQ(got.size(), train.labels.size());
  for (std::int64_t i = 0; i < train.size(); ++i) {
    const double x = train.points[2 * i], y = train.points[2 * i + 1], distance = -static_cast<double>(got[i]);
    ASSERT_GE(distance, 0);
    constexpr int kDirections = 3000;
    for (int a = 0; a < kDirections; ++a) {
      const double angle = 2 * kPi * a / kDirections;
      for (const double part : {0.3, 0.7, 1.0}) {
        const double within = part * distance - 2e-7;
        if (within <= 0) continue;
        ASSERT_EQ(truth.inside(x + within * std::cos(angle), y + within * std::sin(angle)), train.labels[i] == 1)
            << "a point nearer than the margin of point " << i << ", " << x << " " << y;
      }
    }
    if (std::hypot(x, y) < 1e-3) {  // the cusp, thinner than any search: both edges begin at the origin
      EXPECT_LE(distance, std::hypot(x, y));
      continue;
    }
    // The tip is thin too: a few points see nothing else of the other label just beyond their margin.
    bool turned = false;
    for (const int directions : {3000, 200000}) {
      for (int a = 0; a < directions && !turned; ++a) {
        const double angle = 2 * kPi * a / directions, beyond = 1.02 * distance + 3e-6;
        turned = truth.inside(x + beyond * std::cos(angle), y + beyond * std::sin(angle)) != (train.labels[i] == 1);
      }
    }
    EXPECT_TRUE(turned) << "no other label just beyond the margin of point " << i << ", " << x << " " << y << " "
                        << distance;
  }
}

TEST_F(Difficulty, MarginOfThePerceptronIsTheProbes) {
  Trial t = trial("margin", 200);
  t.data = "perceptron";
  t.dimension = 5;
  t.probe_angle = 30;
  Dataset train;
  train.features = 5;
  train.points = test::uniform_floats(1000, 3);
  for (int i = 0; i < 200; ++i) train.labels.push_back(train.points[5 * i] > 0 ? 1 : 0);
  const std::vector<float> got = scores(t, train);
  for (int i = 0; i < 200; ++i) {
    const double z = std::sqrt(0.75) * train.points[5 * i] + 0.5 * train.points[5 * i + 1];
    EXPECT_NEAR(got[i], -std::abs(z), 1e-7);
  }
  train.labels[3] ^= 1;  // labels of another teacher
  EXPECT_THROW(scores(t, train), std::logic_error);
}

TEST_F(Difficulty, BoundaryIsTheRankOfTheFirstRowThatDisagrees) {
  Trial t = trial("boundary", 500);
  t.noise = 0.02;
  Dataset train = spiral(t);
  for (int i = 0; i < 20; ++i) {  // rows that coincide, more of them than neighbours are looked at
    train.points.insert(train.points.end(), {0.25F, 0.25F});
    train.labels.push_back(i == 17 ? 1 : 0);
  }
  const std::vector<float> got = scores(t, train);
  const auto n = static_cast<int>(train.size());
  int ranked = 0, far = 0;
  for (int i = 0; i < n; ++i) {
    std::vector<std::pair<float, int>> others;
    for (int j = 0; j < n; ++j) {
      const float tx = train.points[2 * i] - train.points[2 * j],
                  ty = train.points[2 * i + 1] - train.points[2 * j + 1];
      if (j != i) others.emplace_back(std::fma(ty, ty, std::fma(tx, tx, 0.0F)), j);
    }
    std::sort(others.begin(), others.end());
    int first = 0;
    while (train.labels[others[first].second] == train.labels[i]) ++first;
    const float want = first < 8 ? static_cast<float>(8 - first) : -std::sqrt(others[first].first);
    EXPECT_EQ(got[i], want) << "row " << i;
    (first < 8 ? ranked : far) += 1;
  }
  EXPECT_GT(ranked, 100);
  EXPECT_GT(far, 100);
  train.labels.assign(train.labels.size(), 1);
  for (const float value : scores(t, train)) EXPECT_EQ(value, -std::numeric_limits<float>::max());
}

TEST_F(Difficulty, KmeansIsTheDistanceToTheNearestCentroid) {
  Trial t = trial("kmeans", 300);
  t.clusters = 7;
  const Dataset train = spiral(t);
  const Prototypes found = euclidean_prototypes(train.points, 2, 7, t.seed, session_);
  EXPECT_TRUE(found.converged);
  const std::vector<float> got = scores(t, train);
  std::vector<double> sums(14);
  std::vector<int> counts(7);
  for (int i = 0; i < 300; ++i) {
    double nearest = 1e9;
    for (int c = 0; c < 7; ++c) {
      nearest =
          std::min(nearest, std::hypot(train.points[2 * i] - static_cast<double>(found.centroids[2 * c]),
                                       train.points[2 * i + 1] - static_cast<double>(found.centroids[2 * c + 1])));
    }
    EXPECT_NEAR(got[i], nearest, 1e-6);
    ++counts[found.labels[i]];
    for (int f = 0; f < 2; ++f) sums[2 * found.labels[i] + f] += train.points[2 * i + f];
  }
  for (int c = 0; c < 14; ++c) EXPECT_NEAR(found.centroids[c], sums[c] / counts[c / 2], 0.02) << "centroid " << c / 2;
  t.clusters = 0;
  EXPECT_EQ(failure_code([&] { scores(t, train); }), kMisuse);
  t.clusters = 301;
  EXPECT_EQ(failure_code([&] { scores(t, train); }), kMisuse);
}

TEST_F(Difficulty, KmeansCosineHasUnitCentroidsThatAreTheDirectionsOfTheirMeans) {
  Trial t = trial("kmeans-cosine", 400);
  t.clusters = 5;
  Dataset train;
  train.features = 3;
  train.points = test::uniform_floats(1200, 8);
  for (int i = 0; i < 400; ++i) train.labels.push_back(static_cast<std::uint8_t>(i % 2));
  for (int f = 0; f < 3; ++f) train.points[f] = 0;  // a row without a direction
  const std::vector<float> unit = unit_rows(train.points, 3);
  const Prototypes found = cosine_prototypes(unit, 3, 5, t.seed, session_);
  EXPECT_TRUE(found.converged);
  const std::vector<float> got = scores(t, train);
  std::vector<double> sums(15);
  for (int i = 1; i < 400; ++i) {
    const float* row = train.points.data() + 3 * i;
    const double length = std::sqrt(1.0 * row[0] * row[0] + 1.0 * row[1] * row[1] + 1.0 * row[2] * row[2]);
    double largest = -2;
    for (int c = 0; c < 5; ++c) {
      const float* centroid = found.centroids.data() + 3 * c;
      const double norm = std::sqrt(1.0 * centroid[0] * centroid[0] + 1.0 * centroid[1] * centroid[1] +
                                    1.0 * centroid[2] * centroid[2]);
      EXPECT_NEAR(norm, 1, 1e-6);
      double cosine = 0;
      for (int f = 0; f < 3; ++f) cosine += row[f] / length * centroid[f];
      largest = std::max(largest, cosine);
    }
    EXPECT_NEAR(got[i], 1 - largest, 1e-6) << "row " << i;
    for (int f = 0; f < 3; ++f) sums[3 * found.labels[i] + f] += row[f] / length;
  }
  for (int c = 0; c < 5; ++c) {
    double cosine = 0, length = 0;
    for (int f = 0; f < 3; ++f) {
      cosine += sums[3 * c + f] * found.centroids[3 * c + f];
      length += sums[3 * c + f] * sums[3 * c + f];
    }
    EXPECT_GT(cosine / std::sqrt(length), 0.999) << "centroid " << c;
  }
}

TEST_F(Difficulty, ClassMeanAndHiddenFeatures) {
  Trial t = trial("class-mean", 150);
  const Dataset train = spiral(t);
  for (const std::string features : {"input", "hidden"}) {
    t.features = features;
    const std::vector<float> got = scores(t, train);
    const std::vector<float> parameters = network(t, train, 0, t.epochs);
    std::vector<std::vector<double>> rows;
    for (int i = 0; i < 150; ++i) {
      double logit = 0;
      const float* point = train.points.data() + 2 * i;
      rows.push_back(features == "input" ? std::vector<double>{point[0], point[1]}
                                         : last_hidden(t, parameters, point, &logit));
    }
    for (int i = 0; i < 150; ++i) {
      std::vector<double> mean(rows[0].size());
      int count = 0;
      for (int j = 0; j < 150; ++j) {
        if (train.labels[j] != train.labels[i]) continue;
        ++count;
        for (std::size_t f = 0; f < mean.size(); ++f) mean[f] += rows[j][f];
      }
      double squares = 0;
      for (std::size_t f = 0; f < mean.size(); ++f) squares += std::pow(rows[i][f] - mean[f] / count, 2);
      EXPECT_NEAR(got[i], std::sqrt(squares), 1e-5) << features << ", row " << i;
    }
  }
  t.features = "output";
  EXPECT_EQ(failure_code([&] { scores(t, train); }), kMisuse);
}

TEST_F(Difficulty, NetworksThatScoreForNeighboursSeeRawInputs) {
  Trial t = trial("el2n", 40), of_network = t;
  t.model = "knn-5";
  of_network.model = "mlp-xy";
  const Dataset train = spiral(t);
  EXPECT_TRUE(test::same_bits(scores(t, train), scores(of_network, train)));
  EXPECT_EQ(difficulty_key(t), difficulty_key(of_network));
}

TEST_F(Difficulty, El2nIsTheMeanErrorOfTenYoungNetworks) {
  Trial t = trial("el2n", 60);
  t.epochs = 25;
  const Dataset train = spiral(t);
  std::vector<double> want(60);
  for (int j = 0; j < 10; ++j) {
    const std::vector<float> parameters = network(t, train, j, 3);
    for (int i = 0; i < 60; ++i) {
      double logit = 0;
      last_hidden(t, parameters, train.points.data() + 2 * i, &logit);
      const double p = 1 / (1 + std::exp(-logit));
      want[i] += std::hypot(p - train.labels[i], p - train.labels[i]) / 10;
    }
  }
  const std::vector<float> got = scores(t, train);
  for (int i = 0; i < 60; ++i) EXPECT_NEAR(got[i], want[i], 2e-6) << "row " << i;
  Context one(cpu_backend(), 0, 1);
  Session alone{common_, one, progress_};
  EXPECT_TRUE(test::same_bits(difficulty(t, train, alone), got)) << "one thread against two";
}

TEST_F(Difficulty, El2nOfManyClasses) {
  Trial t = trial("el2n", 90);
  t.model = "mlp-xy";
  Dataset train = spiral(t);
  train.classes = 3;
  for (std::size_t i = 0; i < 90; ++i) train.labels[i] = train.points[2 * i] > 0.3F ? 2 : train.points[2 * i + 1] > 0;
  const std::vector<float> got = scores(t, train);
  for (const float value : got) {
    EXPECT_GT(value, 0);
    EXPECT_LT(value, std::sqrt(2.0));
  }
  // A third of the classes is right by chance: young networks lie between knowing nothing and everything.
  const double mean = std::accumulate(got.begin(), got.end(), 0.0) / 90;
  EXPECT_GT(mean, 0.1);
  EXPECT_LT(mean, std::sqrt(2.0 / 3));
}

TEST_F(Difficulty, ForgettingCountsTheTurnsFromRightToWrong) {
  Trial t = trial("forgetting", 80);
  t.epochs = 12;
  t.noise = 0.2;
  const Dataset train = spiral(t);
  std::vector<int> events(80), never(80);
  for (int j = 0; j < 5; ++j) {
    std::vector<std::vector<bool>> right(80);
    for (int epoch = 1; epoch <= 12; ++epoch) {
      const std::vector<float> parameters = network(t, train, j, epoch);
      for (int i = 0; i < 80; ++i) {
        double logit = 0;
        last_hidden(t, parameters, train.points.data() + 2 * i, &logit);
        right[i].push_back((logit > 0) == (train.labels[i] == 1));
      }
    }
    for (int i = 0; i < 80; ++i) {
      for (int epoch = 1; epoch < 12; ++epoch) events[i] += right[i][epoch - 1] && !right[i][epoch];
      never[i] += std::none_of(right[i].begin(), right[i].end(), [](bool r) { return r; });
    }
  }
  const std::vector<float> got = scores(t, train);
  for (int i = 0; i < 80; ++i) {
    EXPECT_EQ(got[i], static_cast<float>(events[i] + 12 * never[i]) / 5) << "row " << i;
  }
  EXPECT_GT(std::accumulate(events.begin(), events.end(), 0), 20);
  EXPECT_GT(std::accumulate(never.begin(), never.end(), 0), 20);
}

TEST_F(Difficulty, DddFindsLabelsThatOtherRowsContradict) {
  Trial t = trial("ddd", 400);
  t.epochs = 150;
  t.noise = 0.1;
  const Dataset train = spiral(t);
  const std::vector<float> got = scores(t, train);
  std::vector<double> turned, kept;
  for (int i = 0; i < 400; ++i) {
    ASSERT_EQ(got[i], std::rint(got[i]));
    ASSERT_GE(got[i], 0);
    ASSERT_LE(got[i], 5);  // a row is left out of five of the ten networks
    const bool truth = Spiral{}.inside(train.points[2 * i], train.points[2 * i + 1]);
    (truth != (train.labels[i] == 1) ? turned : kept).push_back(got[i]);
  }
  ASSERT_GT(turned.size(), 20U);
  const auto mean = [](const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / v.size(); };
  EXPECT_GT(mean(turned), 3.0);
  EXPECT_LT(mean(kept), 1.5);
}

// Labels drawn at random can be learned by heart and not be told otherwise: networks that saw a row are right about it,
// the others in half the cases.
TEST_F(Difficulty, DddAsksOnlyNetworksThatHaveNotSeenTheRow) {
  Trial t = trial("ddd", 40);
  t.model = "mlp-xy";
  t.width = 64;
  t.epochs = 600;
  Dataset train;
  train.points = test::uniform_floats(80, 21);
  for (int i = 0; i < 40; ++i) train.labels.push_back(test::uniform_int(21, 1000 + i, 0, 1) == 1);
  const std::vector<float> got = scores(t, train);
  EXPECT_NEAR(std::accumulate(got.begin(), got.end(), 0.0) / 40, 2.5, 0.8);
}

TEST_F(Difficulty, KeysAreEqualWhereScoresAre) {
  Trial a = trial("kmeans", 100);
  a.clusters = 4;
  Trial b = a;
  b.keep = "hard";
  b.fraction = 0.3;
  b.order = "anti";
  b.model = "knn-1";
  b.epochs = 3;
  b.probe_angle = a.probe_angle;
  EXPECT_EQ(difficulty_key(a), difficulty_key(b));
  b.features = "hidden";
  EXPECT_NE(difficulty_key(a), difficulty_key(b));
  a.features = "hidden";
  EXPECT_NE(difficulty_key(a), difficulty_key(b)) << "a network's hidden layer depends on the network";
  for (const auto& change : std::vector<std::function<void(Trial&)>>{
           [](Trial& t) { t.n = 99; }, [](Trial& t) { t.seed = 6; }, [](Trial& t) { t.noise = 0.1; },
           [](Trial& t) { t.clusters = 5; }, [](Trial& t) { t.score = "random"; }, [](Trial& t) { t.data = "x.csv"; },
           [](Trial& t) { t.epochs = 2; }, [](Trial& t) { t.width = 4; }}) {
    Trial c = a;
    change(c);
    EXPECT_NE(difficulty_key(a), difficulty_key(c));
  }
}

TEST_F(Difficulty, AScoreThatIsNoneIsNamed) {
  EXPECT_EQ(failure_code([] { score_kind("hardness"); }), kMisuse);
  for (const ScoreKind& kind : score_kinds()) EXPECT_STREQ(score_kind(kind.name).name, kind.name);
}

// Rows kept, by counting for every row how many go before it.
std::vector<int> kept_by_counting(const std::vector<float>& difficulty, const std::vector<int>& labels, int classes,
                                  bool hard, std::int64_t kept, double class_floor) {
  const auto n = static_cast<int>(labels.size());
  const auto before = [&](int a, int b) {
    const float x = hard ? difficulty[a] : -difficulty[a], y = hard ? difficulty[b] : -difficulty[b];
    return x > y || (x == y && a < b);
  };
  const int floor = static_cast<int>(class_floor * static_cast<double>(kept) / classes);
  std::set<int> rows;
  for (int i = 0; i < n; ++i) {
    int rank = 0;
    for (int j = 0; j < n; ++j) rank += labels[j] == labels[i] && before(j, i);
    if (rank < floor) rows.insert(i);
  }
  while (static_cast<std::int64_t>(rows.size()) < kept) {
    int best = -1;
    for (int i = 0; i < n; ++i) {
      if (!rows.contains(i) && (best < 0 || before(i, best))) best = i;
    }
    rows.insert(best);
  }
  return {rows.begin(), rows.end()};
}

TEST(KeepRows, AreThoseOfTheDefinition) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    const auto n = static_cast<int>(test::uniform_int(round, 0, 1, 70));
    const auto classes = static_cast<int>(test::uniform_int(round, 1, 1, 4));
    std::vector<float> difficulty;
    std::vector<int> labels;
    for (int i = 0; i < n; ++i) {
      difficulty.push_back(static_cast<float>(test::uniform_int(round, 100 + i, -3, 3)));  // many ties
      const bool rare = test::uniform_int(round, 300 + i, 0, 9) > 0;
      labels.push_back(rare ? 0 : static_cast<int>(test::uniform_int(round, 200 + i, 0, classes - 1)));
    }
    for (const double fraction : {0.05, 0.3, 0.5, 0.97, 1.0}) {
      for (const double floor : {0.0, 0.5, 1.0}) {
        for (const bool hard : {true, false}) {
          const std::int64_t kept = std::max<std::int64_t>(1, std::llround(fraction * n));
          EXPECT_EQ(keep_rows(difficulty, labels, classes, hard ? "hard" : "easy", fraction, 1, floor),
                    kept_by_counting(difficulty, labels, classes, hard, kept, floor))
              << "round " << round << ", fraction " << fraction << ", floor " << floor << ", hard " << hard;
        }
      }
    }
  }
}

TEST(KeepRows, AtRandomAreNestedAndUniform) {
  const std::vector<float> difficulty(1000);
  const std::vector<std::uint8_t> labels(1000);
  std::vector<int> counts(1000);
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const std::vector<int> few = keep_rows(difficulty, labels, 2, "random", 0.2, seed);
    const std::vector<int> many = keep_rows(difficulty, labels, 2, "random", 0.6, seed);
    ASSERT_EQ(few.size(), 200U);
    ASSERT_EQ(many.size(), 600U);
    ASSERT_TRUE(std::is_sorted(few.begin(), few.end()));
    ASSERT_TRUE(std::includes(many.begin(), many.end(), few.begin(), few.end()));
    for (const int row : few) ++counts[row];
  }
  // Each row is kept 80 times of 400, sd 8; six of them leave one chance in 10^6 that one of 1000 lies outside.
  for (const int count : counts) EXPECT_NEAR(count, 80, 48);
  EXPECT_EQ(keep_rows(difficulty, labels, 2, "random", 0.2, 3), keep_rows({}, labels, 2, "random", 0.2, 3));
}

TEST(KeepRows, RefusesWhatItCannotRank) {
  const std::vector<float> difficulty = {1, std::nanf(""), 2};
  const std::vector<int> labels = {0, 1, 0};
  EXPECT_THROW(keep_rows(difficulty, labels, 2, "hard", 0.5, 0), std::invalid_argument);
  const std::vector<float> good = {1, 3, 2};
  EXPECT_THROW(keep_rows(good, labels, 2, "hardest", 0.5, 0), std::invalid_argument);
  EXPECT_THROW(keep_rows(good, labels, 2, "hard", 0, 0), std::invalid_argument);
  EXPECT_THROW(keep_rows(good, labels, 2, "hard", 1.01, 0), std::invalid_argument);
  EXPECT_THROW(keep_rows(good, labels, 2, "hard", 0.5, 0, 1.5), std::invalid_argument);
  EXPECT_THROW(keep_rows(std::span(good).first(2), labels, 2, "easy", 0.5, 0), std::invalid_argument);
  EXPECT_THROW(keep_rows({}, std::vector<int>{}, 2, "all", 1, 0), std::invalid_argument);
  EXPECT_EQ(keep_rows(good, labels, 2, "all", 0.1, 0), (std::vector<int>{0, 1, 2}));
}

}  // namespace
}  // namespace scalelab::host
