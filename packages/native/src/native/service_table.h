// Ranges that a vCPU thread serves itself: constants, latches and doorbells. What they mean is defined in TypeScript
// (packages/core/src/device/service.ts); this is the same without the way through the page.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "ioreq_channel.h"
#include "sys.h"

namespace trapline {

enum class ServiceKind : std::uint32_t { kConstant = 0, kLatch = 1, kDoorbell = 2 };

struct Service {
  ServiceKind kind = ServiceKind::kConstant;
  RequestType space = RequestType::kPio;
  std::uint64_t base = 0;
  /** 1, 2 or 4 bytes. */
  std::uint32_t size = 1;
  /** Access sizes that are decoded here, one bit each (1, 2, 4). */
  std::uint32_t widths = 7;
  /** Of a constant, or of a latch at first. */
  std::uint32_t value = 0;
  /** A doorbell rings for this value only; nothing: for every value. */
  std::optional<std::uint32_t> match;
};

/** What JavaScript sees of one service; packages/native/src/services.ts reads it. */
struct ServiceRecord {
  /** Value of a constant or a latch. */
  std::uint32_t cell;
  std::uint32_t reserved;
  std::uint64_t reads;
  std::uint64_t writes;
  std::uint64_t bytes_read;
  std::uint64_t bytes_written;
  std::uint64_t pad[3];
};
static_assert(sizeof(ServiceRecord) == 64);

class ServiceTable {
 public:
  static constexpr unsigned kMaxServices = 64;
  /** Kicks with different values that one doorbell holds; the next takes the way through the page. */
  static constexpr unsigned kMaxKicks = 32;

  /** @param rung called on a vCPU thread after a doorbell was rung */
  explicit ServiceTable(std::function<void()> rung);

  // --- the controlling thread -------------------------------------------------------------------

  /** @returns its number, or nothing if the table is full */
  std::optional<unsigned> Add(const Service& service);
  /** No vCPU thread serves it when this returns; its record and its kicks stay until the number is used again. */
  void Remove(unsigned number);
  /** The oldest kick that was not taken yet. */
  std::optional<std::uint32_t> TakeKick(unsigned number);
  /** Kicks that came another way: `times` writes of `value`, counted and, being equal, heard as one. */
  void Ring(unsigned number, std::uint32_t value, std::uint64_t times);
  /** The records, shared with JavaScript. */
  const Mapping& mapping() const { return mapping_; }
  /** Only after the vCPU threads have ended. */
  void Unmap();

  // --- vCPU threads -----------------------------------------------------------------------------

  /**
   * Serves an access, if it lies in one of the ranges and is of a form they take.
   * @param value what a read gave; untouched by a write
   */
  bool Serve(const Access& access, std::uint64_t& value);

 private:
  struct Entry {
    /** May a vCPU thread use it? Changed by the controlling thread only. */
    std::atomic<bool> active{false};
    /** vCPU threads in it now. */
    std::atomic<unsigned> users{0};
    std::atomic<ServiceKind> kind{};
    std::atomic<RequestType> space{};
    std::atomic<std::uint64_t> base{0};
    std::atomic<std::uint32_t> size{0};
    std::atomic<std::uint32_t> widths{0};
    std::atomic<bool> has_match{false};
    std::atomic<std::uint32_t> match{0};
    std::mutex kicks_mutex;
    std::vector<std::uint32_t> kicks;
  };

  static bool Covers(const Entry& entry, const Access& access);
  /** @returns false if it must take the way through the page after all */
  bool ServeIn(unsigned number, const Access& access, std::uint64_t& value);
  bool Push(Entry& entry, std::uint32_t value);
  ServiceRecord& Record(unsigned number) const { return reinterpret_cast<ServiceRecord*>(mapping_.data())[number]; }

  const std::function<void()> rung_;
  Mapping mapping_;
  std::array<Entry, kMaxServices> entries_;
  std::array<bool, kMaxServices> taken_{};
  /** Entries from here on were never used. */
  std::atomic<unsigned> used_{0};
};

}  // namespace trapline
