// command_line: from the words of a command line to one command of the program, with its options set.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace scalelab::host {

inline constexpr const char* kConfig = "--config";  // names a JSON file of options, on every command

// "bench run": how a command is called, without the program's name; empty for the program itself.
std::string command_path(const CLI::App& app);
// The commands below, but for those whose group is empty: they are not for people.
std::vector<const CLI::App*> shown_commands(const CLI::App& app);
// The command that the first of `words` name, as far down as they do; `used` of them.
const CLI::App& command_named(const CLI::App& program, const std::vector<std::string>& words, std::size_t& used);

// Sets the options of the command that the words name, from its configuration file too, and returns it.
// Failure(kMisuse) with one line: no command, one that is not known, an option that is not known or does not fit. What
// CLI11 throws for --help and --version goes through.
const CLI::App& parse(CLI::App& program, std::vector<std::string> words);

}  // namespace scalelab::host
