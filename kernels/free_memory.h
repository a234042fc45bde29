// free_memory: what this process can still take on the host.
#pragma once

#include <cstddef>
#include <filesystem>

namespace scalelab {

// Bytes that can be had without swapping and within every limit: what the kernel says is available, of each memory
// cgroup (version 1 or 2) of this process and those above it the limit less what is in use and cannot be dropped, and of
// `ulimit -v` and `ulimit -d` what is not yet taken. Without the kernel's word (no Linux) the machine's memory.
// `root` holds proc and sys; tests give their own.
std::size_t free_memory(const std::filesystem::path& root = "/");

}  // namespace scalelab
