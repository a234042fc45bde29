#include "host/program/help.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>

namespace scalelab::host {

namespace {

constexpr std::size_t kTextColumn = 30;

// Words of `text` in lines of at most kHelpColumns, those after the first line indented. A word wider than a line is
// cut.
std::string wrapped(const std::string& text, std::size_t indent) {
  const std::size_t width = kHelpColumns - indent;
  std::string result, line;
  const auto end_line = [&] {
    if (!result.empty()) result += "\n" + std::string(indent, ' ');
    result += line;
    line.clear();
  };
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(text.find(' ', begin), text.size());
    // A list of defaults is one long word: cut it behind a comma where it must be cut.
    if (end - begin > width) {
      const std::size_t comma = text.rfind(',', begin + width - 1);
      end = comma != std::string::npos && comma > begin ? comma + 1 : begin + width;
    }
    const std::string word = text.substr(begin, end - begin);
    if (!line.empty() && line.size() + 1 + word.size() > width) end_line();
    line += (line.empty() ? "" : " ") + word;
    begin = end + (end < text.size() && text[end] == ' ' ? 1 : 0);
  }
  if (!line.empty()) end_line();
  return result;
}

// A name, and its text beside it or, where the name is long, below.
std::string entry(const std::string& name, const std::string& text) {
  std::string line = "  " + name;
  if (text.empty()) return line + "\n";
  if (line.size() + 2 > kTextColumn) {
    line += "\n" + std::string(kTextColumn, ' ');
  } else {
    line.resize(kTextColumn, ' ');
  }
  return line + wrapped(text, kTextColumn) + "\n";
}

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool positional) const override {
    std::string name = option->get_name(positional, !positional);
    std::replace(name.begin(), name.end(), ',', ' ');
    const bool value = option->get_type_size() != 0 && option->get_expected_max() != 0;
    if (value && !positional) name += " " + option->get_type_name();
    std::string text = option->get_description();
    if (option->get_required()) text += " (required)";
    const std::string standard = option->get_default_str();
    if (value && !standard.empty() && standard != "\"\"") text += " [" + standard + "]";
    return entry(name, text);
  }
  std::string make_subcommand(const CLI::App* command) const override {
    return entry(command->get_name(), command->get_description());
  }
  std::string make_description(const CLI::App* app) const override {
    return wrapped(app->get_description(), 0) + "\n\n";
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() { return std::make_shared<HelpFormatter>(); }

}  // namespace scalelab::host
