// Gives each virtual register of a kernel a place for as long as it is live: a linear scan over the intervals in which
// its value may still be read.
#include <stdexcept>

#include "tests/ptx/lanes.h"
#include "tests/ptx/parse.h"

namespace ptx {
namespace {

using Bits = std::vector<u64>;  // one for each register

struct Flow {  // instructions that are always executed one after the other
  int begin = 0, end = 0;
  std::vector<int> next;  // flows that may come behind it
  Bits in, use, def;      // registers that are live at its begin, used before they are defined in it, defined in it
};
struct Interval {
  int begin = INT32_MAX, end = -1;
  void hold(int at) {
    begin = std::min(begin, at);
    end = std::max(end, at);
  }
};

template <class F>
void for_bits(const Bits& bits, F&& body) {
  for (std::size_t word = 0; word < bits.size(); ++word) {
    for (u64 rest = bits[word]; rest != 0; rest &= rest - 1)
      body(word * 64 + static_cast<std::size_t>(std::countr_zero(rest)));
  }
}
// Calls used(register), then defined(register); what a guarded instruction defines it also keeps, and so uses.
template <class Used, class Defined>
void for_registers(const Inst& in, Used&& used, Defined&& defined) {
  const auto writes = [&](std::size_t k) { return (in.defs >> k & 1) != 0; };
  if (in.guard >= 0) used(in.guard);
  for (std::size_t k = 0; k < in.o.size(); ++k) {
    if (in.o[k] >= 0 && (!writes(k) || in.guard != kNone)) used(in.o[k]);
  }
  for (std::size_t k = 0; k < in.o.size(); ++k) {
    if (in.o[k] >= 0 && writes(k)) defined(in.o[k]);
  }
}

std::vector<u32> targets_of(const Kernel& kernel, const Inst& in) {
  if (in.kind == Kind::branch) return {static_cast<u32>(in.imm)};
  return in.kind == Kind::indexed ? kernel.tables[in.table] : std::vector<u32>{};
}
bool leaves(const Inst& in) { return in.kind == Kind::branch || in.kind == Kind::indexed || in.kind == Kind::exit; }

std::vector<Flow> flows_of(const Kernel& kernel, std::size_t words) {
  const auto& code = kernel.code;
  std::vector<char> begins(code.size() + 1);
  begins[0] = 1;
  for (std::size_t i = 0; i < code.size(); ++i) {
    for (const u32 to : targets_of(kernel, code[i])) begins[to] = 1;
    if (leaves(code[i])) begins[i + 1] = 1;
  }
  std::vector<Flow> flows;
  std::vector<int> flow_of(code.size() + 1);
  for (std::size_t i = 0; i < code.size(); ++i) {
    const int at = static_cast<int>(i);
    if (begins[i]) flows.push_back({at, at, {}, Bits(words), Bits(words), Bits(words)});
    flow_of[i] = static_cast<int>(flows.size()) - 1;
    Flow& flow = flows.back();
    flow.end = at + 1;
    for_registers(
        code[i],
        [&](int r) {
          if ((flow.def[r / 64] >> r % 64 & 1) == 0) flow.use[r / 64] |= u64{1} << r % 64;
        },
        [&](int r) { flow.def[r / 64] |= u64{1} << r % 64; });
  }
  for (Flow& flow : flows) {
    const Inst& last = code[static_cast<std::size_t>(flow.end) - 1];
    for (const u32 to : targets_of(kernel, last)) flow.next.push_back(flow_of[to]);
    const bool goes_on = !leaves(last) || last.guard != kNone;
    if (goes_on && static_cast<std::size_t>(flow.end) < code.size())
      flow.next.push_back(flow_of[static_cast<std::size_t>(flow.end)]);
  }
  return flows;
}

// Where each register is live, from the first to the last instruction: what flows out of one is what flows into the next.
std::vector<Interval> intervals_of(const Kernel& kernel, std::size_t registers) {
  const std::size_t words = (registers + 63) / 64;
  std::vector<Flow> flows = flows_of(kernel, words);
  const auto out_of = [&](const Flow& flow) {
    Bits out(words);
    for (const int next : flow.next) {
      for (std::size_t w = 0; w < words; ++w) out[w] |= flows[static_cast<std::size_t>(next)].in[w];
    }
    return out;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto flow = flows.rbegin(); flow != flows.rend(); ++flow) {
      const Bits out = out_of(*flow);
      for (std::size_t w = 0; w < words; ++w) {
        const u64 in = flow->use[w] | (out[w] & ~flow->def[w]);
        changed |= in != flow->in[w];
        flow->in[w] = in;
      }
    }
  }
  std::vector<Interval> intervals(registers);
  for (const Flow& flow : flows) {
    for_bits(flow.in, [&](std::size_t r) { intervals[r].hold(flow.begin); });
    for_bits(out_of(flow), [&](std::size_t r) { intervals[r].hold(flow.end); });
    for (int i = flow.begin; i < flow.end; ++i) {
      const auto hold = [&](int r) { intervals[static_cast<std::size_t>(r)].hold(i); };
      for_registers(kernel.code[static_cast<std::size_t>(i)], hold, hold);
    }
  }
  return intervals;
}

}  // namespace

void place_registers(Kernel& kernel, const std::vector<Type>& registers) {
  constexpr u32 kPredicates =
      4096;  // bytes: predicates lie in front, 4 bytes each; then the others, 128 or 256 bytes each
  const std::vector<Interval> live = intervals_of(kernel, registers.size());
  const auto bytes_of = [&](std::size_t r) { return static_cast<u32>(registers[r].lane() * kLanes); };
  std::vector<std::size_t> order, active;
  for (std::size_t r = 0; r < registers.size(); ++r) {
    if (live[r].end >= 0) order.push_back(r);
  }
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return live[a].begin < live[b].begin; });
  const auto ends_later = [&](auto a, auto b) { return live[a].end > live[b].end; };  // of a heap: the first ends first
  std::vector<Ref> place(registers.size(), kNone);
  std::map<u32, std::vector<Ref>> unused;
  u32 predicates = 0, used = kPredicates;
  int held = 0;
  for (const std::size_t r : order) {
    while (!active.empty() && live[active.front()].end < live[r].begin) {
      const std::size_t gone = active.front();
      std::pop_heap(active.begin(), active.end(), ends_later);
      active.pop_back();
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
    active.push_back(r);
    std::push_heap(active.begin(), active.end(), ends_later);
    kernel.pressure = std::max(kernel.pressure, held += static_cast<int>(bytes / 128));
  }
  for (Inst& inst : kernel.code) {
    if (inst.guard >= 0) inst.guard = place[static_cast<std::size_t>(inst.guard)];
    for (Ref& o : inst.o) o = o >= 0 ? place[static_cast<std::size_t>(o)] : o;
  }
  kernel.register_bytes = (used + 4095) / 4096 * 4096 + 64 * 3;  // not a multiple of 4096: warps in different sets
}

}  // namespace ptx
