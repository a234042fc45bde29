// parallel: loops over independent pieces on the threads of a CPU Context.
//
// Each thread that starts loops has helpers of its own, which sleep between loops. Nothing waits for a helper to wake:
// pieces are taken one by one, and the thread that started the loop takes them too, so that on a busy machine, or with
// helpers that could not be created, the loop is done by the threads there are.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>

#include "scalelab/backend.h"

namespace scalelab::cpu {

// Which thread of the innermost loop this is, in [0, threads); 0 is the one that started it, or of no loop at all.
int thread_index();

// Calls work() on this thread and on up to threads - 1 helpers at once, each with its own thread_index(), and returns
// when all calls have. A helper that is late is left out: one call must be enough to do the work. From within a loop
// there are no helpers. `work` must not throw.
void run_on_threads(int threads, const std::function<void()>& work);

// Calls body(i) for i in [0, count), each once, on up to context.threads() threads in no fixed order; pieces must not
// depend on each other. Reports progress in pieces. The first exception stops the loop and is thrown again here.
template <class Body>
void parallel_for(Context& context, std::int64_t count, Body&& body) {
  std::atomic<std::int64_t> next{0}, done{0};
  std::mutex failing;
  std::exception_ptr failure;
  const auto take_pieces = [&] {
    try {
      for (std::int64_t i; (i = next.fetch_add(1)) < count;) {
        body(i);
        const std::int64_t finished = done.fetch_add(1) + 1;
        if (thread_index() == 0 && context.progress) context.progress(finished, count);
      }
    } catch (...) {
      const std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  run_on_threads(static_cast<int>(std::min<std::int64_t>(context.threads(), count)), std::ref(take_pieces));
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scalelab::cpu
