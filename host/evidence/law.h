// law: error against the number of training points: which form a curve follows, how well that is known, and whether
// the form predicted the largest N before it was shown.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "host/evidence/statistics.h"

namespace scalelab::host {

enum class LawForm { power, floor, exponential };
std::string law_name(LawForm form);  // "power", "power with floor", "exponential"

struct LawCurve {
  LawForm form = LawForm::power;
  // power: a n^-b.  floor: a n^-b + c, b > 0, c > 0.  exponential: a e^(-b n).
  double a = 0, b = 0, c = 0;
  double loss = 0;  // sum over the points of Huber's loss of log(curve) - log(error), quadratic up to kHuber
  double rms = 0;   // of the same residuals, without Huber
  double at(double n) const;
};

// Residuals beyond this, in units of log error (a tenth: ten per cent), count linearly: one odd size does not bend the
// curve, and the scatter of seeds is treated as squares treat it.
inline constexpr double kHuber = 0.1;

// Parameters of `form` with two (power, exponential) or three (floor) numbers.
int law_parameters(LawForm form);

// The curve of least loss, from a grid of starts by damped Gauss-Newton steps. n and error positive and finite, with at
// least law_parameters(form) different n: else std::invalid_argument.
LawCurve fit_curve(LawForm form, std::span<const double> n, std::span<const double> error);

// One measured point of a series.
struct LawPoint {
  double n;
  std::uint64_t seed;
  double error;
};

// What one form makes of a series. Curves are fitted to the mean error over seeds at each n; intervals are of resamples
// of the seeds (resampled_interval), which keep together what shares a seed.
struct LawFit {
  LawCurve curve;  // fitted to every n
  Interval b{}, c{};
  LawCurve blind;  // fitted without the largest n
  double predicted = 0;
  Interval predicted_interval{};
  // The blind curve from the smallest size to the largest, at equal factors, in the band of the same resamples; the last
  // place says what `predicted` says.
  struct Place {
    double n, error;
    Interval interval;
  };
  std::vector<Place> band{};
  double miss = 0;  // log(predicted / measured) at the largest n
  Interval miss_interval{};
  bool beaten = false;  // another form is shown to predict better, by the interval of its lead, and fits no worse
};

struct Law {
  std::vector<double> sizes, means;  // ascending; the last is the one held out
  std::vector<double> unusable;      // sizes at which no seed erred: they have no logarithm
  int seeds = 0;
  std::vector<LawFit> fits;  // of the forms that the number of sizes allows
  // "power", "power with floor", "exponential": the only form that is left, not beaten, and not off the held-out point
  // by more than a tenth and its interval. A floor that could only lie below half the smallest error counts as none.
  // "flat": the power law's b may be zero or less. "no form": none is left. "undecided": several are, or there are
  // fewer than three seeds or four sizes.
  std::string verdict, why;
};

Law fit_law(std::span<const LawPoint> points, std::uint64_t seed);
nlohmann::json to_json(const Law& law);
// A sentence: the verdict, the exponent with its interval, and the prediction beside what was measured. `size` is what
// the sizes are called: n, or the rows kept.
std::string worded(const Law& law, const std::string& size = "n");

// Difference of two power laws' exponents, b of `x` minus b of `y`, over the seeds they share: the estimate and its
// bootstrap interval. Each is fitted to its own n. NaN where either has fewer than two sizes, and without an interval
// below two shared seeds.
struct ExponentDifference {
  double x = 0, y = 0, difference = 0;
  Interval interval{};
  int seeds = 0;

  // Of x: "steeper", "shallower", or "undecided", as with fewer than three seeds.
  const char* verdict() const;
};
ExponentDifference compare_exponents(std::span<const LawPoint> x, std::span<const LawPoint> y, std::uint64_t seed);

}  // namespace scalelab::host
