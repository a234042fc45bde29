#include "host/lab/visit_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <tuple>

#include "host/data/dataset.h"
#include "scalelab/random.h"

namespace scalelab::host {

namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("visit_order: " + what); }

// A row's place among its class, from 0 (easiest) to 1.
struct Ranked {
  double quantile;
  std::uint8_t label;
  int row;
};

// From easy to hard, the classes interleaved in proportion.
std::vector<Ranked> rank_within_classes(std::span<const float> difficulty, std::span<const int> rows,
                                        std::span<const std::uint8_t> labels) {
  std::array<std::vector<int>, kMostClasses> classes;
  for (const int row : rows) classes[labels[static_cast<std::size_t>(row)]].push_back(row);
  std::vector<Ranked> ranked;
  ranked.reserve(rows.size());
  for (auto& members : classes) {
    std::sort(members.begin(), members.end(), [&](int a, int b) {
      return std::tuple(difficulty[static_cast<std::size_t>(a)], a) <
             std::tuple(difficulty[static_cast<std::size_t>(b)], b);
    });
    for (std::size_t i = 0; i < members.size(); ++i) {
      const double quantile = (static_cast<double>(i) + 0.5) / static_cast<double>(members.size());
      ranked.push_back({quantile, labels[static_cast<std::size_t>(members[i])], members[i]});
    }
  }
  std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return std::tie(a.quantile, a.label) < std::tie(b.quantile, b.label);
  });
  return ranked;
}

// Passes over a pool that grows from the first tenth of `rows` to all of them by the middle pass.
void visit_growing(std::span<const int> rows, int epochs, std::uint64_t seed, std::vector<int>& list) {
  const auto n = static_cast<double>(rows.size());
  std::uint32_t pass = 0;  // numbers the shuffles
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const double grown = std::min(1.0, 2.0 * epoch / epochs);
    const auto pool = static_cast<std::uint32_t>(std::clamp(std::ceil((0.1 + 0.9 * grown) * n), 1.0, n));
    const std::size_t full = list.size() + rows.size();
    for (; list.size() < full; ++pass) {
      const Shuffle shuffle(pool, seed, pass);
      for (std::uint32_t i = 0; i < pool && list.size() < full; ++i) list.push_back(rows[shuffle(i)]);
    }
  }
}

}  // namespace

std::vector<int> visit_order(std::span<const float> difficulty, std::span<const int> rows,
                             std::span<const std::uint8_t> labels, const std::string& order, int epochs,
                             std::uint64_t seed) {
  // What cannot be ordered is refused.
  if (std::find(kVisitOrders.begin(), kVisitOrders.end(), order) == kVisitOrders.end()) {
    refuse(fmt::format("'{}' is none of {}", order, fmt::join(kVisitOrders, ", ")));
  }
  if (epochs < 0) refuse("epochs must not be negative");
  const auto visits = static_cast<std::int64_t>(rows.size()) * epochs;
  if (visits > std::numeric_limits<int>::max()) refuse(fmt::format("{} visits; at most 2^31 - 1 fit a list", visits));
  const bool by_difficulty = order != "random";
  if (by_difficulty && difficulty.size() != labels.size()) {
    refuse(fmt::format("{} difficulties of {} points", difficulty.size(), labels.size()));
  }
  for (const int row : rows) {
    if (row < 0 || static_cast<std::size_t>(row) >= labels.size()) {
      refuse(fmt::format("row {} is not in 0 .. {}", row, static_cast<std::int64_t>(labels.size()) - 1));
    }
    if (by_difficulty && std::isnan(difficulty[static_cast<std::size_t>(row)])) {
      refuse(fmt::format("row {} has no difficulty", row));
    }
  }

  std::vector<int> list;
  list.reserve(static_cast<std::size_t>(visits));
  std::uint32_t pass = 0;  // numbers the shuffles
  const auto visit_mixed = [&](std::span<const int> part) {
    for (int epoch = 0; epoch < epochs; ++epoch, ++pass) {
      const Shuffle shuffle(static_cast<std::uint32_t>(part.size()), seed, pass);
      for (std::uint32_t i = 0; i < part.size(); ++i) list.push_back(part[shuffle(i)]);
    }
  };
  if (!by_difficulty) {
    visit_mixed(rows);
    return list;
  }
  // All others go by the place of a row within its class.
  const std::vector<Ranked> ranked = rank_within_classes(difficulty, rows, labels);
  if (order == "curriculum" || order == "anti") {
    std::vector<int> easy, hard;
    for (const Ranked& r : ranked) (r.quantile < 0.5 ? easy : hard).push_back(r.row);
    visit_mixed(order == "curriculum" ? easy : hard);
    visit_mixed(order == "curriculum" ? hard : easy);
    return list;
  }
  // Every row once, from easy to hard.
  std::vector<int> once;
  for (const Ranked& r : ranked) once.push_back(r.row);
  if (order == "growing" || order == "growing-anti") {
    if (order == "growing-anti") std::reverse(once.begin(), once.end());
    visit_growing(once, epochs, seed, list);
    return list;
  }
  if (order == "sorted-anti") std::reverse(once.begin(), once.end());
  for (int epoch = 0; epoch < epochs; ++epoch) list.insert(list.end(), once.begin(), once.end());
  return list;
}

}  // namespace scalelab::host
