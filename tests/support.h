// What tests share: the backends to run on, guarded buffers, bit comparison, seeded data.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "scalelab/backend.h"
#include "scalelab/buffer.h"
#include "scalelab/grid.h"
#include "scalelab/random.h"

namespace scalelab::test {

// Whether SCALELAB_SMALL=1 asks for small shapes on a device too.
inline bool wants_small() {
  const char* small = std::getenv("SCALELAB_SMALL");
  return small != nullptr && std::string(small) == "1";
}

// A test of an op is a TEST_P of this fixture and runs once per backend: `cpu` and `cuda`. Without a device the second is
// visibly skipped; SCALELAB_REQUIRE_CUDA=1 turns the skip into a failure.
class OnBackend : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "cpu") {
      backend_ = &cpu_backend();
      return;
    }
    std::string why;
    backend_ = cuda_backend(&why);
    if (backend_ == nullptr) {
      const char* required = std::getenv("SCALELAB_REQUIRE_CUDA");
      if (required != nullptr && std::string(required) == "1") GTEST_FAIL() << "SCALELAB_REQUIRE_CUDA=1, but " << why;
      GTEST_SKIP() << "no cuda backend: " << why;
    }
  }
  const Backend& backend() const { return *backend_; }
  bool on_cpu() const { return backend_ == &cpu_backend(); }
  // Where a CPU executes the kernels (tests/ptx) a thread costs microseconds: tests shrink their sizes there, and on any
  // device under SCALELAB_SMALL=1, which says so.
  bool on_executor() const { return !on_cpu() && wants_small(); }
  // Whether to leave out this one of many trials: never elsewhere, on the executor all but the first of every `every`.
  // An odd number that divides no loop's length lets every value of every loop have its turn.
  bool leave_out(int every) { return on_executor() && trials_++ % every != 0; }

 private:
  const Backend* backend_ = nullptr;
  int trials_ = 0;
};

#define SCALELAB_ON_EACH_BACKEND(Fixture)                             \
  INSTANTIATE_TEST_SUITE_P(, Fixture, testing::Values("cpu", "cuda"), \
                           [](const auto& info) { return std::string(info.param); })

// Backend memory for an output, poisoned, between two canaries that `to_host` checks. Floats are poisoned with NaN,
// integers with the most negative (or for unsigned types the largest) value.
template <class T>
class Guarded {
 public:
  Guarded(Context& context, Shape shape) : view_(nullptr, shape), buffer_(context, {view_.size() + 2 * kCanary}) {
    std::vector<T> host(static_cast<std::size_t>(buffer_.size()), canary());
    std::fill_n(host.begin() + kCanary, view_.size(), poison());
    buffer_.upload(host);
    view_ = View<T>(buffer_.view().data() + kCanary, shape);
  }
  Guarded(Context& context, std::span<const T> values, Shape shape) : Guarded(context, shape) {
    std::vector<T> host = buffer_.to_host();
    EXPECT_EQ(values.size(), static_cast<std::size_t>(view_.size()));
    std::copy(values.begin(), values.end(), host.begin() + kCanary);
    buffer_.upload(host);
  }
  View<T> view() const { return view_; }
  operator View<T>() const { return view_; }
  operator View<const T>() const { return view_; }

  std::vector<T> to_host() const {
    const std::vector<T> host = buffer_.to_host();
    const T expected = canary();
    for (int i = 0; i < kCanary; ++i) {
      EXPECT_EQ(std::memcmp(&host[i], &expected, sizeof(T)), 0) << "canary before the buffer, " << kCanary - i;
      EXPECT_EQ(std::memcmp(&host[host.size() - 1 - i], &expected, sizeof(T)), 0) << "canary behind the buffer";
    }
    return {host.begin() + kCanary, host.end() - kCanary};
  }

  static T poison() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::quiet_NaN();
    return std::is_signed_v<T> ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
  }

 private:
  static constexpr int kCanary = 64;
  static T canary() { return static_cast<T>(77); }
  View<T> view_;
  Buffer<T> buffer_;
};

