// The program's one acquaintance with MPI, as a library of its own: without mpirun it is never opened, and whoever has no
// MPI has a program all the same. An error of MPI ends all ranks, with MPI's own words.
#include <mpi.h>

#include <algorithm>
#include <vector>

#include "host/program/mpi_calls.h"

namespace scalelab::host {
namespace {

// MPI counts by int: larger messages go in pieces.
constexpr std::size_t kPiece = std::size_t{1} << 27;

void reduce(std::int64_t* values, std::size_t count, MPI_Op operation) {
  for (std::size_t begin = 0; begin < count; begin += kPiece) {
    MPI_Allreduce(MPI_IN_PLACE, values + begin, static_cast<int>(std::min(kPiece, count - begin)), MPI_INT64_T,
                  operation, MPI_COMM_WORLD);
  }
}

void sum(std::int64_t* values, std::size_t count) { reduce(values, count, MPI_SUM); }
void max(std::int64_t* values, std::size_t count) { reduce(values, count, MPI_MAX); }

void broadcast(void* bytes, std::size_t count, int root) {
  for (std::size_t begin = 0; begin < count; begin += kPiece) {
    MPI_Bcast(static_cast<char*>(bytes) + begin, static_cast<int>(std::min(kPiece, count - begin)), MPI_BYTE, root,
              MPI_COMM_WORLD);
  }
}

void gather(const void* bytes, const std::int64_t* counts, void* all) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  std::int64_t total = 0;
  for (int r = 0; r < size; ++r) total += counts[r];
  if (total <= static_cast<std::int64_t>(kPiece)) {
    std::vector<int> lengths, places;
    for (int r = 0, place = 0; r < size; place += lengths.back(), ++r) {
      lengths.push_back(static_cast<int>(counts[r]));
      places.push_back(place);
    }
    MPI_Allgatherv(bytes, lengths[static_cast<std::size_t>(rank)], MPI_BYTE, all, lengths.data(), places.data(),
                   MPI_BYTE, MPI_COMM_WORLD);
    return;
  }
  auto* place = static_cast<char*>(all);
  for (int r = 0; r < size; place += counts[r], ++r) {
    if (r == rank) std::copy_n(static_cast<const char*>(bytes), counts[r], place);
    broadcast(place, static_cast<std::size_t>(counts[r]), r);
  }
}

// MPI_Finalize itself need not wait for the others.
void leave() {
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
}
void abort(int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); }

}  // namespace
}  // namespace scalelab::host

extern "C" const char* scalelab_open_mpi(scalelab::host::MpiCalls* calls) {
  using namespace scalelab::host;
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return "MPI_Init_thread failed";
  *calls = {.rank = 0,
            .size = 1,
            .local_rank = 0,
            .sum = sum,
            .max = max,
            .broadcast = broadcast,
            .gather = gather,
            .leave = leave,
            .abort = abort};
  MPI_Comm_rank(MPI_COMM_WORLD, &calls->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &calls->size);
  MPI_Comm machine = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  MPI_Comm_rank(machine, &calls->local_rank);
  MPI_Comm_free(&machine);
  return nullptr;
}
