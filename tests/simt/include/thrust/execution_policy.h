// Thrust itself, with its sequential C++ system, and a stand-in for its CUDA stream policies: algorithms given one run
// on the spot, and may touch device memory while the policy lives. Temporary memory is Thrust's own, not the pool's.
#pragma once
#include_next <thrust/execution_policy.h>

#include "cuda_runtime.h"

namespace simt {
struct ThrustPolicy : thrust::cpp::execution_policy<ThrustPolicy> {
  DeviceAccess access;
};
struct ThrustPolicyMaker {
  template <class Allocator>
  ThrustPolicyMaker operator()(const Allocator&) const {
    return {};
  }
  ThrustPolicy on(cudaStream_t) const { return {}; }
};
}  // namespace simt

THRUST_NAMESPACE_BEGIN
namespace cuda {
inline constexpr simt::ThrustPolicyMaker par, par_nosync;
}  // namespace cuda
THRUST_NAMESPACE_END
