// crossover: from how much work on a GPU is worth its start: assumed in the program, or measured on this machine by
// `scalelab bench cost`, which leaves what it found in a file that --backend auto reads.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "scalelab/backend.h"

namespace scalelab::host {

// What a command does on a backend: an op, in the regime that decides what it costs.
enum class Work { knn_near, knn_far, grid_knn, grid_mlp, mlp_train, kmeans_near, kmeans_far, max_margin, xor_sgd };

// From how much of it on --backend auto takes a GPU.
struct Crossover {
  Work work;
  const char* name;  // in the file
  const char* op;    // as in Backend
  const char* unit;  // of the amount, and of what
  double amount;
  std::string measured{};  // the day; empty: assumed
};
// Starting a device takes about as long as two CPU cores need for these amounts, half a second by bench/results; the
// crossovers themselves have not been measured on a GPU.
std::span<const Crossover> assumed_crossovers();

// The pair that a crossover lies between.
struct Contest {
  std::string gpu;  // product name
  std::string cpu;  // model name, or its instruction set where the system states none
  int threads = 0;
  bool operator==(const Contest&) const = default;
};
// `threads`: as given to Context. gpu stays empty for a backend whose devices have no names.
Contest contest_of(const Backend& cuda, int device, int threads);

// $XDG_CACHE_HOME/scalelab/crossovers.json, or ~/.cache/scalelab/crossovers.json; empty where neither is known.
std::filesystem::path crossover_file();

// The assumed crossovers, those replaced that `file` holds for this pair. Never throws for what is in the file: one
// that is absent, torn, of another pair or holds a value that is no positive number changes nothing, and `note` says
// why ("not measured on this machine", "FILE is broken", ...). Of a pair that is there twice the later one counts.
struct Crossovers {
  std::vector<Crossover> rows;
  std::string note{};  // empty: the file was used
};
Crossovers read_crossovers(const std::filesystem::path& file, const Contest& contest);

// Puts amounts by name, measured on `day` (2026-11-22), into the file, in place of what stood there for this pair; what
// it holds of other pairs stays, unless it is broken. Makes the folder. Failure(kCannotWrite).
void write_crossovers(const std::filesystem::path& file, const Contest& contest, const std::string& day,
                      const std::map<std::string, double>& amounts);

}  // namespace scalelab::host
