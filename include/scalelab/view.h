// View: a shaped window onto memory of a backend. It owns nothing and never crosses between backends. That memory may be
// anybody's: on CUDA any pointer that the device can reach (another library's array), aligned as its type asks.
//
// Every View is dense and row-major: the last axis is contiguous. std::span is host memory, View is backend memory
// (on the CPU backend they are the same memory), and only Buffer (buffer.h) crosses from one to the other.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>

#ifdef __CUDACC__
#define SCALELAB_HD __host__ __device__
#else
#define SCALELAB_HD
#endif

namespace scalelab {

// The length of one axis, from an integer of any type.
struct Extent {
  template <std::integral I>
  constexpr Extent(I extent) : length(static_cast<std::int64_t>(extent)) {}
  std::int64_t length;
};
using Shape = std::initializer_list<Extent>;  // {n, d}: as many axes as numbers

template <class T>
class View {
 public:
  static constexpr int kMaxRank = 4;

  View() = default;

  // Throws std::invalid_argument for more than kMaxRank axes.
  View(T* data, Shape shape) : data_(data), rank_(static_cast<int>(shape.size())) {
    if (rank_ > kMaxRank) throw std::invalid_argument("a View has at most 4 axes, not " + std::to_string(rank_));
    int axis = 0;
    for (const Extent extent : shape) extents_[axis++] = extent.length;
  }

  // A View<T> reads as a View<const T>.
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  View(const View<U>& other) : data_(other.data()), rank_(other.rank()) {
    for (int axis = 0; axis < rank_; ++axis) extents_[axis] = other.extent(axis);
  }

  SCALELAB_HD T* data() const { return data_; }
  SCALELAB_HD int rank() const { return rank_; }
  // Length of an axis; 1 beyond the last one.
  SCALELAB_HD std::int64_t extent(int axis) const { return axis < rank_ ? extents_[axis] : 1; }
  // Number of elements; 0 for a View that was not given a shape.
  SCALELAB_HD std::int64_t size() const {
    std::int64_t product = rank_ > 0 ? 1 : 0;
    for (int axis = 0; axis < rank_; ++axis) product *= extents_[axis];
    return product;
  }
  SCALELAB_HD bool empty() const { return size() == 0; }

  // Element by index; the memory must be reachable from where this is called.
  SCALELAB_HD T& operator()(std::int64_t i) const { return data_[i]; }
  SCALELAB_HD T& operator()(std::int64_t i, std::int64_t j) const { return data_[i * extents_[1] + j]; }
  SCALELAB_HD T& operator()(std::int64_t i, std::int64_t j, std::int64_t l) const {
    return data_[(i * extents_[1] + j) * extents_[2] + l];
  }

  // Rows [begin, begin + count) along the first axis.
  View rows(std::int64_t begin, std::int64_t count) const {
    View part = *this;
    std::int64_t stride = 1;
    for (int axis = 1; axis < rank_; ++axis) stride *= extents_[axis];
    part.data_ = data_ + begin * stride;
    part.extents_[0] = count;
    return part;
  }

 private:
  T* data_ = nullptr;
  int rank_ = 0;
  std::int64_t extents_[kMaxRank] = {};
};

}  // namespace scalelab
