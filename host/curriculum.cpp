// curriculum: does it pay to show easy examples first? Thousands of small networks on the XOR-like mixture of
// scalelab/curriculum.h, three orders from the same starts and examples.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "host/command.h"
#include "host/compare.h"
#include "host/error.h"
#include "host/files.h"
#include "host/statistics.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

constexpr Order kOrders[] = {Order::curriculum, Order::random, Order::anti};
constexpr const char* kOrderNames[] = {"curriculum", "random", "anti"};

struct CurriculumOptions {
  XorProblem problem;
  std::vector<int> widths = {2, 4, 6, 8, 12, 16, 32, 64};
  std::string seeds = "0..199";
  std::string gate = "relu";
  double threshold = 0.65;  // accuracy, for the time to reach it
  std::string out;
};

// Of the optimal classifier on examples of this variance: each of the two axes' coordinates decides for itself.
double bayes_error(double variance) {
  const double p = 0.5 * std::erfc(1 / std::sqrt(2 * variance) / std::sqrt(2.0));
  return 2 * p * (1 - p);
}

Outcome run_curriculum(const CurriculumOptions& options, Session& session) {
  const Backend& backend = session.context.backend();
  if (backend.xor_sgd == nullptr) {
    throw Failure(kNoBackend,
                  fmt::format("curriculum: the {} backend has no such op yet; use --backend cpu", backend.name));
  }
  XorProblem problem = options.problem;
  problem.gate = options.gate == "erf" ? Gate::erf : Gate::relu;
  const auto seeds = parse_seeds(options.seeds);
  const std::size_t n_seeds = seeds.size(), n_orders = std::size(kOrders), n_widths = options.widths.size();
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
    nlohmann::json row = {{"width", options.widths[w]}};
    text += fmt::format("{:>6}", options.widths[w]);
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
  if (!options.out.empty()) {
    make_output_folder(options.out);
    write_file(std::filesystem::path(options.out) / "curriculum.json", json_text(document));
  }
  return {document, text, 0};
}

}  // namespace

Command add_curriculum(CLI::App& program) {
  auto options = std::make_shared<CurriculumOptions>();
  XorProblem& problem = options->problem;
  CLI::App* app = program.add_subcommand("curriculum", "Easy first, hard first or mixed: three orders over widths");
  app->add_option("--widths", options->widths, "Hidden units")->delimiter(',')->check(whole_number(1, 1024));
  app->add_option("--seeds", options->seeds, "Seeds, as 0..199 or 0,3,7");
  app->add_option("--time", problem.time, "Budget: steps / dimension")->check(real_number(0.01, 1e5));
  app->add_option("--dimension", problem.dimension, "Input dimensions")->check(whole_number(2, 4096));
  app->add_option("--easy-variance", problem.easy_variance, "Variance of easy examples")->check(real_number(1e-6, 1e3));
  app->add_option("--hard-variance", problem.hard_variance, "Variance of hard examples")->check(real_number(1e-6, 1e3));
  app->add_option("--easy-share", problem.easy_share, "Share of easy steps")->check(real_number(0, 1));
  app->add_option("--learning-rate", problem.rate, "Rate of the input weights")->check(real_number(1e-6, 1e3));
  app->add_flag("--decay", problem.decay, "Let the rate fall to 0 over the budget");
  app->add_option("--start", problem.start, "Deviation of the starting weights")->check(real_number(0, 1e3));
  app->add_option("--gate", options->gate, "relu or erf")->check(CLI::IsMember({"relu", "erf"}));
  app->add_option("--evaluations", problem.evaluations, "Measurements along a run")->check(whole_number(1, 10000));
  app->add_option("--test-examples", problem.test_examples, "Hard examples tested on")->check(whole_number(1, 1000000));
  app->add_option("--threshold", options->threshold, "Accuracy for the time to reach it")->check(real_number(0, 1));
  app->add_option("--out", options->out, "Folder for curriculum.json");
  const auto needs = [options] {
    const auto networks = static_cast<double>(options->widths.size() * std::size(kOrders));
    return Needs{{{Work::xor_sgd, networks}}, "--seeds"};
  };
  return {app, [options](Session& session) { return run_curriculum(*options, session); }, needs};
}

}  // namespace scalelab::host
