// main: from the command line to a backend to a command, and the only place that prints.
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <optional>
#include <sstream>
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
#include "host/program/ranks.h"
#include "host/program/signals.h"
#include "host/studies/study.h"
#include "scalelab/processors.h"

namespace scalelab::host {

// Every command of the program: each adds its subcommand and options, in the file that is named.
Command add_boundary(CLI::App& program);     // own_data/boundary.cpp
Command add_knn(CLI::App& program);          // own_data/knn.cpp
Command add_kmeans(CLI::App& program);       // own_data/kmeans.cpp
Command add_prune(CLI::App& program);        // own_data/prune.cpp
Command add_merge(CLI::App& program);        // own_data/merge.cpp
Command add_compare(CLI::App& program);      // studies/compare.cpp
Command add_prune_study(CLI::App& program);  // studies/prune_study.cpp
Command add_theory(CLI::App& program);       // studies/theory.cpp
Command add_curriculum(CLI::App& program);   // studies/order_study.cpp
Command add_xor(CLI::App& program);          // studies/xor_study.cpp
Command add_lottery(CLI::App& program);      // studies/lottery_study.cpp
Command add_sweep(CLI::App& program);        // studies/sweep_study.cpp
Command add_story(CLI::App& program);        // studies/story.cpp
Command add_slurm(CLI::App& program);        // studies/slurm.cpp
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

void add_common_options(CLI::App& app, Common& common, std::string& devices) {
  const char* const group = kEveryCommand;
  app.add_option("--seed", common.seed, "Seed of all that is random but for what --seeds repeats")
      ->check(whole_number(0, UINT64_MAX))
      ->group(group);
  app.add_option("--backend", common.backend, "Where to compute")->check(one_of({"auto", "cpu", "cuda"}))->group(group);
  add_list(app, "--device", devices, 0, 1023,
           "Which GPU, counted from 0; or several, as 0..2, or all of this machine, among which the work is divided",
           "all")
      ->group(group);
  app.add_option("--threads", common.threads, "CPU threads; all where it is not given")
      ->check(whole_number(0, 1024))
      ->default_str("")
      ->group(group);
  app.add_option("--time-budget", common.time_budget,
                 "Stop as a signal would after this time, as 55m: what can be resumed is left so")
      ->transform(duration())
      ->type_name("TIME")
      ->default_str("")
      ->group(group);
  app.add_flag("--json", common.json, "Print one JSON document and nothing else")->group(group);
  app.add_flag("--quiet", common.quiet, "No progress on stderr")->group(group);
  app.add_flag("--look", common.look, "Say on the page that it is a look and not a result")->group(group);
  app.add_flag("--in-story", common.in_story, "Lead back from the page to that of a story, in the folder above")
      ->group(group);
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
std::vector<Command> add_commands(CLI::App& program, Common& common, std::string& devices) {
  std::vector<Command> commands;
  const auto add = [&](const char* group, std::vector<Command> more) {
    for (Command& command : more) {
      CLI::App* top = command.app;
      while (top->get_parent() != &program) top = top->get_parent();
      top->group(group);
      commands.push_back(std::move(command));
    }
  };
  add("Your own data",
      {add_boundary(program), add_knn(program), add_kmeans(program), add_prune(program), add_merge(program)});
  add("Experiments", {add_compare(program), add_prune_study(program), add_theory(program), add_curriculum(program),
                      add_xor(program), add_lottery(program), add_sweep(program), add_slurm(program),
                      add_story(program), add_show(program), add_dataset(program)});
  const char* const rest = "This machine, this program";
  add(rest, bench::add_bench(program));
  add(rest, {add_info(program), add_completion(program)});
  for (const Command& command : commands) {
    add_common_options(*command.app, common, devices);
    command.app->get_help_ptr()->group(kEveryCommand);
  }
  return commands;
}

int complain(int exit_code, std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "scalelab: %s\n", line.c_str());
  return exit_code;
}

// The backend that a command's options, its work and this machine make out.
BackendChoice choose(const Command& command, const Common& common, Needs& needs) {
  std::string why_not;
  const Backend* cuda = cuda_backend(&why_not);
  if (cuda != nullptr && common.backend != "cpu" && command.needs) needs = command.needs();
  const bool weighed = cuda != nullptr && common.backend == "auto" && !needs.parts.empty();
  const Crossovers crossovers =
      weighed ? read_crossovers(crossover_file(), contest_of(*cuda, common.device(), common.threads)) : Crossovers{};
  return weighed ? choose_backend(common.backend, needs, cuda, why_not, crossovers.rows)
                 : choose_backend(common.backend, needs, cuda, why_not);
}

// Threads of the CPU for each of several devices; 0: all.
int threads_for_each(const Common& common) {
  const auto devices = static_cast<int>(common.devices.size());
  if (devices == 1) return common.threads;
  return std::max(1, (common.threads > 0 ? common.threads : default_threads().threads) / devices);
}

// One thread, which a command that has several devices adds some to (devices.h). The CPU is one device.
Outcome run_alone(const Command& command, const Common& common, Progress& progress) {
  Needs needs;
  const BackendChoice choice = choose(command, common, needs);
  if (!choice.reason.empty()) progress.remark("scalelab: " + choice.reason);
  return run_where_it_fits(
      common.backend, *choice.backend, needs,
      [&](const Backend& backend) {
        Common own = common;
        if (&backend == &cpu_backend()) own.devices = {0};
        Context context(backend, own.device(), threads_for_each(own));
        Session session{own, context, progress};
        const Stage stage(session, command_path(*command.app));
        return command.run(session);
      },
      [&progress](const std::string& line) { progress.say(line); });
}

// Each rank on a GPU of its own, where it runs on one. What fails on one rank alone ends the others, who wait for it.
// Nobody leaves before the first rank has said how it ended: the first exit code that is not 0 makes mpirun end the rest.
int run_on_ranks(const Command& command, const Common& common, const Launch& launch, Progress& progress,
                 const std::function<void(Outcome&)>& deliver) {
  const std::string undivided = fmt::format(
      "{} processes were started together, but {} does not divide its work among them: start one, or each "
      "with a --shard where it has that",
      launch.size, command_path(*command.app));
  if (!command.ranks && !launch.mpi) throw Failure(kMisuse, undivided);
  Ranks ranks(launch);
  Communicator all = ranks.communicator();
  try {
    if (!command.ranks) throw SharedFailure(kMisuse, undivided);
    require_equal(all, {{"the program's version", program_identity()}});
    const int fair = ranks.threads();  // asked by all, whatever their options say
    const int threads = common.threads > 0 ? common.threads : fair;
    std::optional<Context> context;
    on_all(all, [&] {
      Needs needs;
      const Backend& backend = *choose(command, common, needs).backend;
      const bool cpu = &backend == &cpu_backend();
      context.emplace(backend, cpu ? 0 : common.device() + ranks.on_this_machine(), threads);
    });
    context->ranks = all;
    Session session{common, *context, progress};
    Outcome outcome = command.run(session);
    context.reset();
    if (all.rank() == 0) deliver(outcome);
    ranks.leave();
    return outcome.exit_code;
  } catch (const SharedFailure& failure) {
    if (all.rank() == 0) complain(failure.exit_code, failure.what());
    ranks.leave();
    return failure.exit_code;
  } catch (const ReaderGone&) {  // only where this rank prints, and the others wait
    ranks.leave();
    throw;
  } catch (const Interrupted& interrupted) {
    complain(0, fmt::format("rank {} of {}: stopped by a signal", all.rank(), all.size()));
    ranks.end_all(128 + interrupted.signal);
    throw;
  } catch (const std::bad_alloc&) {
    ranks.end_all(kOutOfMemory);
    throw;
  } catch (...) {
    const Failure failure = failure_of_current_exception();
    complain(0, fmt::format("rank {} of {}: {}", all.rank(), all.size(), failure.what()));
    ranks.end_all(failure.exit_code);
    throw;
  }
}

// The devices that --device names.
std::vector<int> devices_of(const std::string& text) {
  std::vector<int> devices;
  if (text == "all") {
    const Backend* cuda = cuda_backend();
    try {
      for (int device = 0; cuda != nullptr && cuda->name_device != nullptr; ++device) {
        cuda->name_device(device);
        devices.push_back(device);
      }
    } catch (const std::invalid_argument&) {  // there is no such device: those before it are all
    }
  } else {
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) devices.push_back(std::stoi(word));
  }
  if (devices.empty()) devices = {0};
  return devices;
}

