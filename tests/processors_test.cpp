// How many threads are taken unasked: from the environment, the processors and the files of cgroups, made up here.
#include "scalelab/processors.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "scalelab/backend.h"

namespace scalelab {
namespace {

namespace fs = std::filesystem;

class ProcessorsTest : public testing::Test {
 protected:
  ProcessorsTest() {
    ::unsetenv("OMP_NUM_THREADS");
    fs::create_directories(root_);
  }
  ~ProcessorsTest() override {
    ::unsetenv("OMP_NUM_THREADS");
    fs::remove_all(root_);
  }
  void file(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  ThreadCount found() const { return default_threads(root_.string()); }

  const fs::path root_ = fs::path(testing::TempDir()) / ("scalelab_processors_" + std::to_string(::getpid()));
};

TEST_F(ProcessorsTest, WithoutLimitsAllProcessorsAreTaken) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  EXPECT_EQ(found().threads, CPU_COUNT(&allowed));
  Context context(cpu_backend());
  EXPECT_EQ(context.threads(), default_threads().threads);
}

TEST_F(ProcessorsTest, OpenMpsVariableIsHeeded) {
  ::setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(found().threads, 3);
  EXPECT_EQ(found().reason, "OMP_NUM_THREADS");
  EXPECT_EQ(Context(cpu_backend()).threads(), 3);
  EXPECT_EQ(Context(cpu_backend(), 0, 5).threads(), 5);
  ::setenv("OMP_NUM_THREADS", "5,2", 1);
  EXPECT_EQ(found().threads, 5);
  for (const char* nonsense : {"", "0", "-1", "many", "3x", "99999999999999999999"}) {
    ::setenv("OMP_NUM_THREADS", nonsense, 1);
    EXPECT_NE(found().reason, "OMP_NUM_THREADS") << nonsense;
    EXPECT_GE(found().threads, 1);
  }
}

TEST_F(ProcessorsTest, OnlyProcessorsItMayRunOnCount) {
  cpu_set_t allowed, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int first = 0;
  while (!CPU_ISSET(first, &allowed)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(found().threads, 1);
  EXPECT_NE(found().reason.find("processor"), std::string::npos);
  EXPECT_EQ(::sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

TEST_F(ProcessorsTest, QuotasOfTheSecondVersion) {
  file("proc/self/cgroup", "0::/outer/inner\n");
  file("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(found().reason.find("quota"), std::string::npos);
  file("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000\n");
  EXPECT_EQ(found().threads, 1);
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.5 processors");
  file("sys/fs/cgroup/outer/cpu.max", "25000 100000\n");  // a group above grants less
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.25 processors");
  // In a container the path leads nowhere, and its own group is the top.
  file("proc/self/cgroup", "0::/kubepods/pod7/container\n");
  file("sys/fs/cgroup/cpu.max", "75000 100000\n");
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.75 processors");
  file("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.75 processors");
}

TEST_F(ProcessorsTest, QuotasOfTheFirstVersion) {
  file("proc/self/cgroup", "12:memory:/m\n4:cpu,cpuacct:/jobs/7\n1:name=systemd:/\n0::/\n");
  file("sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_quota_us", "-1\n");
  file("sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(found().reason.find("quota"), std::string::npos);
  file("sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_quota_us", "50000\n");
  EXPECT_EQ(found().threads, 1);
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.5 processors");
  file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "10000\n");  // the top, under the controller's own name
  file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(found().reason, "the cgroup's quota of 0.1 processors");
}

TEST_F(ProcessorsTest, AQuotaIsRoundedUp) {
  const int processors = found().threads;  // one and a half are worth two threads, where there are two processors
  file("proc/self/cgroup", "0::/\n");
  file("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(found().threads, std::min(2, processors));
}

TEST_F(ProcessorsTest, NonsenseLimitsNothing) {
  for (const char* groups : {"", "\n", "0", "0:", "::", "0::", "0::/../..", "no line\n4:cpu\n"}) {
    file("proc/self/cgroup", groups);
    for (const char* quota : {"", "max", "x y", "0 100000", "100000 0", "-5 100000", "100000"}) {
      file("sys/fs/cgroup/cpu.max", quota);
      EXPECT_EQ(found().reason.find("quota"), std::string::npos) << groups << quota;
    }
  }
}

// Streams and memory pools are a GPU's: on the CPU a caller's own are refused.
TEST(ContextTest, OnTheCpuHasNeitherStreamNorPool) {
  int somebodys = 0;
  EXPECT_THROW(Context(cpu_backend(), 0, 1, &somebodys), std::invalid_argument);
  EXPECT_THROW(Context(cpu_backend(), 0, 1, nullptr, &somebodys), std::invalid_argument);
  const Context context(cpu_backend(), 0, 1);
  EXPECT_EQ(context.pool(), nullptr);
}

}  // namespace
}  // namespace scalelab
