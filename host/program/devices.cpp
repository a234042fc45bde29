#include "host/program/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "host/program/error.h"
#include "scalelab/buffer.h"

namespace scalelab::host {

namespace {

using Delivery = Devices::Delivery;

// Another device has ended the work.
struct Ended {};

// The parts of one call of deal: which are to be done, and what the devices have come to.
class Parts {
 public:
  using Report = std::function<void(std::int64_t done, std::int64_t total)>;
  using SayLost = std::function<void(int device, const std::string& why)>;  // by its place among the devices

  Parts(const std::vector<double>& weights, int devices, Report report, SayLost say_lost)
      : weights_(weights),
        total_(std::accumulate(weights.begin(), weights.end(), 0.0)),
        most_held_(2 * static_cast<std::size_t>(devices)),
        working_(devices),
        report_(std::move(report)),
        say_lost_(std::move(say_lost)),
        part_of_(static_cast<std::size_t>(devices)),
        share_of_(static_cast<std::size_t>(devices)) {}

  // All parts that `worker` of this device can get.
  void work(int device, const std::function<Devices::Worker()>& open) noexcept {
    try {
      const Devices::Worker worker = open();
      while (const std::optional<std::size_t> part = take(device)) finish(device, *part, worker(*part));
    } catch (const Ended&) {
    } catch (...) {
      fail(device);
    }
  }

  // The device has done so much of the part that it is at. A signal is heard here.
  void progress(int device, std::int64_t done, std::int64_t total) {
    const std::lock_guard hold(lock_);
    if (failure_) throw Ended();
    share_of_[static_cast<std::size_t>(device)] =
        total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    say_progress();
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // The next part, once there is room to keep what it comes to; nothing when all are done.
  std::optional<std::size_t> take(int device) {
    std::unique_lock hold(lock_);
    const auto possible = [&] { return !again_.empty() || (next_ < weights_.size() && held_ < most_held_); };
    changed_.wait(hold, [&] { return failure_ || delivered_ == weights_.size() || possible(); });
    if (failure_) throw Ended();
    if (delivered_ == weights_.size()) return std::nullopt;
    std::optional<std::size_t>& part = part_of_[static_cast<std::size_t>(device)];
    share_of_[static_cast<std::size_t>(device)] = 0;
    if (again_.empty()) {
      part = next_++;
    } else {
      part = again_.back();
      again_.pop_back();
    }
    say_progress();
    return part;
  }

  void finish(int device, std::size_t part, Delivery delivery) {
    const std::lock_guard hold(lock_);
    if (failure_) throw Ended();
    finished_ += weights_[part];
    share_of_[static_cast<std::size_t>(device)] = 0;
    held_ += delivery != nullptr;
    waiting_.emplace(part, std::move(delivery));
    part_of_[static_cast<std::size_t>(device)].reset();
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == delivered_; ++delivered_) {
      if (first->second) {
        hand_over(first->second);
        --held_;
      }
      first = waiting_.erase(first);
    }
    changed_.notify_all();
  }

  // What goes wrong here is no fault of the device whose turn it was: it ends all.
  void hand_over(const Delivery& delivery) {
    try {
      delivery();
    } catch (...) {
      failure_ = std::current_exception();
      changed_.notify_all();
      throw Ended();
    }
  }

  // The exception that is being handled came of this device.
  void fail(int device) noexcept {
    const std::lock_guard hold(lock_);
    changed_.notify_all();
    if (failure_) return;
    failure_ = std::current_exception();
    if (--working_ == 0) return;
    try {
      throw;
    } catch (const Failure&) {  // nobody could do better
    } catch (const std::runtime_error& error) {
      failure_ = nullptr;
      say_lost_(device, error.what());
      const std::optional<std::size_t>& part = part_of_[static_cast<std::size_t>(device)];
      if (part) again_.push_back(*part);
      share_of_[static_cast<std::size_t>(device)] = 0;
    } catch (...) {
    }
  }

  void say_progress() const {
    if (!report_) return;
    double done = finished_;
    for (std::size_t device = 0; device < part_of_.size(); ++device) {
      if (part_of_[device]) done += share_of_[device] * weights_[*part_of_[device]];
    }
    constexpr std::int64_t kSteps = 1000000;  // of the whole: finer than any line shows
    report_(std::llround(done / total_ * kSteps), kSteps);
  }

  const std::vector<double>& weights_;
  const double total_;
  const std::size_t most_held_;
  int working_;  // devices
  const Report report_;
  const SayLost say_lost_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::size_t next_ = 0, delivered_ = 0;             // parts before these are taken, and handed over
  std::size_t held_ = 0;                             // of those that wait, how many have something to hand over
  std::map<std::size_t, Delivery> waiting_;          // parts done whose turn has not come
  std::vector<std::size_t> again_;                   // whose device failed
  std::vector<std::optional<std::size_t>> part_of_;  // by device: the part that it is at, and how much of that is done
  std::vector<double> share_of_;
  double finished_ = 0;
  std::exception_ptr failure_;
};

}  // namespace

Devices::Devices(Session& session) : session_(session) {
  for (std::size_t i = 1; i < session.common.devices.size(); ++i) {
    const int device = session.common.devices[i];
    try {
      others_.push_back(std::make_unique<Context>(session.context.backend(), device, session.context.threads()));
    } catch (const std::runtime_error& error) {
      say_failed(device, error.what());
    }
  }
}

void Devices::say_failed(int device, const std::string& why) {
  session_.progress.say(fmt::format("scalelab: device {} failed: {}; the others go on with its work", device, why));
}

std::int64_t Devices::memory_free() const {
  const Backend& backend = session_.context.backend();
  std::size_t least = backend.memory_free(session_.context);
  for (const auto& context : others_) least = std::min(least, backend.memory_free(*context));
  return static_cast<std::int64_t>(least);
}

void Devices::deal(const std::vector<double>& weights, const std::function<Worker(Session&)>& open) {
  if (weights.empty()) return;
  const auto outer = session_.context.progress;
  Parts parts(weights, count(), outer, [this](int device, const std::string& why) {
    say_failed(device == 0 ? session_.context.device() : others_[static_cast<std::size_t>(device) - 1]->device(), why);
  });
  const auto work = [&](int device, Context& context, Progress& progress) {
    Session own{session_.common, context, progress};
    context.progress = [&parts, device](std::int64_t done, std::int64_t total) { parts.progress(device, done, total); };
    parts.work(device, [&] { return open(own); });
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < others_.size(); ++i) {
    threads.emplace_back([&, i] {
      Progress silent(true);  // one line is enough for all
      work(static_cast<int>(i) + 1, *others_[i], silent);
    });
  }
  Progress silent(true);
  work(0, session_.context, others_.empty() ? session_.progress : silent);
  threads.clear();
  session_.context.progress = outer;
  parts.rethrow();
}

void require_answer(Context& context) {
  const std::vector<int> sent = {1, 2, 3};
  const Buffer<int> there(context, sent, Shape{3});
  if (there.to_host() != sent) throw std::runtime_error("what was copied to the device comes back changed");
}

}  // namespace scalelab::host
