// files: output appears whole or not at all, and what stops it is named.
#include "host/program/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>

#include "host/program/error.h"

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

TEST_F(Files, AStaleResultIsRemoved) {
  write_file(folder_ / "result.json", "{}");
  remove_stale_result(folder_ / "result.json");
  EXPECT_EQ(entries(), 0U);
  remove_stale_result(folder_ / "result.json");
  EXPECT_NE(complaint([&] { remove_stale_result(folder_); }), "");
}

}  // namespace
}  // namespace scalelab::host
