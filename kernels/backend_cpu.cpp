// The CPU backend's table, and the life of a Context.
#include <hwy/highway.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels/free_memory.h"
#include "scalelab/backend.h"
#include "scalelab/processors.h"

namespace scalelab {

namespace {

void open(Context& context) {
  if (!context.has_own_stream()) throw std::invalid_argument("the cpu backend has no streams: leave `stream` null");
  if (context.pool() != nullptr) throw std::invalid_argument("the cpu backend has no memory pools: leave `pool` null");
}
void close(Context&) noexcept {}

void* allocate(std::size_t bytes, Context&) {
  // Whole cache lines, so that a vector load at the front never straddles two.
  constexpr std::size_t kLine = 64;
  const std::size_t rounded = (bytes + kLine - 1) / kLine * kLine;
  void* memory = std::aligned_alloc(kLine, rounded == 0 ? kLine : rounded);
  if (memory == nullptr) {
    throw OutOfMemory("out of memory: " + std::to_string(bytes) + " bytes were needed on the host");
  }
  return memory;
}
void release(void* memory, Context&) noexcept { std::free(memory); }

void copy(void* to, const void* from, std::size_t bytes, Context&) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void synchronize(Context&) {}

std::size_t memory_free(Context&) { return free_memory(); }

std::string describe(Context& context) {
  const std::int64_t targets = HWY_SUPPORTED_TARGETS & HWY_TARGETS;  // what the CPU has of what was compiled
  const std::int64_t best = targets & -targets;
  return std::string(hwy::TargetName(best)) + ", " + std::to_string(context.threads()) +
         (context.threads() == 1 ? " thread" : " threads");
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend table{
      .name = "cpu",
      .open = open,
      .close = close,
      .allocate = allocate,
      .release = release,
      .upload = copy,
      .download = copy,
      .synchronize = synchronize,
      .memory_free = memory_free,
      .describe = describe,
      .knn = cpu::knn,
      .knn_merge = cpu::knn_merge,
      .grid_knn = cpu::grid_knn,
      .grid_knn_labels = cpu::grid_knn_labels,
      .grid_mlp_labels = cpu::grid_mlp_labels,
      .grid_spiral_labels = cpu::grid_spiral_labels,
      .label_confusion = cpu::label_confusion,
      .grid_confusion = cpu::grid_confusion,
      .pack_labels = cpu::pack_labels,
      .kmeans_assign = cpu::kmeans_assign,
      .kmeans_plus_plus = cpu::kmeans_plus_plus,
      .kmeans_fit = cpu::kmeans_fit,
      .mlp_forward = cpu::mlp_forward,
      .mlp_backward = cpu::mlp_backward,
      .mlp_train = cpu::mlp_train,
      .max_margin = cpu::max_margin,
      .xor_sgd = cpu::xor_sgd,
      .measure_ceilings = cpu::measure_ceilings,
  };
  return table;
}

Context::Context(const Backend& backend, int device, int threads, void* caller_stream, void* pool)
    : stream(caller_stream),
      backend_(backend),
      device_(device),
      threads_(threads > 0 ? threads : default_threads().threads),
      own_stream_(caller_stream == nullptr),
      pool_(pool) {
  backend_.open(*this);
}

Context::~Context() { backend_.close(*this); }

}  // namespace scalelab
