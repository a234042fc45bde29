// Small kernels with known results; any difference ends with exit code 1.
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <thrust/device_ptr.h>
#include <thrust/execution_policy.h>
#include <thrust/scan.h>
#include <thrust/sort.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cub/cub.cuh>
#include <numeric>
#include <vector>

#define EXPECT(condition)                                                 \
  do {                                                                    \
    if (!(condition)) {                                                   \
      std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                       \
    }                                                                     \
  } while (0)
#define CALL(call) EXPECT((call) == cudaSuccess)

template <class T>
struct Array {
  explicit Array(std::size_t n, const T* from = nullptr) : size(n) {
    CALL(cudaMalloc(&data, n * sizeof(T)));
    if (from != nullptr) CALL(cudaMemcpy(data, from, n * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit Array(const std::vector<T>& v) : Array(v.size(), v.data()) {}
  ~Array() { cudaFree(data); }
  std::vector<T> host() const {
    std::vector<T> v(size);
    CALL(cudaMemcpy(v.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
  T* data = nullptr;
  std::size_t size;
};

// --- divergence: the steps of Collatz's walk, a different count for each lane, with a vote after it
__global__ void collatz(int* steps, unsigned* odd) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long x = n + 1;
  int count = 0;
  while (x != 1) {
    if (x & 1) {
      x = 3 * x + 1;
    } else {
      x /= 2;
    }
    if (++count > 1000) break;
  }
  steps[n] = count;
  odd[n] = __ballot_sync(~0U, count & 1);
}
// --- shuffles within parts of a warp whose lanes come from different branches
__global__ void shuffles(int* out) {
  const int lane = threadIdx.x;
  int v = lane * lane;
  out[lane] = __shfl_xor_sync(~0U, v, 5);
  out[32 + lane] = __shfl_up_sync(~0U, v, 3);
  out[64 + lane] = __shfl_down_sync(~0U, v, 4, 8);
  out[96 + lane] = __shfl_sync(~0U, v, lane / 2, 16);
  const unsigned mine = lane < 16 ? 0xffffU : 0xffff0000U;
  if (lane < 16) {
    v = __shfl_xor_sync(0xffffU, v, 1);
  } else {
    v = __shfl_xor_sync(0xffff0000U, v, 2);
  }
  __syncwarp(mine);
  out[128 + lane] = v;
  out[160 + lane] = __popc(__match_any_sync(~0U, lane % 5));
#if __CUDA_ARCH__ >= 800
  out[192 + lane] = __reduce_add_sync(~0U, lane);
#else
  out[192 + lane] = 496;
#endif
  unsigned long long wide = (unsigned long long)lane << 40 | lane;
  out[224 + lane] = (int)(__shfl_xor_sync(~0U, wide, 1) >> 40);
}
// --- shared memory, barriers with votes, local arrays with run-time indices
__global__ void reduces(const float* in, float* out, int n) {
  __shared__ float part[8];
  __shared__ int votes;
  float local[8];
  for (int i = 0; i < 8; ++i) local[i] = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) local[i * 7 % 8] += in[i];
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += local[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(~0U, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  if (threadIdx.x == 0) votes = 0;
  const int any = __syncthreads_or(threadIdx.x == 77), all = __syncthreads_and(threadIdx.x != 78),
            count = __syncthreads_count(threadIdx.x % 3 == 0);
  if (threadIdx.x == 0) {
    for (int i = 1; i < 8; ++i) sum += part[i];
    out[0] = sum;
    out[1] = any != 0;
    out[2] = all != 0;
    out[3] = count;
  }
  atomicAdd(&votes, 1);
  __syncthreads();
  if (threadIdx.x == 0) out[4] = votes;
}
// --- vectors and generic addresses: the pointer is to shared or to global memory, as each lane likes
struct __align__(16) Four {
  int a;
  short b;
  signed char c;
  unsigned char d;
  long long e;
};
__global__ void vectors(const float4* in, float2* out, Four* four, const float* mixed, float* got) {
  __shared__ float near[32];
  const int i = threadIdx.x;
  near[i] = i;
  __syncwarp();
  const float4 v = in[i];
  out[i] = make_float2(v.x + v.z, v.y * v.w);
  Four f = four[i];
  f.e += f.a + f.b + f.c + f.d;
  four[i] = f;
  const float* p = i % 3 == 0 ? near + i : mixed + i;
  asm volatile("" : "+l"(p));
  got[i] = *p;
}
__global__ void counts(unsigned* table, unsigned long long* sum, int* least, float* real) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&table[i % 7], 1U);
  atomicAdd(sum, (unsigned long long)i * i);
  atomicMin(least, 1000 - i);
  atomicAdd(real, 0.5F);
  atomicCAS(&table[7], 0U, 5U);
}
// --- arithmetic
__global__ void arithmetic(const float* x, const double* y, int n, float* f, double* d, long long* l) {
  const int i = threadIdx.x;
  if (i >= n) return;
  const float a = x[i], b = x[(i + 1) % n], c = x[(i + 2) % n];
  f[i * 10 + 0] = fmaf(a, b, c);
  f[i * 10 + 1] = a / b;
  f[i * 10 + 2] = sqrtf(fabsf(a));
  f[i * 10 + 3] = fminf(a, b);
  f[i * 10 + 4] = __fadd_rz(a, b);
  f[i * 10 + 5] = __fmul_ru(a, b);
  f[i * 10 + 6] = rintf(a);
  f[i * 10 + 7] = static_cast<float>(y[i]);
  f[i * 10 + 8] = expf(a * 1e-3F);
  f[i * 10 + 9] = __fadd_rn(a, b);
  d[i * 4 + 0] = fma(y[i], y[(i + 1) % n], y[(i + 2) % n]);
  d[i * 4 + 1] = y[i] / y[(i + 1) % n];
  d[i * 4 + 2] = sqrt(fabs(y[i]));
  d[i * 4 + 3] = static_cast<double>(a);
  l[i * 10 + 0] = static_cast<int>(a);
  l[i * 10 + 1] = static_cast<long long>(y[i] * 1e9);
  l[i * 10 + 2] = __mul64hi(static_cast<long long>(y[i] * 1e17), 987654321987654321LL);
  l[i * 10 + 3] = static_cast<long long>(y[i] * 1e15) / (i - 3 == 0 ? 7 : (i - 3));
  l[i * 10 + 4] = (i * 7919 - 40000) % 37;
  l[i * 10 + 5] = __brev(i * 77777U) ^ __clz(i) ^ __popcll(static_cast<long long>(y[i] * 1e15));
  l[i * 10 + 6] = static_cast<unsigned>(a);
  l[i * 10 + 7] = __float2int_rd(a);
  l[i * 10 + 8] = static_cast<long long>(i * 7919 - 40000) >> (i % 70 % 64);
  l[i * 10 + 9] = __byte_perm(i * 0x01020304U, ~i * 0x05060708U, 0x7a30 + i % 5);
}
// --- the tensor core's fragments, as the PTX ISA has them
__global__ void product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* d) {  // (16, 16) (16, 8)
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float D[4] = {1, 2, 3, 4};
#if __CUDA_ARCH__ >= 800
  const auto pair = [](__nv_bfloat16 low, __nv_bfloat16 high) {
    return unsigned(__bfloat16_as_ushort(low)) | unsigned(__bfloat16_as_ushort(high)) << 16;
  };
  unsigned A[4], B[2];
  for (int r = 0; r < 4; ++r) {
    const int row = g + (r % 2) * 8, column = 2 * t + r / 2 * 8;
    A[r] = pair(a[row * 16 + column], a[row * 16 + column + 1]);
  }
  for (int r = 0; r < 2; ++r) B[r] = pair(b[(2 * t + 8 * r) * 8 + g], b[(2 * t + 8 * r + 1) * 8 + g]);
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(D[0]), "+f"(D[1]), "+f"(D[2]), "+f"(D[3])
      : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "r"(B[0]), "r"(B[1]));
#endif
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = D[i];
}
// --- blocks that wait for each other
__global__ void cluster_ring(int* values, int* seen) {
#if __CUDA_ARCH__ >= 900
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  if (threadIdx.x == 0) values[blockIdx.x] = blockIdx.x * 10 + rank;
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
  if (threadIdx.x == 40) seen[blockIdx.x] = values[blockIdx.x / 4 * 4 + (rank + 1) % 4];
#endif
}
__global__ void grid_wait(unsigned* arrived, int* out) {
  if (threadIdx.x == 0) {
    atomicAdd(arrived, 1U);
    while (atomicAdd(arrived, 0U) < gridDim.x) {
    }
  }
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = *arrived;
}
__global__ void bids(int* out) {
  using Sort = cub::BlockRadixSort<unsigned, 128, 4, int>;
  using Scan = cub::BlockScan<int, 128>;
  __shared__ union {
    Sort::TempStorage sort;
    Scan::TempStorage scan;
  } shared;
  unsigned keys[4];
  int values[4];
  for (int i = 0; i < 4; ++i) {
    values[i] = threadIdx.x * 4 + i;
    keys[i] = values[i] * 2654435761U;
  }
  Sort(shared.sort).Sort(keys, values);
  __syncthreads();
  int sum;
  Scan(shared.scan).InclusiveSum(values[0], sum);
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = values[i];
  out[512 + threadIdx.x] = sum;
}

int main() {
  {
    Array<int> steps(96);
    Array<unsigned> odd(96);
    collatz<<<3, 32>>>(steps.data, odd.data);
    const auto s = steps.host();
    const auto o = odd.host();
    for (int n = 0; n < 96; ++n) {
      unsigned long long x = n + 1;
      int count = 0;
      while (x != 1) x = x & 1 ? 3 * x + 1 : x / 2, ++count;
      EXPECT(s[n] == count);
      EXPECT((o[n / 32 * 32] >> n % 32 & 1) == unsigned(count & 1));
    }
  }
  {
    Array<int> out(256);
    shuffles<<<1, 32>>>(out.data);
    const auto o = out.host();
    for (int l = 0; l < 32; ++l) {
      const auto sq = [](int v) { return v * v; };
      EXPECT(o[l] == sq(l ^ 5));
      EXPECT(o[32 + l] == sq(l < 3 ? l : l - 3));
      EXPECT(o[64 + l] == sq(l % 8 + 4 < 8 ? l + 4 : l));
      EXPECT(o[96 + l] == sq(l / 16 * 16 + l / 2 % 16));
      EXPECT(o[128 + l] == sq(l < 16 ? l ^ 1 : l ^ 2));
      EXPECT(o[160 + l] == (l % 5 < 2 ? 7 : 6));
      EXPECT(o[192 + l] == 496);
      EXPECT(o[224 + l] == (l ^ 1));
    }
  }
  {
    std::vector<float> in(5000);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = float(i % 13);
    Array<float> data(in), out(5);
    reduces<<<1, 256>>>(data.data, out.data, 5000);
    const auto o = out.host();
    EXPECT(o[0] == std::accumulate(in.begin(), in.end(), 0.0F));
    EXPECT(o[1] == 1 && o[2] == 0 && o[3] == 86 && o[4] == 256);
  }
  {
    std::vector<float4> in(32);
    std::vector<Four> four(32);
    std::vector<float> mixed(32);
    for (int i = 0; i < 32; ++i) {
      in[i] = make_float4(i, i + 1, i + 2, i + 3);
      four[i] = {i * 1000, short(-i), static_cast<signed char>(i - 40), static_cast<unsigned char>(i + 200), 1LL << 40};
      mixed[i] = 100 + i;
    }
    Array<float4> a(in);
    Array<float2> b(32);
    Array<Four> f(four);
    Array<float> m(mixed), g(32);
    vectors<<<1, 32>>>(a.data, b.data, f.data, m.data, g.data);
    for (int i = 0; i < 32; ++i) {
      EXPECT(b.host()[i].x == 2 * i + 2 && b.host()[i].y == float((i + 1) * (i + 3)));
      EXPECT(f.host()[i].e == (1LL << 40) + i * 1000 - i + i - 40 + i + 200);
      EXPECT(g.host()[i] == (i % 3 == 0 ? i : 100 + i));
    }
  }
  {
    std::vector<unsigned> zeros(8);
    unsigned long long none = 0;
    int big = 1 << 30;
    float zero = 0;
    Array<unsigned> table(zeros);
    Array<unsigned long long> sum(1, &none);
    Array<int> least(1, &big);
    Array<float> real(1, &zero);
    counts<<<40, 200>>>(table.data, sum.data, least.data, real.data);
    unsigned long long want = 0;
    for (unsigned long long i = 0; i < 8000; ++i) want += i * i;
    EXPECT(sum.host()[0] == want && least.host()[0] == 1000 - 7999 && real.host()[0] == 4000 &&
           table.host()[0] == 1143 && table.host()[7] == 5);
  }
  {
    const float inf = INFINITY;
    const std::vector<float> x{1.5F, -2.25F, 1e-40F, 3e38F,      -0.0F,   0.0F, inf,  -7.5F,
                               2.5F, 1e30F,  NAN,    12345.678F, -1e-45F, 0.1F, 3.3F, 7};
    const int n = int(x.size());
    std::vector<double> y(n);
    for (int i = 0; i < n; ++i) y[i] = (i - 5.3) * 1.0123456789;
    Array<float> X(x), F(n * 10);
    Array<double> Y(y), D(n * 4);
    Array<long long> L(n * 10);
    arithmetic<<<1, 32>>>(X.data, Y.data, n, F.data, D.data, L.data);
    const auto f = F.host();
    const auto d = D.host();
    const auto l = L.host();
    const auto same = [](double p, double q) { return p == q || (p != p && q != q); };
    for (int i = 0; i < n; ++i) {
      const float a = x[i], b = x[(i + 1) % n], c = x[(i + 2) % n];
      EXPECT(same(f[i * 10], fmaf(a, b, c)) && same(f[i * 10 + 1], a / b) && same(f[i * 10 + 2], sqrtf(fabsf(a))) &&
             same(f[i * 10 + 3], fminf(a, b)));
      const double exact = double(a) + double(b);
      if (std::isfinite(a) && std::isfinite(b) && std::isfinite(float(exact)))
        EXPECT(std::fabs(f[i * 10 + 4]) <= std::fabs(exact) &&
               std::fabs(f[i * 10 + 4] - exact) <= std::fabs(exact) * 1.2e-7);
      const double times = double(a) * double(b);
      if (std::isfinite(times) && std::fabs(times) < 3e38 && std::fabs(times) > 1e-30)
        EXPECT(f[i * 10 + 5] >= times && f[i * 10 + 5] - times <= std::fabs(times) * 1.2e-7);
      EXPECT(same(f[i * 10 + 6], rintf(a)) && same(f[i * 10 + 7], float(y[i])) && same(f[i * 10 + 9], a + b));
      if (std::fabs(a) < 1e4) EXPECT(std::fabs(f[i * 10 + 8] / std::exp(double(a * 1e-3F)) - 1) < 3e-7);
      EXPECT(same(d[i * 4], fma(y[i], y[(i + 1) % n], y[(i + 2) % n])) && same(d[i * 4 + 1], y[i] / y[(i + 1) % n]) &&
             same(d[i * 4 + 2], std::sqrt(std::fabs(y[i]))) && same(d[i * 4 + 3], a));
      EXPECT(l[i * 10] == (a != a ? 0 : a > 2e9 ? 2147483647 : int(a)));
      EXPECT(l[i * 10 + 1] == (long long)(y[i] * 1e9));
      EXPECT(l[i * 10 + 2] == (long long)(((__int128)(long long)(y[i] * 1e17) * 987654321987654321LL) >> 64));
      EXPECT(l[i * 10 + 3] == (long long)(y[i] * 1e15) / (i - 3 == 0 ? 7 : i - 3));
      EXPECT(l[i * 10 + 4] == (i * 7919 - 40000) % 37);
      EXPECT(l[i * 10 + 6] == (a > 4e9 ? 4294967295LL : a > 0 ? (long long)a : 0));
      if (std::fabs(a) < 1e9) EXPECT(l[i * 10 + 7] == (long long)std::floor(a));
      EXPECT(l[i * 10 + 8] == (long long)(i * 7919 - 40000) >> (i % 70 % 64));
    }
  }
  {
    std::vector<__nv_bfloat16> a(256), b(128);
    std::vector<double> A(256), B(128);
    unsigned r = 1;
    const auto random = [&] { return float((r = r * 1664525 + 1013904223) >> 8) / float(1 << 24) - 0.5F; };
    for (int i = 0; i < 256; ++i) a[i] = __float2bfloat16(random()), A[i] = __bfloat162float(a[i]);
    for (int i = 0; i < 128; ++i) b[i] = __float2bfloat16(random()), B[i] = __bfloat162float(b[i]);
    Array<__nv_bfloat16> da(a), db(b);
    Array<float> dd(128);
    int major = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    if (major >= 8) {
      product<<<1, 32>>>(da.data, db.data, dd.data);
      const auto d = dd.host();
      for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 8; ++j) {
          double want = 1 + j % 2 + (i >= 8 ? 2 : 0);
          for (int k = 0; k < 16; ++k) want += A[i * 16 + k] * B[k * 8 + j];
          EXPECT(std::fabs(d[i * 8 + j] - want) < 1e-6);
        }
      }
    }
    if (major >= 9) {
      Array<int> values(16), seen(16);
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(16);
      config.blockDim = dim3(64);
      cudaLaunchAttribute attribute{};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {4, 1, 1};
      config.attrs = &attribute;
      config.numAttrs = 1;
      CALL(cudaLaunchKernelEx(&config, cluster_ring, values.data, seen.data));
      for (int i = 0; i < 16; ++i) EXPECT(seen.host()[i] == (i / 4 * 4 + (i + 1) % 4) * 10 + (i + 1) % 4);
      config.gridDim = dim3(15);
      EXPECT(cudaLaunchKernelEx(&config, cluster_ring, values.data, seen.data) == cudaErrorInvalidClusterSize);
      cudaGetLastError();
    }
  }
  {
    unsigned zero = 0;
    Array<unsigned> arrived(1, &zero);
    Array<int> out(50 * 64);
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(50);
    config.blockDim = dim3(64);
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
    CALL(cudaLaunchKernelEx(&config, grid_wait, arrived.data, out.data));
    for (const int v : out.host()) EXPECT(v == 50);
  }
  {
    Array<int> out(512 + 128);
    bids<<<1, 128>>>(out.data);
    const auto o = out.host();
    std::vector<int> want(512);
    std::iota(want.begin(), want.end(), 0);
    std::sort(want.begin(), want.end(), [](int a, int b) { return a * 2654435761U < b * 2654435761U; });
    int sum = 0;
    for (int i = 0; i < 512; ++i) EXPECT(o[i] == want[i]);
    for (int i = 0; i < 128; ++i) EXPECT(o[512 + i] == (sum += want[4 * i]));
  }
  for (const int n : {1, 100, 5000, 300000}) {
    std::vector<unsigned long long> keys(n);
    std::vector<int> values(n);
    unsigned long long r = 7;
    for (int i = 0; i < n; ++i)
      keys[i] = (r = r * 6364136223846793005ULL + 1442695040888963407ULL) >> 20, values[i] = i;
    Array<unsigned long long> k(keys);
    Array<int> v(values), scanned(n);
    thrust::stable_sort_by_key(thrust::device, k.data, k.data + n, v.data);
    thrust::inclusive_scan(thrust::device, v.data, v.data + n, scanned.data);
    CALL(cudaDeviceSynchronize());
    std::stable_sort(values.begin(), values.end(), [&](int a, int b) { return keys[a] < keys[b]; });
    std::stable_sort(keys.begin(), keys.end());
    EXPECT(k.host() == keys && v.host() == values);
    std::vector<int> want(n);
    std::inclusive_scan(values.begin(), values.end(), want.begin(),
                        [](int a, int b) { return int(unsigned(a) + unsigned(b)); });
    EXPECT(scanned.host() == want);
    thrust::sort(thrust::device, v.data, v.data + n);
    for (int i = 0; i < n; ++i) {
      if (i == 0 || i == n - 1) EXPECT(v.host()[i] == i);
    }
  }
  std::printf("basics: all passed\n");
}
