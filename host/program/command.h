// command: what every command of the program shares.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "host/program/backend_choice.h"
#include "host/program/error.h"
#include "host/program/progress.h"
#include "scalelab/backend.h"

namespace scalelab::host {

// Version of the program, as CMakeLists.txt states it.
extern const char* const kVersion;

// Options that every command takes; main.cpp adds them.
struct Common {
  std::uint64_t seed = 0;
  std::string backend = "auto";  // auto, cpu, cuda
  int device = 0;
  int threads = 0;  // 0: all
  bool json = false;
  bool quiet = false;
};

// Checks of an option's text, for CLI::Option::check. They say what was expected; plain decimal digits only.
CLI::Validator whole_number(std::uint64_t low, std::uint64_t high);
CLI::Validator real_number(double low, double high);  // finite, ends included
CLI::Validator precision_name();                      // of --precision
inline constexpr const char* kPrecisionHelp =
    "in which networks train: fp32, bf16x3 (tensor cores, close to fp32) or bf16 (tensor cores); the CPU emulates the "
    "last two, slower";
// For CLI::Option::transform: "512M", "8G", in powers of 1024, become bytes.
CLI::Validator memory_size();

// The first SIGINT, SIGTERM or SIGUSR1 is remembered, and Progress::update or throw_if_interrupted (error.h) throws it
// as Interrupted; the second ends the program at once. SIGPIPE is ignored: writing to a closed pipe is an error like
// any other.
void catch_signals();

// While one lives, a signal is remembered and nothing more: what must be finished goes inside.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
};

// What a command found. main prints `text`, or with --json `document` and nothing else.
struct Outcome {
  nlohmann::json document;
  std::string text;
  int exit_code = 0;
};

struct Session {
  const Common& common;
  Context& context;
  Progress& progress;
};

// A command adds its subcommand and options to the program, and returns what runs it.
struct Command {
  CLI::App* app;
  std::function<Outcome(Session&)> run;
  // What it asks of a backend with the options given. Without it, --backend auto is the CPU.
  std::function<Needs()> needs{};
};
Command add_compare(CLI::App& program);      // compare.cpp
Command add_dataset(CLI::App& program);      // dataset_command.cpp
Command add_boundary(CLI::App& program);     // boundary.cpp
Command add_knn(CLI::App& program);          // knn_command.cpp
Command add_kmeans(CLI::App& program);       // kmeans_command.cpp
Command add_sweep(CLI::App& program);        // sweep.cpp
Command add_prune(CLI::App& program);        // prune.cpp
Command add_prune_study(CLI::App& program);  // prune_study.cpp
Command add_bench(CLI::App& program);        // bench/command.cpp
Command add_info(CLI::App& program);         // info.cpp
Command add_theory(CLI::App& program);       // theory.cpp
Command add_curriculum(CLI::App& program);   // curriculum.cpp
Command add_lottery(CLI::App& program);      // lottery_command.cpp

// The JSON object that describes where a result was made: version, commit, backend, device, threads, compiler, host
// CPU, and the command line. Unknown is null.
nlohmann::json environment(const Session& session);

// The CPU's model as the system states it; empty where it states none.
std::string cpu_model();

// A document as text, indented and ending in a line feed. Bytes that are no UTF-8 are replaced.
std::string json_text(const nlohmann::json& document);

}  // namespace scalelab::host
