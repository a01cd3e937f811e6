// Times by the CPU's time-stamp counter, in buckets whose width grows with the time: off by 3 % at most.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace trapline {

/** The time-stamp counter and what a tick of it is. */
class TickClock {
 public:
  static std::uint64_t Ticks() {
#if defined(__x86_64__)
    return __rdtsc();
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
  }

  /** By the time that has passed since we were made; waits until that is long enough to tell. */
  double NanosecondsPerTick() const {
    for (;;) {
      const auto ticks = Ticks() - ticks_;
      const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - time_;
      if (time >= kLongEnough && ticks > 0) return time.count() / static_cast<double>(ticks);
    }
  }

 private:
  static constexpr std::chrono::milliseconds kLongEnough{5};
  const std::chrono::steady_clock::time_point time_ = std::chrono::steady_clock::now();
  const std::uint64_t ticks_ = Ticks();
};

/** One thread records, another reads. */
class LatencyHistogram {
 public:
  struct Summary {
    std::uint64_t count = 0;
    /** In ticks. */
    double p50 = 0, p90 = 0, p99 = 0, max = 0;
  };

  void Record(std::uint64_t ticks) {
    auto& bucket = counts_[Index(ticks)];
    bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // --- the reading thread -----------------------------------------------------------------------

  /** What was recorded so far counts no longer. */
  void Reset() {
    for (unsigned i = 0; i < kBuckets; i++) before_[i] = counts_[i].load(std::memory_order_relaxed);
  }

  Summary Read() const {
    std::array<std::uint64_t, kBuckets> now;
    Summary summary;
    for (unsigned i = 0; i < kBuckets; i++) {
      now[i] = counts_[i].load(std::memory_order_relaxed) - before_[i];
      summary.count += now[i];
    }
    const auto quantile = [&](double share) {
      const double wanted = share * static_cast<double>(summary.count);
      std::uint64_t seen = 0;
      for (unsigned i = 0; i < kBuckets; i++) {
        seen += now[i];
        if (seen > 0 && static_cast<double>(seen) >= wanted) return Middle(i);
      }
      return 0.0;
    };
    summary.p50 = quantile(0.5);
    summary.p90 = quantile(0.9);
    summary.p99 = quantile(0.99);
    summary.max = quantile(1);
    return summary;
  }

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr unsigned kSub = 1u << kSubBits;
  static constexpr unsigned kBuckets = (64 - kSubBits + 1) * kSub;

  static unsigned Index(std::uint64_t ticks) {
    if (ticks < kSub) return static_cast<unsigned>(ticks);
    const unsigned shift = static_cast<unsigned>(std::bit_width(ticks)) - 1 - kSubBits;
    return (shift + 1) * kSub + static_cast<unsigned>((ticks >> shift) & (kSub - 1));
  }
  static double Middle(unsigned index) {
    if (index < kSub) return index;
    const unsigned shift = index / kSub - 1;
    const auto low = static_cast<double>(std::uint64_t{kSub + index % kSub} << shift);
    return low + static_cast<double>(std::uint64_t{1} << shift) / 2;
  }

  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::array<std::uint64_t, kBuckets> before_{};
};

}  // namespace trapline
