// lists: a list as people write it, of an option or in a file: its items stand between commas, spaces or both.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace scalelab::host {

inline constexpr std::size_t kMostItems = 10000;

// std::invalid_argument that says so where one is empty: nothing stands between two commas, or there is nothing at all.
std::vector<std::string> list_items(std::string_view text);

// Whole numbers in the order given; an item may be a range, as 0..4. With `exponents` a number may be written as 1e6.
// std::invalid_argument that names the item: it is no such number or not from `low` to `high`, its range ends before it
// begins, it stands there twice, or there are more than kMostItems.
std::vector<std::int64_t> whole_numbers(std::string_view text, std::int64_t low, std::int64_t high,
                                        bool exponents = false);

}  // namespace scalelab::host
