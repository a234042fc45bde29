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

// Where control may arrive, or warps go on after they waited for each other.
std::vector<bool> begins_of(const std::vector<Inst>& code) {
  std::vector<bool> begins(code.size() + 1);
  begins[0] = true;
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (code[i].kind == Kind::branch) begins[static_cast<std::size_t>(code[i].imm)] = true;
    if (code[i].kind != Kind::simple && code[i].kind != Kind::sync) begins[i + 1] = true;
  }
  return begins;
}

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
  std::set<u64> found;  // sectors, or words
  std::array<u64, 32> passes{};
  for_lanes(lanes, [&](int l) {
    const u64 first = addresses[l], last = first + inst.bytes - 1;
    if (space == Space::global) found.insert(first / 32);
    if (space != Space::shared) return;
    // Each bank gives one word a pass, to all lanes that want it.
    for (u64 word = first / 4; word <= last / 4; ++word) passes[word % 32] += found.insert(word).second;
  });
  warp.launch->counts[&inst - warp.launch->kernel->code.data()].extra +=
      space == Space::global ? found.size() : *std::max_element(passes.begin(), passes.end());
}

}  // namespace ptx::count
