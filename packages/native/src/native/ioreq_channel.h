// Both ends of the I/O request protocol over one page: a vCPU thread posts and waits, the
// serving thread claims and completes. What HSM does between hypervisor and device model on ACRN.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>

#include "control_block.h"
#include "ioreq_page.h"
#include "sys.h"

namespace trapline {

/** One trapped access, as a vCPU thread posts it. */
struct Access {
  RequestType type;
  bool write;
  std::uint64_t address;
  std::uint32_t size;
  std::uint64_t value;
};

class IoreqChannel {
 public:
  /**
   * @param slots how many slots are in use, from 0
   * @param announce called on a vCPU thread whenever a request was posted: see `Announce` in handshake.h
   */
  IoreqChannel(unsigned slots, std::function<void()> announce);

  unsigned slots() const { return slots_; }
  /** How long a vCPU thread spins for its completion before it sleeps, in µs, where spinning helps. On any thread. */
  void set_wait_spin(unsigned us) { wait_spin_us_.store(us, std::memory_order_relaxed); }
  /** vCPU threads spin until their completion, however long that takes, and are never woken. Before any request. */
  void set_completion_polling(bool polling) { completion_polling_ = polling; }

  // --- the hypervisor's end, on the thread of vCPU `slot` -------------------------------------

  /** FREE -> PENDING. While aborting, the request completes with all ones at once. */
  void Post(unsigned slot, const Access& access);
  /**
   * The whole of a request that a kernel client handles, as HSM's ioeventfd client does: the page shows it with
   * `kernel_handled`, and the server may neither take nor complete it.
   */
  void ServeInKernel(unsigned slot, const Access& access, std::uint64_t value);
  /** Waits for COMPLETE, takes the value, COMPLETE -> FREE. */
  std::uint64_t Await(unsigned slot);
  /**
   * Waits for COMPLETE as `Await` does, but looks at the slot all the time, at least once in a millisecond.
   * @param look told the state at every look
   * @returns false if the slot was completed but nobody woke the vCPU, which slept
   */
  bool AwaitLooking(unsigned slot, const std::function<void(std::uint32_t state)>& look);
  /** What a request looks like in its slot. */
  void Fill(Slot& slot, const Access& access) const;

  // --- the server's end, on one thread --------------------------------------------------------

  /** PENDING -> PROCESSING for every pending slot, as a bitmap. */
  std::uint32_t Take();
  /** How often a slot was claimed or aborted; an int32 that wraps. */
  std::int32_t generation(unsigned slot) const;
  /** PROCESSING -> COMPLETE and wakes the vCPU, if `generation` is current. JavaScript does the same without a call. */
  bool Complete(unsigned slot, std::int32_t generation);
  /** Wakes a vCPU that sleeps; after its slot is COMPLETE. */
  void WakeVcpu(unsigned slot);
  bool AnyPending() const;

  /** Completes every request in flight, and every later one until `Resume`, with all ones. */
  void Abort();
  /** Only while no vCPU thread posts. */
  void Resume();
  bool aborting() const { return aborting_.load(); }
  /** Ends the wait of a vCPU whatever its server made of its slot. While aborting, and before the vCPU posts again. */
  void ReleaseVcpu(unsigned slot);

  /** The page, and the control block behind it. */
  const Mapping& mapping() const { return mapping_; }
  Slot& At(unsigned slot) const { return page()->slots[slot]; }
  std::atomic_ref<std::uint32_t> State(unsigned slot) const;
  std::atomic_ref<std::uint32_t> KernelHandled(unsigned slot) const;
  static std::atomic_ref<std::uint64_t> Value(Slot& slot);
  /** They leave the process; only after the vCPU threads have ended. The server's end then finds no slots. */
  void Unmap() {
    slots_ = 0;
    mapping_.Unmap();
  }

 private:
  std::atomic_ref<std::int32_t> Generation(unsigned slot) const;
  std::atomic_ref<std::int32_t> Asleep(unsigned slot) const;
  IoreqPage* page() const { return reinterpret_cast<IoreqPage*>(mapping_.data()); }
  ControlBlock* control() const { return reinterpret_cast<ControlBlock*>(mapping_.data() + kPageBytes); }
  /** PENDING -> PROCESSING, by one thread only. */
  bool Claim(unsigned slot);
  void CountGeneration(unsigned slot);
  void AbortClaimed(unsigned slot);

  unsigned slots_;
  std::atomic<unsigned> wait_spin_us_{0};
  bool completion_polling_ = false;
  const std::function<void()> announce_;
  Mapping mapping_;
  std::atomic<bool> aborting_{false};
  /** How often each vCPU was woken: what a checking vCPU expects to move. */
  std::array<std::atomic<std::uint32_t>, kSlots> notified_{};
};

}  // namespace trapline
