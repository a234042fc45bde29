// command: what every command of the program shares.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "host/program/backend_choice.h"
#include "host/program/error.h"
#include "scalelab/backend.h"

namespace CLI {
class App;
}

namespace scalelab::host {

// Options that every command takes; main.cpp adds them.
struct Common {
  std::uint64_t seed = 0;
  std::string backend = "auto";  // auto, cpu, cuda
  int device = 0;
  int threads = 0;  // 0: all
  bool json = false;
  bool quiet = false;
};

// Progress on stderr for anything over two seconds: silent when --quiet or when stderr is no terminal (then at most a
// line every ten seconds).
class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();
  // Work done of work in all, in the stage's own unit. Cheap enough to call often. Throws Interrupted after a signal.
  void update(const std::string& stage, std::int64_t done, std::int64_t total);
  // A line of its own on stderr, --quiet or not.
  void say(const std::string& line);
  // Such a line for whoever sits before it: only where stderr is a terminal, and without --quiet.
  void remark(const std::string& line);
  // Removes the progress line, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool quiet_, terminal_, shown_ = false;
  Clock::time_point started_, last_;
  std::map<std::string, Clock::time_point> stages_;  // when each was first heard of: others may come between
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

// While it lives, ops report their progress under this name, and a signal abandons them.
class Stage {
 public:
  Stage(Session& session, std::string name);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  // The ops that follow do [begin, end) of `whole`.
  void part(std::int64_t begin, std::int64_t end, std::int64_t whole);
  double seconds() const;  // since it began

 private:
  Session& session_;
  std::string name_;
  std::int64_t begin_ = 0, end_ = 1, whole_ = 1;
  std::function<void(std::int64_t, std::int64_t)> outer_;
  std::chrono::steady_clock::time_point started_;
};

// A command adds its subcommand and options to the program, and returns what runs it.
struct Command {
  CLI::App* app;
  std::function<Outcome(Session&)> run;
  // What it asks of a backend with the options given. Without it, --backend auto is the CPU.
  std::function<Needs()> needs{};
};

}  // namespace scalelab::host
