// Peers in Python: the folder through which arrays and answers pass, the process, and the rows that it prints.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "bench/bench.h"
#include "host/program/error.h"
#include "host/program/files.h"
#include "host/program/own_program.h"
#include "host/program/words.h"

namespace scalelab::bench {

namespace fs = std::filesystem;

PeerFolder::PeerFolder() {
  std::string name = (fs::temp_directory_path() / "scalelab_bench_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a folder in " + name);
  path_ = name;
}
PeerFolder::~PeerFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}
void PeerFolder::write(const std::string& name, const void* data, std::size_t bytes) const {
  host::write_file(fs::path(path_) / name, {static_cast<const char*>(data), bytes});
}
void PeerFolder::read(const std::string& name, void* data, std::size_t bytes) const {
  const std::string text = host::file_text(fs::path(path_) / name);
  if (text.size() < bytes) throw std::runtime_error("cannot read " + path_ + "/" + name);
  std::memcpy(data, text.data(), bytes);
}

Said run_command(const std::string& line, double limit) {
  const auto began = std::chrono::steady_clock::now();
  // What the command prints comes through a pipe.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe can be made for " + line);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  // A group of its own, so that whatever the shell starts ends with it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  char shell[] = "sh", option[] = "-c";
  std::string text = line;
  char* const arguments[] = {shell, option, text.data(), nullptr};
  pid_t child = -1;
  const int error = ::posix_spawn(&child, "/bin/sh", &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
  Said said;
  // Waits for the end, so that no zombie is left, whichever way out is taken.
  const auto reap = [&] {
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return status;
  };
  if (error != 0) {
    ::close(ends[0]);
    throw std::runtime_error("no shell can be started for " + line);
  }
  try {
    for (;;) {
      // Looks ten times a second whether a signal came or the time is up.
      host::throw_if_interrupted();
      said.late = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() > limit;
      if (said.late) ::kill(-child, SIGKILL);
      if (said.late) break;
      pollfd waiting{ends[0], POLLIN, 0};
      if (::poll(&waiting, 1, 100) <= 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t got = ::read(ends[0], chunk.data(), chunk.size());
      if (got <= 0) break;
      said.output.append(chunk.data(), static_cast<std::size_t>(got));
    }
  } catch (...) {
    ::kill(-child, SIGKILL);
    reap();
    throw;
  }
  const int status = reap();
  said.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  host::throw_if_interrupted();
  return said;
}

namespace {

// What a script said last on its way out.
std::string last_line(const std::string& text) {
  std::string last = "it said nothing";
  for (const std::string& line : host::split(text, '\n')) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line.substr(0, 200);
  }
  return last;
}

// Where the scripts are: as SCALELAB_PEERS says; else beside the installed program; else in the sources it was built from.
fs::path peers_folder() {
  if (const char* folder = std::getenv("SCALELAB_PEERS"); folder != nullptr) return folder;
  std::error_code unknown;
  const fs::path installed = host::own_program().parent_path().parent_path() / "share/scalelab/peers";
  return fs::is_directory(installed, unknown) ? installed : fs::path(SCALELAB_PEERS);
}

}  // namespace

std::vector<Peer> python_peers(const std::string& script, const std::string& arguments, int threads,
                               const std::function<std::string(const nlohmann::json& row)>& answer) {
  const char* named = std::getenv("SCALELAB_PYTHON");
  const std::string python = named != nullptr ? named : "python3";
  const fs::path file = peers_folder() / script;
  if (!fs::exists(file)) {
    return {{.who = script, .absent = file.string() + " is not there: SCALELAB_PEERS names the folder bench/peers"}};
  }
  const char* seconds = std::getenv("SCALELAB_PEER_SECONDS");
  const double limit = seconds != nullptr ? std::atof(seconds) : kPeerSeconds;
  // What the script prints are rows; its complaints go to a file, whose last line says what failed.
  const PeerFolder folder_of_complaints;
  const fs::path complaints = fs::path(folder_of_complaints.path()) / "stderr";
  const auto [output, status, late] =
      run_command(fmt::format("PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS={0} OPENBLAS_NUM_THREADS={0} "
                              "MKL_NUM_THREADS={0} {1} '{2}' {3} 2>'{4}'",
                              threads, python, file.string(), arguments, complaints.string()),
                  limit);
  // Lines that are no row are what libraries print on their own account.
  std::vector<Peer> peers;
  for (const std::string& line : host::split(output, '\n')) {
    const auto row = nlohmann::json::parse(line, nullptr, false);
    if (!row.is_object() || !row.contains("who")) continue;
    Peer peer{.who = row.at("who"), .absent = row.value("absent", "")};
    if (peer.absent.empty()) {
      peer.wall = row.value("wall", std::vector<double>{});
      peer.cpu = row.value("cpu", std::vector<double>{});
      peer.note = row.value("note", "");
      peer.version = row.value("version", "");
      peer.answer = answer(row);
    }
    peers.push_back(std::move(peer));
  }
  if (late) {
    peers.push_back({.who = script,
                     .absent = fmt::format("ended after {} s, its limit (SCALELAB_PEER_SECONDS); who is not named here "
                                           "had no turn",
                                           limit)});
  } else if (status != 0) {
    peers.push_back(
        {.who = script,
         .absent = fmt::format("{} ended with status {}: {} (SCALELAB_PYTHON names an interpreter that has numpy and "
                               "the peers)",
                               python, status, last_line(host::file_text(complaints)))});
  }
  return peers;
}

}  // namespace scalelab::bench
