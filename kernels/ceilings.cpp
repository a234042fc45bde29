#include "scalelab/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include <hwy/cache_control.h>
#include <unistd.h>

#include "kernels/cpu/parallel.h"
#include "scalelab/backend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ceilings.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalelab::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

// Twelve chains of fused multiply-adds hide their latency on every core of the last decade. Returns operations made.
double fma_loop(std::int64_t steps, float* sink) {
  const D d;
  const auto factor = hn::Set(d, 0.999F), term = hn::Set(d, 0.001F);
  // Different starts: equal chains would be made one by the compiler.
  const auto at = [&](float start) { return hn::Set(d, start); };
  auto a = at(1), b = at(2), c = at(3), e = at(4), f = at(5), g = at(6), h = at(7), i = at(8), j = at(9), k = at(10),
       l = at(11), m = at(12);
  for (std::int64_t step = 0; step < steps; ++step) {
    a = fused(d, factor, a, term), b = fused(d, factor, b, term), c = fused(d, factor, c, term);
    e = fused(d, factor, e, term), f = fused(d, factor, f, term), g = fused(d, factor, g, term);
    h = fused(d, factor, h, term), i = fused(d, factor, i, term), j = fused(d, factor, j, term);
    k = fused(d, factor, k, term), l = fused(d, factor, l, term), m = fused(d, factor, m, term);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)),
                           hn::Add(hn::Add(hn::Add(f, g), hn::Add(h, i)), hn::Add(hn::Add(j, k), hn::Add(l, m))));
  *sink = hn::GetLane(sum);
  return 12.0 * 2 * static_cast<double>(hn::Lanes(d)) * static_cast<double>(steps);
}

// Eight chains of minima against a table in the first-level cache, whose values the compiler cannot know. Here and
// below arrays begin with a cache line: a load across two of them takes twice as long.
double minimum_loop(std::int64_t steps, const float* table, float* sink) {
  const D d;
  const auto lanes = hn::Lanes(d);
  const auto at = [&](float start) { return hn::Set(d, start); };
  auto a = at(1e30F), b = at(2e30F), c = at(3e30F), e = at(4e30F), f = at(5e30F), g = at(6e30F), h = at(7e30F),
       i = at(8e30F);
  for (std::int64_t step = 0; step < steps; ++step) {
    const float* row = table + (step & 31) * 16;
    const auto x = hn::LoadU(d, row), y = hn::LoadU(d, row + lanes);
    a = hn::Min(a, x), b = hn::Min(b, y), c = hn::Min(c, hn::Max(a, y)), e = hn::Min(e, hn::Max(b, x));
    f = hn::Min(f, y), g = hn::Min(g, x), h = hn::Min(h, hn::Max(f, x)), i = hn::Min(i, hn::Max(g, y));
  }
  *sink = hn::GetLane(hn::Min(hn::Min(hn::Min(a, b), hn::Min(c, e)), hn::Min(hn::Min(f, g), hn::Min(h, i))));
  return 12.0 * static_cast<double>(lanes) * static_cast<double>(steps);
}

// Sums `count` floats (a multiple of 64 * the widest vector) `times` over. Returns bytes read.
double read_loop(const float* values, std::int64_t count, std::int64_t times, float* sink) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a, f = a, g = a, h = a, i = a;
  for (std::int64_t t = 0; t < times; ++t) {
    for (std::int64_t at = 0; at < count; at += 8 * lanes) {
      const float* p = values + at;
      a = hn::Add(a, hn::LoadU(d, p)), b = hn::Add(b, hn::LoadU(d, p + lanes));
      c = hn::Add(c, hn::LoadU(d, p + 2 * lanes)), e = hn::Add(e, hn::LoadU(d, p + 3 * lanes));
      f = hn::Add(f, hn::LoadU(d, p + 4 * lanes)), g = hn::Add(g, hn::LoadU(d, p + 5 * lanes));
      h = hn::Add(h, hn::LoadU(d, p + 6 * lanes)), i = hn::Add(i, hn::LoadU(d, p + 7 * lanes));
    }
  }
  *sink = hn::GetLane(hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Add(hn::Add(f, g), hn::Add(h, i))));
  return 4.0 * static_cast<double>(count) * static_cast<double>(times);
}

// Copies, or with no `from` writes, `count` floats (a multiple of the widest vector) past the caches: a store that
// fetches its line first would move half as much again. Returns bytes moved.
double copy_loop(const float* from, float* to, std::int64_t count) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  if (from == nullptr) {
    for (std::int64_t at = 0; at < count; at += lanes) hn::Stream(hn::Set(d, 1), d, to + at);
  } else {
    for (std::int64_t at = 0; at < count; at += lanes) hn::Stream(hn::Load(d, from + at), d, to + at);
  }
  hwy::FlushStream();
  return (from == nullptr ? 4.0 : 8.0) * static_cast<double>(count);
}

}  // namespace
}  // namespace scalelab::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scalelab::cpu {

HWY_EXPORT(fma_loop);
HWY_EXPORT(minimum_loop);
HWY_EXPORT(read_loop);
HWY_EXPORT(copy_loop);

namespace {

// Zeros that begin with a cache line.
class Lines {
 public:
  explicit Lines(std::size_t count) : values_(count + kLine) {}
  float* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(values_.data());
    return values_.data() + (kLine - address / sizeof(float) % kLine) % kLine;
  }

