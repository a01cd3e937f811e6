#include "loop_waker.h"

#include <cstdlib>
#include <memory>

#include <sys/eventfd.h>

namespace trapline {

namespace {

struct Closing {
  std::function<void()> closed;
};

void OnClosed(trapline_uv_handle* handle) {
  std::unique_ptr<Closing> closing(static_cast<Closing*>(handle->data));
  std::free(handle);
  if (closing->closed) closing->closed();
}

}  // namespace

LoopWaker::LoopWaker(uv_loop_t* loop, std::function<void(std::uint32_t)> woken) : woken_(std::move(woken)) {
  event_ = UniqueFd(Check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
  handle_ = static_cast<trapline_uv_handle*>(std::calloc(1, uv_handle_size(kUvPoll)));
  if (handle_ == nullptr) throw SysError("uv_poll", ENOMEM);
  // libuv returns negative errno values, on Linux.
  if (const int rc = uv_poll_init(loop, handle_, event_.get()); rc < 0) {
    std::free(std::exchange(handle_, nullptr));
    throw SysError("uv_poll_init", -rc);
  }
  handle_->data = this;
  const int rc = uv_poll_start(handle_, kUvReadable, [](trapline_uv_handle* handle, int, int) {
    static_cast<LoopWaker*>(handle->data)->OnReadable();
  });
  if (rc < 0) {
    Close();
    throw SysError("uv_poll_start", -rc);
  }
  uv_unref(handle_);
}

LoopWaker::~LoopWaker() { Close(); }

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

void LoopWaker::KeepAlive(bool alive) {
  if (handle_ == nullptr) return;
  if (alive) {
    uv_ref(handle_);
  } else {
    uv_unref(handle_);
  }
}

void LoopWaker::Close(std::function<void()> closed) {
  if (handle_ == nullptr) {
    if (closed) closed();
    return;
  }
  trapline_uv_handle* handle = std::exchange(handle_, nullptr);
  uv_poll_stop(handle);
  handle->data = new Closing{std::move(closed)};
  uv_close(handle, OnClosed);
  std::lock_guard lock(event_mutex_);
  // libuv allows it right after uv_close, and a caller who counts descriptors finds none left.
  event_.Reset();
}

}  // namespace trapline
