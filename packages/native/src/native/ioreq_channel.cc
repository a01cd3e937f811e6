#include "ioreq_channel.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include "spin.h"

namespace trapline {

namespace {

// The kernel compares the word with `expected` under its own lock, so a wake between our look and the sleep
// is not lost. EINTR and EAGAIN mean "look again", which every caller does anyway.
void FutexWait(std::uint32_t* word, std::uint32_t expected) {
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void FutexWake(std::uint32_t* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

constexpr std::uint64_t kAllOnes = ~std::uint64_t{0};

}  // namespace

IoreqChannel::IoreqChannel(unsigned slots, unsigned wait_spin_us, std::function<void()> wake)
    : slots_(slots), wait_spin_us_(wait_spin_us), wake_(std::move(wake)), mapping_(-1, kPageBytes) {
  if (slots == 0 || slots > kSlots) throw SysError("ioreq page", EINVAL);
  for (unsigned slot = 0; slot < kSlots; slot++) State(slot).store(state::kFree);
}

std::atomic_ref<std::uint32_t> IoreqChannel::State(unsigned slot) const {
  return std::atomic_ref<std::uint32_t>(At(slot).processed);
}

std::atomic_ref<std::uint64_t> IoreqChannel::Value(unsigned slot) const {
  return std::atomic_ref<std::uint64_t>(At(slot).value);
}

void IoreqChannel::Post(unsigned slot, const Access& access) {
  Slot& s = At(slot);
  s.type = static_cast<std::uint32_t>(access.type);
  s.completion_polling = 0;
  s.direction = access.write ? 1 : 0;
  s.reserved = 0;
  s.address = access.address;
  s.size = access.size;
  s.value = access.value;
  s.kernel_handled = 0;
  // Sequentially consistent: the server stores `armed` and then looks at the states, we store the state and
  // then look at `armed`. One of the two must see the other. The same holds for `aborting`.
  State(slot).store(state::kPending);
  if (aborting_.load()) {
    // Unless the server was faster: then it is the server's to complete, or to abort.
    if (Claim(slot)) AbortClaimed(slot);
    return;
  }
  // Only the exchange that takes the flag wakes, so there is one wake per Arm.
  if (armed_.load() && armed_.exchange(false)) wake_();
}

std::uint64_t IoreqChannel::Await(unsigned slot) {
  auto word = State(slot);
  const auto complete = [&] { return word.load(std::memory_order_acquire) == state::kComplete; };
  if (!SpinUntil(wait_spin_us_, complete)) {
    for (;;) {
      asleep_[slot].store(true);
      const std::uint32_t seen = word.load();
      if (seen == state::kComplete) break;
      FutexWait(&At(slot).processed, seen);
    }
    asleep_[slot].store(false);
  }
  const std::uint64_t value = Value(slot).load(std::memory_order_relaxed);
  word.store(state::kFree, std::memory_order_release);
  return value;
}

std::uint32_t IoreqChannel::Take(unsigned spin_us) {
  std::uint32_t claimed = 0;
  SpinUntil(spin_us, [&] {
    for (unsigned slot = 0; slot < slots_; slot++) {
      if (State(slot).load(std::memory_order_relaxed) == state::kPending && Claim(slot)) claimed |= 1u << slot;
    }
    return claimed != 0;
  });
  return claimed;
}

bool IoreqChannel::Claim(unsigned slot) {
  std::uint32_t expected = state::kPending;
  if (!State(slot).compare_exchange_strong(expected, state::kProcessing)) return false;
  generation_[slot].fetch_add(1);
  return true;
}

std::int32_t IoreqChannel::generation(unsigned slot) const {
  return slot < kSlots ? generation_[slot].load() : 0;
}

bool IoreqChannel::Complete(unsigned slot, std::int32_t generation) {
  if (slot >= slots_ || generation_[slot].load() != generation) return false;
  std::uint32_t expected = state::kProcessing;
  if (!State(slot).compare_exchange_strong(expected, state::kComplete)) return false;
  WakeVcpu(slot);
  return true;
}

bool IoreqChannel::Arm() {
  armed_.store(true);
  if (!AnyPending()) return true;
  // The flag may already be gone: then its wake is on the way, and the server must bear one too many.
  armed_.exchange(false);
  return false;
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
    if (Claim(slot) || State(slot).load() == state::kProcessing) AbortClaimed(slot);
  }
}

void IoreqChannel::Resume() { aborting_.store(false); }

void IoreqChannel::AbortClaimed(unsigned slot) {
  // Whoever settles this request later has an old generation.
  generation_[slot].fetch_add(1);
  Value(slot).store(kAllOnes, std::memory_order_relaxed);
  std::uint32_t expected = state::kProcessing;
  if (State(slot).compare_exchange_strong(expected, state::kComplete)) WakeVcpu(slot);
}

void IoreqChannel::WakeVcpu(unsigned slot) {
  if (asleep_[slot].exchange(false)) FutexWake(&At(slot).processed);
}

}  // namespace trapline
