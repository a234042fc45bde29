// The names of models, and the start of a network.
#include "host/lab/model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "host/program/error.h"

namespace scalelab::host {
namespace {

std::string failure_of(const std::string& name) {
  try {
    parse_model(name);
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit_code, kMisuse);
    return failure.what();
  }
  return "";
}

TEST(Model, NeighboursComeFromTheName) {
  for (const int k : {1, 3, 5, 9, 17, 128}) {
    const Model model = parse_model("knn-" + std::to_string(k));
    EXPECT_TRUE(model.is_knn());
    EXPECT_EQ(model.neighbours, k);
    EXPECT_EQ(model.name, "knn-" + std::to_string(k));
  }
}

TEST(Model, NeighboursOnAnEncodingComeFromTheName) {
  const Model polar = parse_model("knn-5@polar"), weighted = parse_model("knn-1@polar-raw:0.25");
  EXPECT_EQ(polar.neighbours, 5);
  EXPECT_EQ(polar.shape.encoding, Encoding::polar);
  EXPECT_EQ(polar.angle_weight, 1);
  EXPECT_EQ(weighted.shape.encoding, Encoding::polar_raw);
  EXPECT_EQ(weighted.angle_weight, 0.25);
  // One model has one name.
  EXPECT_EQ(polar.name, "knn-5@polar");
  EXPECT_EQ(weighted.name, "knn-1@polar-raw:0.25");
  EXPECT_EQ(parse_model("knn-1@polar:1").name, "knn-1@polar");
  EXPECT_EQ(parse_model("knn-1@polar:2.50e-1").name, "knn-1@polar:0.25");
  EXPECT_EQ(parse_model("knn-3@xy").name, "knn-3");
}

TEST(Model, DistancesAreMeasuredInTheFeaturesOfTheEncoding) {
  const std::vector<float> points = {0.F, 0.5F, -0.6F, -0.8F, 0.F, 0.F};
  const auto near = [](const std::vector<float>& got, const std::vector<double>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 3e-7) << i;  // one rounding of values to 3
  };
  EXPECT_EQ(distance_features(parse_model("knn-1"), points), points);
  const double theta = std::atan2(-0.8, -0.6);
  near(distance_features(parse_model("knn-1@polar"), points), {0, 0.5, 1, theta / M_PI, -1, 0});
  near(distance_features(parse_model("knn-1@polar:0.25"), points), {0, 0.125, 1, theta / M_PI / 4, -1, 0});
  near(distance_features(parse_model("knn-1@polar-raw:2"), points), {0.5, M_PI, 1, 2 * theta, 0, 0});
  near(distance_features(parse_model("knn-1@polar-trig:3"), points), {0, 0, 3, 1, -1.8, -2.4, -1, 3, 0});
}

TEST(Model, NetworksComeFromTheName) {
  const Model plain = parse_model("mlp-polar-trig");
  EXPECT_FALSE(plain.is_knn());
  EXPECT_EQ(plain.shape.encoding, Encoding::polar_trig);
  EXPECT_EQ(plain.shape.width, 64);
  EXPECT_EQ(plain.shape.hidden_layers, 3);
  EXPECT_EQ(plain.shape.outputs, 1);
  EXPECT_FALSE(plain.shape.layer_norm);
  EXPECT_EQ(plain.loss.focal_gamma, 0);
  EXPECT_EQ(plain.weight_decay, 0);
  EXPECT_EQ(plain.optimizer, Optimizer::adam);
  EXPECT_EQ(plain.schedule, Schedule::cosine);
  EXPECT_EQ(plain.batch_size, 64);
  EXPECT_EQ(plain.learning_rate, 3e-3F);
  EXPECT_EQ(parse_model("mlp-xy").shape.encoding, Encoding::none);
  EXPECT_EQ(parse_model("mlp-polar").shape.encoding, Encoding::polar);
  EXPECT_EQ(parse_model("mlp-polar-raw").shape.encoding, Encoding::polar_raw);

  const Model extras = parse_model("mlp-xy+extras");
  EXPECT_TRUE(extras.shape.layer_norm);
  EXPECT_EQ(extras.loss.focal_gamma, 2);
  EXPECT_EQ(extras.weight_decay, 1e-2F);
}

TEST(Model, ExtrasCanBeSwitchedOnAlone) {
  const Model focal = parse_model("mlp-polar+focal");
  EXPECT_EQ(focal.loss.focal_gamma, 2);
  EXPECT_FALSE(focal.shape.layer_norm);
  EXPECT_EQ(focal.weight_decay, 0);
  const Model norm = parse_model("mlp-polar+layer-norm");
  EXPECT_EQ(norm.loss.focal_gamma, 0);
  EXPECT_TRUE(norm.shape.layer_norm);
  EXPECT_EQ(norm.weight_decay, 0);
  const Model decay = parse_model("mlp-polar+weight-decay");
  EXPECT_EQ(decay.loss.focal_gamma, 0);
  EXPECT_FALSE(decay.shape.layer_norm);
  EXPECT_EQ(decay.weight_decay, 1e-2F);
  const Model sgd = parse_model("mlp-polar+sgd");
  EXPECT_EQ(sgd.optimizer, Optimizer::sgd);
  EXPECT_EQ(sgd.schedule, Schedule::constant);
  EXPECT_EQ(sgd.batch_size, 0);
  EXPECT_EQ(sgd.learning_rate, 0.1F);
}

