// command: what every command of the program shares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/program/backend_choice.h"
#include "host/program/error.h"
#include "host/program/progress.h"
#include "scalelab/backend.h"

namespace CLI {
class App;
}

namespace scalelab::host {

// Options that every command takes; main.cpp adds them.
struct Common {
  std::uint64_t seed = 0;
  std::string backend = "auto";    // auto, cpu, cuda
  std::vector<int> devices = {0};  // GPUs; of several, a command whose Command says so makes use of all
  int threads = 0;                 // 0: all
  double time_budget = 0;          // seconds, 0: none
  bool json = false;
  bool quiet = false;
  bool look = false;      // what comes of it is a look and not a result, and its page says so
  bool in_story = false;  // its page leads back to that of a story, in the folder above

  int device() const { return devices.front(); }
};

struct Page;  // pages/page.h

// What a command found. main prints `text`, or with --json `document` (null: result.json of `folder`), nothing else.
struct Outcome {
  nlohmann::json document;
  std::string text;
  int exit_code = 0;
  // report.html of `folder`, where there is one: main writes it.
  std::shared_ptr<const Page> page{};
  std::filesystem::path folder{};
  // The lock of the folder (file_lock.h), kept until the page is written.
  std::shared_ptr<const void> publishing{};
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
  // Whether it works together with the ranks of its Context, where MPI started several (ranks.h).
  bool ranks = false;
  // Whether it deals parts of its work to all devices that are named (devices.h).
  bool deals = false;
};

}  // namespace scalelab::host
