// A stand-in for cub::BlockScan: it tests our use of CUB (the storage, the barriers round it), not CUB.
#pragma once
#include "cuda_runtime.h"

namespace cub {

template <class T, int kThreads>
class BlockScan {
 public:
  struct TempStorage {
    T value[kThreads];
  };
  explicit BlockScan(TempStorage& storage) : storage_(storage) {}

  // before = the sum over threads of lower index, total = the sum over all. As with CUB, the storage may be used again
  // only behind a barrier.
  void ExclusiveSum(T value, T& before, T& total) {
    storage_.value[threadIdx.x] = value;
    __syncthreads();
    before = total = T{};
    for (int i = 0; i < kThreads; ++i) {
      if (i == static_cast<int>(threadIdx.x)) before = total;
      total += storage_.value[i];
    }
  }
  void ExclusiveSum(T value, T& before) {
    T total;
    ExclusiveSum(value, before, total);
  }

 private:
  TempStorage& storage_;
};

}  // namespace cub
