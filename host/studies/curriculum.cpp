// scalelab curriculum: does it pay to show easy examples first? On the XOR-like mixture of scalelab/xor_sgd.h:
// thousands of small networks, three orders from the same starts and examples. On the spiral, or points of a file:
// order_study.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "host/evidence/statistics.h"
#include "host/lab/trial_options.h"
#include "host/lab/visit_order.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/order_study.h"
#include "host/studies/story.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

constexpr Order kOrders[] = {Order::curriculum, Order::random, Order::anti};
constexpr const char* kOrderNames[] = {"curriculum", "random", "anti"};

struct CurriculumOptions {
  std::string problem_name = "xor";
  std::vector<int> widths;  // empty: of the problem, as `seeds`
  std::string seeds;
  OrderStudy spiral;
  std::vector<const CLI::Option*> of_xor, of_spiral;  // options that belong to one problem

  XorProblem problem;
  std::string gate = "relu";
  double threshold = 0.65;  // accuracy, for the time to reach it
};

// Of the optimal classifier on examples of this variance: each of the two axes' coordinates decides for itself.
double bayes_error(double variance) {
  const double p = 0.5 * std::erfc(1 / std::sqrt(2 * variance) / std::sqrt(2.0));
  return 2 * p * (1 - p);
}

Outcome run_xor(const CurriculumOptions& options, Session& session) {
  const Backend& backend = session.context.backend();
  XorProblem problem = options.problem;
  problem.gate = options.gate == "erf" ? Gate::erf : Gate::relu;
  const auto seeds = parse_seeds(options.seeds.empty() ? "0..199" : options.seeds);
  const std::vector<int> widths =
      options.widths.empty() ? std::vector<int>{2, 4, 6, 8, 12, 16, 32, 64} : options.widths;
  const std::size_t n_seeds = seeds.size(), n_orders = std::size(kOrders), n_widths = widths.size();
  std::vector<XorRun> runs;
  for (const std::uint64_t seed : seeds) {
    for (const int width : widths) {
      for (const Order order : kOrders) runs.push_back({seed, width, order});
    }
  }
  const auto m = static_cast<std::int64_t>(runs.size());
  Buffer<float> buffer(session.context, {m, problem.evaluations});
  {
    Stage stage(session, fmt::format("training {} networks", m));
    backend.xor_sgd(problem, runs, buffer, session.context);
  }
  const auto accuracies = buffer.to_host();
  const auto at = [&](std::size_t seed, std::size_t width, std::size_t order, int evaluation) -> double {
    return accuracies[((seed * n_widths + width) * n_orders + order) * problem.evaluations + evaluation];
  };
  const double time_step = problem.time / problem.evaluations;
  const int last = problem.evaluations - 1;
  // Time at which a run first reaches the threshold; infinite when it does not within the budget.
  const auto time_to_threshold = [&](std::size_t seed, std::size_t width, std::size_t order) {
    for (int e = 0; e <= last; ++e) {
      if (at(seed, width, order, e) >= options.threshold) return (e + 1) * time_step;
    }
    return std::numeric_limits<double>::infinity();
  };

  nlohmann::json document = {
      {"schema", 1},
      {"experiment", "curriculum"},
      {"problem",
       {{"dimension", problem.dimension},
        {"easy_variance", problem.easy_variance},
        {"hard_variance", problem.hard_variance},
        {"easy_share", problem.easy_share},
        {"rate", problem.rate},
        {"decay", problem.decay},
        {"start", problem.start},
        {"train_output", problem.train_output},
        {"gate", options.gate},
        {"time", problem.time},
        {"test_examples", problem.test_examples}}},
      {"seeds", seeds},
      {"bayes_error", {{"easy", bayes_error(problem.easy_variance)}, {"hard", bayes_error(problem.hard_variance)}}},
      {"threshold", options.threshold},
      {"rows", nlohmann::json::array()},
      {"environment", environment(session)}};
  std::string text = fmt::format(
      "Accuracy on hard examples after time {:g} ({} seeds, mean +- standard error); best possible {:.4f}\n{:>6}  "
      "{:<16}  {:<16}  {:<16}  "
      "curriculum - random    anti - random\n",
      problem.time, n_seeds, 1 - bayes_error(problem.hard_variance), "width", kOrderNames[0], kOrderNames[1],
      kOrderNames[2]);
  for (std::size_t w = 0; w < n_widths; ++w) {
    std::vector<std::vector<double>> finals(n_orders);
    nlohmann::json row = {{"width", widths[w]}};
    text += fmt::format("{:>6}", widths[w]);
    for (std::size_t o = 0; o < n_orders; ++o) {
      nlohmann::json course = nlohmann::json::array();
      for (int e = 0; e <= last; ++e) {
        std::vector<double> values;
        for (std::size_t s = 0; s < n_seeds; ++s) values.push_back(at(s, w, o, e));
        const Summary summary = summarize(values);
        course.push_back(
            {{"time", (e + 1) * time_step}, {"accuracy", summary.mean}, {"standard_error", summary.standard_error}});
        if (e == last) finals[o] = values;
      }
      int reached = 0;
      std::vector<double> times;
      for (std::size_t s = 0; s < n_seeds; ++s) {
        times.push_back(time_to_threshold(s, w, o));
        reached += std::isfinite(times.back());
      }
      std::sort(times.begin(), times.end());
      const double median = times[(n_seeds - 1) / 2];
      row[kOrderNames[o]] = {
          {"course", course},
          {"final", finals[o]},
          {"reached_threshold", reached},
          {"median_time_to_threshold", std::isfinite(median) ? nlohmann::json(median) : nlohmann::json()}};
      const Summary summary = summarize(finals[o]);
      text += fmt::format("  {:.4f} +- {:.4f}", summary.mean, summary.standard_error);
    }
    for (const std::size_t o : {std::size_t{0}, std::size_t{2}}) {
      const Paired difference = paired(finals[o], finals[1]);
      row[std::string(kOrderNames[o]) + "_minus_random"] = {{"mean", difference.mean},
                                                            {"low", difference.interval.low},
                                                            {"high", difference.interval.high},
                                                            {"verdict", difference.verdict()}};
      text += fmt::format("  {:+.4f} [{:+.4f}, {:+.4f}]", difference.mean, difference.interval.low,
                          difference.interval.high);
    }
    text += "\n";
    document["rows"].push_back(row);
  }
  text +=
      "Differences are paired over seeds, with 95 % intervals; the three orders of a seed share start and examples.\n";
  const std::filesystem::path out = options.spiral.sweep.out;
  Outcome outcome{document, text};
  if (!out.empty()) {
    make_output_folder(out);
    write_file(out / "result.json", json_text(document));
    outcome.page = std::make_shared<const Page>(curriculum_page(document));
    outcome.folder = out;
  }
  return outcome;
}

