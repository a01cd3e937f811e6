#include "ioreq_channel.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include <chrono>
#include <thread>

#include "cpus.h"
#include "handshake.h"
#include "spin.h"

namespace trapline {

namespace {

// The kernel compares the word with `expected` under its own lock, so a wake between our look and the sleep
// is not lost. EINTR and EAGAIN mean "look again", which every caller does anyway.
void FutexWait(std::uint32_t* word, std::uint32_t expected) {
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void FutexWaitFor(std::uint32_t* word, std::uint32_t expected, std::chrono::milliseconds most) {
  const timespec time{0, static_cast<long>(most.count()) * 1'000'000};
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &time, nullptr, 0);
}

void FutexWake(std::uint32_t* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

constexpr std::uint64_t kAllOnes = ~std::uint64_t{0};
/** How long a vCPU that polls for its completion spins before it lets another thread of its CPU run. */
constexpr unsigned kPollingYieldUs = 50;
/** Between two looks of a vCPU that sleeps under observation. */
constexpr std::chrono::milliseconds kLookEvery{1};
/** A completer that was interrupted before it could wake anybody has this long to go on. */
constexpr std::chrono::seconds kLateWake{1};

}  // namespace

IoreqChannel::IoreqChannel(unsigned slots, std::function<void()> announce)
    : slots_(slots), announce_(std::move(announce)), mapping_(-1, kChannelBytes) {
  if (slots == 0 || slots > kSlots) throw SysError("ioreq page", EINVAL);
  // A zeroed page reads as sixteen pending requests.
  for (unsigned slot = 0; slot < kSlots; slot++) State(slot).store(state::kFree);
}

std::atomic_ref<std::uint32_t> IoreqChannel::State(unsigned slot) const {
  return std::atomic_ref<std::uint32_t>(At(slot).processed);
}

std::atomic_ref<std::uint64_t> IoreqChannel::Value(Slot& slot) { return std::atomic_ref<std::uint64_t>(slot.value); }

std::atomic_ref<std::uint32_t> IoreqChannel::KernelHandled(unsigned slot) const {
  return std::atomic_ref<std::uint32_t>(At(slot).kernel_handled);
}

std::atomic_ref<std::int32_t> IoreqChannel::Generation(unsigned slot) const {
  return std::atomic_ref<std::int32_t>(control()->generation[slot]);
}

std::atomic_ref<std::int32_t> IoreqChannel::Asleep(unsigned slot) const {
  return std::atomic_ref<std::int32_t>(control()->asleep[slot]);
}

void IoreqChannel::Fill(Slot& s, const Access& access) const {
  s.type = static_cast<std::uint32_t>(access.type);
  s.completion_polling = completion_polling_ ? 1 : 0;
  s.direction = access.write ? 1 : 0;
  s.reserved = 0;
  s.address = access.address;
  s.size = access.size;
  Value(s).store(access.value, std::memory_order_relaxed);
}

void IoreqChannel::Post(unsigned slot, const Access& access) {
  Fill(At(slot), access);
  // Sequentially consistent: see handshake.h. The same holds for `aborting_`.
  State(slot).store(state::kPending);
  if (aborting_.load()) {
    // Unless the server was faster: then it is the server's to complete, or to abort.
    if (Claim(slot)) AbortClaimed(slot);
    return;
  }
  announce_();
}

void IoreqChannel::ServeInKernel(unsigned slot, const Access& access, std::uint64_t value) {
  Slot& s = At(slot);
  Fill(s, access);
  // Never PENDING for anybody else: the claim is ours, and so is the completion.
  std::atomic_ref<std::uint32_t>(s.kernel_handled).store(1, std::memory_order_relaxed);
  CountGeneration(slot);
  State(slot).store(state::kProcessing);
  if (!access.write) Value(At(slot)).store(value, std::memory_order_relaxed);
  State(slot).store(state::kComplete);
  State(slot).store(state::kFree);
}

std::uint64_t IoreqChannel::Await(unsigned slot) {
  auto word = State(slot);
  const auto complete = [&] { return word.load(std::memory_order_acquire) == state::kComplete; };
  if (completion_polling_) {
    while (!SpinUntil(kPollingYieldUs, complete)) ::sched_yield();
  } else if (!SpinUntil(SpinningHelps() ? wait_spin_us_.load(std::memory_order_relaxed) : 0, complete)) {
    auto asleep = Asleep(slot);
    SleepUntilComplete(word, asleep, state::kComplete,
                       [&](std::uint32_t seen) { FutexWait(&At(slot).processed, seen); });
  }
  const std::uint64_t value = Value(At(slot)).load(std::memory_order_relaxed);
  word.store(state::kFree, std::memory_order_release);
  return value;
}

bool IoreqChannel::AwaitLooking(unsigned slot, const std::function<void(std::uint32_t)>& look) {
  auto word = State(slot);
  const auto complete = [&] {
    const std::uint32_t seen = word.load();
    look(seen);
    return seen == state::kComplete;
  };
  if (completion_polling_) {
    while (!SpinUntil(kPollingYieldUs, complete)) ::sched_yield();
    return true;
  }
  if (SpinUntil(SpinningHelps() ? wait_spin_us_.load(std::memory_order_relaxed) : 0, complete)) return true;
  auto asleep = Asleep(slot);
  asleep.store(1);
  // Whoever completes from here on finds the flag up, unless we see COMPLETE before we sleep.
  const std::uint32_t before = notified_[slot].load();
  bool slept = false;
  while (!complete()) {
    FutexWaitFor(&At(slot).processed, word.load(), kLookEvery);
    slept = true;
  }
  const auto woken = [&] { return !slept || notified_[slot].load() != before; };
  const auto patience = std::chrono::steady_clock::now() + kLateWake;
  while (!woken() && std::chrono::steady_clock::now() < patience) std::this_thread::sleep_for(kLookEvery);
  asleep.store(0);
  return woken();
}

std::uint32_t IoreqChannel::Take() {
  std::uint32_t claimed = 0;
  for (unsigned slot = 0; slot < slots_; slot++) {
    if (State(slot).load(std::memory_order_relaxed) == state::kPending && Claim(slot)) claimed |= 1u << slot;
  }
  return claimed;
}

bool IoreqChannel::Claim(unsigned slot) {
  std::uint32_t expected = state::kPending;
  if (!State(slot).compare_exchange_strong(expected, state::kProcessing)) return false;
  KernelHandled(slot).store(0, std::memory_order_relaxed);
  CountGeneration(slot);
  return true;
}

void IoreqChannel::CountGeneration(unsigned slot) {
  // No other thread counts meanwhile: whoever claimed owns the slot, and the state word passed the count on.
  auto generation = Generation(slot);
  // Wraps, which signed addition may not.
  const auto next = static_cast<std::uint32_t>(generation.load(std::memory_order_relaxed)) + 1;
  generation.store(static_cast<std::int32_t>(next));
}

std::int32_t IoreqChannel::generation(unsigned slot) const {
  return slot < slots_ ? Generation(slot).load() : 0;
}

bool IoreqChannel::Complete(unsigned slot, std::int32_t generation) {
  // A slot of a kernel client has its own completer; completing it early would give the guest a stale value.
  if (slot >= slots_ || Generation(slot).load() != generation || KernelHandled(slot).load() != 0) return false;
  std::uint32_t expected = state::kProcessing;
  if (!State(slot).compare_exchange_strong(expected, state::kComplete)) return false;
  WakeVcpu(slot);
  return true;
}

void IoreqChannel::WakeVcpu(unsigned slot) {
  if (slot >= slots_) return;
  // A vCPU that polls for its completion is not asleep: `completion_polling` saves the wake-up and nothing else.
  auto asleep = Asleep(slot);
  WakeAsleep(asleep, [&] {
    notified_[slot].fetch_add(1);
    FutexWake(&At(slot).processed);
  });
}

bool IoreqChannel::AnyPending() const {
  for (unsigned slot = 0; slot < slots_; slot++) {
    if (State(slot).load() == state::kPending) return true;
  }
  return false;
}

void IoreqChannel::Abort() {
  aborting_.store(true);
  for (unsigned slot = 0; slot < slots_; slot++) {
    if (Claim(slot) || (State(slot).load() == state::kProcessing && KernelHandled(slot).load() == 0)) {
      AbortClaimed(slot);
    }
  }
}

void IoreqChannel::Resume() { aborting_.store(false); }

void IoreqChannel::ReleaseVcpu(unsigned slot) {
  // `Abort` has completed what the protocol allows. What is left waits for a COMPLETE that would never come.
  State(slot).exchange(state::kComplete);
  WakeVcpu(slot);
}

void IoreqChannel::AbortClaimed(unsigned slot) {
  // Whoever settles this request later has an old generation.
  CountGeneration(slot);
  Value(At(slot)).store(kAllOnes, std::memory_order_relaxed);
  std::uint32_t expected = state::kProcessing;
  if (State(slot).compare_exchange_strong(expected, state::kComplete)) WakeVcpu(slot);
}

}  // namespace trapline
