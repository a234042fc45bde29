#include "host/studies/xor_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "host/lab/trial_options.h"
#include "host/program/devices.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/ranks.h"
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

// Seeds of the long budget and of the shares, where nothing else is asked for.
constexpr std::size_t kFewerSeeds = 60;

struct XorOptions {
  XorProblem problem;
  std::string gate = "relu", seeds = "0..199";
  std::vector<int> widths = {2, 4, 6, 8, 12, 16, 32, 64};
  double target_error = 0.35;
  // Beside the budget itself: a longer one over which the rate falls to 0, and other shares of easy examples.
  float long_time = 60;
  std::vector<double> shares = {0, 0.25, 0.5, 0.75, 1};
  std::string long_seeds, share_seeds;  // empty: the first kFewerSeeds of `seeds`
  std::string out;
};

// The networks of one width that saw their examples in one order.
struct Networks {
  int width;
  std::string order;
  std::vector<SeedErrors> course;  // their errors at every evaluation, the last at the end of the budget
};

// One setting of the problem, and what was measured in it.
struct Arm {
  XorProblem problem;
  std::vector<std::uint64_t> seeds;
  std::vector<Order> orders;
  std::vector<Networks> networks{};

  SeedErrors errors(int width, const std::string& order) const {
    for (const Networks& one : networks) {
      if (one.width == width && one.order == order) return one.course.back();
    }
    return {};
  }
};

// Of the optimal classifier on examples of this variance: each of the two axes' coordinates decides for itself.
double bayes_error(double variance) {
  const double p = 0.5 * std::erfc(1 / std::sqrt(2 * variance) / std::sqrt(2.0));
  return 2 * p * (1 - p);
}

const char* order_name(Order order) {
  return kOrderNames[std::find(std::begin(kOrders), std::end(kOrders), order) - std::begin(kOrders)];
}

// Trains a network for every seed, width and order, in one call for each device, so that it is full, and sorts their
// errors.
void measure(Arm& arm, const XorOptions& options, Session& session) {
  const XorProblem& problem = arm.problem;
  std::vector<XorRun> runs;
  for (const std::uint64_t seed : arm.seeds) {
    for (const int width : options.widths) {
      for (const Order order : arm.orders) runs.push_back({seed, width, order});
    }
  }
  std::vector<float> accuracies;  // (runs, evaluations)
  {
    const Stage stage(session, fmt::format("training {} networks", runs.size()));
    Devices devices(session);
    const auto parts = std::min(static_cast<std::size_t>(devices.count()), runs.size());
    devices.deal(std::vector<double>(parts, 1), [&](Session& own) -> Devices::Worker {
      return [&](std::size_t part) -> Devices::Delivery {
        const Share share = share_of(std::ssize(runs), 1, static_cast<int>(part), static_cast<int>(parts));
        const Buffer<float> buffer(own.context, {share.count, problem.evaluations});
        const auto some = std::span<const XorRun>(runs).subspan(static_cast<std::size_t>(share.first),
                                                                static_cast<std::size_t>(share.count));
        own.context.backend().xor_sgd(problem, some, buffer, own.context);
        return [&, found = buffer.to_host()] { accuracies.insert(accuracies.end(), found.begin(), found.end()); };
      };
    });
  }
  std::vector<Networks>& list = arm.networks;
  for (const int width : options.widths) {
    for (const Order order : arm.orders) {
      list.push_back(
          {width, order_name(order), std::vector<SeedErrors>(static_cast<std::size_t>(problem.evaluations))});
    }
  }
  // Runs of a seed stand in the order of `list`.
  for (std::size_t run = 0; run < runs.size(); ++run) {
    auto& course = list[run % list.size()].course;
    for (std::size_t e = 0; e < course.size(); ++e) {
      course[e].by_draw[{.seed = runs[run].seed}] = 1 - static_cast<double>(accuracies[run * course.size() + e]);
    }
  }
}

// The budget that was asked for, the long one, and the other shares.
struct Arms {
  Arm short_budget;
  std::optional<Arm> long_budget;
  std::vector<Arm> shares;

  // The arm with a share of easy examples.
  const Arm* of_share(double share) const {
    for (const Arm& arm : shares) {
      if (arm.problem.easy_share == static_cast<float>(share)) return &arm;
    }
    return short_budget.problem.easy_share == static_cast<float>(share) ? &short_budget : nullptr;
  }
};

