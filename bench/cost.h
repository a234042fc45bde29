// cost: how the time of each op grows with what it is given, up to a limit of time or memory; from where on one way to
// the same answer is quicker than another, on one backend and between two.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/bench.h"
#include "host/program/command.h"

namespace scalelab::bench {

struct CostOptions {
  std::string filter;     // groups wanted (result.h)
  double budget = 6;      // seconds for each line on each backend, making the data and checking the answers included
  double max_bytes = 0;   // of host or device memory; 0: half of what is free
  std::int64_t most = 0;  // values beyond this are left out; 0: none
  bool both = true;       // the CUDA backend too, where there is one
  std::string clock = "wall";  // or cpu, on a machine that others use: what growth and crossings go by
};

// The document (result.h): rows, with `amount` where the line has one; lines {group, title, name, route, backend, axis,
// rows, growth, ended: by what}; growth is that of the last five rows, by `clock`. crossings
// {group, kind: "route" or "backend", from, to, axis or work, word, at, low, high, text}. A time on CUDA has the start
// of the device added before it is compared with the CPU's: `start_seconds`.
nlohmann::json measure_cost(const CostOptions& options, host::Session& session);

// The amounts that --backend auto is to go by, from a document's crossings between backends: where CUDA was always
// quicker the smallest amount measured, and where it never was the largest, or `assumed` if that is more.
std::map<std::string, double> amounts_of(const nlohmann::json& document);

// `crossings` of a document that has rows and lines.
nlohmann::json crossings_of(const nlohmann::json& document);

}  // namespace scalelab::bench
