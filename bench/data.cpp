// Arrays that cases are made of, on the host: drawn on all processors, and remembered from round to round.
#include <deque>
#include <functional>
#include <thread>

#include "bench/bench.h"
#include "scalelab/processors.h"

namespace scalelab::bench {

Numbers drawn(const std::string& name, std::int64_t count, std::int64_t wide,
              const std::function<void(std::int64_t i, float* row)>& draw) {
  struct Remembered {
    std::string name;
    Numbers numbers;
  };
  static std::deque<Remembered> all;  // the oldest first
  for (const Remembered& one : all) {
    if (one.name == name) return one.numbers;
  }
  const auto size = static_cast<std::size_t>(count * wide);
  Context cpu(cpu_backend(), 0, 1);
  while (!all.empty() && size * sizeof(float) > cpu.backend().memory_free(cpu) / 2) all.pop_front();
  const auto numbers = std::make_shared<std::vector<float>>(size);
  const int threads = default_threads().threads;
  std::vector<std::thread> workers;
  for (int part = 0; part < threads; ++part) {
    workers.emplace_back([&, part] {
      for (std::int64_t i = count * part / threads; i < count * (part + 1) / threads; ++i) {
        draw(i, numbers->data() + i * wide);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  all.push_back({name, numbers});
  return numbers;
}

}  // namespace scalelab::bench
