// What the CUDA backend does on devices that few machines have, imitated: several devices, none with memory pools, and a
// pool that keeps what was released. Run by ctest with the settings that each test names.
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

// PTX_POOLS=0.
TEST(PtxBackend, DevicesWithoutPoolsAreNoBackend) {
  std::string why;
  EXPECT_EQ(cuda_backend(&why), nullptr);
  EXPECT_NE(why.find("memory pools"), std::string::npos) << why;
}

}  // namespace
}  // namespace scalelab
