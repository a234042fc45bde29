// The store's promises: what was appended is there again, whatever happened to the process in between.
#include "host/lab/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <fstream>
#include <iterator>

#include "host/program/error.h"

namespace {

// The locks that file systems have, for the program under test: its calls of flock and fcntl end below.
struct Locks {
  bool flock = true, descriptions = true;  // whole files; open file descriptions
};
Locks locks_there;

struct WithLocks {
  explicit WithLocks(Locks there) { locks_there = there; }
  ~WithLocks() { locks_there = {}; }
};

}  // namespace

extern "C" int flock(int descriptor, int operation) noexcept {
  if (locks_there.flock) return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
  errno = ENOSYS;
  return -1;
}

extern "C" int fcntl(int descriptor, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  if (command != F_OFD_SETLK || locks_there.descriptions) {
    return static_cast<int>(::syscall(SYS_fcntl, descriptor, command, argument));
  }
  errno = ENOLCK;
  return -1;
}

namespace scalelab::host {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("store_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path shard(const std::string& name = "rows-1-of-1.jsonl") const { return folder_ / name; }
  static std::string text_of(const fs::path& file) {
    std::ifstream input(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(input), {}};
  }
  fs::path folder_;
};

nlohmann::json record(const std::string& id, const std::string& status, int value) {
  return {{"id", id}, {"status", status}, {"value", value}};
}

// What the constructor says when it refuses.
Failure refusal(const fs::path& folder, int shard = 1, int shards = 1) {
  try {
    Store store(folder, shard, shards);
  } catch (const Failure& failure) {
    return failure;
  }
  return {kDone, "was taken"};
}

TEST_F(StoreTest, GivesBackWhatWasAppended) {
  {
    Store store(folder_);
    EXPECT_EQ(store.records().size(), 0U);
    store.append(record("a", "ok", 1));
    store.append(record("b", "failed: no reason", 2));
    EXPECT_EQ(store.records().size(), 2U);
    EXPECT_EQ(store.records().at("a"), record("a", "ok", 1));
    EXPECT_TRUE(store.records().failed("b"));
  }
  const Store again(folder_);
  EXPECT_FALSE(again.records().failed("a"));
  EXPECT_TRUE(again.records().failed("b"));
  EXPECT_EQ(again.records().ids(), (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(again.records().size(), 2U);
  EXPECT_EQ(again.records().at("a"), record("a", "ok", 1));
  EXPECT_EQ(again.records().at("b"), record("b", "failed: no reason", 2));
}

TEST_F(StoreTest, TheLaterLineOfAFileWins) {
  {
    Store store(folder_);
    store.append(record("a", "ok", 1));
    store.append(record("a", "failed: later", 2));
  }
  EXPECT_EQ(Store(folder_).records().at("a")["value"], 2);
}

TEST_F(StoreTest, OfTwoShardsTheOneThatSaysOkWins) {
  Store(folder_, 1, 2).append(record("a", "failed: here", 1));
  Store(folder_, 2, 2).append(record("a", "ok", 2));
  EXPECT_EQ(Store(folder_, 1, 2).records().at("a")["value"], 2);
  Store(folder_, 1, 3).append(record("b", "ok", 3));
  Store(folder_, 2, 3).append(record("b", "failed: there", 4));
  EXPECT_EQ(Store(folder_, 3, 3).records().at("b")["value"], 3);
}

TEST_F(StoreTest, ATornLastLineIsCutOffWhereverItWasTorn) {
  {
    Store store(folder_);
    store.append(record("a", "ok", 1));
    store.append(record("b", "ok", 2));
  }
  const std::string whole = text_of(shard());
  const std::size_t first = whole.find('\n') + 1;
  for (std::size_t length = first; length < whole.size(); ++length) {
    std::ofstream(shard(), std::ios::binary | std::ios::trunc) << whole.substr(0, length);
    {
      Store store(folder_);
      ASSERT_EQ(store.records().size(), 1U) << "torn at " << length;
      store.append(record("c", "ok", 3));
    }
    const Store again(folder_);
    ASSERT_EQ(again.records().size(), 2U) << "torn at " << length;
    ASSERT_FALSE(again.records().contains("b"));
    ASSERT_EQ(text_of(shard()).substr(0, first), whole.substr(0, first));
  }
}

TEST_F(StoreTest, ATornLineWhoseEndReachedTheDiskIsCutOff) {
  { Store(folder_).append(record("a", "ok", 1)); }
  const std::string whole = text_of(shard());
  std::ofstream(shard(), std::ios::app) << std::string(20, '\0') << "\n";  // its middle did not
  {
    Store store(folder_);
    EXPECT_EQ(store.records().size(), 1U);
  }
  EXPECT_EQ(text_of(shard()), whole);
}

TEST_F(StoreTest, ARecordWhoseFileWasChangedMeanwhileIsRefused) {
  { Store(folder_).append(record("a", "ok", 1)); }
  const Records records = Records::in(folder_);
  std::ofstream(shard(), std::ios::binary) << record("b", "ok", 2).dump() << "\n";
  EXPECT_THROW(records.at("a"), Failure);
  fs::remove(shard());
  EXPECT_THROW(records.at("a"), Failure);
}

TEST_F(StoreTest, ATornLineOfAnotherShardIsLeftAlone) {
  Store(folder_, 1, 2).append(record("a", "ok", 1));
  std::ofstream(shard("rows-1-of-2.jsonl"), std::ios::app) << "{\"id\": \"b\", \"sta";
  const std::string before = text_of(shard("rows-1-of-2.jsonl"));
  const Store other(folder_, 2, 2);
  EXPECT_EQ(other.records().size(), 1U);
  EXPECT_EQ(text_of(shard("rows-1-of-2.jsonl")), before);
}

TEST_F(StoreTest, ALineThatIsNoRecordIsNamed) {
  fs::create_directories(folder_);
  std::ofstream(shard()) << record("a", "ok", 1).dump() << "\nnot json\n" << record("b", "ok", 1).dump() << "\n";
  const Failure failure = refusal(folder_);
  EXPECT_EQ(failure.exit_code, kBadData);
  EXPECT_NE(std::string(failure.what()).find("rows-1-of-1.jsonl:2:"), std::string::npos) << failure.what();
}

TEST_F(StoreTest, AMemberOfAnotherTypeIsNamed) {
  fs::create_directories(folder_);
  for (const auto& [line, says] :
       {std::pair(R"({"id":"b","status":5})", "'status'"), std::pair(R"({"id":"b","seconds":"1"})", "'seconds'"),
        std::pair(R"({"id":"b","metrics":[1]})", "'metrics'")}) {
    std::ofstream(shard(), std::ios::binary) << R"({"id":"a","status":"ok"})" << '\n' << line << '\n';
    const Failure failure = refusal(folder_);
    EXPECT_EQ(failure.exit_code, kBadData);
    EXPECT_NE(std::string(failure.what()).find("rows-1-of-1.jsonl:2: " + std::string(says)), std::string::npos)
        << failure.what();
  }
}

TEST_F(StoreTest, TwoProcessesDoNotShareAShard) {
  const Store store(folder_);
  const Failure failure = refusal(folder_);
  EXPECT_EQ(failure.exit_code, kMisuse);
  EXPECT_NE(std::string(failure.what()).find("another process"), std::string::npos) << failure.what();
  EXPECT_EQ(std::string(refusal(folder_, 2, 2).what()), "was taken");
}

TEST_F(StoreTest, AFileSystemWithoutLocksIsWrittenAllTheSame) {
  for (const bool descriptions : {true, false}) {
    const WithLocks there({.flock = false, .descriptions = descriptions});
    Store store(folder_);
    EXPECT_EQ(store.locked(), descriptions);
    store.append(record(descriptions ? "a" : "b", "ok", 1));
    EXPECT_EQ(refusal(folder_).exit_code == kMisuse, descriptions);  // as long as it is open here
  }
  EXPECT_EQ(Records::in(folder_).size(), 2U);
  EXPECT_TRUE(Store(folder_).locked());
}

TEST_F(StoreTest, AFullDiskLosesNothingThatWasThere) {
  // A file that may not grow beyond a limit stands for a full disk: the write that crosses it comes back short, and the
  // next fails.
  { Store(folder_).append(record("a", "ok", 1)); }
  const std::string before = text_of(shard());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {before.size() + 10, before.size() + 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      Store store(folder_);
      store.append(record("b", "ok", 2));
    } catch (const Failure& failure) {
      ::_exit(failure.exit_code);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kCannotWrite);
  EXPECT_EQ(text_of(shard()), before);
  Store store(folder_);
  store.append(record("b", "ok", 2));
  EXPECT_EQ(Store(folder_, 2, 2).records().size(), 2U);
}

}  // namespace
}  // namespace scalelab::host
