#include "host/evidence/law.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Each fits its curves anew, which takes longer than a mean: half as many as bootstrap takes otherwise. An end of the
// middle 95 % then has 25 of them beyond it.
constexpr int kReplicates = 1000;
// Of two seeds nothing is known of their spread; a form has up to three parameters, and the largest size is held out.
constexpr int kFewestSeeds = 3, kFewestSizes = 4;
// A miss of the held-out point that many seeds make certain may still be too small to matter: up to a tenth.
constexpr double kWorthNaming = 0.1;
constexpr LawForm kForms[] = {LawForm::power, LawForm::floor, LawForm::exponential};

// Parameters as they are fitted, so that no step can leave the form: with x = log n - middle,
//   power        log y = p0 - p1 x
//   floor        log y = log(e^(p0 - e^p1 x) + e^p2)
//   exponential  log y = p0 - p1 n / largest
using Parameters = std::array<double, 3>;

struct Problem {
  Problem(LawForm f, std::span<const double> n, std::span<const double> error) : form(f) {
    for (const double size : n) middle += std::log(size) / static_cast<double>(n.size());
    largest = *std::max_element(n.begin(), n.end());
    for (std::size_t i = 0; i < n.size(); ++i) {
      x.push_back(form == LawForm::exponential ? n[i] / largest : std::log(n[i]) - middle);
      y.push_back(std::log(error[i]));
    }
  }

  // log y at x[i], and its derivatives.
  double value(const Parameters& p, std::size_t i, Parameters* slope) const {
    if (form != LawForm::floor) {
      if (slope != nullptr) *slope = {1, -x[i], 0};
      return p[0] - p[1] * x[i];
    }
    const double b = std::exp(p[1]), falling = p[0] - b * x[i], top = std::max(falling, p[2]);
    const double u = std::exp(falling - top), v = std::exp(p[2] - top), sum = u + v;
    if (slope != nullptr) *slope = {u / sum, -b * x[i] * u / sum, v / sum};
    return top + std::log(sum);
  }

  double loss(const Parameters& p) const {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double r = std::abs(value(p, i, nullptr) - y[i]);
      sum += r <= kHuber ? 0.5 * r * r : kHuber * (r - 0.5 * kHuber);
    }
    return sum;
  }

  LawCurve curve(const Parameters& p) const {
    LawCurve result{.form = form, .loss = loss(p)};
    double squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) squares += std::pow(value(p, i, nullptr) - y[i], 2);
    result.rms = std::sqrt(squares / static_cast<double>(x.size()));
    if (form == LawForm::exponential) {
      result.a = std::exp(p[0]);
      result.b = p[1] / largest;
    } else {
      result.b = form == LawForm::power ? p[1] : std::exp(p[1]);
      result.a = std::exp(p[0] + result.b * middle);
      if (form == LawForm::floor) result.c = std::exp(p[2]);
    }
    return result;
  }

  Parameters parameters(const LawCurve& curve) const {
    if (form == LawForm::exponential) return {std::log(curve.a), curve.b * largest, 0};
    const double p0 = std::log(curve.a) - curve.b * middle;
    if (form == LawForm::power) return {p0, curve.b, 0};
    return {p0, std::log(curve.b), std::log(curve.c)};
  }

  // A grid over the exponent and the floor; the level is set by the first point.
  std::vector<Parameters> starts() const {
    if (form != LawForm::floor) return {{y[0], 0.5, 0}};  // the loss is convex: any start will do
    std::vector<Parameters> grid;
    const double smallest = *std::min_element(y.begin(), y.end());
    for (const double b : {0.25, 0.5, 1.0, 2.0}) {
      for (const double share : {0.95, 0.5, 0.1, 0.01}) {
        const double floor = smallest + std::log(share);
        const double above = std::max(std::exp(y[0]) - std::exp(floor), 0.05 * std::exp(y[0]));
        grid.push_back({std::log(above) + b * x[0], std::log(b), floor});
      }
    }
    return grid;
  }

  LawForm form;
  double middle = 0, largest = 0;
  std::vector<double> x, y;
};

