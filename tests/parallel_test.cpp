// Loops on several threads: each piece once, by threads that are told apart, and done whatever becomes of the helpers.
#include "kernels/cpu/parallel.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace scalelab::cpu {
namespace {

// How often each of `count` pieces was done on so many threads; -1 for all when two threads had one index at once.
std::vector<int> times_done(int threads, std::int64_t count) {
  Context context(cpu_backend(), 0, threads);
  std::vector<std::atomic<int>> done(static_cast<std::size_t>(count)), busy(static_cast<std::size_t>(threads));
  std::atomic<bool> shared{false};
  parallel_for(context, count, [&](std::int64_t i) {
    const int index = thread_index();
    if (index < 0 || index >= threads || busy[static_cast<std::size_t>(index)]++ != 0) shared = true;
    ++done[static_cast<std::size_t>(i)];
    --busy[static_cast<std::size_t>(index)];
  });
  if (shared) return std::vector<int>(static_cast<std::size_t>(count), -1);
  return {done.begin(), done.end()};
}

TEST(ParallelFor, DoesEachPieceOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const std::int64_t count : {0, 1, 2, 31, 1009}) {
      const std::vector<int> once(static_cast<std::size_t>(count), 1);
      for (int turn = 0; turn < 20; ++turn) ASSERT_EQ(times_done(threads, count), once) << threads << " threads";
    }
  }
}

TEST(ParallelFor, HelpersWorkBesideTheOwnerAndLeaveSignalsToIt) {
  Context context(cpu_backend(), 0, 3);
  for (int turn = 0; turn < 100; ++turn) {
    std::latch all(3);  // nobody goes on before three threads have a piece
    std::atomic<int> indices{0}, blocked{0};
    parallel_for(context, 3, [&](std::int64_t) {
      all.arrive_and_wait();
      indices |= 1 << thread_index();
      sigset_t mask;
      pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      blocked += sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGSEGV) == 0;
    });
    ASSERT_EQ(indices, 7);
    ASSERT_EQ(blocked, 2);
  }
}

// Whether every other thread of this process sleeps; where there is no /proc nobody can tell, and it is taken for so.
bool others_sleep() {
  const std::string self = std::to_string(::gettid());
  std::error_code none;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none)) {
    std::ifstream file(task.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    if (task.path().filename() != self && stat.find(") S ") == std::string::npos) return false;
  }
  return true;
}

// By the owner of a loop and by its helper, while the other one has nothing left to do: one that would come has come
// before it sleeps.
TEST(ParallelFor, LoopsWithinLoopsAreDoneByTheThreadThatMeetsThem) {
  Context context(cpu_backend(), 0, 2);
  for (int turn = 0; turn < 20; ++turn) {
    for (const int who : {0, 1}) {
      std::latch both(2);
      std::atomic<int> wrong{0}, pieces{0};
      parallel_for(context, 2, [&](std::int64_t) {
        both.arrive_and_wait();
        if (thread_index() != who) return;
        const auto self = std::this_thread::get_id();
        parallel_for(context, 10, [&](std::int64_t i) {
          while (i == 0 && !others_sleep()) ::sched_yield();
          ++pieces;
          wrong += std::this_thread::get_id() != self || thread_index() != 0;
        });
        wrong += thread_index() != who;
      });
      ASSERT_EQ(wrong, 0) << who;
      ASSERT_EQ(pieces, 10);
    }
  }
}

// Two of three threads throw in their first piece, and the other one's first piece ends when one of the two exceptions is
// gone: the one that came second, whose thread has then left the loop. No thread may find another piece.
TEST(ParallelFor, AnExceptionEndsTheLoopForAllAndComesOut) {
  Context context(cpu_backend(), 0, 3);
  for (int turn = 0; turn < 50; ++turn) {
    for (const int other : {0, 2}) {
      std::latch all(3);
      std::atomic<int> begun{0};
      std::atomic<bool> gone{false};
      using Thrown = std::shared_ptr<std::atomic<bool>>;
      try {
        parallel_for(context, 1000, [&](std::int64_t) {
          if (begun++ >= 3) return;
          all.arrive_and_wait();
          if (thread_index() == other) return gone.wait(false);
          throw Thrown(&gone, [](std::atomic<bool>* flag) {
            *flag = true;
            flag->notify_all();
          });
        });
        FAIL() << "nothing was thrown";
      } catch (const Thrown&) {
      }
      ASSERT_EQ(begun, 3);
    }
  }
  EXPECT_EQ(times_done(4, 100), std::vector<int>(100, 1));
  // What progress throws abandons the loop in the same way.
  context.progress = [](std::int64_t, std::int64_t) { throw std::logic_error("stopped"); };
  EXPECT_THROW(parallel_for(context, 1000, [](std::int64_t) {}), std::logic_error);
}

TEST(ParallelFor, ThreadsOfTheCallerHaveHelpersOfTheirOwn) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 50; ++turn) wrong += times_done(3, 100) != std::vector<int>(100, 1);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// Runs `check` in a copy of this process made by fork, and says whether it held there and the copy came to its end.
template <class Check>
bool holds_in_a_copy(const Check& check) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) std::exit(check() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(ParallelFor, ACopyOfTheProcessGoesOnWithoutTheHelpers) {
  times_done(4, 100);
  EXPECT_TRUE(holds_in_a_copy([] { return times_done(4, 100) == std::vector<int>(100, 1); }));
}

#if !defined(__SANITIZE_ADDRESS__)  // which reserves terabytes: its address space cannot be limited
TEST(ParallelFor, ThreadsThatCannotBeCreatedAreDoneWithout) {
  EXPECT_TRUE(holds_in_a_copy([] {
    // Address space for this process as it is and a MB: of the stacks of 63 threads the few fit in that others left.
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    long pages = 0;
    const bool known = file != nullptr && std::fscanf(file, "%ld", &pages) == 1;
    const rlim_t limit = known ? static_cast<rlim_t>(pages) * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (1U << 20)
                               : rlim_t{1} << 20;  // without /proc: less than there is, and nothing can be mapped
    const rlimit tight{limit, limit};
    return ::setrlimit(RLIMIT_AS, &tight) == 0 && times_done(64, 100) == std::vector<int>(100, 1);
  }));
}
#endif

TEST(Context, HasNoStreamOnTheCpu) {
  int something = 0;
  EXPECT_THROW(Context(cpu_backend(), 0, 1, &something), std::invalid_argument);
}

}  // namespace
}  // namespace scalelab::cpu
