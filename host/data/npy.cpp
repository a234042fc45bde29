#include "host/data/npy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "host/data/file_kind.h"
#include "host/program/error.h"

namespace scalelab::host {

static_assert(std::endian::native == std::endian::little, "numbers are read and written as they lie in memory");

namespace {

// What the header of a .npy file says: a Python dictionary with the keys descr, fortran_order and shape.
struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  // False: not such a dictionary.
  bool parse(Header& header) {
    bool has_descr = false, has_order = false, has_shape = false;
    if (!take('{')) return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':')) return false;
      if (key == "descr") {
        has_descr = true;
        skip_space();
        // A structured type is a list; it is shown as it stands.
        if (peek() == '[') {
          const std::size_t end = text_.find(']');
          if (end == std::string_view::npos) return false;
          header.descr = text_.substr(0, end + 1);
          text_.remove_prefix(end + 1);
        } else if (!string(header.descr)) {
          return false;
        }
      } else if (key == "fortran_order") {
        has_order = true;
        if (word("True")) {
          header.fortran_order = true;
        } else if (!word("False")) {
          return false;
        }
      } else if (key == "shape") {
        has_shape = true;
        if (!take('(')) return false;
        while (!take(')')) {
          std::int64_t extent = 0;
          skip_space();
          const auto [stop, error] = std::from_chars(text_.data(), text_.data() + text_.size(), extent);
          if (error != std::errc() || extent < 0) return false;
          text_.remove_prefix(static_cast<std::size_t>(stop - text_.data()));
          if (!text_.empty() && text_[0] == 'L') text_.remove_prefix(1);  // a long of Python 2
          header.shape.push_back(extent);
          if (!take(',') && peek() != ')') return false;
        }
      } else {
        return false;
      }
      if (!take(',') && peek() != '}') return false;
    }
    return has_descr && has_order && has_shape;
  }

 private:
  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t')) text_.remove_prefix(1);
  }
  char peek() {
    skip_space();
    return text_.empty() ? '\0' : text_[0];
  }
  bool take(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view expected) {
    skip_space();
    if (text_.substr(0, expected.size()) != expected) return false;
    text_.remove_prefix(expected.size());
    return true;
  }
  bool string(std::string& value) {
    if (peek() == 'u' || peek() == 'b') text_.remove_prefix(1);  // of Python 2 and 3
    const char quote = text_.empty() ? '\0' : text_[0];
    if (quote != '\'' && quote != '"') return false;
    const std::size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos) return false;
    value = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return true;
  }
  std::string_view text_;
};

// The name people know a type by.
std::string type_name(const std::string& descr) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"f2", "float16"}, {"f4", "float32"}, {"f8", "float64"},   {"i1", "int8"},        {"i2", "int16"},
      {"i4", "int32"},   {"i8", "int64"},   {"u1", "uint8"},     {"u2", "uint16"},      {"u4", "uint32"},
      {"u8", "uint64"},  {"b1", "bool"},    {"c8", "complex64"}, {"c16", "complex128"}, {"O", "Python objects"}};
  for (const auto& [code, name] : kNames) {
    if (descr.size() > 1 && descr.substr(1) == code) return name;
  }
  std::string text = descr.substr(0, 40);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return "type " + text;
}

struct Closer {
  explicit Closer(int d) : descriptor(d) {}
  ~Closer() { ::close(descriptor); }
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;
  int descriptor;
};

// A .npy file that has been opened: its header, and where its numbers begin.
struct Opened {
  explicit Opened(const std::filesystem::path& file)
      : name(file.string()), closer(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (closer.descriptor < 0) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
    if (::fstat(closer.descriptor, &status) != 0) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) fail("is not a regular file, and only those can be mapped into memory");
    size = static_cast<std::size_t>(status.st_size);

