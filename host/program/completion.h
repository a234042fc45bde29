// completion: what a shell offers where a command line stands, from the same commands and options as the help.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace scalelab::host {

struct Offer {
  std::string word, what;  // and its description, which may be empty
};

// What may stand in place of the last of `words`, of which so much is typed: a command, an option of the command that
// is typed, or a word that an option takes. `words` are those behind the program's name, one at least. Nothing where
// only a file's name or a number fits.
std::vector<Offer> offers(const CLI::App& program, std::vector<std::string> words);

// The shells that completion_script knows: the scripts ask `scalelab complete -- WORDS`, which prints the offers, a line
// each, the description behind a tab.
inline const std::vector<std::string> kShells = {"bash", "zsh", "fish"};
std::string completion_script(const std::string& shell);

}  // namespace scalelab::host
