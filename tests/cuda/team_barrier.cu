// The barrier of a team of blocks (kernels/mlp_train.cuh) where its count of arrivals wraps at 2^32, as it does after a
// minute of one launch. Each block posts the number of the round and reads its neighbour's; exit code 1: a wrong one.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/mlp_train.cuh"

namespace {

using scalelab::cuda::Team;
using scalelab::cuda::Teams;
using scalelab::cuda::TeamState;

constexpr int kBlocks = 4, kRounds = 8;
constexpr unsigned kBefore = 0U - 3 * kBlocks;  // arrivals so far: three more barriers, and the count is 0 again

__global__ void pass_on(Teams teams, int* posted, int* read) {
  Team team(teams);
  team.meetings = kBefore / kBlocks;
  for (int round = 0; round < kRounds; ++round) {
    if (threadIdx.x == 63) posted[team.rank] = round;
    team.sync();
    if (threadIdx.x == 33) read[round * kBlocks + team.rank] = posted[(team.rank + 1) % kBlocks];
    team.sync();
  }
}

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("call failed: %s\n", cudaGetErrorName(error));
  std::exit(1);
}

}  // namespace

int main() {
  TeamState* state = nullptr;
  int *posted = nullptr, *read = nullptr;
  check(cudaMalloc(&state, sizeof(TeamState)));
  check(cudaMalloc(&posted, kBlocks * sizeof(int)));
  check(cudaMalloc(&read, kRounds * kBlocks * sizeof(int)));
  const TeamState start{0, 0, kBefore};
  check(cudaMemcpy(state, &start, sizeof(start), cudaMemcpyHostToDevice));
  Teams teams{kBlocks, false, state};
  cudaLaunchAttribute attribute = scalelab::cuda::Together{.all = true}.attribute();
  const cudaLaunchConfig_t config{dim3(kBlocks), dim3(64), 0, nullptr, &attribute, 1};
  check(cudaLaunchKernelEx(&config, pass_on, teams, posted, read));
  std::vector<int> got(kRounds * kBlocks);
  check(cudaMemcpy(got.data(), read, got.size() * sizeof(int), cudaMemcpyDeviceToHost));
  for (int i = 0; i < kRounds * kBlocks; ++i) {
    if (got[static_cast<std::size_t>(i)] == i / kBlocks) continue;
    std::printf("round %d, block %d read %d\n", i / kBlocks, i % kBlocks, got[static_cast<std::size_t>(i)]);
    return 1;
  }
}
