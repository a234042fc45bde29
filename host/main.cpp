// main: from the command line to a backend to a command, and the only place that prints.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/pages/page.h"
#include "host/program/command.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/help.h"
#include "host/program/options.h"
#include "host/program/signals.h"
#include "host/studies/story.h"
#include "host/studies/study.h"

namespace scalelab::host {

// Every command of the program: each adds its subcommand and options, in the file that is named.
Command add_boundary(CLI::App& program);     // own_data/boundary.cpp
Command add_knn(CLI::App& program);          // own_data/knn.cpp
Command add_kmeans(CLI::App& program);       // own_data/kmeans.cpp
Command add_prune(CLI::App& program);        // own_data/prune.cpp
Command add_compare(CLI::App& program);      // studies/compare.cpp
Command add_prune_study(CLI::App& program);  // studies/prune_study.cpp
Command add_theory(CLI::App& program);       // studies/theory.cpp
Command add_curriculum(CLI::App& program);   // studies/curriculum.cpp
Command add_lottery(CLI::App& program);      // studies/lottery_study.cpp
Command add_sweep(CLI::App& program);        // studies/sweep_study.cpp
Command add_story(CLI::App& program);        // studies/story.cpp
Command add_dataset(CLI::App& program);      // data/dataset_command.cpp
Command add_info(CLI::App& program);         // program/info.cpp
}  // namespace scalelab::host
namespace scalelab::bench {
host::Command add_bench(CLI::App& program);  // bench/command.cpp
}

