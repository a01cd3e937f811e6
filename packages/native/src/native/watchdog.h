// Watches device code from a thread of its own. JavaScript cannot interrupt a handler that does not return, so its
// thread leaves in shared words what it is doing (packages/core/src/ioreq/handler-watch.ts), and this one looks at
// them now and then. Knows nothing of JavaScript.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

namespace trapline {

/** The words, as in handler-watch.ts. */
namespace watch {
inline constexpr unsigned kFrameWords = 8;
inline constexpr unsigned kFrames = 8;
enum Word : unsigned { kSequence, kEntry, kAddressLow, kAddressHigh, kKind };
enum Kind : std::uint32_t { kSize = 0xff, kWrite = 0x100, kMmio = 0x200, kWork = 0x400 };
}  // namespace watch

struct WatchdogOptions {
  /** 0: never. */
  unsigned warn_after_ms = 0;
  /** 0: never. */
  unsigned timeout_ms = 0;
  /** Where lines are written to; -1: nowhere. */
  int fd = -1;
  /** What ends the process at the timeout; without one it goes on. */
  std::optional<int> exit_code;
  /** What to do about a timeout, in one line. */
  std::string fix;
};

/** Device code that ran too long. */
struct Overdue {
  std::string who;
  /** `read of 1 at pio 0x3f8`, `a timer`. */
  std::string what;
};

class Watchdog {
 public:
  /**
   * @param loop the event loop of the thread that is watched
   * @param expired called on the watching thread at the timeout, once for each call that runs too long
   */
  Watchdog(const void* loop, WatchdogOptions options, std::function<void()> expired);
  ~Watchdog() { Close(); }

  /** What the watched thread writes into. */
  std::atomic<std::int32_t>* words() { return words_.data(); }
  static constexpr std::size_t kBytes = watch::kFrames * watch::kFrameWords * sizeof(std::int32_t);

  /** What a number in the words stands for from now on. On any thread, as all below. */
  void Name(std::int32_t entry, std::string text);
  /** What expired last; then nothing until something else does. */
  std::optional<Overdue> TakeExpired();
  /** Lets the machines go on that were paused at the timeout. */
  void Release();
  /** Ends the thread. Idempotent. */
  void Close();

 private:
  using Duration = std::chrono::steady_clock::duration;
  /** One frame, as it was found at the last look. */
  struct Seen {
    std::int32_t sequence = 0;
    Duration running{0};
    bool warned = false;
    bool expired = false;
  };

  void ThreadMain();
  /** @param passed time since the last look */
  void Look(Duration passed, std::unique_lock<std::mutex>& lock);
  /** The innermost frame that has run as long as `limit` and was not reported. */
  std::optional<unsigned> FindDue(Duration limit, bool Seen::*reported) const;
  /** What runs in a frame, unless it has returned just now. */
  std::optional<Overdue> Read(unsigned frame) const;
  void Warn(const Overdue& overdue, Duration running, std::unique_lock<std::mutex>& lock);
  void Expire(const Overdue& overdue, std::unique_lock<std::mutex>& lock);
  std::int32_t WordOf(unsigned frame, watch::Word word, std::memory_order order) const {
    return words_[frame * watch::kFrameWords + word].load(order);
  }
  std::string NameOf(std::int32_t entry) const;

  alignas(64) std::array<std::atomic<std::int32_t>, watch::kFrames * watch::kFrameWords> words_{};
  const void* const loop_;
  const WatchdogOptions options_;
  const std::function<void()> expired_;
  const Duration interval_;
  std::array<Seen, watch::kFrames> seen_{};

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool holding_ = false;
  std::optional<Overdue> overdue_;
  std::unordered_map<std::int32_t, std::string> names_;
  std::thread thread_;
};

static_assert(std::atomic<std::int32_t>::is_always_lock_free && sizeof(std::atomic<std::int32_t>) == 4);

}  // namespace trapline
