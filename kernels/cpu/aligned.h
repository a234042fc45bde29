// aligned: memory for rows of floats that begins where a vector may.
#pragma once

#include <hwy/aligned_allocator.h>

#include <cstdint>
#include <new>

namespace scalelab::cpu {

// `count` floats, not set to anything; std::bad_alloc where there is no memory, of which Highway says nothing.
inline hwy::AlignedFreeUniquePtr<float[]> aligned_floats(std::int64_t count) {
  auto floats = hwy::AllocateAligned<float>(static_cast<std::size_t>(count));
  if (floats == nullptr) throw std::bad_alloc();
  return floats;
}

}  // namespace scalelab::cpu
