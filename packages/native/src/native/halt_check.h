// Do all vCPUs sleep for ever? With the interrupt controllers in the kernel `hlt` never leaves KVM_RUN, so a guest that
// has halted with interrupts off looks like one that waits. Each vCPU thread looks at its own vCPU, and says what it
// found here.
//
// One look at each is not enough: while the second is looked at, the first may be woken by it (an NMI, a SIPI), and
// then send it to sleep. So whoever found its vCPU dead stays out of the guest until all have said so, and then all look
// again: nothing can have run in between, and nobody is left who could wake them.
#pragma once

#include <condition_variable>
#include <mutex>

namespace trapline {

class HaltCheck {
 public:
  explicit HaltCheck(unsigned vcpus) : vcpus_(vcpus) {}

  /** On the controlling thread: a new round, in which every vCPU thread has to report twice. */
  void Begin() {
    std::lock_guard lock(mutex_);
    End();
    active_ = true;
  }
  /** On any thread: the round is over, and everybody goes on. */
  void Cancel() {
    std::lock_guard lock(mutex_);
    End();
  }
  /**
   * On a vCPU thread: reports a look. If that vCPU is dead, waits until all have said so or the round is over.
   * @returns true if all are dead
   */
  bool Report(bool dead) {
    std::unique_lock lock(mutex_);
    if (!active_) return false;
    if (!dead) {
      End();
      return false;
    }
    const unsigned look = look_;
    if (++dead_ == vcpus_) {
      look_++;
      dead_ = 0;
      changed_.notify_all();
      return true;
    }
    changed_.wait(lock, [&] { return !active_ || look_ != look; });
    return look_ != look;
  }

 private:
  void End() {
    active_ = false;
    dead_ = 0;
    changed_.notify_all();
  }

  const unsigned vcpus_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool active_ = false;
  /** Changes when all have reported. */
  unsigned look_ = 0;
  unsigned dead_ = 0;
};

}  // namespace trapline
