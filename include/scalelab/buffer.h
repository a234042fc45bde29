// Buffer: owned memory of a backend, and the only thing that crosses between host and backend memory.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "scalelab/backend.h"
#include "scalelab/view.h"

namespace scalelab {

template <class T>
class Buffer {
 public:
  // Uninitialised memory for `shape`. Throws OutOfMemory. The Context must outlive the Buffer.
  Buffer(Context& context, Shape shape) : context_(&context), view_(nullptr, shape) {
    const auto bytes = static_cast<std::size_t>(view_.size()) * sizeof(T);
    view_ = View<T>(static_cast<T*>(context.backend().allocate(bytes, context)), shape);
  }
  // A copy of host memory.
  Buffer(Context& context, std::span<const T> host, Shape shape) : Buffer(context, shape) { upload(host); }
  ~Buffer() {
    if (view_.data() != nullptr) context_->backend().release(view_.data(), *context_);
  }
  Buffer(Buffer&& other) noexcept : context_(other.context_), view_(std::exchange(other.view_, View<T>())) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(view_, other.view_);
    return *this;
  }

  View<T> view() const { return view_; }
  operator View<T>() const { return view_; }
  operator View<const T>() const { return view_; }
  std::int64_t size() const { return view_.size(); }

  // Copies all of it; the span must have exactly size() elements, else std::invalid_argument.
  void upload(std::span<const T> host) {
    require_size(host.size());
    context_->backend().upload(view_.data(), host.data(), host.size_bytes(), *context_);
  }
  void download(std::span<T> host) const {
    require_size(host.size());
    context_->backend().download(host.data(), view_.data(), host.size_bytes(), *context_);
  }
  std::vector<T> to_host() const {
    std::vector<T> host(static_cast<std::size_t>(size()));
    download(host);
    return host;
  }

 private:
  void require_size(std::size_t elements) const {
    if (elements != static_cast<std::size_t>(size())) {
      throw std::invalid_argument("buffer of " + std::to_string(size()) + " elements was given " +
                                  std::to_string(elements));
    }
  }

  Context* context_;
  View<T> view_;
};

// What an op only reads, from host memory: on the CPU backend that memory itself, which must outlive the Input (a
// mapped file may so be larger than memory), elsewhere a copy.
template <class T>
class Input {
 public:
  Input(Context& context, std::span<const T> host, Shape shape) : view_(host.data(), shape) {
    if (static_cast<std::int64_t>(host.size()) != view_.size()) {
      throw std::invalid_argument("input of " + std::to_string(view_.size()) + " elements was given " +
                                  std::to_string(host.size()));
    }
    if (&context.backend() == &cpu_backend()) return;
    copy_.emplace(context, host, shape);
    view_ = *copy_;
  }
  operator View<const T>() const { return view_; }
  View<const T> view() const { return view_; }

 private:
  View<const T> view_;
  std::optional<Buffer<T>> copy_;
};

}  // namespace scalelab
