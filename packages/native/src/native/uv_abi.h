// The few libuv functions we use. Node exports them, but its headers are not on every machine that can build this;
// the prototypes are stable within libuv 1.x, and sizes are asked for at run time.
#pragma once

#include <cstddef>

extern "C" {
struct uv_loop_s;
typedef struct uv_loop_s uv_loop_t;
/** `data` is the first member of every handle; the rest is libuv's. */
typedef struct trapline_uv_handle {
  void* data;
} trapline_uv_handle;

std::size_t uv_handle_size(int type);
int uv_poll_init(uv_loop_t* loop, trapline_uv_handle* handle, int fd);
int uv_poll_start(trapline_uv_handle* handle, int events, void (*callback)(trapline_uv_handle*, int status, int events));
int uv_poll_stop(trapline_uv_handle* handle);
void uv_close(trapline_uv_handle* handle, void (*callback)(trapline_uv_handle*));
void uv_ref(trapline_uv_handle* handle);
void uv_unref(trapline_uv_handle* handle);
/** Puts the terminal back as it was before libuv changed it; on any thread, even in a signal handler. */
int uv_tty_reset_mode(void);
}

namespace trapline {
inline constexpr int kUvPoll = 8;
inline constexpr int kUvReadable = 1;
}  // namespace trapline
