#include "host/program/environment.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

#include <fmt/format.h>

#include "host/program/command.h"
#include "scalelab/version.h"

namespace scalelab::host {

const std::string kVersion =
    fmt::format("{}.{}.{}", SCALELAB_VERSION_MAJOR, SCALELAB_VERSION_MINOR, SCALELAB_VERSION_PATCH);

std::string program_identity() { return fmt::format("{} {}", kVersion, SCALELAB_COMMIT); }

namespace {

std::vector<std::string> command_words;  // as main was given them

// The device in a line; of several, one may have failed meanwhile.
std::string device_of(Context& context) {
  try {
    return context.backend().describe(context);
  } catch (const std::runtime_error& error) {
    return fmt::format("failed: {}", error.what());
  }
}

}  // namespace

void set_command_line(std::vector<std::string> words) { command_words = std::move(words); }

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
  nlohmann::json found = {{"version", kVersion},
                          {"commit", commit.empty() ? nlohmann::json() : nlohmann::json(commit)},
                          {"backend", session.context.backend().name},
                          {"device", device_of(session.context)},
                          {"threads", session.context.threads()},
                          {"compiler", compiler},
                          {"cpu", cpu.empty() ? nlohmann::json() : nlohmann::json(cpu)},
                          {"command", command_words.empty() ? nlohmann::json() : nlohmann::json(command_words)}};
  if (session.common.look) found["look"] = true;
  if (session.common.in_story) found["in_story"] = true;
  if (session.common.devices.size() > 1) found["devices"] = session.common.devices;
  return found;
}

std::string command_of(const nlohmann::json& document) {
  const nlohmann::json environment = document.value("environment", nlohmann::json::object());
  const nlohmann::json words = environment.value("command", nlohmann::json::array());
  std::string command;
  if (!words.is_array()) return command;
  for (const auto& word : words) {
    if (!word.is_string()) continue;
    std::string text = word.get<std::string>();
    if (command.empty()) text = text.substr(text.rfind('/') + 1);
    const bool plain = !text.empty() && text.find_first_of(" \t\n'\"$`\\|&;<>()*?[]{}~#!") == std::string::npos;
    command += (command.empty() ? "" : " ") + (plain ? text : "'" + text + "'");
  }
  return command;
}

std::string json_text(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace scalelab::host
