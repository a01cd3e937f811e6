#include "loop_poll.h"

#include <cstdlib>
#include <memory>

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

LoopPoll::LoopPoll(uv_loop_t* loop, int fd, std::function<void()> readable) : readable_(std::move(readable)) {
  handle_ = static_cast<trapline_uv_handle*>(std::calloc(1, uv_handle_size(kUvPoll)));
  if (handle_ == nullptr) throw SysError("uv_poll", ENOMEM);
  // libuv returns negative errno values, on Linux.
  if (const int rc = uv_poll_init(loop, handle_, fd); rc < 0) {
    std::free(std::exchange(handle_, nullptr));
    throw SysError("uv_poll_init", -rc);
  }
  handle_->data = this;
  const int rc = uv_poll_start(handle_, kUvReadable, [](trapline_uv_handle* handle, int, int) {
    static_cast<LoopPoll*>(handle->data)->readable_();
  });
  if (rc < 0) {
    Close();
    throw SysError("uv_poll_start", -rc);
  }
  uv_unref(handle_);
}

void LoopPoll::KeepAlive(bool alive) {
  if (handle_ == nullptr) return;
  if (alive) {
    uv_ref(handle_);
  } else {
    uv_unref(handle_);
  }
}

void LoopPoll::Close(std::function<void()> closed) {
  if (handle_ == nullptr) {
    if (closed) closed();
    return;
  }
  trapline_uv_handle* handle = std::exchange(handle_, nullptr);
  uv_poll_stop(handle);
  handle->data = new Closing{std::move(closed)};
  uv_close(handle, OnClosed);
}

}  // namespace trapline
