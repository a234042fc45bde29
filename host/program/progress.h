// progress: how far a command is, for whoever waits for it. The clock and the screen are handed in, so that tests need
// neither.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace scalelab::host {

struct Session;  // command.h
class Stage;

// Seconds since some moment, never fewer than at an earlier call.
using Clock = std::function<double()>;
double steady_seconds();

// Where progress is written.
struct Screen {
  bool terminal = false;         // a line can be written over
  std::function<int()> columns;  // the width of a terminal at this moment, 0 where it does not say
  std::function<void(std::string_view)> write;
};
Screen standard_error();

// Progress for anything over two seconds: on a terminal one line, never wider than the terminal; elsewhere at most a
// line every ten seconds; with --quiet nothing.
class Progress {
 public:
  explicit Progress(bool quiet, Screen screen = standard_error(), Clock clock = steady_seconds);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Work done of work in all, in the stage's own unit. Cheap enough to call often. Throws Interrupted after a signal.
  // A name goes on behind a comma with what changes: "sweep, 34 of 720 trials". What was said once of such a name is not
  // taken back: its share never falls, and is below 100 % while anything is said of it.
  void update(const std::string& stage, std::int64_t done, std::int64_t total);
  // A line of its own, --quiet or not.
  void say(const std::string& line);
  // Such a line for whoever sits before it: only on a terminal, and without --quiet.
  void remark(const std::string& line);
  // Removes the progress line, so that something else can be printed.
  void clear();
  // What the clock says.
  double seconds() const { return clock_(); }

 private:
  bool quiet_, shown_ = false;
  Screen screen_;
  Clock clock_;
  double started_, last_;
  struct Heard {
    double began, share;
  };
  friend class Stage;
  std::map<std::string, Heard> heard_;  // by name up to the comma: others may come between
  std::vector<const Stage*> stages_;    // those that live, the innermost last
};

// A named part of a command's work, which may itself have such parts. While it lives, ops report their progress to it, and
// a signal abandons them. What it is told is a share of itself; what the Stage around it is told, a share of the part that
// this one was made in; and the outermost says it all in one line with one estimate, by the names of all: "prune,
// near-duplicates: 40 %, ...".
class Stage {
 public:
  Stage(Session& session, std::string name);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  // What follows does [begin, end) of `whole`, in any unit.
  void part(std::int64_t begin, std::int64_t end, std::int64_t whole);
  void rename(std::string name) { name_ = std::move(name); }
  double seconds() const;  // since it began

 private:
  std::string names() const;  // of all that live

  Session& session_;
  std::string name_;
  std::int64_t begin_ = 0, end_ = 1, whole_ = 1;
  std::function<void(std::int64_t, std::int64_t)> outer_;
  double started_;
};

}  // namespace scalelab::host
