// What a session wakes its event loop for; a bit set. packages/native/src/addon.ts has the same bits.
#pragma once

#include <cstdint>

namespace trapline {

enum SessionEvent : std::uint32_t {
  kResting = 2,
  kResetDone = 4,
  kStopped = 8,
};

}  // namespace trapline
