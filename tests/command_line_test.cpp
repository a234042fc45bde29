// The command line as people meet it: the help of every command, and what is made from the same commands and options:
// completions for shells, and the manual page.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "host/lab/lottery.h"
#include "host/lab/visit_order.h"
#include "tests/program.h"

namespace scalelab::host {
namespace {

class CommandLine : public Program {
 protected:
  // The commands that a help lists: {"bench"}, and {"bench", "run"}, ... in the help of "bench".
  std::vector<Words> commands_in(const std::string& help, const Words& above) const {
    const std::set<std::string> titles = {
        "Your own data:", "Experiments:", "This machine, this program:", "Subcommands:"};
    std::vector<Words> commands;
    std::istringstream lines(help);
    bool inside = false;
    for (std::string line; std::getline(lines, line);) {
      inside = titles.contains(line) || (inside && !line.empty());
      // Neither a title nor how a description goes on.
      if (!inside || !line.starts_with("  ") || line.starts_with("   ")) continue;
      commands.push_back(above);
      commands.back().push_back(line.substr(2, line.find(' ', 2) - 2));
    }
    return commands;
  }
  // Every command that a help lists, from the program's own on down, and its help.
  std::vector<std::pair<Words, std::string>> helps() const {
    std::vector<std::pair<Words, std::string>> list = {{{}, good({"--help"})}};
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (const Words& command : commands_in(list[i].second, list[i].first)) {
        Words words = {"help"};
        words.insert(words.end(), command.begin(), command.end());
        list.emplace_back(command, good(words));
      }
    }
    return list;
  }
  // The names of options that a help shows: "--op", "-o".
  static std::set<std::string> options_in(const std::string& help) {
    std::set<std::string> names;
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  -")) continue;
      std::istringstream words(line);
      for (std::string word; words >> word && word.starts_with("-");) names.insert(word);
    }
    return names;
  }
  // The options of a help, each in one line: "--op {knn,grid} Cases of this op [all]".
  static std::vector<std::string> entries_in(const std::string& help) {
    std::vector<std::string> entries;
    std::istringstream lines(help);
    bool inside = false;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("  -")) entries.emplace_back();
      inside = line.starts_with("  -") || (inside && line.starts_with("    "));
      std::istringstream words(inside ? line : "");
      for (std::string word; words >> word;) entries.back() += (entries.back().empty() ? "" : " ") + word;
    }
    return entries;
  }
  static std::string entry_of(const std::string& help, const std::string& option) {
    for (const std::string& entry : entries_in(help)) {
      if (entry.starts_with(option + " ")) return entry;
    }
    return "";
  }
  // The words that are offered in place of the last of `words`.
  std::set<std::string> offered(Words words) const {
    words.insert(words.begin(), {"complete", "--"});
    std::set<std::string> offers;
    std::istringstream lines(good(words));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_NE(line.find('\t'), std::string::npos) << line;
      offers.insert(line.substr(0, line.find('\t')));
    }
    return offers;
  }
};
using Set = std::set<std::string>;

TEST_F(CommandLine, EveryHelpIsWholeAndFitsAHundredColumns) {
  const auto all = helps();
  EXPECT_GE(all.size(), 20U);  // the program, fourteen commands and more, five of bench
  for (const char* word : {"dataset", "boundary", "knn", "kmeans", "info", "Exit codes", "out of memory"}) {
    EXPECT_NE(all[0].second.find(word), std::string::npos) << word;
  }
  for (const auto& [command, text] : all) {
    const std::string name = testing::PrintToString(command);
    std::istringstream each(text);
    for (std::string line; std::getline(each, line);) EXPECT_LE(line.size(), 100U) << name << ": " << line;
    Words asked = command;
    asked.emplace_back("--help");
    EXPECT_EQ(good(asked), text);
    Words wanted = {"Example", "  scalelab "};
    if (commands_in(text, command).empty()) {
      wanted.insert(wanted.end(), {"--seed", "--backend", "--device", "--threads", "--json", "--quiet", "--config",
                                   "Every command:"});
    }
    for (const std::string& word : wanted) EXPECT_NE(text.find(word), std::string::npos) << name << " lacks " << word;
    // Exit codes stand in the program's own help alone, and no default is a number that nobody would give.
    for (const char* unwanted : {"Exit codes", "[-1]", " -1", "[[]]"}) {
      if (command.empty() && unwanted == std::string("Exit codes")) continue;
      EXPECT_EQ(text.find(unwanted), std::string::npos) << name << " shows " << unwanted;
    }
  }
  EXPECT_EQ(good({"--version"}).rfind("scalelab ", 0), 0U);
}

