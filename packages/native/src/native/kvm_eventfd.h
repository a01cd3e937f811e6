// The two eventfds KVM knows: one that a guest's write signals, and one whose signal is an interrupt. Neither needs a
// vCPU to leave the guest, nor a call from JavaScript.
#pragma once

#include <cstdint>
#include <functional>

#include "kvm_abi.h"
#include "loop_poll.h"
#include "service_table.h"
#include "sys.h"

namespace trapline {

/** A doorbell with one value, rung inside the kernel (KVM_IOEVENTFD). All members are for the loop's thread. */
class KernelDoorbell {
 public:
  /**
   * Is it a doorbell that one ioeventfd rings for: one value, written in the size it has? Writes of other sizes and
   * values still reach the vCPU thread.
   */
  static bool Fits(const Service& service);

  /**
   * Binds it: a write of `*service.match`, of exactly `service.size` bytes at `service.base`.
   * @param vm must outlive it
   * @param rung called from the event loop as long as it was rung and nobody has taken that
   */
  KernelDoorbell(int vm, uv_loop_t* loop, const Service& service, std::function<void()> rung);
  ~KernelDoorbell() { Unbind(); }
  KernelDoorbell(const KernelDoorbell&) = delete;
  KernelDoorbell& operator=(const KernelDoorbell&) = delete;

  std::uint32_t value() const { return static_cast<std::uint32_t>(request_.datamatch); }
  /** @returns how often it was rung since the last call */
  std::uint64_t Take();
  /** From its return on, writes leave the guest again; what was rung before can still be taken. Idempotent. */
  void Unbind();

 private:
  const int vm_;
  kvm_ioeventfd request_{};
  bool bound_ = false;
  UniqueFd event_;
  LoopPoll poll_;
};

/** An eventfd whose every signal is an edge on an interrupt line (KVM_IRQFD). */
class Irqfd {
 public:
  /** @param vm must outlive it */
  Irqfd(int vm, unsigned gsi);
  ~Irqfd();
  Irqfd(const Irqfd&) = delete;
  Irqfd& operator=(const Irqfd&) = delete;

  int fd() const { return event_.get(); }

 private:
  const int vm_;
  kvm_irqfd request_{};
  UniqueFd event_;
};

}  // namespace trapline
