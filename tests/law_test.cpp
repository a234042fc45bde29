// law: known curves are found again, odd points do not bend them, the held-out size is predicted before it is seen,
// and what the data cannot tell is called so.
#include "host/evidence/law.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support.h"

namespace scalelab::host {
namespace {

const std::vector<double> kSizes = {250, 500, 1000, 2000, 4000, 8000, 16000, 32000};

double curve_at(LawForm form, double a, double b, double c, double n) {
  return LawCurve{.form = form, .a = a, .b = b, .c = c}.at(n);
}

double noise(std::uint64_t seed, std::uint64_t index) {
  return normal_pair(random_words(seed, Stream::test, index)).first;
}

// Each seed's error is the curve times a log-normal factor.
std::vector<LawPoint> sampled(LawForm form, double a, double b, double c, double scatter, int seeds,
                              std::uint64_t draw = 0, const std::vector<double>& sizes = kSizes) {
  std::vector<LawPoint> points;
  for (int seed = 0; seed < seeds; ++seed) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const double factor = std::exp(scatter * noise(draw, 100 * static_cast<std::uint64_t>(seed) + i));
      points.push_back({sizes[i], static_cast<std::uint64_t>(seed), factor * curve_at(form, a, b, c, sizes[i])});
    }
  }
  return points;
}

TEST(Law, CurvesAreFoundAgain) {
  for (const auto& [form, a, b, c] :
       std::vector<std::tuple<LawForm, double, double, double>>{{LawForm::power, 2.5, 0.5, 0},
                                                                {LawForm::power, 40, 0.93, 0},
                                                                {LawForm::power, 0.01, -0.2, 0},
                                                                {LawForm::floor, 5, 0.7, 0.01},
                                                                {LawForm::floor, 300, 1.3, 0.02},
                                                                {LawForm::floor, 2, 0.4, 0.001},
                                                                {LawForm::exponential, 0.3, 1e-4, 0},
                                                                {LawForm::exponential, 0.3, 1e-6, 0}}) {
    std::vector<double> errors;
    for (const double n : kSizes) errors.push_back(curve_at(form, a, b, c, n));
    const LawCurve found = fit_curve(form, kSizes, errors);
    EXPECT_NEAR(found.a / a, 1, 1e-6) << law_name(form) << " " << b;
    EXPECT_NEAR(found.b / b, 1, 1e-6) << law_name(form) << " " << b;
    if (c > 0) {
      EXPECT_NEAR(found.c / c, 1, 1e-6) << law_name(form) << " " << b;
    }
    EXPECT_LT(found.rms, 1e-8);
  }
}

TEST(Law, SmallResidualsAreFittedBySquares) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < kSizes.size(); ++i)
    errors.push_back(3 * std::pow(kSizes[i], -0.6) * (i % 3 ? 1.02 : 0.97));
  const PowerLaw squares = fit_power_law(kSizes, errors);
  const LawCurve found = fit_curve(LawForm::power, kSizes, errors);
  EXPECT_NEAR(found.b, -squares.slope, 1e-9);
  EXPECT_NEAR(std::log(found.a), squares.intercept, 1e-8);
}

TEST(Law, OneOddSizeDoesNotBendTheCurve) {
  std::vector<double> errors;
  for (const double n : kSizes) errors.push_back(3 * std::pow(n, -0.6));
  errors.back() *= 4;
  EXPECT_GT(std::abs(fit_power_law(kSizes, errors).slope + 0.6), 0.1) << "squares are bent";
  EXPECT_NEAR(fit_curve(LawForm::power, kSizes, errors).b, 0.6, 0.05);
}

// The band of a law that was fitted without the largest size is of the same resamples as what it predicts there.
TEST(Law, TheBandEndsInThePrediction) {
  for (const LawFit& fit : fit_law(sampled(LawForm::power, 2, 0.4, 0, 0.2, 5), 3).fits) {
    ASSERT_EQ(fit.band.size(), 17U);
    EXPECT_EQ(fit.band.front().n, kSizes.front());
    for (std::size_t i = 0; i < fit.band.size(); ++i) {
      const auto& [n, error, interval] = fit.band[i];
      EXPECT_EQ(error, fit.blind.at(n));
      EXPECT_LT(interval.low, error);
      EXPECT_GT(interval.high, error);
      EXPECT_TRUE(i == 0 || n > fit.band[i - 1].n);
    }
    EXPECT_EQ(fit.band.back().n, kSizes.back());
    EXPECT_EQ(fit.band.back().error, fit.predicted);
    EXPECT_EQ(fit.band.back().interval.low, fit.predicted_interval.low);
    EXPECT_EQ(fit.band.back().interval.high, fit.predicted_interval.high);
  }
}

