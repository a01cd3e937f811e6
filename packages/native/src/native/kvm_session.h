// One open machine on KVM: RAM, VM, vCPU, request page and the wake-ups of its event loop, in the order in which
// they may be taken down. Knows nothing of JavaScript.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "guest_ram.h"
#include "ioreq_channel.h"
#include "kvm_vcpu.h"
#include "kvm_vm.h"
#include "loop_waker.h"
#include "pausables.h"

namespace trapline {

/** What the loop is woken for; a bit set. */
enum SessionEvent : std::uint32_t {
  kRequestPending = 1,
  kResting = 2,
  kResetDone = 4,
  kStopped = 8,
};

struct SessionOptions {
  std::string device;
  std::uint64_t memory = 0;
  std::uint16_t entry = 0;
  unsigned wait_spin_us = 0;
};

/** All members are for the loop's thread. */
class KvmSession {
 public:
  KvmSession(uv_loop_t* loop, const SessionOptions& options, std::function<void(std::uint32_t events)> woken);
  ~KvmSession() { Close(); }

  IoreqChannel& channel() { return channel_; }
  GuestRam& ram() { return ram_; }
  bool open() const { return vcpu_ != nullptr; }

  void Run();
  bool Pause();
  bool resting() { return vcpu_ == nullptr || vcpu_->resting(); }
  void Reset();
  /** Requests may be armed for: the loop stays alive from here on. */
  bool Arm();
  void SetIrqLine(unsigned gsi, bool level);
  void SignalMsi(std::uint64_t address, std::uint32_t data);
  std::optional<VcpuStop> stop();
  std::string reset_error();
  /** The guest has ended for good: it no longer keeps the process alive. */
  void LetExit() { waker_.KeepAlive(false); }

  /**
   * Completes requests in flight, ends the thread, closes every descriptor. Memory stays until `ReleaseMemory`.
   * Idempotent.
   * @param closed called when the loop has let go of us
   */
  void Close(std::function<void()> closed = nullptr);
  /** No pointer into RAM or page may be left. Idempotent; after `Close`. */
  void ReleaseMemory();

 private:
  // Destroyed from the bottom up. What is likeliest to fail comes before what the event loop has to let go of.
  GuestRam ram_;
  IoreqChannel channel_;
  KvmVm vm_;
  LoopWaker waker_;
  std::unique_ptr<KvmVcpu> vcpu_;
  std::optional<Pausable> pausable_;
};

}  // namespace trapline
