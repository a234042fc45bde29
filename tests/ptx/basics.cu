// Small kernels with known results, on every architecture.
#include <cuda_bf16.h>
#include <gtest/gtest.h>
#include <thrust/execution_policy.h>
#include <thrust/scan.h>
#include <thrust/sort.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <cub/cub.cuh>
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

// --- arithmetic that the host does likewise
struct Numbers {
  float f[6];
  double d[6];
  long long l[10];
};
__host__ __device__ Numbers numbers(int i, float a, float b, float c, double x, double y, double z) {
  const auto n = static_cast<long long>(x * 1e15), m = static_cast<long long>(i * 7919 - 40000);
  const long long by = i == 3 ? 7 : i - 3;
  return {{fmaf(a, b, c), a / b, sqrtf(fabsf(a)), fminf(a, b), rintf(a), static_cast<float>(x)},
          {fma(x, y, z), x / y, sqrt(fabs(x)), static_cast<double>(a), floor(x), fmax(x, z)},
          {n, n / by, n % by, m % 37, m >> i % 64, m << i % 64,
           static_cast<long long>(static_cast<unsigned long long>(n) * m), static_cast<signed char>(n),
           static_cast<unsigned short>(n), static_cast<unsigned>(m) / 7U}};
}
// And what only devices have.
struct Intrinsics {
  long long high;
  unsigned bits, bytes;
  int to_int, floor;
  unsigned to_unsigned;
};
__global__ void arithmetic(const float* f, const double* d, int n, Numbers* out, Intrinsics* special) {
  const int i = threadIdx.x, j = (i + 1) % n, k = (i + 2) % n;
  if (i >= n) return;
  out[i] = numbers(i, f[i], f[j], f[k], d[i], d[j], d[k]);
  special[i] = {__mul64hi(static_cast<long long>(d[i] * 1e17), 987654321987654321LL),
                __brev(i * 77777U) ^ __clz(i) ^ __popcll(static_cast<long long>(d[i] * 1e15)),
                __byte_perm(i * 0x01020304U, ~i * 0x05060708U, 0x7a30 + i % 5),
                static_cast<int>(f[i]),
                __float2int_rd(f[i]),
                static_cast<unsigned>(f[i])};
}
template <class T>
bool alike(T a, T b) {
  return a == b || (a != a && b != b);
}
void check_intrinsics(const Intrinsics& got, int i, float a, double x) {
  EXPECT_TRUE(got.high == (long long)(((__int128)(long long)(x * 1e17) * 987654321987654321LL) >> 64));
  EXPECT_TRUE(got.to_int == (a != a ? 0 : a > 2e9 ? 2147483647 : int(a)));
  EXPECT_TRUE(got.to_unsigned == (a > 4e9 ? 4294967295U : a > 0 ? unsigned(a) : 0U));
  if (std::fabs(a) < 1e9) EXPECT_TRUE(got.floor == std::floor(a));
  unsigned reversed = 0, bytes = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (i * 77777U >> bit & 1) << (31 - bit);
  const unsigned long long both = static_cast<unsigned long long>(~i * 0x05060708U) << 32 | i * 0x01020304U;
  for (int byte = 0; byte < 4; ++byte) bytes |= (both >> 8 * ((0x7a30 + i % 5) >> 4 * byte & 7) & 255) << 8 * byte;
  EXPECT_TRUE(got.bits == (reversed ^ (i == 0 ? 32 : __builtin_clz(i)) ^ __builtin_popcountll((long long)(x * 1e15))));
  EXPECT_TRUE(got.bytes == bytes);
}
TEST(Basics, Arithmetic) {
  const std::vector<float> f{1.5F, -2.25F, 1e-40F, 3e38F,      -0.0F,   0.0F, INFINITY, -7.5F,
                             2.5F, 1e30F,  NAN,    12345.678F, -1e-45F, 0.1F, 3.3F,     7};
  const int n = int(f.size());
  std::vector<double> d(n);
  for (int i = 0; i < n; ++i) d[i] = (i - 5.3) * 1.0123456789;
  const Array<float> floats(f);
  const Array<double> doubles(d);
  const Array<Numbers> out(n);
  const Array<Intrinsics> special(n);
  arithmetic<<<1, 32>>>(floats.data, doubles.data, n, out.data, special.data);
  for (int i = 0; i < n; ++i) {
    const int j = (i + 1) % n, k = (i + 2) % n;
    const Numbers got = out.host()[i], want = numbers(i, f[i], f[j], f[k], d[i], d[j], d[k]);
    for (int at = 0; at < 6; ++at) EXPECT_TRUE(alike(got.f[at], want.f[at]) && alike(got.d[at], want.d[at]));
    for (int at = 0; at < 10; ++at) EXPECT_TRUE(got.l[at] == want.l[at]);
    check_intrinsics(special.host()[i], i, f[i], d[i]);
  }
}

