#include "watchdog.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string_view>

#include <poll.h>
#include <unistd.h>

#include "pausables.h"
#include "quiet_thread.h"
#include "uv_abi.h"

namespace trapline {

namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/** Often enough to be exact, seldom enough to cost nothing. */
milliseconds IntervalOf(const WatchdogOptions& options) {
  unsigned shortest = 1000;
  for (const unsigned limit : {options.warn_after_ms, options.timeout_ms}) {
    if (limit != 0) shortest = std::min(shortest, limit);
  }
  return milliseconds(std::clamp(shortest / 10, 5u, 100u));
}

/** Longest time a line may wait for its reader, in ms: the end must come although nobody reads. */
constexpr int kWriteMs = 1000;

void WriteAll(int fd, std::string_view text) {
  while (fd >= 0 && !text.empty()) {
    // A pipe that says so takes PIPE_BUF bytes, which is more than we have, so that not even a blocking one blocks.
    pollfd poll{fd, POLLOUT, 0};
    const int ready = ::poll(&poll, 1, kWriteMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return;
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char text[96];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

Watchdog::Watchdog(const void* loop, WatchdogOptions options, std::function<void()> expired)
    : loop_(loop), options_(std::move(options)), expired_(std::move(expired)), interval_(IntervalOf(options_)) {
  thread_ = QuietThread("trapline-watch", [this] { ThreadMain(); });
}

void Watchdog::Name(std::int32_t entry, std::string text) {
  std::lock_guard lock(mutex_);
  names_[entry] = std::move(text);
}

std::optional<Overdue> Watchdog::TakeExpired() {
  std::lock_guard lock(mutex_);
  return std::exchange(overdue_, std::nullopt);
}

void Watchdog::Release() {
  std::lock_guard lock(mutex_);
  if (std::exchange(holding_, false)) Pausable::Release(loop_);
}

void Watchdog::Close() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  thread_.join();
  Release();
}

void Watchdog::ThreadMain() {
  std::unique_lock lock(mutex_);
  auto before = steady_clock::now();
  while (!wake_.wait_for(lock, interval_, [this] { return stopping_; })) {
    const auto now = steady_clock::now();
    // A process that was stopped, or a machine too busy to let us look, is no reason to blame a handler for the time.
    Look(std::min(now - before, 2 * interval_), lock);
    before = now;
  }
}

void Watchdog::Look(Duration passed, std::unique_lock<std::mutex>& lock) {
  for (unsigned frame = 0; frame < watch::kFrames; frame++) {
    Seen& seen = seen_[frame];
    const std::int32_t sequence = WordOf(frame, watch::kSequence, std::memory_order_acquire);
    if (sequence != seen.sequence) {
      seen = Seen{sequence};
    } else if (sequence & 1) {
      seen.running += passed;
    }
  }
  const auto report = [&](unsigned limit_ms, bool Seen::*reported, auto tell) {
    const auto due = limit_ms == 0 ? std::nullopt : FindDue(milliseconds(limit_ms), reported);
    const auto overdue = due ? Read(*due) : std::nullopt;
    if (!overdue) return false;
    // Those around it wait for it.
    for (unsigned frame = 0; frame <= *due; frame++) seen_[frame].warned = seen_[frame].*reported = true;
    tell(*overdue, seen_[*due].running);
    return true;
  };
  if (report(options_.timeout_ms, &Seen::expired, [&](const Overdue& o, Duration) { Expire(o, lock); })) return;
  report(options_.warn_after_ms, &Seen::warned, [&](const Overdue& o, Duration running) { Warn(o, running, lock); });
}

std::optional<unsigned> Watchdog::FindDue(Duration limit, bool Seen::*reported) const {
  // The innermost of several is the one that does not return.
  for (unsigned frame = watch::kFrames; frame-- > 0;) {
    const Seen& seen = seen_[frame];
    if ((seen.sequence & 1) && seen.running >= limit && !(seen.*reported)) return frame;
  }
  return std::nullopt;
}

std::optional<Overdue> Watchdog::Read(unsigned frame) const {
  const auto word = [&](watch::Word which) {
    return static_cast<std::uint32_t>(WordOf(frame, which, std::memory_order_relaxed));
  };
  const auto entry = static_cast<std::int32_t>(word(watch::kEntry));
  const std::uint32_t low = word(watch::kAddressLow);
  const std::uint64_t address = static_cast<std::uint64_t>(word(watch::kAddressHigh)) << 32 | low;
  const std::uint32_t kind = word(watch::kKind);
  // The same sequence as before: then all of it is of that one call.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (WordOf(frame, watch::kSequence, std::memory_order_relaxed) != seen_[frame].sequence) return std::nullopt;
  if (kind & watch::kWork) return Overdue{NameOf(entry), NameOf(static_cast<std::int32_t>(low))};
  return Overdue{NameOf(entry), Format("%s of %u at %s 0x%llx", kind & watch::kWrite ? "write" : "read",
                                       kind & watch::kSize, kind & watch::kMmio ? "mmio" : "pio",
                                       static_cast<unsigned long long>(address))};
}

std::string Watchdog::NameOf(std::int32_t entry) const {
  const auto found = names_.find(entry);
  return found == names_.end() ? "a device" : found->second;
}

void Watchdog::Warn(const Overdue& overdue, Duration running, std::unique_lock<std::mutex>& lock) {
  const double seconds = duration<double>(running).count();
  const std::string line =
      "warn " + overdue.who + ": " + overdue.what + Format(" has not returned for %.1f s\n", seconds);
  lock.unlock();
  WriteAll(options_.fd, line);
  lock.lock();
}

void Watchdog::Expire(const Overdue& overdue, std::unique_lock<std::mutex>& lock) {
  const std::string lines = "error[TL_HANDLER_TIMEOUT] " + overdue.who + ": " + overdue.what +
                            Format(" did not return within %g s\n", options_.timeout_ms / 1000.0) +
                            "fix: " + options_.fix + "\n";
  if (options_.exit_code) {
    Pausable::Hold(nullptr);
    ::uv_tty_reset_mode();
    WriteAll(options_.fd, lines);
    // Nothing of the process can end by itself: the thread that would do it is the one that does not return.
    ::_exit(*options_.exit_code);
  }
  // The machines of other threads have done nothing and get their answers.
  if (!std::exchange(holding_, true)) Pausable::Hold(loop_);
  overdue_ = overdue;
  lock.unlock();
  WriteAll(options_.fd, lines);
  expired_();
  lock.lock();
}

}  // namespace trapline
