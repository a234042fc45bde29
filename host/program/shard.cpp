#include "host/program/shard.h"

#include <fmt/format.h>

#include <charconv>

#include "host/program/error.h"

namespace scalelab::host {

Shard parse_shard(const std::string& text, const std::string& option) {
  int index = 0, of = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, index);
  if (first.ec == std::errc{} && first.ptr != end && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, end, of);
    if (second.ec == std::errc{} && second.ptr == end && of >= 1 && of <= 100000 && index >= 0 && index <= of) {
      return {index == 0 ? of : index, of};
    }
  }
  throw Failure(kMisuse, fmt::format("{}: '{}' is not i/n with i from 1 to n", option, text));
}

std::filesystem::path shard_folder(const std::filesystem::path& out, const Shard& shard, const std::string& kind) {
  return out / fmt::format("{}-{}-of-{}", kind, shard.index, shard.of);
}

}  // namespace scalelab::host