// No point of a fine grid over exponent and floor is better than the curve found, the level being set for each.
TEST(Law, TheFloorIsTheBestThereIs) {
  for (std::uint64_t round = 0; round < 12; ++round) {
    const auto points = sampled(LawForm::floor, 4, 0.5 + 0.05 * static_cast<double>(round), 0.01, 0.15, 1, 50 + round);
    std::vector<double> errors;
    for (const LawPoint& point : points) errors.push_back(point.error);
    const LawCurve found = fit_curve(LawForm::floor, kSizes, errors);
    for (double b = 0.05; b < 3; b *= 1.05) {
      for (double c = 1e-5; c < 0.2; c *= 1.1) {
        for (double level = -0.3; level <= 0.3; level += 0.02) {
          double loss = 0;
          const double a = found.a * std::pow(1000, b - found.b) * std::exp(level);
          for (std::size_t i = 0; i < kSizes.size(); ++i) {
            const double r = std::abs(std::log(curve_at(LawForm::floor, a, b, c, kSizes[i]) / errors[i]));
            loss += r <= 0.1 ? 0.5 * r * r : 0.1 * (r - 0.05);
          }
          ASSERT_GE(loss, found.loss - 1e-9) << "round " << round << ": b " << b << ", c " << c;
        }
      }
    }
  }
}

TEST(Law, WhatCannotBeFittedIsRefused) {
  const std::vector<double> n = {10, 10, 20}, error = {0.1, 0.1, 0.2}, zero = {0.1, 0, 0.2};
  EXPECT_THROW(fit_curve(LawForm::floor, n, error), std::invalid_argument);
  EXPECT_THROW(fit_curve(LawForm::power, n, zero), std::invalid_argument);
  EXPECT_THROW(fit_curve(LawForm::power, std::span(n).first(2), error), std::invalid_argument);
  EXPECT_THROW(fit_curve(LawForm::power, std::span(n).first(2), std::span(error).first(2)), std::invalid_argument);
  const std::vector<LawPoint> negative = {{10, 0, -0.1}};
  EXPECT_THROW(fit_law(negative, 0), std::invalid_argument);
}

TEST(Law, TheFormIsToldApart) {
  const Law power = fit_law(sampled(LawForm::power, 3, 0.6, 0, 0.03, 10), 1);
  EXPECT_EQ(power.verdict, "power") << power.why;
  const Law floor = fit_law(sampled(LawForm::floor, 40, 1, 0.01, 0.03, 10, 1), 1);
  EXPECT_EQ(floor.verdict, "power with floor") << floor.why;
  const Law exponential = fit_law(sampled(LawForm::exponential, 0.3, 1e-4, 0, 0.03, 10, 2), 1);
  EXPECT_EQ(exponential.verdict, "exponential") << exponential.why;
  ASSERT_EQ(power.fits.size(), 3U);
  EXPECT_NEAR(power.fits[0].curve.b, 0.6, 0.02);
  EXPECT_LT(power.fits[0].b.low, 0.6);
  EXPECT_GT(power.fits[0].b.high, 0.6);
  EXPECT_TRUE(power.fits[2].beaten);
  EXPECT_LT(floor.fits[1].c.low, 0.01);
  EXPECT_GT(floor.fits[1].c.high, 0.01);
}