// a s = b for a symmetric positive definite a of the first `size` rows, by Cholesky; false where it is not.
bool solve(std::array<Parameters, 3> a, Parameters b, int size, Parameters& s) {
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = a[i][j];
      for (int l = 0; l < j; ++l) sum -= a[i][l] * a[j][l];
      if (i == j && !(sum > 0)) return false;
      a[i][j] = i == j ? std::sqrt(sum) : sum / a[j][j];
    }
    for (int l = 0; l < i; ++l) b[i] -= a[i][l] * b[l];
    b[i] /= a[i][i];
  }
  s = {};
  for (int i = size - 1; i >= 0; --i) {
    s[i] = b[i];
    for (int l = i + 1; l < size; ++l) s[i] -= a[l][i] * s[l];
    s[i] /= a[i][i];
  }
  return true;
}

// Levenberg-Marquardt steps with Huber's weights, downhill only.
Parameters descend(const Problem& problem, Parameters p) {
  const int size = law_parameters(problem.form);
  double loss = problem.loss(p), damping = 1e-3;
  for (int step = 0; step < 200 && damping < 1e12; ++step) {
    std::array<Parameters, 3> hessian{};
    Parameters gradient{};
    for (std::size_t i = 0; i < problem.x.size(); ++i) {
      Parameters slope{};
      const double r = problem.value(p, i, &slope) - problem.y[i];
      const double weight = std::abs(r) <= kHuber ? 1 : kHuber / std::abs(r);
      for (int a = 0; a < size; ++a) {
        gradient[a] -= weight * r * slope[a];
        for (int b = 0; b < size; ++b) hessian[a][b] += weight * slope[a] * slope[b];
      }
    }
    for (int a = 0; a < size; ++a) hessian[a][a] += damping * hessian[a][a] + 1e-12;
    Parameters move{}, next = p;
    double moved = 0;
    if (solve(hessian, gradient, size, move)) {
      for (int a = 0; a < size; ++a) {
        next[a] += std::clamp(move[a], -3.0, 3.0);
        moved = std::max(moved, std::abs(move[a]));
      }
      const double tried = problem.loss(next);
      if (tried <= loss) {
        const bool settled = moved < 1e-10;
        p = next;
        loss = tried;
        damping = std::max(damping / 5, 1e-12);
        if (settled) break;
        continue;
      }
    }
    damping *= 8;
  }
  return p;
}

std::size_t different(std::span<const double> n) { return std::set<double>(n.begin(), n.end()).size(); }

LawCurve best_of(const Problem& problem, std::span<const Parameters> starts) {
  LawCurve best;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const LawCurve curve = problem.curve(descend(problem, starts[i]));
    if (i == 0 || curve.loss < best.loss) best = curve;
  }
  return best;
}

// The curve of a resample: the same optimum from nearby, and for a floor also from a low one.
LawCurve refit(const LawCurve& near, std::span<const double> n, std::span<const double> error) {
  const Problem problem(near.form, n, error);
  std::vector<Parameters> starts = {problem.parameters(near)};
  if (near.form == LawForm::floor) {
    starts.push_back(starts[0]);
    starts[1][2] = *std::min_element(problem.y.begin(), problem.y.end()) + std::log(0.5);
  }
  return best_of(problem, starts);
}

// Points of a series by size and seed.
struct Table {
  explicit Table(std::span<const LawPoint> points) {
    std::set<double> all_sizes;
    std::set<std::uint64_t> all_seeds;
    for (const LawPoint& point : points) {
      if (!(point.n > 0) || !std::isfinite(point.n) || !(point.error >= 0) || !std::isfinite(point.error)) {
        throw std::invalid_argument("fit_law: sizes must be positive, errors not negative, and both finite");
      }
      all_sizes.insert(point.n);
      all_seeds.insert(point.seed);
    }
    sizes.assign(all_sizes.begin(), all_sizes.end());
    seeds.assign(all_seeds.begin(), all_seeds.end());
    errors.assign(sizes.size(), std::vector<double>(seeds.size(), kNaN));
    for (const LawPoint& point : points) {
      const auto row = std::lower_bound(sizes.begin(), sizes.end(), point.n) - sizes.begin();
      const auto column = std::lower_bound(seeds.begin(), seeds.end(), point.seed) - seeds.begin();
      errors[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] = point.error;
    }
  }

