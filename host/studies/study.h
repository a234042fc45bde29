// study: how a command that compares trials ends, whichever it is.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "host/lab/sweep.h"
#include "host/program/command.h"

namespace scalelab::host {

// The document goes to options.out / `file`, and what failed or is still to be done by other shards is said under the
// text.
Outcome finish_study(const std::string& file, const SweepOptions& options, const SweepResult& result,
                     nlohmann::json document, std::string text);

}  // namespace scalelab::host
