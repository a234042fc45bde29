// scalelab lottery: how far a network can be pruned, and whether it is the mask or the start that matters.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "host/evidence/finding.h"
#include "host/evidence/seed_errors.h"
#include "host/lab/lottery.h"
#include "host/lab/model.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

struct LotteryOptions {
  SweepOptions sweep;
  Trial trial;  // what all trials have in common
  std::vector<int> widths = {128}, levels = {2, 4, 6, 8, 10, 12, 15};
  std::string seeds = "0..5";
};

// The comparisons that findings are made of: the error of the first against that of the second.
struct Question {
  const char *kind, *against, *asks;
};
constexpr Question kQuestions[] = {
    {"rewound", "dense", "does pruning cost anything?"},
    {"rewound", "restarted", "does the start matter?"},
    {"rewound", "random-mask", "does the mask matter?"},
    {"rewound", "fine-tuned", "is it better to rewind than to go on?"},
    {"rewound", "small-dense", "would a small network have done?"},
    {"small-dense", "dense", "does a small network fail?"},
};

std::vector<Trial> trials_of(const LotteryOptions& options, const std::vector<std::uint64_t>& seeds) {
  std::vector<Trial> trials;
  for (const int width : options.widths) {
    const auto add = [&](const char* kind, int level) {
      for (const std::uint64_t seed : seeds) {
        Trial trial = options.trial;
        trial.width = width;
        trial.seed = seed;
        trial.ticket = kind;
        trial.level = level;
        trials.push_back(resolved(std::move(trial)));
      }
    };
    add("dense", 0);
    for (const int level : options.levels) {
      for (std::size_t kind = 1; kind < kTicketKinds.size(); ++kind) add(kTicketKinds[kind], level);
    }
  }
  return trials;
}

// One width: the table, its document, and what is found.
struct WidthReport {
  std::string text;
  nlohmann::json levels = nlohmann::json::array();
  std::vector<Finding> findings;
};

WidthReport report(int width, const LotteryOptions& options, const MlpShape& shape, const SweepResult& result) {
  const auto errors = [&](const std::string& kind, int level, const std::string& measure) {
    return seed_errors(result.rows, measure, [&](const Trial& trial) {
      return trial.width == width && trial.ticket == kind && trial.level == (kind == "dense" ? 0 : level);
    });
  };
  const auto measures = error_measures(options.trial.data);
  const auto prunable = prunable_weights(shape);
  const std::int64_t weights = std::count(prunable.begin(), prunable.end(), 1);
  WidthReport report;
  report.text = fmt::format("Width {}: the dense network {}\n", width, errors("dense", 0, measures[0]).worded());
  std::vector<std::vector<std::string>> means = {{"level", "weights"}}, differences = {{"level", "weights"}};
  for (std::size_t kind = 1; kind < kTicketKinds.size(); ++kind) means[0].push_back(kTicketKinds[kind]);
  means[0].push_back("its width");
  for (const Question& q : kQuestions) differences[0].push_back(fmt::format("{} - {}", q.kind, q.against));
  std::vector<Verdicts> verdicts(std::size(kQuestions));
  std::string sparsest;
  for (const int level : options.levels) {
    // As counted in the trained networks; every ticket of a level has as many weights.
    const Summary density = errors("rewound", level, "density").summary();
    const std::string place = percent(density.mean) + " %";
    const int small_width = small_dense_shape(shape, kept_at_level(weights, level)).width;
    nlohmann::json entry = {{"level", level},
                            {"density", density.n > 0 ? nlohmann::json(density.mean) : nullptr},
                            {"small_dense_width", small_width}};
    means.push_back({std::to_string(level), place});
    differences.push_back({std::to_string(level), place});
    for (const char* kind : kTicketKinds) {
      for (const auto& measure : measures) entry[measure][kind] = to_json(errors(kind, level, measure));
      if (std::string(kind) != "dense") means.back().push_back(errors(kind, level, measures[0]).worded());
    }
    means.back().push_back(std::to_string(small_width));
    for (std::size_t q = 0; q < std::size(kQuestions); ++q) {
      const auto [kind, against, asks] = kQuestions[q];
      for (const auto& measure : measures) {
        const Contrast difference = contrast(kind, errors(kind, level, measure), against,
                                             errors(against, level, measure), measure, {{"level", level}});
        entry["contrasts"].push_back(to_json(difference));
        if (measure != measures[0]) continue;
        differences.back().push_back(worded(difference.difference));
        verdicts[q].add(place, difference);
        if (q == 0 && difference.difference.n > 0 && difference.difference.verdict() <= 0) sparsest = place;
      }
    }
    report.levels.push_back(std::move(entry));
  }
  report.text += aligned(means) + aligned(differences);

  Finding ticket{.id = fmt::format("ticket-{}", width)};
  ticket.title = sparsest.empty()
                     ? fmt::format("width {}: every rewound ticket tested is worse than the dense network", width)
                     : fmt::format(
                           "width {}: the sparsest rewound ticket that is not shown to be worse than the dense "
                           "network has {} of its weights",
                           width, sparsest);
  report.findings.push_back(ticket);
  for (std::size_t q = 0; q < std::size(kQuestions); ++q) {
    const auto [kind, against, asks] = kQuestions[q];
    Finding finding{.id = fmt::format("{}-{}-{}", kind, against, width)};
    finding.title =
        fmt::format("width {}: {} The error of {} against {} is {}", width, asks, kind, against, verdicts[q].worded());
    report.findings.push_back(finding);
  }
  return report;
}

