#include "native_server.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <utility>

#include "spin.h"

namespace trapline {

namespace {

constexpr std::uint64_t kPorts = 0x10000;
/** Spins before another thread of this CPU gets its turn, in µs. */
constexpr unsigned kYieldUs = 50;
constexpr std::chrono::seconds kPatience{1};

/** Sixteen registers. Every `Class` is code of its own, as the handlers of different devices are. */
template <unsigned Class>
class RegisterDevice final : public NativeDevice {
 public:
  std::uint64_t Read(std::uint64_t offset, std::uint32_t) override { return registers_[Index(offset)] + Class; }
  void Write(std::uint64_t offset, std::uint32_t, std::uint64_t value) override {
    registers_[Index(offset)] = static_cast<std::uint32_t>(value) ^ Class;
  }

 private:
  static std::size_t Index(std::uint64_t offset) { return (offset >> 2) & 15; }
  std::array<std::uint32_t, 16> registers_{};
};

using Maker = std::unique_ptr<NativeDevice> (*)();

template <unsigned... Classes>
constexpr std::array<Maker, sizeof...(Classes)> Makers(std::integer_sequence<unsigned, Classes...>) {
  return {[]() -> std::unique_ptr<NativeDevice> { return std::make_unique<RegisterDevice<Classes>>(); }...};
}
constexpr auto kMakers = Makers(std::make_integer_sequence<unsigned, NativeServer::kMostClasses>());

}  // namespace

NativeServer::NativeServer(const std::vector<Range>& ranges, unsigned classes)
    : counters_(ranges.size()), ports_(kPorts, 0) {
  if (classes == 0 || classes > kMostClasses || ranges.size() >= kPorts) throw SysError("native server", EINVAL);
  for (std::size_t i = 0; i < ranges.size(); i++) {
    const Range& range = ranges[i];
    const std::uint64_t last = range.base + (range.size - 1);
    if (range.size == 0 || last < range.base) throw SysError("native server", EINVAL);
    devices_.push_back(kMakers[i % classes]());
    auto& list = range.space == RequestType::kPio ? pio_ : mmio_;
    list.push_back({range.base, last, devices_.back().get(), &counters_[i]});
  }
  for (auto* list : {&pio_, &mmio_}) {
    std::sort(list->begin(), list->end(), [](const Entry& a, const Entry& b) { return a.base < b.base; });
    for (std::size_t i = 1; i < list->size(); i++) {
      if ((*list)[i].base <= (*list)[i - 1].last) throw SysError("native server", EINVAL);
    }
  }
  if (!pio_.empty() && pio_.back().last >= kPorts) throw SysError("native server", EINVAL);
  for (std::size_t i = 0; i < pio_.size(); i++) {
    for (std::uint64_t port = pio_[i].base; port <= pio_[i].last; port++) {
      ports_[port] = static_cast<std::uint16_t>(i + 1);
    }
  }
}

NativeServer::~NativeServer() = default;

const NativeServer::Entry* NativeServer::Find(const Slot& slot) {
  const std::uint64_t address = slot.address;
  const std::uint64_t last = address + slot.size - 1;
  if (slot.type == static_cast<std::uint32_t>(RequestType::kPio)) {
    const std::uint16_t found = address < kPorts ? ports_[address] : 0;
    return found != 0 && last <= pio_[found - 1].last ? &pio_[found - 1] : nullptr;
  }
  if (recent_ != nullptr && address >= recent_->base && last <= recent_->last) return recent_;
  const auto next = std::upper_bound(mmio_.begin(), mmio_.end(), address,
                                     [](std::uint64_t at, const Entry& entry) { return at < entry.base; });
  if (next == mmio_.begin()) return nullptr;
  const Entry& entry = *std::prev(next);
  if (last < address || last > entry.last) return nullptr;
  return recent_ = &entry;
}

void NativeServer::ServeSlot(Slot& slot) {
  const auto size = static_cast<std::uint32_t>(slot.size);
  const Entry* entry = Find(slot);
  if (slot.direction != 0) {
    if (entry == nullptr) return;
    entry->device->Write(slot.address - entry->base, size, slot.value);
    entry->counters->writes++;
    entry->counters->bytes_written += size;
    return;
  }
  std::uint64_t value = ~std::uint64_t{0};
  if (entry != nullptr) {
    value = entry->device->Read(slot.address - entry->base, size);
    entry->counters->reads++;
    entry->counters->bytes_read += size;
  }
  if (slot.type == static_cast<std::uint32_t>(RequestType::kMmio)) {
    slot.value = value;
  } else {
    // A port's value has 32 bits; behind it is another field.
    const auto low = static_cast<std::uint32_t>(value);
    std::memcpy(&slot.value, &low, sizeof low);
  }
}

std::uint64_t NativeServer::Serve(IoreqChannel& channel, std::uint64_t requests, const std::function<bool()>& over,
                                  const std::function<void()>& sleep) {
  const unsigned spin_us = sleep ? 0 : kYieldUs;
  std::uint64_t served = 0, served_before = 0;
  auto idle_since = std::chrono::steady_clock::now();
  while (served < requests) {
    std::uint32_t claimed = 0;
    if (!SpinUntil(spin_us, [&] { return (claimed = channel.Take()) != 0; })) {
      const auto now = std::chrono::steady_clock::now();
      if (std::exchange(served_before, served) != served) idle_since = now;
      if (over() || now - idle_since > kPatience) break;
      if (sleep) {
        sleep();
      } else {
        ::sched_yield();
      }
      continue;
    }
    // Everything that was claimed is served, should that be a few more than were asked for.
    for (; claimed != 0; claimed &= claimed - 1) {
      const auto slot = static_cast<unsigned>(std::countr_zero(claimed));
      ServeSlot(channel.At(slot));
      channel.Complete(slot, channel.generation(slot));
      served++;
    }
  }
  return served;
}

}  // namespace trapline
