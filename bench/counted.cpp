// What counts of instructions say of a case on a GPU before it is timed there: results/gpu-counted.json, which
// bench/counted.py makes by executing what nvcc made of the kernels on a CPU. No figure in it was measured on a GPU.
#include <algorithm>
#include <map>

#include "bench/result.h"
#include "counted_json.h"

namespace scalelab::bench {

namespace {

const nlohmann::json& counted_document() {
  static const auto document = nlohmann::json::parse(gpu_counted_json);
  return document;
}

}  // namespace

const nlohmann::json& counted_cases() { return counted_document().at("cases"); }
const nlohmann::json& counted_ceilings() { return counted_document().at("ceilings"); }

// The architecture whose PTX was counted.
bool is_counted_for(const std::string& device) { return device.find("sm_90") != std::string::npos; }

// Of each kernel the pipe that takes longest, on the share of the multiprocessors that it has blocks for; all kernels one
// after the other, with what a launch costs; or what must at least pass through main memory, where that is more. A
// multiprocessor issues an instruction of a warp on each of its four schedulers in a cycle. Of integers, comparisons and
// minima it does half as many, which is what the ceiling of minima measures; of fp64 as many as of those; of special
// functions a quarter of them. Shared memory gives a line of 128 bytes a cycle, the first-level cache through the same
// door.
Roof counted_floor(const nlohmann::json& counted, const Workload& work, const Ceilings& ceilings) {
  constexpr double kLaunch = 2e-6;                // seconds from one queued launch to the next
  const double half = ceilings.minimum_ops / 32;  // instructions of warps a second, at half of the issue rate
  const std::pair<const char*, double> pipes[] = {{"issue", 2 * half},
                                                  {"fp32", ceilings.fma_flop / 64},
                                                  {"integer", half},
                                                  {"fp64", half},
                                                  {"special", half / 4},
                                                  {"tensor", ceilings.tensor_flop / 4096},
                                                  {"shared", ceilings.shared_bytes / 128}};
  std::map<std::string, double> seconds;  // by what bounds
  for (const auto& kernel : counted.at("kernels")) {
    std::pair<double, const char*> slowest{0, "issue"};
    for (const auto& [name, rate] : pipes) {
      const double amount = kernel.value(name, 0.0);
      if (amount > 0 && rate > 0) slowest = std::max(slowest, {amount / rate / kernel.at("share").get<double>(), name});
    }
    seconds[slowest.second] += slowest.first;
    seconds["launches"] += kLaunch * kernel.at("launches").get<double>();
  }
  Roof floor;
  double most = 0;
  for (const auto& [name, part] : seconds) {
    floor.floor_seconds += part;
    if (part > most) floor.name = name;
    most = std::max(most, part);
  }
  const Roof memory = memory_floor(work, ceilings);
  if (memory.floor_seconds > floor.floor_seconds) floor = memory;
  return floor;
}

void add_prediction(nlohmann::json& row, const Workload& work, const Ceilings& ceilings) {
  const auto found = counted_cases().find(row.at("name").get<std::string>());
  if (found == counted_cases().end() || row.contains("wrong")) return;
  const Roof floor = counted_floor(*found, work, ceilings);
  row["predicted"] = {{"seconds", floor.floor_seconds}, {"bound", floor.name}};
}

}  // namespace scalelab::bench
