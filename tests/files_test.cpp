// files: output appears whole or not at all, and what stops it is named.
#include "host/program/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <utility>

#include "host/program/error.h"
#include "host/program/file_lock.h"
#include "host/program/signals.h"

namespace {
// Of the pieces of memory that are asked for from now on, which one is refused; 0: none is.
long refused_piece = 0;
}  // namespace

void* operator new(std::size_t bytes) {
  if (refused_piece > 0 && --refused_piece == 0) throw std::bad_alloc();
  void* const piece = std::malloc(bytes);
  return piece == nullptr ? throw std::bad_alloc() : piece;
}
void operator delete(void* piece) noexcept { std::free(piece); }
void operator delete(void* piece, std::size_t) noexcept { std::free(piece); }

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string read(const fs::path& file) {
    std::ifstream input(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(input), {}};
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  template <class Action>
  static std::string complaint(Action action) {
    try {
      action();
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kCannotWrite);
      return failure.what();
    }
    return "";
  }
  // How a process of its own ends that does this: its exit code, or 1000 + the signal that killed it.
  template <class Action>
  static int ends_with(Action action) {
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit no_core{};
      ::setrlimit(RLIMIT_CORE, &no_core);
      ::_exit(action());
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  const fs::path folder_ = fs::path(testing::TempDir()) / ("scalelab_files_" + std::to_string(::getpid()));
};

TEST_F(Files, AFileAppearsOnCommitAlone) {
  const fs::path target = folder_ / "a.txt";
  {
    OutputFile file(target);
    file.write("one ");
    file.write("two");
    EXPECT_FALSE(fs::exists(target));
    file.commit();
    EXPECT_EQ(read(target), "one two");
  }
  EXPECT_EQ(entries(), 1U);
  {
    OutputFile file(target);
    file.write("half");
    EXPECT_EQ(read(target), "one two");
  }
  EXPECT_EQ(read(target), "one two");
  EXPECT_EQ(entries(), 1U);
  write_file(target, "");
  EXPECT_EQ(read(target), "");
}

TEST_F(Files, PiecesGoWhereTheyAreSaidTo) {
  OutputFile file(folder_ / "a.bin");
  file.write("head");
  file.write_at(8, "tail", 4);
  file.write_at(4, "body", 4);
  file.commit();
  EXPECT_EQ(read(folder_ / "a.bin"), "headbodytail");
}