Outcome run_curriculum(const CurriculumOptions& options, Session& session) {
  const bool is_xor = options.problem_name == "xor";
  for (const CLI::Option* option : is_xor ? options.of_spiral : options.of_xor) {
    if (option->count() > 0) {
      throw Failure(kMisuse,
                    fmt::format("{} does not belong to --problem {}", option->get_name(), options.problem_name));
    }
  }
  if (is_xor) return run_xor(options, session);
  OrderStudy study = options.spiral;
  if (study.sweep.out.empty()) throw Failure(kMisuse, "--out is required for --problem spiral: rows are kept there");
  for (const int width : options.widths) {
    if (width < 2 || width > kMaxWidth) {
      throw Failure(kMisuse, fmt::format("--widths {}: must be from 2 to {}", width, kMaxWidth));
    }
  }
  if (!options.widths.empty()) study.widths = options.widths;
  if (!options.seeds.empty()) study.seeds = options.seeds;
  return run_order_study(std::move(study), session);
}

}  // namespace

Command add_curriculum(CLI::App& program) {
  auto options = std::make_shared<CurriculumOptions>();
  XorProblem& problem = options->problem;
  OrderStudy& spiral = options->spiral;
  CLI::App* app = program.add_subcommand("curriculum", "Easy first, hard first or mixed: orders of data over widths");
  app->add_option("--problem", options->problem_name, "xor: online SGD on four clusters; spiral: rows of a data set")
      ->check(CLI::IsMember({"xor", "spiral"}));
  app->add_option("--widths", options->widths, "Hidden units; unless given 2 to 64 (xor), 4 to 256 (spiral)")
      ->delimiter(',')
      ->check(whole_number(1, 1024));
  app->add_option("--seeds", options->seeds, "Seeds, as 0,3,7; unless given 0..199 (xor), 0..5 (spiral)");

  auto& of_xor = options->of_xor;
  const auto xor_option = [&](const char* name, auto& value, const char* help) {
    CLI::Option* option = app->add_option(name, value, std::string("xor: ") + help);
    of_xor.push_back(option);
    return option;
  };
  xor_option("--time", problem.time, "budget, steps / dimension")->check(real_number(0.01, 1e5));
  xor_option("--dimension", problem.dimension, "input dimensions")->check(whole_number(2, 4096));
  xor_option("--easy-variance", problem.easy_variance, "variance of easy examples")->check(real_number(1e-6, 1e3));
  xor_option("--hard-variance", problem.hard_variance, "variance of hard examples")->check(real_number(1e-6, 1e3));
  xor_option("--easy-share", problem.easy_share, "share of easy steps")->check(real_number(0, 1));
  xor_option("--learning-rate", problem.rate, "rate of the input weights")->check(real_number(1e-6, 1e3));
  of_xor.push_back(app->add_flag("--decay", problem.decay, "xor: let the rate fall to 0 over the budget"));
  xor_option("--start", problem.start, "deviation of the starting weights")->check(real_number(0, 1e3));
  xor_option("--gate", options->gate, "relu or erf")->check(CLI::IsMember({"relu", "erf"}));
  xor_option("--evaluations", problem.evaluations, "measurements along a run")->check(whole_number(1, 10000));
  xor_option("--test-examples", problem.test_examples, "hard examples tested on")->check(whole_number(1, 1000000));
  xor_option("--threshold", options->threshold, "accuracy for the time to reach it")->check(real_number(0, 1));

  auto& of_spiral = options->of_spiral;
  const auto spiral_option = [&](const char* name, auto& value, const char* help) {
    CLI::Option* option = app->add_option(name, value, std::string("spiral: ") + help);
    of_spiral.push_back(option);
    return option;
  };
  Trial& trial = spiral.trial;
  trial.model = trial.score = "";
  spiral.orders.assign(kVisitOrders.begin() + 1, kVisitOrders.end());
  spiral_option("--data", trial.data, "a CSV file of labelled points in its place");
  spiral_option("--orders", spiral.orders, "held against random: curriculum, anti, sorted, sorted-anti")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(kVisitOrders.begin() + 1, kVisitOrders.end())));
  spiral_option("--score", trial.score,
                "what is hard: margin (unless given), boundary, kmeans (of a file), kmeans-cosine, class-mean, el2n, "
                "forgetting, ddd");
  spiral_option("--clusters", trial.clusters, "of k-means; 100 where it is not given")
      ->check(whole_number(0, 1'000'000))
      ->default_str("");
  spiral_option("--n", trial.n, "training points")->check(whole_number(2, 10'000'000));
  spiral_option("--epochs", trial.epochs, "visits to every row")->check(whole_number(1, 10'000'000));
  spiral_option("--hidden-layers", trial.hidden_layers, "1 to 4")->check(whole_number(1, kMaxHiddenLayers));
  spiral_option("--precision", trial.precision, kPrecisionHelp)->check(precision_name());
  spiral_option("--model", trial.model, "mlp-polar (unless given), mlp-xy (of a file), ..., with extras");
  spiral_option("--grid", trial.grid, "cells along each side of the grid errors are counted on")
      ->check(whole_number(1, 16384));
  spiral_option("--density-points", trial.density_points, "fresh draws errors are counted on")
      ->check(whole_number(1, 10'000'000));
  add_sweep_options(*app, spiral.sweep);
  app->get_option("--out")->required(false)->description("Folder for result.json, and of the spiral's store");
  for (const char* name : {"--shard", "--retry", "--dry-run"}) of_spiral.push_back(app->get_option(name));
  add_notes(*app,
            {"scalelab curriculum --time 60 --decay --seeds 0..59 --out xor",
             "scalelab curriculum --problem spiral --out spiral"},
            {kModelsHelp, kScoresHelp});
  const auto needs = [options] {
    if (options->problem_name != "xor") return Needs{{{Work::mlp_train, 1e12}}, "--n"};
    const auto networks =
        static_cast<double>((options->widths.empty() ? 8 : options->widths.size()) * std::size(kOrders));
    return Needs{{{Work::xor_sgd, networks}}, "--seeds"};
  };
  return {app, [options](Session& session) { return run_curriculum(*options, session); }, needs};
}

}  // namespace scalelab::host
