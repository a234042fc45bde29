// theory: what pruning can do at best: the replica prediction for the teacher-student perceptron (replica.h), and
// finite-dimensional simulations laid over it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "host/evidence/statistics.h"
#include "host/lab/replica.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/studies/story.h"
#include "scalelab/buffer.h"
#include "scalelab/math.h"
#include "scalelab/max_margin.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

struct TheoryOptions {
  std::vector<double> alphas = {0.5, 1, 3, 5, 10, 20, 100};
  std::vector<double> fractions = {1, 0.8, 0.5, 0.2, 0.1};
  std::vector<std::string> keep = {"hard", "easy"};
  double angle = 0;  // degrees
  int dimension = 200;
  int draws = 0;            // simulations a point; 0: none
  double simulate_to = 20;  // largest alpha_total simulated: the work grows with its square
  std::string out;
};

Keep keep_of(const std::string& name) {
  if (name == "hard") return Keep::hard;
  if (name == "easy") return Keep::easy;
  return Keep::random;
}

struct Point {
  double alpha, fraction;
  std::string keep;
  ReplicaSolution theory;
  Summary simulated;  // n = 0: not simulated
  int unconverged = 0;
};

// The kept examples of one draw, label times input, (kept, d): coordinates 0 and 1 span the plane of teacher and probe,
// whose margins decide which rows stay (ties: the lower row).
std::vector<float> draw_examples(const Point& point, double angle, int d, std::uint64_t seed, std::uint64_t draw) {
  const auto total = static_cast<std::int64_t>(std::llround(point.alpha * d));
  const auto kept = std::max<std::int64_t>(1, std::llround(point.fraction * point.alpha * d));
  std::vector<float> inputs(static_cast<std::size_t>(total * d));
  for (std::int64_t row = 0; row < total; ++row) {
    for (int c = 0; c < d; c += 2) {
      const NormalPair pair = normal_pair(random_words(seed, Stream::points, static_cast<std::uint64_t>(row),
                                                       static_cast<std::uint32_t>(draw << 16 | c)));
      inputs[row * d + c] = static_cast<float>(pair.first);
      if (c + 1 < d) inputs[row * d + c + 1] = static_cast<float>(pair.second);
    }
  }
  const SinCos probe = sin_cos_turns(angle / 360);
  std::vector<double> margins(static_cast<std::size_t>(total));
  for (std::int64_t row = 0; row < total; ++row) {
    margins[row] = std::abs(probe.cos * inputs[row * d] + probe.sin * inputs[row * d + 1]);
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(total));
  std::iota(order.begin(), order.end(), 0);
  if (point.keep != "random") {
    const bool hard = point.keep == "hard";
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return hard ? margins[a] < margins[b] : margins[a] > margins[b];
    });
  }
  std::vector<float> examples(static_cast<std::size_t>(kept * d));
  for (std::int64_t i = 0; i < kept; ++i) {
    const float* row = inputs.data() + order[i] * d;
    const float label = row[0] > 0 ? 1.0F : -1.0F;
    for (int c = 0; c < d; ++c) examples[i * d + c] = label * row[c];
  }
  return examples;
}

void simulate(std::vector<Point>& points, const TheoryOptions& options, Session& session) {
  const int d = options.dimension, m = options.draws;
  const Backend& backend = session.context.backend();
  Stage stage(session, "simulating");
  const auto inner = session.context.progress;
  std::int64_t work = 0, done = 0;
  const auto wanted = [&](const Point& point) { return point.alpha <= options.simulate_to; };
  for (const Point& point : points)
    work += wanted(point) ? static_cast<std::int64_t>(point.alpha * point.alpha * 16) + 1 : 0;
  for (Point& point : points) {
    if (!wanted(point)) continue;
    const auto share = static_cast<std::int64_t>(point.alpha * point.alpha * 16) + 1;
    session.context.progress = [&](std::int64_t part, std::int64_t parts) {
      inner(done * parts + share * part, work * parts);
    };
    std::vector<float> examples;
    for (int draw = 0; draw < m; ++draw) {
      const auto one = draw_examples(point, options.angle, d, session.common.seed, static_cast<std::uint64_t>(draw));
      examples.insert(examples.end(), one.begin(), one.end());
    }
    const auto kept = static_cast<std::int64_t>(examples.size()) / (static_cast<std::int64_t>(m) * d);
    Buffer<float> sets(session.context, examples, {m, kept, d});
    Buffer<float> students(session.context, {m, d}), margins(session.context, {m});
    Buffer<int> sweeps(session.context, {m});
    backend.max_margin(sets, students, margins, sweeps, {}, session.context);
    const auto directions = students.to_host();
    const auto made = sweeps.to_host();
    std::vector<double> errors;
    for (int draw = 0; draw < m; ++draw) {
      errors.push_back(std::acos(std::clamp<double>(directions[static_cast<std::size_t>(draw) * d], -1, 1)) / kPi);
      point.unconverged += made[draw] < 0;
    }
    point.simulated = summarize(errors);
    done += share;
  }
  session.context.progress = inner;
}

