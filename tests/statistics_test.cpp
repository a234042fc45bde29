// Statistics against closed forms, tables and hand-made curves.
#include "host/evidence/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "host/evidence/seed_errors.h"

namespace scalelab::host {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kPi = 3.14159265358979323846;

TEST(Statistics, MeanAndSpread) {
  const Summary s = summarize(std::array{2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0});
  EXPECT_EQ(s.n, 8);
  EXPECT_DOUBLE_EQ(s.mean, 5);
  EXPECT_DOUBLE_EQ(s.sd, std::sqrt(32.0 / 7));
  EXPECT_DOUBLE_EQ(s.standard_error, std::sqrt(32.0 / 7 / 8));
  EXPECT_EQ(summarize(std::array{3.0}).mean, 3);
  EXPECT_TRUE(std::isnan(summarize(std::array{3.0}).sd));
  EXPECT_TRUE(std::isnan(summarize({}).mean));
}

TEST(Statistics, SharesHaveWilsonsInterval) {
  // Its ends are the shares p with (count / n - p)^2 = z^2 p (1 - p) / n.
  for (const auto& [count, n] : {std::pair{10, 100}, {1, 7}, {99, 100}, {500, 100000}}) {
    const Interval interval = share_interval(count, n);
    for (const double p : {interval.low, interval.high}) {
      const double away = static_cast<double>(count) / n - p;
      EXPECT_NEAR(away * away, 3.841458820694124 * p * (1 - p) / n, 1e-15) << count << " of " << n;
    }
    EXPECT_LT(interval.low, static_cast<double>(count) / n);
    EXPECT_GT(interval.high, static_cast<double>(count) / n);
  }
  EXPECT_EQ(share_interval(0, 20).low, 0);
  EXPECT_NEAR(share_interval(0, 20).high, 3.841458820694124 / 23.841458820694124, 1e-15);
  EXPECT_EQ(share_interval(20, 20).high, 1);
  EXPECT_TRUE(std::isnan(share_interval(0, 0).low));
}

TEST(Statistics, StudentAgainstClosedForms) {
  // The distribution functions of 1 to 4 degrees, at the quantile that they should give back.
  const auto cdf = [](double t, int freedom) {
    const double u = t / std::sqrt(3.0), v = t * t / (4 + t * t);
    switch (freedom) {
      case 1: return 0.5 + std::atan(t) / kPi;
      case 2: return 0.5 + t / (2 * std::sqrt(2 + t * t));
      case 3: return 0.5 + (u / (1 + u * u) + std::atan(u)) / kPi;
      default: return 0.5 + 0.375 * t / std::sqrt(1 + t * t / 4) * (1 - v / 3);
    }
  };
  for (const int freedom : {1, 2, 3, 4}) {
    for (const double p : {0.01, 0.025, 0.4, 0.75, 0.975}) {
      EXPECT_NEAR(cdf(student_quantile(p, freedom), freedom), p, 1e-13) << freedom << " " << p;
    }
  }
  // Between whole degrees it lies between theirs; with many it is the normal law's.
  EXPECT_LT(student_quantile(0.975, 5), student_quantile(0.975, 4.5));
  EXPECT_LT(student_quantile(0.975, 4.5), student_quantile(0.975, 4));
  EXPECT_NEAR(student_quantile(0.975, 1e7), 1.959964, 1e-6);
}

TEST(Statistics, TheIntervalOfAMean) {
  // Five values of mean 3 and sd sqrt(2.5); Student's 97.5 % point of 4 degrees is 2.776.
  const Summary s = summarize(std::array{1.0, 2.0, 3.0, 4.0, 5.0});
  EXPECT_NEAR(s.interval.low, 3 - 2.776445 * std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(s.interval.high, 3 + 2.776445 * std::sqrt(0.5), 1e-6);
  EXPECT_TRUE(std::isnan(summarize(std::array{3.0}).interval.low));
  // By factors: 1, 2, 4, 8 scatter about sqrt(8) as 0, 1, 2, 3 do about 1.5.
  const GeometricMean g = geometric_mean(std::array{1.0, 2.0, 4.0, 8.0});
  EXPECT_NEAR(g.mean, std::sqrt(8.0), 1e-12);
  const double half = 3.182446 * std::sqrt(5.0 / 3 / 4) * std::log(2.0);
  EXPECT_NEAR(std::log(g.interval.high / g.mean), half, 1e-6);
  EXPECT_NEAR(std::log(g.mean / g.interval.low), half, 1e-6);
  EXPECT_TRUE(std::isnan(geometric_mean(std::array{1.0, -1.0}).mean));
}

TEST(Statistics, AnIntervalOfFractionsEndsWhereFractionsDo) {
  // Student's t would reach from -0.27 to 0.37, and from 0.63 to 1.27.
  const Summary low = summarize_fractions(std::array{0.025, 0.075}),
                high = summarize_fractions(std::array{0.925, 0.975});
  EXPECT_LT(summarize(std::array{0.025, 0.075}).interval.low, 0);
  EXPECT_EQ(low.interval.low, 0);
  EXPECT_NEAR(low.interval.high, 0.05 + 12.7062 * 0.025, 1e-5);
  EXPECT_NEAR(high.interval.low, 0.95 - 12.7062 * 0.025, 1e-5);
  EXPECT_EQ(high.interval.high, 1);
  EXPECT_TRUE(std::isnan(summarize_fractions(std::array{0.5}).interval.low));
  const Paired apart = paired_fractions(std::array{0.0, 0.9}, std::array{0.5, 0.1});
  EXPECT_EQ(apart.interval.low, -1);
  EXPECT_EQ(apart.interval.high, 1);
}

TEST(SeedErrors, IntervalsOfErrorsEndAtZeroAndThoseOfCountsDoNot) {
  SeedErrors error, kept;
  for (const std::uint64_t seed : {0, 1}) {
    SweepRow row;
    row.trial.seed = seed;
    row.measurement.status = "ok";
    row.measurement.values = {{"grid_error", seed == 0 ? 0.025 : 0.075}, {"kept", seed == 0 ? 100.0 : 300.0}};
    error.add(row, "grid_error");
    kept.add(row, "kept");
  }
  EXPECT_EQ(error.summary().interval.low, 0);
  EXPECT_EQ(error.worded(), "5.00 [0.00, 36.8]");
  EXPECT_NEAR(kept.summary().interval.high, 200 + 12.7062 * 100, 0.01);
}

TEST(Statistics, StudentAgainstTheTable) {
  // The 97.5 % column that every table prints.
  const std::array<std::pair<int, double>, 7> table = {
      {{1, 12.7062}, {2, 4.30265}, {4, 2.77645}, {5, 2.57058}, {9, 2.26216}, {10, 2.22814}, {29, 2.04523}}};
  for (const auto& [freedom, t] : table) {
    EXPECT_NEAR(student_quantile(0.975, freedom), t, 1e-4) << freedom;
    EXPECT_NEAR(student_quantile(0.025, freedom), -t, 1e-4) << freedom;
  }
  EXPECT_EQ(student_quantile(0.5, 4), 0);
}

TEST(Statistics, TheMiddleAgainstTheTableOfSignedRanks) {
  // Wilcoxon's table, 5 % two-sided: the largest rank sum that is still significant.
  const std::array<std::pair<int, int>, 9> table = {
      {{6, 0}, {7, 2}, {8, 3}, {9, 5}, {10, 8}, {12, 13}, {15, 25}, {20, 52}, {25, 89}}};
  for (const auto& [n, sum] : table) {
    std::vector<double> values, means;
    for (int i = 0; i < n; ++i) values.push_back(std::pow(1.3, i) - 5);
    for (int i = 0; i < n; ++i) {
      for (int j = i; j < n; ++j)
        means.push_back((values[static_cast<std::size_t>(i)] + values[static_cast<std::size_t>(j)]) / 2);
    }
    std::sort(means.begin(), means.end());
    const Middle middle = middle_of(values);
    EXPECT_EQ(middle.interval.low, means[static_cast<std::size_t>(sum)]) << n;
    EXPECT_EQ(middle.interval.high, means[means.size() - 1 - static_cast<std::size_t>(sum)]) << n;
  }
  // Means of pairs: 1, 1.5, 2, 2, 2.5, 3, 51, 50.5, 51.5, 100, by hand.
  EXPECT_DOUBLE_EQ(middle_of(std::array{1.0, 2.0, 3.0, 100.0}).estimate, (2.5 + 3.0) / 2);
  EXPECT_EQ(middle_of(std::array{1.0, 2.0, 3.0, 4.0, 5.0}).interval.high, kInfinity);
  EXPECT_TRUE(std::isnan(middle_of({}).estimate));
}

TEST(Statistics, PairedDifferences) {
  const std::array a = {0.10, 0.12, 0.11, 0.13, 0.09}, b = {0.15, 0.16, 0.17, 0.16, 0.16};
  const Paired p = paired(a, b);
  EXPECT_EQ(p.n, 5);
  EXPECT_NEAR(p.mean, -0.05, 1e-12);
  const double sd = std::sqrt((0 + 0.0001 + 0.0001 + 0.0004 + 0.0004) / 4);
  EXPECT_NEAR(p.sd, sd, 1e-12);
  EXPECT_NEAR(p.interval.low, -0.05 - 2.776445 * sd / std::sqrt(5.0), 1e-7);
  EXPECT_NEAR(p.interval.high, -0.05 + 2.776445 * sd / std::sqrt(5.0), 1e-7);
  EXPECT_EQ(p.below, 5);
  EXPECT_EQ(p.above, 0);
  EXPECT_DOUBLE_EQ(p.sign_p, 0.0625);
  // |t| = 0.05 / (sd / sqrt(5)) of 4 degrees of freedom, by whose cumulative distribution in closed form
  // 1 - P(|T| <= t) = 1 - s (1 + (1 - s^2) / 2) with s = t / sqrt(4 + t^2).
  const double t = 0.05 / (sd / std::sqrt(5.0)), s = t / std::sqrt(4 + t * t);
  EXPECT_NEAR(p.p_differs(), 1 - s * (1 + (1 - s * s) / 2), 1e-12);
  EXPECT_NEAR(p.p_below(0), p.p_differs() / 2, 1e-12);
  EXPECT_NEAR(p.p_above(0), 1 - p.p_differs() / 2, 1e-12);
  EXPECT_NEAR(p.p_below(-0.05), 0.5, 1e-12);
  // The interval's end is where the one-sided test has 2.5 %.
  EXPECT_NEAR(p.p_below(p.interval.high), 0.025, 1e-9);
  EXPECT_NEAR(p.p_above(p.interval.low), 0.025, 1e-9);
  EXPECT_THROW(paired(std::span(a).first(2), b), std::invalid_argument);
}

TEST(Statistics, PairsThatAreAllAlikeLeaveNoDoubtAndOneLeavesAll) {
  const Paired equal = paired(std::array{1.0, 1.0, 1.0}, std::array{1.0, 1.0, 1.0});
  EXPECT_EQ(equal.p_differs(), 1);
  EXPECT_EQ(equal.p_below(0.1), 0);
  EXPECT_EQ(equal.p_above(-0.1), 0);
  EXPECT_EQ(equal.sign_p, 1);
  EXPECT_EQ(paired(std::array{1.0, 1.0, 1.0}, std::array{1.5, 1.5, 1.5}).p_differs(), 0);
  EXPECT_TRUE(std::isnan(paired(std::array{1.0}, std::array{2.0}).p_differs()));
  EXPECT_TRUE(std::isnan(paired({}, {}).p_below(1)));
}

TEST(Statistics, SignTest) {
  // 1 of 6 the other way: 2 (1 + 6) / 64; a tie is left out; half and half is no evidence at all.
  EXPECT_DOUBLE_EQ(paired(std::array{0., 0., 0., 0., 0., 2., 1.}, std::array{1., 1., 1., 1., 1., 1., 1.}).sign_p,
                   14.0 / 64);
  EXPECT_DOUBLE_EQ(paired(std::array{0., 2.}, std::array{1., 1.}).sign_p, 1);
}

TEST(Statistics, BootstrapOfAMeanHasItsStandardError) {
  std::vector<double> values;
  for (int i = 0; i < 100; ++i) values.push_back(i);
  const auto mean = [&](std::span<const int> drawn) {
    double sum = 0;
    for (const int i : drawn) sum += values[static_cast<std::size_t>(i)];
    return sum / static_cast<double>(drawn.size());
  };
  const Interval interval = bootstrap(100, 1, mean);
  // 49.5 -+ 1.96 sqrt(833.25 / 100); the percentile of 2000 replicates is itself uncertain by about 0.2.
  EXPECT_NEAR(interval.low, 49.5 - 1.96 * 2.887, 0.8);
  EXPECT_NEAR(interval.high, 49.5 + 1.96 * 2.887, 0.8);
  const Interval again = bootstrap(100, 1, mean);
  EXPECT_EQ(again.low, interval.low);
  EXPECT_EQ(again.high, interval.high);
  EXPECT_NE(bootstrap(100, 2, mean).low, interval.low);
  EXPECT_TRUE(std::isnan(bootstrap(1, 1, mean).low));
}

TEST(Statistics, BootstrapDrawsEveryIndexAlike) {
  std::array<std::int64_t, 5> counts{};
  bootstrap(5, 3, [&](std::span<const int> drawn) {
    for (const int i : drawn) ++counts.at(static_cast<std::size_t>(i));
    return 0.0;
  });
  for (const std::int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 2000, 5 * std::sqrt(2000 * 0.8));
}

TEST(Statistics, BootstrapKeepsInfinities) {
  const Interval interval = bootstrap(4, 1, [](std::span<const int> drawn) {
    return drawn[0] == 0 ? kInfinity : 1.0;  // a quarter of the replicates
  });
  EXPECT_EQ(interval.low, 1);
  EXPECT_EQ(interval.high, kInfinity);
}

TEST(Statistics, PowerLawIsRecovered) {
  std::vector<double> x, y;
  for (const double n : {250.0, 500.0, 1000.0, 4000.0, 64000.0}) {
    x.push_back(n);
    y.push_back(3.7 * std::pow(n, -0.5));
  }
  const PowerLaw law = fit_power_law(x, y);
  EXPECT_NEAR(law.slope, -0.5, 1e-12);
  EXPECT_NEAR(law.at(9e4), 3.7 / 300, 1e-12);
  EXPECT_TRUE(std::isnan(fit_power_law(std::array{2.0, 2.0}, std::array{1.0, 3.0}).slope));
}

TEST(Statistics, CrossingInterpolatesInLogLog) {
  const std::array x = {100.0, 1000.0, 10000.0}, y = {0.1, 0.01, 0.001};
  EXPECT_NEAR(crossing(x, y, 0.01), 1000, 1e-9);
  EXPECT_NEAR(crossing(x, y, 0.03), 100 * std::pow(10, std::log10(0.1 / 0.03)), 1e-9);
  EXPECT_NEAR(crossing(x, y, 0.1), 100, 1e-9);
  EXPECT_NEAR(crossing(x, y, 0.001), 10000, 1e-6);
  EXPECT_EQ(crossing(x, y, 0.11), -kInfinity);
  EXPECT_EQ(crossing(x, y, 0.0009), kInfinity);
  EXPECT_EQ(crossing(x, y, 0), kInfinity);
}

TEST(Statistics, CrossingPoolsRises) {
  // log2 values 0, -2, -1, -4: the middle two pool to -1.5.
  const std::array x = {1.0, 2.0, 4.0, 8.0}, y = {1.0, 0.25, 0.5, 0.0625};
  EXPECT_NEAR(crossing(x, y, std::exp2(-1.5)), 2, 1e-12);
  EXPECT_NEAR(crossing(x, y, std::exp2(-0.75)), std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(crossing(x, y, std::exp2(-2.75)), 4 * std::sqrt(2.0), 1e-12);
  // A curve that only rises is level, and only its level is reached.
  EXPECT_EQ(crossing(std::array{1.0, 2.0}, std::array{0.1, 0.2}, 0.1), kInfinity);
  EXPECT_EQ(crossing(std::array{1.0, 2.0}, std::array{0.1, 0.2}, 0.2), -kInfinity);
}

}  // namespace
}  // namespace scalelab::host
