// ceilings: what the machine itself can do, measured by loops that do nothing else: the roofs that ops are held
// against.
#pragma once

#include <limits>

namespace scalelab {

class Context;

// Rates per second of the whole device (of all the Context's threads), latencies in seconds; NaN: not known here.
struct Ceilings {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double copy_bytes = kUnknown;   // main memory, read and written bytes both counted, far beyond any cache
  double read_bytes = kUnknown;   // main memory, read only
  double write_bytes = kUnknown;  // main memory, written only
  double cache_bytes = kUnknown;  // read from the last cache that all cores or multiprocessors share (GPU: L2; CPU: the
                                  // private L2 of each core)
  double shared_bytes = kUnknown;     // GPU: read from shared memory; CPU: from the first-level cache
  double fma_flop = kUnknown;         // fp32 fused multiply-adds, two operations each
  double minimum_ops = kUnknown;      // fp32 minima
  double tensor_flop = kUnknown;      // GPU: bf16 products summed in fp32 by mma.sync
  double launch_seconds = kUnknown;   // GPU: an empty kernel and its wait; CPU: an empty parallel loop
  double barrier_seconds = kUnknown;  // GPU: __syncthreads of a block of 256
};

// Each figure is the best of several runs; all of them take about `seconds` in all.
using MeasureCeilings = Ceilings(double seconds, Context&);

namespace cpu {
MeasureCeilings measure_ceilings;
}
namespace cuda {
MeasureCeilings measure_ceilings;
}

}  // namespace scalelab
