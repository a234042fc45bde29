// frontier.h: the frontier against an exhaustive count, that what is picked from noise does not lie below it, rows that an
// error is worth on curves whose inverse is known, and how often the intervals of both hold the truth.
#include "host/evidence/frontier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "scalelab/random.h"

namespace scalelab::host {
namespace {

// A standard normal number for each unit of a candidate.
double noise(std::uint64_t unit, std::uint64_t candidate, std::uint64_t draw) {
  return normal_pair(random_words(unit << 20 | draw, Stream::points, candidate, 0)).first;
}

TEST(Frontier, EachUnitHasWhatTheOthersChose) {
  // Two candidates with 10 rows, one with 20, of which a is lowest by the mean, but not by what units 1 and 2 say.
  const std::vector<Candidate> candidates = {{10, {{0, 0.1}, {1, 0.4}, {2, 0.4}}},   // mean .3
                                             {10, {{0, 0.5}, {1, 0.3}, {2, 0.3}}},   // mean .367
                                             {20, {{0, 0.2}, {1, 0.2}, {2, 0.2}}}};  // mean .2
  const auto points = frontier(candidates);
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0].kept, 10);
  EXPECT_EQ(points[0].candidate, 0U);
  // Left out unit 0: b has .3 against .4; unit 1 or 2: a has .25 against .4.
  EXPECT_EQ(points[0].errors, (std::map<std::uint64_t, double>{{0, 0.5}, {1, 0.4}, {2, 0.4}}));
  EXPECT_EQ(points[1].candidate, 2U);
  EXPECT_EQ(points[1].errors.at(0), 0.2);
}

TEST(Frontier, FewerRowsMayBeChosenWhereMoreAreAllowed) {
  const std::vector<Candidate> candidates = {
      {10, {{0, 0.1}, {1, 0.1}}}, {20, {{0, 0.3}, {1, 0.3}}}, {40, {{0, 0.1}, {1, 0.1}}}};
  const auto points = frontier(candidates);
  ASSERT_EQ(points.size(), 2U);  // with 10 rows there is one way only
  EXPECT_EQ(points[0].candidate, 0U);
  EXPECT_EQ(points[1].candidate, 0U) << "of equals the one with fewer rows";
}

TEST(Frontier, NothingIsSaidOfFewerThanTwoUnits) {
  EXPECT_TRUE(frontier({}).empty());
  EXPECT_TRUE(frontier(std::vector<Candidate>{{10, {{0, 0.1}}}, {10, {{0, 0.2}}}}).empty());
  EXPECT_TRUE(frontier(std::vector<Candidate>{{10, {{0, 0.1}, {1, 0.1}}}, {10, {{2, 0.2}, {3, 0.2}}}}).empty());
}

// Of 30 candidates that differ by chance alone the lowest mean lies far below the truth; the frontier does not.
TEST(Frontier, ThePickOfManyDoesNotLieTooLow) {
  double mean = 0, lowest = 0;
  constexpr int kDraws = 200, kUnits = 5, kCandidates = 30;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    std::vector<Candidate> candidates(kCandidates, Candidate{10, {}});
    double least = HUGE_VAL;
    for (std::uint64_t c = 0; c < kCandidates; ++c) {
      double sum = 0;
      for (std::uint64_t unit = 0; unit < kUnits; ++unit) sum += candidates[c].errors[unit] = noise(unit, c, draw);
      least = std::min(least, sum / kUnits);
    }
    lowest += least / kDraws;
    const auto points = frontier(candidates);
    for (const auto& [unit, error] : points[0].errors) mean += error / (kUnits * kDraws);
  }
  EXPECT_LT(lowest, -0.8);                                       // E min of 30 means of 5: -2.04 / sqrt(5) = -.91
  EXPECT_NEAR(mean, 0, 4 / std::sqrt(double{kUnits} * kDraws));  // four standard errors, if units were independent
}

// How often the intervals at 95 % that pages show hold the truth, on simulated errors of 5 seeds and of 20. (Of means,
// differences and exponents: seed_errors_test and law_test.)
constexpr std::uint64_t kTimes = 2000;  // a share of 95 % has a standard error of .5 %

void expect_honest(int held, int units) {
  EXPECT_GT(held, 0.93 * kTimes) << units;
  EXPECT_LT(held, 0.97 * kTimes) << units;
}

// Of a frontier's point, one candidate clearly the lowest: the truth is its error.
// (Where two are nearly tied the intervals are somewhat narrow: tests/interval_coverage.py.)
TEST(Coverage, OfAPointOfTheFrontier) {
  constexpr double kErrors[] = {0.05, 0.065, 0.08};
  for (const int units : {5, 20}) {
    std::vector<Summary> points;
    for (std::uint64_t time = 0; time < kTimes; ++time) {
      std::vector<Candidate> candidates;
      for (std::uint64_t c = 0; c < std::size(kErrors); ++c) {
        candidates.push_back({10, {}});
        for (std::uint64_t unit = 0; unit < static_cast<std::uint64_t>(units); ++unit) {
          // What a seed's points do to all candidates, and what each has of its own.
          candidates[c].errors[unit] = kErrors[c] + 0.005 * noise(unit, 99, time) + 0.005 * noise(unit, c, time);
        }
      }
      std::vector<double> values;
      const std::vector<FrontierPoint> found = frontier(candidates);
      for (const auto& [unit, error] : found[0].errors) values.push_back(error);
      points.push_back(summarize(values));
    }
    const auto held = std::count_if(points.begin(), points.end(), [&](const Summary& one) {
      return one.interval.low <= kErrors[0] && kErrors[0] <= one.interval.high;
    });
    expect_honest(static_cast<int>(held), units);
  }
}