Outcome run(const LotteryOptions& given, Session& session) {
  LotteryOptions options = given;
  const auto seeds = parse_seeds(options.seeds);
  for (auto* list : {&options.widths, &options.levels}) {
    const std::set<int> ascending(list->begin(), list->end());
    list->assign(ascending.begin(), ascending.end());
  }
  MlpShape shape = parse_model(options.trial.model).shape;
  if (parse_model(options.trial.model).is_knn()) {
    throw Failure(kMisuse, fmt::format("--model {}: only networks have weights to prune", options.trial.model));
  }
  const std::vector<Trial> trials = trials_of(options, seeds);
  const Dataset data = load_data(trials.front()).train;  // what is wrong with it is said before anything is run
  const SweepResult result = run_sweep(trials, options.sweep, session);
  nlohmann::json document = sweep_document("lottery", result, session);
  if (options.sweep.dry_run) return {document, "", kDone};

  shape.inputs = data.features;
  shape.outputs = data.classes == 2 ? 1 : data.classes;
  shape.hidden_layers = options.trial.hidden_layers;
  std::string text = fmt::format(
      "{} in %, mean over {} seeds with its 95 % interval; {}, {} hidden layers, N = {}, {} epochs a level.\n"
      "Level n keeps 0.8^n of the hidden layers' weights. Differences are paired over seeds, in points, with 95 % "
      "intervals.\n",
      error_measures(options.trial.data)[0], seeds.size(), options.trial.model, options.trial.hidden_layers,
      grouped(options.trial.n), options.trial.epochs);
  std::string said;
  for (const int width : options.widths) {
    shape.width = width;
    const WidthReport one = report(width, options, shape, result);
    text += "\n" + one.text;
    document["widths"].push_back({{"width", width}, {"levels", one.levels}});
    for (const Finding& finding : one.findings) {
      said += "* " + finding.title + "\n";
      document["findings"].push_back({{"id", finding.id}, {"title", finding.title}});
    }
  }
  return finish_study("lottery.json", options.sweep, result, std::move(document), text + "\n" + said);
}

}  // namespace

Command add_lottery(CLI::App& program) {
  auto options = std::make_shared<LotteryOptions>();
  Trial& trial = options->trial;
  trial.hidden_layers = 2;
  CLI::App* app = program.add_subcommand("lottery", "Iterative pruning with rewinding, and its controls");
  app->add_option("--widths", options->widths, "Units in each hidden layer")
      ->delimiter(',')
      ->check(whole_number(2, kMaxWidth));
  app->add_option("--hidden-layers", trial.hidden_layers, "1 to 4")->check(whole_number(1, kMaxHiddenLayers));
  app->add_option("--levels", options->levels, "Rounds of pruning at which networks are compared; each prunes a fifth")
      ->delimiter(',')
      ->check(whole_number(1, kMaxLotteryLevel));
  app->add_option("--seeds", options->seeds, "Seeds, as 0..5 or 0,3,7");
  app->add_option("--n", trial.n, "Training points")->check(whole_number(2, 10'000'000));
  app->add_option("--epochs", trial.epochs, "Passes over them at every level")->check(whole_number(1, 10'000'000));
  app->add_option("--precision", trial.precision, kPrecisionHelp)->check(precision_name());
  app->add_option("--model", trial.model, "mlp-xy, mlp-polar, mlp-polar-raw or mlp-polar-trig, with extras");
  app->add_option("--data", trial.data, "spiral, or a CSV file of labelled points");
  app->add_option("--grid", trial.grid, "Cells along each side of the grid errors are counted on")
      ->check(whole_number(1, 16384));
  app->add_option("--density-points", trial.density_points, "Fresh draws errors are counted on")
      ->check(whole_number(1, 10'000'000));
  add_sweep_options(*app, options->sweep);
  return {app, [options](Session& session) { return run(*options, session); },
          [] {
            return Needs{{{Work::mlp_train, 1e12}}, "--seeds"};
          }};
}

}  // namespace scalelab::host
