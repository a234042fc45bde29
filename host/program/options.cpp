#include "host/program/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

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

}  // namespace scalelab::host
