#include "host/program/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

namespace scalelab::host {

CLI::Validator whole_number(std::uint64_t low, std::uint64_t high) {
  const std::string range = high == UINT64_MAX ? fmt::format("a whole number from {}", low)
                                               : fmt::format("a whole number from {} to {}", low, high);
  return CLI::Validator(
      [=](std::string& text) {
        std::uint64_t value = 0;
        const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool octal = text.size() > 1 && text[0] == '0';  // as CLI11 would read a leading zero
        if (error != std::errc() || stop != text.data() + text.size() || octal || value < low || value > high) {
          return fmt::format("'{}' is not {}", text, range);
        }
        return std::string();
      },
      "");
}

CLI::Validator real_number(double low, double high) {
  std::string range = "a finite number";
  if (high < HUGE_VAL) {
    range = fmt::format("a number from {:g} to {:g}", low, high);
  } else if (low > -HUGE_VAL) {
    range = fmt::format("a finite number from {:g}", low);
  }
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value) || value < low ||
            value > high) {
          return fmt::format("'{}' is not {}", text, range);
        }
        return std::string();
      },
      "");
}

CLI::Validator memory_size() {
  return CLI::Validator(
      [](std::string& text) {
        std::uint64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        const std::string units = "KMGT", rest(stop, end);
        const std::size_t power = rest.empty() ? 0 : units.find(rest[0]) + 1;  // of a letter that is no unit: 0
        const int shift = static_cast<int>(10 * power);
        if (error != std::errc() || rest.size() > 1 || (rest.size() == 1 && power == 0) ||
            value > (static_cast<std::uint64_t>(INT64_MAX) >> shift)) {
          return fmt::format("'{}' is not a number of bytes, as 1000000, 512M or 8G", text);
        }
        text = std::to_string(value << shift);
        return std::string();
      },
      "");
}

CLI::Validator duration() {
  return CLI::Validator(
      [](std::string& text) {
        std::uint32_t value = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        const std::string rest(stop, end);
        const std::uint64_t unit = rest.empty() || rest == "s" ? 1 : rest == "m" ? 60 : rest == "h" ? 3600 : 0;
        if (error != std::errc() || unit == 0 || value * unit > 1000000000) {
          return fmt::format("'{}' is not a time, as 90, 90s, 55m or 2h", text);
        }
        text = std::to_string(value * unit);
        return std::string();
      },
      "");
}

CLI::Validator one_of(std::vector<std::string> words) {
  std::string shown = fmt::format("{{{}}}", fmt::join(words, ","));  // as CLI11 shows the words of its own
  return CLI::Validator(
      [words = std::move(words)](std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return fmt::format("'{}' is none of {}", text, fmt::join(words, ", "));
      },
      std::move(shown));
}

