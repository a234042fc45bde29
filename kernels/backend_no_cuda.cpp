// Stands in for backend_cuda.cu in a build without CUDA.
#include "scalelab/backend.h"

namespace scalelab {

const Backend* cuda_backend(std::string* why_not) {
  if (why_not != nullptr) *why_not = "this build has no CUDA backend: configure it where nvcc is found";
  return nullptr;
}

}  // namespace scalelab
