// Bounded busy waiting.
#pragma once

#include <chrono>

namespace trapline {

/** Tells the CPU that this is a spin loop. */
inline void CpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/** Calls `done` until it is true or about `microseconds` have passed; at least once. */
template <typename Done>
bool SpinUntil(unsigned microseconds, Done done) {
  if (done()) return true;
  if (microseconds == 0) return false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  do {
    // Reading the clock costs as much as a dozen pauses: look at it now and then only.
    for (int i = 0; i < 16; i++) {
      CpuRelax();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace trapline
