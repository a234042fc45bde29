#include "host/evidence/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "scalelab/random.h"

namespace scalelab::host {

namespace {
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

Summary summarize(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  Summary summary{static_cast<int>(values.size()), kNaN, kNaN, kNaN, {kNaN, kNaN}};
  if (values.empty()) return summary;
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  summary.mean = sum / n;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  if (values.size() < 2) return summary;
  summary.sd = std::sqrt(squares / (n - 1));
  summary.standard_error = summary.sd / std::sqrt(n);
  const double half = student_quantile(0.975, n - 1) * summary.standard_error;
  summary.interval = {summary.mean - half, summary.mean + half};
  return summary;
}

namespace {
// The part of an interval that is possible; NaN stays.
Interval within(const Interval& interval, double least, double most) {
  return {std::max(interval.low, least), std::min(interval.high, most)};
}
}  // namespace

Summary summarize_fractions(std::span<const double> fractions) {
  Summary summary = summarize(fractions);
  summary.interval = within(summary.interval, 0, 1);
  return summary;
}

Interval share_interval(std::int64_t counted, std::int64_t n) {
  constexpr double kZ = 1.959963984540054;  // of a normal deviate's middle 95 %
  if (n == 0) return {kNaN, kNaN};
  const double share = static_cast<double>(counted) / static_cast<double>(n), z2n = kZ * kZ / static_cast<double>(n);
  const double centre = (share + z2n / 2) / (1 + z2n);
  const double half = std::sqrt(share * (1 - share) * z2n + z2n * z2n / 4) / (1 + z2n);
  return {counted == 0 ? 0 : centre - half, counted == n ? 1 : centre + half};
}

GeometricMean geometric_mean(std::span<const double> values) {
  std::vector<double> logarithms;
  for (const double value : values) logarithms.push_back(value > 0 ? std::log(value) : kNaN);
  const Summary summary = summarize(logarithms);
  return {summary.n, std::exp(summary.mean), {std::exp(summary.interval.low), std::exp(summary.interval.high)}};
}

namespace {
// In double precision throughout: Boost's default goes by way of long double, whose range valgrind does not have.
using InDouble = boost::math::policies::policy<boost::math::policies::promote_double<false>>;
using StudentsT = boost::math::students_t_distribution<double, InDouble>;
using Binomial = boost::math::binomial_distribution<double, InDouble>;
}  // namespace

double student_quantile(double p, double freedom) { return boost::math::quantile(StudentsT(freedom), p); }

namespace {
// The chance of a t at or below that of `mean` against `limit`; pairs that are all alike leave no doubt.
double chance_below(const Paired& p, double limit) {
  if (p.n < 2) return kNaN;
  const double apart = p.mean - limit;
  if (p.sd == 0) return apart < 0 ? 0 : apart > 0 ? 1 : 0.5;
  return boost::math::cdf(StudentsT(p.n - 1), apart * std::sqrt(static_cast<double>(p.n)) / p.sd);
}
}  // namespace

double Paired::p_differs() const {
  const double below = chance_below(*this, 0);
  return 2 * std::min(below, 1 - below);
}
double Paired::p_below(double margin) const { return chance_below(*this, margin); }
double Paired::p_above(double margin) const { return 1 - chance_below(*this, margin); }

Paired paired(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) throw std::invalid_argument("paired: lengths differ");
  Paired result;
  std::vector<double> differences;
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences.push_back(a[i] - b[i]);
    result.below += a[i] < b[i];
    result.above += a[i] > b[i];
  }
  const Summary summary = summarize(differences);
  result.n = summary.n;
  result.mean = summary.mean;
  result.sd = summary.sd;
  result.interval = summary.interval;
  // 2 P(at most the smaller count) under a fair coin.
  const Binomial fair(result.below + result.above, 0.5);
  result.sign_p = std::min(1.0, 2 * boost::math::cdf(fair, std::min(result.below, result.above)));
  return result;
}

Paired paired_fractions(std::span<const double> a, std::span<const double> b) {
  Paired result = paired(a, b);
  result.interval = within(result.interval, -1, 1);
  return result;
}

