#include "scalelab/processors.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <vector>

namespace scalelab {

namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();
constexpr int kMostThreads = 1024;  // as for --threads

// The first number of a list as "4,2", or nothing where there is none.
std::optional<int> openmp_threads() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return {};
  const std::string list = text, first = list.substr(0, list.find(','));
  int threads = 0;
  const auto [stop, error] = std::from_chars(first.data(), first.data() + first.size(), threads);
  if (error != std::errc() || stop != first.data() + first.size() || threads < 1) return {};
  return std::min(threads, kMostThreads);
}

// Processors that this thread may run on; the set grows until it holds the machine's.
int allowed_processors(int all) {
  for (std::size_t processors = 1024; processors <= 1024 * 1024; processors *= 2) {
    std::vector<cpu_set_t> set(processors / CPU_SETSIZE);
    const std::size_t bytes = set.size() * sizeof(cpu_set_t);
    if (::sched_getaffinity(0, bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
  }
  return all;
}

// Processors that "quota period" (cpu.max of v2) or two files of v1 grant; "max" and -1 are no limit.
double granted(std::istream& quota, std::istream& period) {
  double allowed = 0, each = 0;  // microseconds in each period
  if (!(quota >> allowed) || !(period >> each) || allowed <= 0 || each <= 0) return kUnlimited;
  return allowed / each;
}

// The least of what a group and those above it grant. In a container the path that the kernel states may begin above
// what is mounted there: then the top is what is left of it.
double least_granted(const std::string& mount, std::string group, bool second_version) {
  double least = kUnlimited;
  for (;; group.resize(group.rfind('/'))) {
    const std::string folder = mount + group;
    if (second_version) {
      std::ifstream file(folder + "/cpu.max");
      least = std::min(least, granted(file, file));
    } else {
      std::ifstream quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
      least = std::min(least, granted(quota, period));
    }
    if (group.rfind('/') == std::string::npos) return least;
  }
}

// A line of /proc/self/cgroup is "0::/group" (v2) or "4:cpu,cpuacct:/group" (v1).
double cgroup_quota(const std::string& root) {
  double least = kUnlimited;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers.empty()) {
      for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
        least = std::min(least, least_granted(root + mount, group, true));
      }
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      if (name != "cpu") continue;
      for (const std::string& mount : {controllers, name}) {
        least = std::min(least, least_granted(root + "/sys/fs/cgroup/" + mount, group, false));
      }
    }
  }
  return least;
}

std::string counted(int processors) {
  return std::to_string(processors) + (processors == 1 ? " processor" : " processors");
}

}  // namespace

ThreadCount default_threads(const std::string& root) {
  if (const auto asked = openmp_threads()) return {*asked, "OMP_NUM_THREADS"};
  const int all = static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  const int allowed = std::clamp(allowed_processors(all), 1, kMostThreads);
  const double quota = cgroup_quota(root);
  if (quota < allowed) {
    std::ostringstream reason;
    reason << "the cgroup's quota of " << quota << (quota == 1 ? " processor" : " processors");
    return {std::max(1, static_cast<int>(std::ceil(quota))), reason.str()};
  }
  if (allowed < all) return {allowed, "this process may run on " + std::to_string(allowed) + " of " + counted(all)};
  return {allowed, all == 1 ? "the one processor" : "all " + counted(all)};
}

}  // namespace scalelab
