// words: numbers, lists and tables as text, and lists of numbers as an option's text holds them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace scalelab::host {

// "16.9", "2.93", "0.45": a fraction in per cent with the digits worth reading; "-" for NaN.
std::string percent(double fraction);
// "+1.62": a difference of fractions in percentage points; "-" for NaN.
std::string signed_points(double difference);
// "1,000"
std::string grouped(std::int64_t n);
// "1 seed", "1,000 seeds"; `plural` where an s does not make it.
std::string counted(std::int64_t n, const std::string& noun, const std::string& plural = "");
// "a, b and c"
std::string listed(const std::vector<std::string>& items);
// With its first letter a capital.
std::string capitalized(std::string text);
// Rows of cells in columns aligned to one side, a line each; the first row heads them.
enum class Side { left, right };
std::string aligned(const std::vector<std::vector<std::string>>& rows, Side side = Side::right);

// The parts between separators, empty ones too; one part when there is no separator.
std::vector<std::string> split(std::string_view text, char separator = ',');

// "0..4", "0,3,7", or both: "0..2,10"; ascending ranges, no seed twice. Failure(kMisuse).
std::vector<std::uint64_t> parse_seeds(const std::string& text, const char* option = "--seeds");
// More training points than this no option takes.
inline constexpr std::int64_t kMostPoints = 10'000'000;
// "1000,10000": from 1 to kMostPoints, no size twice, returned in ascending order. Failure(kMisuse).
std::vector<std::int64_t> parse_sizes(const std::string& text);

// A number in JSON; null when it is not finite.
nlohmann::json number(double value);
// And back: NaN where it is no number.
double number_of(const nlohmann::json& value);
// A JSON value as text: a string without its quotes.
std::string text_of(const nlohmann::json& value);
// The time now, "2026-01-31T12:00:00Z".
std::string utc_now();

}  // namespace scalelab::host