  // The mean over the seeds drawn that were measured at sizes[row]; NaN when none was.
  double mean(std::size_t row, std::span<const int> drawn) const {
    double sum = 0;
    int count = 0;
    for (const int column : drawn) {
      const double error = errors[row][static_cast<std::size_t>(column)];
      if (std::isnan(error)) continue;
      sum += error;
      ++count;
    }
    return count == 0 ? kNaN : sum / count;
  }
  // Sizes with a positive mean, and the means.
  void curve(std::span<const int> drawn, std::vector<double>& n, std::vector<double>& error) const {
    n.clear();
    error.clear();
    for (std::size_t row = 0; row < sizes.size(); ++row) {
      const double value = mean(row, drawn);
      if (!(value > 0)) continue;
      n.push_back(sizes[row]);
      error.push_back(value);
    }
  }
  std::vector<int> everyone() const {
    std::vector<int> drawn(seeds.size());
    for (std::size_t i = 0; i < drawn.size(); ++i) drawn[i] = static_cast<int>(i);
    return drawn;
  }

  std::vector<double> sizes;
  std::vector<std::uint64_t> seeds;
  std::vector<std::vector<double>> errors;  // (sizes, seeds), NaN where not measured
};

// A curve at equal factors from `first` to `last`, with its interval over the curves of resamples.
std::vector<LawFit::Place> band_of(const LawCurve& curve, const std::vector<LawCurve>& resampled, double first,
                                   double last, int seeds) {
  constexpr int kSteps = 16;
  std::vector<LawFit::Place> band;
  for (int step = 0; step <= kSteps; ++step) {
    const double n = step == kSteps ? last : first * std::pow(last / first, static_cast<double>(step) / kSteps);
    std::vector<double> values;
    for (const LawCurve& one : resampled) values.push_back(one.at(n));
    band.push_back({n, curve.at(n), resampled_interval(std::move(values), curve.at(n), seeds, true)});
  }
  return band;
}

nlohmann::json pair(const Interval& interval) { return {number(interval.low), number(interval.high)}; }

void decide(Law& law) {
  const auto undecided = [&](const std::string& why) {
    law.verdict = "undecided";
    law.why = why;
  };
  if (law.seeds < kFewestSeeds) return undecided(fmt::format("{} seeds; {} are needed", law.seeds, kFewestSeeds));
  if (std::ssize(law.sizes) < kFewestSizes || law.fits.empty()) {
    return undecided(fmt::format("{} sizes; {} are needed", law.sizes.size(), kFewestSizes));
  }
  const LawFit& simplest = law.fits[0];
  if (simplest.curve.form == LawForm::power && simplest.b.low <= 0) {
    law.verdict = "flat";
    law.why = "the interval of the power law's exponent does not leave zero out";
    return;
  }
  std::vector<const LawFit*> left;
  for (const LawFit& fit : law.fits) {
    const bool sure = fit.miss_interval.low > 0 || fit.miss_interval.high < 0;
    if (!fit.beaten && !(sure && std::abs(fit.miss) > kWorthNaming)) left.push_back(&fit);
  }
  if (left.empty()) {
    law.verdict = "no form";
    law.why = "every form is beaten or misses the held-out point by more than a tenth and its interval";
    return;
  }
  // A floor below half of what was measured is a power law as far as anyone can see.
  const double smallest = *std::min_element(law.means.begin(), law.means.end());
  const bool power = left[0]->curve.form == LawForm::power;
  if (power && left.size() == 2 && left[1]->curve.form == LawForm::floor && left[1]->c.high < 0.5 * smallest) {
    left.pop_back();
    law.why = fmt::format("a floor could lie below {:.2g} at most", law.fits[1].c.high);
  }
  if (left.size() == 1 && left[0]->curve.form == LawForm::floor && left[0]->c.low < 0.05 * smallest) {
    return undecided("only a power law with floor predicts the held-out point, but the floor's interval reaches zero");
  }
  if (left.size() == 1) {
    law.verdict = law_name(left[0]->curve.form);
    if (law.why.empty()) law.why = "the other forms predict the held-out point worse or miss it";
    return;
  }
  std::string names;
  for (const LawFit* fit : left) names += (names.empty() ? "" : ", ") + law_name(fit->curve.form);
  undecided(fmt::format("{} all agree with the held-out point, and none predicts it better", names));
}

}  // namespace

std::string law_name(LawForm form) {
  if (form == LawForm::power) return "power";
  return form == LawForm::floor ? "power with floor" : "exponential";
}

int law_parameters(LawForm form) { return form == LawForm::floor ? 3 : 2; }

double LawCurve::at(double n) const {
  return form == LawForm::exponential ? a * std::exp(-b * n) : a * std::pow(n, -b) + c;
}

