// Gives each virtual register of a kernel a place for as long as it is live: a linear scan over the intervals in which
// its value may still be read.
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
  std::vector<std::vector<std::size_t>> before(code.size() + 1);  // instructions that each may come behind
  std::vector<std::vector<bool>> written(code.size(), std::vector<bool>(registers)), live = written;
  std::vector<Interval> intervals(registers);
  std::vector<std::pair<std::size_t, std::size_t>> reached;  // instructions, and a register that is live before them
  const auto reach = [&](std::size_t i, std::size_t r) {
    intervals[r].hold(i);
    if (!live[i][r]) reached.emplace_back(i, r);
    live[i][r] = true;
  };
  for (std::size_t i = 0; i < code.size(); ++i) {
    const Inst& in = code[i];
    const bool leaves = in.kind == Kind::branch || in.kind == Kind::exit;
    if (in.kind == Kind::branch) before[static_cast<std::size_t>(in.imm)].push_back(i);
    if (!leaves || in.guard != kNone) before[i + 1].push_back(i);
    if (in.guard >= 0) reach(i, in.guard);
    for (std::size_t k = 0; k < in.o.size(); ++k) {
      if (in.o[k] < 0) continue;
      const bool writes = (in.defs >> k & 1) != 0;
      intervals[in.o[k]].hold(i);
      if (writes) written[i][in.o[k]] = true;
      if (!writes || in.guard != kNone) reach(i, in.o[k]);
    }
  }
  while (!reached.empty()) {
    const auto [i, r] = reached.back();
    reached.pop_back();
    for (const std::size_t last : before[i]) {
      intervals[r].hold(last + 1);
      if (!written[last][r]) reach(last, r);
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