    unsigned char start[12] = {};
    read_at(0, start, std::min(size, sizeof start));
    if (size < 10 || std::memcmp(start, "\x93NUMPY", 6) != 0) {
      const std::string_view bytes(reinterpret_cast<const char*>(start), std::min(size, sizeof start));
      const std::string kind = kind_of_file(bytes);
      const bool text = std::all_of(bytes.begin(), bytes.end(),
                                    [](char c) { return c >= ' ' || c == '\n' || c == '\r' || c == '\t'; });
      fail(size == 0       ? "is empty"
           : !kind.empty() ? "is no .npy file: it " + kind
           : text ? "is no .npy file, it looks like text; in Python: numpy.save(out, numpy.loadtxt(file, 'f4', "
                    "delimiter=','))"
                  : "is no .npy file");
    }
    const int version = start[6];
    if (version < 1 || version > 3) fail(fmt::format("is a .npy file of version {}, which is not known", version));
    const std::size_t prefix = version == 1 ? 10 : 12;
    std::size_t header_size = start[8] | static_cast<std::size_t>(start[9]) << 8;
    if (version > 1)
      header_size |= static_cast<std::size_t>(start[10]) << 16 | static_cast<std::size_t>(start[11]) << 24;
    if (size < prefix + header_size) fail("is cut short inside its header");
    if (header_size > 1 << 20) fail("has a header of over a megabyte");
    std::string text(header_size, '\0');
    read_at(prefix, text.data(), header_size);
    if (!HeaderParser(text).parse(header)) fail("has a header that cannot be read");
    offset = prefix + header_size;
  }
  [[noreturn]] void fail(const std::string& what) const { throw Failure(kBadData, name + ": " + what); }
  // All of so many bytes, of which the system may give a few at a time.
  void read_at(std::size_t from, void* to, std::size_t bytes) const {
    for (std::size_t done = 0; done < bytes;) {
      const ssize_t got =
          ::pread(closer.descriptor, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(from + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail("cannot be read to its end");
      done += static_cast<std::size_t>(got);
    }
  }

  // Fails unless exactly the numbers of the header's shape follow, `width` bytes each.
  void require_whole(std::int64_t rows, std::int64_t features, std::size_t width) const {
    const std::string shape = fmt::format("({})", fmt::join(header.shape, ", "));
    if (rows == 0 || features == 0) fail(fmt::format("has shape {} and so no numbers", shape));
    const auto r = static_cast<std::size_t>(rows), f = static_cast<std::size_t>(features);
    const std::size_t room = (size - offset) / width;
    if (r > room || f > room || r > room / f) {
      fail(fmt::format("is cut short: its header promises shape {}, and {} bytes follow", shape, size - offset));
    }
    if (r * f * width != size - offset) {
      fail(fmt::format("holds more than the shape {} that its header promises: {} bytes follow", shape, size - offset));
    }
  }

  // The bytes of a whole file of n rows of `width` bytes.
  std::vector<unsigned char> rows(std::int64_t n, std::size_t width) const {
    require_whole(n, 1, width);
    std::vector<unsigned char> bytes(static_cast<std::size_t>(n) * width);
    read_at(offset, bytes.data(), bytes.size());
    return bytes;
  }

  std::string name;
  Closer closer;
  struct stat status {};
  std::size_t size = 0, offset = 0;
  Header header;
};

}  // namespace

// By hand: Highway has F32FromF16 from a later version than 1.0.3, the oldest that this is built with.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fU, fraction = half & 0x3ffU;
  std::uint32_t bits = 0;
  if (exponent == 0x1f) {
    bits = sign | 0x7f800000U | fraction << 13;
  } else if (exponent != 0) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else {  // zero, or fraction * 2^-24
    bits = sign | std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24F);
  }
  return std::bit_cast<float>(bits);
}

