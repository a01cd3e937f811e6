// The fast polling path: one per JavaScript thread, for the request pages of all its machines. It looks for work,
// spins for a bounded time, and sleeps on an eventfd that the event loop polls.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "ioreq_channel.h"
#include "loop_waker.h"

namespace trapline {

/** The flag that says whether the server sleeps. A vCPU thread shares it: it may look at it later than the poller lives. */
class SleepGate {
 public:
  /** @param wake called on a vCPU thread, once for each time the flag was up */
  explicit SleepGate(std::function<void()> wake) : wake_(std::move(wake)) {}
  /** On a vCPU thread, after it has published work. */
  void Announce();

 private:
  friend class Poller;
  std::atomic<bool> armed_{false};
  const std::function<void()> wake_;
};

/** How `Poller::Take` says what it found, in one word; packages/native/src/poller.ts reads it. */
namespace taken {
/** Bits 0 to 15: claimed slots. */
inline constexpr std::uint32_t kSlots = 0xffff;
/** A doorbell of this machine was rung. */
inline constexpr std::uint32_t kKicks = 1u << 16;
/** The turn has lasted long enough: serve this, then let the event loop have its own. */
inline constexpr std::uint32_t kTurnOver = 1u << 17;
/** From here on: the number of the machine. */
inline constexpr unsigned kNumberShift = 18;
inline constexpr unsigned kMaxMachines = 1u << 13;
}  // namespace taken

/** One machine as the poller sees it. */
struct PolledMachine {
  IoreqChannel* channel = nullptr;
  /** Set by a vCPU thread that rang a doorbell; the poller takes it down. */
  std::atomic<bool>* kicks = nullptr;
};

/** All members are for the loop's thread. */
class Poller {
 public:
  /** The spin budget to begin with, its least and its most, in µs. */
  static constexpr unsigned kFirstSpinUs = 50;
  static constexpr unsigned kLeastSpinUs = 5;
  static constexpr unsigned kMostSpinUs = 200;

  /** @param woken called on the loop's thread after `Arm`, once there is work */
  Poller(uv_loop_t* loop, std::function<void()> woken);

  /** What a vCPU thread calls once it has published work. */
  const std::shared_ptr<SleepGate>& gate() const { return gate_; }

  /** @returns the machine's number in `Take` */
  unsigned Add(const PolledMachine& machine);
  /** No vCPU thread of the machine may run any more. */
  void Remove(unsigned number);
  bool empty() const { return count_ == 0; }

  /** Starts a turn: what is taken after `us` µs is marked as the last of it. */
  void BeginTurn(unsigned us);
  /** Claims what one machine has pending, each machine in turn. Does not wait. @returns see `taken`; 0 for nothing */
  std::uint32_t Take();
  /** Like `Take`, and spins for the first request as long as that has been worth it. */
  std::uint32_t Wait();
  /** Asks for one `woken`. @returns false, and asks for nothing, if there is work now */
  bool Arm();

  /**
   * Blocks this thread until there is work, or for `ms`: how a server in C++ sleeps, which a benchmark compares the
   * event loop with.
   */
  void SleepHere(int ms);
  /** The loop looks again: `SleepHere` may have taken the wake-up it was waiting for. */
  void Rouse() { waker_->Raise(1); }

  /** The spin setting in force, in µs: 0 where there are no more CPUs than vCPU threads. */
  unsigned spin_us() const;
  /** Fixes it, for benchmarks and tests; nothing: it adapts. */
  void FixSpin(std::optional<unsigned> us) { fixed_us_ = us; }

  /** Idempotent. @param closed called when the loop has let go of us */
  void Close(std::function<void()> closed = nullptr) { waker_->Close(std::move(closed)); }

 private:
  using Clock = std::chrono::steady_clock;

  std::uint32_t Look();
  std::uint32_t MarkLast(std::uint32_t found);
  bool AnyWork() const;

  std::vector<PolledMachine> machines_;
  unsigned count_ = 0;
  /** The machine looked at first next time. */
  unsigned next_ = 0;
  unsigned budget_us_ = kFirstSpinUs;
  std::optional<unsigned> fixed_us_;
  Clock::time_point turn_ends_{};
  unsigned taken_ = 0;
  bool turn_over_ = false;
  /** The gate's wake-up may be under way on a vCPU thread while we go: it holds the waker, too. */
  std::shared_ptr<LoopWaker> waker_;
  std::shared_ptr<SleepGate> gate_;
};

}  // namespace trapline
