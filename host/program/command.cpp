#include "host/program/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "host/lab/model.h"

namespace scalelab::host {

const char* const kVersion = SCALELAB_VERSION;

CLI::Validator whole_number(std::uint64_t low, std::uint64_t high) {
  const std::string range = high == UINT64_MAX ? fmt::format("a whole number from {}", low)
                                               : fmt::format("a whole number from {} to {}", low, high);
  return CLI::Validator(
      [=](std::string& text) {
        std::uint64_t value = 0;
        const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool octal = text.size() > 1 && text[0] == '0';  // as CLI11 would read a leading zero
        if (error != std::errc() || stop != text.data() + text.size() || octal || value < low || value > high) {
          return fmt::format("'{}' is not {}", text, range);
        }
        return std::string();
      },
      "");
}

CLI::Validator precision_name() {
  return CLI::IsMember(std::vector<std::string>(kPrecisions.begin(), kPrecisions.end()));
}

CLI::Validator real_number(double low, double high) {
  std::string range = "a finite number";
  if (high < HUGE_VAL) {
    range = fmt::format("a number from {:g} to {:g}", low, high);
  } else if (low > -HUGE_VAL) {
    range = fmt::format("a finite number from {:g}", low);
  }
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value) || value < low ||
            value > high) {
          return fmt::format("'{}' is not {}", text, range);
        }
        return std::string();
      },
      "");
}

CLI::Validator memory_size() {
  return CLI::Validator(
      [](std::string& text) {
        std::uint64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        const std::string units = "KMGT", rest(stop, end);
        const std::size_t power = rest.empty() ? 0 : units.find(rest[0]) + 1;  // of a letter that is no unit: 0
        const int shift = static_cast<int>(10 * power);
        if (error != std::errc() || rest.size() > 1 || (rest.size() == 1 && power == 0) ||
            value > (static_cast<std::uint64_t>(INT64_MAX) >> shift)) {
          return fmt::format("'{}' is not a number of bytes, as 1000000, 512M or 8G", text);
        }
        text = std::to_string(value << shift);
        return std::string();
      },
      "");
}

namespace {

volatile std::sig_atomic_t caught_signal = 0;
int signals_held = 0;  // by the main thread alone

extern "C" void on_signal(int number) {
  if (caught_signal != 0) ::_exit(128 + number);
  caught_signal = number;
}

}  // namespace

void catch_signals() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

void throw_if_interrupted() {
  if (caught_signal != 0 && signals_held == 0) throw Interrupted(caught_signal);
}

SignalsHeld::SignalsHeld() { ++signals_held; }
SignalsHeld::~SignalsHeld() { --signals_held; }

namespace {

nlohmann::json command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (bytes.empty()) return nullptr;
  nlohmann::json words = nlohmann::json::array();
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\0', begin), bytes.size());
    words.push_back(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

}  // namespace

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t at = line.find(": ");
    if (at != std::string::npos) return line.substr(at + 2);
  }
  return "";
}

nlohmann::json environment(const Session& session) {
  const std::string cpu = cpu_model();
  const std::string commit = SCALELAB_COMMIT;
#ifdef __clang__
  const std::string compiler = "clang " __clang_version__;
#else
  const std::string compiler = "g++ " __VERSION__;
#endif
  return {{"version", kVersion},
          {"commit", commit.empty() ? nlohmann::json() : nlohmann::json(commit)},
          {"backend", session.context.backend().name},
          {"device", session.context.backend().describe(session.context)},
          {"threads", session.context.threads()},
          {"compiler", compiler},
          {"cpu", cpu.empty() ? nlohmann::json() : nlohmann::json(cpu)},
          {"command", command_line()}};
}

std::string json_text(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace scalelab::host
