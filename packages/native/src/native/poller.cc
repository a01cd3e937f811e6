#include "poller.h"

#include <algorithm>

#include "cpus.h"
#include "handshake.h"
#include "spin.h"

namespace trapline {

namespace {

/** Reading the clock costs as much as a short handler: the turn's end is looked for once in so many requests. */
constexpr unsigned kTakesPerClock = 8;

}  // namespace

void SleepGate::Announce() { trapline::Announce(armed_, wake_); }

Poller::Poller(uv_loop_t* loop, std::function<void()> woken)
    : waker_(std::make_shared<LoopWaker>(loop, [woken = std::move(woken)](std::uint32_t) { woken(); })),
      gate_(std::make_shared<SleepGate>([waker = waker_] { waker->Raise(1); })) {}

unsigned Poller::Add(const PolledMachine& machine) {
  const auto free = std::find_if(machines_.begin(), machines_.end(), [](auto& one) { return one.channel == nullptr; });
  const auto number = static_cast<unsigned>(free - machines_.begin());
  if (number >= taken::kMaxMachines) throw SysError("poller", ENOSPC);
  if (free == machines_.end()) {
    machines_.push_back(machine);
  } else {
    *free = machine;
  }
  count_++;
  return number;
}

void Poller::Remove(unsigned number) {
  if (number >= machines_.size() || machines_[number].channel == nullptr) return;
  machines_[number] = {};
  count_--;
}

void Poller::BeginTurn(unsigned us) {
  turn_ends_ = Clock::now() + std::chrono::microseconds(us);
  turn_over_ = false;
  taken_ = 0;
}

std::uint32_t Poller::Take() { return MarkLast(Look()); }

std::uint32_t Poller::Wait() {
  if (const std::uint32_t found = Look(); found != 0) return MarkLast(found);
  const unsigned budget = spin_us();
  std::uint32_t found = 0;
  SpinUntil(budget, [&] { return (found = Look()) != 0; });
  // Doubled while spinning finds something, halved while it does not, so that it costs little where requests are rare
  // and spans the gaps where they are not.
  budget_us_ = found != 0 ? std::min(budget_us_ * 2, kMostSpinUs) : std::max(budget_us_ / 2, kLeastSpinUs);
  return MarkLast(found);
}

bool Poller::Arm() {
  return trapline::Arm(gate_->armed_, [this] { return AnyWork(); });
}

void Poller::SleepHere(int ms) {
  if (Arm()) waker_->Await(ms);
}

unsigned Poller::spin_us() const {
  if (fixed_us_) return *fixed_us_;
  return SpinningHelps() ? budget_us_ : 0;
}

std::uint32_t Poller::Look() {
  const auto size = static_cast<unsigned>(machines_.size());
  for (unsigned i = 0; i < size; i++) {
    const unsigned number = next_ + i < size ? next_ + i : next_ + i - size;
    const PolledMachine& machine = machines_[number];
    if (machine.channel == nullptr) continue;
    std::uint32_t found = machine.channel->Take();
    if (machine.kicks->load(std::memory_order_relaxed) && machine.kicks->exchange(false)) found |= taken::kKicks;
    if (found == 0) continue;
    // A machine that asks without end comes last next time.
    next_ = number + 1 < size ? number + 1 : 0;
    return found | number << taken::kNumberShift;
  }
  return 0;
}

std::uint32_t Poller::MarkLast(std::uint32_t found) {
  if (found == 0) return 0;
  if (!turn_over_ && ++taken_ % kTakesPerClock == 0) turn_over_ = Clock::now() >= turn_ends_;
  return turn_over_ ? found | taken::kTurnOver : found;
}

bool Poller::AnyWork() const {
  return std::any_of(machines_.begin(), machines_.end(), [](const PolledMachine& machine) {
    return machine.channel != nullptr && (machine.kicks->load() || machine.channel->AnyPending());
  });
}

}  // namespace trapline
