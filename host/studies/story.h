// story: what the results of the experiments say, one page each, and the front page that tells the whole in order.
//
// Every page is made from a result alone (its JSON, or a sweep's rows), so that it can be made again from what is on
// disk.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "host/pages/page.h"
#include "host/program/command.h"

namespace scalelab::host {

// Lines over n (or over the first member that varies and has numbers), a line for every combination of the others, a
// law for each line with enough sizes; and where two members vary, a map of their combinations. `document` is that of
// sweep_document, and may have `findings` ({id, title, text}), which then go first.
Page sweep_page(const std::string& title, const nlohmann::json& document);
Page theory_page(const nlohmann::json& document);      // of `theory`
Page curriculum_page(const nlohmann::json& document);  // of `curriculum` on the XOR mixture

// The page of a command's document, where it has one and there is something to show.
std::optional<Page> page_of(const nlohmann::json& document);

// The command line that made a result, as its environment holds it; empty when it does not.
std::string command_of(const nlohmann::json& document);

}  // namespace scalelab::host