namespace {

// The items of a list, whether commas or spaces stand between them. Refuses an empty one.
std::vector<std::string> items_of(const std::string& name, const std::vector<std::string>& words) {
  std::vector<std::string> items;
  for (const std::string& word : words) {
    for (std::size_t begin = 0; begin <= word.size();) {
      const std::size_t end = std::min(word.find(',', begin), word.size());
      items.push_back(word.substr(begin, end - begin));
      if (items.back().empty()) throw CLI::ValidationError(name, fmt::format("'{}' has an empty item", word));
      begin = end + 1;
    }
  }
  return items;
}

// Adds an item, which must not stand there yet.
template <class T>
void add_once(const std::string& name, std::vector<T>& values, std::set<T>& seen, const T& value) {
  if (!seen.insert(value).second) throw CLI::ValidationError(name, fmt::format("{} is there twice", value));
  if (values.size() == kMostItems) throw CLI::ValidationError(name, fmt::format("more than {} items", kMostItems));
  values.push_back(value);
}

// "7" or "0..4".
std::pair<std::int64_t, std::int64_t> range_of(const std::string& name, const std::string& item, std::int64_t low,
                                               std::int64_t high) {
  const auto number = [&](std::string_view text) {
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool octal = text.size() > 1 && text[0] == '0';
    if (error != std::errc() || stop != text.data() + text.size() || octal || value < low || value > high) {
      throw CLI::ValidationError(
          name, fmt::format("'{}' is not a whole number from {} to {}, or a range as 0..4", text, low, high));
    }
    return value;
  };
  const std::size_t dots = item.find("..");
  if (dots == std::string::npos) return {number(item), number(item)};
  const std::string_view text = item;
  const std::int64_t first = number(text.substr(0, dots)), last = number(text.substr(dots + 2));
  if (last < first) throw CLI::ValidationError(name, fmt::format("the range '{}' ends before it begins", item));
  if (last - first >= static_cast<std::int64_t>(kMostItems)) {
    throw CLI::ValidationError(name, fmt::format("'{}' is more than {} items", item, kMostItems));
  }
  return {first, last};
}

std::vector<std::int64_t> whole_numbers(const std::string& name, const std::vector<std::string>& words,
                                        std::int64_t low, std::int64_t high) {
  std::vector<std::int64_t> values;
  std::set<std::int64_t> seen;
  for (const std::string& item : items_of(name, words)) {
    const auto [first, last] = range_of(name, item, low, high);
    for (std::int64_t value = first; value <= last; ++value) add_once(name, values, seen, value);
  }
  return values;
}

// An option of one word or more, handed to `take`.
CLI::Option* add_words(CLI::App& app, const std::string& name, const std::string& type, const std::string& help,
                       const std::string& standard, std::function<void(const std::vector<std::string>&)> take) {
  return app
      .add_option(
          name,
          [take = std::move(take)](const CLI::results_t& words) {
            take(words);
            return true;
          },
          help)
      ->type_name(type)
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args()
      ->default_str(standard);
}

}  // namespace

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<int>& values, std::int64_t low,
                      std::int64_t high, const std::string& help) {
  return add_words(app, name, "LIST", help, fmt::format("{}", fmt::join(values, ",")),
                   [&values, name, low, high](const auto& words) {
                     const auto numbers = whole_numbers(name, words, low, high);
                     values.assign(numbers.begin(), numbers.end());
                   });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<double>& values, double low, double high,
                      const std::string& help) {
  return add_words(app, name, "LIST", help, fmt::format("{}", fmt::join(values, ",")),
                   [&values, name, low, high](const auto& words) {
                     values.clear();
                     std::set<double> seen;
                     const CLI::Validator check = real_number(low, high);
                     for (std::string& item : items_of(name, words)) {
                       if (const std::string wrong = check(item); !wrong.empty())
                         throw CLI::ValidationError(name, wrong);
                       add_once(name, values, seen, std::stod(item));
                     }
                   });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                      const std::vector<std::string>& known, const std::string& help) {
  const std::string type = known.empty() ? "LIST" : fmt::format("LIST:{{{}}}", fmt::join(known, ","));
  return add_words(app, name, type, help, fmt::format("{}", fmt::join(values, ",")),
                   [&values, name, known](const auto& words) {
                     values.clear();
                     std::set<std::string> seen;
                     const CLI::Validator check = one_of(known);
                     for (std::string& item : items_of(name, words)) {
                       const std::string wrong = known.empty() ? "" : check(item);
                       if (!wrong.empty()) throw CLI::ValidationError(name, wrong);
                       add_once(name, values, seen, item);
                     }
                   });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::string& text, std::int64_t low, std::int64_t high,
                      const std::string& help) {
  return add_words(app, name, "LIST", help, text, [&text, name, low, high](const auto& words) {
    text = fmt::format("{}", fmt::join(whole_numbers(name, words, low, high), ","));
  });
}

void add_notes(CLI::App& app, const std::vector<std::string>& examples, const std::vector<std::string>& notes) {
  app.footer(fmt::format("{}{}Example{}:\n  {}", fmt::join(notes, "\n"), notes.empty() ? "" : "\n",
                         examples.size() == 1 ? "" : "s", fmt::join(examples, "\n  ")));
}

}  // namespace scalelab::host
