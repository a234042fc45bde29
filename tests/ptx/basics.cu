// Small kernels with known results, on every architecture.
#include <cuda_bf16.h>
#include <gtest/gtest.h>
#include <thrust/execution_policy.h>
#include <thrust/sort.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "array.cuh"

namespace {

// --- lanes that part: the steps of Collatz's walk, a different count for each lane, with a vote after it; shuffles, also
// within parts of a warp whose lanes come from different branches
__host__ __device__ int collatz(int n) {
  int count = 0;
  for (unsigned long long x = n; x != 1; ++count) x = x & 1 ? 3 * x + 1 : x / 2;
  return count;
}
__global__ void lanes(int (*out)[8]) {
  const int lane = threadIdx.x, square = lane * lane, count = collatz(lane + 1);
  const unsigned long long wide = static_cast<unsigned long long>(lane) << 40 | lane;
  int parted = square;
  if (lane < 16) {
    parted = __shfl_xor_sync(0xffffU, parted, 1);
  } else {
    parted = __shfl_xor_sync(0xffff0000U, parted, 2);
  }
  __syncwarp(lane < 16 ? 0xffffU : 0xffff0000U);
  const int row[]{count,
                  static_cast<int>(__ballot_sync(~0U, count & 1) >> lane & 1),
                  __shfl_xor_sync(~0U, square, 5),
                  __shfl_up_sync(~0U, square, 3),
                  __shfl_down_sync(~0U, square, 4, 8),
                  __shfl_sync(~0U, square, lane / 2, 16),
                  parted,
                  static_cast<int>(__shfl_xor_sync(~0U, wide, 1) >> 40)};
  for (int i = 0; i < 8; ++i) out[lane][i] = row[i];
}
TEST(Basics, PartedLanes) {
  const Array<int> out(32 * 8);
  lanes<<<1, 32>>>(reinterpret_cast<int(*)[8]>(out.data));
  const auto square = [](int v) { return v * v; };
  std::vector<int> want;
  for (int l = 0; l < 32; ++l) {
    want.insert(want.end(), {collatz(l + 1), collatz(l + 1) & 1, square(l ^ 5), square(l < 3 ? l : l - 3),
                             square(l % 8 + 4 < 8 ? l + 4 : l), square(l / 16 * 16 + l / 2 % 16),
                             square(l < 16 ? l ^ 1 : l ^ 2), l ^ 1});
  }
  EXPECT_TRUE(out.host() == want);
}

// --- shared memory, barriers with votes, local arrays with run-time indices
__global__ void reduces(const float* in, float* out, int n) {
  __shared__ float part[8];
  float local[8] = {}, sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) local[i * 7 % 8] += in[i];
  for (int i = 0; i < 8; ++i) sum += local[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(~0U, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  const int any = __syncthreads_or(threadIdx.x == 77), all = __syncthreads_and(threadIdx.x != 78);
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 8; ++i) sum += part[i];
  out[0] = sum;
  out[1] = any != 0;
  out[2] = all != 0;
}
TEST(Basics, Reductions) {
  std::vector<float> in(5000);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = float(i % 13);
  const Array<float> data(in), out(3);
  reduces<<<1, 256>>>(data.data, out.data, 5000);
  const std::vector<float> want{std::accumulate(in.begin(), in.end(), 0.0F), 1, 0};
  EXPECT_TRUE(out.host() == want);
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
TEST(Basics, Accesses) {
  std::vector<float4> in(32);
  std::vector<Four> four(32);
  std::vector<float> mixed(32);
  for (int i = 0; i < 32; ++i) {
    in[i] = make_float4(i, i + 1, i + 2, i + 3);
    four[i] = {i * 1000, short(-i), static_cast<signed char>(i - 40), static_cast<unsigned char>(i + 200), 1LL << 40};
    mixed[i] = 100 + i;
  }
  const Array<float4> a(in);
  const Array<float2> b(32);
  const Array<Four> f(four);
  const Array<float> m(mixed), g(32);
  vectors<<<1, 32>>>(a.data, b.data, f.data, m.data, g.data);
  for (int i = 0; i < 32; ++i) {
    EXPECT_TRUE(b.host()[i].x == 2 * i + 2 && b.host()[i].y == float((i + 1) * (i + 3)));
    EXPECT_TRUE(f.host()[i].e == (1LL << 40) + i * 1000 - i + i - 40 + i + 200);
    EXPECT_TRUE(g.host()[i] == (i % 3 == 0 ? i : 100 + i));
  }
}

__global__ void counts(unsigned* table, unsigned long long* sum, int* least) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&table[i % 7], 1U);
  atomicAdd(sum, static_cast<unsigned long long>(i) * i);
  atomicMin(least, 1000 - i);
}
TEST(Basics, Atomics) {
  const Array<unsigned> table(std::vector<unsigned>(7, 0));
  const Array<unsigned long long> sum(std::vector<unsigned long long>(1, 0));
  const Array<int> least(std::vector<int>(1, 1 << 30));
  counts<<<40, 200>>>(table.data, sum.data, least.data);
  unsigned long long want = 0;
  for (unsigned long long i = 0; i < 8000; ++i) want += i * i;
  EXPECT_TRUE(sum.host()[0] == want && least.host()[0] == 1000 - 7999 && table.host()[0] == 1143);
}

