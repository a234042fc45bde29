// One fault for each argument: its test looks for the report (CMakeLists.txt).
#include <cuda_runtime.h>

#include <cstdio>
#include <string>

__global__ void beyond(int* p, int n) { p[threadIdx.x + n] = 1; }
__global__ void misaligned(float* p) { *reinterpret_cast<float4*>(p + 1) = make_float4(1, 2, 3, 4); }
__global__ void shared_beyond(int* p, int n) {
  __shared__ int s[32];
  s[threadIdx.x] = 1;
  __syncthreads();
  p[threadIdx.x] = s[threadIdx.x + n];
}
__global__ void dynamic_beyond(int* p, int n) {
  extern __shared__ int d[];
  d[threadIdx.x + n] = 1;
  __syncthreads();
  p[threadIdx.x] = d[0];
}
__global__ void local_beyond(int* p, int n) {
  int a[16];
  for (int i = 0; i < 16; ++i) a[i] = p[i];
  p[threadIdx.x] = a[threadIdx.x % 16 + n];
}
__global__ void half_barrier(int* p) {
  if (threadIdx.x < 16) __syncthreads();
  p[threadIdx.x] = 1;
}
__global__ void split_barrier(int* p) {
  if (threadIdx.x < 16) {
    __syncthreads();
    p[threadIdx.x] = 2;
  } else {
    p[threadIdx.x] = 3;
    __syncwarp();
  }
}
__global__ void foreign_lane(int* p) {
  if (threadIdx.x < 16) p[threadIdx.x] = __shfl_sync(0xffffU, threadIdx.x, threadIdx.x + 16);
}
__global__ void traps(int* p) {
  if (p[0] != 12345) __trap();
}
__global__ void null(int* p, int* q) { *q = *p; }

int main(int, char** argv) {
  const std::string which = argv[1];
  int *p, *gone;
  cudaMalloc(&p, 64 * sizeof(int));
  cudaMalloc(&gone, 64 * sizeof(int));
  cudaFree(gone);
  cudaMemset(p, 0, 64 * sizeof(int));
  if (which == "beyond") beyond<<<1, 32>>>(p, 33);
  if (which == "below") beyond<<<1, 32>>>(p, -1);
  if (which == "freed") beyond<<<1, 32>>>(gone, 0);
  if (which == "misaligned") misaligned<<<1, 1>>>(reinterpret_cast<float*>(p));
  if (which == "shared_beyond") shared_beyond<<<1, 32>>>(p, 1);
  if (which == "dynamic_beyond") dynamic_beyond<<<1, 32, 128>>>(p, 1);
  if (which == "local_beyond") local_beyond<<<1, 32>>>(p, 1);
  if (which == "half_barrier") half_barrier<<<1, 64>>>(p);
  if (which == "split_barrier") split_barrier<<<1, 32>>>(p);
  if (which == "foreign_lane") foreign_lane<<<1, 32>>>(p);
  if (which == "traps") traps<<<1, 32>>>(p);
  if (which == "null") null<<<1, 1>>>(nullptr, p);
  if (which == "uninitialised")
    null<<<1, 1>>>(static_cast<int*>(nullptr) == p ? nullptr : [] { int* q; cudaMalloc(&q, 4); return q; }(), p);
  if (which == "big_shared" && (dynamic_beyond<<<1, 32, 60000>>>(p, 0), cudaGetLastError()) == cudaSuccess) return 3;
  if (which == "big_shared") std::fprintf(stderr, "refused\n");
  cudaDeviceSynchronize();
}
