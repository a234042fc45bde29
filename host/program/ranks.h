// ranks: the processes that mpirun or srun started together, and what they must agree on before each does its share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "host/program/error.h"
#include "scalelab/backend.h"
#include "scalelab/communicator.h"

namespace scalelab::host {

// What the environment says of the processes that mpirun, mpiexec or srun started together with this one.
struct Launch {
  int rank = 0, size = 1;
  bool mpi = false;  // they can be made to talk to each other
};
Launch find_launch();

// This process among those that were started with it. MPI lies in a library of its own beside the program, which is
// opened here and nowhere else. One per process.
class Ranks {
 public:
  Ranks() = default;  // alone
  // Failure(kMissing) where the program was built without MPI, Failure(kMisuse) where srun was not told of it: said by
  // each process, for none knows of the others.
  explicit Ranks(const Launch& launch);
  ~Ranks();  // ends every rank, unless this one has left
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  const Communicator& communicator() const { return communicator_; }
  int on_this_machine() const { return local_rank_; }  // counted from 0
  // Threads for a rank, by default_threads (processors.h), which ranks of one machine that may run on the same processors
  // share. OMP_NUM_THREADS holds for each rank. Called by all.
  int threads();
  // Waits for all ranks to leave. What ends all of them alike ends so.
  void leave();
  // Ends every rank at once, for a failure that the others do not know of. Returns only where this rank is alone.
  void end_all(int exit_code);

 private:
  Communicator communicator_;
  int local_rank_ = 0;
  void (*leave_)() = nullptr;
  void (*abort_)(int) = nullptr;
};

// A failure that every rank throws at once, with one line: the first rank says it, and the others wait for that in
// silence.
struct SharedFailure : Failure {
  using Failure::Failure;
};

// Does `work` on every rank. Where it fails on any, all throw the failure of the lowest such rank, which is named unless
// all failed. `work` must not communicate.
void on_all(Communicator& ranks, const std::function<void()>& work);

// Throws on every rank where one has another value than the first. `facts`: what it is, and its value.
void require_equal(Communicator& ranks, const std::vector<std::pair<std::string, std::string>>& facts);

// A Context that works without its other ranks meanwhile.
class Alone {
 public:
  explicit Alone(Context& context) : context_(context), together_(std::exchange(context.ranks, Communicator())) {}
  ~Alone() { context_.ranks = std::move(together_); }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  Context& context_;
  Communicator together_;
};

// Rows [first, first + count) of n, in whole blocks, of rank `rank` of `size`.
struct Share {
  std::int64_t first, count;
};
Share share_of(std::int64_t n, std::int64_t block, int rank, int size);

}  // namespace scalelab::host
