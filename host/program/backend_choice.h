// backend_choice: which backend a command runs on, and what it does when the memory of a device runs out.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "host/program/crossover.h"
#include "scalelab/backend.h"

namespace scalelab::host {

struct Outcome;

// What a command will ask for. `smaller` names the option that makes it need less memory.
struct Needs {
  struct Part {
    Work work;
    double amount = 0;  // in the unit of its Crossover
  };
  std::vector<Part> parts{};
  std::string smaller{};
};

// The backend for --backend `asked` (auto, cpu, cuda). `cuda` is the CUDA table or null, `why_not` says why null.
// cuda: Failure(kNoBackend) where there is none. auto: CUDA where it is present and at least one of the parts reaches
// its crossover. `reason` says which crossover was or was not reached, and where that comes from; empty where none
// decided.
struct BackendChoice {
  const Backend* backend;
  std::string reason{};
};
BackendChoice choose_backend(const std::string& asked, const Needs& needs, const Backend* cuda,
                             const std::string& why_not, std::span<const Crossover> crossovers = assumed_crossovers());

// Runs a command on the backend chosen. Where that runs out of device memory: with `asked` auto, says so in a line and
// runs it again on the CPU; else throws OutOfMemory, with the option that would make it smaller.
Outcome run_where_it_fits(const std::string& asked, const Backend& chosen, const Needs& needs,
                          const std::function<Outcome(const Backend&)>& run,
                          const std::function<void(const std::string&)>& say);

}  // namespace scalelab::host
