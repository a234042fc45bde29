// environment: where a result was made.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace scalelab::host {

struct Session;

// Version of the program (scalelab/version.h).
extern const std::string kVersion;
// Version and commit: what two runs of the same program have in common.
std::string program_identity();

// The JSON object that describes where a result was made: version, commit, backend, device, threads, compiler, host
// CPU, and the command line; of several GPUs also their numbers. Unknown is null.
nlohmann::json environment(const Session& session);

// The command line that `environment` states from now on, the program's name first.
void set_command_line(std::vector<std::string> words);

// The command line that made a result, as its environment holds it, quoted for a shell; empty when it does not.
std::string command_of(const nlohmann::json& document);

// The CPU's model as the system states it; empty where it states none.
std::string cpu_model();

// A document as text, indented and ending in a line feed. Bytes that are no UTF-8 are replaced.
std::string json_text(const nlohmann::json& document);

}  // namespace scalelab::host