TEST(Law, WhatTheDataCannotTellIsCalledSo) {
  EXPECT_EQ(fit_law(sampled(LawForm::power, 3, 0.6, 0, 0.03, 2), 1).verdict, "undecided") << "two seeds";
  EXPECT_EQ(fit_law(sampled(LawForm::power, 3, 0.6, 0, 0.03, 10, 0, {250, 500, 1000}), 1).verdict, "undecided");
  const Law noisy = fit_law(sampled(LawForm::power, 3, 0.6, 0, 1.0, 5), 1);
  EXPECT_EQ(noisy.verdict, "undecided") << noisy.why;
  const Law narrow = fit_law(sampled(LawForm::power, 3, 0.6, 0, 0.1, 5, 0, {1000, 1100, 1200, 1300, 1400}), 1);
  EXPECT_EQ(narrow.verdict, "undecided") << narrow.why;
  // A curve that rises at its end is none of the forms.
  auto rising = sampled(LawForm::power, 3, 0.6, 0, 0.02, 10);
  for (LawPoint& point : rising) point.error *= point.n == 32000 ? 5 : 1;
  EXPECT_EQ(fit_law(rising, 1).verdict, "no form");
  // A network that never learns has an error, but no law.
  const Law flat = fit_law(sampled(LawForm::power, 0.3, 0, 0, 0.03, 10), 1);
  EXPECT_EQ(flat.verdict, "flat") << flat.why;
  EXPECT_EQ(worded(flat).find("^--"), std::string::npos) << worded(flat);
}

// Two seeds level off at .01; the third falls ever faster, and only its last size says otherwise. Resamples of the
// third alone have no floor, and none of them is predicted by a power law.
TEST(Law, AFloorThatMayBeZeroIsNoVerdict) {
  auto points = sampled(LawForm::floor, 40, 1, 0.01, 0.01, 3);
  for (LawPoint& point : points) {
    const double steps = std::log2(point.n / 250);
    if (point.seed == 2)
      point.error =
          0.17 * std::exp2(-0.3 * steps - 0.06 * steps * std::min(steps, 6.0) + (point.n == 32000 ? 0.9 : 0.0));
  }
  const Law law = fit_law(points, 1);
  EXPECT_EQ(law.verdict, "undecided") << law.why;
  EXPECT_NE(law.why.find("the floor's interval reaches zero"), std::string::npos) << law.why;
  EXPECT_GT(law.fits[1].curve.c, 0);
}

TEST(Law, TheLargestSizeIsPredictedWithoutBeingSeen) {
  auto points = sampled(LawForm::power, 3, 0.6, 0, 0.03, 6);
  const Law before = fit_law(points, 1);
  for (LawPoint& point : points) point.error *= point.n == 32000 ? 7 : 1;
  const Law after = fit_law(points, 1);
  for (std::size_t f = 0; f < 3; ++f) {
    EXPECT_EQ(before.fits[f].predicted, after.fits[f].predicted);
    EXPECT_NE(before.fits[f].curve.a, after.fits[f].curve.a) << "and the full fit sees it";
    EXPECT_NEAR(after.fits[f].miss, before.fits[f].miss - std::log(7), 1e-9);
  }
}

TEST(Law, IntervalsHoldTheTruthAboutAsOftenAsTheySay) {
  int held = 0;
  constexpr int kDraws = 60;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    const Law law = fit_law(sampled(LawForm::power, 3, 0.6, 0, 0.1, 12, 500 + draw, {250, 1000, 4000, 16000}), draw);
    ASSERT_EQ(law.fits.size(), 2U) << "four sizes: no floor";
    held += law.fits[0].b.low <= 0.6 && 0.6 <= law.fits[0].b.high;
  }
  // The percentile interval of twelve seeds holds the truth in some 92 %: 55 of 60, sd 2.1. 46 is four of them below.
  EXPECT_GE(held, 46);
  EXPECT_LT(held, kDraws) << "and not always";
}

TEST(Law, TheWordsHoldTheNumbersOfTheFit) {
  for (const LawForm form : {LawForm::power, LawForm::floor, LawForm::exponential}) {
    const bool exponential = form == LawForm::exponential;
    const Law law = fit_law(
        sampled(form, exponential ? 0.3 : 5, exponential ? 1e-4 : 0.7, form == LawForm::floor ? 0.01 : 0, 0.05, 8), 1);
    const auto fit = std::find_if(law.fits.begin(), law.fits.end(),
                                  [&](const LawFit& one) { return law_name(one.curve.form) == law.verdict; });
    ASSERT_NE(fit, law.fits.end()) << law.verdict;
    const std::string text = worded(law);
    const auto holds = [&](const std::string& words) {
      EXPECT_NE(text.find(words), std::string::npos) << text << " lacks " << words;
    };
    holds(fmt::format(" predicted {:.3g} % [{:.3g}, {:.3g}], measured {:.3g} %", 100 * fit->predicted,
                      100 * fit->predicted_interval.low, 100 * fit->predicted_interval.high, 100 * law.means.back()));
    if (exponential) {
      holds(fmt::format("falls by e every {:.3g};", 1 / fit->curve.b));
      continue;
    }
    holds(fmt::format("n^{:.3f} [{:.3f}, {:.3f}]", -fit->curve.b, -fit->b.high, -fit->b.low));
    if (form == LawForm::power) continue;
    holds(fmt::format(" above {:.2g} % [{:.2g}, {:.2g}]", 100 * fit->curve.c, 100 * fit->c.low, 100 * fit->c.high));
  }
}

