// own_options: options that several commands on one's own data take.
#pragma once

#include <string>

#include "host/program/options.h"

namespace scalelab::host {

// Those that say what is done, with --data and its like beside them.
inline constexpr const char* kMethodGroup = "Method";
inline constexpr const char* kPartsGroup = "Memory and parts";

CLI::Option* add_metric(CLI::App& app, std::string& metric, const std::string& help);  // l2 or cosine
CLI::Option* add_neighbours(CLI::App& app, int& k, const std::string& help);
// In a folder of its own in --out, for `merge`.
CLI::Option* add_own_shard(CLI::App& app, std::string& shard, const std::string& of_what);

}  // namespace scalelab::host
