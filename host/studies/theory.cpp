#include "host/studies/theory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <set>

#include "host/evidence/statistics.h"
#include "host/lab/replica.h"
#include "host/lab/trial_options.h"
#include "host/program/devices.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"
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
  double angle = 0;        // of the probe, degrees
  double wrong_angle = 0;  // of another probe, held beside it; 0: none
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
  std::uint64_t number = 0;  // among the points: it has draws of its own
  ReplicaSolution theory{};
  double random = 0;            // error of as many examples chosen at random: what the choice is held against
  double wrong = std::nan("");  // error of the choice by the other probe; NaN where none is made
  Summary simulated{};          // n = 0: not simulated
  int unconverged = 0;          // draws whose perceptron ran out of sweeps

  double ratio() const { return theory.error / random; }
  std::string choice() const { return examples_kept(keep, fraction); }
};

// From which size on a choice has a lower error than a random one (crossover_with_random).
struct Crossover {
  double fraction;
  std::string keep;
  double alpha;
};

// The examples of one draw of a point before any choice, (total, d): no two draws or points share any.
std::vector<float> draw_inputs(std::int64_t total, int d, std::uint64_t seed, std::uint64_t point, std::uint64_t draw) {
  std::vector<float> inputs(static_cast<std::size_t>(total * d));
  for (std::int64_t row = 0; row < total; ++row) {
    for (int c = 0; c < d; c += 2) {
      const NormalPair pair =
          normal_pair(random_words(seed, Stream::points, point << 40 | static_cast<std::uint64_t>(row),
                                   static_cast<std::uint32_t>(draw << 16 | c)));
      inputs[row * d + c] = static_cast<float>(pair.first);
      if (c + 1 < d) inputs[row * d + c + 1] = static_cast<float>(pair.second);
    }
  }
  return inputs;
}

