#include "host/program/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "host/program/command.h"
#include "host/program/error.h"

namespace scalelab::host {

namespace {

constexpr double kPatience = 2;       // seconds without a word at first
constexpr double kBetween = 0.1;      // seconds between two lines on a terminal, which the eye can follow
constexpr double kBetweenLines = 10;  // and elsewhere, where every line stays
constexpr int kUsualColumns = 80;     // of a terminal that does not say how wide it is

// The text cut to what is sure to fit into so many columns: a character outside ASCII may take two.
std::string_view cut_to_columns(std::string_view text, int columns) {
  int taken = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80 && byte < 0xC0) continue;  // a character goes on
    taken += byte < 0x80 ? 1 : 2;
    if (taken > columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Screen standard_error() {
  const char* term = std::getenv("TERM");
  const bool writes_over = term != nullptr && std::string_view(term) != "dumb";
  return {.terminal = writes_over && ::isatty(STDERR_FILENO) == 1,
          .columns =
              [] {
                winsize size{};
                return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? static_cast<int>(size.ws_col) : 0;
              },
          .write =
              [](std::string_view text) {
                std::fwrite(text.data(), 1, text.size(), stderr);
                std::fflush(stderr);
              }};
}

Progress::Progress(bool quiet, Screen screen, Clock clock)
    : quiet_(quiet), screen_(std::move(screen)), clock_(std::move(clock)), started_(clock_()), last_(started_) {}

Progress::~Progress() { clear(); }

void Progress::update(const std::string& stage, std::int64_t done, std::int64_t total) {
  throw_if_interrupted();
  if (quiet_) return;
  const double now = clock_();
  Heard& heard = heard_.try_emplace(stage.substr(0, stage.find(',')), Heard{now, 0}).first->second;
  if (total > 0) heard.share = std::max(heard.share, static_cast<double>(done) / static_cast<double>(total));
  if (now - started_ < kPatience || now - last_ < (screen_.terminal ? kBetween : kBetweenLines)) return;
  last_ = now;
  const double share = std::min(heard.share, 0.99), passed = now - heard.began;
  std::string line = fmt::format("{}: {:.0f} %, {:.0f} s", stage, 100 * share, passed);
  if (share > 0.02) line += fmt::format(", about {:.0f} s left", passed / share * (1 - share));
  if (!screen_.terminal) {
    screen_.write(line + "\n");
    return;
  }
  const int columns = screen_.columns();
  // The last column stays free: many terminals begin a new line as soon as it is taken.
  screen_.write(fmt::format("\r{}\x1b[K", cut_to_columns(line, (columns > 0 ? columns : kUsualColumns) - 1)));
  shown_ = true;
}

void Progress::say(const std::string& line) {
  clear();
  screen_.write(line + "\n");
}

void Progress::remark(const std::string& line) {
  if (screen_.terminal && !quiet_) say(line);
}

void Progress::clear() {
  if (!shown_) return;
  screen_.write("\r\x1b[K");
  shown_ = false;
}

Stage::Stage(Session& session, std::string name)
    : session_(session),
      name_(std::move(name)),
      outer_(session.context.progress),
      started_(session.progress.seconds()) {
  Progress& progress = session.progress;
  if (!outer_) progress.heard_.erase(name_);  // a command may be run again, as by story
  progress.stages_.push_back(this);
  session.context.progress = [this](std::int64_t done, std::int64_t total) {
    constexpr std::int64_t kSteps = 1000;  // that a part is counted in
    const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    const double at = static_cast<double>(begin_) + static_cast<double>(end_ - begin_) * share;
    if (outer_) return outer_(std::llround(at * kSteps), whole_ * kSteps);
    session_.progress.update(names(), std::llround(at * kSteps), whole_ * kSteps);
  };
}

std::string Stage::names() const {
  std::string all, last;
  for (const Stage* stage : session_.progress.stages_) {
    if (stage->name_ != last) all += (all.empty() ? "" : ", ") + stage->name_;
    last = stage->name_;
  }
  return all;
}

void Stage::part(std::int64_t begin, std::int64_t end, std::int64_t whole) {
  begin_ = begin;
  end_ = end;
  whole_ = whole;
  session_.context.progress(0, 1);
}

Stage::~Stage() {
  session_.context.progress = std::move(outer_);
  std::erase(session_.progress.stages_, this);
}

double Stage::seconds() const { return session_.progress.seconds() - started_; }

}  // namespace scalelab::host
