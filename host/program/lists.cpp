#include "host/program/lists.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>
#include <stdexcept>

#include "host/program/words.h"

namespace scalelab::host {

namespace {

template <class T>
bool read_number(std::string_view text, T& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size();
}

// What whole_numbers takes.
struct Bounds {
  std::int64_t low, high;
  bool exponents;

  std::int64_t number(std::string_view text) const {
    std::int64_t value = 0;
    bool whole = read_number(text, value) && (text.size() == 1 || text[0] != '0');  // 010 may be meant as 8
    double with_exponent = 0;
    if (!whole && exponents && text.find('e') != std::string_view::npos && read_number(text, with_exponent) &&
        std::abs(with_exponent) < 1e15 && with_exponent == std::floor(with_exponent)) {
      whole = true;
      value = static_cast<std::int64_t>(with_exponent);
    }
    if (whole && value >= low && value <= high) return value;
    throw std::invalid_argument(
        fmt::format("'{}' is not a whole number from {} to {}, or a range as 0..4", text, low, high));
  }
};

}  // namespace

std::vector<std::string> list_items(std::string_view text) {
  std::vector<std::string> items;
  for (const std::string& part : split(text)) {
    const std::size_t before = items.size();
    for (std::string& item : split(part, ' ')) {
      if (!item.empty()) items.push_back(std::move(item));
    }
    if (items.size() == before) throw std::invalid_argument(fmt::format("'{}' has an empty item", text));
  }
  return items;
}

std::vector<std::int64_t> whole_numbers(std::string_view text, std::int64_t low, std::int64_t high, bool exponents) {
  const Bounds bounds{low, high, exponents};
  std::vector<std::int64_t> values;
  std::set<std::int64_t> seen;
  for (const std::string& item : list_items(text)) {
    const std::size_t dots = item.find("..");
    const std::int64_t first = bounds.number(item.substr(0, dots));
    const std::int64_t last = dots == std::string::npos ? first : bounds.number(item.substr(dots + 2));
    if (last < first) throw std::invalid_argument(fmt::format("the range '{}' ends before it begins", item));
    if (last - first >= static_cast<std::int64_t>(kMostItems)) {
      throw std::invalid_argument(fmt::format("'{}' is more than {} items", item, kMostItems));
    }
    for (std::int64_t value = first; value <= last; ++value) {
      if (!seen.insert(value).second) throw std::invalid_argument(fmt::format("{} is there twice", value));
      if (values.size() == kMostItems) throw std::invalid_argument(fmt::format("more than {} items", kMostItems));
      values.push_back(value);
    }
  }
  return values;
}

}  // namespace scalelab::host
