// orders: what both studies of orders, `curriculum` and `xor`, say: one order against a random one, by width.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host/evidence/finding.h"
#include "host/evidence/seed_errors.h"

namespace scalelab::host {

// The errors of networks of one width that saw their examples in one order. Those of a seed have the same start and
// the same examples in every order, so that orders are compared pair by pair.
using OrderErrors = std::function<SeedErrors(int width, const std::string& order, const std::string& measure)>;

// "easy first" of "curriculum".
std::string order_words(const std::string& order);

// One order against `random`, by width: the finding named as the order is, worded from the first of the measures.
// Without contrasts where nothing was measured.
Finding order_finding(const std::string& order, const std::vector<int>& widths,
                      const std::vector<std::string>& measures, const OrderErrors& errors);

// A line per width: the error of every order in % with its interval, and its difference from random in points.
// `orders` are those beside random.
std::string order_table(const std::vector<std::string>& orders, const std::vector<int>& widths,
                        const std::string& measure, const OrderErrors& errors);

}  // namespace scalelab::host
