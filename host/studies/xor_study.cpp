#include "host/studies/xor_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "host/lab/trial_options.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/orders.h"
#include "host/studies/study.h"
#include "scalelab/buffer.h"
#include "scalelab/xor_sgd.h"

namespace scalelab::host {

namespace {

constexpr Order kOrders[] = {Order::curriculum, Order::random, Order::anti};
constexpr const char* kOrderNames[] = {"curriculum", "random", "anti"};
constexpr const char* kMeasure = "test_error";

struct XorOptions {
  XorProblem problem;
  std::string gate = "relu", seeds = "0..199";
  std::vector<int> widths = {2, 4, 6, 8, 12, 16, 32, 64};
  double target_error = 0.35;
  std::string out;
};

// The networks of one width that saw their examples in one order.
struct Networks {
  int width;
  std::string order;
  std::vector<SeedErrors> course;  // their errors at every evaluation, the last at the end of the budget
};

// Of the optimal classifier on examples of this variance: each of the two axes' coordinates decides for itself.
double bayes_error(double variance) {
  const double p = 0.5 * std::erfc(1 / std::sqrt(2 * variance) / std::sqrt(2.0));
  return 2 * p * (1 - p);
}

// Trains a network for every seed, width and order in one call, so that a GPU is full, and sorts their errors.
std::vector<Networks> measure(const XorOptions& options, const std::vector<std::uint64_t>& seeds, Session& session) {
  const XorProblem& problem = options.problem;
  std::vector<XorRun> runs;
  for (const std::uint64_t seed : seeds) {
    for (const int width : options.widths) {
      for (const Order order : kOrders) runs.push_back({seed, width, order});
    }
  }
  const auto m = static_cast<std::int64_t>(runs.size());
  Buffer<float> buffer(session.context, {m, problem.evaluations});
  {
    Stage stage(session, fmt::format("training {} networks", m));
    session.context.backend().xor_sgd(problem, runs, buffer, session.context);
  }
  const auto accuracies = buffer.to_host();
  std::vector<Networks> list;
  for (const int width : options.widths) {
    for (const char* order : kOrderNames) {
      list.push_back({width, order, std::vector<SeedErrors>(static_cast<std::size_t>(problem.evaluations))});
    }
  }
  // Runs of a seed stand in the order of `list`.
  for (std::size_t run = 0; run < runs.size(); ++run) {
    auto& course = list[run % list.size()].course;
    for (std::size_t e = 0; e < course.size(); ++e) {
      course[e].by_draw[{.seed = runs[run].seed}] = 1 - static_cast<double>(accuracies[run * course.size() + e]);
    }
  }
  return list;
}

// When the networks first come to the target, by seed in ascending order of time; infinite for those that do not.
std::vector<double> times_to_target(const Networks& networks, const XorOptions& options) {
  const double step = options.problem.time / options.problem.evaluations;
  std::vector<double> times;
  for (const auto& [draw, final] : networks.course.back().by_draw) {
    const auto reached = [&, draw = draw](const SeedErrors& errors) {
      return errors.by_draw.at(draw) <= options.target_error;
    };
    const auto first = std::find_if(networks.course.begin(), networks.course.end(), reached);
    times.push_back(first == networks.course.end() ? std::numeric_limits<double>::infinity()
                                                   : static_cast<double>(first - networks.course.begin() + 1) * step);
  }
  std::sort(times.begin(), times.end());
  return times;
}

// Time to the target, by width and order: how many seeds came to it, and when half of them had.
struct Times {
  std::size_t reached;
  double median;
};
Times times_of(const Networks& networks, const XorOptions& options) {
  const auto times = times_to_target(networks, options);
  const auto finite = std::find_if(times.begin(), times.end(), [](double time) { return std::isinf(time); });
  return {static_cast<std::size_t>(finite - times.begin()), times[(times.size() - 1) / 2]};
}

Finding times_finding(const std::vector<Networks>& all, const XorOptions& options) {
  Finding f{.id = "time"};
  f.columns = {"width", "order", "seeds that reach it", "median time"};
  std::vector<std::string> said;
  for (const char* order : kOrderNames) {
    std::vector<std::string> widths;
    for (const Networks& networks : all) {
      if (networks.order != order) continue;
      const Times times = times_of(networks, options);
      if (std::isfinite(times.median)) widths.push_back(std::to_string(networks.width));
      f.table.push_back({std::to_string(networks.width), order,
                         fmt::format("{} of {}", times.reached, networks.course.back().by_draw.size()),
                         std::isfinite(times.median) ? fmt::format("{:g}", times.median) : "-"});
    }
    said.push_back(fmt::format("{} at {}", order, widths.empty() ? "no width" : "width " + listed(widths)));
  }
  f.title = fmt::format("Half of the networks come to an error of {} % within the budget: {}",
                        percent(options.target_error), listed(said));
  f.text = fmt::format(
      "Time is steps over dimensions, read at {} evaluations along a run. The end of the budget and the way there may "
      "favour different orders.",
      options.problem.evaluations);
  return f;
}

nlohmann::json problem_json(const XorProblem& problem, const std::string& gate) {
  // As the decimal number that was given, and not as the float nearest to it.
  const auto plain = [](float value) { return std::stod(fmt::format("{}", value)); };
  return {{"dimension", problem.dimension},
          {"easy_variance", plain(problem.easy_variance)},
          {"hard_variance", plain(problem.hard_variance)},
          {"easy_share", plain(problem.easy_share)},
          {"rate", plain(problem.rate)},
          {"decay", problem.decay},
          {"start", plain(problem.start)},
          {"train_output", problem.train_output},
          {"gate", gate},
          {"time", plain(problem.time)},
          {"evaluations", problem.evaluations},
          {"test_examples", problem.test_examples}};
}

nlohmann::json summary_of(const Networks& networks, const XorOptions& options) {
  nlohmann::json course = nlohmann::json::array();
  for (std::size_t e = 0; e < networks.course.size(); ++e) {
    const Summary summary = networks.course[e].summary();
    course.push_back({{"time", static_cast<double>(e + 1) * (options.problem.time / options.problem.evaluations)},
                      {"mean", summary.mean},
                      {"low", number(summary.interval.low)},
                      {"high", number(summary.interval.high)}});
  }
  const Times times = times_of(networks, options);
  return {{"params", {{"width", networks.width}, {"order", networks.order}}},
          {kMeasure, to_json(networks.course.back())},
          {"course", course},
          {"reached_target", times.reached},
          {"median_time", number(times.median)}};
}

Outcome run(XorOptions options, Session& session) {
  options.problem.gate = options.gate == "erf" ? Gate::erf : Gate::relu;
  const auto seeds = parse_seeds(options.seeds);
  const std::set<int> ascending(options.widths.begin(), options.widths.end());
  options.widths.assign(ascending.begin(), ascending.end());
  const std::vector<Networks> all = measure(options, seeds, session);
  const OrderErrors errors = [&](int width, const std::string& order, const std::string&) {
    for (const Networks& networks : all) {
      if (networks.width == width && networks.order == order) return networks.course.back();
    }
    return SeedErrors{};
  };

  Study study{.command = "xor", .experiment = "xor", .title = "Easy first, hard first or mixed, on an XOR of clusters"};
  for (const char* order : {"curriculum", "anti"}) {
    study.findings.push_back(order_finding(order, options.widths, {kMeasure}, errors));
    study.findings.back().text += fmt::format(
        "Compared at the end of a budget of {:g} (steps over dimensions); another budget can give another verdict.",
        options.problem.time);
  }
  study.findings.push_back(times_finding(all, options));
  study.more = {
      {"problem", problem_json(options.problem, options.gate)},
      {"widths", options.widths},
      {"seeds", seeds},
      {"bayes_error",
       {{"easy", bayes_error(options.problem.easy_variance)}, {"hard", bayes_error(options.problem.hard_variance)}}},
      {"target_error", options.target_error},
      {"summary", nlohmann::json::array()}};
  for (const Networks& networks : all) study.more["summary"].push_back(summary_of(networks, options));

  const std::string text = fmt::format(
      "Error on hard examples in % after time {:g}, mean over {} with its 95 % interval; the best possible is {}.\n"
      "Differences are paired over seeds, in points, with 95 % intervals: orders of a seed share start and examples.\n"
      "{}{}",
      options.problem.time, counted(std::ssize(seeds), "seed"), percent(bayes_error(options.problem.hard_variance)),
      order_table({"curriculum", "anti"}, options.widths, kMeasure, errors), to_text(study.findings));
  nlohmann::json document = findings_document(study, session);
  auto page = std::make_shared<const Page>(xor_page(document));
  return end_in(options.out, std::move(document), text, std::move(page));
}

}  // namespace

Command add_xor(CLI::App& program) {
  auto options = std::make_shared<XorOptions>();
  XorProblem& problem = options->problem;
  CLI::App* app = program.add_subcommand(
      "xor", "Easy first, hard first or mixed: orders of a mixture of Gaussians, in thousands of small networks");
  const auto option = [&](const char* group, const char* name, auto& value, const char* help) {
    return app->add_option(name, value, help)->group(group);
  };
  add_seeds(*app, options->seeds);
  const char* mixture = "Mixture";
  option(mixture, "--dimension", problem.dimension, "Of the inputs")->check(whole_number(2, 4096));
  option(mixture, "--easy-variance", problem.easy_variance, "Of easy examples")->check(real_number(1e-6, 1e3));
  option(mixture, "--hard-variance", problem.hard_variance, "Of hard examples")->check(real_number(1e-6, 1e3));
  option(mixture, "--easy-share", problem.easy_share, "Share of the steps that see an easy example")
      ->check(real_number(0, 1));
  const char* training = "Networks and training";
  add_list(*app, "--widths", options->widths, 1, 1024, "Hidden units")->group(training);
  option(training, "--gate", options->gate, "Activation: relu or erf")->check(one_of({"relu", "erf"}));
  option(training, "--time", problem.time, "Budget: steps over dimensions")->check(real_number(0.01, 1e5));
  option(training, "--learning-rate", problem.rate, "Of the input weights")->check(real_number(1e-6, 1e3));
  app->add_flag("--decay", problem.decay, "Let the learning rate fall to 0 over the budget")->group(training);
  option(training, "--start", problem.start, "Standard deviation of the starting weights")->check(real_number(0, 1e3));
  const char* measured = "Measured on";
  option(measured, "--evaluations", problem.evaluations, "Along a run, at equal distances; the last at its end")
      ->check(whole_number(1, 10000));
  option(measured, "--test-examples", problem.test_examples, "Hard examples, the same for all networks of a seed")
      ->check(whole_number(1, 1000000));
  option(measured, "--target-error", options->target_error, "Error whose first time along a run is noted")
      ->check(real_number(0, 1));
  app->add_option("-o,--out", options->out, "Folder for result.json and report.html; without it nothing is written")
      ->default_str("");
  add_notes(*app, {"scalelab xor --out xor", "scalelab xor --time 60 --decay --seeds 0..59 --widths 4..16 --out long"},
            {"Four clusters, two of each label, opposite ones alike (an XOR). Easy examples lie close to their\n"
             "cluster's centre, hard ones scatter. Orders:\n"
             "  random         easy and hard mixed: what the others are held against\n"
             "  curriculum     all easy examples first\n"
             "  anti           all hard examples first\n"
             "On rows of a data set: scalelab curriculum.\n"});
  return {
      app, [options](Session& session) { return run(*options, session); },
      [options] {
        return Needs{{{Work::xor_sgd, static_cast<double>(options->widths.size() * std::size(kOrders))}}, "--seeds"};
      }};
}

}  // namespace scalelab::host
