#include "host/program/manual.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "host/program/command_line.h"
#include "host/program/environment.h"
#include "host/program/help.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

// Text as troff prints it: a backslash and a hyphen are themselves, no line is taken for a request, and a list may be
// broken behind a comma.
std::string troff(const std::string& text) {
  std::string result;
  for (const std::string& line : split(text, '\n')) {
    if (!result.empty()) result += '\n';
    if (line.starts_with('.') || line.starts_with('\'')) result += "\\&";
    for (const char c : line) result += c == '\\' ? "\\e" : c == '-' ? "\\-" : c == ',' ? ",\\:" : std::string(1, c);
  }
  return result;
}

// Lines as they are, in a fixed font.
std::string verbatim(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.empty() ? "" : ".PP\n.nf\n.ft CW\n" + troff(text) + "\n.ft P\n.fi\n";
}

std::string option_entry(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const auto& name : option.get_snames()) names.push_back("\\fB" + troff("-" + name) + "\\fR");
  for (const auto& name : option.get_lnames()) names.push_back("\\fB" + troff("--" + name) + "\\fR");
  if (names.empty()) names.push_back("\\fI" + troff(option.get_name(true, false)) + "\\fR");
  const std::string type = option.get_positional() ? "" : type_of(option), standard = default_of(option);
  return fmt::format(".TP\n{}{}\n{}{}{}\n", fmt::join(names, ", "), type.empty() ? "" : " \\fI" + troff(type) + "\\fR",
                     troff(option.get_description()), option.get_required() ? " (required)" : "",
                     standard.empty() ? "" : " [" + troff(standard) + "]");
}

std::string group_entries(const CLI::App& app, const std::string& group) {
  std::string text;
  for (const CLI::Option* option : options_of(app, group)) text += option_entry(*option);
  return text;
}

// A command without the options that all of them take.
std::string command_section(const CLI::App& app) {
  const auto positionals = positionals_of(app);
  std::string text = fmt::format(".SS scalelab {}", troff(command_path(app)));
  for (const CLI::Option* option : positionals) text += " " + troff(option->get_name(true, false));
  text += "\n" + troff(app.get_description()) + ".\n";
  for (const CLI::Option* option : positionals) text += option_entry(*option);
  for (const std::string& group : groups_of(app)) {
    if (group == kEveryCommand) continue;
    if (group != "Options") text += ".PP\n" + troff(group) + ":\n";
    text += group_entries(app, group);
  }
  return text + verbatim(app.get_footer());
}

// The commands that can be run, those below others after them.
void add_leaves(const CLI::App& app, std::vector<const CLI::App*>& leaves) {
  for (const CLI::App* command : shown_commands(app)) {
    if (shown_commands(*command).empty()) leaves.push_back(command);
    add_leaves(*command, leaves);
  }
}

constexpr const char* kAfter =
    ".SH FILES\n"
    ".TP\n"
    "\\fI$XDG_CACHE_HOME/scalelab/crossovers.json\\fR, or in \\fI~/.cache\\fR\n"
    "From how much work on \\fB\\-\\-backend auto\\fR takes the GPU, as \\fBscalelab bench cost\\fR measured it.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n"
    "\\fBOMP_NUM_THREADS\\fR\n"
    "CPU threads where \\fB\\-\\-threads\\fR is not given.\n"
    ".TP\n"
    "\\fBSCALELAB_PYTHON\\fR\n"
    "The Python that \\fBscalelab bench run \\-\\-peers\\fR finds other libraries in.\n"
    ".TP\n"
    "\\fBSCALELAB_PEERS\\fR\n"
    "The folder of the scripts that time them.\n"
    ".TP\n"
    "\\fBSCALELAB_NVML\\fR\n"
    "The NVIDIA driver's library that energy and clocks are read from.\n";

}  // namespace

std::string manual(const CLI::App& program, const std::string& exit_codes) {
  std::vector<const CLI::App*> leaves;
  add_leaves(program, leaves);
  std::string text = fmt::format(
      ".TH SCALELAB 1 \"\" \"scalelab {}\" \"User Commands\"\n"
      ".nh\n.ad l\n"  // no word is broken, no line is filled up with blanks
      ".SH NAME\nscalelab \\- what data and scale are worth, measured exactly\n"
      ".SH SYNOPSIS\n.B scalelab\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.br\n.B scalelab help\n.I COMMAND\n"
      ".SH DESCRIPTION\n{}\nEach command prints what it found, and leaves files in the folder that "
      "\\fB\\-\\-out\\fR names.\n"
      ".SH OPTIONS OF EVERY COMMAND\n{}.SH COMMANDS\n",
      kVersion, troff(program.get_description()), group_entries(*leaves.front(), kEveryCommand));
  for (const CLI::App* command : leaves) text += command_section(*command);
  return text + kAfter + ".SH EXIT STATUS\nThe program ends with one of these:\n" + verbatim(exit_codes);
}

}  // namespace scalelab::host