// Equal bit for bit, with the first difference named. One NaN is as good as another: x86 makes 0xFFC00000, a GPU
// 0x7FFFFFFF.
template <class T>
testing::AssertionResult same_bits(const std::vector<T>& got, const std::vector<T>& want) {
  if (got.size() != want.size()) {
    return testing::AssertionFailure() << "sizes " << got.size() << " and " << want.size();
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool both_nan = got[i] != got[i] && want[i] != want[i];
    if (!both_nan && std::memcmp(&got[i], &want[i], sizeof(T)) != 0) {
      return testing::AssertionFailure() << "at " << i << ": got " << +got[i] << ", want " << +want[i];
    }
  }
  return testing::AssertionSuccess();
}

// |got - want| <= terms * 2^-24 * magnitude, where magnitude is the sum of the absolute values of the terms added and
// `terms` counts the roundings that can pile up. NaN never passes.
inline testing::AssertionResult within_rounding(double got, double want, double magnitude, double terms) {
  const double bound = terms * 0x1p-24 * magnitude;
  if (std::abs(got - want) <= bound) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "got " << got << ", want " << want << ", bound " << bound;
}

// n uniform floats in [low, high), the same everywhere.
inline std::vector<float> uniform_floats(std::size_t n, std::uint64_t seed, float low = -1, float high = 1) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = low + (high - low) * uniform_float(random_words(seed, Stream::test, i)[0]);
  }
  return values;
}

// A uniform integer in [low, high].
inline std::int64_t uniform_int(std::uint64_t seed, std::uint64_t index, std::int64_t low, std::int64_t high) {
  const Words words = random_words(seed, Stream::test, index, 1);
  return low + static_cast<std::int64_t>(uniform_below(static_cast<std::uint64_t>(high - low + 1), words[0], words[1]));
}

// A test of cuda's results against cpu's: two Contexts, whether shapes may be large, and whether sums on tensor cores are
// added in the CPU's order, as a GPU does not promise, but tests/ptx does with PTX_MMA=chain. Skipped or failed without a
// device as OnBackend is; SCALELAB_SMALL=1 keeps shapes small on a GPU too.
class TwinBackends : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    const Backend* other = cuda_backend(&why);
    if (other == nullptr) {
      const char* required = std::getenv("SCALELAB_REQUIRE_CUDA");
      if (required != nullptr && std::string(required) == "1") GTEST_FAIL() << "SCALELAB_REQUIRE_CUDA=1, but " << why;
      GTEST_SKIP() << "no cuda backend: " << why;
    }
    const char* order = std::getenv("PTX_MMA");
    on_gpu_ = !wants_small();
    sums_known_ = order != nullptr && std::string(order) == "chain";
    cpu_.emplace(cpu_backend());
    cuda_.emplace(*other);
  }
  bool on_gpu_ = false, sums_known_ = false;
  std::optional<Context> cpu_, cuda_;
};

// The centres (x, y) of the cells of rows [row_begin, row_begin + rows), as grid.h defines them.
inline std::vector<float> cell_centres(const Grid& grid, std::int64_t row_begin, std::int64_t rows) {
  std::vector<float> points;
  for (std::int64_t row = row_begin; row < row_begin + rows; ++row) {
    for (std::int64_t column = 0; column < grid.size; ++column) {
      points.push_back(std::fmaf(static_cast<float>(column) + 0.5F, grid.step_x(), grid.x_min));
      points.push_back(std::fmaf(static_cast<float>(row) + 0.5F, grid.step_y(), grid.y_min));
    }
  }
  return points;
}

// An op on this context reports its progress in ascending parts of one total, more than twice and up to the end, and an
// exception thrown there ends it.
template <class Op>
void expect_progress(Context& context, Op&& op) {
  std::int64_t last_done = 0, last_total = -1, calls = 0;
  context.progress = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last_done);
    EXPECT_TRUE(calls == 0 || total == last_total);
    ++calls;
    last_done = done;
    last_total = total;
  };
  op();
  EXPECT_GT(calls, 2);
  EXPECT_EQ(last_done, last_total);
  context.progress = [](std::int64_t, std::int64_t) { throw std::runtime_error("enough"); };
  EXPECT_THROW(op(), std::runtime_error);
}

}  // namespace scalelab::test