Middle middle_of(std::span<const double> values) {
  const std::size_t n = values.size();
  if (n == 0) return {kNaN, {kNaN, kNaN}};
  std::vector<double> means;  // of all pairs, each value with itself too
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j) means.push_back(0.5 * (values[i] + values[j]));
  }
  std::sort(means.begin(), means.end());
  const std::size_t count = means.size();
  Middle result{0.5 * (means[(count - 1) / 2] + means[count / 2]), {-kInfinity, kInfinity}};
  // Chance that the ranks 1 .. n, each taken or not by a fair coin, sum to s.
  std::vector<double> chance(count + 1, 0);
  chance[0] = 1;
  for (std::size_t rank = 1, most = 0; rank <= n; ++rank) {
    most += rank;
    for (std::size_t s = most + 1; s-- > 0;) chance[s] = 0.5 * (chance[s] + (s >= rank ? chance[s - rank] : 0));
  }
  std::size_t left_out = 0;  // at either end
  for (double sum = chance[0]; sum <= 0.025; sum += chance[left_out]) ++left_out;
  if (left_out > 0) result.interval = {means[left_out - 1], means[count - left_out]};
  return result;
}

Interval bootstrap(int n, std::uint64_t seed, const std::function<double(std::span<const int>)>& statistic,
                   int replicates) {
  if (n < 2) return {kNaN, kNaN};
  std::vector<double> values;
  std::vector<int> drawn(static_cast<std::size_t>(n));
  for (int replicate = 0; replicate < replicates; ++replicate) {
    for (int i = 0; i < n; ++i) {
      const Words words =
          random_words(seed, Stream::bootstrap, static_cast<std::uint64_t>(replicate), static_cast<std::uint32_t>(i));
      drawn[static_cast<std::size_t>(i)] =
          static_cast<int>(uniform_below(static_cast<std::uint64_t>(n), words[0], words[1]));
    }
    values.push_back(statistic(drawn));
  }
  std::sort(values.begin(), values.end());
  // The 2.5 and 97.5 percentiles, the nearest rank outwards, so that no interpolation meets an infinity.
  const auto rank = static_cast<std::size_t>(0.025 * replicates);
  return {values[rank], values[values.size() - 1 - rank]};
}

Interval resampled_interval(std::vector<double> values, double estimate, int n, bool positive) {
  if (values.size() < 2 || n < 2) return {kNaN, kNaN};
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(0.025 * static_cast<double>(values.size()));
  const double units = n;
  const double stretch = student_quantile(0.975, units - 1) / 1.9599639845400545 * std::sqrt(units / (units - 1));
  const auto end = [&](double value) {
    if (positive) return estimate * std::pow(value / estimate, stretch);
    return estimate + stretch * (value - estimate);
  };
  return {end(values[rank]), end(values[values.size() - 1 - rank])};
}

double PowerLaw::at(double x) const { return std::exp(intercept + slope * std::log(x)); }

PowerLaw fit_power_law(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) throw std::invalid_argument("fit_power_law: lengths differ");
  const auto n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    mean_x += std::log(x[i]) / n;
    mean_y += std::log(y[i]) / n;
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = std::log(x[i]) - mean_x;
    xx += dx * dx;
    xy += dx * (std::log(y[i]) - mean_y);
  }
  if (!(xx > 0)) return {kNaN, kNaN};
  return {xy / xx, mean_y - xy / xx * mean_x};
}

double crossing(std::span<const double> x, std::span<const double> y, double value) {
  if (x.size() != y.size() || x.empty()) throw std::invalid_argument("crossing: lengths differ, or no points");
  const auto log_of = [](double v) { return std::log(std::max(v, std::numeric_limits<double>::min())); };
  // Pool adjacent violators: blocks of points with one mean each, strictly falling from block to block.
  struct Block {
    double sum;
    int count;
    double mean() const { return sum / count; }
  };
  std::vector<Block> blocks;
  for (const double v : y) {
    blocks.push_back({log_of(v), 1});
    while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() <= blocks.back().mean()) {
      const Block last = blocks.back();
      blocks.pop_back();
      blocks.back().sum += last.sum;
      blocks.back().count += last.count;
    }
  }
  std::vector<double> level;
  for (const Block& block : blocks) level.insert(level.end(), static_cast<std::size_t>(block.count), block.mean());

  const double target = log_of(value);
  if (target > level.front()) return -kInfinity;
  if (target < level.back()) return kInfinity;
  // The first point at or below the target; on a level stretch the fewest points that reach it.
  std::size_t i = 0;
  while (level[i] > target) ++i;
  if (i == 0) return x[0];
  const double share = (level[i - 1] - target) / (level[i - 1] - level[i]);
  return std::exp(std::log(x[i - 1]) + share * (std::log(x[i]) - std::log(x[i - 1])));
}

}  // namespace scalelab::host