Arms arms_of(const XorOptions& options) {
  const std::vector<Order> all(std::begin(kOrders), std::end(kOrders));
  Arms arms{{options.problem, parse_seeds(options.seeds), all}, std::nullopt, {}};
  const auto fewer = [&](const std::string& asked, const char* option) {
    std::vector<std::uint64_t> seeds = asked.empty() ? arms.short_budget.seeds : parse_seeds(asked, option);
    if (asked.empty()) seeds.resize(std::min(seeds.size(), kFewerSeeds));
    return seeds;
  };
  const bool already = options.problem.decay && options.problem.time == options.long_time;
  if (options.long_time > 0 && !already) {
    Arm arm{options.problem, fewer(options.long_seeds, "--long-seeds"), all};
    arm.problem.time = options.long_time;
    arm.problem.decay = true;
    arms.long_budget = std::move(arm);
  }
  for (const double share : std::set<double>(options.shares.begin(), options.shares.end())) {
    if (static_cast<float>(share) == options.problem.easy_share) continue;
    // Where all examples are alike there is no order of them.
    const std::vector<Order> orders =
        share == 0 || share == 1 ? std::vector{Order::random} : std::vector{Order::curriculum, Order::random};
    Arm arm{options.problem, fewer(options.share_seeds, "--share-seeds"), orders};
    arm.problem.easy_share = static_cast<float>(share);
    arms.shares.push_back(std::move(arm));
  }
  return arms;
}

// When the networks first come to the target; infinite for those that do not.
SeedErrors times_to_target(const Networks& networks, const XorOptions& options) {
  const double step = options.problem.time / options.problem.evaluations;
  SeedErrors times;
  times.fractions = false;
  for (const auto& [draw, final] : networks.course.back().by_draw) {
    const auto reached = [&, draw = draw](const SeedErrors& errors) {
      return errors.by_draw.at(draw) <= options.target_error;
    };
    const auto first = std::find_if(networks.course.begin(), networks.course.end(), reached);
    times.by_draw[draw] = first == networks.course.end()
                              ? std::numeric_limits<double>::infinity()
                              : static_cast<double>(first - networks.course.begin() + 1) * step;
  }
  return times;
}

// Time to the target, by width and order: how many seeds came to it, and when half of them had.
struct Times {
  std::size_t reached;
  double median;
};
Times times_of(const Networks& networks, const XorOptions& options) {
  std::vector<double> times;
  for (const auto& [draw, time] : times_to_target(networks, options).by_draw) times.push_back(time);
  std::sort(times.begin(), times.end());
  const auto finite = std::find_if(times.begin(), times.end(), [](double time) { return std::isinf(time); });
  return {static_cast<std::size_t>(finite - times.begin()), times[(times.size() - 1) / 2]};
}

// An order's time to the target over that of the random one, of the seeds in which both come to it.
GeometricMean time_ratio(const std::vector<Networks>& all, const Networks& own, const XorOptions& options) {
  SeedErrors of_random;
  for (const Networks& random : all) {
    if (random.width == own.width && random.order == "random") of_random = times_to_target(random, options);
  }
  return times_to_target(own, options).ratio_to(of_random);
}