// A number that stands for "none" or "decide yourself" is not what anybody would give: it is no default to show.
TEST_F(CommandLine, NoDefaultStandsForNone) {
  for (const auto& [command, text] : helps()) {
    for (const std::string& entry : entries_in(text)) {
      const bool nothing = std::regex_search(entry, std::regex(" 0: (none|not|no |as many|without|what)"));
      EXPECT_FALSE(nothing && entry.ends_with(" [0]")) << testing::PrintToString(command) << ": " << entry;
    }
  }
  for (const auto& [command, option] : {std::pair{"theory", "--wrong-angle"},
                                        {"lottery", "--density-points"},
                                        {"compare", "--density-points"},
                                        {"slurm", "--cpus-per-task"}}) {
    EXPECT_FALSE(entry_of(good({command, "--help"}), option).ends_with("[0]")) << command << " " << option;
  }
}

TEST_F(CommandLine, SizesTimesListsAndPartsSaySo) {
  for (const auto& [command, entry] : {std::pair{"knn", "--max-mem SIZE"},
                                       {"bench cost", "--max-mem SIZE"},
                                       {"kmeans", "--checkpoint-every TIME"},
                                       {"slurm", "--time TIME"},
                                       {"info", "--time-budget TIME"},
                                       {"info", "--device LIST or {all}"},
                                       {"boundary", "--extent LIST"},
                                       {"prune-study", "--keep LIST"},
                                       {"theory", "--keep LIST"},
                                       {"bench run", "--axis NAME=LIST"},
                                       {"bench show", "--filter LIST"},
                                       {"knn", "--shard I/N"},
                                       {"prune", "--shard I/N"},
                                       {"sweep", "--shard I/N"}}) {
    Words words = {"help"};
    std::istringstream parts(command);
    for (std::string part; parts >> part;) words.push_back(part);
    EXPECT_NE(good(words).find(std::string("\n  ") + entry), std::string::npos) << command << ": " << entry;
  }
  EXPECT_TRUE(entry_of(good({"kmeans", "--help"}), "--checkpoint-every").ends_with("[10s]"));
}

TEST_F(CommandLine, ManyOptionsStandInGroups) {
  for (const auto& [command, text] : helps()) {
    const std::size_t begin = text.find("\nOptions:\n");
    if (begin == std::string::npos) continue;
    const std::string flat = text.substr(begin, text.find("\n\n", begin) - begin);
    EXPECT_LE(entries_in(flat).size(), 7U) << testing::PrintToString(command) << flat;
  }
}

// What a help names it explains, and it names nothing that the command refuses.
TEST_F(CommandLine, HelpDefinesItsTerms) {
  const auto defines = [&](const char* command, const std::vector<std::string>& terms) {
    const std::string text = good({command, "--help"});
    for (const std::string& term : terms) {
      EXPECT_NE(text.find("\n  " + term + "  "), std::string::npos) << command << " does not define " << term;
    }
    return text;
  };
  const std::vector<std::string> scores = {"margin", "boundary", "kmeans", "el2n", "forgetting", "ddd"};
  const std::vector<std::string> orders{kVisitOrders.begin(), kVisitOrders.end()};
  const std::vector<std::string> tickets{kTicketKinds.begin(), kTicketKinds.end()};
  for (const char* command : {"prune-study", "curriculum", "sweep"}) defines(command, scores);
  for (const char* command : {"curriculum", "sweep"}) defines(command, orders);
  for (const char* command : {"lottery", "sweep"}) defines(command, tickets);
  for (const char* command : {"compare", "prune-study", "sweep"}) defines(command, {"knn-K", "mlp-xy"});
  for (const char* command : {"lottery", "curriculum"}) {
    EXPECT_EQ(defines(command, {"mlp-xy"}).find("knn-"), std::string::npos) << command;
  }
}

TEST_F(CommandLine, CompletionKnowsEveryCommandAndOption) {
  for (const auto& [command, text] : helps()) {
    const std::string name = testing::PrintToString(command);
    Words words = command;
    words.emplace_back("-");
    EXPECT_EQ(offered(words), options_in(text)) << name;
    const auto below = commands_in(text, command);
    if (below.empty()) continue;
    Set commands = command.empty() ? Set{"help"} : Set{};
    for (const Words& one : below) commands.insert(one.back());
    words.back() = "";
    EXPECT_EQ(offered(words), commands) << name;
  }
}

