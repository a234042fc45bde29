// npy: NumPy's array files, read where they lie (memory-mapped) and written in pieces.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/program/files.h"
#include "host/program/signals.h"
#include "scalelab/communicator.h"

namespace scalelab::host {

// A matrix of finite numbers in a .npy file: n rows of d features, mapped and not copied, so that a file larger than
// memory can be read in parts. A 1-D array of length n is a matrix of n rows and one feature; of more than two axes all
// but the first are features, as of images (n, height, width).
//
// float32 is taken as it is, float16 and unsigned bytes are widened, all without loss. float64 is refused unless asked
// for, because rounding can change which of two rows is the nearer one.
//
// Opening throws Failure(kBadData) that names the file and what is wrong: missing, no .npy file, another type, another
// byte order, Fortran order, no axes, an empty axis, a file shorter or longer than its header says.
class NpyMatrix {
 public:
  explicit NpyMatrix(const std::filesystem::path& file, bool round_float64 = false);
  ~NpyMatrix();
  NpyMatrix(const NpyMatrix&) = delete;
  NpyMatrix& operator=(const NpyMatrix&) = delete;

  std::int64_t rows() const { return rows_; }          // n >= 1
  std::int64_t features() const { return features_; }  // d >= 1
  const std::string& name() const { return name_; }
  bool bytes() const { return type_ == Type::uint8; }  // pixels, 0 to 255

  // Copies rows [begin, begin + count) as fp32 to `to` (count, d). Throws Failure(kBadData) naming the first value that
  // is not finite, or a file that was changed since it was opened.
  void read(std::int64_t begin, std::int64_t count, std::span<float> to) const;
  std::vector<float> read_all() const;
  // All values where they lie in the file, if it holds float32, as long as this lives; otherwise empty.
  std::span<const float> mapped() const;
  // Failure(kBadData) when the file was written to or made shorter since it was opened: for whoever used `mapped`.
  void require_unchanged() const;

 private:
  enum class Type { uint8, float16, float32, float64 };
  std::string name_;
  int descriptor_ = -1;
  struct stat status_ {};  // when it was opened
  void* map_ = nullptr;
  std::size_t bytes_ = 0;
  std::optional<MappedFile> guard_;
  const unsigned char* values_ = nullptr;
  Type type_ = Type::float32;
  std::int64_t rows_ = 0, features_ = 0;
};

// One integer a row, from a .npy file of any integer type, of shape (n) or (n, 1), n >= 1. Failure(kBadData) as above.
std::vector<std::int64_t> read_npy_integers(const std::filesystem::path& file);
// One label a row, from such a file or one of text (str or bytes of NumPy, of one axis).
std::vector<std::string> read_npy_labels(const std::filesystem::path& file);

// An array of any type as its bytes lie in the file.
struct NpyArray {
  std::string descr;                // "<f4"
  std::vector<std::int64_t> shape;  // at least one axis
  std::vector<unsigned char> bytes;

  std::int64_t rows() const { return shape[0]; }
};
// Failure(kBadData) as above; Fortran order is refused.
NpyArray read_npy(const std::filesystem::path& file);
// What a file begins with that holds such an array; returns how many bytes that is.
std::int64_t write_npy_start(OutputFile& file, const std::string& descr, const std::vector<std::int64_t>& shape);

// The range of each feature over all rows seen, and whether fp32 can hold squared distances between such rows.
class FeatureRanges {
 public:
  explicit FeatureRanges(std::int64_t features);
  void add(std::span<const float> rows);   // (any, d), finite
  void add_those_of(Communicator& ranks);  // the ranges that other ranks have seen; called by all
  // Failure(kBadData) naming `file` where distances would overflow. Rows to come cannot mend that.
  void require_near(const std::string& file) const;
  // The same where even the largest distance is so small that others lose their bits or become 0. Rows to come can mend
  // that; rows that are all equal are fine.
  void require_apart(const std::string& file) const;

 private:
  double squared_diagonal() const;
  std::vector<float> low_, high_;
};

// A .npy file of a known shape, written in pieces; it appears whole on `commit` (files.h).
template <class T>
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& file, std::vector<std::int64_t> shape);
  void write(std::span<const T> values) { output_.write(values.data(), values.size_bytes()); }  // in order
  void write_at(std::int64_t element, std::span<const T> values) {                              // or anywhere
    output_.write_at(header_bytes_ + element * static_cast<std::int64_t>(sizeof(T)), values.data(),
                     values.size_bytes());
  }
  void commit() { output_.commit(); }

 private:
  OutputFile output_;
  std::int64_t header_bytes_;
};
extern template class NpyWriter<float>;
extern template class NpyWriter<std::int32_t>;
extern template class NpyWriter<std::int64_t>;
extern template class NpyWriter<std::uint8_t>;

// The exact value of an IEEE half.
float half_to_float(std::uint16_t half);

}  // namespace scalelab::host
