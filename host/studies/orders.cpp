#include "host/studies/orders.h"

#include <fmt/format.h>

#include <map>

#include "host/program/words.h"

namespace scalelab::host {

std::string order_words(const std::string& order) {
  static const std::map<std::string, std::string> kWords = {{"random", "mixed"},
                                                            {"curriculum", "easy first"},
                                                            {"anti", "hard first"},
                                                            {"growing", "a pool that grows from the easy"},
                                                            {"growing-anti", "a pool that grows from the hard"},
                                                            {"sorted", "each pass from easy to hard"},
                                                            {"sorted-anti", "each pass from hard to easy"}};
  return kWords.at(order);
}

Finding order_finding(const std::string& order, const std::vector<int>& widths,
                      const std::vector<std::string>& measures, const OrderErrors& errors) {
  Finding f{.id = order};
  f.columns = {"width", "error", order + ", %", "random, %"};
  for (const int width : widths) {
    for (const auto& measure : measures) {
      const Contrast c = contrast(order, errors(width, order, measure), "random", errors(width, "random", measure),
                                  measure, {{"width", width}});
      if (c.difference.n == 0) continue;
      f.contrasts.push_back(c);
      f.table.push_back({std::to_string(width), short_measure(measure), worded(c.of_what), worded(c.of_against)});
    }
  }
  f.text =
      order.starts_with("growing")
          ? "Both orders have as many visits, from the same starts, but a pool that grows shows its first rows more "
            "often; paired."
          : "Both orders see the same examples equally often, from the same starts; paired.";
  const Verdicts verdicts =
      settle_by_place(f, [&](const Contrast& c) { return c.measure == measures[0] ? c.place.at("width").dump() : ""; });
  f.title = fmt::format(
      "{} ({}): against a random order its {} error is {}", order, order_words(order), short_measure(measures[0]),
      verdicts.worded("lower at width", "undecided at width", "higher at width", "the same at width"));
  return f;
}

std::string order_table(const std::vector<std::string>& orders, const std::vector<int>& widths,
                        const std::string& measure, const OrderErrors& errors) {
  std::vector<std::vector<std::string>> table = {{"width", "random"}};
  for (const auto& order : orders) {
    table[0].push_back(order);
    table[0].push_back(order + " - random");
  }
  for (const int width : widths) {
    const SeedErrors random = errors(width, "random", measure);
    table.push_back({std::to_string(width), random.worded()});
    for (const auto& order : orders) {
      const SeedErrors own = errors(width, order, measure);
      table.back().push_back(own.worded());
      table.back().push_back(worded(own.minus(random)));
    }
  }
  return aligned(table);
}

}  // namespace scalelab::host
