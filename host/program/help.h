// help: how a command's --help is set.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class FormatterBase;
class Option;
}  // namespace CLI

namespace scalelab::host {

inline constexpr std::size_t kHelpColumns = 100;  // no line is wider

// The group of the options that all commands take: the last in a help.
inline constexpr const char* kEveryCommand = "Every command";

// What an option takes: "INT", "LIST", "FILE", or the words that it knows where they are few, as "{wall,cpu}"; empty for
// a flag.
std::string type_of(const CLI::Option& option);
// The groups of a command's options in the order in which they are shown: those of no group of their own first.
std::vector<std::string> groups_of(const CLI::App& app);
// The options of a group that have names, and the positional ones.
std::vector<const CLI::Option*> options_of(const CLI::App& app, const std::string& group);
std::vector<const CLI::Option*> positionals_of(const CLI::App& app);
// The default of an option as it is shown; empty where it has none worth showing.
std::string default_of(const CLI::Option& option);

// Names of options left, their text right of them and wrapped, the default at its end.
std::shared_ptr<CLI::FormatterBase> help_formatter();

}  // namespace scalelab::host
