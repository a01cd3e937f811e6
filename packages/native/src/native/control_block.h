// What a server needs of each slot beside the page itself. It lies behind the page in the same mapping, so that one
// view shows JavaScript both, and completing a request needs no call into the addon unless somebody sleeps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ioreq_page.h"

namespace trapline {

struct ControlBlock {
  /** How often a slot was claimed or aborted; wraps. */
  std::int32_t generation[kSlots];
  /** 1 while the slot's vCPU sleeps, or is about to. */
  std::int32_t asleep[kSlots];
};

/** The page and, on a page of its own, the control block. */
inline constexpr std::size_t kChannelBytes = 2 * kPageBytes;

// packages/native/src/ioreq-source.ts reads these.
static_assert(offsetof(ControlBlock, generation) == 0 && offsetof(ControlBlock, asleep) == 64);

}  // namespace trapline
