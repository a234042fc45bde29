// Backend: a plain table of functions that says where ops run. `cpu` always exists, `cuda` may.
//
// Context: one place to run: a backend, its device, its stream and its share of threads. An op takes its Context last,
// never prints, never chooses a stream, and takes its scratch memory from it.
//
// Errors, the same on every backend: std::invalid_argument for the caller's fault, before any work has begun;
// OutOfMemory says what was needed and what was free; std::runtime_error for a fault of the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "scalelab/ceilings.h"
#include "scalelab/communicator.h"
#include "scalelab/grid.h"
#include "scalelab/kmeans.h"
#include "scalelab/knn.h"
#include "scalelab/max_margin.h"
#include "scalelab/mlp.h"
#include "scalelab/xor_sgd.h"

namespace scalelab {

struct Backend {
  const char* name;  // "cpu", "cuda"

  // Lifetime of a Context, and its memory. `allocate` and `release` are ordered with the work of the Context's stream.
  void (*open)(Context&);
  void (*close)(Context&) noexcept;
  void* (*allocate)(std::size_t bytes, Context&);
  void (*release)(void*, Context&) noexcept;
  void (*upload)(void* to, const void* from_host, std::size_t bytes, Context&);    // returns when `from_host` is free
  void (*download)(void* to_host, const void* from, std::size_t bytes, Context&);  // returns when `to_host` is filled
  void (*synchronize)(Context&);
  // Bytes that can be allocated now, as far as the system tells; others may take them.
  std::size_t (*memory_free)(Context&);
  // One line: the device's name and what matters of it (instruction set and threads, or architecture and memory).
  std::string (*describe)(Context&);

  // The ops. Every backend has all of them.
  Knn* knn;
  KnnMerge* knn_merge;
  GridKnn* grid_knn;
  GridKnnLabels* grid_knn_labels;
  GridMlpLabels* grid_mlp_labels;
  GridSpiralLabels* grid_spiral_labels;
  LabelConfusion* label_confusion;
  GridConfusion* grid_confusion;
  PackLabels* pack_labels;
  KmeansAssign* kmeans_assign;
  KmeansPlusPlus* kmeans_plus_plus;
  KmeansFit* kmeans_fit;
  MlpForward* mlp_forward;
  MlpBackward* mlp_backward;
  MlpTrain* mlp_train;
  MaxMargin* max_margin;
  XorSgd* xor_sgd;
  MeasureCeilings* measure_ceilings;

  // What other programs call a device of this backend, asked without opening it. Null: nothing to tell apart. Throws
  // std::invalid_argument when there is no such device.
  struct DeviceName {
    std::string product;  // "NVIDIA H100 80GB HBM3"
    std::string bus;      // PCI, "0000:17:00.0"
  };
  DeviceName (*name_device)(int device) = nullptr;
};

const Backend& cpu_backend();

// The CUDA table, or null when this build has none or no device answers; then `why_not` says which, in one line.
const Backend* cuda_backend(std::string* why_not = nullptr);

struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Context {
 public:
  // `threads`: CPU threads to use, 0 for as many as default_threads() (processors.h) says.
  // `stream`: the caller's own cudaStream_t, of `device`, on which all work is queued in order with the caller's; it must
  // outlive the Context, whose end waits for it. Null: a stream of the Context's own.
  // `pool`: the caller's own cudaMemPool_t, of `device`, from which Buffers and the ops' scratch come; it must outlive the
  // Context, and keeps what its release threshold says. Null: a pool of the library's, which all Contexts of the device
  // share and whose memory goes back with the last of them. A device's default pool is used only where it is given.
  // Throws std::invalid_argument for a device that does not exist, and for a stream or a pool where the backend has none.
  explicit Context(const Backend& backend, int device = 0, int threads = 0, void* stream = nullptr,
                   void* pool = nullptr);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Backend& backend() const { return backend_; }
  int device() const { return device_; }
  int threads() const { return threads_; }
  void* pool() const { return pool_; }  // the caller's, or null
  void synchronize() { backend_.synchronize(*this); }

  // A backend's own state: the CUDA stream, set by Backend::open unless the caller gave one.
  void* stream = nullptr;
  bool has_own_stream() const { return own_stream_; }

  // Called now and then by long ops, from the calling thread alone, with work done and work in all, in the op's own
  // unit. It may throw to abandon the op: outputs are then unspecified.
  std::function<void(std::int64_t done, std::int64_t total)> progress;

  // Who works with this Context on the same problem. Ops whose header speaks of ranks then see rows of their own only;
  // all others work alone, whatever this is.
  Communicator ranks;

 private:
  const Backend& backend_;
  int device_;
  int threads_;
  bool own_stream_;
  void* pool_;
};

}  // namespace scalelab