TEST_F(CommandLine, CompletionKnowsTheWordsOfAnOption) {
  EXPECT_EQ(offered({"ben"}), Set{"bench"});
  EXPECT_EQ(offered({"help", "bench", "c"}), (Set{"compare", "cost"}));
  EXPECT_EQ(offered({"bench", "run", "--clock", ""}), (Set{"cpu", "wall"}));
  EXPECT_EQ(offered({"bench", "run", "--clock", "w"}), Set{"wall"});
  EXPECT_EQ(offered({"bench", "run", "--clock=w"}), Set{"--clock=wall"});
  EXPECT_EQ(offered({"bench", "run", "--clock", "=", "w"}), Set{"wall"});  // as bash takes it apart
  EXPECT_EQ(offered({"bench", "run", "--clock", "="}), (Set{"cpu", "wall"}));
  EXPECT_EQ(offered({"prune-study", "--features", "input,"}), Set{"input,hidden"});
  EXPECT_EQ(offered({"completion", ""}), (Set{"bash", "fish", "zsh"}));
  EXPECT_EQ(offered({"bench", "run", "--peers", "--cl"}), Set{"--clock"});
  // Only a file or a number fits.
  for (const Words& words :
       {Words{"knn", "--data", ""}, {"knn", "-k", ""}, {"bench", "show", ""}, {"no", "such", ""}}) {
    EXPECT_TRUE(offered(words).empty()) << testing::PrintToString(words);
  }
}

// The script in a real bash; the other two only ask the same question.
TEST_F(CommandLine, BashOffersWhatTheProgramSays) {
  write_text(folder_ / "scalelab.bash", good({"completion", "bash"}));
  write_text(folder_ / "ask.bash",
             std::string("source ./scalelab.bash\nCOMP_WORDS=(") + test::program() +
                 " bench compare --cl)\nCOMP_CWORD=3\n_scalelab\nprintf '%s,' \"${COMPREPLY[@]}\"\n"
                 "COMP_WORDS=(" +
                 test::program() +
                 " bench run --clock '')\nCOMP_CWORD=4\n_scalelab\nprintf '%s,' \"${COMPREPLY[@]}\"\n"
                 "complete -p scalelab\n");
  const std::string line = "cd '" + folder_.string() + "' && bash ask.bash > answer";
  ASSERT_EQ(std::system(line.c_str()), 0);
  EXPECT_EQ(read_file(folder_ / "answer"), "--clock,wall,cpu,complete -o default -F _scalelab scalelab\n");
  for (const char* shell : {"zsh", "fish"}) {
    EXPECT_NE(good({"completion", shell}).find("complete -- "), std::string::npos) << shell;
  }
  bad({"completion", "csh"}, 2, "'csh' is none of bash, zsh, fish");
}

TEST_F(CommandLine, TheManualHasEveryCommandAndOption) {
  const std::string page = good({"help", "--man"});
  std::string plain = std::regex_replace(page, std::regex(R"(\\-)"), "-");
  EXPECT_TRUE(plain.starts_with(".TH SCALELAB 1 "));
  for (const auto& [command, text] : helps()) {
    if (command.empty() || !commands_in(text, command).empty()) continue;
    std::string heading = "\n.SS scalelab";
    for (const std::string& word : command) heading += " " + word;
    const std::size_t begin = plain.find(heading);
    ASSERT_NE(begin, std::string::npos) << heading;
    const std::string section = plain.substr(begin, plain.find("\n.S", begin + 1) - begin);
    for (const std::string& option : options_in(text.substr(0, text.find("Every command:")))) {
      EXPECT_NE(section.find("\\fB" + option + "\\fR"), std::string::npos) << heading << " lacks " << option;
    }
  }
  for (const char* heading : {"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "FILES", "ENVIRONMENT", "EXIT STATUS"}) {
    EXPECT_NE(plain.find(std::string("\n.SH ") + heading + "\n"), std::string::npos) << heading;
  }
  // No text is taken for a request.
  const Set known = {"TH", "SH", "SS", "TP", "PP", "B", "I", "br", "nf", "fi", "ft", "nh", "ad"};
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(".")) continue;
    EXPECT_TRUE(known.contains(line.substr(1, line.find(' ') - 1))) << line;
  }
}

}  // namespace
}  // namespace scalelab::host
