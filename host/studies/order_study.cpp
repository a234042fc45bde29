// scalelab curriculum: does it pay to show easy examples first? The same rows, easy first, hard first, in a growing pool,
// sorted or mixed (visit_order.h), over widths; on the spiral, or points of a file.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "host/data/source.h"
#include "host/lab/model.h"
#include "host/lab/trial_options.h"
#include "host/lab/visit_order.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/orders.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

struct OrderStudy {
  SweepOptions sweep;
  Trial trial;  // what all trials have in common; an empty score or model is chosen to suit the data
  std::vector<int> widths = {4, 8, 16, 32, 64, 128, 256};
  std::vector<std::string> orders{kVisitOrders.begin() + 1, kVisitOrders.end()};  // beside `random`, always there
  std::string worlds = "0", seeds = "0..5";
  const CLI::Option* n = nullptr;  // --n; without it a small file has as many training rows as it has
};

// Orders held against `random`, in the order of kVisitOrders.
std::vector<std::string> compared_orders(const std::vector<std::string>& asked) {
  std::vector<std::string> orders;
  for (const char* order : kVisitOrders) {
    if (order != std::string("random") && std::find(asked.begin(), asked.end(), order) != asked.end()) {
      orders.push_back(order);
    }
  }
  return orders;
}

std::vector<Trial> trials_of(const OrderStudy& study) {
  std::vector<Trial> trials;
  const auto worlds = parse_seeds(study.worlds, "--worlds"), seeds = parse_seeds(study.seeds);
  std::vector<std::string> orders = {"random"};
  orders.insert(orders.end(), study.orders.begin(), study.orders.end());
  for (const int width : study.widths) {
    for (const auto& order : orders) {
      for (const std::uint64_t world : worlds) {
        for (const std::uint64_t seed : seeds) {
          Trial trial = study.trial;
          trial.width = width;
          trial.order = order;
          trial.world = world;
          trial.seed = seed;
          trials.push_back(resolved(trial_from_json(to_json(trial))));  // by way of JSON: members are checked there
        }
      }
    }
  }
  return trials;
}

// What is wrong with the options is said here, before anything is run; the model and the score suit the data.
OrderStudy checked(OrderStudy study) {
  const bool spiral = !study.trial.is_file();
  if (study.trial.model.empty()) study.trial.model = spiral ? "mlp-polar" : "mlp-xy";
  if (study.trial.score.empty()) study.trial.score = spiral ? "margin" : "kmeans";
  if (!spiral && study.n->count() == 0) study.trial.n = std::min(study.trial.n, training_rows(study.trial));
  if (parse_model(study.trial.model).is_knn()) {
    throw Failure(kMisuse, fmt::format("--model {}: only networks see rows in an order", study.trial.model));
  }
  study.orders = compared_orders(study.orders);
  const std::set<int> ascending(study.widths.begin(), study.widths.end());
  study.widths.assign(ascending.begin(), ascending.end());
  return study;
}

Outcome run(const OrderStudy& given, Session& session) {
  const OrderStudy study = checked(given);
  const std::vector<Trial> trials = trials_of(study);
  Study typed{.command = "curriculum",
              .experiment = "curriculum",
              .title = "Easy first, hard first or mixed, on rows of a data set"};
  typed.result = run_sweep(trials, study.sweep, session);
  if (study.sweep.dry_run) return {planned_document(typed, session), "", kDone};
  const OrderErrors errors = [&](int width, const std::string& order, const std::string& measure) {
    return seed_errors(typed.result.rows, measure,
                       [&](const Trial& trial) { return trial.width == width && trial.order == order; });
  };
  const auto measures = error_measures(study.trial.data);
  for (const auto& order : study.orders) {
    Finding finding = order_finding(order, study.widths, measures, errors);
    if (!finding.contrasts.empty()) typed.findings.push_back(std::move(finding));
  }
  std::string text = fmt::format(
      "{} in %, mean over {} with its 95 % interval; {}, {}, n = {}, {} to every row, difficulty by {}.\n"
      "Differences are paired, in points, with 95 % intervals.\n{}",
      measures[0], draws_words(parse_seeds(study.worlds, "--worlds").size(), parse_seeds(study.seeds).size()),
      study.trial.model, counted(study.trial.hidden_layers, "hidden layer"), grouped(study.trial.n),
      counted(study.trial.epochs, "visit"), study.trial.score,
      order_table(study.orders, study.widths, measures[0], errors));
  const Curves curves = curves_of(typed.result.rows, session.common.seed);
  return finish_study(std::move(typed), curves, study.sweep, std::move(text), session);
}

}  // namespace

Command add_curriculum(CLI::App& program) {
  auto options = std::make_shared<OrderStudy>();
  Trial& trial = options->trial;
  trial.model = trial.score = "";  // chosen to suit the data
  trial.clusters = 100;
  CLI::App* app = program.add_subcommand(
      "curriculum", "Easy first, hard first or mixed: orders of the same rows over widths, on the spiral or a file");
  add_data(*app, trial.data, trial.labels);
  options->n = add_n(*app, trial.n);
  add_worlds(*app, options->worlds);
  add_seeds(*app, options->seeds);
  add_model(*app, trial.model)->description("mlp-polar for the spiral, mlp-xy for a file, or another, see the end");
  add_widths(*app, options->widths);
  add_hidden_layers(*app, trial.hidden_layers);
  add_epochs(*app, trial.epochs);
  add_precision(*app, trial.precision);
  add_list(*app, "--orders", options->orders, {kVisitOrders.begin() + 1, kVisitOrders.end()},
           "Held against random, see the end")
      ->group("Difficulty");
  add_score(*app, trial.score)
      ->description("What makes a row hard: margin for the spiral, kmeans for a file, or another, see the end");
  add_clusters(*app, trial.clusters);
  add_grid(*app, trial.grid);
  add_density_points(*app, trial.density_points);
  add_sweep_options(*app, options->sweep);
  app->add_option_function<std::string>(
         "--problem",
         [](const std::string& problem) {
           throw Failure(kMisuse, problem == "xor" ? "--problem xor: the mixture has a command of its own; "
                                                     "use scalelab xor, without --problem"
                                                   : "--problem is not known; curriculum takes the spiral "
                                                     "unless --data names a file: leave --problem out");
         })
      ->group("");
  add_notes(*app,
            {"scalelab curriculum --widths 4,16,64 --seeds 0..5 --out curriculum",
             "scalelab curriculum --data points.csv --score el2n --out orders"},
            {std::string(kOrdersHelp) + "On a mixture of Gaussians, with thousands of small networks: scalelab xor.\n",
             kNetworksHelp, kScoresHelp, kFormatsHelp});
  const auto needs = [] { return Needs{{{Work::mlp_train, 1e12}}, "--n"}; };
  return {
      .app = app, .run = [options](Session& session) { return run(*options, session); }, .needs = needs, .deals = true};
}

}  // namespace scalelab::host