// --- arithmetic: the bits of what host and device make of the same numbers, where a NaN is one number, and -0 is 0
struct Results {
  unsigned long long bits[40];
  int count = 0;
  template <class... T>
  __host__ __device__ void operator()(T... x) {
    (add(x), ...);
  }
  template <class T>
  __host__ __device__ void add(T x) {
    bits[count] = x == x ? 0 : ~0ULL;
    if (x == x && x != 0) memcpy(&bits[count], &x, sizeof(x));
    ++count;
  }
};
template <class T>
T saturated(double x) {
  using Limits = std::numeric_limits<T>;
  return x != x ? 0 : static_cast<T>(std::clamp(x, double{Limits::min()}, double{Limits::max()}));
}
__host__ __device__ Results arithmetic(int i, float a, float b, float c, double x, double y, double z) {
  Results to;
  const auto n = static_cast<long long>(x * 1e15), m = static_cast<long long>(i * 7919 - 40000);
  const long long by = i == 3 ? 7 : i - 3, large = 987654321987654321LL;
  const unsigned low = i * 0x01020304U, high = ~i * 0x05060708U, order = 0x7a30 + i % 5;
  to(fmaf(a, b, c), a / b, sqrtf(fabsf(a)), fminf(a, b), rintf(a), static_cast<float>(x), fma(x, y, z), x / y,
     sqrt(fabs(x)), static_cast<double>(a), floor(x), fmax(x, z), n, n / by, n % by, m % 37, m >> i % 64, m << i % 64,
     static_cast<unsigned long long>(n) * m, static_cast<signed char>(n), static_cast<unsigned short>(n),
     static_cast<unsigned>(m) / 7U);
#ifdef __CUDA_ARCH__
  const float normal = i + 1.1F;
  float reciprocal, root;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(normal));
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(normal));
  to(static_cast<int>(a), __float2int_rd(a), static_cast<unsigned>(a), __mul64hi(n, large), __clz(i), __popcll(n),
     __brev(low), __byte_perm(low, high, order), fabs(reciprocal * double{normal} - 1) <= 1.2e-7,
     fabs(root * sqrt(double{normal}) - 1) <= 1.2e-7);
#else
  unsigned reversed = 0, bytes = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (low >> bit & 1) << (31 - bit);
  const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
  for (int byte = 0; byte < 4; ++byte) bytes |= (both >> 8 * (order >> 4 * byte & 7) & 255) << 8 * byte;
  to(saturated<int>(a), saturated<int>(std::floor(a)), saturated<unsigned>(a),
     static_cast<long long>(static_cast<__int128>(n) * large >> 64), i == 0 ? 32 : __builtin_clz(i),
     __builtin_popcountll(n), reversed, bytes, true, true);
