// The sort behind device.cuh, alone in a file because Thrust is slow to compile.
#include <thrust/execution_policy.h>
#include <thrust/sort.h>

#include "kernels/cuda/device.cuh"

namespace scalelab::cuda {

namespace {

// Gives Thrust the Context's pool for its temporary memory.
struct PoolAllocator {
  using value_type = char;
  Context* context;
  char* allocate(std::ptrdiff_t bytes) {
    return static_cast<char*>(context->backend().allocate(static_cast<std::size_t>(bytes), *context));
  }
  void deallocate(char* memory, std::size_t) { context->backend().release(memory, *context); }
};

}  // namespace

void sort_pairs(std::uint64_t* keys, int* values, std::int64_t count, Context& context) {
  PoolAllocator pool{&context};
  thrust::stable_sort_by_key(thrust::cuda::par_nosync(pool).on(stream_of(context)), keys, keys + count, values);
}

}  // namespace scalelab::cuda
