#include "host/studies/order_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "host/evidence/seed_errors.h"
#include "host/lab/model.h"
#include "host/lab/visit_order.h"
#include "host/program/error.h"
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
  const SweepResult result = run_sweep(trials, study.sweep, session);
  nlohmann::json document = sweep_document("curriculum", result, session);
  if (study.sweep.dry_run) return {document, "", kDone};

  const auto measures = error_measures(study.trial.data);
  const auto errors = [&](int width, const std::string& order, const std::string& measure) {
    return seed_errors(result.rows, measure,
                       [&](const Trial& trial) { return trial.width == width && trial.order == order; });
  };
  std::vector<std::vector<std::string>> table = {{"width", "random"}};
  for (const auto& order : study.orders) {
    table[0].push_back(order);
    table[0].push_back(order + " - random");
  }
  std::vector<Verdicts> verdicts(study.orders.size());
  for (const int width : study.widths) {
    table.push_back({std::to_string(width), errors(width, "random", measures[0]).worded()});
    nlohmann::json entry = {{"width", width}, {"contrasts", nlohmann::json::array()}};
    for (const auto& measure : measures) entry[measure]["random"] = to_json(errors(width, "random", measure));
    for (std::size_t o = 0; o < study.orders.size(); ++o) {
      const std::string& order = study.orders[o];
      for (const auto& measure : measures) {
        const SeedErrors own = errors(width, order, measure);
        const Contrast difference =
            contrast(order, own, "random", errors(width, "random", measure), measure, {{"width", width}});
        entry[measure][order] = to_json(own);
        entry["contrasts"].push_back(to_json(difference));
        if (measure != measures[0]) continue;
        table.back().push_back(own.worded());
        table.back().push_back(worded(difference.difference));
        verdicts[o].add(std::to_string(width), difference);
      }
    }
    document["widths"].push_back(std::move(entry));
  }
  std::string text = fmt::format(
      "{} in %, mean over {} seeds with its 95 % interval; {}, {} hidden layers, N = {}, {} visits to every row, "
      "difficulty "
      "by {}.\nDifferences are paired over seeds, in points, with 95 % intervals.\n{}",
      measures[0], parse_seeds(study.seeds).size(), study.trial.model, study.trial.hidden_layers,
      grouped(study.trial.n), study.trial.epochs, study.trial.score, aligned(table));
  for (std::size_t o = 0; o < study.orders.size(); ++o) {
    const std::string title =
        fmt::format("{}: its error against random, by width, is {}", study.orders[o], verdicts[o].worded());
    document["findings"].push_back({{"id", study.orders[o]}, {"title", title}});
    text += "* " + title + "\n";
  }
  return finish_study("curriculum.json", study.sweep, result, std::move(document), std::move(text));
}

}  // namespace scalelab::host