namespace scalelab::host {
namespace {

constexpr const char* kExitCodes =
    "Exit codes:\n"
    "  0  done                          70  a fault of the program or the device\n"
    "  1  finished, some points failed  71  out of memory\n"
    "  2  misuse of an option           74  output cannot be written\n"
    "  3  bad data                      75  stopped early by a signal, resumable\n"
    "  4  the backend is absent         128 + n  stopped by signal n (130 SIGINT, 143 SIGTERM)\n"
    "  5  a check failed\n"
    "  69 a prerequisite is missing\n";

// Number of single-character edits (insert, delete, replace) between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// "; did you mean X?", or nothing when no name is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& names) {
  if (word.size() < 3) return "";  // anything is near to -d
  std::size_t best = 3;
  const std::string* nearest = nullptr;
  for (const auto& name : names) {
    const std::size_t distance = edit_distance(word, name);
    if (distance < best) {
      best = distance;
      nearest = &name;
    }
  }
  // Else one that ends in the same word: --layers, --hidden-layers.
  const std::size_t stem = word.find_first_not_of('-');
  for (std::size_t i = 0; i < names.size() && nearest == nullptr && stem != std::string::npos; ++i) {
    if (names[i].ends_with("-" + word.substr(stem))) nearest = &names[i];
  }
  return nearest == nullptr ? "" : fmt::format("; did you mean {}?", *nearest);
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

void add_common_options(CLI::App& app, Common& common) {
  const char* const group = "Every command";
  app.add_option("--seed", common.seed, "Seed of all that is random but for what --seeds repeats")
      ->check(whole_number(0, UINT64_MAX))
      ->group(group);
  app.add_option("--backend", common.backend, "Where to compute: auto, cpu or cuda")
      ->check([](const std::string& text) {
        const bool known = text == "auto" || text == "cpu" || text == "cuda";
        return known ? std::string() : fmt::format("'{}' is not auto, cpu or cuda", text);
      })
      ->group(group);
  app.add_option("--device", common.device, "Which GPU, counted from 0")->check(whole_number(0, 1023))->group(group);
  app.add_option("--threads", common.threads, "CPU threads; all where it is not given")
      ->check(whole_number(0, 1024))
      ->default_str("")
      ->group(group);
  app.add_flag("--json", common.json, "Print one JSON document and nothing else")->group(group);
  app.add_flag("--quiet", common.quiet, "No progress on stderr")->group(group);
}

// The options of a JSON file as command-line arguments, but for those that the command line gives itself.
std::vector<std::string> config_arguments(const std::string& file, const CLI::App& app,
                                          const std::vector<std::string>& given) {
  std::ifstream input(file);
  if (!input) throw Failure(kMisuse, fmt::format("--config: {}: cannot be read", file));
  const auto config = nlohmann::json::parse(input, nullptr, false);
  if (!config.is_object()) {
    throw Failure(kMisuse, fmt::format("--config: {}: is not a JSON object of options, as {{\"k\": 5}}", file));
  }
  std::vector<std::string> names = option_names(app), arguments;
  names.erase(std::remove_if(names.begin(), names.end(),
                             [](const std::string& name) { return name == "--config" || name == "--help"; }),
              names.end());
  for (const auto& [key, value] : config.items()) {
    const std::string name = "--" + key;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw Failure(kMisuse, fmt::format("--config: {}: '{}' is no option of {}{}", file, key, app.get_name(),
                                         suggestion(name, names)));
    }
    const auto gives = [&](const std::string& word) { return word == name || word.rfind(name + "=", 0) == 0; };
    if (std::any_of(given.begin(), given.end(), gives)) continue;
    const bool flag = app.get_option(name)->get_expected_max() == 0;
    std::string text;
    bool fits = !flag;
    if (value.is_boolean()) {
      fits = flag;
    } else if (value.is_string()) {
      text = value.get<std::string>();
    } else if (value.is_number()) {
      text = value.dump();
    } else if (value.is_array()) {
      for (const auto& item : value) {
        fits = fits && (item.is_string() || item.is_number());
        text += (text.empty() ? "" : ",") + (item.is_string() ? item.get<std::string>() : item.dump());
      }
    } else {
      fits = false;
    }
    if (!fits) {
      throw Failure(kMisuse, fmt::format("--config: {}: '{}' must be {}", file, key,
                                         flag ? "true or false" : "a number, a text or a list of them"));
    }
    if (!flag) arguments.push_back(name + "=" + text);
    if (flag && value.get<bool>()) arguments.push_back(name);
  }
  return arguments;
}

// Standard output, unbuffered so that every failure shows.
void print(const std::string& text) {
  OutputFile output("-");
  output.write(text);
  output.commit();
}

int run(std::vector<std::string> arguments) {
  CLI::App program("scalelab: what data and scale are worth, measured exactly.", "scalelab");
  program.option_defaults()->always_capture_default();
  program.set_help_flag("-h,--help", "Print this help and exit");
  program.set_version_flag("--version", std::string("scalelab ") + kVersion, "Print the version and exit");
  program.formatter(help_formatter());
  program.require_subcommand(1);
  program.footer(std::string("scalelab help COMMAND, or scalelab COMMAND --help: its options.\n\n") + kExitCodes);

  if (!arguments.empty() && arguments[0] == "help") {  // help CMD: CMD --help
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }

  Common common;
  std::string config;
  std::vector<Command> commands;
  commands.push_back(add_compare(program));
  commands.push_back(add_dataset(program));
  commands.push_back(add_boundary(program));
  commands.push_back(add_knn(program));
  commands.push_back(add_kmeans(program));
  commands.push_back(add_theory(program));
  commands.push_back(add_curriculum(program));
  commands.push_back(add_lottery(program));
  commands.push_back(add_sweep(program));
  commands.push_back(add_prune(program));
  commands.push_back(add_prune_study(program));
  commands.push_back(bench::add_bench(program));
  commands.push_back(add_show(program));
  commands.push_back(add_story(program));
  commands.push_back(add_info(program));
  std::vector<std::string> names;
  const Command* chosen = nullptr;
  for (const Command& command : commands) {
    add_common_options(*command.app, common);
    command.app->add_option("--config", config, "Options from a JSON file; what the command line gives itself counts")
        ->group("Every command");
    command.app->get_help_ptr()->group("Every command");
    names.push_back(command.app->get_name());
    if (!arguments.empty() && arguments[0] == names.back()) chosen = &command;
  }
  if (arguments.empty()) throw Failure(kMisuse, "a command is missing; see scalelab --help");
  if (chosen == nullptr && arguments[0] != "--help" && arguments[0] != "-h" && arguments[0] != "--version") {
    throw Failure(kMisuse, fmt::format("'{}' is no command{}; see scalelab --help", arguments[0],
                                       suggestion(arguments[0], names)));
  }
  const std::string help = chosen == nullptr ? "scalelab --help" : "scalelab " + arguments[0] + " --help";
  const CLI::App& asked = chosen == nullptr ? program : *chosen->app;
  if (chosen != nullptr) {
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      std::string file;
      if (arguments[i].rfind("--config=", 0) == 0) file = arguments[i].substr(9);
      if (arguments[i] == "--config" && i + 1 < arguments.size()) file = arguments[i + 1];
      if (file.empty()) continue;
      const auto more = config_arguments(file, *chosen->app, arguments);
      arguments.insert(arguments.end(), more.begin(), more.end());
      break;
    }
  }
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
    program.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    print(program.help());
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    print(std::string(version.what()) + "\n");
    return kDone;
  } catch (const CLI::ParseError& error) {
    const auto extras = program.remaining(true);
    if (extras.empty()) throw Failure(kMisuse, fmt::format("{}; see {}", error.what(), help));
    const std::string word = extras.front().substr(0, extras.front().find('='));
    throw Failure(kMisuse, fmt::format("{} is not known{}; see {}", word, suggestion(word, option_names(asked)), help));
  }

  std::string why_not;
  const Backend* cuda = cuda_backend(&why_not);
  Needs needs;
  if (cuda != nullptr && common.backend != "cpu" && chosen->needs) needs = chosen->needs();
  const bool weighed = cuda != nullptr && common.backend == "auto" && !needs.parts.empty();
  const Crossovers crossovers =
      weighed ? read_crossovers(crossover_file(), contest_of(*cuda, common.device, common.threads)) : Crossovers{};
  const Choice choice = weighed ? choose_backend(common.backend, needs, cuda, why_not, crossovers.rows)
                                : choose_backend(common.backend, needs, cuda, why_not);
  Progress progress(common.quiet);
  if (!choice.reason.empty()) progress.remark("scalelab: " + choice.reason);
  Outcome outcome = run_where_it_fits(
      common.backend, *choice.backend, needs,
      [&](const Backend& backend) {
        Context context(backend, common.device, common.threads);
        Session session{common, context, progress};
        const Stage stage(session, chosen->app->get_name());
        return chosen->run(session);
      },
      [&progress](const std::string& line) { progress.say(line); });
  progress.clear();
  if (outcome.page != nullptr && !outcome.folder.empty()) {
    write_page(outcome.folder, *outcome.page);
    outcome.text += (outcome.folder / "report.html").string() + "\n";
  }
  print(common.json ? json_text(outcome.document) : outcome.text);
  return outcome.exit_code;
}

int complain(int exit_code, std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "scalelab: %s\n", line.c_str());
  return exit_code;
}

}  // namespace
}  // namespace scalelab::host

int main(int argc, char** argv) {
  using namespace scalelab;
  using namespace scalelab::host;
  catch_signals();
  try {
    set_command_line({argv, argv + argc});
    return run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (const Failure& failure) {
    return complain(failure.exit_code, failure.what());
  } catch (const Interrupted& interrupted) {
    return complain(128 + interrupted.signal, "stopped by a signal; nothing half-done was left");
  } catch (const ReaderGone&) {
    return kDone;
  } catch (const std::invalid_argument& error) {
    return complain(kMisuse, error.what());
  } catch (const OutOfMemory& error) {
    return complain(kOutOfMemory, error.what());
  } catch (const std::bad_alloc&) {
    return complain(kOutOfMemory, "out of memory; ask for less (a smaller grid, fewer points) or use a larger machine");
  } catch (const std::length_error&) {
    return complain(kOutOfMemory, "more was asked for than memory can be addressed; ask for less");
  } catch (const std::exception& error) {
    return complain(kFault, error.what());
  }
}
