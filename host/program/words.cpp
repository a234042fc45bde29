#include "host/program/words.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <stdexcept>

#include "host/program/error.h"
#include "host/program/lists.h"

namespace scalelab::host {

namespace {

std::vector<std::int64_t> parse_list(const std::string& text, std::int64_t low, std::int64_t high, const char* option) {
  try {
    return whole_numbers(text, low, high);
  } catch (const std::invalid_argument& error) {
    throw Failure(kMisuse, fmt::format("{}: {}", option, error.what()));
  }
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
  const auto seeds = parse_list(text, 0, UINT32_MAX, option);
  return {seeds.begin(), seeds.end()};
}

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  std::vector<std::int64_t> sizes = parse_list(text, 1, kMostPoints, "--sizes");
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); }

double number_of(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

std::string text_of(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace scalelab::host