LawCurve fit_curve(LawForm form, std::span<const double> n, std::span<const double> error) {
  if (n.size() != error.size()) throw std::invalid_argument("fit_curve: lengths differ");
  for (std::size_t i = 0; i < n.size(); ++i) {
    if (!(n[i] > 0 && error[i] > 0 && std::isfinite(n[i]) && std::isfinite(error[i]))) {
      throw std::invalid_argument("fit_curve: sizes and errors must be positive and finite");
    }
  }
  if (static_cast<int>(different(n)) < law_parameters(form)) {
    throw std::invalid_argument("fit_curve: fewer sizes than parameters");
  }
  const Problem problem(form, n, error);
  return best_of(problem, problem.starts());
}

Law fit_law(std::span<const LawPoint> points, std::uint64_t seed) {
  const Table table(points);
  Law law;
  law.seeds = static_cast<int>(table.seeds.size());
  table.curve(table.everyone(), law.sizes, law.means);
  for (const double size : table.sizes) {
    if (std::find(law.sizes.begin(), law.sizes.end(), size) == law.sizes.end()) law.unusable.push_back(size);
  }
  const auto blind = [](const std::vector<double>& values) { return std::span(values).first(values.size() - 1); };
  for (const LawForm form : kForms) {
    // The form must be able to miss: one size more than it has parameters, besides the one that is held out.
    if (static_cast<int>(law.sizes.size()) < law_parameters(form) + 2) continue;
    LawFit fit;
    fit.curve = fit_curve(form, law.sizes, law.means);
    fit.blind = fit_curve(form, blind(law.sizes), blind(law.means));
    fit.predicted = fit.blind.at(law.sizes.back());
    fit.miss = std::log(fit.predicted / law.means.back());
    law.fits.push_back(fit);
  }
  if (law.fits.empty()) {
    decide(law);
    return law;
  }

  const std::size_t forms = law.fits.size();
  std::vector<std::vector<double>> b(forms), c(forms), miss(forms);
  std::vector<std::vector<LawCurve>> blinds(forms);
  std::vector<double> n, error;
  const auto needed = static_cast<std::size_t>(law.fits.size() == std::size(kForms) ? 5 : 4);
  bootstrap(
      law.seeds, seed,
      [&](std::span<const int> drawn) {
        table.curve(drawn, n, error);
        // A resample that cannot say anything of the largest size, or has lost too many others, is left out.
        if (n.size() < needed || n.back() != law.sizes.back()) return 0.0;
        for (std::size_t f = 0; f < forms; ++f) {
          const LawCurve whole = refit(law.fits[f].curve, n, error);
          const LawCurve part = refit(law.fits[f].blind, blind(n), blind(error));
          b[f].push_back(whole.b);
          c[f].push_back(whole.c);
          blinds[f].push_back(part);
          miss[f].push_back(std::log(part.at(n.back()) / error.back()));
        }
        return 0.0;
      },
      kReplicates);
  for (std::size_t f = 0; f < forms; ++f) {
    LawFit& fit = law.fits[f];
    fit.b = resampled_interval(b[f], fit.curve.b, law.seeds);
    // A floor may be as good as zero, where a factor means nothing: its interval is stretched in itself and ends at zero.
    fit.c = resampled_interval(c[f], fit.curve.c, law.seeds);
    fit.c.low = std::max(fit.c.low, 0.0);
    fit.band = band_of(fit.blind, blinds[f], law.sizes.front(), law.sizes.back(), law.seeds);
    fit.predicted_interval = fit.band.back().interval;
    fit.miss_interval = resampled_interval(miss[f], fit.miss, law.seeds);
    for (std::size_t g = 0; g < forms; ++g) {
      if (g == f || law.fits[g].curve.rms > fit.curve.rms) continue;
      std::vector<double> advantage;
      for (std::size_t r = 0; r < miss[f].size(); ++r) {
        advantage.push_back(std::abs(miss[f][r]) - std::abs(miss[g][r]));
      }
      const double estimate = std::abs(fit.miss) - std::abs(law.fits[g].miss);
      fit.beaten = fit.beaten || resampled_interval(advantage, estimate, law.seeds).low > 0;
    }
  }
  decide(law);
  return law;
}

