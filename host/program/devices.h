// devices: the GPUs of --device 0,1,2, each of which takes the next part of a command's work as soon as it is free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/program/command.h"

namespace scalelab::host {

class Devices {
 public:
  // Opens all of session.common.devices, of which the first is the session's own. One that fails is left out, with a
  // line; std::invalid_argument where there is no such device.
  explicit Devices(Session& session);

  int count() const { return 1 + static_cast<int>(others_.size()); }
  // Bytes that can be allocated now on each of them.
  std::int64_t memory_free() const;

  // Hands over what a part came to. May be empty: then nothing is to be handed over.
  using Delivery = std::function<void()>;
  // Does a part on one device.
  using Worker = std::function<Delivery(std::size_t part)>;

  // Does parts 0, 1, ... of these weights (shares of the work; only progress goes by them), each of them once. `open` is
  // called for each device, on a thread of its own, and makes what does its parts, with all that it keeps on the device.
  // Deliveries are called one at a time, in the order of parts. A signal, and what is wrong with the work and not with a
  // device (Failure, std::invalid_argument, std::bad_alloc), ends all and is thrown here. A device that fails otherwise is
  // left out, with a line, and the others do its part; what the last one fails of is thrown.
  void deal(const std::vector<double>& weights, const std::function<Worker(Session&)>& open);

 private:
  void say_failed(int device, const std::string& why);

  Session& session_;
  std::vector<std::unique_ptr<Context>> others_;
};

// Throws as the device does that can no longer be used: it copies a few bytes there and back.
void require_answer(Context& context);

}  // namespace scalelab::host
