// What one vCPU thread is told to do, and where it is: the handshake behind run, pause, reset and close.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace trapline {

/** What a vCPU thread shall do next. */
enum class Order { kPause, kRun, kFinish, kReset, kStop };

class RunGate {
 public:
  /** @param resting called on the vCPU thread when it stopped executing under an order other than kRun */
  explicit RunGate(std::function<void()> resting) : resting_(std::move(resting)) {}

  // --- any thread -------------------------------------------------------------------------------

  /** Gives an order; after kStop none counts. The caller still has to kick a thread that may be inside the guest. */
  void Give(Order order) {
    std::lock_guard lock(mutex_);
    if (order_.load() == Order::kStop) return;
    order_.store(order);
    changed_.notify_all();
  }
  /** Keeps the vCPU out of the guest whatever is ordered, or no longer. On any thread; the caller kicks as for `Give`. */
  void Hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  /** Is the vCPU executing no guest instruction, and will it execute none until the next kRun? */
  bool resting() {
    std::lock_guard lock(mutex_);
    return order_.load() != Order::kRun && phase_.load() != Phase::kGuest;
  }
  /** Is it in the guest, or on its way there and back? */
  bool in_guest() const { return phase_.load(std::memory_order_relaxed) == Phase::kGuest; }

  // --- the vCPU thread --------------------------------------------------------------------------

  /**
   * Waits while the order is kPause (and, if `ended` or held, while it is kRun).
   * @returns the order that ended the wait
   */
  Order Wait(bool ended) {
    std::unique_lock lock(mutex_);
    const auto idle = [&] {
      const Order order = order_.load();
      return order == Order::kPause || ((ended || held_) && order == Order::kRun);
    };
    if (idle()) {
      phase_.store(Phase::kParked);
      resting_();
      changed_.wait(lock, [&] { return !idle(); });
    }
    // The only way into the guest, and under the lock: who found the vCPU resting finds it so until the next kRun.
    const Order order = order_.load();
    if (order == Order::kRun) phase_.store(Phase::kGuest);
    return order;
  }

  /** The vCPU does nothing until then, or until it is ordered something else; it counts as resting meanwhile. */
  void Rest(std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    phase_.store(Phase::kDevice);
    if (order_.load() != Order::kRun) resting_();
    changed_.wait_until(lock, until, [&] { return order_.load() != Order::kRun; });
  }

  /** The vCPU has done `order`: back to kPause, unless something else was ordered meanwhile. */
  void Done(Order order) {
    std::lock_guard lock(mutex_);
    order_.compare_exchange_strong(order, Order::kPause);
  }

  /**
   * The vCPU waits for a device from here on, with its request published, and does nothing else until its next `Wait`.
   * Sequentially consistent against Give + resting(): either the controller sees kDevice, or we see its order and
   * report here.
   */
  void EnterDevice() {
    phase_.store(Phase::kDevice);
    if (order_.load() != Order::kRun) resting_();
  }

 private:
  enum class Phase { kParked, kGuest, kDevice };

  const std::function<void()> resting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::atomic<Order> order_{Order::kPause};
  std::atomic<Phase> phase_{Phase::kParked};
};

}  // namespace trapline