nlohmann::json to_json(const Law& law) {
  nlohmann::json document = {{"verdict", law.verdict},
                             {"why", law.why},
                             {"seeds", law.seeds},
                             {"sizes", law.sizes},
                             {"mean_error", law.means},
                             {"sizes_without_error", law.unusable},
                             {"fits", nlohmann::json::array()}};
  for (const LawFit& fit : law.fits) {
    nlohmann::json entry = {{"form", law_name(fit.curve.form)},
                            {"a", number(fit.curve.a)},
                            {"b", number(fit.curve.b)},
                            {"b_interval", pair(fit.b)},
                            {"rms_log_residual", number(fit.curve.rms)},
                            {"huber_loss", number(fit.curve.loss)},
                            {"beaten", fit.beaten},
                            {"held_out",
                             {{"n", law.sizes.back()},
                              {"predicted", number(fit.predicted)},
                              {"interval", pair(fit.predicted_interval)},
                              {"measured", law.means.back()},
                              {"log_miss", number(fit.miss)},
                              {"log_miss_interval", pair(fit.miss_interval)}}}};
    if (fit.curve.form == LawForm::floor) {
      entry["c"] = number(fit.curve.c);
      entry["c_interval"] = pair(fit.c);
    }
    document["fits"].push_back(std::move(entry));
  }
  return document;
}

std::string worded(const Law& law, const std::string& size) {
  if (law.fits.empty()) return fmt::format("{} ({})", law.verdict, law.why);
  // The form of the verdict, or else the simplest.
  const LawFit* fit = &law.fits[0];
  for (const LawFit& other : law.fits) {
    if (law_name(other.curve.form) == law.verdict) fit = &other;
  }
  std::string text = law.verdict == "no form" ? "no one law fits; the simplest: " : law.verdict + ": ";
  if (fit->curve.form == LawForm::exponential) {
    text += fmt::format("falls by e every {:.3g}", 1 / fit->curve.b);
  } else {
    text += fmt::format("{}^{:.3f} [{:.3f}, {:.3f}]", size, -fit->curve.b, -fit->b.high, -fit->b.low);
  }
  if (fit->curve.form == LawForm::floor) {
    text += fmt::format(" above {:.2g} % [{:.2g}, {:.2g}]", 100 * fit->curve.c, 100 * fit->c.low, 100 * fit->c.high);
  }
  text += fmt::format("; at {} = {} predicted {:.3g} % [{:.3g}, {:.3g}], measured {:.3g} %", size,
                      grouped(std::llround(law.sizes.back())), 100 * fit->predicted, 100 * fit->predicted_interval.low,
                      100 * fit->predicted_interval.high, 100 * law.means.back());
  return text;
}

const char* ExponentDifference::verdict() const {
  if (seeds < 3 || !std::isfinite(interval.low)) return "undecided";
  return interval.low > 0 ? "steeper" : interval.high < 0 ? "shallower" : "undecided";
}

ExponentDifference compare_exponents(std::span<const LawPoint> x, std::span<const LawPoint> y, std::uint64_t seed) {
  std::set<std::uint64_t> in_x, shared;
  for (const LawPoint& point : x) in_x.insert(point.seed);
  for (const LawPoint& point : y) {
    if (in_x.contains(point.seed)) shared.insert(point.seed);
  }
  std::vector<LawPoint> own[2];
  for (const LawPoint& point : x) {
    if (shared.contains(point.seed)) own[0].push_back(point);
  }
  for (const LawPoint& point : y) {
    if (shared.contains(point.seed)) own[1].push_back(point);
  }
  ExponentDifference result{kNaN, kNaN, kNaN, {kNaN, kNaN}, static_cast<int>(shared.size())};
  if (shared.empty()) return result;
  const Table tables[] = {Table(own[0]), Table(own[1])};  // of the same seeds in the same order
  std::vector<double> n, error;
  const auto exponent = [&](const Table& table, std::span<const int> drawn) {
    table.curve(drawn, n, error);
    return n.size() < 2 ? kNaN : fit_curve(LawForm::power, n, error).b;
  };
  result.x = exponent(tables[0], tables[0].everyone());
  result.y = exponent(tables[1], tables[1].everyone());
  result.difference = result.x - result.y;
  if (std::isnan(result.difference)) return result;
  std::vector<double> differences;
  bootstrap(
      result.seeds, seed,
      [&](std::span<const int> drawn) {
        const double difference = exponent(tables[0], drawn) - exponent(tables[1], drawn);
        if (std::isfinite(difference)) differences.push_back(difference);
        return 0.0;
      },
      kReplicates);
  result.interval = resampled_interval(differences, result.difference, result.seeds);
  return result;
}

}  // namespace scalelab::host
