#include "host/program/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "host/program/error.h"
#include "host/program/input.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return names;
}

// "scalelab bench --help", which says more.
std::string help_of(const CLI::App& app) {
  const std::string path = command_path(app);
  return "scalelab " + path + (path.empty() ? "" : " ") + "--help";
}

// One value of a configuration as the text of an option. `fits` turns false where it is none.
std::string option_text(const nlohmann::json& value, bool& fits) {
  if (value.is_string() || value.is_number()) return text_of(value);
  std::string text;
  fits = fits && value.is_array();
  for (const auto& item : value.is_array() ? value : nlohmann::json::array()) {
    fits = fits && (item.is_string() || item.is_number());
    text += (text.empty() ? "" : ",") + text_of(item);
  }
  return text;
}

// The options of a JSON file as command-line words, but for those that the command line gives itself.
std::vector<std::string> config_words(const std::string& file, const CLI::App& app,
                                      const std::vector<std::string>& given) {
  const auto config = read_json(file, fmt::format("{}: {}", kConfig, file), kMisuse);
  if (!config.is_object()) {
    throw Failure(kMisuse, fmt::format("{}: {}: is not a JSON object of options, as {{\"k\": 5}}", kConfig, file));
  }
  std::vector<std::string> names = option_names(app), words;
  std::erase_if(names, [](const std::string& name) { return name == kConfig || name == "--help"; });
  for (const auto& [key, value] : config.items()) {
    const std::string name = "--" + key;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw Failure(kMisuse, fmt::format("{}: {}: '{}' is no option of {}{}", kConfig, file, key, command_path(app),
                                         suggestion(name, names)));
    }
    const auto gives = [&](const std::string& word) { return word == name || word.starts_with(name + "="); };
    if (std::any_of(given.begin(), given.end(), gives)) continue;
    const bool flag = app.get_option(name)->get_expected_max() == 0;
    bool fits = flag == value.is_boolean();
    const std::string option = flag ? "" : option_text(value, fits);
    if (!fits) {
      throw Failure(kMisuse, fmt::format("{}: {}: '{}' must be {}", kConfig, file, key,
                                         flag ? "true or false" : "a number, a text or a list of them"));
    }
    if (!flag) words.push_back(name + "=" + option);
    if (flag && value.get<bool>()) words.push_back(name);
  }
  return words;
}

// The file that `--config FILE` or `--config=FILE` names, or nothing.
std::string config_file(const std::vector<std::string>& words) {
  const std::string name = kConfig;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with(name + "=")) return words[i].substr(name.size() + 1);
    if (words[i] == name && i + 1 < words.size()) return words[i + 1];
  }
  return "";
}

// What to say where words end above a command, or go on with one that is not known.
[[noreturn]] void refuse_command(const CLI::App& above, const std::vector<std::string>& words, std::size_t used) {
  const auto names = names_of(shown_commands(above));
  const std::string path = command_path(above);
  const std::string before = path.empty() ? "" : path + ": ";
  const bool option = used < words.size() && words[used].starts_with("-");
  if (option) {
    for (std::size_t i = used + 1; i < words.size(); ++i) {  // `bench --op knn run`
      if (std::find(names.begin(), names.end(), words[i]) == names.end()) continue;
      throw Failure(kMisuse, fmt::format("{}options stand behind the command: scalelab {}{}{} {} ...", before, path,
                                         path.empty() ? "" : " ", words[i], words[used]));
    }
  }
  if (used == words.size() || option) {
    throw Failure(kMisuse,
                  fmt::format("{}a command is missing{}; see {}", before,
                              path.empty() ? "" : ": " + fmt::format("{}", fmt::join(names, ", ")), help_of(above)));
  }
  throw Failure(kMisuse, fmt::format("{}'{}' is no command{}; see {}", before, words[used],
                                     suggestion(words[used], names), help_of(above)));
}

// "; it belongs to bench run and bench compare": the commands beside this one that take the option.
std::string belongs_to(const CLI::App& app, const std::string& option) {
  const CLI::App* above = app.get_parent();
  std::vector<std::string> paths;
  if (above->get_parent() == nullptr) return "";  // an option's name may mean something else in another command
  for (const CLI::App* one : shown_commands(*above)) {
    const auto names = option_names(*one);
    if (std::find(names.begin(), names.end(), option) != names.end()) paths.push_back(command_path(*one));
  }
  return paths.empty() ? "" : "; it belongs to " + listed(paths);
}

}  // namespace

std::string command_path(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "";
  const std::string above = command_path(*app.get_parent());
  return above.empty() ? app.get_name() : above + " " + app.get_name();
}

std::vector<const CLI::App*> shown_commands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

const CLI::App& command_named(const CLI::App& program, const std::vector<std::string>& words, std::size_t& used) {
  const CLI::App* app = &program;
  for (used = 0; used < words.size(); ++used) {
    const auto named = app->get_subcommands([&](const CLI::App* one) { return one->get_name() == words[used]; });
    if (named.empty()) break;
    app = named.front();
  }
  return *app;
}

const CLI::App& parse(CLI::App& program, std::vector<std::string> words) {
  std::size_t used = 0;
  const CLI::App& app = command_named(program, words, used);
  const std::vector<std::string> no_command = {"-h", "--help", "--version"};
  const bool asks =
      used < words.size() && std::find(no_command.begin(), no_command.end(), words[used]) != no_command.end();
  const bool above_commands = !app.get_subcommands(nullptr).empty();
  if (above_commands && !asks) refuse_command(app, words, used);
  if (const std::string file = config_file(words); !file.empty() && !above_commands) {
    const auto more = config_words(file, app, words);
    words.insert(words.end(), more.begin(), more.end());
  }
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
    program.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    throw;
  } catch (const CLI::CallForVersion&) {
    throw;
  } catch (const CLI::ParseError& error) {
    const auto extras = program.remaining(true);
    if (extras.empty()) throw Failure(kMisuse, fmt::format("{}; see {}", error.what(), help_of(app)));
    const std::string word = extras.front().substr(0, extras.front().find('='));
    const std::string elsewhere = belongs_to(app, word);
    throw Failure(kMisuse,
                  fmt::format("{} is not known{}; see {}", word,
                              elsewhere.empty() ? suggestion(word, option_names(app)) : elsewhere, help_of(app)));
  }
  return app;
}

}  // namespace scalelab::host
