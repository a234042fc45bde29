// Progress, on a screen and by a clock that the tests hold.
#include "host/program/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "host/program/command.h"

namespace scalelab::host {
namespace {

class ProgressTest : public testing::Test {
 protected:
  Screen screen(bool terminal) {
    return {.terminal = terminal,
            .columns = [this] { return columns_; },
            .write = [this](std::string_view text) { writes_.emplace_back(text); }};
  }
  Clock clock() {
    return [this] { return now_; };
  }

  double now_ = 1000;
  int columns_ = 80;
  std::vector<std::string> writes_;
};

TEST_F(ProgressTest, TheFirstTwoSecondsAreSilent) {
  Progress progress(false, screen(true), clock());
  progress.update("work", 0, 100);
  now_ += 1.99;
  progress.update("work", 20, 100);
  EXPECT_TRUE(writes_.empty());
  now_ += 0.01;
  progress.update("work", 25, 100);
  EXPECT_EQ(writes_, std::vector<std::string>{"\rwork: 25 %, 2 s, about 6 s left\x1b[K"});
}

TEST_F(ProgressTest, ATerminalsLineIsRewrittenTenTimesASecondAtMost) {
  Progress progress(false, screen(true), clock());
  for (int i = 0; i < 400; ++i, now_ += 0.0078125) progress.update("work", i, 400);  // 3.125 s
  EXPECT_GE(writes_.size(), 10U);
  EXPECT_LE(writes_.size(), 12U);
}

TEST_F(ProgressTest, ElsewhereALineComesEveryTenSeconds) {
  Progress progress(false, screen(false), clock());
  for (int i = 0; i <= 30; ++i, now_ += 1) progress.update("work", i, 30);
  EXPECT_EQ(writes_,
            (std::vector<std::string>{"work: 33 %, 10 s, about 20 s left\n", "work: 67 %, 20 s, about 10 s left\n",
                                      "work: 99 %, 30 s, about 0 s left\n"}));
}

// A stage that another interrupts is timed from its own beginning.
TEST_F(ProgressTest, EachStageIsTimedFromItsBeginning) {
  Progress progress(false, screen(true), clock());
  progress.update("whole", 0, 2);
  now_ += 16;
  progress.update("part", 0, 2);
  now_ += 5;
  progress.update("part", 1, 2);
  now_ += 1;
  progress.update("whole", 1, 2);
  EXPECT_EQ(writes_, (std::vector<std::string>{"\rpart: 0 %, 0 s\x1b[K", "\rpart: 50 %, 5 s, about 5 s left\x1b[K",
                                               "\rwhole: 50 %, 22 s, about 22 s left\x1b[K"}));
}

// A line that a terminal has to wrap can no longer be written over: every update would leave a line behind.
TEST_F(ProgressTest, NoLineIsWiderThanTheTerminal) {
  Progress progress(false, screen(true), clock());
  now_ += 5;
  for (const int columns : {1, 2, 10, 39, 40, 41, 200}) {
    columns_ = columns;  // the window's owner may change it at any time
    now_ += 1;
    progress.update("training 40 networks", 1, 2);
    const std::string& line = writes_.back();
    ASSERT_GE(line.size(), 4U);
    EXPECT_LT(static_cast<int>(line.size()) - 4, columns) << line;
  }
  EXPECT_EQ(writes_.back().find("training 40 networks: 50 %"), 1U);
  columns_ = 8;
  now_ += 1;
  progress.update("ab\xC3\xA9\xE2\x82\xAC\xE2\x82\xAC", 1, 2);  // of the last two characters one fits
  EXPECT_EQ(writes_.back(), "\rab\xC3\xA9\xE2\x82\xAC\x1b[K");
  columns_ = 0;  // a terminal that does not say
  now_ += 1;
  progress.update(std::string(100, 'x'), 1, 2);
  EXPECT_EQ(writes_.back(), "\r" + std::string(79, 'x') + "\x1b[K");
}

TEST_F(ProgressTest, QuietSaysOnlyWhatMustBeSaid) {
  Progress progress(true, screen(true), clock());
  now_ += 100;
  progress.update("work", 1, 2);
  progress.remark("by the way");
  EXPECT_TRUE(writes_.empty());
  progress.say("a row failed");
  EXPECT_EQ(writes_, std::vector<std::string>{"a row failed\n"});
}

TEST_F(ProgressTest, TheLineIsRemovedBeforeAnythingElseIsSaid) {
  {
    Progress progress(false, screen(true), clock());
    now_ += 3;
    progress.update("work", 0, 2);
    progress.remark("by the way");
    now_ += 1;
    progress.update("work", 1, 2);
  }
  EXPECT_EQ(writes_, (std::vector<std::string>{"\rwork: 0 %, 0 s\x1b[K", "\r\x1b[K", "by the way\n",
                                               "\rwork: 50 %, 1 s, about 1 s left\x1b[K", "\r\x1b[K"}));
  writes_.clear();
  Progress progress(false, screen(false), clock());  // in a log nobody sits before it, and there is nothing to remove
  progress.remark("by the way");
  now_ += 30;
  progress.update("work", 0, 2);
  progress.clear();
  EXPECT_EQ(writes_, std::vector<std::string>{"work: 0 %, 0 s\n"});
}

// What was said is not taken back: what an op reports anew goes on from there.
TEST_F(ProgressTest, TheShareNeverFalls) {
  Progress progress(false, screen(true), clock());
  for (const int done : {10, 60, 20, 60, 80, 100}) {
    now_ += 10;
    progress.update("work", done, 100);
  }
  EXPECT_EQ(writes_, (std::vector<std::string>{
                         "\rwork: 10 %, 0 s, about 0 s left\x1b[K", "\rwork: 60 %, 10 s, about 7 s left\x1b[K",
                         "\rwork: 60 %, 20 s, about 13 s left\x1b[K", "\rwork: 60 %, 30 s, about 20 s left\x1b[K",
                         "\rwork: 80 %, 40 s, about 10 s left\x1b[K", "\rwork: 99 %, 50 s, about 1 s left\x1b[K"}));
}

class StageTest : public ProgressTest {
 protected:
  void say(std::int64_t done, std::int64_t total) {
    now_ += 10;
    context_.progress(done, total);
  }
  const Common common_;
  Context context_{cpu_backend(), 0, 1};
  Progress progress_{false, screen(false), clock()};
  Session session_{common_, context_, progress_};
};

TEST_F(StageTest, OpsReportUnderTheNameOfTheirStage) {
  Stage stage(session_, "stage");
  say(1, 2);
  say(3, 4);
  EXPECT_EQ(stage.seconds(), 20);
  EXPECT_EQ(writes_,
            (std::vector<std::string>{"stage: 50 %, 0 s, about 0 s left\n", "stage: 75 %, 10 s, about 3 s left\n"}));
}

// One line and one estimate for the whole, whatever works in it: it never falls, and 100 % is not said.
TEST_F(StageTest, APartOfAPartIsOneOfTheWhole) {
  {
    Stage whole(session_, "prune");
    whole.part(0, 1, 4);
    {
      const Stage same(session_, "prune");  // a name within itself is said once
      say(1, 1);
    }
    whole.part(1, 4, 4);
    for (int split = 0; split < 2; ++split) {
      Stage splits(session_, "splits");
      splits.part(split, split + 1, 2);
      Stage inner(session_, "training");
      say(1, 2);
      inner.rename("testing");
      say(1, 1);
    }
  }
  EXPECT_FALSE(context_.progress) << "nobody listens any more";
  std::vector<std::string> names;
  int last = 0;
  for (const std::string& line : writes_) {
    const std::size_t colon = line.find(": ");
    names.push_back(line.substr(0, colon));
    const int percent = std::stoi(line.substr(colon + 2));
    EXPECT_GE(percent, last) << line;
    EXPECT_LT(percent, 100) << line;
    last = percent;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"prune", "prune, splits, training", "prune, splits, testing",
                                             "prune, splits, training", "prune, splits, testing"}));
  EXPECT_EQ(writes_[1], "prune, splits, training: 44 %, 20 s, about 26 s left\n");  // 1/4 + 3/4 * 1/2 * 1/2
  EXPECT_EQ(last, 99);
}

// A command that is run again begins at its beginning.
TEST_F(StageTest, ANewWholeBeginsAnew) {
  for (int i = 0; i < 2; ++i) {
    const Stage stage(session_, "story");
    say(1, 2);
  }
  EXPECT_EQ(writes_, std::vector<std::string>(2, "story: 50 %, 0 s, about 0 s left\n"));
}

}  // namespace
}  // namespace scalelab::host
