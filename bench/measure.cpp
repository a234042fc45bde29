#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "bench/bench.h"
#include "host/evidence/statistics.h"
#include "scalelab/buffer.h"

namespace scalelab::bench {

namespace {

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Fills the caches with something else: 128 MiB in the backend's memory, more than the last level of most machines.
class CacheEmptier {
 public:
  explicit CacheEmptier(Context& context)
      : bytes_(std::size_t{1} << 27), host_(bytes_, 1), buffer_(context, {static_cast<std::int64_t>(bytes_)}) {}
  void empty() {
    host_[0] = static_cast<std::uint8_t>(host_[0] + 1);
    buffer_.upload(host_);
  }

 private:
  std::size_t bytes_;
  std::vector<std::uint8_t> host_;
  Buffer<std::uint8_t> buffer_;
};

std::vector<double> logarithms(std::span<const double> values) {
  std::vector<double> logs;
  for (const double value : values) logs.push_back(std::log(value));
  return logs;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

Clocks steady_clocks() {
  return {.wall = [] { return clock_seconds(CLOCK_MONOTONIC); },
          .cpu = [] { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }};
}

Round time_round(const Problem& problem, const Pace& pace, Context& context, const Power* power, const Clocks& clocks) {
  Round round;
  // Wall seconds of a run, without what prepares it.
  const auto timed = [&] {
    if (problem.prepare) problem.prepare();
    const double before = clocks.wall();
    problem.run();
    return clocks.wall() - before;
  };
  double once = 0;
  const double begin = clocks.wall();
  do {
    once = timed();
  } while (clocks.wall() - begin < pace.warm);
  const bool brief = !(pace.seconds > 0 && once > kLong * pace.seconds);
  if (pace.cold && brief) {
    CacheEmptier caches(context);
    if (problem.prepare) problem.prepare();
    caches.empty();
    context.synchronize();
    const double before = clocks.wall();
    problem.run();
    round.cold = clocks.wall() - before;
  }
  if (brief) once = timed();
  const int runs = std::clamp(static_cast<int>(std::ceil(1e-3 / std::max(once, 1e-7))), 1, 10000);
  const int together = problem.prepare ? 1 : runs;  // between two looks at the clocks
  Power::Reading before;
  if (power != nullptr) before = power->read();
  const double start = clocks.wall();
  while (round.wall.size() < (brief ? pace.least : 1) || clocks.wall() - start < pace.seconds) {
    double wall = 0, cpu = 0;
    for (int done = 0; done < runs; done += together) {
      if (problem.prepare) problem.prepare();
      const double wall_before = clocks.wall(), cpu_before = clocks.cpu();
      for (int run = 0; run < together; ++run) problem.run();
      wall += clocks.wall() - wall_before;
      cpu += clocks.cpu() - cpu_before;
    }
    round.wall.push_back(wall / runs);
    round.cpu.push_back(cpu / runs);
  }
  if (power != nullptr) {
    const Power::Reading after = power->read();
    const double window = clocks.wall() - start;
    if (window >= 0.2) round.joules = (after.joules - before.joules) / runs / static_cast<double>(round.wall.size());
    round.megahertz = after.megahertz;
    round.throttle = after.throttle;
  }
  return round;
}

Estimate estimate(std::span<const double> round_medians) {
  const host::Interval interval = host::geometric_mean(round_medians).interval;
  return {median({round_medians.begin(), round_medians.end()}), interval.low, interval.high};
}

bool is_narrow(std::span<const Round> rounds, const std::string& clock) {
  constexpr std::size_t kFewestRounds = 3;  // two agree by chance too often
  constexpr double kNarrow = 1.01;          // high / low: a third of the margin by which results are told apart
  std::vector<double> medians;
  for (const Round& round : rounds) medians.push_back(median(clock == "cpu" ? round.cpu : round.wall));
  const Estimate all = estimate(medians);
  return rounds.size() >= kFewestRounds && all.high <= kNarrow * all.low;
}

namespace {

// What differences of logarithms say whose middle is known so well.
Verdict judge(const host::Middle& middle, bool too_few, double margin) {
  Verdict verdict{.word = "undecided", .ratio = std::exp(middle.estimate), .too_few = too_few};
  verdict.low = too_few ? 0 : std::exp(middle.interval.low);
  verdict.high = too_few ? std::numeric_limits<double>::infinity() : std::exp(middle.interval.high);
  if (verdict.low >= 1 / (1 + margin) && verdict.high <= 1 + margin) {
    verdict.word = "same";
  } else if (verdict.high < 1) {
    verdict.word = "faster";
  } else if (verdict.low > 1) {
    verdict.word = "slower";
  }
  return verdict;
}

}  // namespace

Noise noise_of(std::span<const std::vector<double>> rounds_of_cases) {
  std::vector<double> apart;
  for (const std::vector<double>& rounds : rounds_of_cases) {
    if (rounds.size() < 2) continue;
    std::vector<double> halves[2];
    for (std::size_t i = 0; i < rounds.size(); ++i) halves[i % 2].push_back(rounds[i]);
    apart.push_back(std::exp(std::abs(std::log(median(halves[0]) / median(halves[1])))) - 1);
  }
  if (apart.empty()) return {};
  return {median(apart), *std::max_element(apart.begin(), apart.end()), std::ssize(apart)};
}

Verdict compare_rounds(std::span<const double> a, std::span<const double> b, double margin) {
  const auto x = host::summarize(logarithms(a)), y = host::summarize(logarithms(b));
  const double va = x.standard_error * x.standard_error, vb = y.standard_error * y.standard_error;
  // Welch and Satterthwaite's degrees of freedom.
  const double freedom = va + vb > 0 ? (va + vb) * (va + vb) / (va * va / (x.n - 1) + vb * vb / (y.n - 1)) : 1e6;
  const bool too_few = x.n < 3 || y.n < 3;
  const double middle = y.mean - x.mean;
  const double reach = too_few ? 0 : host::student_quantile(0.975, std::clamp(freedom, 1.0, 1e6)) * std::sqrt(va + vb);
  return judge({middle, {middle - reach, middle + reach}}, too_few, margin);
}

Verdict compare_in_pairs(std::span<const double> a, std::span<const double> b, double margin) {
  if (a.size() != b.size()) throw std::invalid_argument("compare_in_pairs: not as many of each");
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(b[i] / a[i]);
  return judge(host::middle_of(logarithms(ratios)), a.size() < kFewestTurns, margin);
}

Roof memory_floor(const Workload& work, const Ceilings& ceilings) {
  const auto known = [&ceilings](double rate) { return rate > 0 ? rate : ceilings.copy_bytes; };
  const double read = work.bytes - work.written_bytes, both = std::min(read, work.written_bytes);
  const std::pair<const char*, double> parts[] = {{"memory", 2 * both / ceilings.copy_bytes},
                                                  {"read", (read - both) / known(ceilings.read_bytes)},
                                                  {"write", (work.written_bytes - both) / known(ceilings.write_bytes)}};
  Roof floor;
  double most = 0;
  for (const auto& [name, seconds] : parts) {
    floor.floor_seconds += seconds;
    if (!(seconds > most)) continue;
    floor.name = name;
    most = seconds;
  }
  return floor;
}

Roof binding_roof(const Workload& work, const Ceilings& ceilings, double seconds) {
  Roof roof;
  const auto consider = [&](const char* name, double amount, double rate) {
    if (!(amount > 0) || !(rate > 0) || amount / rate <= roof.floor_seconds) return;
    roof = {name, amount / rate, amount / rate / seconds};
  };
  const Roof memory = memory_floor(work, ceilings);
  consider(memory.name.c_str(), memory.floor_seconds, 1);
  consider("fma", work.flop, ceilings.fma_flop);
  consider("minimum", work.minima, ceilings.minimum_ops);
  consider("tensor", work.tensor_flop, ceilings.tensor_flop);
  consider("cache", work.cache_bytes, ceilings.cache_bytes);
  return roof;
}

Growth growth(std::span<const double> x, std::span<const double> seconds) {
  const host::PowerLaw law = host::fit_power_law(x, seconds);
  Growth result{.exponent = law.slope};
  const auto n = static_cast<int>(x.size());
  if (n < 3 || !std::isfinite(law.slope)) return result;
  const double mean = host::summarize(logarithms(x)).mean;
  double residuals = 0, spread = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    residuals += std::pow(std::log(seconds[i] / law.at(x[i])), 2);
    spread += std::pow(std::log(x[i]) - mean, 2);
  }
  const double reach = host::student_quantile(0.975, n - 2) * std::sqrt(residuals / (n - 2) / spread);
  result.low = law.slope - reach;
  result.high = law.slope + reach;
  return result;
}

namespace {

// Where the last of the differences log(b) - log(a) that is not negative becomes so, and how: see takeover.
std::pair<double, const char*> last_change(std::span<const Rung> rungs, std::span<const double> differences) {
  std::size_t slower = differences.size();  // the last x at which b is not quicker
  for (std::size_t i = 0; i < differences.size(); ++i) {
    if (!(differences[i] < 0)) slower = i;
  }
  if (slower == differences.size()) return {rungs.front().x, "always"};
  if (slower + 1 == differences.size()) return {rungs.back().x, "never"};
  const double above = differences[slower], below = differences[slower + 1];
  const double part = std::isfinite(above) ? above / (above - below) : 1;
  return {rungs[slower].x * std::pow(rungs[slower + 1].x / rungs[slower].x, part), "at"};
}

}  // namespace

Takeover takeover(std::span<const Rung> a, std::span<const Rung> b) {
  if (a.empty() || a.size() != b.size()) throw std::invalid_argument("takeover: not measured at the same x");
  std::vector<double> middle, best, worst;  // for b
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].x != b[i].x) throw std::invalid_argument("takeover: not measured at the same x");
    middle.push_back(std::log(b[i].seconds.median / a[i].seconds.median));
    best.push_back(std::log(b[i].seconds.low / a[i].seconds.high));
    worst.push_back(std::log(b[i].seconds.high / a[i].seconds.low));
  }
  const auto [at, word] = last_change(a, middle);
  return {word, at, last_change(a, best).first, last_change(a, worst).first};
}

}  // namespace scalelab::bench
