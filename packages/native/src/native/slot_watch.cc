#include "slot_watch.h"

#include <cstdio>
#include <cstring>
#include <iterator>

namespace trapline {

namespace {

const char* Name(std::uint32_t state) {
  switch (state) {
    case state::kPending: return "PENDING";
    case state::kComplete: return "COMPLETE";
    case state::kProcessing: return "PROCESSING";
    case state::kFree: return "FREE";
    default: return "no state at all";
  }
}

std::string Hex(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

/** Bytes of a slot that neither side writes: [first, last]. */
constexpr std::size_t kUnused[][2] = {
    {offsetof(Slot, reserved0), offsetof(Slot, direction) - 1},
    {offsetof(Slot, request_tail), offsetof(Slot, kernel_handled) - 1},
    {offsetof(Slot, pad), sizeof(Slot) - 1},
};

unsigned char ByteOf(const Slot& slot, std::size_t at) { return reinterpret_cast<const unsigned char*>(&slot)[at]; }

}  // namespace

void Violations::Add(unsigned slot, const std::string& what) {
  std::lock_guard lock(mutex_);
  count_++;
  if (lines_.size() < kMostLines) lines_.push_back("slot " + std::to_string(slot) + ": " + what);
}

std::uint64_t Violations::count() {
  std::lock_guard lock(mutex_);
  return count_;
}

std::vector<std::string> Violations::lines() {
  std::lock_guard lock(mutex_);
  return lines_;
}

void Violations::Clear() {
  std::lock_guard lock(mutex_);
  count_ = 0;
  lines_.clear();
}

SlotWatch::SlotWatch(IoreqChannel& channel, unsigned slot, Violations& violations)
    : channel_(channel), slot_(slot), violations_(violations) {}

void SlotWatch::Idle() {
  if (idle_reported_) return;
  const std::uint32_t now = channel_.State(slot_).load();
  // The state first: an abort that begins after this look is one that has not touched the slot.
  if (now == state::kFree || channel_.aborting()) return;
  idle_reported_ = true;
  // HSM does this after a second NOTIFY: the guest's next access finds the slot taken.
  Report(now == state::kComplete ? "was completed twice: COMPLETE after it was set FREE"
                                 : std::string("left FREE by itself: it is ") + Name(now));
}

void SlotWatch::Begin(const Access& access) {
  CompareBytes();
  channel_.Fill(image_, access);
  generation_ = channel_.generation(slot_);
  seen_ = state::kPending;
  was_claimed_ = false;
}

void SlotWatch::See(std::uint32_t state) {
  if (state == seen_) return;
  const std::uint32_t before = std::exchange(seen_, state);
  if (channel_.aborting()) return;
  if (state == state::kProcessing && before == state::kPending) {
    was_claimed_ = true;
    return;
  }
  // COMPLETE from PENDING may have been PROCESSING between two looks: `Completed` knows by the generation.
  if (state == state::kComplete && (before == state::kPending || before == state::kProcessing)) return;
  Report(std::string("went from ") + Name(before) + " to " + Name(state));
}

void SlotWatch::Completed(bool woken) {
  // Fields first: an abort that begins after them is one that has not touched them.
  Slot now;
  std::memcpy(&now, &channel_.At(slot_), sizeof now);
  const std::int32_t moved = channel_.generation(slot_) - generation_;
  const std::uint32_t kernel_handled = channel_.KernelHandled(slot_).load();
  if (channel_.aborting()) return;
  if (!woken) Report("was completed, but its vCPU was not notified");
  if (moved == 0) {
    Report(was_claimed_ ? "was completed, but its generation did not move"
                        : "went from PENDING to COMPLETE without having been claimed");
  } else if (moved != 1) {
    Report("was claimed " + std::to_string(moved) + " times");
  }
  if (kernel_handled != 0) Report("kernel_handled is " + std::to_string(kernel_handled) + ", set by the server");
  CompareRequest(now);
  CompareBytes();
}

void SlotWatch::CompareRequest(const Slot& now) {
  const auto same = [&](const char* field, std::uint64_t want, std::uint64_t have) {
    if (want != have) Report(std::string(field) + " was changed from " + Hex(want) + " to " + Hex(have));
  };
  same("type", image_.type, now.type);
  same("completion_polling", image_.completion_polling, now.completion_polling);
  same("direction", image_.direction, now.direction);
  same("reserved", image_.reserved, now.reserved);
  same("address", image_.address, now.address);
  same("size", image_.size, now.size);
  if (image_.direction != 0) {
    same("the value of a write", image_.value, now.value);
  } else if (image_.type != static_cast<std::uint32_t>(RequestType::kMmio)) {
    // A port's value has 32 bits; what follows is another field.
    same("the word behind a port's value", image_.value >> 32, now.value >> 32);
  }
}

void SlotWatch::CompareBytes() {
  if (channel_.aborting()) return;
  const Slot& slot = channel_.At(slot_);
  for (const auto& [first, last] : kUnused) {
    for (std::size_t at = first; at <= last; at++) {
      const unsigned char want = ByteOf(image_, at), have = ByteOf(slot, at);
      if (want == have) continue;
      Report("byte " + std::to_string(at) + ", which nobody writes, was changed from " + Hex(want) + " to " + Hex(have));
      reinterpret_cast<unsigned char*>(&image_)[at] = have;
    }
  }
}

void SlotWatch::Release() {
  std::uint32_t expected = state::kComplete;
  if (channel_.State(slot_).compare_exchange_strong(expected, state::kFree)) return;
  if (!channel_.aborting()) Report(std::string("left COMPLETE by itself: it is ") + Name(expected));
  channel_.State(slot_).store(state::kFree);
}

void SlotWatch::Forget() {
  channel_.State(slot_).store(state::kFree);
  idle_reported_ = false;
}

}  // namespace trapline
