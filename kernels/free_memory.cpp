#include "kernels/free_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace scalelab {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

// The number behind a name in a file of lines "name number" or "name: number unit".
std::optional<std::size_t> named(const fs::path& file, const std::string& name) {
  std::ifstream input(file);
  std::string word, rest;
  for (std::size_t value = 0; input >> word;) {
    if (!(input >> value)) {
      input.clear();
    } else if (word.starts_with(name) && (word.size() == name.size() || word.substr(name.size()) == ":")) {
      return value;
    }
    std::getline(input, rest);
  }
  return std::nullopt;
}

// The only number of a file; nothing where it says "max" or is not there.
std::optional<std::size_t> number(const fs::path& file) {
  std::ifstream input(file);
  std::size_t value = 0;
  if (input >> value) return value;
  return std::nullopt;
}

std::size_t difference(std::size_t a, std::size_t b) { return a > b ? a - b : 0; }

// What a group's limit leaves. Pages of files that nobody uses count as used and are dropped when memory is wanted.
std::size_t left_of_group(const fs::path& group, const char* limit_file, const char* usage_file,
                          const char* droppable) {
  const std::optional<std::size_t> limit = number(group / limit_file), usage = number(group / usage_file);
  if (!limit || !usage) return kNoLimit;
  return difference(*limit, difference(*usage, named(group / "memory.stat", droppable).value_or(0)));
}

// The least that the group at `path` below `mount`, and every group above it, leaves. In a container the mount is the
// container's own group, and the path may be one that only the host sees.
std::size_t left_of_groups(const fs::path& mount, const fs::path& path, const char* limit_file, const char* usage_file,
                           const char* droppable) {
  std::size_t left = left_of_group(mount, limit_file, usage_file, droppable);
  fs::path group = mount;
  for (const fs::path& name : path.relative_path()) {
    group /= name;
    left = std::min(left, left_of_group(group, limit_file, usage_file, droppable));
  }
  return left;
}

// Lines of /proc/self/cgroup are "id:controllers:path"; version 2 has no controllers there.
std::size_t left_of_cgroups(const fs::path& root) {
  std::size_t left = kNoLimit;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);  // ",memory,", and ",," where there is none
    controllers.front() = controllers.back() = ',';
    const fs::path path = line.substr(second + 1);
    if (controllers == ",,") {
      left =
          std::min(left, left_of_groups(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      left = std::min(left, left_of_groups(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
                                           "memory.usage_in_bytes", "total_inactive_file"));
    }
  }
  return left;
}

// What a limit of the process leaves; `name` is what /proc/self/status calls the part that counts.
std::size_t left_of_limit(int resource, const fs::path& root, const char* name) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kNoLimit;
  }
  return difference(limit.rlim_cur, 1024 * named(root / "proc/self/status", name).value_or(0));
}

}  // namespace

std::size_t free_memory(const fs::path& root) {
  const std::optional<std::size_t> available = named(root / "proc/meminfo", "MemAvailable");
  const std::size_t all =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return std::min({available ? *available * 1024 : all, left_of_cgroups(root), left_of_limit(RLIMIT_AS, root, "VmSize"),
                   left_of_limit(RLIMIT_DATA, root, "VmData")});
}

}  // namespace scalelab