NpyMatrix::NpyMatrix(const std::filesystem::path& file, bool round_float64) : name_(file.string()) {
  const Opened opened(file);
  const Header& header = opened.header;
  const auto fail = [&](const std::string& what) { opened.fail(what); };
  std::size_t width = 4;
  if (header.descr == "<f4" || header.descr == "=f4") {
    type_ = Type::float32;
  } else if (header.descr == "<f2" || header.descr == "=f2") {
    type_ = Type::float16;
    width = 2;
  } else if (header.descr == "|u1" || header.descr == "<u1") {
    type_ = Type::uint8;
    width = 1;
  } else if ((header.descr == "<f8" || header.descr == "=f8") && round_float64) {
    type_ = Type::float64;
    width = 8;
  } else if (header.descr == "<f8" || header.descr == "=f8") {
    fail("holds float64; save it as float32, or say --round-float64 to have each number rounded");
  } else if (!header.descr.empty() && header.descr[0] == '>') {
    fail(
        fmt::format("holds big-endian {}; little-endian float32, float16 or uint8 is needed", type_name(header.descr)));
  } else {
    fail(fmt::format("holds {}; float32, float16 or uint8 is needed", type_name(header.descr)));
  }
  // The first axis counts rows, all others together features. Of one long axis both orders are the same.
  if (header.shape.empty()) fail("has 0 axes; (rows, features) is needed");
  if (header.fortran_order &&
      std::count_if(header.shape.begin(), header.shape.end(), [](auto e) { return e > 1; }) > 1) {
    fail("is in Fortran order; save it in C order (numpy.ascontiguousarray)");
  }
  rows_ = header.shape[0];
  features_ = 1;
  for (std::size_t axis = 1; axis < header.shape.size(); ++axis) {
    if (__builtin_mul_overflow(features_, header.shape[axis], &features_)) features_ = INT64_MAX;  // cut short, then
  }
  // Mapped, not read: rows come when they are asked for. The descriptor stays, to see whether the file changes.
  opened.require_whole(rows_, features_, width);
  bytes_ = opened.size;
  map_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, opened.closer.descriptor, 0);
  if (map_ == MAP_FAILED) {
    map_ = nullptr;
    fail(fmt::format("cannot be mapped into memory: {}", std::strerror(errno)));
  }
  guard_.emplace(map_, bytes_, name_);
  descriptor_ = ::fcntl(opened.closer.descriptor, F_DUPFD_CLOEXEC, 0);
  status_ = opened.status;
  ::madvise(map_, bytes_, MADV_SEQUENTIAL);
  values_ = static_cast<const unsigned char*>(map_) + opened.offset;
}

NpyMatrix::~NpyMatrix() {
  guard_.reset();
  if (map_ != nullptr) ::munmap(map_, bytes_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void NpyMatrix::require_unchanged() const {
  struct stat now {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &now) != 0) return;
  if (now.st_size != status_.st_size || now.st_mtim.tv_sec != status_.st_mtim.tv_sec ||
      now.st_mtim.tv_nsec != status_.st_mtim.tv_nsec) {
    throw Failure(kBadData,
                  name_ + ": was changed while it was being read; run the same command again when it is whole");
  }
}

void NpyMatrix::read(std::int64_t begin, std::int64_t count, std::span<float> to) const {
  if (begin < 0 || count < 0 || begin > rows_ - count || static_cast<std::int64_t>(to.size()) != count * features_) {
    throw std::invalid_argument(
        fmt::format("{}: rows {} to {} of {} were asked for", name_, begin, begin + count, rows_));
  }
  require_unchanged();
  const std::size_t first = static_cast<std::size_t>(begin * features_);
  // The header need not leave the numbers aligned: they are copied by bytes.
  if (type_ == Type::float32) {
    std::memcpy(to.data(), values_ + first * sizeof(float), to.size_bytes());
  } else if (type_ == Type::uint8) {
    std::copy_n(values_ + first, to.size(), to.begin());
  } else if (type_ == Type::float16) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, values_ + (first + i) * sizeof half, sizeof half);
      to[i] = half_to_float(half);
    }
  } else {
    for (std::size_t i = 0; i < to.size(); ++i) {
      double wide = 0;
      std::memcpy(&wide, values_ + (first + i) * sizeof wide, sizeof wide);
      to[i] = static_cast<float>(wide);
    }
  }
  require_unchanged();  // behind a new end the same page holds zeros
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (std::isfinite(to[i])) continue;
    const auto at = static_cast<std::int64_t>(first + i);
    throw Failure(kBadData,
                  fmt::format("{}: row {}, column {} is {}{}; every number must be finite", name_, at / features_,
                              at % features_, to[i], type_ == Type::float64 ? " as a 32-bit number" : ""));
  }
}

std::vector<float> NpyMatrix::read_all() const {
  std::vector<float> values(static_cast<std::size_t>(rows_ * features_));
  read(0, rows_, values);
  return values;
}

