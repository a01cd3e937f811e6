// The shared I/O request page: `struct acrn_io_request_buffer` of <linux/acrn.h>.
// One layout on ACRN, KVM and the simulated hypervisor; 16 slots of 256 bytes, slot index = vCPU id.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__has_include)
#if __has_include(<linux/acrn.h>)
// The header uses an anonymous struct inside its unions only, so C++ takes it as it is.
#include <linux/acrn.h>
#define TRAPLINE_HAS_LINUX_ACRN_H 1
#endif
#endif

namespace trapline {

inline constexpr unsigned kSlots = 16;
inline constexpr std::size_t kPageBytes = 4096;

/** `acrn_io_request.type`. */
enum class RequestType : std::uint32_t { kPio = 0, kMmio = 1, kPciConfig = 2, kWriteProtect = 3 };

/** `acrn_io_request.processed`. A zeroed page reads as "all pending": slots must be set free first. */
namespace state {
inline constexpr std::uint32_t kPending = 0;
inline constexpr std::uint32_t kComplete = 1;
inline constexpr std::uint32_t kProcessing = 2;
inline constexpr std::uint32_t kFree = 3;
}  // namespace state

/** One slot. PIO values are the low 32 bits of `value`. */
struct Slot {
  std::uint32_t type;
  std::uint32_t completion_polling;
  std::uint32_t reserved0[14];
  std::uint32_t direction;
  std::uint32_t reserved;
  std::uint64_t address;
  std::uint64_t size;
  std::uint64_t value;
  std::uint8_t request_tail[32];
  std::uint32_t reserved1;
  std::uint32_t kernel_handled;
  std::uint32_t processed;
  std::uint8_t pad[116];
};

struct IoreqPage {
  Slot slots[kSlots];
};

static_assert(sizeof(Slot) == 256 && sizeof(IoreqPage) == kPageBytes);
static_assert(offsetof(Slot, direction) == 64 && offsetof(Slot, address) == 72 && offsetof(Slot, size) == 80);
static_assert(offsetof(Slot, value) == 88 && offsetof(Slot, kernel_handled) == 132);
static_assert(offsetof(Slot, processed) == 136);

#ifdef TRAPLINE_HAS_LINUX_ACRN_H
static_assert(sizeof(acrn_io_request) == sizeof(Slot) && sizeof(acrn_io_request_buffer) == sizeof(IoreqPage));
static_assert(ACRN_IO_REQUEST_MAX == kSlots);
static_assert(offsetof(acrn_io_request, type) == offsetof(Slot, type));
static_assert(offsetof(acrn_io_request, completion_polling) == offsetof(Slot, completion_polling));
static_assert(offsetof(acrn_io_request, reqs.mmio_request.direction) == offsetof(Slot, direction));
static_assert(offsetof(acrn_io_request, reqs.mmio_request.address) == offsetof(Slot, address));
static_assert(offsetof(acrn_io_request, reqs.mmio_request.size) == offsetof(Slot, size));
static_assert(offsetof(acrn_io_request, reqs.mmio_request.value) == offsetof(Slot, value));
static_assert(offsetof(acrn_io_request, reqs.pio_request.address) == offsetof(Slot, address));
static_assert(offsetof(acrn_io_request, reqs.pio_request.size) == offsetof(Slot, size));
static_assert(offsetof(acrn_io_request, reqs.pio_request.value) == offsetof(Slot, value));
static_assert(offsetof(acrn_io_request, kernel_handled) == offsetof(Slot, kernel_handled));
static_assert(offsetof(acrn_io_request, processed) == offsetof(Slot, processed));
static_assert(ACRN_IOREQ_STATE_PENDING == state::kPending && ACRN_IOREQ_STATE_COMPLETE == state::kComplete);
static_assert(ACRN_IOREQ_STATE_PROCESSING == state::kProcessing && ACRN_IOREQ_STATE_FREE == state::kFree);
static_assert(ACRN_IOREQ_TYPE_PORTIO == static_cast<unsigned>(RequestType::kPio));
static_assert(ACRN_IOREQ_TYPE_MMIO == static_cast<unsigned>(RequestType::kMmio));
static_assert(ACRN_IOREQ_TYPE_PCICFG == static_cast<unsigned>(RequestType::kPciConfig));
static_assert(ACRN_IOREQ_DIR_READ == 0 && ACRN_IOREQ_DIR_WRITE == 1);
#endif

}  // namespace trapline