#endif
  return to;
}
__global__ void arithmetic_of(const float* f, const double* d, int n, Results* out) {
  const int i = threadIdx.x, j = (i + 1) % n, k = (i + 2) % n;
  if (i < n) out[i] = arithmetic(i, f[i], f[j], f[k], d[i], d[j], d[k]);
}
TEST(Basics, Arithmetic) {
  const std::vector<float> f{1.5F, -2.25F, 1e-40F, 3e38F,      -0.0F,   0.0F, INFINITY, -7.5F,
                             2.5F, 1e30F,  NAN,    12345.678F, -1e-45F, 0.1F, 3.3F,     7};
  const int n = int(f.size());
  std::vector<double> d(n);
  for (int i = 0; i < n; ++i) d[i] = (i - 5.3) * 1.0123456789;
  const Array<float> floats(f);
  const Array<double> doubles(d);
  const Array<Results> out(n);
  arithmetic_of<<<1, 32>>>(floats.data, doubles.data, n, out.data);
  for (int i = 0; i < n; ++i) {
    const int j = (i + 1) % n, k = (i + 2) % n;
    const Results got = out.host()[i], want = arithmetic(i, f[i], f[j], f[k], d[i], d[j], d[k]);
    for (int at = 0; at < want.count; ++at) EXPECT_EQ(got.bits[at], want.bits[at]) << at << " of number " << i;
  }
}

// --- a product of tiles of bf16: fragments of the rows as they lie, and of those on the right turned
__global__ void product(const unsigned short* a, const unsigned short* b, float* d) {  // (16, 16) (16, 8)
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float D[4] = {1, 2, 3, 4};
#if __CUDA_ARCH__ >= 800
  __shared__ __align__(16) unsigned short left[16 * 24], right[16 * 8];
  for (int i = lane; i < 256; i += 32) left[i / 16 * 24 + i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) right[i] = b[i];
  __syncwarp();
  unsigned A[4], B[2];
  const auto row_of_left = static_cast<unsigned>(__cvta_generic_to_shared(left + lane % 16 * 24 + lane / 16 * 8));
  const auto row_of_right = static_cast<unsigned>(__cvta_generic_to_shared(right + lane % 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(A[0]), "=r"(A[1]), "=r"(A[2]), "=r"(A[3])
               : "r"(row_of_left));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(B[0]), "=r"(B[1])
               : "r"(row_of_right));
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(D[0]), "+f"(D[1]), "+f"(D[2]), "+f"(D[3])
      : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "r"(B[0]), "r"(B[1]));
#endif
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = D[i];
}
TEST(Basics, TensorCores) {
  int major = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  if (major < 8) return;
  std::vector<unsigned short> a(256), b(128);
  std::vector<double> x, y;
  unsigned r = 1;
  const auto fill = [&](std::vector<unsigned short>& bits, std::vector<double>& values) {
    for (unsigned short& one : bits) {
      const __nv_bfloat16 number(float((r = r * 1664525 + 1013904223) >> 8) / float(1 << 24) - 0.5F);
      std::memcpy(&one, &number, 2);
      values.push_back(static_cast<float>(number));
    }
  };
  fill(a, x);
  fill(b, y);
  const Array<unsigned short> left(a), right(b);
  const Array<float> d(128);
  product<<<1, 32>>>(left.data, right.data, d.data);
  for (int at = 0; at < 128; ++at) {
    const int i = at / 8, j = at % 8;
    double want = 1 + j % 2 + (i >= 8 ? 2 : 0);
    for (int k = 0; k < 16; ++k) want += x[i * 16 + k] * y[k * 8 + j];
    EXPECT_TRUE(std::fabs(d.host()[at] - want) < 1e-6);
  }
}

// --- what Thrust makes of it: blocks that wait for others
TEST(Basics, Thrust) {
  for (const int n : {1, 100, 5000, 300000}) {
    std::vector<unsigned long long> keys(n);
    std::vector<int> values(n);
    unsigned long long r = 7;
    for (int i = 0; i < n; ++i)
      keys[i] = (r = r * 6364136223846793005ULL + 1442695040888963407ULL) >> 20, values[i] = i;
    const Array<unsigned long long> k(keys);
    const Array<int> v(values);
    thrust::stable_sort_by_key(thrust::device, k.data, k.data + n, v.data);
    EXPECT_TRUE(cudaDeviceSynchronize() == cudaSuccess);
    std::stable_sort(values.begin(), values.end(), [&](int a, int b) { return keys[a] < keys[b]; });
    std::stable_sort(keys.begin(), keys.end());
    EXPECT_TRUE(k.host() == keys && v.host() == values);
  }
}

}  // namespace