// Of the random rows that an error is worth: a curve whose every point scatters by a tenth, as does the error.
TEST(Coverage, OfRowsWorth) {
  for (const int units : {5, 20}) {
    int held = 0;
    for (std::uint64_t time = 0; time < kTimes; ++time) {
      std::map<double, std::map<std::uint64_t, double>> curve;
      std::map<std::uint64_t, double> errors;
      for (std::uint64_t unit = 0; unit < static_cast<std::uint64_t>(units); ++unit) {
        std::uint64_t size = 0;
        for (double rows = 125; rows <= 16000; rows *= 2) {
          curve[rows][unit] = 3 * std::pow(rows, -0.6) * std::exp(0.1 * noise(unit, ++size, time));
        }
        errors[unit] = 3 * std::pow(1500, -0.6) * std::exp(0.1 * noise(unit, 0, time));
      }
      const RowsWorth worth = rows_worth(errors, curve);
      held += worth.interval.low <= 1500 && 1500 <= worth.interval.high;
    }
    expect_honest(held, units);
  }
}

TEST(Frontier, RowsWorthInvertTheCurve) {
  std::map<double, std::map<std::uint64_t, double>> curve;
  for (const double rows : {100.0, 200.0, 400.0, 800.0}) {
    curve[rows] = {{0, 10 / rows}, {1, 20 / rows}};
  }
  const RowsWorth worth = rows_worth({{0, 10 / 300.0}, {1, 20 / 300.0}}, curve);
  EXPECT_EQ(worth.units, 2);
  EXPECT_NEAR(worth.rows, 300, 1e-9);
  EXPECT_NEAR(worth.interval.low, 300, 1e-6);
  EXPECT_EQ(worth.beyond + worth.before, 0);
  const RowsWorth ends = rows_worth({{0, 10 / 1000.0}, {1, 20 / 50.0}, {2, 1}}, curve);
  EXPECT_EQ(ends.units, 2) << "a unit that the curve lacks is left out";
  EXPECT_EQ(ends.beyond, 1);
  EXPECT_EQ(ends.before, 1);
  EXPECT_NEAR(ends.rows, std::sqrt(100.0 * 800), 1e-9);
  EXPECT_GE(ends.interval.low, 100);
  EXPECT_LE(ends.interval.high, 800);
  EXPECT_EQ(rows_worth({{0, 0.1}}, {}).units, 0);
}

TEST(Frontier, RowsWorthAreWordedAsBoundsWhereTheCurveEnds) {
  const auto worth = [](double rows, Interval interval, int beyond, int before) {
    RowsWorth one;
    one.units = 5;
    one.rows = rows;
    one.interval = interval;
    one.first = 250;
    one.last = 256000;
    one.beyond = beyond;
    one.before = before;
    return one;
  };
  const RowsWorth inside = worth(17234, {15001, 19777}, 0, 0);
  EXPECT_EQ(inside.worded(), "17,000");
  EXPECT_EQ(inside.interval_worded(), "15,000 to 20,000");
  const RowsWorth all_beyond = worth(256000, {256000, 256000}, 5, 0), none = worth(250, {250, 250}, 0, 5);
  EXPECT_EQ(all_beyond.worded(), "more than 256,000");
  EXPECT_EQ(all_beyond.interval_worded(), "-");
  EXPECT_EQ(none.worded(), "fewer than 250");
  const RowsWorth some = worth(178999, {121000, 256000}, 2, 0);
  EXPECT_EQ(some.worded(), "more than 170,000") << "a bound is not rounded beyond itself";
  EXPECT_EQ(some.interval_worded(), "120,000 to more than 256,000");
  EXPECT_EQ(worth(255990, {256000, 256000}, 4, 0).interval_worded(), "more than 256,000");
  EXPECT_EQ(worth(255500, {255100, 256000}, 4, 0).interval_worded(), "250,000 to more than 256,000")
      << "ends are rounded outwards";
  EXPECT_EQ(worth(251, {250, 250}, 0, 4).interval_worded(), "fewer than 250");
  EXPECT_EQ(worth(301, {250, 999}, 0, 2).worded(), "fewer than 310");
  EXPECT_EQ(worth(301, {250, 999}, 0, 2).interval_worded(), "fewer than 250 to 1,000");
  EXPECT_EQ(worth(9000, {250, 256000}, 1, 1).worded(), "about 9,000");
  EXPECT_EQ(RowsWorth{}.worded(), "-");
}

}  // namespace
}  // namespace scalelab::host