TEST(Law, SizesWithoutErrorAreSetApart) {
  auto points = sampled(LawForm::power, 3, 0.6, 0, 0.03, 5);
  for (LawPoint& point : points) point.error = point.n == 16000 ? 0 : point.error;
  const Law law = fit_law(points, 1);
  EXPECT_EQ(law.unusable, std::vector<double>{16000});
  EXPECT_EQ(law.sizes.size(), 7U);
  EXPECT_NEAR(law.fits[0].curve.b, 0.6, 0.03);
  const auto document = to_json(law);
  EXPECT_EQ(document["sizes_without_error"][0], 16000);
  EXPECT_EQ(document["fits"][1]["form"], "power with floor");
  EXPECT_NE(worded(law).find("predicted"), std::string::npos);
}

TEST(Law, ExponentsAreComparedOverSharedSeeds) {
  const auto x = sampled(LawForm::power, 20, 0.9, 0, 0.05, 8, 1), y = sampled(LawForm::power, 3, 0.5, 0, 0.05, 8, 2);
  const ExponentDifference apart = compare_exponents(x, y, 3);
  EXPECT_NEAR(apart.x, 0.9, 0.03);
  EXPECT_NEAR(apart.y, 0.5, 0.03);
  EXPECT_EQ(apart.difference, apart.x - apart.y);
  EXPECT_EQ(apart.seeds, 8);
  EXPECT_GT(apart.interval.low, 0.3);
  EXPECT_LT(apart.interval.high, 0.5);
  EXPECT_LT(apart.interval.low, apart.difference);
  // A factor that a seed brings to every size moves no exponent.
  auto shifted = y;
  for (LawPoint& point : shifted) point.error *= 1.0 + static_cast<double>(point.seed);
  const ExponentDifference same = compare_exponents(shifted, shifted, 3);
  EXPECT_EQ(same.difference, 0);
  EXPECT_EQ(same.interval.low, 0);
  EXPECT_EQ(same.interval.high, 0);
  EXPECT_TRUE(std::isnan(compare_exponents(std::span(x).first(1), y, 3).difference));
}

TEST(Law, ExponentsDifferWhereTheIntervalLeavesZeroOutAndSeedsAreEnough) {
  const auto verdict = [](double low, double high, int seeds) {
    return std::string(
        ExponentDifference{.difference = (low + high) / 2, .interval = {low, high}, .seeds = seeds}.verdict());
  };
  EXPECT_EQ(verdict(0.1, 0.3, 3), "steeper");
  EXPECT_EQ(verdict(-0.3, -0.1, 3), "shallower");
  EXPECT_EQ(verdict(-0.1, 0.3, 9), "undecided");
  EXPECT_EQ(verdict(0.1, 0.3, 2), "undecided");
  EXPECT_EQ(verdict(std::nan(""), std::nan(""), 3), "undecided");
}

TEST(Law, TheSameSeriesGiveTheSameNumbers) {
  const auto points = sampled(LawForm::floor, 4, 0.8, 0.01, 0.1, 6);
  const std::vector<LawPoint> reversed(points.rbegin(), points.rend());
  EXPECT_EQ(to_json(fit_law(points, 2)).dump(), to_json(fit_law(reversed, 2)).dump());
  EXPECT_NE(to_json(fit_law(points, 2)).dump(), to_json(fit_law(points, 3)).dump());
}

TEST(Law, WordsNameWhatTheSizesAre) {
  const Law law = fit_law(sampled(LawForm::power, 4, 0.5, 0, 0.02, 6), 2);
  EXPECT_NE(worded(law).find("power: n^-0."), std::string::npos) << worded(law);
  EXPECT_NE(worded(law, "kept").find("power: kept^-0."), std::string::npos);
  EXPECT_NE(worded(law, "kept").find("; at kept = "), std::string::npos) << worded(law, "kept");
}

}  // namespace
}  // namespace scalelab::host