std::span<const float> NpyMatrix::mapped() const {
  if (type_ != Type::float32 || reinterpret_cast<std::uintptr_t>(values_) % alignof(float) != 0) return {};
  return {reinterpret_cast<const float*>(values_), static_cast<std::size_t>(rows_ * features_)};
}

std::vector<std::int64_t> read_npy_integers(const std::filesystem::path& file) {
  const Opened opened(file);
  const std::string& descr = opened.header.descr;
  const auto& shape = opened.header.shape;
  static constexpr std::string_view kKinds[] = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
  const bool known = descr.size() == 3 && std::count(std::begin(kKinds), std::end(kKinds), descr.substr(1)) == 1;
  if (!known || descr[0] == '>')
    opened.fail(fmt::format("holds {}; little-endian integers are needed", type_name(descr)));
  if (shape.size() != 1 && !(shape.size() == 2 && shape[1] == 1)) {
    opened.fail(fmt::format("has shape ({}); one integer a row is needed", fmt::join(shape, ", ")));
  }
  const auto width = static_cast<std::size_t>(descr[2] - '0');
  const std::vector<unsigned char> bytes = opened.rows(shape[0], width);
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(shape[0]));
  for (std::size_t i = 0; i < bytes.size(); i += width) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i, width);
    if (descr[1] == 'i' && width < 8 && (bits >> (8 * width - 1)) != 0) bits |= ~std::uint64_t{0} << (8 * width);
    if (descr[1] == 'u' && width == 8 && bits > static_cast<std::uint64_t>(INT64_MAX)) {
      opened.fail(fmt::format("row {} is {}, which a signed 64-bit integer cannot hold", i / width, bits));
    }
    values.push_back(static_cast<std::int64_t>(bits));
  }
  return values;
}

namespace {

// A code point as UTF-8; what is none becomes a byte that UTF-8 does not have.
void append_utf8(std::string& text, std::uint32_t c) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xc0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    text += static_cast<char>(0xe0 | c >> 12);
    tail(6);
    tail(0);
  } else if (c < 0x110000) {
    text += static_cast<char>(0xf0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  } else {
    text += '\xff';
  }
}

// NumPy's str: characters of four bytes, zeros behind the last; or its bytes.
std::string text_at(const unsigned char* from, std::size_t width, bool wide) {
  std::string text;
  for (std::size_t at = 0; at < width; at += wide ? 4 : 1) {
    std::uint32_t c = from[at];
    if (wide) std::memcpy(&c, from + at, sizeof c);
    if (wide) {
      append_utf8(text, c);
    } else {
      text += static_cast<char>(c);
    }
  }
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

}  // namespace

std::vector<std::string> read_npy_labels(const std::filesystem::path& file) {
  std::vector<std::string> labels;
  const Opened opened(file);
  const std::string& descr = opened.header.descr;
  const bool wide = descr.starts_with("<U") || descr.starts_with("=U");
  if (!wide && !descr.starts_with("|S")) {
    if (descr.ends_with("O")) opened.fail("holds Python objects; in Python: numpy.save(file, y.astype(str))");
    for (const std::int64_t label : read_npy_integers(file)) labels.push_back(std::to_string(label));
    return labels;
  }
  const auto& shape = opened.header.shape;
  if (shape.size() != 1 && !(shape.size() == 2 && shape[1] == 1)) {
    opened.fail(fmt::format("has shape ({}); one label a row is needed", fmt::join(shape, ", ")));
  }
  std::size_t characters = 0;
  const char* end = descr.data() + descr.size();
  const auto [stop, error] = std::from_chars(descr.data() + 2, end, characters);
  if (error != std::errc() || stop != end || characters < 1 || characters > 1 << 16) {
    opened.fail(fmt::format("holds {}; labels of 1 to 65536 characters are needed", type_name(descr)));
  }
  const std::size_t width = characters * (wide ? 4 : 1);
  const std::vector<unsigned char> bytes = opened.rows(shape[0], width);
  for (std::size_t at = 0; at < bytes.size(); at += width) labels.push_back(text_at(bytes.data() + at, width, wide));
  return labels;
}

FeatureRanges::FeatureRanges(std::int64_t features)
    : low_(static_cast<std::size_t>(features), HUGE_VALF), high_(static_cast<std::size_t>(features), -HUGE_VALF) {}

