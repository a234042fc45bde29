// seed_errors: what is independent, what may be said of a difference, and how often what is said is false.
#include "host/evidence/seed_errors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "host/evidence/finding.h"
#include "host/evidence/law.h"
#include "host/evidence/statistics.h"

namespace scalelab::host {
namespace {

// Errors of one measure, set by hand.
SeedErrors errors_of(const std::map<Draw, double>& values) {
  SeedErrors errors;
  errors.by_draw = values;
  return errors;
}
SeedErrors over_seeds(std::span<const double> values) {
  SeedErrors errors;
  for (std::size_t i = 0; i < values.size(); ++i) errors.by_draw[{.seed = i}] = values[i];
  return errors;
}
Contrast against_zero(std::span<const double> values) {
  const std::vector<double> none(values.size());
  return contrast("a", over_seeds(values), "b", over_seeds(none), "grid_error");
}

TEST(SeedErrors, StartsAreAveragedThenSeedsAreTheUnits) {
  const SeedErrors errors = errors_of({{{0, 1, 0}, 0.1}, {{0, 1, 1}, 0.3}, {{0, 2, 0}, 0.4}});
  EXPECT_FALSE(errors.over_worlds());
  EXPECT_EQ(errors.by_unit(), (std::map<std::uint64_t, double>{{1, 0.2}, {2, 0.4}}));
  EXPECT_EQ(errors.summary().n, 2);
  EXPECT_DOUBLE_EQ(errors.summary().mean, 0.3);
}

TEST(SeedErrors, OfSeveralWorldsEachCountsOnce) {
  const SeedErrors errors = errors_of({{{0, 1, 0}, 0.1}, {{0, 2, 0}, 0.2}, {{0, 2, 5}, 0.4}, {{7, 1, 0}, 0.6}});
  EXPECT_TRUE(errors.over_worlds());
  EXPECT_EQ(errors.by_unit(), (std::map<std::uint64_t, double>{{0, 0.2}, {7, 0.6}}));
}

// kNN has no starts: it is paired with the mean over a network's starts on the same points; points that one of the two
// has not seen are left out.
TEST(SeedErrors, PairsAreTheSamePoints) {
  const SeedErrors network =
      errors_of({{{0, 1, 0}, 0.1}, {{0, 1, 1}, 0.3}, {{0, 2, 0}, 0.4}, {{0, 3, 0}, 0.9}, {{4, 1, 0}, 0.5}});
  const SeedErrors knn = errors_of({{{0, 1, 0}, 0.1}, {{0, 2, 0}, 0.1}});
  const Paired within = network.minus(knn);
  EXPECT_EQ(within.n, 2);
  EXPECT_DOUBLE_EQ(within.mean, (0.1 + 0.3) / 2);
  const SeedErrors more = errors_of({{{0, 1, 0}, 0.1}, {{0, 2, 0}, 0.1}, {{4, 1, 0}, 0.1}});
  const Paired over = network.minus(more);  // worlds 0 and 4
  EXPECT_EQ(over.n, 2);
  EXPECT_DOUBLE_EQ(over.mean, (0.2 + 0.4) / 2);
}

// Ratios are of the same seeds, whatever stands before them in the list; where one has no ratio the seed has none.
TEST(SeedErrors, RatiosAreOfTheSameUnits) {
  const double never = std::numeric_limits<double>::infinity();
  const SeedErrors own = errors_of({{{0, 1, 0}, 0.2}, {{0, 2, 0}, 0.4}, {{0, 3, 0}, 0.8}, {{0, 4, 0}, 0.3}});
  const SeedErrors other =
      errors_of({{{0, 2, 0}, 0.2}, {{0, 3, 0}, 0.1}, {{0, 4, 0}, 0}, {{0, 5, 0}, 0.7}, {{0, 6, 0}, never}});
  const GeometricMean ratio = own.ratio_to(other);
  EXPECT_EQ(ratio.n, 2);
  EXPECT_NEAR(ratio.mean, std::sqrt(2.0 * 8), 1e-12);
  EXPECT_EQ(errors_of({{{0, 6, 0}, 0.1}}).ratio_to(other).n, 0);
  // Starts are averaged before, and of several worlds each counts once, by the seeds that both have.
  const SeedErrors worlds = errors_of({{{0, 1, 0}, 0.1}, {{0, 1, 1}, 0.3}, {{7, 1, 0}, 0.6}, {{7, 2, 0}, 0.9}});
  const GeometricMean over = worlds.ratio_to(errors_of({{{0, 1, 0}, 0.1}, {{7, 1, 0}, 0.1}}));
  EXPECT_EQ(over.n, 2);
  EXPECT_NEAR(over.mean, std::sqrt(2.0 * 6), 1e-12);
}

// Beside the difference stand both means, each with its own interval, over all units that it has; one unit has none.
TEST(SeedErrors, AContrastHoldsTheMeansOfBothSidesWithTheirIntervals) {
  const std::array values{0.1, 0.3, 0.35};
  const std::array others{0.2, 0.2, 0.5, 0.4};
  const nlohmann::json document = to_json(contrast("a", over_seeds(values), "b", over_seeds(others), "grid_error"));
  const Summary what = summarize_fractions(values), against = summarize_fractions(others);
  EXPECT_EQ(document["mean_what"], what.mean);
  EXPECT_EQ(document["low_what"], what.interval.low);
  EXPECT_EQ(document["high_what"], what.interval.high);
  EXPECT_EQ(document["mean_against"], against.mean);
  EXPECT_EQ(document["low_against"], against.interval.low);
  EXPECT_EQ(document["high_against"], against.interval.high);
  EXPECT_EQ(worded(what), "25.0 [0.00, 57.9]");
  EXPECT_EQ(worded(summarize(std::array{0.25})), "25.0");
  EXPECT_EQ(worded(summarize(std::array{2.0, 2.0}), [](double v) { return std::to_string(static_cast<int>(v)); }),
            "2 [2, 2]");
}

TEST(SeedErrors, AMisfitIsNamedByItsTrainingErrorAlone) {
  SeedErrors errors = over_seeds(std::array{0.01, 0.02, 0.3, 0.02});
  errors.train = {{{0, 0, 0}, 0.001}, {{0, 1, 0}, 0.002}, {{0, 2, 0}, 0.02}, {{0, 3, 0}, 0.0}};
  EXPECT_EQ(errors.misfits(), (std::set<Draw>{{0, 2, 0}}));
  errors.train[{0, 2, 0}] = 0.0114;  // below 1 point and three times the median of 0.0015
  EXPECT_TRUE(errors.misfits().empty());
  errors.train[{0, 2, 0}] = 0.4;
  errors.collapsed.insert({0, 2, 0});
  EXPECT_TRUE(errors.misfits().empty());
  EXPECT_EQ(errors.failed().size(), 1U);
  EXPECT_EQ(errors.without_failed().by_draw.size(), 3U);
}

TEST(Verdicts, HigherLowerTheSameAndUndecided) {
  EXPECT_EQ(against_zero(std::array{0.02, 0.021, 0.019}).verdict(), Verdict::higher);
  EXPECT_EQ(against_zero(std::array{-0.02, -0.021, -0.019}).verdict(), Verdict::lower);
  EXPECT_EQ(against_zero(std::array{0.001, -0.001, 0.0005, -0.0002}).verdict(), Verdict::same);
  EXPECT_EQ(against_zero(std::array{0.02, -0.02, 0.01}).verdict(), Verdict::undecided);
  EXPECT_EQ(against_zero(std::array{0.02, 0.02}).verdict(), Verdict::undecided);  // two units
  // Far from zero on both sides of the margin: shown to differ, whatever its size.
  EXPECT_EQ(against_zero(std::array{0.001, 0.0011, 0.0009}).verdict(), Verdict::higher);
}

// What a verdict owes to networks that failed to train stands among the points, which terminal, JSON and page show.
TEST(Verdicts, WhatFailedNetworksDecideIsAPoint) {
  SeedErrors collapsed = over_seeds(std::array{0.3, 0.3, 0.3, 0.3});
  for (const auto& [draw, error] : collapsed.by_draw) collapsed.collapsed.insert(draw);
  Finding f{.id = "order"};
  f.table = {{"4"}};
  f.contrasts = {contrast("a", collapsed, "b", collapsed, "grid_error", {{"width", 4}})};
  const Verdicts verdicts = settle_by_place(f, [](const Contrast& c) { return c.place.at("width").dump(); });
  EXPECT_EQ(verdicts.same(), std::vector<std::string>{"4"});
  const std::string said = "at 4 (undecided without them)";
  EXPECT_NE(to_text({f}).find(said), std::string::npos) << to_text({f});
  EXPECT_NE(to_json(std::vector{f})[0].at("points").dump().find(said), std::string::npos);
  // Of many places it is said how many.
  Verdicts many;
  for (int i = 0; i < 13; ++i) many.add(std::to_string(i), f.contrasts[0]);
  EXPECT_NE(many.notes().find("at 13 places."), std::string::npos) << many.notes();
}

TEST(Verdicts, NotWorseIsOneSided) {
  Contrast c = against_zero(std::array{-0.05, -0.01, -0.03, -0.09});
  EXPECT_EQ(c.verdict(), Verdict::undecided);
  EXPECT_TRUE(c.not_worse());
  c = against_zero(std::array{0.05, 0.01, 0.03, 0.09});
  EXPECT_FALSE(c.not_worse());
  c.margin = 0.2;
  EXPECT_TRUE(c.not_worse());
}

// p of 0.01, 0.02, 0.03 times 3, 2, 1: Holm names the first two, and by each alone all three were named.
TEST(Verdicts, HolmCorrectsWithinAFamily) {
  const auto with_p = [](double p) {  // of three pairs: t of 2 degrees has 1 - t / sqrt(2 + t^2) beyond
    const double s = 1 - p, t = s * std::sqrt(2 / (1 - s * s));
    return against_zero(std::array{t / std::sqrt(3.0) + 1, t / std::sqrt(3.0), t / std::sqrt(3.0) - 1});
  };
  std::vector<Contrast> family = {with_p(0.03), with_p(0.01), with_p(0.02), with_p(0.5)};
  EXPECT_NEAR(family[0].difference.p_differs(), 0.03, 1e-9);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(family[i].verdict(), Verdict::higher);
  judge(family, {});
  EXPECT_NEAR(family[1].factor_differs, 4, 1e-9);
  EXPECT_NEAR(family[2].factor_differs, 3, 1e-9);
  EXPECT_NEAR(family[0].factor_differs, 2, 1e-9);
  EXPECT_EQ(family[1].verdict(), Verdict::higher);
  EXPECT_EQ(family[2].verdict(), Verdict::undecided);
  EXPECT_EQ(family[0].verdict(), Verdict::undecided);
  EXPECT_EQ(family[0].family, 4);
  // Families of their own are not corrected for each other.
  judge(family, [&](const Contrast& c) { return std::to_string(&c - family.data()); });
  EXPECT_EQ(family[2].verdict(), Verdict::higher);
}

// With as many units as are said to settle it, either verdict follows from any mean.
TEST(Verdicts, TheUnitsThatWouldSettleItDo) {
  const Contrast c = against_zero(std::array{0.02, -0.02, 0.01, 0.0});
  const std::int64_t n = c.units_to_settle();
  ASSERT_GT(n, 4);
  for (const double mean : {0.0, 0.4 * kMargin, 0.6 * kMargin, 3 * kMargin}) {
    Contrast more = c;
    more.difference.n = static_cast<int>(n);
    more.difference.mean = mean;
    EXPECT_NE(more.verdict(), Verdict::undecided) << mean;
    EXPECT_EQ(more.verdict() == Verdict::higher, mean > 0.5 * kMargin) << mean;
  }
  EXPECT_EQ(against_zero(std::array{0.0, 0.0, 0.0}).units_to_settle(), 0);
}

TEST(Verdicts, SourcesOfVarianceAreFoundAgain) {
  std::mt19937_64 words(5);
  std::normal_distribution<double> normal;
  VarianceSources sum{0, 0, 0, 0};
  constexpr int kTimes = 400;
  for (int time = 0; time < kTimes; ++time) {
    SeedErrors errors;
    for (std::uint64_t world = 0; world < 6; ++world) {
      const double of_world = 0.03 * normal(words);
      for (std::uint64_t seed = 0; seed < (world == 0 ? 8U : 2U); ++seed) {  // unlike numbers, as a comparison has
        const double of_seed = 0.02 * normal(words);
        for (std::uint64_t start = 0; start < (world == 0 ? 3U : 1U); ++start) {
          errors.by_draw[{world, seed, start}] = 0.3 + of_world + of_seed + 0.01 * normal(words);
        }
      }
    }
    const VarianceSources found = variance_sources(errors, 1000);
    sum.world += found.world / kTimes;
    sum.data += found.data / kTimes;
    sum.start += found.start / kTimes;
    sum.test += found.test / kTimes;
  }
  // Means of 400; single estimates scatter by about their own size, and cutting at zero lifts a mean a little.
  EXPECT_NEAR(sum.world, 0.0009, 0.00015);
  EXPECT_NEAR(sum.data, 0.0004, 0.00003);
  EXPECT_NEAR(sum.start, 0.0001, 0.00001);
  EXPECT_NEAR(sum.test, 0.3 * 0.7 / 1000, 1e-5);
  const VarianceSources one = variance_sources(over_seeds(std::array{0.1, 0.2, 0.3}), 0);
  EXPECT_TRUE(std::isnan(one.world));
  EXPECT_TRUE(std::isnan(one.start));
  EXPECT_NEAR(one.data, 0.01, 1e-12);
}

// How often an interval at 95 % holds the truth, of 4000: within 93 and 97 % (an honest 95 % has a standard error of
// 0.34 %).
template <class Draw, class Cover>
double coverage(int seeds, Draw&& draw, Cover&& covers) {
  std::mt19937_64 words(static_cast<std::uint64_t>(seeds));
  constexpr int kTimes = 4000;
  int held = 0;
  for (int time = 0; time < kTimes; ++time) {
    std::vector<double> values;
    for (int s = 0; s < seeds; ++s) values.push_back(draw(words));
    held += covers(values);
  }
  return static_cast<double>(held) / kTimes;
}

TEST(Coverage, OfEachKindOfInterval) {
  const auto normal = [](std::mt19937_64& words) { return 0.05 + 0.01 * std::normal_distribution<double>()(words); };
  const auto factor = [](std::mt19937_64& words) {
    return std::exp(8 + 0.4 * std::normal_distribution<double>()(words));
  };
  const auto within = [](const Interval& interval, double truth) {
    return interval.low <= truth && truth <= interval.high;
  };
  for (const int seeds : {5, 20}) {  // of the studies, and of compare
    const double mean = coverage(seeds, normal, [&](const auto& v) { return within(summarize(v).interval, 0.05); });
    const double ratio =
        coverage(seeds, factor, [&](const auto& v) { return within(geometric_mean(v).interval, std::exp(8)); });
    const double difference =
        coverage(seeds, normal, [&](const auto& v) { return within(against_zero(v).difference.interval, 0.05); });
    for (const double held : {mean, ratio, difference}) {
      EXPECT_GT(held, 0.93) << seeds;
      EXPECT_LT(held, 0.97) << seeds;
    }
  }
  const double middle = coverage(20, normal, [&](const auto& v) { return within(middle_of(v).interval, 0.05); });
  EXPECT_GT(middle, 0.93);
  EXPECT_LT(middle, 0.97);
}

// Exponents of laws with errors that scatter by seed and share its luck along n.
TEST(Coverage, OfTheDifferenceOfExponents) {
  constexpr int kTimes = 500;
  for (const int seeds : {5, 20}) {
    std::mt19937_64 words(static_cast<std::uint64_t>(seeds));
    std::normal_distribution<double> normal;
    int held = 0;
    for (int time = 0; time < kTimes; ++time) {
      std::vector<LawPoint> x, y;
      for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(seeds); ++seed) {
        for (const double n : {250.0, 1000.0, 4000.0}) {
          x.push_back({n, seed, 9 * std::pow(n, -0.8) * std::exp(0.1 * normal(words))});
          y.push_back({n, seed, 3 * std::pow(n, -0.5) * std::exp(0.1 * normal(words))});
        }
      }
      const Interval interval = compare_exponents(x, y, static_cast<std::uint64_t>(time)).interval;
      held += interval.low <= 0.3 && 0.3 <= interval.high;
    }
    EXPECT_GT(held, 0.93 * kTimes) << seeds;
    EXPECT_LT(held, 0.97 * kTimes) << seeds;
  }
}

// Of a family in which nothing differs and all is at the margin, a false word is said in at most 5 % and a little.
TEST(Coverage, AFamilyHasAFalseWordAtMostOnceInTwenty) {
  std::mt19937_64 words(9);
  std::normal_distribution<double> normal;
  constexpr int kTimes = 2000, kFamily = 12;
  int differs = 0, same = 0;
  for (int time = 0; time < kTimes; ++time) {
    std::vector<Contrast> none, edge;
    for (int i = 0; i < kFamily; ++i) {
      std::vector<double> zero, margin;
      for (int s = 0; s < 10; ++s) {
        zero.push_back(0.01 * normal(words));
        margin.push_back(kMargin + 0.0005 * normal(words));
      }
      none.push_back(against_zero(zero));
      edge.push_back(against_zero(margin));
    }
    judge(none, {});
    judge(edge, {});
    const auto said = [](const std::vector<Contrast>& family, auto... wrong) {
      return std::any_of(family.begin(), family.end(),
                         [&](const Contrast& c) { return ((c.verdict() == wrong) || ...); });
    };
    differs += said(none, Verdict::lower, Verdict::higher);
    same += std::any_of(edge.begin(), edge.end(), [](const Contrast& c) { return c.not_worse(); });
  }
  EXPECT_LT(differs, 0.065 * kTimes);  // three standard errors
  EXPECT_GT(differs, 0.03 * kTimes);
  EXPECT_LT(same, 0.065 * kTimes);
}

}  // namespace
}  // namespace scalelab::host
