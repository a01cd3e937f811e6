#include "loop_waker.h"

#include <poll.h>
#include <sys/eventfd.h>

namespace trapline {

LoopWaker::LoopWaker(uv_loop_t* loop, std::function<void(std::uint32_t)> woken)
    : woken_(std::move(woken)),
      event_(Check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      poll_(loop, event_.get(), [this] { OnReadable(); }) {}

void LoopWaker::Raise(std::uint32_t bits) {
  bits_.fetch_or(bits);
  std::lock_guard lock(event_mutex_);
  if (!event_) return;
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, hence readable: the loop will look anyway.
  [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
}

void LoopWaker::OnReadable() {
  std::uint64_t count = 0;
  // Empty the counter first: bits raised after this make it readable again.
  [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
  if (const std::uint32_t bits = bits_.exchange(0); bits != 0) woken_(bits);
}

void LoopWaker::Await(int ms) {
  pollfd waited{event_.get(), POLLIN, 0};
  // A signal ends the wait early, which a caller who looks again does not mind.
  if (::poll(&waited, 1, ms) <= 0) return;
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
  bits_.store(0);
}

void LoopWaker::Close(std::function<void()> closed) {
  poll_.Close(std::move(closed));
  std::lock_guard lock(event_mutex_);
  // libuv allows it right after uv_close, and a caller who counts descriptors finds none left.
  event_.Reset();
}

}  // namespace trapline
