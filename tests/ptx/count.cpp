// Counts what a process's launches issue (PTX_COUNT=FILE): for each kernel and opcode the instructions of warps, the lanes
// they did something for, and of memory accesses the 32-byte sectors (global) or passes over the 32 banks (shared). PTX is
// not machine code: the counts say whether a kernel does more or less than it did, not how long it takes.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/ptx/lanes.h"

namespace ptx::count {
namespace {

std::map<std::string, std::pair<Kernel*, u64>> launched;  // by name; how often

// [[whether a straight piece begins here, "OPCODE", instructions, [what it reads], [what it writes]], ...], the last two as
// places of registers.
nlohmann::json code_of(const Kernel& kernel) {
  const std::vector<bool> begins = begins_of(kernel.code);
  auto all = nlohmann::json::array();
  for (std::size_t i = 0; i < kernel.code.size(); ++i) {
    const Inst& inst = kernel.code[i];
    std::vector<Ref> reads, writes;
    if (inst.guard != kNone) reads.push_back(inst.guard);
    for (std::size_t k = 0; k < inst.o.size(); ++k) {
      if (inst.o[k] != kNone) ((inst.defs >> k & 1) != 0 ? writes : reads).push_back(inst.o[k]);
    }
    all.push_back({int{begins[i]}, kernel.origins[i].opcode, kernel.counts[i].issued, reads, writes});
  }
  return all;
}

// {"KERNEL": {"launches": N, "opcodes": {"OPCODE": [instructions, lanes, sectors or passes]}}}, and with PTX_COUNT_CODE=1
// in it "code": what code_of gives.
void write() {
  nlohmann::json all;
  for (const auto& [name, entry] : launched) {
    const Kernel& kernel = *entry.first;
    std::map<std::string, std::array<u64, 3>> sums;
    for (std::size_t i = 0; i < kernel.counts.size(); ++i) {
      const Count& count = kernel.counts[i];
      if (count.issued == 0) continue;
      auto& [issued, lanes, extra] = sums[std::string(kernel.origins[i].opcode)];
      issued += count.issued;
      lanes += count.lanes;
      extra += count.extra;
    }
    nlohmann::json& of_kernel = all[demangled(name)];
    of_kernel = {{"launches", entry.second}, {"opcodes", sums}};
    if (is_on("PTX_COUNT_CODE")) of_kernel["code"] = code_of(kernel);
  }
  std::ofstream(setting("PTX_COUNT", "")) << all << "\n";
}

u64 sectors_of(Mask lanes, const u64* at) {
  std::set<u64> sectors;
  for_lanes(lanes, [&](int l) { sectors.insert(at[l] / 32); });
  return sectors.size();
}
// Each bank gives one word a pass, to all lanes that want it.
u64 passes_of(Mask lanes, const u64* at, u64 bytes) {
  std::set<u64> words;
  std::array<u64, 32> of_bank{};
  for_lanes(lanes, [&](int l) {
    for (u64 word = at[l] / 4; word <= (at[l] + bytes - 1) / 4; ++word) of_bank[word % 32] += words.insert(word).second;
  });
  return *std::max_element(of_bank.begin(), of_bank.end());
}

}  // namespace

bool on() {
  static const bool is_on = std::string(setting("PTX_COUNT", "")) != "";
  return is_on;
}

void launch_begins(Launch& launch) {
  if (launched.empty()) std::atexit(write);
  auto& [known, times] = launched[launch.kernel->name];
  known = launch.kernel;
  ++times;
  known->counts.resize(known->code.size());
  launch.counts = known->counts.data();
}

void note(Warp& warp, const Inst& inst, Mask lanes, Space space, const u64* addresses) {
  Count& count = warp.launch->counts[&inst - warp.launch->kernel->code.data()];
  if (space == Space::global) count.extra += sectors_of(lanes, addresses);
  if (space == Space::shared) count.extra += passes_of(lanes, addresses, inst.bytes);
}

}  // namespace ptx::count
