#include "ept.h"

#include <algorithm>
#include <cstring>

namespace trapline {

namespace {

/** The first address behind a run; the address space ends where the sum would wrap. */
std::uint64_t End(std::uint64_t start, std::uint64_t size) {
  return start + size < start ? ~kPageMask : start + size;
}

}  // namespace

void Ept::Add(std::uint64_t guest, std::uint64_t host, std::uint64_t size, std::uint64_t memory_type) {
  const std::uint64_t end = End(guest, size);
  std::uint64_t at = guest;
  const auto map = [&](std::uint64_t until) {
    if (at < until) runs_.emplace(at, EptRun{at, host + (at - guest), until - at, memory_type & kMemoryTypeMask});
  };
  auto next = runs_.upper_bound(at);
  if (next != runs_.begin()) --next;
  // Only the gaps between what is there.
  for (; next != runs_.end() && next->first < end; ++next) {
    map(std::min(next->first, end));
    at = std::max(at, End(next->first, next->second.size));
  }
  map(end);
}

void Ept::Remove(std::uint64_t guest, std::uint64_t size) {
  const std::uint64_t end = End(guest, size);
  auto next = runs_.upper_bound(guest);
  if (next != runs_.begin()) --next;
  while (next != runs_.end() && next->first < end) {
    const EptRun run = next->second;
    const std::uint64_t run_end = End(run.guest, run.size);
    if (run_end <= guest) {
      ++next;
      continue;
    }
    next = runs_.erase(next);
    if (run.guest < guest) runs_.emplace(run.guest, EptRun{run.guest, run.host, guest - run.guest, run.memory_type});
    if (run_end > end) runs_.emplace(end, EptRun{end, run.host + (end - run.guest), run_end - end, run.memory_type});
  }
}

bool Ept::Covers(std::uint64_t guest, std::uint64_t size) const {
  if (size == 0) return true;
  std::uint64_t at = guest & ~kPageMask;
  // The walk goes from page to page in steps of one page, from wherever in its page it starts.
  const std::uint64_t end = End(at, ((size - 1) | kPageMask) + 1);
  while (at < end) {
    const EptRun* run = Find(at, 1);
    if (run == nullptr) return false;
    at = End(run->guest, run->size);
  }
  return true;
}

const EptRun* Ept::Find(std::uint64_t guest, std::uint32_t size) const {
  auto next = runs_.upper_bound(guest);
  if (next == runs_.begin()) return nullptr;
  const EptRun& run = std::prev(next)->second;
  const std::uint64_t offset = guest - run.guest;
  return offset < run.size && run.size - offset >= size ? &run : nullptr;
}

std::vector<EptRun> Ept::Runs() const {
  std::vector<EptRun> joined;
  for (const auto& [start, run] : runs_) {
    if (!joined.empty()) {
      EptRun& last = joined.back();
      if (last.guest + last.size == start && last.host + last.size == run.host && last.memory_type == run.memory_type) {
        last.size += run.size;
        continue;
      }
    }
    joined.push_back(run);
  }
  return joined;
}

void HostMemory::Back(std::uint64_t host, unsigned char* data, std::uint64_t bytes) {
  backed_.push_back({host, data, bytes});
}

template <typename Visit>
void HostMemory::ForEachPiece(std::uint64_t host, std::size_t bytes, bool create, Visit visit) {
  std::lock_guard lock(mutex_);
  for (std::size_t done = 0; done < bytes;) {
    const std::uint64_t at = host + done;
    const std::size_t in_page = std::min<std::size_t>(bytes - done, kPageMask + 1 - (at & kPageMask));
    unsigned char* data = nullptr;
    for (const Backed& one : backed_) {
      if (at - one.host < one.bytes) data = one.data + (at - one.host);
    }
    if (data == nullptr) {
      auto found = pages_.find(at & ~kPageMask);
      if (found == pages_.end() && create) found = pages_.emplace(at & ~kPageMask, std::make_unique<Page>()).first;
      if (found != pages_.end()) data = found->second->data() + (at & kPageMask);
    }
    visit(data, done, in_page);
    done += in_page;
  }
}

void HostMemory::Read(std::uint64_t host, unsigned char* data, std::size_t bytes) {
  ForEachPiece(host, bytes, false, [&](const unsigned char* from, std::size_t at, std::size_t size) {
    if (from == nullptr) {
      std::memset(data + at, 0, size);
    } else {
      std::memcpy(data + at, from, size);
    }
  });
}

void HostMemory::Write(std::uint64_t host, const unsigned char* data, std::size_t bytes) {
  ForEachPiece(host, bytes, true,
               [&](unsigned char* to, std::size_t at, std::size_t size) { std::memcpy(to, data + at, size); });
}

void HostMemory::Clear() {
  backed_.clear();
  pages_.clear();
}

}  // namespace trapline
