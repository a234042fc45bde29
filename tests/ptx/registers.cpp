// Gives each virtual register of a kernel a place for as long as it is live: a linear scan over the intervals in which
// its value may still be read.
#include <stdexcept>

#include "tests/ptx/lanes.h"
#include "tests/ptx/parse.h"

namespace ptx {
namespace {

struct Flow {  // instructions that are always executed one after the other
  std::size_t begin = 0, end = 0;
  std::vector<std::size_t> before;  // flows that it may come behind
  std::vector<bool> live;           // registers whose value is read here or later, before anything else is written
  std::vector<bool> defined;        // registers that are written here, whatever guards say
};
struct Interval {
  std::size_t begin = SIZE_MAX, end = 0;
  void hold(std::size_t at) {
    begin = std::min(begin, at);
    end = std::max(end, at);
  }
};

std::vector<Flow> flows_of(const std::vector<Inst>& code, std::size_t registers) {
  const std::vector<bool> begins = begins_of(code);
  std::vector<Flow> flows;
  std::vector<std::size_t> flow_of(code.size());
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (begins[i]) flows.push_back({i, i, {}, std::vector<bool>(registers), std::vector<bool>(registers)});
    flow_of[i] = flows.size() - 1;
    flows.back().end = i + 1;
  }
  for (std::size_t f = 0; f < flows.size(); ++f) {
    const Inst& last = code[flows[f].end - 1];
    const bool leaves = last.kind == Kind::branch || last.kind == Kind::exit;
    if (last.kind == Kind::branch) flows[flow_of[static_cast<std::size_t>(last.imm)]].before.push_back(f);
    if ((!leaves || last.guard != kNone) && f + 1 < flows.size()) flows[f + 1].before.push_back(f);
  }
  return flows;
}

// Where each register is live, from the first to the last instruction: back from each read to what has written it, on every
// way. A write that a guard may leave out is a read, too.
std::vector<Interval> intervals_of(const std::vector<Inst>& code, std::size_t registers) {
  std::vector<Flow> flows = flows_of(code, registers);
  std::vector<Interval> intervals(registers);
  std::vector<std::pair<std::size_t, std::size_t>> reached;  // flows at whose begin a register is live
  const auto reach = [&](std::size_t f, std::size_t r) {
    intervals[r].hold(flows[f].begin);
    if (!flows[f].live[r]) reached.emplace_back(f, r);
    flows[f].live[r] = true;
  };
  for (std::size_t f = 0; f < flows.size(); ++f) {
    for (std::size_t i = flows[f].begin; i < flows[f].end; ++i) {
      const Inst& in = code[i];
      const auto use = [&](Ref r, bool reads) {
        if (r < 0) return;
        intervals[static_cast<std::size_t>(r)].hold(i);
        if (reads && !flows[f].defined[r]) reach(f, r);
      };
      use(in.guard, true);
      for (std::size_t k = 0; k < in.o.size(); ++k) use(in.o[k], (in.defs >> k & 1) == 0 || in.guard != kNone);
      for (std::size_t k = 0; k < in.o.size(); ++k) {
        if ((in.defs >> k & 1) != 0 && in.o[k] >= 0) flows[f].defined[in.o[k]] = true;
      }
    }
  }
  while (!reached.empty()) {
    const auto [f, r] = reached.back();
    reached.pop_back();
    for (const std::size_t before : flows[f].before) {
      intervals[r].hold(flows[before].end);
      if (!flows[before].defined[r]) reach(before, r);
    }
  }
  return intervals;
}

}  // namespace

std::vector<bool> begins_of(const std::vector<Inst>& code) {
  std::vector<bool> begins(code.size() + 1);
  begins[0] = true;
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (code[i].kind == Kind::branch) begins[static_cast<std::size_t>(code[i].imm)] = true;
    if (code[i].kind != Kind::simple && code[i].kind != Kind::sync) begins[i + 1] = true;
  }
  return begins;
}

void place_registers(Kernel& kernel, const std::vector<Type>& registers) {
  constexpr u32 kPredicates = 4096;  // bytes: in front lie predicates, of 4 bytes; then the others, of 128 or 256
  const std::vector<Interval> live = intervals_of(kernel.code, registers.size());
  const auto bytes_of = [&](std::size_t r) { return static_cast<u32>(registers[r].lane() * kLanes); };
  std::vector<std::size_t> order;
  std::multimap<std::size_t, std::size_t> active;  // by where they end
  for (std::size_t r = 0; r < registers.size(); ++r) {
    if (live[r].begin <= live[r].end) order.push_back(r);
  }
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return live[a].begin < live[b].begin; });
  std::vector<Ref> place(registers.size(), kNone);
  std::map<u32, std::vector<Ref>> unused;
  u32 predicates = 0, used = kPredicates;
  int held = 0;
  for (const std::size_t r : order) {
    while (!active.empty() && active.begin()->first < live[r].begin) {
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
      u32& next = bytes == 0 ? predicates : used;
      place[r] = static_cast<Ref>(next);
      next += bytes == 0 ? 4 : bytes;
      if (predicates > kPredicates) throw std::runtime_error("more than 1024 predicates live at once");
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
