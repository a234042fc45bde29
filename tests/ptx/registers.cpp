// Gives each virtual register of a kernel a place for as long as it is live: a linear scan over the intervals in which
// its value may still be read.
#include <bit>

#include "tests/ptx/parse.h"

namespace ptx {
namespace {

struct Interval {
  std::size_t begin = SIZE_MAX, end = 0;
  void hold(std::size_t at) {
    begin = std::min(begin, at);
    end = std::max(end, at);
  }
};

// Where each register is live, from the first to the last instruction: back from each read to what has written it, on every
// way. A write that a guard may leave out is a read, too.
std::vector<Interval> intervals_of(const std::vector<Inst>& code, std::size_t registers) {
  // Instructions that each may come behind; and those before which each register is live, as far as is known.
  std::vector<std::vector<std::size_t>> before(code.size() + 1), reached(registers);
  std::vector<Interval> intervals(registers);
  for (std::size_t i = 0; i < code.size(); ++i) {
    const Inst& in = code[i];
    const bool leaves = in.kind == Kind::branch || in.kind == Kind::exit;
    if (in.kind == Kind::branch) before[static_cast<std::size_t>(in.imm)].push_back(i);
    if (!leaves || in.guard != kNone) before[i + 1].push_back(i);
    if (in.guard >= 0) reached[in.guard].push_back(i);
    for (std::size_t k = 0; k < in.o.size(); ++k) {
      if (in.o[k] < 0) continue;
      intervals[in.o[k]].hold(i);
      if ((in.defs >> k & 1) == 0 || in.guard != kNone) reached[in.o[k]].push_back(i);
    }
  }
  std::vector<std::size_t> seen(code.size(), SIZE_MAX);  // the register that each was last reached for
  for (std::size_t r = 0; r < registers; ++r) {
    while (!reached[r].empty()) {
      const std::size_t i = reached[r].back();
      reached[r].pop_back();
      if (std::exchange(seen[i], r) == r) continue;
      intervals[r].hold(i);
      for (const std::size_t last : before[i]) {
        const auto results = code[last].o.begin(), end = results + std::bit_width(code[last].defs);
        intervals[r].hold(last + 1);
        if (std::find(results, end, static_cast<Ref>(r)) == end) reached[r].push_back(last);
      }
    }
  }
  return intervals;
}

}  // namespace

void place_registers(Kernel& kernel, const std::vector<Type>& registers) {
  const std::vector<Interval> live = intervals_of(kernel.code, registers.size());
  const auto bytes_of = [&](std::size_t r) { return std::max(64U, static_cast<u32>(registers[r].lane() * kLanes)); };
  std::multimap<std::size_t, std::size_t> begins, active;  // by where they begin; by where they end
  for (std::size_t r = 0; r < registers.size(); ++r) {
    if (live[r].begin <= live[r].end) begins.emplace(live[r].begin, r);
  }
  std::vector<Ref> place(registers.size(), kNone);
  std::map<u32, std::vector<Ref>> unused;
  u32 used = 0;
  int held = 0;
  for (const auto& [begin, r] : begins) {
    while (!active.empty() && active.begin()->first < begin) {
      const std::size_t gone = active.begin()->second;
      active.erase(active.begin());
      unused[bytes_of(gone)].push_back(place[gone]);
      held -= static_cast<int>(bytes_of(gone) / 128);
    }
    const u32 bytes = bytes_of(r);
    if (auto& pool = unused[bytes]; !pool.empty()) {
      place[r] = pool.back();
      pool.pop_back();
    } else {
      place[r] = static_cast<Ref>(used);
      used += bytes;
    }
    active.emplace(live[r].end, r);
    kernel.pressure = std::max(kernel.pressure, held += static_cast<int>(bytes / 128));
  }
  for (Inst& inst : kernel.code) {
    if (inst.guard >= 0) inst.guard = place[static_cast<std::size_t>(inst.guard)];
    for (Ref& o : inst.o) o = o >= 0 ? place[static_cast<std::size_t>(o)] : o;
  }
  kernel.register_bytes = round_up(used, 4096) + 64 * 3;  // not a multiple of 4096: warps in different sets
}

}  // namespace ptx
