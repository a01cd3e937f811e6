#include "service_table.h"

#include <algorithm>
#include <thread>

namespace trapline {

namespace {

std::uint32_t MaskOf(std::uint32_t size) { return size >= 4 ? ~0u : (1u << (8 * size)) - 1; }

std::atomic_ref<std::uint32_t> Cell(ServiceRecord& record) { return std::atomic_ref<std::uint32_t>(record.cell); }

void Count(std::uint64_t& counter, std::uint64_t by) {
  std::atomic_ref<std::uint64_t>(counter).fetch_add(by, std::memory_order_relaxed);
}

}  // namespace

ServiceTable::ServiceTable(std::function<void()> rung)
    : rung_(std::move(rung)), mapping_(-1, kMaxServices * sizeof(ServiceRecord)) {}

std::optional<unsigned> ServiceTable::Add(const Service& service) {
  const auto free = std::find(taken_.begin(), taken_.end(), false);
  if (free == taken_.end()) return std::nullopt;
  const auto number = static_cast<unsigned>(free - taken_.begin());
  *free = true;
  Entry& entry = entries_[number];
  entry.kind = service.kind;
  entry.space = service.space;
  entry.base = service.base;
  entry.size = service.size;
  entry.widths = service.widths;
  entry.has_match = service.match.has_value();
  entry.match = service.match.value_or(0);
  {
    std::lock_guard lock(entry.kicks_mutex);
    entry.kicks.clear();
  }
  Record(number) = {};
  Cell(Record(number)).store(service.value);
  entry.active.store(true);
  if (number >= used_.load()) used_.store(number + 1);
  return number;
}

void ServiceTable::Remove(unsigned number) {
  if (number >= kMaxServices || !taken_[number]) return;
  Entry& entry = entries_[number];
  // A vCPU thread counts itself in and then looks at `active`, we take `active` down and then look at the count: one
  // of the two sees the other. Nobody waits for anything while counted in, so this ends soon.
  entry.active.store(false);
  while (entry.users.load() != 0) std::this_thread::yield();
  taken_[number] = false;
}

std::optional<std::uint32_t> ServiceTable::TakeKick(unsigned number) {
  if (number >= kMaxServices) return std::nullopt;
  Entry& entry = entries_[number];
  std::lock_guard lock(entry.kicks_mutex);
  if (entry.kicks.empty()) return std::nullopt;
  const std::uint32_t value = entry.kicks.front();
  entry.kicks.erase(entry.kicks.begin());
  return value;
}

void ServiceTable::Ring(unsigned number, std::uint32_t value, std::uint64_t times) {
  if (number >= kMaxServices || !taken_[number]) return;
  Entry& entry = entries_[number];
  Push(entry, value);
  Count(Record(number).writes, times);
  Count(Record(number).bytes_written, times * entry.size.load());
}

void ServiceTable::Unmap() {
  for (unsigned number = 0; number < kMaxServices; number++) Remove(number);
  mapping_.Unmap();
}

bool ServiceTable::Serve(const Access& access, std::uint64_t& value) {
  const unsigned used = used_.load(std::memory_order_acquire);
  for (unsigned number = 0; number < used; number++) {
    Entry& entry = entries_[number];
    if (!entry.active.load(std::memory_order_relaxed) || !Covers(entry, access)) continue;
    entry.users.fetch_add(1);
    // What was seen above may have been another service, which has left meanwhile.
    const bool served = entry.active.load() && Covers(entry, access) && ServeIn(number, access, value);
    entry.users.fetch_sub(1);
    return served;
  }
  return false;
}

bool ServiceTable::Covers(const Entry& entry, const Access& access) {
  const std::uint64_t offset = access.address - entry.base.load(std::memory_order_relaxed);
  const std::uint32_t size = entry.size.load(std::memory_order_relaxed);
  return access.type == entry.space.load(std::memory_order_relaxed) && offset < size && access.size <= size - offset &&
         (access.size & entry.widths.load(std::memory_order_relaxed)) != 0 && (offset & (access.size - 1)) == 0;
}

bool ServiceTable::ServeIn(unsigned number, const Access& access, std::uint64_t& value) {
  Entry& entry = entries_[number];
  ServiceRecord& record = Record(number);
  const auto kind = entry.kind.load(std::memory_order_relaxed);
  const auto offset = static_cast<std::uint32_t>(access.address - entry.base.load(std::memory_order_relaxed));
  const std::uint32_t mask = MaskOf(access.size);
  const auto written = static_cast<std::uint32_t>(access.value) & mask;
  if (access.write && kind == ServiceKind::kDoorbell) {
    // A write into the middle of a doorbell is no kick.
    const bool rings = offset == 0 && (!entry.has_match.load() || entry.match.load() == written);
    if (rings && !Push(entry, written)) return false;
    if (rings) rung_();
  }
  if (access.write && kind == ServiceKind::kLatch) {
    auto cell = Cell(record);
    std::uint32_t old = cell.load();
    while (!cell.compare_exchange_weak(old, (old & ~(mask << (8 * offset))) | written << (8 * offset))) {
    }
  }
  if (access.write) {
    Count(record.writes, 1);
    Count(record.bytes_written, access.size);
    return true;
  }
  value = kind == ServiceKind::kDoorbell ? 0 : Cell(record).load() >> (8 * offset) & mask;
  Count(record.reads, 1);
  Count(record.bytes_read, access.size);
  return true;
}

bool ServiceTable::Push(Entry& entry, std::uint32_t value) {
  std::lock_guard lock(entry.kicks_mutex);
  // Equal kicks are one, as they are on an eventfd.
  if (std::find(entry.kicks.begin(), entry.kicks.end(), value) != entry.kicks.end()) return true;
  if (entry.kicks.size() == kMaxKicks) return false;
  entry.kicks.push_back(value);
  return true;
}

}  // namespace trapline
