// Both ends of the I/O request protocol over one page: a vCPU thread posts and waits, the
// serving thread claims and completes. What HSM does between hypervisor and device model on ACRN.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>

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
   * @param wait_spin_us how long a vCPU thread spins for its completion before it sleeps
   * @param wake called on a vCPU thread when a request was posted while the server was armed
   */
  IoreqChannel(unsigned slots, unsigned wait_spin_us, std::function<void()> wake);

  // --- the hypervisor's end, on the thread of vCPU `slot` -------------------------------------

  /** FREE -> PENDING. While aborting, the request completes with all ones at once. */
  void Post(unsigned slot, const Access& access);
  /** Waits for COMPLETE, takes the value, COMPLETE -> FREE. */
  std::uint64_t Await(unsigned slot);

  // --- the server's end, on one thread --------------------------------------------------------

  /** PENDING -> PROCESSING for every pending slot, as a bitmap; waits at most `spin_us` for the first. */
  std::uint32_t Take(unsigned spin_us);
  /** How often a slot was claimed or aborted; an int32 that wraps. */
  std::int32_t generation(unsigned slot) const;
  /** PROCESSING -> COMPLETE and wakes the vCPU, if `generation` is current. */
  bool Complete(unsigned slot, std::int32_t generation);
  /** Asks for one `wake`. @returns false, and asks for nothing, if a request is pending now */
  bool Arm();

  /** Completes every request in flight, and every later one until `Resume`, with all ones. */
  void Abort();
  /** Only while no vCPU thread posts. */
  void Resume();

  const Mapping& mapping() const { return mapping_; }
  /** The page leaves the process; only after the vCPU threads have ended. The server's end then finds no slots. */
  void Unmap() {
    slots_ = 0;
    mapping_.Unmap();
  }

 private:
  std::atomic_ref<std::uint32_t> State(unsigned slot) const;
  std::atomic_ref<std::uint64_t> Value(unsigned slot) const;
  Slot& At(unsigned slot) const { return page()->slots[slot]; }
  IoreqPage* page() const { return reinterpret_cast<IoreqPage*>(mapping_.data()); }
  bool AnyPending() const;
  /** PENDING -> PROCESSING, by one thread only. */
  bool Claim(unsigned slot);
  void AbortClaimed(unsigned slot);
  void WakeVcpu(unsigned slot);

  unsigned slots_;
  const unsigned wait_spin_us_;
  const std::function<void()> wake_;
  Mapping mapping_;
  std::atomic<bool> armed_{false};
  std::atomic<bool> aborting_{false};
  std::array<std::atomic<bool>, kSlots> asleep_{};
  std::array<std::atomic<std::int32_t>, kSlots> generation_{};
};

}  // namespace trapline
