// main: from the command line to a backend to a command, and the only place that prints.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "host/pages/page.h"
#include "host/program/command.h"
#include "host/program/command_line.h"
#include "host/program/completion.h"
#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/help.h"
#include "host/program/manual.h"
#include "host/program/options.h"
#include "host/program/signals.h"
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
Command add_curriculum(CLI::App& program);   // studies/order_study.cpp
Command add_xor(CLI::App& program);          // studies/xor_study.cpp
Command add_lottery(CLI::App& program);      // studies/lottery_study.cpp
Command add_sweep(CLI::App& program);        // studies/sweep_study.cpp
Command add_story(CLI::App& program);        // studies/story.cpp
Command add_dataset(CLI::App& program);      // data/dataset_command.cpp
Command add_info(CLI::App& program);         // program/info.cpp
}  // namespace scalelab::host
namespace scalelab::bench {
std::vector<host::Command> add_bench(CLI::App& program);  // bench/command.cpp
}

namespace scalelab::host {
namespace {

constexpr const char* kExitCodes =
    "  0  done                          70  a fault of the program or the device\n"
    "  1  finished, some points failed  71  out of memory\n"
    "  2  misuse of an option           74  output cannot be written\n"
    "  3  bad data                      75  stopped early by a signal, resumable\n"
    "  4  the backend is absent         128 + n  stopped by signal n (130 SIGINT, 143 SIGTERM)\n"
    "  5  a check failed\n"
    "  69 a prerequisite is missing\n";

void add_common_options(CLI::App& app, Common& common) {
  const char* const group = kEveryCommand;
  app.add_option("--seed", common.seed, "Seed of all that is random but for what --seeds repeats")
      ->check(whole_number(0, UINT64_MAX))
      ->group(group);
  app.add_option("--backend", common.backend, "Where to compute")->check(one_of({"auto", "cpu", "cuda"}))->group(group);
  app.add_option("--device", common.device, "Which GPU, counted from 0")->check(whole_number(0, 1023))->group(group);
  app.add_option("--threads", common.threads, "CPU threads; all where it is not given")
      ->check(whole_number(0, 1024))
      ->default_str("")
      ->group(group);
  app.add_flag("--json", common.json, "Print one JSON document and nothing else")->group(group);
  app.add_flag("--quiet", common.quiet, "No progress on stderr")->group(group);
  app.add_option(kConfig, "Options from a JSON file; what the command line gives itself counts")
      ->type_name("FILE")
      ->group(group);
}

// Standard output, unbuffered so that every failure shows.
void print(const std::string& text) {
  OutputFile output("-");
  output.write(text);
  output.commit();
}

// A file of any length to standard output.
void print_file(const std::filesystem::path& file) {
  std::ifstream input(file, std::ios::binary);
  OutputFile output("-");
  std::string piece(std::size_t{1} << 20, '\0');
  while (input.read(piece.data(), std::ssize(piece)) || input.gcount() > 0) {
    output.write(piece.data(), static_cast<std::size_t>(input.gcount()));
  }
  output.commit();
}

// What a shell reads to complete scalelab's command lines.
Command add_completion(CLI::App& program) {
  auto shell = std::make_shared<std::string>();
  CLI::App* app = program.add_subcommand("completion", "Prints what a shell reads to complete commands and options");
  app->add_option("shell", *shell, "bash, zsh or fish")->required()->check(one_of(kShells));
  add_notes(*app, {"eval \"$(scalelab completion bash)\"", "scalelab completion zsh > ~/.zfunc/_scalelab",
                   "scalelab completion fish > ~/.config/fish/completions/scalelab.fish"});
  return {app, [shell](Session&) -> Outcome {
            const std::string script = completion_script(*shell);
            return {{{"shell", *shell}, {"script", script}}, script, kDone};
          }};
}

// Every command with its options, those that all take among them.
std::vector<Command> add_commands(CLI::App& program, Common& common) {
  std::vector<Command> commands;
  const auto add = [&](const char* group, std::vector<Command> more) {
    for (Command& command : more) {
      CLI::App* top = command.app;
      while (top->get_parent() != &program) top = top->get_parent();
      top->group(group);
      commands.push_back(std::move(command));
    }
  };
  add("Your own data", {add_boundary(program), add_knn(program), add_kmeans(program), add_prune(program)});
  add("Experiments",
      {add_compare(program), add_prune_study(program), add_theory(program), add_curriculum(program), add_xor(program),
       add_lottery(program), add_sweep(program), add_story(program), add_show(program), add_dataset(program)});
  const char* const rest = "This machine, this program";
  add(rest, bench::add_bench(program));
  add(rest, {add_info(program), add_completion(program)});
  for (const Command& command : commands) {
    add_common_options(*command.app, common);
    command.app->get_help_ptr()->group(kEveryCommand);
  }
  return commands;
}

// Runs a command on the backend that its options, its work and this machine make out.
Outcome run_command(const Command& command, const Common& common, Progress& progress) {
  std::string why_not;
  const Backend* cuda = cuda_backend(&why_not);
  Needs needs;
  if (cuda != nullptr && common.backend != "cpu" && command.needs) needs = command.needs();
  const bool weighed = cuda != nullptr && common.backend == "auto" && !needs.parts.empty();
  const Crossovers crossovers =
      weighed ? read_crossovers(crossover_file(), contest_of(*cuda, common.device, common.threads)) : Crossovers{};
  const Choice choice = weighed ? choose_backend(common.backend, needs, cuda, why_not, crossovers.rows)
                                : choose_backend(common.backend, needs, cuda, why_not);
  if (!choice.reason.empty()) progress.remark("scalelab: " + choice.reason);
  return run_where_it_fits(
      common.backend, *choice.backend, needs,
      [&](const Backend& backend) {
        Context context(backend, common.device, common.threads);
        Session session{common, context, progress};
        const Stage stage(session, command_path(*command.app));
        return command.run(session);
      },
      [&progress](const std::string& line) { progress.say(line); });
}

int run(std::vector<std::string> words) {
  CLI::App program("scalelab: what data and scale are worth, measured exactly.", "scalelab");
  program.option_defaults()->always_capture_default();
  program.set_help_flag("-h,--help", "Print this help and exit");
  program.set_version_flag("--version", "scalelab " + kVersion, "Print the version and exit");
  program.formatter(help_formatter());
  program.require_subcommand(1);
  program.footer(std::string("scalelab help COMMAND, or scalelab COMMAND --help: its options.\n"
                             "scalelab help --man: all of them as a manual page, for man -l -.\n\nExit codes:\n") +
                 kExitCodes);
  Common common;
  const std::vector<Command> commands = add_commands(program, common);

  if (words == std::vector<std::string>{"help", "--man"}) {
    print(manual(program, kExitCodes));
    return kDone;
  }
  if (words.size() > 2 && words[0] == "complete" && words[1] == "--") {  // asked by a shell, never by people
    std::string lines;
    for (const auto& [word, what] : offers(program, {words.begin() + 2, words.end()}))
      lines += word + "\t" + what + "\n";
    print(lines);
    return kDone;
  }
  if (!words.empty() && words[0] == "help") {  // help CMD: CMD --help
    words.erase(words.begin());
    words.push_back("--help");
  }
  const CLI::App* chosen = nullptr;
  try {
    chosen = &parse(program, std::move(words));
  } catch (const CLI::CallForHelp&) {
    print(program.help());
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    print(std::string(version.what()) + "\n");
    return kDone;
  }
  const auto command =
      std::find_if(commands.begin(), commands.end(), [&](const Command& one) { return one.app == chosen; });
  Progress progress(common.quiet);
  Outcome outcome = run_command(*command, common, progress);
  progress.clear();
  if (outcome.page != nullptr && !outcome.folder.empty()) {
    write_page(outcome.folder, *outcome.page);
    outcome.text += (outcome.folder / "report.html").string() + "\n";
  }
  if (common.json && outcome.document.is_null()) {
    print_file(outcome.folder / "result.json");
  } else {
    print(common.json ? json_text(outcome.document) : outcome.text);
  }
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
    std::terminate();  // signals.cpp says it in a line: here there may be no memory left to make one
  } catch (const std::length_error&) {
    return complain(kOutOfMemory, "more was asked for than memory can be addressed; ask for less");
  } catch (const std::filesystem::filesystem_error& error) {  // as a name that is too long
    return complain(kBadData, error.path1().string() + ": cannot be reached: " + error.code().message());
  } catch (const nlohmann::json::exception& error) {  // only what is read from files can be of a type nobody expects
    return complain(
        kBadData,
        std::string("a JSON file that was read holds something other than scalelab writes there: ") + error.what());
  } catch (const std::exception& error) {
    return complain(kFault, error.what());
  }
}
