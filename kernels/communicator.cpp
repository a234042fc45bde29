#include "scalelab/communicator.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace scalelab {

namespace {

// What the threads of a group share. A call is two meetings: after the first everybody reads what all have shown, after
// the second nobody reads any more.
class Group {
 public:
  explicit Group(int size) : size_(size), shown_(static_cast<std::size_t>(size)) {}

  Communicator::Transport transport(int rank) {
    const auto reduce = [this, rank](std::span<std::int64_t> values, const auto& two) {
      std::vector<std::int64_t> all;
      read_together(rank, std::as_writable_bytes(values), [&](const std::vector<std::span<std::byte>>& shown) {
        for (const auto& bytes : shown) {
          const auto* other = reinterpret_cast<const std::int64_t*>(bytes.data());
          if (all.empty()) {
            all.assign(other, other + values.size());
            continue;
          }
          for (std::size_t i = 0; i < all.size(); ++i) all[i] = two(all[i], other[i]);
        }
      });
      std::copy(all.begin(), all.end(), values.begin());
    };
    return {
        .sum = [reduce](std::span<std::int64_t> values) { reduce(values, std::plus<>()); },
        .max =
            [reduce](std::span<std::int64_t> values) {
              reduce(values, [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
            },
        .broadcast =
            [this, rank](std::span<std::byte> bytes, int root) {
              read_together(rank, bytes, [&](const std::vector<std::span<std::byte>>& shown) {
                const std::span<std::byte> from = shown[static_cast<std::size_t>(root)];
                if (rank != root) std::copy(from.begin(), from.end(), bytes.begin());
              });
            },
        .gather =
            [this, rank](std::span<const std::byte> bytes) {
              std::vector<std::byte> all;
              const std::span<std::byte> mine(const_cast<std::byte*>(bytes.data()), bytes.size());  // only read
              read_together(rank, mine, [&](const std::vector<std::span<std::byte>>& shown) {
                for (const auto& other : shown) all.insert(all.end(), other.begin(), other.end());
              });
              return all;
            },
    };
  }

  void lose_a_rank() {
    const std::lock_guard hold(lock_);
    lost_ = true;
    changed_.notify_all();
  }

 private:
  template <class Read>
  void read_together(int rank, std::span<std::byte> mine, const Read& read) {
    shown_[static_cast<std::size_t>(rank)] = mine;
    meet();
    std::exception_ptr failure;  // of memory; others may still read what is mine
    try {
      read(shown_);
    } catch (...) {
      failure = std::current_exception();
    }
    meet();
    if (failure) std::rethrow_exception(failure);
  }

  void meet() {
    std::unique_lock hold(lock_);
    const int meeting = meetings_;
    if (++here_ == size_) {
      here_ = 0;
      ++meetings_;
      changed_.notify_all();
    }
    changed_.wait(hold, [&] { return meetings_ != meeting || lost_; });
    if (meetings_ == meeting) throw RankLost("another rank failed");
  }

  const int size_;
  std::vector<std::span<std::byte>> shown_;  // by rank
  std::mutex lock_;
  std::condition_variable changed_;
  int here_ = 0, meetings_ = 0;
  bool lost_ = false;
};

}  // namespace

void run_on_ranks(int size, const std::function<void(Communicator&)>& body) {
  Group group(size);
  std::mutex failing;
  std::exception_ptr failure;
  const auto run = [&](int rank) {
    Communicator communicator = size > 1 ? Communicator(rank, size, group.transport(rank)) : Communicator();
    try {
      body(communicator);
    } catch (const RankLost&) {  // the one that was lost says why
      group.lose_a_rank();
    } catch (...) {
      const std::lock_guard hold(failing);
      if (!failure) failure = std::current_exception();
      group.lose_a_rank();
    }
  };
  std::vector<std::jthread> others;
  try {
    for (int rank = 1; rank < size; ++rank) others.emplace_back(run, rank);
  } catch (...) {  // no thread, or no memory for one
    group.lose_a_rank();
    others.clear();
    throw;
  }
  run(0);
  others.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scalelab
