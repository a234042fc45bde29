#include "kernels/cpu/parallel.h"

#include <hwy/cache_control.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <vector>

namespace scalelab::cpu {

namespace {

thread_local int own_index = 0;
thread_local bool in_loop = false;

// How often a thread looks again before it sleeps: some ten microseconds, about what it costs to be woken. Longer would
// take the processor from whoever else could use it; shorter makes loops that follow each other closely slower.
constexpr int kLooks = 500;

template <class Condition>
bool soon(const Condition& condition) {
  for (int look = 0; look < kLooks; ++look) {
    if (condition()) return true;
    hwy::Pause();
  }
  return condition();
}

// Threads that help one other thread with its loops.
//
// All that they agree on is one word, the gate: how many more helpers may enter the loop that goes on, and how many are
// inside. The owner opens it with places and closes it when it finds no piece of work left, as every helper does that
// leaves. Only those inside then remain to be waited for, each with a piece it has begun.
class Crew {
 public:
  ~Crew() {
    forget_those_of_the_parent();
    ended_ = true;
    gate_.fetch_add(kPlace);  // any change, for those who sleep on it
    gate_.notify_all();
    for (const pthread_t helper : helpers_) pthread_join(helper, nullptr);
  }

  void run(int threads, const std::function<void()>& work) {
    forget_those_of_the_parent();
    grow(static_cast<std::size_t>(threads) - 1);
    work_ = &work;
    next_index_ = 1;
    const auto places = static_cast<std::uint32_t>(std::min<std::size_t>(threads - 1, helpers_.size()));
    gate_ = places * kPlace;
    if (places > 0) gate_.notify_all();
    work();
    gate_.fetch_and(kInside);
    if (soon([this] { return inside() == 0; })) return;
    for (;;) {
      const std::uint32_t before = left_;
      if (inside() == 0) return;
      left_.wait(before);
    }
  }

 private:
  static constexpr std::uint32_t kInside = 0xffff, kPlace = 0x10000;  // the halves of the gate

  std::uint32_t inside() const { return gate_ & kInside; }

  // A process made by fork has a copy of this, and none of the threads.
  void forget_those_of_the_parent() {
    const pid_t process = ::getpid();
    if (process == process_) return;
    process_ = process;
    helpers_.clear();
    refused_ = false;
    gate_ = 0;
  }

  // Makes helpers until there are so many, or until the system gives no more: then these are all there will be.
  void grow(std::size_t count) {
    if (refused_ || helpers_.size() >= count) return;
    helpers_.reserve(count);
    // Signals are for the threads that were there before; but for those that a thread's own fault raises in it.
    sigset_t signals, kept;
    sigfillset(&signals);
    for (const int own : {SIGBUS, SIGFPE, SIGILL, SIGSEGV}) sigdelset(&signals, own);
    pthread_sigmask(SIG_SETMASK, &signals, &kept);
    const auto enter = [](void* crew) -> void* {
      static_cast<Crew*>(crew)->help();
      return nullptr;
    };
    while (helpers_.size() < count && !refused_) {
      pthread_t helper;
      refused_ = pthread_create(&helper, nullptr, enter, this) != 0;
      if (!refused_) helpers_.push_back(helper);
    }
    pthread_sigmask(SIG_SETMASK, &kept, nullptr);
  }

  void help() {
    in_loop = true;  // what it starts itself, it does alone
    std::uint32_t gate = gate_;
    while (!ended_) {
      if (gate >= kPlace) {
        if (!gate_.compare_exchange_weak(gate, gate - kPlace + 1)) continue;
        own_index = next_index_.fetch_add(1);
        (*work_)();
        while (!gate_.compare_exchange_weak(gate, (gate & kInside) - 1)) continue;
        ++left_;
        left_.notify_one();
        gate = gate_;
      } else if (soon([this, gate] { return gate_ != gate; })) {
        gate = gate_;
      } else {
        gate_.wait(gate);
        gate = gate_;
      }
    }
  }

  pid_t process_ = ::getpid();
  std::vector<pthread_t> helpers_;
  bool refused_ = false;
  const std::function<void()>* work_ = nullptr;  // of the loop that goes on
  std::atomic<int> next_index_{1};
  std::atomic<bool> ended_{false};
  std::atomic<std::uint32_t> gate_{0};  // places * kPlace + inside
  std::atomic<std::uint32_t> left_{0};  // counts those who left, for the owner to sleep on
};

}  // namespace

int thread_index() { return own_index; }

void run_on_threads(int threads, const std::function<void()>& work) {
  const int index = own_index;
  const bool inner = in_loop;
  own_index = 0;
  if (inner || threads <= 1) {
    work();
  } else {
    thread_local Crew crew;
    in_loop = true;
    crew.run(threads, work);
    in_loop = false;
  }
  own_index = index;
}

}  // namespace scalelab::cpu