// --- the tensor core's fragments, as the PTX ISA has them, of bf16
__global__ void product(const unsigned short* a, const unsigned short* b, float* d) {  // (16, 16) (16, 8)
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float D[4] = {1, 2, 3, 4};
#if __CUDA_ARCH__ >= 800
  unsigned A[4], B[2];
  for (int r = 0; r < 4; ++r) {
    const int at = (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8;
    A[r] = a[at] | a[at + 1] << 16;
  }
  for (int r = 0; r < 2; ++r) B[r] = b[(2 * t + 8 * r) * 8 + g] | b[(2 * t + 8 * r + 1) * 8 + g] << 16;
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

// --- 8 x 8 numbers of 16 bits as fragments, as they lie and turned; and approximations
__global__ void fragments(unsigned* out) {  // (32, 8)
  constexpr int kRow = 24;
  __shared__ __align__(16) unsigned short numbers[32 * kRow];
  for (int i = threadIdx.x; i < 32 * kRow; i += 32) numbers[i] = i;
  __syncwarp();
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(numbers + threadIdx.x * kRow));
  unsigned r[8];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[4]), "=r"(r[5]), "=r"(r[6]), "=r"(r[7])
               : "r"(at));
  for (int i = 0; i < 8; ++i) out[threadIdx.x * 8 + i] = r[i];
}
__global__ void approximations(const float* x, float* out) {
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out[2 * threadIdx.x]) : "f"(x[threadIdx.x]));
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(out[2 * threadIdx.x + 1]) : "f"(x[threadIdx.x]));
}
TEST(Basics, FragmentsAndApproximations) {
  const Array<unsigned> out(256);
  fragments<<<1, 32>>>(out.data);
  for (int l = 0; l < 32; ++l) {
    for (int k = 0; k < 4; ++k) {
      const unsigned g = l / 4, t = l % 4, along = (8 * k + g) * 24 + 2 * t, turned = (8 * k + 2 * t) * 24 + g;
      EXPECT_TRUE(out.host()[l * 8 + k] == (along | (along + 1) << 16));
      EXPECT_TRUE(out.host()[l * 8 + 4 + k] == (turned | (turned + 24) << 16));
    }
  }
  std::vector<float> x(32);
  for (int i = 0; i < 32; ++i) x[i] = std::ldexp(1.0F + i / 33.0F, 3 * i - 50);
  const Array<float> numbers(x), results(64);
  approximations<<<1, 32>>>(numbers.data, results.data);
  for (int i = 0; i < 32; ++i) {
    EXPECT_TRUE(std::fabs(results.host()[2 * i] * double(x[i]) - 1) <= 1.2e-7);
    EXPECT_TRUE(std::fabs(results.host()[2 * i + 1] * std::sqrt(double(x[i])) - 1) <= 1.2e-7);
  }
}

// --- what CUB and Thrust make of it
__global__ void sort_and_scan(int* out) {
  using Sort = cub::BlockRadixSort<unsigned, 128, 4, int>;
  using Scan = cub::BlockScan<int, 128>;
  __shared__ union {
    Sort::TempStorage sort;
    Scan::TempStorage scan;
  } shared;
  unsigned keys[4];
  int values[4], sum;
  for (int i = 0; i < 4; ++i) keys[i] = (values[i] = threadIdx.x * 4 + i) * 2654435761U;
  Sort(shared.sort).Sort(keys, values);
  __syncthreads();
  Scan(shared.scan).InclusiveSum(values[0], sum);
  for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = values[i];
  out[512 + threadIdx.x] = sum;
}
TEST(Basics, CubAndThrust) {
  const Array<int> out(512 + 128);
  sort_and_scan<<<1, 128>>>(out.data);
  std::vector<int> sorted(512);
  std::iota(sorted.begin(), sorted.end(), 0);
  std::sort(sorted.begin(), sorted.end(), [](int a, int b) { return a * 2654435761U < b * 2654435761U; });
  for (int i = 0, sum = 0; i < 128; ++i) sorted.push_back(sum += sorted[4 * i]);
  EXPECT_TRUE(out.host() == sorted);
  for (const int n : {1, 100, 5000, 300000}) {
    std::vector<unsigned long long> keys(n);
    std::vector<int> values(n);
    unsigned long long r = 7;
    for (int i = 0; i < n; ++i)
      keys[i] = (r = r * 6364136223846793005ULL + 1442695040888963407ULL) >> 20, values[i] = i;
    const Array<unsigned long long> k(keys);
    const Array<int> v(values), scanned(n);
    thrust::stable_sort_by_key(thrust::device, k.data, k.data + n, v.data);
    thrust::inclusive_scan(thrust::device, v.data, v.data + n, scanned.data);
    EXPECT_TRUE(cudaDeviceSynchronize() == cudaSuccess);
    std::stable_sort(values.begin(), values.end(), [&](int a, int b) { return keys[a] < keys[b]; });
    std::stable_sort(keys.begin(), keys.end());
    EXPECT_TRUE(k.host() == keys && v.host() == values);
    std::inclusive_scan(values.begin(), values.end(), values.begin(),
                        [](int a, int b) { return int(unsigned(a) + unsigned(b)); });
    EXPECT_TRUE(scanned.host() == values);
  }
}

}  // namespace