Finding times_finding(const std::vector<Networks>& all, const XorOptions& options) {
  Finding f{.id = "time"};
  f.columns = {"width", "order", "seeds that reach it", "median time", "times that of random", "95 % interval"};
  std::vector<std::string> said;
  for (const Networks& networks : all) {
    const GeometricMean ratio = time_ratio(all, networks, options);
    if (networks.order != "curriculum" || !std::isfinite(ratio.interval.low)) continue;
    f.points.push_back(
        fmt::format("width {}: where both come to it, easy first takes {:.2f} [{:.2f}, {:.2f}] times as long "
                    "as a random order ({})",
                    networks.width, ratio.mean, ratio.interval.low, ratio.interval.high, counted(ratio.n, "seed")));
  }
  for (const char* order : kOrderNames) {
    std::vector<std::string> widths;
    for (const Networks& networks : all) {
      if (networks.order != order) continue;
      const Times times = times_of(networks, options);
      if (std::isfinite(times.median)) widths.push_back(std::to_string(networks.width));
      f.table.push_back({std::to_string(networks.width), order,
                         fmt::format("{} of {}", times.reached, networks.course.back().by_draw.size()),
                         std::isfinite(times.median) ? fmt::format("{:g}", times.median) : "-"});
      const GeometricMean ratio = time_ratio(all, networks, options);
      f.table.back().push_back(networks.order == "random" || ratio.n == 0 ? "-" : fmt::format("{:.2f}", ratio.mean));
      f.table.back().push_back(networks.order == "random" || !std::isfinite(ratio.interval.low)
                                   ? "-"
                                   : fmt::format("{:.2f} to {:.2f}", ratio.interval.low, ratio.interval.high));
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

// Easy first against a random order, and easy examples alone against easy first, by the share of easy examples.
Finding shares_finding(const Arms& arms, const XorOptions& options) {
  Finding f{.id = "shares"};
  f.columns = {"width", "share of easy examples", "curriculum, %", "random, %"};
  std::set<double> shares(options.shares.begin(), options.shares.end());
  for (const int width : options.widths) {
    for (const double share : shares) {
      const Arm* arm = arms.of_share(share);
      if (arm == nullptr || arm->orders.size() < 2) continue;
      const Contrast c = contrast("curriculum", arm->errors(width, "curriculum"), "random",
                                  arm->errors(width, "random"), kMeasure, {{"width", width}, {"share", share}});
      if (c.difference.n == 0) continue;
      f.table.push_back(
          {std::to_string(width), fmt::format("{:g} %", 100 * share), worded(c.of_what), worded(c.of_against)});
      f.contrasts.push_back(c);
    }
  }
  f.text = fmt::format("Budget {:g}, tested on hard examples; paired.", options.problem.time);
  const Verdicts verdicts = settle_by_place(f, [](const Contrast& c) {
    return fmt::format("width {} with {:g} %", c.place.at("width").dump(), 100 * c.place.at("share").get<double>());
  });
  f.title = fmt::format("By the share of easy examples, the error of curriculum against a random order is {}",
                        verdicts.counted());
  constexpr std::size_t kMostPlaces = 12;  // more would be a list that nobody reads; the map shows all
  if (f.contrasts.size() <= kMostPlaces) {
    f.points.insert(f.points.begin(), verdicts.worded("lower at", "undecided at", "higher at", "the same at"));
  }
  return f;
}

Finding easy_alone_finding(const Arms& arms, const XorOptions& options) {
  Finding f{.id = "easy-alone"};
  f.columns = {"width", "easy alone, %", "curriculum, %"};
  const Arm *easy = arms.of_share(1), &mixed = arms.short_budget;
  if (easy == nullptr || easy == &mixed) return f;
  for (const int width : options.widths) {
    const Contrast c = contrast("easy alone", easy->errors(width, "random"), "curriculum",
                                mixed.errors(width, "curriculum"), kMeasure, {{"width", width}});
    if (c.difference.n == 0) continue;
    f.table.push_back({std::to_string(width), worded(c.of_what), worded(c.of_against)});
    f.contrasts.push_back(c);
  }
  if (f.contrasts.empty()) return f;
  f.text = fmt::format(
      "Tested on hard examples, which the networks that see easy ones alone never meet; as many steps, paired. The "
      "curriculum has {:g} % easy examples.",
      100 * options.problem.easy_share);
  const Verdicts verdicts = settle_by_place(f, [](const Contrast& c) { return c.place.at("width").dump(); });
  f.title =
      fmt::format("Easy examples alone: against the curriculum their error is {}",
                  verdicts.worded("lower at width", "undecided at width", "higher at width", "the same at width"));
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

nlohmann::json summary_of(const std::vector<Networks>& all, const Networks& networks, const XorOptions& options) {
  nlohmann::json course = nlohmann::json::array();
  for (std::size_t e = 0; e < networks.course.size(); ++e) {
    nlohmann::json point = to_json(networks.course[e].summary());
    point["time"] = static_cast<double>(e + 1) * (options.problem.time / options.problem.evaluations);
    course.push_back(std::move(point));
  }
  const Times times = times_of(networks, options);
  const GeometricMean ratio = time_ratio(all, networks, options);
  return {{"params", {{"width", networks.width}, {"order", networks.order}}},
          {kMeasure, to_json(networks.course.back())},
          {"course", course},
          {"reached_target", times.reached},
          {"median_time", number(times.median)},
          {"time_of_random",
           {{"mean", number(ratio.mean)},
            {"low", number(ratio.interval.low)},
            {"high", number(ratio.interval.high)},
            {"seeds", ratio.n}}}};
}

nlohmann::json summaries_of(const Arm& arm, const XorOptions& options) {
  nlohmann::json list = nlohmann::json::array();
  XorOptions own = options;
  own.problem = arm.problem;
  for (const Networks& networks : arm.networks) list.push_back(summary_of(arm.networks, networks, own));
  return list;
}

nlohmann::json members_of(const Arms& arms, const XorOptions& options) {
  nlohmann::json members = {
      {"problem", problem_json(options.problem, options.gate)},
      {"widths", options.widths},
      {"seeds", arms.short_budget.seeds},
      {"bayes_error",
       {{"easy", bayes_error(options.problem.easy_variance)}, {"hard", bayes_error(options.problem.hard_variance)}}},
      {"target_error", options.target_error},
      {"summary", summaries_of(arms.short_budget, options)},
      {"long", nullptr},
      {"shares", nlohmann::json::array()}};
  if (arms.long_budget) {
    members["long"] = {{"problem", problem_json(arms.long_budget->problem, options.gate)},
                       {"seeds", arms.long_budget->seeds},
                       {"summary", summaries_of(*arms.long_budget, options)}};
  }
  for (const Arm& arm : arms.shares) {
    members["shares"].push_back({{"easy_share", std::stod(fmt::format("{}", arm.problem.easy_share))},
                                 {"seeds", arm.seeds},
                                 {"summary", summaries_of(arm, options)}});
  }
  return members;
}

// The findings on orders in one budget.
void add_order_findings(const Arm& arm, const XorOptions& options, const std::string& end, std::vector<Finding>& list) {
  const OrderErrors errors = [&](int width, const std::string& order, const std::string&) {
    return arm.errors(width, order);
  };
  for (const char* order : {"curriculum", "anti"}) {
    Finding f = order_finding(order, options.widths, {kMeasure}, errors);
    f.id += end;
    if (!end.empty()) f.title = fmt::format("With time {:g} and a rate that falls to 0: {}", arm.problem.time, f.title);
    f.text += fmt::format("{}Compared at the end of a budget of {:g} (steps over dimensions{}).",
                          f.text.ends_with(' ') ? "" : " ", arm.problem.time,
                          arm.problem.decay ? ", the rate falling to 0" : ", at a constant rate");
    list.push_back(std::move(f));
  }
}

std::string budget_text(const Arm& arm, const XorOptions& options) {
  const OrderErrors errors = [&](int width, const std::string& order, const std::string&) {
    return arm.errors(width, order);
  };
  return fmt::format(
      "Error on hard examples in % after time {:g}{}, mean over {} with its 95 % interval; the best possible is {}.\n"
      "Differences are paired over seeds, in points, with 95 % intervals: orders of a seed share start and "
      "examples.\n{}",
      arm.problem.time, arm.problem.decay ? ", the rate falling to 0" : "", counted(std::ssize(arm.seeds), "seed"),
      percent(bayes_error(options.problem.hard_variance)),
      order_table({"curriculum", "anti"}, options.widths, kMeasure, errors));
}

Outcome run(XorOptions options, Session& session) {
  options.problem.gate = options.gate == "erf" ? Gate::erf : Gate::relu;
  const std::set<int> ascending(options.widths.begin(), options.widths.end());
  options.widths.assign(ascending.begin(), ascending.end());
  Arms arms = arms_of(options);
  std::vector<Arm*> all = {&arms.short_budget};
  if (arms.long_budget) all.push_back(&*arms.long_budget);
  for (Arm& arm : arms.shares) all.push_back(&arm);
  const auto cost = [](const Arm& arm) {
    return std::llround(1000 * arm.problem.time * static_cast<double>(arm.seeds.size() * arm.orders.size()));
  };
  std::int64_t done = 0, whole = 0;
  for (const Arm* arm : all) whole += cost(*arm);
  {
    Stage stage(session, "xor");
    for (Arm* arm : all) {
      stage.part(done, done + cost(*arm), whole);
      measure(*arm, options, session);
      done += cost(*arm);
    }
  }

  Study study{.command = "xor", .experiment = "xor", .title = "Easy first, hard first or mixed, on an XOR of clusters"};
  add_order_findings(arms.short_budget, options, "", study.findings);
  if (arms.long_budget) add_order_findings(*arms.long_budget, options, "-long", study.findings);
  study.findings.push_back(times_finding(arms.short_budget.networks, options));
  if (!arms.shares.empty()) {
    for (Finding& f : std::vector{easy_alone_finding(arms, options), shares_finding(arms, options)}) {
      if (!f.contrasts.empty()) study.findings.push_back(std::move(f));
    }
  }
  study.more = members_of(arms, options);

  std::string text = budget_text(arms.short_budget, options);
  if (arms.long_budget) text += budget_text(*arms.long_budget, options);
  nlohmann::json document = findings_document(study, session);
  auto page = std::make_shared<const Page>(xor_page(document));
  return end_in(options.out, std::move(document), text + to_text(study.findings), std::move(page));
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
  option(training, "--long-time", options->long_time, "A second budget, over which the rate falls to 0; 0: none")
      ->check(real_number(0, 1e5));
  add_list(*app, "--long-seeds", options->long_seeds, 0, UINT32_MAX,
           "Seeds of the second budget; left out: the first 60")
      ->group(training);
  add_list(*app, "--shares", options->shares, 0.0, 1.0,
           "Shares of easy examples to compare at the first budget; --easy-share alone: none")
      ->group(mixture);
  add_list(*app, "--share-seeds", options->share_seeds, 0, UINT32_MAX, "Seeds of the shares; left out: the first 60")
      ->group(mixture);
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
  const auto needs = [options] {
    return Needs{{{Work::xor_sgd, static_cast<double>(options->widths.size() * std::size(kOrders))}}, "--seeds"};
  };
  return {
      .app = app, .run = [options](Session& session) { return run(*options, session); }, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
