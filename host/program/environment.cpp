#include "host/program/environment.h"

#include <fstream>
#include <iterator>

#include "host/program/command.h"

namespace scalelab::host {

const char* const kVersion = SCALELAB_VERSION;

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
