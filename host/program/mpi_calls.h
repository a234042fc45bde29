// mpi_calls: what the program asks of MPI. host/mpi_module.cpp, a library that is opened at run time, fills this in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace scalelab::host {

struct MpiCalls {
  int rank, size, local_rank;
  void (*sum)(std::int64_t* values, std::size_t count);
  void (*max)(std::int64_t* values, std::size_t count);
  void (*broadcast)(void* bytes, std::size_t count, int root);
  // `counts` (size): how many bytes each rank gives. Into `all`, which has room for all of them.
  void (*gather)(const void* bytes, const std::int64_t* counts, void* all);
  void (*leave)();
  void (*abort)(int exit_code);
};

// The library's one function, by this name: starts MPI. Null when it worked, else why not.
using OpenMpi = const char*(MpiCalls*);
inline constexpr const char* kOpenMpi = "scalelab_open_mpi";

}  // namespace scalelab::host
