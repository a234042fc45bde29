#include "host/program/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "host/program/command_line.h"
#include "host/program/help.h"
#include "host/program/words.h"

namespace scalelab::host {

namespace {

// The words that an option knows: those in the braces of its type.
std::vector<std::string> known_words(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  return split(std::string_view(type).substr(open + 1, close - open - 1));
}

// The option of a command that has this name, "--op" or "-o"; null where none has.
const CLI::Option* option_named(const CLI::App& app, const std::string& name) {
  for (const CLI::Option* option : app.get_options()) {
    if (name.starts_with("-") && option->check_name(name)) return option;
  }
  return nullptr;
}

// Words of an option, each behind `before`. The items of a list that are typed already stay, and come once.
std::vector<Offer> offers_of(const CLI::Option& option, std::string before, const std::string& typed) {
  const std::size_t comma = option.get_type_name().starts_with("LIST") ? typed.rfind(',') : std::string::npos;
  if (comma != std::string::npos) before += typed.substr(0, comma + 1);
  const auto items = split(std::string_view(typed).substr(0, comma == std::string::npos ? 0 : comma));
  std::vector<Offer> list;
  for (const std::string& word : known_words(option)) {
    if (std::find(items.begin(), items.end(), word) == items.end()) list.push_back({before + word, ""});
  }
  return list;
}

std::vector<Offer> offers_of_options(const CLI::App& app) {
  std::vector<Offer> list;
  for (const std::string& group : groups_of(app)) {
    for (const CLI::Option* option : options_of(app, group)) {
      for (const auto& name : option->get_snames()) list.push_back({"-" + name, option->get_description()});
      for (const auto& name : option->get_lnames()) list.push_back({"--" + name, option->get_description()});
    }
  }
  return list;
}

std::vector<Offer> offers_of_commands(const CLI::App& app) {
  std::vector<Offer> list;
  for (const CLI::App* command : shown_commands(app)) list.push_back({command->get_name(), command->get_description()});
  if (app.get_parent() == nullptr) list.push_back({"help", "The options of a command"});
  return list;
}

// bash takes `--clock=wall` apart into three words.
void join_at_equals(std::vector<std::string>& words) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "=" || !words[i - 1].starts_with("--")) continue;
    if (i + 1 == words.size()) words.emplace_back();
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

constexpr const char* kBash = R"END(# Completion of scalelab in bash: the program itself says what fits.
_scalelab() {
  local word
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    [ -z "$word" ] || COMPREPLY+=("$word")
  done <<<"$("${COMP_WORDS[0]/#\~/$HOME}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
}
complete -o default -F _scalelab scalelab
)END";

constexpr const char* kZsh = R"(#compdef scalelab
# Completion of scalelab in zsh: the program itself says what fits.
_scalelab() {
  local word what
  local -a offers
  while IFS=$'\t' read -r word what; do
    offers+=("${word//:/\\:}${what:+:$what}")
  done < <("${(Q)words[1]/#\~/$HOME}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
  if (( $#offers )); then
    _describe scalelab offers
  else
    _files
  fi
}
if [ "$funcstack[1]" = _scalelab ]; then
  _scalelab "$@"
else
  compdef _scalelab scalelab
fi
)";

constexpr const char* kFish = R"(# Completion of scalelab in fish: the program itself says what fits.
function __scalelab_offers
    set -l words (commandline -opc) (commandline -ct)
    $words[1] complete -- $words[2..-1] 2>/dev/null
end
complete -c scalelab -n '__scalelab_offers | string length -q' -f -a '(__scalelab_offers)'
)";

}  // namespace

std::vector<Offer> offers(const CLI::App& program, std::vector<std::string> words) {
  join_at_equals(words);
  std::string typed = words.back();
  words.pop_back();
  if (!words.empty() && words[0] == "help") words.erase(words.begin());
  std::size_t used = 0;
  const CLI::App& app = command_named(program, words, used);
  const std::size_t equals = typed.starts_with("--") ? typed.find('=') : std::string::npos;
  const CLI::Option* before = words.size() > used ? option_named(app, words.back()) : nullptr;

  std::vector<Offer> list;
  if (equals != std::string::npos) {  // --clock=w
    const CLI::Option* option = option_named(app, typed.substr(0, equals));
    if (option != nullptr) list = offers_of(*option, typed.substr(0, equals + 1), typed.substr(equals + 1));
  } else if (before != nullptr && !type_of(*before).empty()) {  // --clock w
    list = offers_of(*before, "", typed);
  } else if (typed.starts_with("-")) {
    list = offers_of_options(app);
  } else if (used == words.size() && !shown_commands(app).empty()) {
    list = offers_of_commands(app);
  } else if (const auto positionals = positionals_of(app); !positionals.empty()) {
    list = offers_of(*positionals.front(), "", typed);
  }
  std::erase_if(list, [&](const Offer& offer) { return !offer.word.starts_with(typed); });
  return list;
}

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return kBash;
  return shell == "zsh" ? kZsh : kFish;
}

}  // namespace scalelab::host
