// idx: the files in which MNIST and its relatives are published: arrays of any number of axes, plain or compressed by
// gzip.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace scalelab::host {

// Whether a file that begins with these bytes (4 are enough; unpacked ones) is such a file: two zeros, a type, a number
// of axes.
bool is_idx(std::string_view first_bytes);
// The first bytes (at most 12) of a file, unpacked where gzip packed it; none where it cannot be read or is no regular
// file (a pipe keeps its bytes).
std::string first_bytes_of(const std::filesystem::path& file);

// An array, its values in C order. All that float can hold without loss is read: bytes, whole numbers up to 2^24 in
// magnitude, float32.
struct IdxArray {
  std::vector<std::int64_t> shape;  // at least one axis, none empty
  std::vector<float> values;
  bool bytes = false;  // the file holds unsigned bytes: pixels, 0 to 255
};

// Failure(kBadData) that names the file and what is wrong: missing, no such file, a type or a number of axes that is not
// known, cut short, broken inside gzip, longer than its header promises, a number that is not finite or that float cannot
// hold. float64 is refused unless it is to be rounded. Memory grows with what the file holds, never with what its header
// claims.
IdxArray read_idx(const std::filesystem::path& file, bool round_float64 = false);

// One whole number a row, of a file with one axis. Failure(kBadData) as above.
std::vector<std::int64_t> read_idx_integers(const std::filesystem::path& file);

}  // namespace scalelab::host
