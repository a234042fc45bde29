#include "host/program/ranks.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <utility>

#include "host/program/environment.h"
#include "host/program/files.h"
#include "host/program/mpi_calls.h"
#include "host/program/own_program.h"
#include "scalelab/processors.h"

namespace scalelab::host {

namespace fs = std::filesystem;

namespace {

constexpr const char* kModule = "scalelab_mpi.so";

// A number in the environment; -1 where there is none.
int number_of(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? -1 : std::atoi(text);
}

// The library beside the program: where it was built, and where it is installed.
OpenMpi* find_module(std::string& why_not) {
  std::error_code unknown;
  const fs::path program = own_program().parent_path();
  for (const fs::path& folder : {program, program.parent_path() / "lib/scalelab"}) {
    if (!fs::exists(folder / kModule, unknown)) continue;
    // For all to see: the parts that MPI opens itself look for its functions.
    void* module = ::dlopen((folder / kModule).c_str(), RTLD_NOW | RTLD_GLOBAL);
    void* open = module != nullptr ? ::dlsym(module, kOpenMpi) : nullptr;
    if (open != nullptr) return reinterpret_cast<OpenMpi*>(open);
    const char* said = ::dlerror();
    why_not = said != nullptr ? said : (folder / kModule).string() + " is of another program";
    return nullptr;
  }
  why_not = "it was built where no MPI was found (libopenmpi-dev, then configure again)";
  return nullptr;
}

Communicator::Transport transport_of(const MpiCalls& mpi) {
  return {
      .sum = [&mpi](std::span<std::int64_t> values) { mpi.sum(values.data(), values.size()); },
      .max = [&mpi](std::span<std::int64_t> values) { mpi.max(values.data(), values.size()); },
      .broadcast = [&mpi](std::span<std::byte> bytes, int root) { mpi.broadcast(bytes.data(), bytes.size(), root); },
      .gather =
          [&mpi](std::span<const std::byte> bytes) {
            std::vector<std::int64_t> counts(static_cast<std::size_t>(mpi.size));
            counts[static_cast<std::size_t>(mpi.rank)] = static_cast<std::int64_t>(bytes.size());
            mpi.sum(counts.data(), counts.size());
            std::int64_t total = 0;
            for (const std::int64_t count : counts) total += count;
            std::vector<std::byte> all(static_cast<std::size_t>(total));
            mpi.gather(bytes.data(), counts.data(), all.data());
            return all;
          }};
}

// The texts of all ranks, in their order.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text) {
  const std::vector<char> all = ranks.gather(std::vector<char>(text.begin(), text.end()));
  std::vector<std::string> texts;
  auto at = all.begin();
  for (const std::int64_t length : ranks.gather(std::vector{static_cast<std::int64_t>(text.size())})) {
    texts.emplace_back(at, at + length);
    at += length;
  }
  return texts;
}

}  // namespace

Launch find_launch() {
  // Open MPI's mpirun; MPICH's and Intel's mpiexec, and srun --mpi=pmi2; srun --mpi=pmix; srun.
  struct Names {
    const char *rank, *size;
    bool mpi;
  };
  for (const auto& [rank, size, mpi] :
       {Names{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true}, Names{"PMI_RANK", "PMI_SIZE", true},
        Names{"PMIX_RANK", "SLURM_STEP_NUM_TASKS", true}, Names{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", false}}) {
    if (number_of(rank) >= 0 && number_of(size) >= 1) return {number_of(rank), number_of(size), mpi};
  }
  return {};
}

Ranks::Ranks(const Launch& launch) {
  if (launch.size == 1) return;
  const auto refuse = [&](ExitCode code, const std::string& line) {
    throw Failure(code, fmt::format("{} processes were started together, {}", launch.size, line));
  };
  if (!launch.mpi) refuse(kMisuse, "but not to work together: srun --mpi=pmix or --mpi=pmi2, or --shard for each");
  static MpiCalls mpi;
  std::string why_not;
  OpenMpi* open = find_module(why_not);
  if (open == nullptr) refuse(kMissing, "but this program cannot use MPI: " + why_not);
  if (const char* problem = open(&mpi); problem != nullptr) refuse(kFault, problem);
  if (mpi.size > 1) communicator_ = Communicator(mpi.rank, mpi.size, transport_of(mpi));
  local_rank_ = mpi.local_rank;
  leave_ = mpi.leave;
  abort_ = mpi.abort;
}

Ranks::~Ranks() { end_all(kFault); }

void Ranks::leave() {
  if (leave_ != nullptr) leave_();
  leave_ = nullptr;
}

int Ranks::threads() {
  const int own = default_threads().threads;
  if (communicator_.size() == 1) return own;
  char machine[256] = {};
  ::gethostname(machine, sizeof machine - 1);
  cpu_set_t processors;
  CPU_ZERO(&processors);
  ::sched_getaffinity(0, sizeof processors, &processors);
  std::string mine = machine;
  for (int p = 0; p < CPU_SETSIZE; ++p) mine += CPU_ISSET(p, &processors) ? '1' : '0';
  const std::vector<std::string> all = gather_texts(communicator_, mine);
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return own;
  return std::max<int>(1, own / static_cast<int>(std::count(all.begin(), all.end(), mine)));
}

void Ranks::end_all(int exit_code) {
  if (leave_ != nullptr) abort_(exit_code);
}

void on_all(Communicator& ranks, const std::function<void()>& work) {
  Failure failure(kDone, "");
  try {
    work();
  } catch (...) {
    if (ranks.size() == 1) throw;
    try {
      failure = failure_of_current_exception();
    } catch (const std::bad_alloc&) {
      failure = Failure(kOutOfMemory, "out of memory; ask for less, or start more ranks on other machines");
    }
  }
  const std::vector<int> codes = ranks.gather(std::vector<int>{failure.exit_code});
  const auto first = std::find_if(codes.begin(), codes.end(), [](int code) { return code != kDone; });
  if (first == codes.end()) return;
  const std::string line = gather_texts(ranks, failure.what())[static_cast<std::size_t>(first - codes.begin())];
  const bool all = std::find(codes.begin(), codes.end(), kDone) == codes.end();
  throw SharedFailure(static_cast<ExitCode>(*first),
                      all ? line : fmt::format("rank {} of {}: {}", first - codes.begin(), codes.size(), line));
}

void require_equal(Communicator& ranks, const std::vector<std::pair<std::string, std::string>>& facts) {
  for (const auto& [what, value] : facts) {
    const std::vector<std::string> values = gather_texts(ranks, value);
    for (std::size_t rank = 1; rank < values.size(); ++rank) {
      if (values[rank] == values[0]) continue;
      throw SharedFailure(kMisuse, fmt::format("rank {} of {}: {} differs from that of rank 0: '{}', not '{}'", rank,
                                               values.size(), what, values[rank], values[0]));
    }
  }
}

Share share_of(std::int64_t n, std::int64_t block, int rank, int size) {
  const std::int64_t blocks = (n + block - 1) / block;
  const auto begin = [&](int r) { return std::min(n, blocks * r / size * block); };
  return {begin(rank), begin(rank + 1) - begin(rank)};
}

}  // namespace scalelab::host
