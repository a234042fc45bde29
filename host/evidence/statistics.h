// statistics: what a handful of seeds can carry: means, paired differences, bootstrap intervals, power laws.
//
// Every interval is at 95 %. Nothing here draws a number except `bootstrap`, which draws from Stream::bootstrap.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace scalelab::host {

struct Interval {
  double low, high;
};

struct Summary {
  int n = 0;
  double mean = 0;            // NaN when n = 0
  double sd = 0;              // with n - 1; NaN when n < 2
  double standard_error = 0;  // sd / sqrt(n); NaN when n < 2
  Interval interval{};        // of the mean, Student's t; NaN when n < 2
};
Summary summarize(std::span<const double> values);
// Of fractions, as every error is one: what lies beyond 0 and 1 is no possible mean, and the interval ends there. It
// covers the mean as often as before.
Summary summarize_fractions(std::span<const double> fractions);
// Of a share of n that are each counted or not, independently of the others: Wilson's interval. NaN when n = 0.
Interval share_interval(std::int64_t counted, std::int64_t n);

// Of positive values whose errors are by factors (ratios, data equivalents): the geometric mean with the interval of
// the mean logarithm, taken back. NaN for a value that is not positive, and an infinite value leaves no interval.
struct GeometricMean {
  int n = 0;
  double mean = 0;      // NaN when n = 0
  Interval interval{};  // NaN when n < 2
};
GeometricMean geometric_mean(std::span<const double> values);

// The t with P(T <= t) = p of Student's t with `freedom` > 0 degrees, whole or not; 0 < p < 1.
double student_quantile(double p, double freedom);

// Differences a - b of values that share a seed.
struct Paired {
  int n = 0;
  double mean = 0, sd = 0;
  Interval interval{};       // Student's t; NaN when n < 2
  int below = 0, above = 0;  // pairs with a < b, and with a > b
  double sign_p = 1;         // two-sided sign test, ties left out

  // Student's t tests of the mean difference; NaN when n < 2. The first is below 0.05 where the interval leaves zero
  // out; the others are one-sided.
  double p_differs() const;             // against: it is zero
  double p_below(double margin) const;  // against: it is the margin or more
  double p_above(double margin) const;  // against: it is the margin or less
};
// The spans have one length, or std::invalid_argument. Of fractions the interval ends at -1 and 1, as a difference does.
Paired paired(std::span<const double> a, std::span<const double> b);
Paired paired_fractions(std::span<const double> a, std::span<const double> b);

// The middle of values that scatter symmetrically about it, however heavy their tails: the median of the means of all
// pairs (Hodges and Lehmann), and the interval that Wilcoxon's signed-rank test leaves. That test says nothing of fewer
// than six values: then the interval is (-infinity, +infinity). No values: NaN.
struct Middle {
  double estimate;
  Interval interval;
};
Middle middle_of(std::span<const double> values);

// The percentile interval of `statistic` over resamples of 0 .. n - 1 with replacement: `statistic` is given the n
// indices drawn. Replicate r draws from (seed, Stream::bootstrap, r), so that the interval is the same everywhere.
// Infinite values sort to the ends. n < 2 gives NaN.
Interval bootstrap(int n, std::uint64_t seed, const std::function<double(std::span<const int>)>& statistic,
                   int replicates = 2000);

// The 95 % interval of an estimate from n units, of its values over resamples. Their middle 95 % alone is too narrow for
// few units: its distances from the estimate are stretched by t(n - 1) / 1.96 and sqrt(n / (n - 1)), which for a mean
// gives Student's interval. `positive`: an estimate that cannot fall below zero is stretched in its logarithm. NaN for
// fewer than two units or values.
Interval resampled_interval(std::vector<double> values, double estimate, int n, bool positive = false);

// log y = intercept + slope log x by least squares; needs two different x, else NaN.
struct PowerLaw {
  double slope, intercept;
  double at(double x) const;
};
PowerLaw fit_power_law(std::span<const double> x, std::span<const double> y);

// The x at which a curve that should fall with x takes the value y, by linear interpolation in (log x, log y). Rises
// are noise and are pooled first (the closest curve that never rises, in log y). Outside the curve's values:
// -infinity when y is above all of them (fewer than the first x), +infinity when below (more than the last x).
// x ascending and positive; values that are not positive count as the smallest positive double.
double crossing(std::span<const double> x, std::span<const double> y, double value);

}  // namespace scalelab::host
