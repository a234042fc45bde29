// Communicator: ranks that work on one problem together, each with rows of its own: threads of a process, or processes
// on any number of machines. An op that says so in its header takes it from its Context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace scalelab {

// Another rank ended before its work was done: there is nobody left to work with.
struct RankLost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Every call below is made by all ranks in the same order, and returns when this rank has its answer. The answers are
// made of integers and of copies, so that they have the same bits on every rank and by every way of sending.
class Communicator {
 public:
  // How values travel. `sum` and `max` replace each value by that over all ranks, which give equally many.
  // `broadcast` replaces the bytes by those of rank `root`. `gather` returns what every rank gave, in order of ranks.
  struct Transport {
    std::function<void(std::span<std::int64_t>)> sum, max;
    std::function<void(std::span<std::byte>, int root)> broadcast;
    std::function<std::vector<std::byte>(std::span<const std::byte>)> gather;
  };

  Communicator() = default;  // alone: one rank, and every call returns what it was given
  Communicator(int rank, int size, Transport transport) : rank_(rank), size_(size), transport_(std::move(transport)) {}

  int rank() const { return rank_; }  // in [0, size)
  int size() const { return size_; }
  // Bytes that this rank has handed over so far.
  std::int64_t given() const { return given_; }

  // Totals must not overflow.
  void sum(std::span<std::int64_t> values) {
    if (count(values.size_bytes())) transport_.sum(values);
  }
  void max(std::span<std::int64_t> values) {
    if (count(values.size_bytes())) transport_.max(values);
  }
  template <class T>
  void broadcast(std::span<T> values, int root) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (count(rank_ == root ? values.size_bytes() : 0)) transport_.broadcast(std::as_writable_bytes(values), root);
  }
  // What all ranks give, one behind the other in order of ranks. They may give different numbers of values.
  template <class T>
  std::vector<T> gather(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!count(values.size() * sizeof(T))) return values;
    const std::vector<std::byte> bytes = transport_.gather(std::as_bytes(std::span(values)));
    std::vector<T> all(bytes.size() / sizeof(T));
    if (!all.empty()) std::memcpy(all.data(), bytes.data(), bytes.size());
    return all;
  }

 private:
  // Whether there is anybody to send to.
  bool count(std::size_t bytes) {
    if (size_ > 1) given_ += static_cast<std::int64_t>(bytes);
    return size_ > 1;
  }

  int rank_ = 0, size_ = 1;
  Transport transport_;
  std::int64_t given_ = 0;
};

// Calls body(communicator) on `size` >= 1 threads at once, each of them a rank; returns when all have. When one throws,
// the others leave their next call by RankLost, and the exception is thrown again here.
void run_on_ranks(int size, const std::function<void(Communicator&)>& body);

}  // namespace scalelab
