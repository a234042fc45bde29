// Gives each virtual register of a kernel a place for as long as it is live: a linear scan over the intervals in which
// its value may still be read.
#include <stdexcept>

#include "tests/ptx/lanes.h"
#include "tests/ptx/parse.h"

namespace ptx {
namespace {

using Live = std::vector<u64>;  // one bit for each register

struct Flow {  // instructions that are always executed one after the other
  std::size_t begin = 0, end = 0;
  std::vector<std::size_t> next;  // flows that may come behind it
  Live in;                        // at its begin
};
struct Interval {
  std::size_t begin = SIZE_MAX, end = 0;
  void hold(std::size_t at) {
    begin = std::min(begin, at);
    end = std::max(end, at);
  }
};

bool leaves(const Inst& in) { return in.kind == Kind::branch || in.kind == Kind::exit; }

std::vector<Flow> flows_of(const std::vector<Inst>& code, std::size_t words) {
  const std::vector<bool> begins = begins_of(code);
  std::vector<Flow> flows;
  std::vector<std::size_t> flow_of(code.size());
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (begins[i]) flows.push_back({i, i, {}, Live(words)});
    flow_of[i] = flows.size() - 1;
    flows.back().end = i + 1;
  }
  for (Flow& flow : flows) {
    const Inst& last = code[flow.end - 1];
    if (last.kind == Kind::branch) flow.next.push_back(flow_of[static_cast<std::size_t>(last.imm)]);
    if ((!leaves(last) || last.guard != kNone) && flow.end < code.size()) flow.next.push_back(flow_of[flow.end]);
  }
  return flows;
}

template <class F>
void for_registers(const Live& live, F&& body) {
  for (std::size_t word = 0; word < live.size(); ++word) {
    for (u64 rest = live[word]; rest != 0; rest &= rest - 1) body(word * 64 + std::countr_zero(rest));
  }
}
// From what is live behind an instruction to what is before it: what it defines is not, but where a guard may keep it.
void step_back(const Inst& in, Live& live) {
  const auto set = [&](Ref r, bool value) {
    if (r < 0) return;
    const u64 bit = u64{1} << r % 64;
    u64& word = live[static_cast<std::size_t>(r / 64)];
    word = value ? word | bit : word & ~bit;
  };
  for (std::size_t k = 0; k < in.o.size(); ++k) {
    if ((in.defs >> k & 1) != 0 && in.guard == kNone) set(in.o[k], false);
  }
  for (std::size_t k = 0; k < in.o.size(); ++k) {
    if ((in.defs >> k & 1) == 0 || in.guard != kNone) set(in.o[k], true);
  }
  set(in.guard, true);
}

// Where each register is live, from the first to the last instruction: what flows out of one is what flows into the next.
std::vector<Interval> intervals_of(const std::vector<Inst>& code, std::size_t registers) {
  const std::size_t words = (registers + 63) / 64;
  std::vector<Flow> flows = flows_of(code, words);
  const auto out_of = [&](const Flow& flow) {
    Live out(words);
    for (const std::size_t next : flow.next) {
      for (std::size_t w = 0; w < words; ++w) out[w] |= flows[next].in[w];
    }
    return out;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto flow = flows.rbegin(); flow != flows.rend(); ++flow) {
      Live live = out_of(*flow);
      for (std::size_t i = flow->end; i-- > flow->begin;) step_back(code[i], live);
      changed |= live != flow->in;
      flow->in = std::move(live);
    }
  }
  std::vector<Interval> intervals(registers);
  for (const Flow& flow : flows) {
    for_registers(flow.in, [&](std::size_t r) { intervals[r].hold(flow.begin); });
    for_registers(out_of(flow), [&](std::size_t r) { intervals[r].hold(flow.end); });
    for (std::size_t i = flow.begin; i < flow.end; ++i) {
      if (code[i].guard >= 0) intervals[static_cast<std::size_t>(code[i].guard)].hold(i);
      for (const Ref r : code[i].o) {
        if (r >= 0) intervals[static_cast<std::size_t>(r)].hold(i);
      }
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
  kernel.register_bytes = (used + 4095) / 4096 * 4096 + 64 * 3;  // not a multiple of 4096: warps in different sets
}

}  // namespace ptx
