// What the CUDA backend does on devices that few machines have, imitated: several devices, none with memory pools; and
// whose memory it keeps. Run by ctest with the settings that each test names.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/grid.h"

namespace scalelab {
namespace {

// PTX_DEVICES=2. The current device is the thread's own: one that never met the Context has another, and an op that
// allocates nothing must select the Context's device itself.
TEST(PtxBackend, AThreadWithAnotherCurrentDeviceMayLaunch) {
  Context context(*cuda_backend(), 1);
  const Buffer<std::uint8_t> labels(context, std::vector<std::uint8_t>{1, 0, 1, 0, 0, 0, 0, 1}, {1, 8});
  Buffer<std::uint8_t> bits(context, {1, 1});
  std::string error;
  std::thread([&] {
    try {
      context.backend().pack_labels(labels.view(), bits.view(), context);
    } catch (const std::exception& thrown) {
      error = thrown.what();
    }
  }).join();
  EXPECT_EQ(error, "");
  EXPECT_EQ(bits.to_host(), std::vector<std::uint8_t>{0x85});
}

// What an op has released stays reserved by the pool, and is free to the next op all the same.
TEST(PtxBackend, MemoryThatThePoolKeepsIsFree) {
  Context context(*cuda_backend());
  const std::size_t before = context.backend().memory_free(context);
  { const Buffer<float> large(context, {1 << 26}); }
  EXPECT_EQ(context.backend().memory_free(context), before);
}

// Whoever uses the device's default pool in the same process finds it as they left it.
TEST(PtxBackend, TheDefaultPoolIsOthers) {
  cudaMemPool_t pool = nullptr;
  std::uint64_t keeps = 4096, reserved = 1;
  ASSERT_EQ(cudaDeviceGetDefaultMemPool(&pool, 0), cudaSuccess);
  ASSERT_EQ(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keeps), cudaSuccess);
  Context context(*cuda_backend());
  const Buffer<float> buffer(context, {1000});
  ASSERT_EQ(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keeps), cudaSuccess);
  ASSERT_EQ(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved), cudaSuccess);
  EXPECT_EQ(keeps, 4096U);
  EXPECT_EQ(reserved, 0U);
}

// While a device has a Context its ops' memory stays with the process; with the last one it goes back.
TEST(PtxBackend, TheLastContextGivesAllMemoryBack) {
  const auto free_now = [] {
    std::size_t free_bytes = 0, total = 0;
    EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    return free_bytes;
  };
  const std::size_t before = free_now();
  {
    Context one(*cuda_backend());
    {
      Context another(*cuda_backend());
      const Buffer<float> large(another, {1 << 20});
      another.synchronize();
    }
    EXPECT_LE(free_now(), before - (4 << 20));
  }
  EXPECT_EQ(free_now(), before);
}

// Another library's stream and memory: an op's work stands between the caller's, nothing is copied, and what is the
// caller's is still there when the Context is not.
TEST(PtxBackend, AStreamAndMemoryOfTheCallers) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  const std::vector<float> points = {0, 0, 1, 0, 0, 2, 5, 5, 6, 5};
  float* rows = nullptr;
  int* found = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&rows), 10 * sizeof(float)), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&found), 5 * sizeof(int)), cudaSuccess);
  std::vector<int> nearest(5, -1);
  {
    Context context(*cuda_backend(), 0, 0, stream);
    EXPECT_EQ(context.stream, stream);
    cudaMemcpyAsync(rows, points.data(), 10 * sizeof(float), cudaMemcpyHostToDevice, stream);
    const View<const float> view(rows, {5, 2});
    context.backend().knn(view, view, View<int>(found, {5, 1}), {}, context);
    cudaMemcpyAsync(nearest.data(), found, 5 * sizeof(int), cudaMemcpyDeviceToHost, stream);
  }
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(nearest, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(cudaFree(rows), cudaSuccess);
  EXPECT_EQ(cudaFree(found), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

// A pool of the caller's has what Buffers and scratch take, and nothing else is asked of the device; it is there when the
// Context is not.
TEST(PtxBackend, AMemoryPoolOfTheCallers) {
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  cudaMemPool_t pool = nullptr;
  ASSERT_EQ(cudaMemPoolCreate(&pool, &properties), cudaSuccess);
  std::uint64_t keeps = UINT64_MAX;
  ASSERT_EQ(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keeps), cudaSuccess);
  const auto attribute = [pool](cudaMemPoolAttr which) {
    std::uint64_t bytes = 0;
    EXPECT_EQ(cudaMemPoolGetAttribute(pool, which, &bytes), cudaSuccess);
    return bytes;
  };
  const std::vector<float> points = {0, 0, 1, 0, 0, 2, 5, 5, 6, 5};
  {
    Context context(*cuda_backend(), 0, 0, nullptr, pool);
    const Input<float> rows(context, points, {5, 2});
    const Buffer<int> nearest(context, {5, 1});
    EXPECT_GT(attribute(cudaMemPoolAttrUsedMemCurrent), 0U);
    const std::size_t free_before = context.backend().memory_free(context);
    { const Buffer<float> large(context, {1 << 20}); }
    EXPECT_EQ(context.backend().memory_free(context), free_before);
    EXPECT_GE(attribute(cudaMemPoolAttrReservedMemCurrent), 4U << 20);
    context.backend().knn(rows, rows, nearest, {}, context);
    EXPECT_EQ(nearest.to_host(), (std::vector<int>{0, 1, 2, 3, 4}));
  }
  EXPECT_EQ(attribute(cudaMemPoolAttrUsedMemCurrent), 0U);
  EXPECT_GE(attribute(cudaMemPoolAttrReservedMemCurrent), 4U << 20);
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaSuccess);
}

// PTX_POOLS=0.
TEST(PtxBackend, DevicesWithoutPoolsAreNoBackend) {
  std::string why;
  EXPECT_EQ(cuda_backend(&why), nullptr);
  EXPECT_NE(why.find("memory pools"), std::string::npos) << why;
}

}  // namespace
}  // namespace scalelab