Outcome run_theory(const TheoryOptions& options, Session& session) {
  std::vector<Point> points;
  for (const double alpha : options.alphas) {
    for (const double fraction : options.fractions) {
      if (fraction == 1) {
        points.push_back({alpha, fraction, "random", {}, {}, 0});
        continue;
      }
      for (const auto& keep : options.keep) points.push_back({alpha, fraction, keep, {}, {}, 0});
    }
  }
  for (std::size_t i = 0; i < points.size(); ++i) {
    session.progress.update("solving", static_cast<std::int64_t>(i), static_cast<std::int64_t>(points.size()));
    Point& p = points[i];
    p.theory = solve_replica({p.alpha, p.fraction, keep_of(p.keep), options.angle * kPi / 180});
  }
  if (options.draws > 0) simulate(points, options, session);

  nlohmann::json document = {{"schema", 1},
                             {"experiment", "theory"},
                             {"probe_angle_degrees", options.angle},
                             {"seed", session.common.seed},
                             {"rows", nlohmann::json::array()},
                             {"crossovers", nlohmann::json::array()},
                             {"environment", environment(session)}};
  std::string text = fmt::format("Test error of the max-margin perceptron, probe at {:g} degrees\n", options.angle);
  text += fmt::format("{:>9} {:>9} {:>7} {:>10} {:>10}", "alpha", "fraction", "keep", "error", "random");
  if (options.draws > 0) text += fmt::format(" {:>21}", fmt::format("simulated, d = {}", options.dimension));
  text += "\n";
  int outside = 0, compared = 0, unconverged = 0;
  for (const Point& p : points) {
    // The same number of examples, chosen at random: what the choice is to be held against.
    const double random = solve_replica({p.alpha * p.fraction, 1, Keep::random, 0}).error;
    nlohmann::json row = {{"alpha_total", p.alpha},
                          {"fraction", p.fraction},
                          {"keep", p.keep},
                          {"error", p.theory.error},
                          {"margin", p.theory.margin},
                          {"overlap", p.theory.overlap},
                          {"error_random", random},
                          {"probe_overlap", p.theory.probe_overlap}};
    text += fmt::format("{:>9g} {:>9g} {:>7} {:>10.5f} {:>10.5f}", p.alpha, p.fraction, p.keep, p.theory.error, random);
    if (p.simulated.n > 0) {
      row["simulated"] = {{"mean", p.simulated.mean},
                          {"standard_error", p.simulated.standard_error},
                          {"draws", p.simulated.n},
                          {"dimension", options.dimension},
                          {"unconverged", p.unconverged}};
      text += fmt::format("   {:.5f} +- {:.5f}", p.simulated.mean, p.simulated.standard_error);
      ++compared;
      outside += std::abs(p.simulated.mean - p.theory.error) > 2 * p.simulated.standard_error + 0.03 * p.theory.error;
      unconverged += p.unconverged;
    }
    text += "\n";
    document["rows"].push_back(row);
  }
  for (const double fraction : options.fractions) {
    if (fraction == 1) continue;
    for (const auto& keep : options.keep) {
      if (options.angle != 0 || keep == "random") continue;
      const double alpha = crossover_with_random(fraction, keep_of(keep));
      document["crossovers"].push_back({{"fraction", fraction},
                                        {"keep", keep},
                                        {"alpha_total", std::isnan(alpha) ? nlohmann::json() : nlohmann::json(alpha)}});
      text += std::isnan(alpha)
                  ? fmt::format("Keeping the {} {:g}: no size at which it begins to beat a random choice of as many.\n",
                                keep, fraction)
                  : fmt::format("Keeping the {} {:g} beats a random choice of as many from alpha_total = {:.2f}.\n",
                                keep, fraction, alpha);
    }
  }
  if (compared > 0) {
    text += fmt::format(
        "Simulation: {} of {} points lie further from the theory than two standard errors and 3 %; {} draws did not "
        "converge.\n",
        outside, compared, unconverged);
  }
  Outcome outcome{document, text};
  if (!options.out.empty()) {
    make_output_folder(options.out);
    write_file(std::filesystem::path(options.out) / "result.json", json_text(document));
    outcome.page = std::make_shared<const Page>(theory_page(document));
    outcome.folder = options.out;
  }
  return outcome;
}

}  // namespace

Command add_theory(CLI::App& program) {
  auto options = std::make_shared<TheoryOptions>();
  CLI::App* app = program.add_subcommand("theory", "What keeping a chosen part of the data is worth, solved exactly");
  add_list(*app, "--alpha", options->alphas, 1e-3, 1e4, "Examples per dimension before the choice");
  add_list(*app, "--fractions", options->fractions, 1e-3, 1.0, "Shares kept");
  add_list(*app, "--keep", options->keep, {"hard", "easy", "random"}, "Which examples: hard, easy, random");
  app->add_option("--angle", options->angle, "Degrees between probe and teacher")->check(real_number(0, 89));
  app->add_option("--draws", options->draws, "Simulated draws a point; 0 for none")->check(whole_number(0, 10000));
  app->add_option("--dimension", options->dimension, "Dimensions of a simulation")->check(whole_number(2, 10000));
  app->add_option("--simulate-to", options->simulate_to, "Largest alpha simulated")->check(real_number(0, 1e4));
  app->add_option("-o,--out", options->out, "Folder for result.json");
  add_notes(*app, {"scalelab theory --alpha 0.5,1,3,10 --fractions 1,0.5,0.2 --out theory"});
  const auto needs = [options] {
    Needs needs;
    if (options->draws > 0) needs.parts = {{Work::max_margin, static_cast<double>(options->draws)}};
    return needs;
  };
  return {app, [options](Session& session) { return run_theory(*options, session); }, needs};
}

}  // namespace scalelab::host
