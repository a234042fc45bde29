// Arrays that cases are made of, on the host: drawn on all processors, and remembered from round to round.
#include <cmath>
#include <deque>
#include <functional>
#include <thread>

#include "bench/bench.h"
#include "scalelab/processors.h"
#include "scalelab/random.h"

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

float embedding_coordinate(std::uint64_t seed, std::uint64_t i, std::uint32_t f) {
  constexpr std::uint32_t kTopics = 1000;  // centres that rows scatter around, as texts around what they are about
  const std::uint64_t topic = random_words(seed, Stream::test, i)[0] % kTopics;
  const float centre = std::sqrt(3.0F) * (2 * uniform_float(random_words(3, Stream::test, topic, f)[0]) - 1);
  const auto own = static_cast<float>(normal_pair(random_words(seed, Stream::points, i, f)).first);
  return (centre + 0.6F * own) / std::sqrt(static_cast<float>(f + 1));
}

}  // namespace scalelab::bench
