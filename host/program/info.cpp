// scalelab info: what this program is, what it can run on, and its limits.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/options.h"
#include "scalelab/grid.h"
#include "scalelab/knn.h"
#include "scalelab/mlp.h"
#include "scalelab/processors.h"

namespace scalelab::host {

namespace {

// Bytes that /proc/meminfo states under a name, or null.
nlohmann::json memory(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    std::int64_t kilobytes = 0;
    if (word == name + ":" && file >> kilobytes) return kilobytes * 1024;
  }
  return nullptr;
}

std::string gigabytes(const nlohmann::json& bytes) {
  return bytes.is_null() ? "unknown" : fmt::format("{:.1f} GB", bytes.get<double>() / 1e9);
}

Outcome run(Session& session) {
  std::string why_not;
  // The backends, and why there is no GPU where there is none.
  const Backend* cuda = cuda_backend(&why_not);
  Context cpu(cpu_backend(), 0, session.common.threads);
  nlohmann::json backends = {{{"name", "cpu"}, {"device", cpu.backend().describe(cpu)}}};
  if (cuda != nullptr) {
    Context gpu(*cuda, session.common.device(), session.common.threads);
    backends.push_back({{"name", "cuda"}, {"device", cuda->describe(gpu)}});
  } else {
    backends.push_back({{"name", "cuda"}, {"device", nullptr}, {"why_not", why_not}});
  }
  // From which amounts of work on the GPU is chosen.
  const Crossovers crossovers =
      cuda == nullptr
          ? read_crossovers({}, {})
          : read_crossovers(crossover_file(), contest_of(*cuda, session.common.device(), session.common.threads));
  nlohmann::json automatic = nlohmann::json::array();
  std::string lines;
  for (const Crossover& row : crossovers.rows) {
    automatic.push_back({{"op", row.op},
                         {"unit", row.unit},
                         {"from", row.amount},
                         {"measured", row.measured.empty() ? nlohmann::json() : nlohmann::json(row.measured)}});
    lines += fmt::format("         {:<16} {:>7.2g} {} ({})\n", row.op, row.amount, row.unit,
                         row.measured.empty() ? "assumed" : "measured on " + row.measured);
  }
  // All of it as JSON, and then in lines.
  const ThreadCount threads = default_threads();
  Outcome outcome;
  outcome.document = {{"backends", backends},
                      {"threads", {{"default", threads.threads}, {"reason", threads.reason}}},
                      {"memory", {{"total", memory("MemTotal")}, {"available", cpu.backend().memory_free(cpu)}}},
                      {"limits",
                       {{"neighbours", kMaxNeighbours},
                        {"grid", kMaxGrid},
                        {"width", kMaxWidth},
                        {"hidden_layers", kMaxHiddenLayers},
                        {"classes", kMaxOutputs}}},
                      {"auto", automatic},
                      {"environment", environment(session)}};

  const auto& env = outcome.document["environment"];
  outcome.text = fmt::format(
      "scalelab {}{}\n"
      "cpu      {}{}\n"
      "cuda     {}\n"
      "auto     is the cpu{}\n{}"
      "threads  {} unless --threads says otherwise ({})\n"
      "memory   {}, {} available\n"
      "limits   k up to {}, grids up to {} x {}, networks up to {} hidden layers of width {}, {} classes\n",
      kVersion, env["commit"].is_null() ? "" : " (" + env["commit"].get<std::string>() + ")",
      backends[0]["device"].get<std::string>(), env["cpu"].is_null() ? "" : ", " + env["cpu"].get<std::string>(),
      cuda != nullptr ? backends[1]["device"].get<std::string>() : why_not,
      cuda == nullptr ? ""
                      : ", and the GPU from these amounts of work on" +
                            (crossovers.note.empty() ? "" : " (" + crossovers.note + "; see scalelab bench cost)"),
      cuda != nullptr ? lines : "", threads.threads, threads.reason, gigabytes(outcome.document["memory"]["total"]),
      gigabytes(outcome.document["memory"]["available"]), kMaxNeighbours, kMaxGrid, kMaxGrid, kMaxHiddenLayers,
      kMaxWidth, kMaxOutputs);
  return outcome;
}

}  // namespace

Command add_info(CLI::App& program) {
  CLI::App* app = program.add_subcommand("info", "Version, backends and why not, what auto chooses, memory, limits");
  add_notes(*app, {"scalelab info --json"});
  return {app, run};
}

}  // namespace scalelab::host
