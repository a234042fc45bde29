#include "host/lab/replica.h"

#include <algorithm>
#include <array>
#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/tools/minima.hpp>
#include <boost/math/tools/roots.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "scalelab/math.h"

namespace scalelab::host {

namespace {

// Standard normals beyond this hold less than 1e-18 of the mass.
constexpr double kTail = 8.8;

double density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * kPi); }
double cumulative(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// E_n[(d - n)_+^2] for n ~ N(0, 1).
double squared_shortfall(double d) { return (d * d + 1) * cumulative(d) + d * density(d); }
// Its derivative in d.
double shortfall_slope(double d) { return 2 * (d * cumulative(d) + density(d)); }

// One kept example seen from the plane of teacher and probe: its label times its coordinates, and its probability.
struct Node {
  double along, across, weight;  // along the teacher; across it, towards the probe
};

// Appends Gauss-Legendre nodes of [low, high] in `panels` equal panels.
void append_panels(double low, double high, int panels, std::vector<std::array<double, 2>>& nodes) {
  using Rule = boost::math::quadrature::gauss<double, 16>;
  if (!(high > low)) return;
  const double half = 0.5 * (high - low) / panels;
  for (int panel = 0; panel < panels; ++panel) {
    const double middle = low + (2 * panel + 1) * half;
    for (std::size_t i = 0; i < Rule::abscissa().size(); ++i) {
      const double offset = half * Rule::abscissa()[i];
      nodes.push_back({middle - offset, half * Rule::weights()[i]});
      nodes.push_back({middle + offset, half * Rule::weights()[i]});
    }
  }
}

// The kept examples as a quadrature. `scale` is the width over which the integrand changes (the student's error): the
// panels are made as narrow as that near the teacher's boundary.
std::vector<Node> kept_examples(const Perceptron& problem, double scale) {
  const bool everything = problem.keep == Keep::random || problem.fraction >= 1;
  double threshold = 0;  // |z| at which the kept part ends or begins
  if (!everything) {
    const double inside = problem.keep == Keep::hard ? problem.fraction : 1 - problem.fraction;
    threshold = boost::math::tools::bisect([inside](double z) { return std::erf(z / std::sqrt(2.0)) - inside; }, 0.0,
                                           kTail, boost::math::tools::eps_tolerance<double>(50))
                    .first;
  }
  const double low = everything || problem.keep == Keep::hard ? 0 : threshold;
  const double high = everything || problem.keep == Keep::easy ? kTail : threshold;
  const double share = everything ? 1 : problem.fraction;
  // Panels that widen away from where a range begins, because the integrand turns there on the scale.
  const auto graded = [scale](double from, double to, std::vector<std::array<double, 2>>& nodes) {
    double begin = from;
    for (const double width : {8 * scale, 64 * scale, 0.5, to - from}) {
      const double stop = std::min(from + width, to);
      if (stop > begin) {
        append_panels(begin, stop, 4, nodes);
        begin = stop;
      }
    }
  };
  std::vector<Node> kept;
  if (problem.probe_angle == 0 || everything) {
    // z = u up to sign: one coordinate decides; the other is free and independent of the label.
    std::vector<std::array<double, 2>> nodes;
    graded(low, high, nodes);
    for (const auto& [u, weight] : nodes) kept.push_back({u, 0, 2 * density(u) * weight / share});
    return kept;
  }
  const double c = std::cos(problem.probe_angle), s = std::sin(problem.probe_angle);
  std::vector<std::array<double, 2>> z_nodes;
  graded(low, high, z_nodes);
  for (const auto& [z, z_weight] : z_nodes) {
    // w is the coordinate orthogonal to z in the plane; the label turns at u = c z - s w = 0.
    const double turn = std::min(c * z / s, kTail);
    for (const double side : {-1.0, 1.0}) {
      std::vector<std::array<double, 2>> distances;  // from the turn
      graded(0, side < 0 ? turn + kTail : kTail - turn, distances);
      for (const auto& [distance, w_weight] : distances) {
        const double w = turn + side * distance;
        const double u = c * z - s * w, v = s * z + c * w;
        const double label = u > 0 ? 1 : -1;
        // (z, w) and (-z, -w) are alike: twice the half z > 0.
        const double weight = 2 * density(z) * density(w) * z_weight * w_weight / share;
        if (weight > 1e-22) kept.push_back({label * u, label * v, weight});
      }
    }
  }
  return kept;
}

// A student of unit length: R along the teacher, g across it, sqrt(q) outside the plane.
struct Direction {
  double along, across, outside;
};
// psi: angle to the teacher; chi: how far it leans out of the plane (pi/2: wholly).
Direction direction(double psi, double chi) {
  return {std::cos(psi), std::sin(psi) * std::cos(chi), std::sin(psi) * std::sin(chi)};
}

// The largest margin a student in this direction reaches: the root in kappa of E[shortfall(d)] = 1/alpha, which rises
// in kappa and is convex, so that Newton's steps from above never overshoot.
double margin(const std::vector<Node>& kept, double alpha, const Direction& student) {
  double kappa = 0;
  const auto balance = [&](double value, double& slope) {
    double sum = 0;
    slope = 0;
    for (const Node& node : kept) {
      const double d = (value - student.along * node.along - student.across * node.across) / student.outside;
      if (d < -kTail) continue;
      sum += node.weight * squared_shortfall(d);
      slope += node.weight * shortfall_slope(d);
    }
    slope /= student.outside;
    return sum - 1 / alpha;
  };
  double slope = 0, step = student.outside + 0.1;
  while (balance(kappa, slope) < 0) {
    kappa += step;
    step *= 2;
  }
  for (int i = 0; i < 100; ++i) {
    const double excess = balance(kappa, slope);
    const double next = kappa - excess / slope;
    if (std::abs(next - kappa) <= 1e-15 * (1 + std::abs(kappa))) return next;
    kappa = next;
  }
  return kappa;
}

// d margin / d psi up to a positive factor, for a student outside the plane but for the teacher: zero at the optimum,
// and much sharper than the flat top of the margin itself. (u - kappa cos psi) is the derivative of d times sin^2 psi.
double slope_in_angle(const std::vector<Node>& kept, double alpha, double psi) {
  const Direction student = direction(psi, kPi / 2);
  const double kappa = margin(kept, alpha, student);
  double sum = 0;
  for (const Node& node : kept) {
    const double d = (kappa - student.along * node.along) / student.outside;
    if (d > -kTail) sum += node.weight * shortfall_slope(d) * (node.along - kappa * student.along);
  }
  return -sum;
}

ReplicaSolution solve_in_line(const Perceptron& problem, double alpha, double scale) {
  const auto kept = kept_examples(problem, scale);
  // The slope is positive below the optimal angle and negative above it; log psi, because errors span decades.
  const auto slope = [&](double log_psi) { return slope_in_angle(kept, alpha, std::exp(log_psi)); };
  const auto bracket = boost::math::tools::bisect(slope, std::log(1e-7), std::log(kPi / 2 - 1e-9),
                                                  boost::math::tools::eps_tolerance<double>(40));
  const double psi = std::exp(0.5 * (bracket.first + bracket.second));
  const Direction student = direction(psi, kPi / 2);
  return {psi / kPi, margin(kept, alpha, student), student.along, student.along * std::cos(problem.probe_angle)};
}

ReplicaSolution solve_in_plane(const Perceptron& problem, double alpha, double scale) {
  const auto kept = kept_examples(problem, scale);
  const auto best_lean = [&](double log_psi) {
    const double psi = std::exp(log_psi);
    return boost::math::tools::brent_find_minima([&](double chi) { return -margin(kept, alpha, direction(psi, chi)); },
                                                 1e-3, kPi - 1e-3, 24);
  };
  const auto best = boost::math::tools::brent_find_minima([&](double log_psi) { return best_lean(log_psi).second; },
                                                          std::log(scale * kPi / 8), std::log(kPi / 2 - 1e-6), 24);
  const double psi = std::exp(best.first);
  const Direction student = direction(psi, best_lean(best.first).first);
  return {psi / kPi, -best.second, student.along,
          student.along * std::cos(problem.probe_angle) + student.across * std::sin(problem.probe_angle)};
}

}  // namespace

