// One vCPU on a thread of its own: KVM_RUN, its exits turned into I/O requests, and the orders it takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "halt_check.h"
#include "kvm_abi.h"
#include "kvm_cpuid.h"
#include "kvm_state.h"
#include "kvm_vm.h"
#include "machine_io.h"
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
  unsigned vcpu = 0;
};

class KvmVcpu {
 public:
  /** What its machine is told, on the vCPU's thread. */
  class Listener {
   public:
    /** It executes no guest instruction any more. */
    virtual void Resting() = 0;
    /** `FinishInstruction` and `Restore` are done. @param error what went wrong; empty if nothing did */
    virtual void Finished(const std::string& error) = 0;
    virtual void Restored(const std::string& error) = 0;
    /** It will not go on by itself before it is restored. */
    virtual void Ended(const VcpuStop& stop) = 0;

   protected:
    ~Listener() = default;
  };

  /** What it shares with the other vCPUs of its machine; all of it must outlive it. */
  struct Machine {
    KvmVm& vm;
    MachineIo& io;
    HaltCheck& halts;
    Listener& listener;
  };

  /**
   * Creates vCPU `index`, at rest. The first one is at 0:`entry` in real mode, the others wait for INIT and SIPI.
   * Resets come in two steps, so that nothing of the old life runs when the first vCPU is new: see `KvmSession::Reset`.
   */
  KvmVcpu(const Machine& machine, unsigned index, const Cpuid& cpuid, std::uint16_t entry);
  ~KvmVcpu() {
    BeginStop();
    Join();
  }

  unsigned index() const { return index_; }
  void Run() { gate_.Give(Order::kRun); }
  /** @returns true if the vCPU is at rest already; otherwise `Resting` is called once it is */
  bool Pause();
  bool resting() { return gate_.resting(); }
  /** Keeps it out of the guest whatever is ordered, or no longer. On any thread, until `BeginStop`. */
  void Hold(bool held);
  /** First step of a reset: ends the instruction whose access was served. Only while paused. Calls `Finished`. */
  void FinishInstruction() { gate_.Give(Order::kFinish); }
  /** Second step: the registers as they were at creation. Calls `Restored`. On any thread. */
  void Restore() { gate_.Give(Order::kReset); }
  /** The thread will end; the caller has aborted the requests in flight. */
  void BeginStop();
  /** Waits for that, and lets go of the vCPU. Idempotent. */
  void Join();

  /** Has it been in the guest, without an exit, since the last call? Reading what it does costs an interruption. */
  bool Quiet();
  /** Makes it report to the `HaltCheck`. */
  void Look();

 private:
  void Kick();
  void ThreadMain();
  /** One KVM_RUN and what follows from it. @returns false when the vCPU has ended */
  bool RunOnce();
  bool HandleExit();
  void ServePio();
  void ServeMmio();
  std::uint64_t Transact(const Access& access);
  /** @returns false, after `End`, if all vCPUs sleep and none can wake another */
  bool LookForHalt();
  /** Can only somebody else wake it? Only where it is not in KVM_RUN. */
  bool Dead();
  std::string DoFinish();
  std::string DoRestore();
  bool End(VcpuStop stop);
  bool Fail(const std::string& message, std::uint32_t suberror = 0);

  const Machine machine_;
  const unsigned index_;
  RunGate gate_;
  UniqueFd fd_;
  Mapping run_mapping_;
  kvm_run* run_ = nullptr;
  VcpuState initial_;
  /** An access was served and KVM has not yet been told to finish its instruction. */
  bool unfinished_ = false;
  /** Exits so far; kicks do not count. Written by the vCPU's thread. */
  std::atomic<std::uint32_t> exits_{0};
  /** At the last `Quiet`. */
  std::uint32_t seen_exits_ = 0;
  std::atomic<bool> look_{false};
  std::thread thread_;
};

}  // namespace trapline