TEST_F(Files, ALinkStaysALink) {
  write_file(folder_ / "real.txt", "old");
  fs::create_symlink("real.txt", folder_ / "link.txt");
  write_file(folder_ / "link.txt", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link.txt"));
  EXPECT_EQ(read(folder_ / "real.txt"), "new");
}

TEST_F(Files, WhatCannotBeWrittenIsNamed) {
  write_file(folder_ / "file", "x");
  for (const fs::path& target : {folder_ / "missing" / "a.txt", folder_ / "file" / "a.txt", folder_,
                                 folder_ / std::string(300, 'x'), fs::path("/dev/full")}) {
    const std::string line = complaint([&] { write_file(target, "text"); });
    EXPECT_EQ(line.rfind(target.string() + ": cannot be written: ", 0), 0U) << line;
  }
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, OutputFoldersAreMadeAndChecked) {
  const fs::path nested = folder_ / "a" / "b";
  make_output_folder(nested);
  EXPECT_TRUE(fs::is_directory(nested));
  make_output_folder(nested);
  write_file(folder_ / "file", "x");
  for (const fs::path& folder : {folder_ / "file", folder_ / "file" / "below", folder_ / std::string(300, 'x')}) {
    const std::string line = complaint([&] { make_output_folder(folder); });
    EXPECT_EQ(line.rfind(folder.string() + ": cannot be written: ", 0), 0U) << line;
  }
  EXPECT_THROW(make_output_folder(""), Failure);
}

TEST_F(Files, APipeWithoutAReaderIsNoFailure) {
  std::signal(SIGPIPE, SIG_IGN);
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  OutputFile file(pipe);
  file.write("heard");
  ::close(reader);
  EXPECT_THROW(file.write("unheard"), ReaderGone);
}

TEST_F(Files, WhatIsWithdrawnIsGoneUntilItIsReplaced) {
  write_file(folder_ / "result.json", "old");
  {
    OutputFile file(folder_ / "result.json");
    file.write("half");
    file.withdraw();
    EXPECT_FALSE(fs::exists(folder_ / "result.json"));
  }
  EXPECT_EQ(entries(), 0U);
  OutputFile file(folder_ / "result.json");
  file.withdraw();
  file.write("new");
  file.commit();
  EXPECT_EQ(read(folder_ / "result.json"), "new");
}

TEST_F(Files, WhatCannotBeWithdrawnIsNamed) {
  OutputFile file(folder_ / "result.json");
  file.withdraw();  // nothing is there yet
  fs::create_directory(folder_ / "result.json");
  EXPECT_NE(complaint([&] { file.withdraw(); }), "");
  EXPECT_NE(complaint([&] { file.commit(); }), "");
}

TEST_F(Files, AFullDiskIsSaidSoWhereverItIsWritten) {
  for (const bool anywhere : {false, true}) {
    const int code = ends_with([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit tight = {10, 10};
      ::setrlimit(RLIMIT_FSIZE, &tight);
      OutputFile file(folder_ / "a.txt");
      try {
        const std::string text(100, 'x');
        anywhere ? file.write_at(5, text.data(), text.size()) : file.write(text);
      } catch (const Failure& failure) {
        return static_cast<int>(failure.exit_code);
      }
      return 0;
    });
    EXPECT_EQ(code, kCannotWrite);
  }
}

TEST_F(Files, AReplacedFileKeepsItsMode) {
  for (const mode_t mode : {0600, 0640, 0664, 0755}) {
    write_file(folder_ / "a.txt", "old");
    ASSERT_EQ(::chmod((folder_ / "a.txt").c_str(), mode), 0);
    OutputFile file(folder_ / "a.txt");
    file.withdraw();
    file.write("new");
    file.commit();
    struct stat status {};
    ASSERT_EQ(::stat((folder_ / "a.txt").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, mode);
  }
}

TEST_F(Files, TwoWritersOfOneFileDoNotMeet) {
  OutputFile one(folder_ / "a.txt"), other(folder_ / "a.txt");
  one.write("one");
  other.write("other");
  EXPECT_EQ(entries(), 2U);
  other.commit();
  EXPECT_EQ(read(folder_ / "a.txt"), "other");
  one.commit();
  EXPECT_EQ(read(folder_ / "a.txt"), "one");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, ANameMayBeAsLongAsTheSystemAllows) {
  const fs::path target = folder_ / std::string(255, 'x');
  write_file(target, "long");
  EXPECT_EQ(read(target), "long");
  EXPECT_EQ(entries(), 1U);
}

// A file that nobody would remove must not be there when memory ends between its making and its keeping.
TEST_F(Files, MemoryThatEndsWhileAFileIsBegunLeavesNothing) {
  const fs::path target = folder_ / "a.txt";
  long pieces = 0;
  for (bool begun = false; !begun;) {
    fs::path given = target;
    refused_piece = ++pieces;
    try {
      OutputFile file(std::move(given));
      refused_piece = 0;
      begun = true;
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(refused_piece, 0);
    }
    EXPECT_EQ(entries(), 0U) << "piece " << pieces;
  }
  EXPECT_GT(pieces, 5);
}

TEST_F(Files, WhatAKilledRunLeftIsRemovedByTheNext) {
  EXPECT_EQ(ends_with([&] {
              OutputFile file(folder_ / "a.txt");
              file.write("half");
              return ::raise(SIGKILL);
            }),
            1000 + SIGKILL);
  EXPECT_EQ(entries(), 1U);
  std::ofstream(folder_ / ".a.txt.part-of-somebody-else") << "kept";
  OutputFile living(folder_ / "b.txt");
  EXPECT_EQ(entries(), 2U);  // the living one's and somebody else's
  write_file(folder_ / "c.txt", "");
  living.write("whole");
  living.commit();
  EXPECT_EQ(read(folder_ / "b.txt"), "whole");
  EXPECT_EQ(entries(), 3U);
}

TEST_F(Files, ASuddenEndLeavesNothing) {
  const auto end_by = [&](int number, int times) {
    return ends_with([&] {
      catch_signals();
      OutputFile file(folder_ / "a.txt");
      file.write("half");
      for (int i = 0; i < times; ++i) ::raise(number);
      return 0;
    });
  };
  for (const int number : {SIGTERM, SIGHUP, SIGINT}) {
    EXPECT_EQ(end_by(number, 2), 128 + number);
    EXPECT_EQ(entries(), 0U) << number;
  }
  for (const int number : {SIGABRT, SIGQUIT}) {
    EXPECT_EQ(end_by(number, 1), 1000 + number);
    EXPECT_EQ(entries(), 0U) << number;
  }
}

TEST_F(Files, EverySignalThatEndsAProgramIsHeard) {
  for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGPWR,
                           SIGIO, SIGSTKFLT, SIGRTMIN, SIGRTMAX}) {
    const int code = ends_with([&] {
      std::signal(number, SIG_DFL);
      catch_signals();
      ::raise(number);
      try {
        throw_if_interrupted();
      } catch (const Interrupted& interrupted) {
        return interrupted.signal;
      }
      return 0;
    });
    EXPECT_EQ(code, number);
  }
  const int nohup = ends_with([] {
    std::signal(SIGHUP, SIG_IGN);
    catch_signals();
    ::raise(SIGHUP);
    throw_if_interrupted();
    return 0;
  });
  EXPECT_EQ(nohup, 0);
}

TEST_F(Files, AFolderIsHeldByOneProcess) {
  const auto taken_elsewhere = [&] {
    return ends_with([&] {
      const int descriptor = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY);
      return ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : 1;
    });
  };
  auto held = lock_folder(folder_);
  auto again = lock_folder(folder_);  // the same process
  held.reset();
  EXPECT_EQ(taken_elsewhere(), 1);
  again.reset();
  EXPECT_EQ(taken_elsewhere(), 0);
  EXPECT_EQ(lock_folder(folder_ / "missing"), nullptr);
}

TEST_F(Files, AFingerprintNeedsAFileThatCanBeReadAgain) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(fingerprint_of(folder_ / "pipe"), Failure);
  EXPECT_THROW(fingerprint_of(folder_), Failure);
  EXPECT_THROW(fingerprint_of(folder_ / "missing"), Failure);
  write_file(folder_ / "a", "text");
  EXPECT_EQ(fingerprint_of(folder_ / "a"), fingerprint_of_text("text"));
}

}  // namespace
}  // namespace scalelab::host