TEST(Model, TheSameModelHasOneName) {
  EXPECT_EQ(parse_model("mlp-xy+weight-decay+focal").name, "mlp-xy+focal+weight-decay");
  EXPECT_EQ(parse_model("mlp-xy+weight-decay+focal+layer-norm").name, "mlp-xy+extras");
  EXPECT_EQ(parse_model("knn-05").name, "knn-5");
  EXPECT_THROW(parse_models("knn-5,mlp-xy,knn-05"), Failure);
  EXPECT_THROW(parse_models("mlp-xy+extras,mlp-xy+focal+layer-norm+weight-decay"), Failure);
  EXPECT_EQ(parse_models("mlp-xy,mlp-xy+focal").size(), 2U);
}

TEST(Model, UnknownNamesListTheValidOnes) {
  for (const std::string name : {"",
                                 "knn",
                                 "knn-",
                                 "knn-0",
                                 "knn-129",
                                 "knn--1",
                                 "knn-5x",
                                 "knn- 5",
                                 "mlp",
                                 "mlp-",
                                 "mlp-cartesian",
                                 "mlp-xy+",
                                 "mlp-xy+dropout",
                                 "knn-1@",
                                 "knn-1@round",
                                 "knn-@polar",
                                 "knn-1@polar:",
                                 "knn-1@polar:0",
                                 "knn-1@polar:-1",
                                 "knn-1@polar:nan",
                                 "knn-1@polar:1x",
                                 "knn-1@xy:2",
                                 "mlp-polar@xy",
                                 "mlp-xy+focal+focal",
                                 "mlp-xy+extras+focal",
                                 "forest",
                                 "MLP-xy"}) {
    const std::string line = failure_of(name);
    ASSERT_FALSE(line.empty()) << "'" << name << "' was taken";
    EXPECT_NE(line.find("'" + name + "'"), std::string::npos) << line;
    for (const std::string valid : {"knn-K", "knn-K@polar", "mlp-xy", "mlp-polar-trig", "+extras", "+layer-norm"}) {
      EXPECT_NE(line.find(valid), std::string::npos) << line;
    }
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

TEST(Model, TheDefaultsAreDistinctAndCanonical) {
  std::string names;
  for (const auto& name : default_models()) {
    EXPECT_EQ(parse_model(name).name, name);
    names += (names.empty() ? "" : ",") + name;
  }
  EXPECT_EQ(parse_models(names).size(), default_models().size());
}

TEST(Model, TheStartIsUniformWithinTheFanIn) {
  MlpShape shape;
  shape.encoding = Encoding::polar_trig;
  shape.layer_norm = true;
  const auto p = initial_parameters(shape, 7);
  ASSERT_EQ(static_cast<std::int64_t>(p.size()), parameter_count(shape));
  std::size_t at = 0;
  const auto check = [&](int outputs, int fan_in, bool norm) {
    const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
    const std::size_t count = static_cast<std::size_t>(outputs) * (fan_in + 1);
    double sum = 0, squares = 0, largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double value = p[at++];
      sum += value;
      squares += value * value;
      largest = std::max(largest, std::abs(value));
    }
    const double n = static_cast<double>(count);
    EXPECT_LE(largest, bound * (1 + 1e-7));
    EXPECT_GE(largest, bound * (1 - 10 / n));                    // missed with probability e^-10
    EXPECT_LE(std::abs(sum / n), 5 * bound / std::sqrt(3 * n));  // mean 0, 5 standard errors
    EXPECT_LE(std::abs(squares / n - bound * bound / 3), 5 * 0.3 * bound * bound / std::sqrt(n));  // variance b^2/3
    if (!norm) return;
    for (int i = 0; i < outputs; ++i) EXPECT_EQ(p[at++], 1.0F);
    for (int i = 0; i < outputs; ++i) EXPECT_EQ(p[at++], 0.0F);
  };
  check(64, 3, true);
  check(64, 64, true);
  check(64, 64, true);
  check(1, 64, false);
  EXPECT_EQ(at, p.size());
}

TEST(Model, TheStartDependsOnTheSeedAndSharesWeightsWithAndWithoutLayerNorm) {
  MlpShape plain, norm;
  norm.layer_norm = true;
  const auto a = initial_parameters(plain, 3), b = initial_parameters(norm, 3);
  EXPECT_EQ(initial_parameters(plain, 3), a);
  EXPECT_NE(initial_parameters(plain, 4), a);
  const std::size_t first = 64 * 3, gap = 2 * 64;
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + first, b.begin()));
  EXPECT_TRUE(std::equal(a.begin() + first, a.begin() + first + 64 * 65, b.begin() + first + gap));
  EXPECT_EQ(a.back(), b.back());
  // Fixed bits: a change of generator or order of draws would change every published figure.
  EXPECT_EQ(a[0], -0x1.4cba14p-6F);
  EXPECT_EQ(a[first], -0x1.5044p-12F);
  EXPECT_EQ(a.back(), -0x1.4ac9e8p-4F);
}

}  // namespace
}  // namespace scalelab::host
