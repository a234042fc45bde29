// What tests of the program itself share: it is run as people run it, in a folder of its own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "host/data/npy.h"
#include "tests/paths.h"

namespace scalelab::host {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

inline std::string read_file(const fs::path& file) {
  std::ifstream input(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(input), {}};
}

inline void write_text(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

struct Finished {
  int code;  // of exit, or 1000 + the signal that killed it
  std::string out, err;
  std::int64_t peak_kilobytes = 0;  // resident memory, of the largest child so far
};

// Waits for what a process does in a folder, by events and not by a clock.
class Watch {
 public:
  explicit Watch(const fs::path& folder) : events_(::inotify_init1(IN_CLOEXEC)) {  // the folder exists
    EXPECT_GE(::inotify_add_watch(events_, folder.c_str(), IN_CREATE | IN_MODIFY | IN_MOVED_TO), 0) << folder;
  }
  ~Watch() { ::close(events_); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  // True as soon as something was made or written in the folder since the last call, false when the process ends first.
  bool changed(pid_t process) const {
    const int end = static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
    EXPECT_GE(end, 0) << std::strerror(errno);
    pollfd waiting[2] = {{events_, POLLIN, 0}, {end, POLLIN, 0}};
    while (::poll(waiting, 2, -1) < 0 && errno == EINTR) continue;
    ::close(end);
    char taken[4096];
    return waiting[0].revents != 0 && ::read(events_, taken, sizeof taken) > 0;
  }

 private:
  int events_;
};

class Program : public testing::Test {
 protected:
  Program() { fs::create_directories(folder_); }
  ~Program() override { fs::remove_all(folder_); }

  // Starts the program in folder_, its output going to files there, or to the file `out`, or to a descriptor.
  pid_t start(const Words& words, const std::string& out = "", int descriptor = -1) const {
    std::vector<char*> arguments;
    std::string name = test::program();
    arguments.push_back(name.data());
    Words copy = words;
    for (auto& word : copy) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const std::string to = out.empty() ? (folder_ / ".out").string() : out, err = (folder_ / ".err").string();
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::chdir(folder_.c_str()) != 0) ::_exit(99);
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(descriptor >= 0 ? descriptor : ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
    ::execv(name.c_str(), arguments.data());
    ::_exit(99);
  }
  Finished finish(pid_t child) const {
    int status = 0;
    rusage usage{};
    ::wait4(child, &status, 0, &usage);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), read_file(folder_ / ".out"),
            read_file(folder_ / ".err"), usage.ru_maxrss};
  }
  Finished run(const Words& words, const std::string& out = "") const { return finish(start(words, out)); }
  // What was said on stderr but for lines of progress: whether there are any depends on how fast the machine is.
  static std::string told(const Finished& finished) {
    static const std::regex progress(R"([^\n]*: \d+ %, \d+ s(, about \d+ s left)?\n)");
    return std::regex_replace(finished.err, progress, "");
  }
  // Runs a command line that must succeed and tell nothing on stderr, and returns stdout.
  std::string good(const Words& words) const {
    const Finished finished = run(words);
    EXPECT_EQ(finished.code, 0) << testing::PrintToString(words) << ": " << finished.err;
    EXPECT_EQ(told(finished), "");
    return finished.out;
  }
  // Runs a command line that must end with `code`, one line on stderr that holds `says`, and nothing on stdout.
  void bad(const Words& words, int code, const std::string& says) const {
    const Finished finished = run(words);
    const std::string err = told(finished), what = testing::PrintToString(words) + ": " + err;
    EXPECT_EQ(finished.code, code) << what;
    EXPECT_EQ(finished.out, "") << what;
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << what;
    EXPECT_EQ(err.rfind("scalelab: ", 0), 0U) << what;
    EXPECT_NE(err.find(says), std::string::npos) << what << " lacks " << says;
    EXPECT_TRUE(nothing_in("out")) << what;
  }
  bool nothing_in(const fs::path& name) const {
    const fs::path out = folder_ / name;
    return !fs::is_directory(out) || fs::is_empty(out);
  }
  nlohmann::json result(const fs::path& folder) const {
    return nlohmann::json::parse(read_file(folder_ / folder / "result.json"));
  }
  template <class T>
  void write_npy(const std::string& name, const std::vector<T>& values, std::vector<std::int64_t> shape) const {
    NpyWriter<T> writer(folder_ / name, std::move(shape));
    writer.write(values);
    writer.commit();
  }
  // The numbers of a .npy file of integers, behind its 128-byte header.
  template <class T>
  std::vector<T> npy_values(const fs::path& name) const {
    const std::string bytes = read_file(folder_ / name);
    if (bytes.size() < 128) return {};
    std::vector<T> values((bytes.size() - 128) / sizeof(T));
    std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(T));
    return values;
  }

  const fs::path folder_ = fs::path(testing::TempDir()) / ("scalelab_program_" + std::to_string(::getpid()));
};

}  // namespace scalelab::host
