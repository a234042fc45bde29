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
    const std::string type = type_of(*option), standard = default_of(*option);
    if (!type.empty() && !positional) name += " " + type;
    std::string text = option->get_description();
    if (option->get_required()) text += " (required)";
    if (!standard.empty()) text += " [" + standard + "]";
    return entry(name, text);
  }
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string text = make_description(app) + make_usage(app, std::move(name)) + make_positionals(app);
    for (const std::string& group : groups_of(*app)) text += make_group(group, false, options_of(*app, group));
    return text + make_subcommands(app, mode) + "\n" + make_footer(app);
  }
  std::string make_subcommand(const CLI::App* command) const override {
    return entry(command->get_name(), command->get_description());
  }
  std::string make_description(const CLI::App* app) const override {
    return wrapped(app->get_description(), 0) + "\n\n";
  }
};

}  // namespace

std::string type_of(const CLI::Option& option) {
  constexpr std::size_t kFewWords = 40;  // characters that fit beside a name and its text
  const bool flag = option.get_type_size() == 0 || option.get_expected_max() == 0;
  const std::string type = flag ? "" : option.get_type_name();
  const std::size_t colon = type.find(':');
  if (colon == std::string::npos) return type;
  const std::string words = type.substr(colon + 1);
  const bool few = words.starts_with("{") && words.size() <= kFewWords && !type.starts_with("LIST");
  return few ? words : type.substr(0, colon);
}

std::vector<std::string> groups_of(const CLI::App& app) {
  std::vector<std::string> groups = app.get_groups();
  std::erase_if(groups, [&](const std::string& group) { return options_of(app, group).empty() || group.empty(); });
  const auto rank = [](const std::string& group) { return group == "Options" ? 0 : group == kEveryCommand ? 2 : 1; };
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return groups;
}

std::vector<const CLI::Option*> options_of(const CLI::App& app, const std::string& group) {
  return app.get_options(
      [&](const CLI::Option* option) { return option->nonpositional() && option->get_group() == group; });
}

std::vector<const CLI::Option*> positionals_of(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

std::string default_of(const CLI::Option& option) {
  const std::string text = type_of(option).empty() ? "" : option.get_default_str();
  return text == "\"\"" || text == "[]" ? "" : text;
}

std::shared_ptr<CLI::FormatterBase> help_formatter() { return std::make_shared<HelpFormatter>(); }

}  // namespace scalelab::host
