// processors: how many threads are worth having on this machine.
#pragma once

#include <string>

namespace scalelab {

struct ThreadCount {
  int threads;         // at least 1
  std::string reason;  // what set it, in some words: "all 8 processors", "OMP_NUM_THREADS"
};

// The number of threads that a Context of 0 threads takes: the first number of OMP_NUM_THREADS where it is set;
// otherwise one for each processor that this process may run on, and no more than the CPU quotas of its cgroups (v1 and
// v2, of every group above it too) are worth, rounded up. What cannot be read limits nothing. The files of /proc and
// /sys are looked for below `root`.
ThreadCount default_threads(const std::string& root = "");

}  // namespace scalelab
