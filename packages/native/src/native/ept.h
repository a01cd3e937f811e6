// Second-stage page tables as ACRN keeps them for each VM, and the memory they lead to. Pages of 4 KiB, kept as runs.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace trapline {

inline constexpr std::uint64_t kPageMask = 0xfff;
/** Bits of a mapping that say the memory type (`EPT_MT_MASK`); all mappings are RWX. */
inline constexpr std::uint64_t kMemoryTypeMask = 0x38;

inline bool PageAligned(std::uint64_t address) { return (address & kPageMask) == 0; }

/** A run of pages: guest-physical `guest` is host-physical `host`. */
struct EptRun {
  std::uint64_t guest;
  std::uint64_t host;
  std::uint64_t size;
  /** `kMemoryTypeMask` bits. */
  std::uint64_t memory_type;
};

/** One VM's table. Not for two threads at a time, unless both only look. */
class Ept {
 public:
  /** Maps pages that are not mapped; one that is keeps its old mapping (`pgtable_add_map`). All aligned. */
  void Add(std::uint64_t guest, std::uint64_t host, std::uint64_t size, std::uint64_t memory_type);
  /** Unmaps what is mapped there. All aligned. */
  void Remove(std::uint64_t guest, std::uint64_t size);
  /** Is every page there mapped (`ept_is_valid_mr`)? Of no pages: true. */
  bool Covers(std::uint64_t guest, std::uint64_t size) const;
  /** The run that holds all of an access. */
  const EptRun* Find(std::uint64_t guest, std::uint32_t size) const;
  /** By guest-physical address, neighbours joined. */
  std::vector<EptRun> Runs() const;

 private:
  /** By their guest-physical start; never overlapping. */
  std::map<std::uint64_t, EptRun> runs_;
};

/** Host-physical memory: RAM that exists, and everything else as pages that come into being when they are written. */
class HostMemory {
 public:
  /** Lets `bytes` of memory of ours stand at `host`. Before any access. */
  void Back(std::uint64_t host, unsigned char* data, std::uint64_t bytes);
  /** On any thread; what was never written is zero. */
  void Read(std::uint64_t host, unsigned char* data, std::size_t bytes);
  void Write(std::uint64_t host, const unsigned char* data, std::size_t bytes);
  /** Forgets all of it. No thread may be in here. */
  void Clear();

 private:
  using Page = std::array<unsigned char, kPageMask + 1>;
  struct Backed {
    std::uint64_t host;
    unsigned char* data;
    std::uint64_t bytes;
  };
  template <typename Visit>
  void ForEachPiece(std::uint64_t host, std::size_t bytes, bool create, Visit visit);

  std::vector<Backed> backed_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
};

}  // namespace trapline
