// What the kernels of this folder's tests are given: arrays in device memory. A call that fails ends the process.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "call failed: %s\n", cudaGetErrorName(error));
  std::abort();
}

template <class T>
struct Array {
  explicit Array(std::size_t n) : size(n) { check(cudaMalloc(&data, n * sizeof(T))); }
  explicit Array(const std::vector<T>& from) : Array(from.size()) {
    check(cudaMemcpy(data, from.data(), size * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { cudaFree(data); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  std::vector<T> host() const {
    std::vector<T> v(size);
    check(cudaMemcpy(v.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
  T* data = nullptr;
  const std::size_t size;
};
