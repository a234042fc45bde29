// input: what is wrong with words and files that people write: a name that is not known, JSON that is none.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/program/error.h"

namespace scalelab::host {

// "; did you mean X?", or nothing when no name is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& names);
// "'widht' is not known; did you mean width?", and where no name is near, "'m' is not known; known are n, seed".
std::string not_known(const std::string& word, const std::vector<std::string>& names);

// The JSON of a file that messages call `name`. Failure(exit_code): "FILE: cannot be read", or as below.
nlohmann::json read_json(const std::filesystem::path& file, const std::string& name, ExitCode exit_code);
// Of a text of it. Failure(exit_code): "FILE: line 3, column 5: is not JSON".
nlohmann::json parse_json(const std::string& text, const std::string& name, ExitCode exit_code);

}  // namespace scalelab::host