 private:
  static constexpr std::size_t kLine = 64 / sizeof(float);  // floats of a cache line
  std::vector<float> values_;
};

// Floats of an array that no cache holds: twice the last level, as far as the system tells it, and 128 MiB at least; a
// machine with little memory does with less.
std::int64_t main_memory_floats(Context& context) {
  const auto free = static_cast<std::int64_t>(context.backend().memory_free(context) / sizeof(float));
  const std::int64_t twice = 2 * std::max(::sysconf(_SC_LEVEL3_CACHE_SIZE), 0L) / static_cast<long>(sizeof(float));
  return std::min(std::max(std::int64_t{1} << 25, twice), free / 8);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The best rate of `work`, which does a share of less than a millisecond on every thread and returns what one thread
// did. One thread alone is looked at share by share, some of which run undisturbed even where others use the machine;
// of several threads the slowest counts, and `repeats` shares keep their start and meeting out of it.
double best_rate(double seconds, Context& context, const std::function<double(std::int64_t thread)>& work,
                 int repeats = 8) {
  const std::int64_t threads = context.threads();
  if (threads == 1) repeats = 1;
  std::vector<double> done(static_cast<std::size_t>(threads));
  double best = 0;
  for (const double start = now(); now() - start < seconds;) {
    const double before = now();
    parallel_for(context, threads, [&](std::int64_t thread) {
      double sum = 0;
      for (int i = 0; i < repeats; ++i) sum += work(thread);
      done[static_cast<std::size_t>(thread)] = sum;
    });
    double sum = 0;
    for (const double part : done) sum += part;
    best = std::max(best, sum / (now() - before));
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings(double seconds, Context& context) {
  const auto progress = context.progress;
  context.progress = nullptr;
  const double share = seconds / 8;
  const auto threads = static_cast<std::size_t>(context.threads());
  std::vector<float> sinks(threads * 64);   // a cache line and more for each
  constexpr std::int64_t kSteps = 200'000;  // of about six cycles: less than a millisecond
  Ceilings ceilings;
  ceilings.fma_flop =
      best_rate(share, context, [&](std::int64_t t) { return HWY_DYNAMIC_DISPATCH(fma_loop)(kSteps, &sinks[t * 64]); });
  constexpr std::int64_t kTable = 4096;  // 16 KiB: within any first-level cache
  Lines lines(kTable);
  float* const table = lines.data();
  for (std::int64_t i = 0; i < kTable; ++i) table[i] = static_cast<float>((i * 2654435761U) % 65536);
  ceilings.minimum_ops = best_rate(share, context, [&](std::int64_t t) {
    return HWY_DYNAMIC_DISPATCH(minimum_loop)(kSteps, table, &sinks[t * 64]);
  });
  ceilings.shared_bytes = best_rate(share, context, [&](std::int64_t t) {
    return HWY_DYNAMIC_DISPATCH(read_loop)(table, kTable, 4000, &sinks[t * 64]);
  });
  // 192 KiB a thread: beyond any first-level cache, within the second of current cores.
  constexpr std::int64_t kSecondLevel = 3 << 14;
  std::vector<Lines> second(threads, Lines(kSecondLevel));
  ceilings.cache_bytes = best_rate(share, context, [&](std::int64_t t) {
    return HWY_DYNAMIC_DISPATCH(read_loop)(second[t].data(), kSecondLevel, 300, &sinks[t * 64]);
  });
  // Twice the last-level cache, and as much to copy to, gone through piece by piece.
  constexpr std::int64_t kPiece = std::int64_t{1} << 18;
  const std::int64_t pieces = std::max<std::int64_t>(1, main_memory_floats(context) / kPiece / context.threads());
  std::vector<Lines> from(threads, Lines(0)), to(threads, Lines(0));
  parallel_for(context, context.threads(), [&](std::int64_t t) {
    from[t] = Lines(static_cast<std::size_t>(pieces * kPiece));
    to[t] = Lines(static_cast<std::size_t>(pieces * kPiece));
  });
  std::vector<std::int64_t> next(threads * 8);  // a cache line for each
  const auto piece = [&](std::int64_t t) { return next[t * 8]++ % pieces * kPiece; };
  ceilings.copy_bytes = best_rate(share, context, [&](std::int64_t t) {
    const std::int64_t at = piece(t);
    return HWY_DYNAMIC_DISPATCH(copy_loop)(from[t].data() + at, to[t].data() + at, kPiece);
  });
  ceilings.read_bytes = best_rate(share, context, [&](std::int64_t t) {
    return HWY_DYNAMIC_DISPATCH(read_loop)(from[t].data() + piece(t), kPiece, 1, &sinks[t * 64]);
  });
  ceilings.write_bytes = best_rate(share, context, [&](std::int64_t t) {
    return HWY_DYNAMIC_DISPATCH(copy_loop)(nullptr, to[t].data() + piece(t), kPiece);
  });
  ceilings.launch_seconds =
      1 / best_rate(
              share, context, [&](std::int64_t) { return 1.0 / static_cast<double>(context.threads()); }, 1);
  context.progress = progress;
  return ceilings;
}

}  // namespace scalelab::cpu
#endif