// The kept examples of one draw, label times input, (kept, d): coordinates 0 and 1 span the plane of teacher and probe,
// whose margins decide which rows stay (ties: the lower row).
std::vector<float> draw_examples(const Point& point, double angle, int d, std::uint64_t seed, std::uint64_t draw) {
  const auto total = static_cast<std::int64_t>(std::llround(point.alpha * d));
  const auto kept = std::max<std::int64_t>(1, std::llround(point.fraction * point.alpha * d));
  const std::vector<float> inputs = draw_inputs(total, d, seed, point.number, draw);
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

// The errors of max-margin perceptrons trained on every draw of one point.
void simulate(Point& point, const TheoryOptions& options, Session& session) {
  const int d = options.dimension, m = options.draws;
  std::vector<float> examples;
  for (int draw = 0; draw < m; ++draw) {
    const auto one = draw_examples(point, options.angle, d, session.common.seed, static_cast<std::uint64_t>(draw));
    examples.insert(examples.end(), one.begin(), one.end());
  }
  const auto kept = static_cast<std::int64_t>(examples.size()) / (static_cast<std::int64_t>(m) * d);
  Buffer<float> sets(session.context, examples, {m, kept, d});
  Buffer<float> students(session.context, {m, d}), margins(session.context, {m});
  Buffer<int> sweeps(session.context, {m});
  session.context.backend().max_margin(sets, students, margins, sweeps, {}, session.context);
  const auto directions = students.to_host();
  const auto made = sweeps.to_host();
  std::vector<double> errors;
  for (int draw = 0; draw < m; ++draw) {
    errors.push_back(std::acos(std::clamp<double>(directions[static_cast<std::size_t>(draw) * d], -1, 1)) / kPi);
    point.unconverged += made[draw] < 0;
  }
  point.simulated = summarize_fractions(errors);
}

void simulate(std::vector<Point>& points, const TheoryOptions& options, Session& session) {
  const Stage stage(session, "simulating");
  std::vector<Point*> simulated;
  std::vector<double> work;
  for (Point& point : points) {
    if (point.alpha > options.simulate_to) continue;
    simulated.push_back(&point);
    work.push_back(point.alpha * point.alpha + 0.1);  // grows with the square of its examples
  }
  Devices(session).deal(work, [&](Session& own) -> Devices::Worker {
    return [&](std::size_t i) -> Devices::Delivery {
      simulate(*simulated[i], options, own);
      return {};
    };
  });
}

std::vector<Point> solved_points(const TheoryOptions& options, Session& session) {
  std::vector<Point> points;
  for (const double alpha : options.alphas) {
    for (const double fraction : options.fractions) {
      if (fraction == 1) {
        points.push_back({alpha, fraction, "random"});
        continue;
      }
      for (const auto& keep : options.keep) points.push_back({alpha, fraction, keep});
    }
  }
  const Stage stage(session, "solving");
  for (std::size_t i = 0; i < points.size(); ++i) {
    session.context.progress(static_cast<std::int64_t>(i), static_cast<std::int64_t>(points.size()));
    Point& p = points[i];
    p.number = i;
    p.theory = solve_replica({p.alpha, p.fraction, keep_of(p.keep), options.angle * kPi / 180});
    p.random = solve_replica({p.alpha * p.fraction, 1, Keep::random, 0}).error;
    if (options.wrong_angle == 0 || options.wrong_angle == options.angle || p.keep == "random") continue;
    p.wrong = solve_replica({p.alpha, p.fraction, keep_of(p.keep), options.wrong_angle * kPi / 180}).error;
  }
  return points;
}

// Of a probe that is the teacher; one at an angle may help at some sizes only.
std::vector<Crossover> crossovers_of(const TheoryOptions& options) {
  std::vector<Crossover> list;
  for (const double fraction : options.fractions) {
    for (const auto& keep : options.keep) {
      if (fraction == 1 || options.angle != 0 || keep == "random") continue;
      list.push_back({fraction, keep, crossover_with_random(fraction, keep_of(keep))});
    }
  }
  return list;
}

// --- what it says ----------------------------------------------------------------------------------------------------

constexpr const char* kSizes = "0.1 to 1000 examples per dimension";

// Where a choice has the lower error: the word of the JSON, and the words of a sentence.
struct Where {
  const char* word;
  std::string text;
};
Where where(const Crossover& crossover) {
  if (std::isnan(crossover.alpha)) return {"in parts", "at some sizes, and not at larger ones"};
  if (std::isinf(crossover.alpha)) return {"nowhere", "at no size"};
  if (crossover.alpha == 0) return {"everywhere", "at every size"};
  return {"from", fmt::format("from {:.2f} examples per dimension on", crossover.alpha)};
}

std::string in_per_cent(double error) { return fmt::format("{:.3f}", 100 * error); }

// Where one rule beats a random choice, over all its fractions: "from 1.41 (80 %) and 2.91 (50 %) examples per dimension
// on", "at every size", or each by itself.
std::string rule_text(const std::vector<Crossover>& crossovers) {
  std::set<std::string> words;
  std::vector<std::string> sizes, places;
  for (const Crossover& c : crossovers) {
    words.insert(where(c).word);
    sizes.push_back(fmt::format("{:.2f} ({:g} %)", c.alpha, 100 * c.fraction));
    places.push_back(fmt::format("{} ({:g} %)", where(c).text, 100 * c.fraction));
  }
  if (words.size() > 1) return listed(places);
  if (*words.begin() == "from") return fmt::format("only from {} examples per dimension on", listed(sizes));
  return where(crossovers[0]).text;
}

// From which size on each choice beats a random one.
Finding crossover_finding(const std::vector<Crossover>& crossovers) {
  Finding f{.id = "crossover"};
  f.columns = {"choice", "fraction", "error below that of a random choice of the same size"};
  std::vector<std::string> rules;
  for (const std::string keep : {"hard", "easy"}) {
    std::vector<Crossover> own;
    for (const Crossover& c : crossovers) {
      if (c.keep != keep) continue;
      own.push_back(c);
      f.table.push_back({c.keep, fmt::format("{:g} %", 100 * c.fraction), where(c).text});
    }
    if (own.empty()) continue;
    rules.push_back(
        fmt::format("keeping the {}est {}", keep == "easy" ? "easi" : keep,
                    (rules.empty() ? "examples beats a random choice of the same size " : "") + rule_text(own)));
  }
  f.title = fmt::format("{}", fmt::join(rules, "; "));
  f.text = fmt::format(
      "Of {}, before the choice. Solved exactly in the limit of many dimensions: no seed and no interval. The probe "
      "that says what is hard is the teacher itself.",
      kSizes);
  return f;
}

// Every point that is a choice beside a random one of the same size.
Finding points_finding(const std::vector<Point>& points) {
  Finding f{.id = "hard-or-easy"};
  f.columns = {"examples per dimension", "choice", "error, %", "error of a random choice, %", "ratio"};
  std::vector<std::string> counts, last;
  double largest = 0;
  for (const Point& p : points) largest = std::max(largest, p.alpha);
  for (const char* keep : {"hard", "easy"}) {
    int lower = 0, all = 0;
    for (const Point& p : points) {
      if (p.keep != keep) continue;
      lower += p.theory.error < p.random;
      ++all;
      f.table.push_back({fmt::format("{:g}", p.alpha), p.choice(), in_per_cent(p.theory.error), in_per_cent(p.random),
                         fmt::format("{:.3f}", p.ratio())});
      if (p.alpha == largest) last.push_back(fmt::format("{:.3f} ({})", p.ratio(), p.choice()));
    }
    if (all > 0) counts.push_back(fmt::format("{} of {} points keeping the {}", lower, all, keep));
  }
  f.title = fmt::format("The error is below that of a random choice of the same size at {}", listed(counts));
  f.text = fmt::format("At {:g} examples per dimension, the most here, the error is that of a random choice times {}.",
                       largest, listed(last));
  return f;
}

// What it costs that the probe stands off the teacher, where choosing by the probe pays.
std::optional<Finding> probe_finding(const std::vector<Point>& points, const TheoryOptions& options) {
  Finding f{.id = "probe"};
  f.columns = {"examples per dimension",
               "choice",
               "error, %",
               fmt::format("by a probe at {:g} degrees, %", options.wrong_angle),
               "error of a random choice, %",
               "of the gain is left, %"};
  int costs = 0, worse = 0, all = 0;
  for (const Point& p : points) {
    if (!std::isfinite(p.wrong) || p.theory.error >= p.random) continue;
    ++all;
    costs += p.wrong > p.theory.error;
    worse += p.wrong >= p.random;
    f.table.push_back({fmt::format("{:g}", p.alpha), p.choice(), in_per_cent(p.theory.error), in_per_cent(p.wrong),
                       in_per_cent(p.random), percent((p.random - p.wrong) / (p.random - p.theory.error))});
  }
  if (all == 0) return std::nullopt;
  f.title = fmt::format(
      "A probe at {:g} degrees to the teacher in place of {:g} has a higher error at {} of the {} points where choosing "
      "pays, and at {} of them pays no longer",
      options.wrong_angle, options.angle, costs, all, worse);
  f.text =
      "The same rule with both probes, in the limit of many dimensions. Of the gain is left: how far the error of the "
      "second lies below that of a random choice, as a share of how far that of the first does.";
  return f;
}

// Simulations beside the theory.
std::optional<Finding> simulation_finding(const std::vector<Point>& points, const TheoryOptions& options) {
  Finding f{.id = "simulation"};
  f.columns = {"examples per dimension", "choice",           "theory, %",
               "simulated, %",           "95 % interval, %", "simulated / theory"};
  int within = 0, with_interval = 0, unconverged = 0;
  std::vector<double> ratios;
  for (const Point& p : points) {
    const Summary& s = p.simulated;
    if (s.n == 0) continue;
    with_interval += s.n > 1;
    within += s.interval.low <= p.theory.error && p.theory.error <= s.interval.high;
    unconverged += p.unconverged;
    ratios.push_back(s.mean / p.theory.error);
    f.table.push_back({fmt::format("{:g}", p.alpha), p.choice(), in_per_cent(p.theory.error), in_per_cent(s.mean),
                       s.n > 1 ? in_per_cent(s.interval.low) + " to " + in_per_cent(s.interval.high) : "-",
                       fmt::format("{:.3f}", s.mean / p.theory.error)});
  }
  if (f.table.empty()) return std::nullopt;
  f.title = with_interval == 0
                ? "One draw a point leaves no interval to hold the theory against"
                : fmt::format("The theory lies within the simulated mean's 95 % interval at {} of {} points", within,
                              with_interval);
  f.text = fmt::format(
      "Max-margin perceptrons trained on {} a point, of {} dimensions; no two points share a draw, so that about 5 % "
      "of the intervals leave out what they should cover.",
      counted(options.draws, "draw"), options.dimension);
  const Summary ratio = summarize(ratios);
  if (ratio.n > 1) {
    const bool below = ratio.interval.high<1, above = ratio.interval.low> 1;
    f.points.push_back(fmt::format(
        "simulated over theory, the mean over points: {:.3f} [{:.3f}, {:.3f}]; of {} dimensions the error is {}",
        ratio.mean, ratio.interval.low, ratio.interval.high, options.dimension,
        below   ? "lower than in the limit"
        : above ? "higher than in the limit"
                : "not shown to differ from the limit"));
  }
  if (unconverged > 0) f.text += fmt::format(" The solver ran out of sweeps {} times.", unconverged);
  return f;
}

// --- how it is shown -------------------------------------------------------------------------------------------------

std::string table_text(const std::vector<Point>& points, const TheoryOptions& options) {
  std::vector<std::vector<std::string>> table = {{"alpha", "choice", "error", "random"}};
  if (options.draws > 0) table[0].push_back(fmt::format("simulated, d = {}", options.dimension));
  for (const Point& p : points) {
    table.push_back({fmt::format("{:g}", p.alpha), p.choice(), in_per_cent(p.theory.error), in_per_cent(p.random)});
    if (options.draws == 0) continue;
    const Summary& s = p.simulated;
    table.back().push_back(s.n == 0   ? "-"
                           : s.n == 1 ? in_per_cent(s.mean)
                                      : fmt::format("{} [{}, {}]", in_per_cent(s.mean), in_per_cent(s.interval.low),
                                                    in_per_cent(s.interval.high)));
  }
  return fmt::format(
      "Test error of the max-margin perceptron in %, probe at {:g} degrees; alpha is examples per dimension before "
      "the\n"
      "choice, random the error of a random choice of the same size{}.\n{}",
      options.angle, options.draws > 0 ? "; a simulated mean stands with its 95 % interval" : "", aligned(table));
}

nlohmann::json row_json(const Point& p, const TheoryOptions& options) {
  nlohmann::json row = {{"alpha_total", p.alpha},
                        {"fraction", p.fraction},
                        {"keep", p.keep},
                        {"error", p.theory.error},
                        {"margin", p.theory.margin},
                        {"overlap", p.theory.overlap},
                        {"error_random", p.random},
                        {"probe_overlap", p.theory.probe_overlap}};
  if (std::isfinite(p.wrong)) row["error_wrong_probe"] = p.wrong;
  if (p.simulated.n == 0) return row;
  nlohmann::json simulated = to_json(p.simulated);
  simulated.erase("seeds");
  simulated["draws"] = p.simulated.n;
  simulated["dimension"] = options.dimension;
  simulated["unconverged"] = p.unconverged;
  row["simulated"] = simulated;
  return row;
}

Outcome run_theory(const TheoryOptions& options, Session& session) {
  Stage stage(session, "theory");
  stage.part(0, 1, options.draws > 0 ? 2 : 1);
  std::vector<Point> points = solved_points(options, session);
  const std::vector<Crossover> crossovers = crossovers_of(options);
  stage.part(1, 2, 2);
  if (options.draws > 0) simulate(points, options, session);

  Study study{.command = "theory", .experiment = "theory", .title = "What choosing the data is worth at best"};
  const bool chosen = std::any_of(points.begin(), points.end(), [](const Point& p) { return p.keep != "random"; });
  if (!crossovers.empty()) study.findings.push_back(crossover_finding(crossovers));
  if (chosen) study.findings.push_back(points_finding(points));
  if (auto finding = probe_finding(points, options)) study.findings.push_back(std::move(*finding));
  if (auto finding = simulation_finding(points, options)) study.findings.push_back(std::move(*finding));
  study.more = {{"probe_angle_degrees", options.angle},
                {"wrong_probe_degrees", options.wrong_angle},
                {"seed", session.common.seed},
                {"rows", nlohmann::json::array()},
                {"crossovers", nlohmann::json::array()}};
  for (const Point& point : points) study.more["rows"].push_back(row_json(point, options));
  for (const Crossover& c : crossovers) {
    const Where place = where(c);
    const bool from = place.word == std::string("from");
    study.more["crossovers"].push_back({{"fraction", c.fraction},
                                        {"keep", c.keep},
                                        {"lower", place.word},
                                        {"alpha_total", from ? nlohmann::json(c.alpha) : nlohmann::json()}});
  }
  nlohmann::json document = findings_document(study, session);
  auto page = std::make_shared<const Page>(theory_page(document));
  return end_in(options.out, std::move(document), table_text(points, options) + to_text(study.findings),
                std::move(page));
}

}  // namespace

