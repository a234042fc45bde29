#include "host/program/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <stdexcept>

#include "host/program/lists.h"

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

// Reads a list; what is wrong with it is the option's.
template <class Read>
auto of_option(const std::string& name, const Read& read) {
  try {
    return read();
  } catch (const std::invalid_argument& error) {
    throw CLI::ValidationError(name, error.what());
  }
}

// The items of a list that `check` takes, none of them twice.
std::vector<std::string> checked_items(const std::string& name, const std::string& text, const CLI::Validator* check) {
  const auto items = of_option(name, [&] { return list_items(text); });
  if (items.size() > kMostItems) throw CLI::ValidationError(name, fmt::format("more than {} items", kMostItems));
  std::set<std::string> seen;
  for (std::string item : items) {
    const std::string wrong = check == nullptr ? "" : (*check)(item);
    if (!wrong.empty()) throw CLI::ValidationError(name, wrong);
    if (!seen.insert(item).second) throw CLI::ValidationError(name, fmt::format("{} is there twice", item));
  }
  return items;
}

// An option of one word or more, handed to `take` with `between` between them.
CLI::Option* add_joined(CLI::App& app, const std::string& name, const std::string& type, const std::string& help,
                        const std::string& standard, const std::string& between,
                        std::function<void(const std::string&)> take) {
  return app
      .add_option(
          name,
          [take = std::move(take), between](const CLI::results_t& words) {
            take(fmt::format("{}", fmt::join(words, between)));
            return true;
          },
          help)
      ->type_name(type)
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args()
      ->default_str(standard);
}

// A list is one word, as 0,1 or "0 1", where the command names files by their place: --device 0 a.json leaves the file.
CLI::Option* leaving_files(const CLI::App& app, CLI::Option* list) {
  const bool places = !app.get_options([](const CLI::Option* one) { return one->get_positional(); }).empty();
  return places ? list->expected(1)->allow_extra_args(false) : list;
}

}  // namespace

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<int>& values, std::int64_t low,
                      std::int64_t high, const std::string& help) {
  return add_joined(app, name, "LIST", help, fmt::format("{}", fmt::join(values, ",")), " ",
                    [&values, name, low, high](const std::string& text) {
                      const auto numbers = of_option(name, [&] { return whole_numbers(text, low, high); });
                      values.assign(numbers.begin(), numbers.end());
                    });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<double>& values, double low, double high,
                      const std::string& help) {
  return add_joined(app, name, "LIST", help, fmt::format("{}", fmt::join(values, ",")), " ",
                    [&values, name, low, high](const std::string& text) {
                      const CLI::Validator check = real_number(low, high);
                      values.clear();
                      for (const std::string& item : checked_items(name, text, &check)) {
                        const double value = std::stod(item);
                        if (std::find(values.begin(), values.end(), value) != values.end()) {  // 0.5 and 0.50
                          throw CLI::ValidationError(name, fmt::format("{} is there twice", value));
                        }
                        values.push_back(value);
                      }
                    });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                      const std::vector<std::string>& known, const std::string& help) {
  const std::string type = known.empty() ? "LIST" : fmt::format("LIST:{{{}}}", fmt::join(known, ","));
  return add_joined(app, name, type, help, fmt::format("{}", fmt::join(values, ",")), " ",
                    [&values, name, known](const std::string& text) {
                      const CLI::Validator check = one_of(known);
                      values = checked_items(name, text, known.empty() ? nullptr : &check);
                    });
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::string& text, std::int64_t low, std::int64_t high,
                      const std::string& help, const std::string& word) {
  const auto take = [&text, name, low, high, word](const std::string& given) {
    text = given;
    if (!word.empty() && given == word) return;
    text = fmt::format("{}", fmt::join(of_option(name, [&] { return whole_numbers(given, low, high); }), ","));
  };
  if (word.empty()) return add_joined(app, name, "LIST", help, text, " ", take);
  return leaving_files(app, add_joined(app, name, fmt::format("LIST or {{{}}}", word), help, text, " ", take));
}

CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& text, const std::string& between,
                      const std::string& help) {
  const auto take = [&text](const std::string& given) { text = given; };
  return leaving_files(app, add_joined(app, name, "LIST", help, text, between, take));
}

CLI::Option* add_shard(CLI::App& app, std::string& shard, const std::string& help, const std::string& name) {
  return app.add_option(name, shard, help)->type_name("I/N");
}

CLI::Option* add_max_memory(CLI::App& app, std::int64_t& bytes, const std::string& help) {
  return app.add_option("--max-mem", bytes, help)->transform(memory_size())->type_name("SIZE")->default_str("");
}

void add_notes(CLI::App& app, const std::vector<std::string>& examples, const std::vector<std::string>& notes) {
  app.footer(fmt::format("{}{}Example{}:\n  {}", fmt::join(notes, "\n"), notes.empty() ? "" : "\n",
                         examples.size() == 1 ? "" : "s", fmt::join(examples, "\n  ")));
}

}  // namespace scalelab::host
