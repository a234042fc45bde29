#include "host/program/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "host/program/error.h"

namespace scalelab::host {

Progress::Progress(bool quiet) : quiet_(quiet), started_(Clock::now()), last_(started_) {
  const char* term = std::getenv("TERM");
  terminal_ = ::isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

Progress::~Progress() { clear(); }

void Progress::update(const std::string& stage, std::int64_t done, std::int64_t total) {
  throw_if_interrupted();
  if (quiet_) return;
  const auto now = Clock::now();
  const auto began = stages_.try_emplace(stage, now).first->second;
  using std::chrono::milliseconds;
  if (now - started_ < milliseconds(2000) || now - last_ < milliseconds(terminal_ ? 100 : 10000)) return;
  last_ = now;
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
  const double elapsed = std::chrono::duration<double>(now - began).count();
  std::string line = fmt::format("{}: {:.0f} %, {:.0f} s", stage, 100 * share, elapsed);
  if (share > 0.02 && share < 1) line += fmt::format(", about {:.0f} s left", elapsed / share * (1 - share));
  std::fprintf(stderr, terminal_ ? "\r%s\x1b[K" : "%s\n", line.c_str());
  std::fflush(stderr);
  shown_ = terminal_;
}

void Progress::say(const std::string& line) {
  clear();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::remark(const std::string& line) {
  if (terminal_ && !quiet_) say(line);
}

void Progress::clear() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

Stage::Stage(Session& session, std::string name)
    : session_(session),
      name_(std::move(name)),
      outer_(session.context.progress),
      started_(std::chrono::steady_clock::now()) {
  session.context.progress = [this](std::int64_t done, std::int64_t total) {
    constexpr std::int64_t kSteps = 1000;  // that a part is counted in
    const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    const double at = static_cast<double>(begin_) + static_cast<double>(end_ - begin_) * share;
    session_.progress.update(name_, std::llround(at * kSteps), whole_ * kSteps);
  };
}

void Stage::part(std::int64_t begin, std::int64_t end, std::int64_t whole) {
  begin_ = begin;
  end_ = end;
  whole_ = whole;
  session_.context.progress(0, 1);
}

Stage::~Stage() { session_.context.progress = std::move(outer_); }

double Stage::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

}  // namespace scalelab::host
