#include "host/choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/command.h"
#include "host/error.h"

namespace scalelab::host {

namespace {

constexpr Crossover kCrossovers[] = {
    {Work::knn_near, "knn", "references and queries, up to 3 features", 1e7,
     [](const Backend& b) { return b.knn != nullptr; }},
    {Work::knn_far, "knn", "references x queries x features beyond 3", 1.5e10,
     [](const Backend& b) { return b.knn != nullptr; }},
    {Work::grid_knn, "grid_knn_labels", "cells", 3e8, [](const Backend& b) { return b.grid_knn_labels != nullptr; }},
    {Work::grid_mlp, "grid_mlp_labels", "cells x parameters", 2.5e10,
     [](const Backend& b) { return b.grid_mlp_labels != nullptr; }},
    {Work::mlp_train, "mlp_train", "samples seen x parameters", 1e10,
     [](const Backend& b) { return b.mlp_train != nullptr; }},
    {Work::kmeans_near, "kmeans_fit", "points, up to 3 features", 1e7,
     [](const Backend& b) { return b.kmeans_fit != nullptr; }},
    {Work::kmeans_far, "kmeans_fit", "points x clusters x features beyond 3", 1e9,
     [](const Backend& b) { return b.kmeans_fit != nullptr; }},
    {Work::max_margin, "max_margin", "sets", 0, [](const Backend& b) { return b.max_margin != nullptr; }},
    {Work::xor_sgd, "xor_sgd", "networks", 0, [](const Backend& b) { return b.xor_sgd != nullptr; }},
};

const Crossover& crossover_of(Work work) {
  return *std::find_if(std::begin(kCrossovers), std::end(kCrossovers),
                       [work](const Crossover& row) { return row.work == work; });
}

}  // namespace

std::span<const Crossover> crossovers() { return kCrossovers; }

Choice choose_backend(const std::string& asked, const Needs& needs, const Backend* cuda, const std::string& why_not) {
  if (asked == "cpu") return {&cpu_backend()};
  if (cuda == nullptr) {
    if (asked == "cuda") throw Failure(kNoBackend, "--backend cuda: " + why_not);
    return {&cpu_backend()};
  }
  for (const Needs::Part& part : needs.parts) {
    const Crossover& row = crossover_of(part.work);
    if (row.present(*cuda)) continue;
    if (asked == "cuda") {
      throw Failure(kNoBackend, fmt::format("--backend cuda: it has no {} yet; use --backend cpu", row.op));
    }
    return {&cpu_backend(), fmt::format("scalelab: on the CPU, since the GPU has no {} yet", row.op)};
  }
  if (asked == "cuda") return {cuda};
  const bool large = std::any_of(needs.parts.begin(), needs.parts.end(),
                                 [](const Needs::Part& part) { return part.amount >= crossover_of(part.work).amount; });
  return {large ? cuda : &cpu_backend()};
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
