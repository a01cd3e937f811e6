// One vCPU on a thread of its own: KVM_RUN, its exits turned into I/O requests, and the orders it takes.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ioreq_channel.h"
#include "kvm_abi.h"
#include "kvm_state.h"
#include "kvm_vm.h"
#include "run_gate.h"
#include "sys.h"

namespace trapline {

/** Why a vCPU will not go on by itself. */
struct VcpuStop {
  enum class Reason { kHalted, kTripleFault, kPowerOff, kReset, kFailed };
  Reason reason = Reason::kFailed;
  /** For `kFailed`: what happened, in one sentence. */
  std::string message;
  std::uint64_t rip = 0;
  std::uint32_t exit_reason = 0;
  std::uint32_t suberror = 0;
};

class KvmVcpu {
 public:
  /** Called on the vCPU's thread. */
  struct Events {
    std::function<void()> resting;
    std::function<void()> reset_done;
    std::function<void()> stopped;
  };

  /** Creates vCPU `index`, at rest at 0:`entry` in real mode. `vm` and `channel` must outlive it. */
  KvmVcpu(KvmVm& vm, IoreqChannel& channel, unsigned index, std::uint16_t entry, Events events);
  ~KvmVcpu() { Stop(); }

  void Run() { gate_.Give(Order::kRun); }
  /** @returns true if the vCPU is at rest already; otherwise `resting` is called once it is */
  bool Pause();
  bool resting() { return gate_.resting(); }
  /** Keeps it out of the guest whatever is ordered, or no longer. On any thread, until `Stop`. */
  void Hold(bool held);
  /** To the first instruction; only while paused, with no request in flight. Calls `reset_done`. */
  void Reset() { gate_.Give(Order::kReset); }
  /** Ends the thread; the caller has aborted the channel's requests. Idempotent. */
  void Stop();

  /** What ended the vCPU, if something did since the last reset. */
  std::optional<VcpuStop> stop();
  /** What went wrong at the last reset; empty if nothing did. */
  std::string reset_error();

 private:
  void Kick();
  void ThreadMain();
  /** One KVM_RUN and what follows from it. @returns false when the vCPU has ended */
  bool RunOnce();
  bool HandleExit();
  void ServePio();
  void ServeMmio();
  std::uint64_t Transact(const Access& access);
  /** Lets KVM finish the instruction whose access was just served, without entering the guest. */
  void FinishInstruction();
  void DoReset();
  bool End(VcpuStop stop);
  bool Fail(const std::string& message, std::uint32_t suberror = 0);

  KvmVm& vm_;
  IoreqChannel& channel_;
  const unsigned index_;
  const Events events_;
  RunGate gate_;
  UniqueFd fd_;
  Mapping run_mapping_;
  kvm_run* run_ = nullptr;
  VcpuState initial_;
  /** An access was served and KVM has not yet been told to finish its instruction. */
  bool unfinished_ = false;
  std::mutex stop_mutex_;
  std::optional<VcpuStop> stop_;
  std::string reset_error_;
  std::thread thread_;
};

}  // namespace trapline
