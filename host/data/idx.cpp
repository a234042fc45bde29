#include "host/data/idx.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>

#include "host/program/error.h"

namespace scalelab::host {

namespace {

// What is unpacked at a time.
constexpr std::size_t kPiece = std::size_t{1} << 20;

enum Type : unsigned char {
  kBytes = 0x08,
  kSigned = 0x09,
  kShorts = 0x0b,
  kInts = 0x0c,
  kFloats = 0x0d,
  kDoubles = 0x0e
};

// Bytes of a number; 0 for a type that there is not.
std::size_t width_of(unsigned char type) {
  switch (type) {
    case kBytes:
    case kSigned: return 1;
    case kShorts: return 2;
    case kInts:
    case kFloats: return 4;
    case kDoubles: return 8;
    default: return 0;
  }
}

struct Close {
  void operator()(gzFile file) const { ::gzclose(file); }
};
using Stream = std::unique_ptr<gzFile_s, Close>;

bool is_regular(const std::filesystem::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The bytes of one file in order, unpacked where gzip packed it.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& file) : name_(file.string()) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) fail("is not a regular file");
    stream_.reset(::gzopen(file.c_str(), "rb"));
    if (!stream_) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
    ::gzbuffer(stream_.get(), 1U << 17);
  }
  [[noreturn]] void fail(const std::string& what) const { throw Failure(kBadData, name_ + ": " + what); }

  // Appends up to `most` bytes to `to`, and returns how many there were.
  std::size_t append(std::vector<unsigned char>& to, std::size_t most) {
    const std::size_t before = to.size();
    while (most > 0) {
      throw_if_interrupted();
      const std::size_t wanted = std::min(most, kPiece), begin = to.size();
      to.resize(begin + wanted);
      const int got = ::gzread(stream_.get(), to.data() + begin, static_cast<unsigned>(wanted));
      to.resize(begin + static_cast<std::size_t>(std::max(got, 0)));
      int code = Z_OK;
      const char* why = ::gzerror(stream_.get(), &code);
      // A file that ends inside what gzip packed is Z_BUF_ERROR, after what there was.
      if (code == Z_BUF_ERROR) fail("is cut short inside what gzip packed; fetch it again");
      if (code == Z_ERRNO) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
      if (code != Z_OK && code != Z_STREAM_END)
        fail(fmt::format("is broken inside what gzip packed ({}); fetch it again", why));
      if (got <= 0) break;
      most -= static_cast<std::size_t>(got);
    }
    return to.size() - before;
  }

 private:
  std::string name_;
  Stream stream_;
};

// A big-endian number of type T at `from`.
template <class T, class Bits>
T number_at(const unsigned char* from) {
  Bits bits = 0;
  for (std::size_t i = 0; i < sizeof(Bits); ++i) bits = static_cast<Bits>(bits << 8 | from[i]);
  return std::bit_cast<T>(bits);
}

double number_of(unsigned char type, const unsigned char* from) {
  switch (type) {
    case kBytes: return from[0];
    case kSigned: return static_cast<signed char>(from[0]);
    case kShorts: return number_at<std::int16_t, std::uint16_t>(from);
    case kInts: return number_at<std::int32_t, std::uint32_t>(from);
    case kFloats: return number_at<float, std::uint32_t>(from);
    default: return number_at<double, std::uint64_t>(from);
  }
}

// A file's header and its numbers, still as bytes.
struct Raw {
  unsigned char type = 0;
  std::vector<std::int64_t> shape;
  std::vector<unsigned char> bytes;
  std::size_t count() const { return bytes.size() / width_of(type); }
};

