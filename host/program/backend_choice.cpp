#include "host/program/backend_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/program/command.h"
#include "host/program/error.h"

namespace scalelab::host {

BackendChoice choose_backend(const std::string& asked, const Needs& needs, const Backend* cuda,
                             const std::string& why_not, std::span<const Crossover> crossovers) {
  const auto crossover = [crossovers](Work work) -> const Crossover& {
    return *std::find_if(crossovers.begin(), crossovers.end(),
                         [work](const Crossover& row) { return row.work == work; });
  };
  if (asked == "cpu") return {&cpu_backend()};
  if (cuda == nullptr) {
    if (asked == "cuda") throw Failure(kNoBackend, "--backend cuda: " + why_not);
    return {&cpu_backend()};
  }
  if (asked == "cuda") return {cuda};
  if (needs.parts.empty()) return {&cpu_backend()};
  // The part that is largest by its crossover decides.
  const auto size = [&crossover](const Needs::Part& part) { return part.amount / crossover(part.work).amount; };
  const Needs::Part& part =
      *std::max_element(needs.parts.begin(), needs.parts.end(),
                        [&size](const Needs::Part& a, const Needs::Part& b) { return size(a) < size(b); });
  const Crossover& row = crossover(part.work);
  const bool large = part.amount >= row.amount;
  return {large ? cuda : &cpu_backend(),
          fmt::format("on the {}: {:.2g} {}, the GPU from {:.2g} on ({})", large ? "GPU" : "CPU", part.amount, row.unit,
                      row.amount, row.measured.empty() ? "assumed" : "measured on " + row.measured)};
}

Outcome run_where_it_fits(const std::string& asked, const Backend& chosen, const Needs& needs,
                          const std::function<Outcome(const Backend&)>& run,
                          const std::function<void(const std::string&)>& say) {
  if (&chosen == &cpu_backend()) return run(chosen);
  try {
    return run(chosen);
  } catch (const OutOfMemory& error) {
    if (asked != "auto") {
      if (needs.smaller.empty()) throw;
      throw OutOfMemory(fmt::format("{}; a smaller {} needs less", error.what(), needs.smaller));
    }
    say(fmt::format("scalelab: {}: continuing on the CPU", error.what()));
  }
  return run(cpu_backend());
}

}  // namespace scalelab::host
