// What the seeded bugs of both executors have in common: device memory, launches, inputs, and what shared memory holds.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace seeded_bugs {

inline constexpr int kThreads = 256;  // eight warps
inline constexpr unsigned kAll = 0xffffffffU;

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "call failed: %s\n", cudaGetErrorName(error));
  std::abort();
}

template <class T>
class Device {
 public:
  explicit Device(const std::vector<T>& host) : size_(host.size()) {
    check(cudaMalloc(&data_, size_ * sizeof(T)));
    check(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> host(size_);
    check(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

template <class... Parameters, class... Arguments>
void launch(unsigned blocks, unsigned threads, std::size_t shared, void (*kernel)(Parameters...),
            Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  check(cudaLaunchKernelEx(&config, kernel, arguments...));
}

enum class Together { cluster, grid };
template <class... Parameters, class... Arguments>
void launch_together(Together together, unsigned blocks, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchAttribute attribute{};
  if (together == Together::cluster) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {4, 1, 1};
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(kThreads);
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, arguments...));
}

inline std::vector<float> ramp(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return values;
}
inline std::vector<int> zeros(int n) { return std::vector<int>(static_cast<std::size_t>(n), 0); }

// Most kernels here are one block that turns ramp(kThreads) into something easily checked.
using OneBlock = void(const float* in, float* out);
template <class Want>
bool one_block(OneBlock* kernel, std::size_t shared, Want want) {
  const Device<float> in(ramp(kThreads));
  const Device<float> out(std::vector<float>(kThreads, -1.0F));
  launch(1, kThreads, shared, kernel, in.data(), out.data());
  const std::vector<float> got = out.host();
  for (int i = 0; i < kThreads; ++i) {
    if (got[static_cast<std::size_t>(i)] != static_cast<float>(want(i))) return false;
  }
  return true;
}
inline int same(int i) { return i; }
inline int reversed(int i) { return kThreads - 1 - i; }
inline int first(int) { return 0; }

struct Tile {
  float value[kThreads];
};
struct TwoTiles {
  float a[kThreads], b[kThreads];
};
struct Counter {
  int value;
};

}  // namespace seeded_bugs
