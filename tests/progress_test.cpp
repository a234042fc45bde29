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
  EXPECT_EQ(writes_, (std::vector<std::string>{"work: 33 %, 10 s, about 20 s left\n",
                                               "work: 67 %, 20 s, about 10 s left\n", "work: 100 %, 30 s\n"}));
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

TEST_F(ProgressTest, OpsReportUnderTheNameOfTheirStage) {
  const Common common;
  Context context(cpu_backend(), 0, 1);
  Progress progress(false, screen(false), clock());
  Session session{common, context, progress};
  now_ += 10;
  int outer = 0;
  context.progress = [&](std::int64_t, std::int64_t) { ++outer; };
  {
    Stage stage(session, "stage");
    now_ += 12;
    context.progress(1, 2);
    EXPECT_EQ(stage.seconds(), 12);
    now_ += 10;
    stage.part(3, 4, 4);
    now_ += 10;
    context.progress(1, 2);
  }
  EXPECT_EQ(outer, 0);
  context.progress(1, 2);
  EXPECT_EQ(outer, 1);
  EXPECT_EQ(writes_,
            (std::vector<std::string>{"stage: 50 %, 0 s, about 0 s left\n", "stage: 75 %, 10 s, about 3 s left\n",
                                      "stage: 88 %, 20 s, about 3 s left\n"}));
}

}  // namespace
}  // namespace scalelab::host
