#include "host/studies/order_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "host/evidence/finding.h"
#include "host/lab/model.h"
#include "host/lab/visit_order.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/options.h"
#include "host/program/words.h"
#include "host/studies/study.h"

namespace scalelab::host {

namespace {

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
  const auto seeds = parse_seeds(study.seeds);
  std::vector<std::string> orders = {"random"};
  orders.insert(orders.end(), study.orders.begin(), study.orders.end());
  for (const int width : study.widths) {
    for (const auto& order : orders) {
      for (const std::uint64_t seed : seeds) {
        Trial trial = study.trial;
        trial.width = width;
        trial.order = order;
        trial.seed = seed;
        trials.push_back(resolved(trial_from_json(to_json(trial))));  // by way of JSON: members are checked there
      }
    }
  }
  return trials;
}

// One order against `random`, by width: its finding, worded from the first of the measures.
Finding order_finding(const OrderStudy& study, const SweepResult& result, const std::string& order) {
  const auto errors = [&](int width, const std::string& name, const std::string& measure) {
    return seed_errors(result.rows, measure,
                       [&](const Trial& trial) { return trial.width == width && trial.order == name; });
  };
  const auto measures = error_measures(study.trial.data);
  Finding f{.id = order};
  f.columns = {"width", "error", order + ", %", "random, %"};
  for (const auto& column : contrast_columns()) f.columns.push_back(column);
  Verdicts verdicts;
  for (const int width : study.widths) {
    for (const auto& measure : measures) {
      const Contrast c = contrast(order, errors(width, order, measure), "random", errors(width, "random", measure),
                                  measure, {{"width", width}});
      if (c.difference.n == 0) continue;
      f.contrasts.push_back(c);
      f.table.push_back({std::to_string(width), short_measure(measure), percent(c.mean_what), percent(c.mean_against)});
      for (const auto& cell : contrast_cells(c)) f.table.back().push_back(cell);
      if (measure == measures[0]) verdicts.add(std::to_string(width), c);
    }
  }
  f.title = fmt::format("{}: its {} error against random, by width, is {}", order, short_measure(measures[0]),
                        verdicts.worded());
  f.text =
      "Both orders see the same rows equally often, from the same starts; paired over seeds. " + verdicts.dependence();
  return f;
}

// A line per width: the error of every order with its interval, and its difference from random.
std::string order_table(const OrderStudy& study, const SweepResult& result) {
  const std::string measure = error_measures(study.trial.data)[0];
  const auto errors = [&](int width, const std::string& order) {
    return seed_errors(result.rows, measure,
                       [&](const Trial& trial) { return trial.width == width && trial.order == order; });
  };
  std::vector<std::vector<std::string>> table = {{"width", "random"}};
  for (const auto& order : study.orders) {
    table[0].push_back(order);
    table[0].push_back(order + " - random");
  }
  for (const int width : study.widths) {
    const SeedErrors random = errors(width, "random");
    table.push_back({std::to_string(width), random.worded()});
    for (const auto& order : study.orders) {
      const SeedErrors own = errors(width, order);
      table.back().push_back(own.worded());
      table.back().push_back(worded(own.minus(random)));
    }
  }
  return fmt::format(
      "{} in %, mean over {} with its 95 % interval; {}, {}, n = {}, {} to every row, difficulty by {}.\n"
      "Differences are paired over seeds, in points, with 95 % intervals.\n{}",
      measure, counted(std::ssize(parse_seeds(study.seeds)), "seed"), study.trial.model,
      counted(study.trial.hidden_layers, "hidden layer"), grouped(study.trial.n), counted(study.trial.epochs, "visit"),
      study.trial.score, aligned(table));
}

}  // namespace

Outcome run_order_study(OrderStudy study, Session& session) {
  const bool built_in = study.trial.data == "spiral";
  if (study.trial.model.empty()) study.trial.model = built_in ? "mlp-polar" : "mlp-xy";
  if (study.trial.score.empty()) study.trial.score = built_in ? "margin" : "kmeans";
  if (parse_model(study.trial.model).is_knn()) {
    throw Failure(kMisuse, fmt::format("--model {}: only networks see rows in an order", study.trial.model));
  }
  study.orders = compared_orders(study.orders);
  const std::set<int> ascending(study.widths.begin(), study.widths.end());
  study.widths.assign(ascending.begin(), ascending.end());
  const std::vector<Trial> trials = trials_of(study);
  if (!built_in) load_data(trials.front());  // what is wrong with it is said before anything is run
  Study typed{.command = "curriculum",
              .experiment = "curriculum",
              .title = "Easy first, hard first or mixed, on rows of a data set"};
  typed.result = run_sweep(trials, study.sweep, session);
  if (study.sweep.dry_run) return {planned_document(typed, session), "", kDone};
  for (const auto& order : study.orders) {
    Finding finding = order_finding(study, typed.result, order);
    if (!finding.contrasts.empty()) typed.findings.push_back(std::move(finding));
  }
  const Curves curves = curves_of(typed.result.rows, session.common.seed);
  std::string text = order_table(study, typed.result);
  return finish_study(std::move(typed), curves, study.sweep, std::move(text), session);
}

}  // namespace scalelab::host
