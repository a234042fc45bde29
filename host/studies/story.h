// story: what the results of the experiments say, one page each, and the front page that tells the whole in order.
//
// Every page can be made again from what is on disk (`scalelab show`).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "host/pages/page.h"
#include "host/program/command.h"

namespace scalelab::host {

Page theory_page(const nlohmann::json& document);      // of `theory`
Page curriculum_page(const nlohmann::json& document);  // of `curriculum` on the XOR mixture

// The command line that made a result, as its environment holds it; empty when it does not.
std::string command_of(const nlohmann::json& document);

}  // namespace scalelab::host
