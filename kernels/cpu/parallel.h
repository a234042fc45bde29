// parallel: loops over independent pieces on the threads of a CPU Context.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "scalelab/backend.h"

namespace scalelab::cpu {

// Calls body(i) for i in [0, count), each once, on up to context.threads() threads in no fixed order; pieces must not
// depend on each other. Reports progress in pieces. The first exception stops the loop and is thrown again here.
template <class Body>
void parallel_for(Context& context, std::int64_t count, Body&& body) {
  const int threads = static_cast<int>(std::min<std::int64_t>(context.threads(), count));
  std::atomic<std::int64_t> next{0}, done{0};
  std::exception_ptr failure;
#pragma omp parallel num_threads(std::max(threads, 1))
  {
    try {
      for (std::int64_t i; (i = next.fetch_add(1)) < count;) {
        body(i);
        const std::int64_t finished = done.fetch_add(1) + 1;
        if (omp_get_thread_num() == 0 && context.progress) context.progress(finished, count);
      }
    } catch (...) {
#pragma omp critical(scalelab_parallel_for)
      if (!failure) failure = std::current_exception();
      next = count;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scalelab::cpu