ReplicaSolution solve_replica(const Perceptron& problem) {
  if (!(problem.alpha_total > 0) || !(problem.fraction > 0 && problem.fraction <= 1) ||
      !(problem.probe_angle >= 0 && problem.probe_angle < kPi / 2)) {
    throw std::invalid_argument(
        "perceptron: alpha must be above 0, the fraction in (0, 1], the angle in [0, 90) degrees");
  }
  const double alpha = problem.alpha_total * problem.fraction;
  const bool in_line = problem.probe_angle == 0 || problem.keep == Keep::random || problem.fraction >= 1;
  // The error of a student on all the data is the scale on which the integrand changes: the panels follow it.
  Perceptron in_line_problem = problem;
  in_line_problem.probe_angle = 0;
  double scale = solve_in_line(in_line_problem, alpha, 0.05).error;
  const ReplicaSolution refined = solve_in_line(in_line_problem, alpha, std::max(scale, 1e-5));
  if (in_line) {
    ReplicaSolution solution = refined;
    solution.probe_overlap = solution.overlap * std::cos(problem.probe_angle);
    return solution;
  }
  return solve_in_plane(problem, alpha, std::max(refined.error, 1e-4));
}

double crossover_with_random(double fraction, Keep keep, double probe_angle) {
  const auto gap = [&](double log_alpha) {
    const double alpha = std::exp(log_alpha);
    return solve_replica({alpha, fraction, keep, probe_angle}).error -
           solve_replica({alpha, fraction, Keep::random, 0}).error;
  };
  constexpr int kSteps = 16;  // four a decade, from 0.1 to 1000
  const auto size = [](int step) { return std::log(0.1) + std::log(1e4) * step / kSteps; };
  int first = kSteps + 1;  // the smallest size at which it is lower
  for (int step = 0; step <= kSteps; ++step) {
    const bool lower = gap(size(step)) < 0;
    if (lower) first = std::min(first, step);
    if (!lower && first < step) return std::numeric_limits<double>::quiet_NaN();
  }
  if (first == 0) return 0;
  if (first > kSteps) return std::numeric_limits<double>::infinity();
  const auto root =
      boost::math::tools::bisect(gap, size(first - 1), size(first), boost::math::tools::eps_tolerance<double>(20));
  return std::exp(0.5 * (root.first + root.second));
}

}  // namespace scalelab::host