// Does the work of one device of several, and says which one failed. The others wait for it, and do not take up its work.
void on_device(int device, const Common& common, const std::function<void()>& work) {
  try {
    work();
  } catch (const Failure&) {  // no device's fault, or said by name
    throw;
  } catch (const OutOfMemory&) {
    throw;
  } catch (const RankLost&) {
    throw;
  } catch (const std::runtime_error& error) {
    std::vector<int> others = common.devices;
    std::erase(others, device);
    throw Failure(kFault, fmt::format("device {} failed: {}; the same command with --device {} does without it", device,
                                      error.what(), fmt::join(others, ",")));
  }
}

// Several devices: a command deals parts of its work to them, or each is a rank, with a thread.
Outcome run_on_devices(const Command& command, const Common& common, Progress& progress) {
  if (command.deals) return run_alone(command, common, progress);
  if (!command.ranks) {
    throw Failure(kMisuse, fmt::format("--device {}: {} works on one device", fmt::join(common.devices, ","),
                                       command_path(*command.app)));
  }
  Needs needs;
  const BackendChoice choice = choose(command, common, needs);
  if (choice.backend == &cpu_backend()) return run_alone(command, common, progress);
  Outcome outcome;
  const int threads = threads_for_each(common);
  scalelab::run_on_ranks(static_cast<int>(common.devices.size()), [&](Communicator& ranks) {
    const int device = common.devices[static_cast<std::size_t>(ranks.rank())];
    Progress silent(true);
    std::optional<Context> context;
    on_all(ranks, [&] { context.emplace(*choice.backend, device, threads); });
    context->ranks = ranks;
    Session session{common, *context, ranks.rank() == 0 ? progress : silent};
    on_device(device, common, [&] {
      Outcome own = command.run(session);
      if (ranks.rank() == 0) outcome = std::move(own);
    });
  });
  return outcome;
}