std::string examples_kept(const std::string& keep, double fraction) {
  return fmt::format("{} {:g} %", keep, 100 * fraction);
}

Command add_theory(CLI::App& program) {
  auto options = std::make_shared<TheoryOptions>();
  CLI::App* app = program.add_subcommand("theory", "What keeping a chosen part of the data is worth, solved exactly");
  const char* const choice = "Choice";
  add_list(*app, "--alpha", options->alphas, 1e-3, 1e4, "Examples per dimension before the choice")->group(choice);
  add_list(*app, "--fractions", options->fractions, 1e-3, 1.0, "Shares kept")->group(choice);
  add_keeps(*app, options->keep, {"hard", "easy", "random"})->group(choice);
  app->add_option("--angle", options->angle, "Degrees between probe and teacher")
      ->check(real_number(0, 89))
      ->group(choice);
  app->add_option("--wrong-angle", options->wrong_angle,
                  "Degrees of another probe, by which every choice is made beside; without it there is none")
      ->check(real_number(0, 89))
      ->default_str("")
      ->group(choice);
  const char* const simulation = "Simulation";
  app->add_option("--draws", options->draws, "Simulated draws a point; without it nothing is simulated")
      ->check(whole_number(1, 10000))
      ->default_str("")
      ->group(simulation);
  add_dimension(*app, options->dimension)->group(simulation);
  app->add_option("--simulate-to", options->simulate_to, "Largest alpha simulated")
      ->check(real_number(0, 1e4))
      ->group(simulation);
  app->add_option("-o,--out", options->out, "Folder for result.json and report.html; without it nothing is written")
      ->default_str("");
  add_notes(*app, {"scalelab theory --out theory", "scalelab theory --alpha 1,3,10 --draws 8 --simulate-to 10"},
            {"A perceptron learns from a teacher's labels. A probe says how hard an example is: the nearer to the\n"
             "probe's boundary, the harder. A part of the examples is kept, the hardest or the easiest, and the\n"
             "student with the largest margin on that part is held against one that learned from a random part.\n"});
  const auto needs = [options] {
    Needs needs;
    if (options->draws > 0) needs.parts = {{Work::max_margin, static_cast<double>(options->draws)}};
    return needs;
  };
  return {.app = app,
          .run = [options](Session& session) { return run_theory(*options, session); },
          .needs = needs,
          .deals = true};
}

}  // namespace scalelab::host