Raw read_raw(const std::filesystem::path& file) {
  Bytes input(file);
  std::vector<unsigned char> start;
  if (input.append(start, 4) < 4) input.fail(start.empty() ? "is empty" : "is no IDX file: it is too short");
  if (start[0] != 0 || start[1] != 0) {
    input.fail(fmt::format(
        "is no IDX file: it begins with {:02x} {:02x} {:02x} {:02x}, not with 00 00, a type and a number of "
        "axes",
        start[0], start[1], start[2], start[3]));
  }
  Raw raw;
  raw.type = start[2];
  const std::size_t axes = start[3], width = width_of(raw.type);
  if (width == 0) input.fail(fmt::format("is an IDX file of type {:02x}, which is not known", start[2]));
  if (axes < 1 || axes > 8) input.fail(fmt::format("is an IDX file of {} axes; 1 to 8 are read", axes));
  std::vector<unsigned char> sizes;
  if (input.append(sizes, 4 * axes) < 4 * axes) input.fail("is cut short inside its header");
  std::uint64_t promised = 1;  // numbers; held below 2^40, which no file that is read reaches
  for (std::size_t axis = 0; axis < axes; ++axis) {
    raw.shape.push_back(number_at<std::uint32_t, std::uint32_t>(sizes.data() + 4 * axis));
    promised = std::min(promised * static_cast<std::uint64_t>(raw.shape.back()), std::uint64_t{1} << 40);
    if (raw.shape.back() == 0) input.fail(fmt::format("has shape ({}) and so no numbers", fmt::join(raw.shape, ", ")));
  }
  const std::string shape = fmt::format("({})", fmt::join(raw.shape, ", "));
  const std::uint64_t got = input.append(raw.bytes, static_cast<std::size_t>(promised) * width);
  if (got < promised * width) {
    input.fail(fmt::format("is cut short: its header promises shape {}, and {} bytes follow", shape, got));
  }
  std::vector<unsigned char> more;
  if (input.append(more, 1) > 0)
    input.fail(fmt::format("holds more than the shape {} that its header promises", shape));
  return raw;
}

}  // namespace

bool is_idx(std::string_view first_bytes) {
  return first_bytes.size() >= 4 && first_bytes[0] == 0 && first_bytes[1] == 0 &&
         width_of(static_cast<unsigned char>(first_bytes[2])) != 0 && first_bytes[3] >= 1 && first_bytes[3] <= 8;
}

std::string first_bytes_of(const std::filesystem::path& file) {
  if (!is_regular(file)) return "";
  const Stream stream(::gzopen(file.c_str(), "rb"));
  std::string bytes(12, '\0');
  const int got = stream ? ::gzread(stream.get(), bytes.data(), static_cast<unsigned>(bytes.size())) : 0;
  bytes.resize(static_cast<std::size_t>(std::max(got, 0)));
  return bytes;
}

IdxArray read_idx(const std::filesystem::path& file, bool round_float64) {
  const Raw raw = read_raw(file);
  const auto fail = [&](const std::string& what) { throw Failure(kBadData, file.string() + ": " + what); };
  if (raw.type == kDoubles && !round_float64) fail("holds float64; float32 or whole numbers are needed");
  IdxArray array{raw.shape, {}, raw.type == kBytes};
  const std::size_t width = width_of(raw.type);
  array.values.resize(raw.count());
  for (std::size_t i = 0; i < array.values.size(); ++i) {
    const double value = number_of(raw.type, raw.bytes.data() + i * width);
    array.values[i] = static_cast<float>(value);
    if (!std::isfinite(array.values[i])) {
      fail(fmt::format("number {} is {}; every number must be finite", i, array.values[i]));
    }
    if (raw.type == kInts && static_cast<double>(array.values[i]) != value) {
      fail(fmt::format("number {} is {:.0f}, which a 32-bit float cannot hold", i, value));
    }
  }
  return array;
}

std::vector<std::int64_t> read_idx_integers(const std::filesystem::path& file) {
  const Raw raw = read_raw(file);
  const auto fail = [&](const std::string& what) { throw Failure(kBadData, file.string() + ": " + what); };
  if (raw.type == kFloats || raw.type == kDoubles) fail("holds floating-point numbers; whole numbers are needed");
  if (raw.shape.size() != 1) {
    fail(fmt::format("has shape ({}); one whole number a row is needed", fmt::join(raw.shape, ", ")));
  }
  std::vector<std::int64_t> values;
  values.reserve(raw.count());
  const std::size_t width = width_of(raw.type);
  for (std::size_t at = 0; at < raw.bytes.size(); at += width) {
    values.push_back(static_cast<std::int64_t>(number_of(raw.type, raw.bytes.data() + at)));
  }
  return values;
}

}  // namespace scalelab::host