// The signal by which a time budget ends a command, as any other signal would.
void start_time_budget(double seconds) {
  if (seconds > 0) ::alarm(static_cast<unsigned>(seconds));
}

int run(std::vector<std::string> words) {
  CLI::App program("scalelab: what data and scale are worth, measured exactly.", "scalelab");
  program.option_defaults()->always_capture_default();
  program.set_help_flag("-h,--help", "Print this help and exit");
  program.set_version_flag("--version", "scalelab " + kVersion, "Print the version and exit");
  program.formatter(help_formatter());
  program.require_subcommand(1);
  add_notes(
      program,
      {"scalelab knn --data references.npy --queries queries.npy -k 10 -o neighbours",
       "scalelab prune --data rows.npy --clusters auto --fraction 0.4 -o kept", "scalelab story --quick -o story"},
      {"scalelab help COMMAND, or scalelab COMMAND --help: its options.\n"
       "scalelab help --man: all of them as a manual page, for man -l -.\n",
       std::string("Exit codes:\n") + kExitCodes});
  Common common;
  std::string device = "0";
  const std::vector<Command> commands = add_commands(program, common, device);

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
  start_time_budget(common.time_budget);
  const Launch launch = find_launch();
  const CLI::Option* shard = chosen->get_option_no_throw("--shard");
  const bool alone = shard != nullptr && shard->count() > 0;
  Progress progress(common.quiet || (launch.rank > 0 && !alone));
  common.devices = devices_of(device);
  const auto deliver = [&](Outcome& outcome) {
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
  };
  if (launch.size > 1 && !alone) return run_on_ranks(*command, common, launch, progress, deliver);
  Outcome outcome =
      common.devices.size() > 1 ? run_on_devices(*command, common, progress) : run_alone(*command, common, progress);
  deliver(outcome);
  return outcome.exit_code;
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
  } catch (const Interrupted& interrupted) {
    return complain(128 + interrupted.signal, "stopped by a signal; nothing half-done was left");
  } catch (const ReaderGone&) {
    return kDone;
  } catch (const std::bad_alloc&) {
    std::terminate();  // signals.cpp says it in a line: here there may be no memory left to make one
  } catch (...) {
    try {
      const Failure failure = failure_of_current_exception();
      return complain(failure.exit_code, failure.what());
    } catch (const std::exception& error) {
      return complain(kFault, error.what());
    }
  }
}