void FeatureRanges::add(std::span<const float> rows) {
  const std::size_t d = low_.size();
  for (std::size_t row = 0; row < rows.size(); row += d) {
    for (std::size_t c = 0; c < d; ++c) {
      low_[c] = std::min(low_[c], rows[row + c]);
      high_[c] = std::max(high_[c], rows[row + c]);
    }
  }
}

void FeatureRanges::add_those_of(Communicator& ranks) {
  // As integers in the order of the numbers: those of negative numbers fall as their bits rise.
  const auto flipped = [](std::int32_t bits) { return bits < 0 ? bits ^ INT32_MAX : bits; };
  std::vector<std::int64_t> most;
  for (const float high : high_) most.push_back(flipped(std::bit_cast<std::int32_t>(high)));
  for (const float low : low_) most.push_back(flipped(std::bit_cast<std::int32_t>(-low)));
  ranks.max(most);
  const std::size_t d = low_.size();
  for (std::size_t c = 0; c < d; ++c) {
    high_[c] = std::bit_cast<float>(flipped(static_cast<std::int32_t>(most[c])));
    low_[c] = -std::bit_cast<float>(flipped(static_cast<std::int32_t>(most[d + c])));
  }
}

void FeatureRanges::require_near(const std::string& file) const {
  // Half of what fp32 can hold: room for the roundings of a sum of thousands of squares.
  if (squared_diagonal() > 0.5 * std::numeric_limits<float>::max()) {
    throw Failure(kBadData, file +
                                ": the numbers lie so far apart that squared distances overflow 32 bits; scale "
                                "them down");
  }
}

void FeatureRanges::require_apart(const std::string& file) const {
  // 2^26 times the least normal number: rows a ten-thousandth of the diagonal apart keep all bits of their distance.
  const double squared = squared_diagonal();
  if (squared > 0 && squared < 0x1p26 * std::numeric_limits<float>::min()) {
    throw Failure(kBadData, file +
                                ": the numbers lie so near each other that squared distances vanish in 32 bits; "
                                "scale them up");
  }
}

double FeatureRanges::squared_diagonal() const {
  double squared = 0;
  for (std::size_t c = 0; c < low_.size(); ++c) {
    const double range = static_cast<double>(high_[c]) - low_[c];
    squared += range * range;
  }
  return squared;
}

NpyArray read_npy(const std::filesystem::path& file) {
  const Opened opened(file);
  const Header& header = opened.header;
  if (header.shape.empty() || header.fortran_order) opened.fail("is no array of rows, in C order");
  if (header.descr.size() != 3 || header.descr[2] < '1' || header.descr[2] > '8') {
    opened.fail("holds " + header.descr + "; plain numbers are needed");
  }
  std::int64_t row = header.descr[2] - '0';
  for (std::size_t axis = 1; axis < header.shape.size(); ++axis) row *= header.shape[axis];
  return {header.descr, header.shape, opened.rows(header.shape[0], static_cast<std::size_t>(row))};
}

std::int64_t write_npy_start(OutputFile& file, const std::string& descr, const std::vector<std::int64_t>& shape) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                                   fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // NumPy pads with spaces and a line feed until the numbers start at a multiple of 64 bytes.
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  const auto size = static_cast<std::uint16_t>(header.size());
  std::string start = "\x93NUMPY";
  for (const int byte : {1, 0, size & 0xff, size >> 8}) start += static_cast<char>(byte);
  file.write(start);
  file.write(header);
  return static_cast<std::int64_t>(start.size() + header.size());
}

template <class T>
NpyWriter<T>::NpyWriter(const std::filesystem::path& file, std::vector<std::int64_t> shape) : output_(file) {
  const char* descr = std::is_same_v<T, float>          ? "<f4"
                      : std::is_same_v<T, std::int32_t> ? "<i4"
                      : std::is_same_v<T, std::int64_t> ? "<i8"
                                                        : "|u1";
  header_bytes_ = write_npy_start(output_, descr, shape);
}

template class NpyWriter<float>;
template class NpyWriter<std::int32_t>;
template class NpyWriter<std::int64_t>;
template class NpyWriter<std::uint8_t>;

}  // namespace scalelab::host
