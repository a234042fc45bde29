#include "host/program/words.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>
#include <set>

#include "host/program/error.h"

namespace scalelab::host {

namespace {

template <class T>
T parse_number(std::string_view text, const char* option) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size()) {
    throw Failure(kMisuse, fmt::format("{}: '{}' is not a number", option, text));
  }
  return value;
}

}  // namespace

std::string percent(double fraction) {
  const double value = 100 * fraction;
  if (std::isnan(value)) return "-";
  return fmt::format("{:.{}f}", value, std::abs(value) >= 9.995 ? 1 : 2);
}

std::string signed_points(double difference) {
  return std::isnan(difference) ? "-" : fmt::format("{:+.2f}", 100 * difference);
}

std::string grouped(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string counted(std::int64_t n, const std::string& noun, const std::string& plural) {
  return fmt::format("{} {}", grouped(n), n == 1 ? noun : plural.empty() ? noun + "s" : plural);
}

std::string listed(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    text += i == 0 ? "" : i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

std::string capitalized(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string aligned(const std::vector<std::vector<std::string>>& rows, Side side) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      line += side == Side::left ? fmt::format("{:<{}}", row[c], widths[c]) : fmt::format("{:>{}}", row[c], widths[c]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::uint64_t> parse_seeds(const std::string& text, const char* option) {
  std::vector<std::uint64_t> seeds;
  for (const std::string& part : split(text)) {
    const std::size_t dots = part.find("..");
    const auto first = parse_number<std::uint64_t>(part.substr(0, dots), option);
    const auto last = dots == std::string::npos ? first : parse_number<std::uint64_t>(part.substr(dots + 2), option);
    if (last < first) throw Failure(kMisuse, fmt::format("{}: the range '{}' ends before it begins", option, part));
    if (last >> 32 != 0) throw Failure(kMisuse, fmt::format("{}: {} is not below 2^32", option, last));
    if (last - first >= 10000) throw Failure(kMisuse, fmt::format("{}: '{}' is more than 10000 of them", option, part));
    for (std::uint64_t seed = first; seed <= last; ++seed) {
      if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end()) {
        throw Failure(kMisuse, fmt::format("{}: {} is there twice", option, seed));
      }
      seeds.push_back(seed);
    }
  }
  return seeds;
}

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  std::set<std::int64_t> sizes;
  for (const std::string& part : split(text)) {
    const auto n = parse_number<std::int64_t>(part, "--sizes");
    if (n < 1 || n > kMostPoints) {
      throw Failure(kMisuse, fmt::format("--sizes: {} is outside 1 .. {}", n, kMostPoints));
    }
    if (!sizes.insert(n).second) throw Failure(kMisuse, fmt::format("--sizes: {} is there twice", n));
  }
  return {sizes.begin(), sizes.end()};
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); }

double number_of(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

std::string text_of(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace scalelab::host
