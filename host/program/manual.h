// manual: the page that `man scalelab` shows, from the same commands and options as the help.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace scalelab::host {

// In the man macros of troff. `exit_codes`: lines to be shown as they are.
std::string manual(const CLI::App& program, const std::string& exit_codes);

}  // namespace scalelab::host
