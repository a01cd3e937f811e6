#include "fake_loop.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>

struct uv_loop_s::Handle {
  // The handle's owner sees this member only.
  trapline_uv_handle head;
  uv_loop_t* loop;
  int fd;
  bool active;
  bool referenced;
  void (*on_poll)(trapline_uv_handle*, int, int);
  void (*on_close)(trapline_uv_handle*);
};

namespace {
uv_loop_s::Handle& Of(trapline_uv_handle* handle) { return *reinterpret_cast<uv_loop_s::Handle*>(handle); }
}  // namespace

void uv_loop_s::Turn(int milliseconds) {
  std::vector<pollfd> fds;
  std::vector<Handle*> polled;
  for (Handle* handle : handles) {
    if (!handle->active) continue;
    fds.push_back({handle->fd, POLLIN, 0});
    polled.push_back(handle);
  }
  // Like libuv, do not wait while a handle is closing.
  ::poll(fds.data(), fds.size(), closing.empty() ? milliseconds : 0);
  for (std::size_t i = 0; i < fds.size(); i++) {
    const bool there = std::find(handles.begin(), handles.end(), polled[i]) != handles.end();
    if (fds[i].revents != 0 && there && polled[i]->active) polled[i]->on_poll(&polled[i]->head, 0, trapline::kUvReadable);
  }
  for (Handle* handle : std::exchange(closing, {})) handle->on_close(&handle->head);
}

unsigned uv_loop_s::referenced() const {
  return static_cast<unsigned>(
      std::count_if(handles.begin(), handles.end(), [](const Handle* one) { return one->active && one->referenced; }));
}

extern "C" {

std::size_t uv_handle_size(int type) { return type == trapline::kUvPoll ? sizeof(uv_loop_s::Handle) : 0; }

int uv_poll_init(uv_loop_t* loop, trapline_uv_handle* handle, int fd) {
  if (loop->fail_init != 0) return loop->fail_init;
  Of(handle) = {{nullptr}, loop, fd, false, true, nullptr, nullptr};
  loop->handles.push_back(&Of(handle));
  return 0;
}

int uv_poll_start(trapline_uv_handle* handle, int events, void (*callback)(trapline_uv_handle*, int, int)) {
  if (Of(handle).loop->fail_start != 0) return Of(handle).loop->fail_start;
  if (events != trapline::kUvReadable) return -EINVAL;
  Of(handle).on_poll = callback;
  Of(handle).active = true;
  return 0;
}

int uv_poll_stop(trapline_uv_handle* handle) {
  Of(handle).active = false;
  return 0;
}

void uv_close(trapline_uv_handle* handle, void (*callback)(trapline_uv_handle*)) {
  uv_loop_s& loop = *Of(handle).loop;
  Of(handle).active = false;
  Of(handle).on_close = callback;
  std::erase(loop.handles, &Of(handle));
  loop.closing.push_back(&Of(handle));
}

void uv_ref(trapline_uv_handle* handle) { Of(handle).referenced = true; }
void uv_unref(trapline_uv_handle* handle) { Of(handle).referenced = false; }
}
