// free_memory: every limit counts, and the least decides. The files of the kernel are the test's own.
#include "kernels/free_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace scalelab {
namespace {

namespace fs = std::filesystem;

class FreeMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("free_memory" + std::to_string(::getpid()));
    fs::remove_all(root_);
    put("proc/meminfo", "MemTotal:  100 kB\nMemAvailable:       8000 kB\nHugePages_Total:       0\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(const fs::path& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  fs::path root_;
};

TEST_F(FreeMemoryTest, IsWhatTheKernelSaysWithoutALimit) { EXPECT_EQ(free_memory(root_), 8000U * 1024); }

TEST_F(FreeMemoryTest, GroupsOfVersion2AndThoseAboveThem) {
  put("proc/self/cgroup", "0::/slurm/job\n");
  put("sys/fs/cgroup/slurm/job/memory.max", "max\n");
  put("sys/fs/cgroup/slurm/job/memory.current", "700000\n");
  put("sys/fs/cgroup/slurm/memory.max", "1000000\n");
  put("sys/fs/cgroup/slurm/memory.current", "800000\n");
  EXPECT_EQ(free_memory(root_), 200000U);
  put("sys/fs/cgroup/slurm/memory.stat", "anon 5\ninactive_file 300000\nactive_file 9\n");  // can be dropped
  EXPECT_EQ(free_memory(root_), 500000U);
  put("sys/fs/cgroup/slurm/job/memory.max", "710000\n");
  EXPECT_EQ(free_memory(root_), 10000U);
  put("sys/fs/cgroup/slurm/job/memory.max", "600000\n");  // already beyond
  EXPECT_EQ(free_memory(root_), 0U);
}

TEST_F(FreeMemoryTest, ContainersSeeTheirOwnGroupAtTheMount) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "3000000\n");
  put("sys/fs/cgroup/memory.current", "1000000\n");
  EXPECT_EQ(free_memory(root_), 2000000U);
}

TEST_F(FreeMemoryTest, GroupsOfVersion1) {
  put("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:hugetlb:/b\n3:rdma,memory:/docker/1\n");
  put("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2000000\n");
  put("sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", "500000\n");
  put("sys/fs/cgroup/memory/docker/1/memory.stat", "inactive_file 7\ntotal_inactive_file 100000\n");
  EXPECT_EQ(free_memory(root_), 1600000U);
}

TEST_F(FreeMemoryTest, LimitsOfTheProcess) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  put("proc/self/status", "Name:\tx\nVmSize:\t  1000000000 kB\nVmData:\t 5 kB\n");
  rlimit limit = before;
  limit.rlim_cur = rlim_t{1000003000} * 1024;  // far beyond what the test takes
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
  EXPECT_EQ(free_memory(root_), 3000U * 1024);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
}

}  // namespace
}  // namespace scalelab
