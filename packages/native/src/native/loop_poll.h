// One descriptor that an event loop polls, and the handle libuv wants for it.
#pragma once

#include <functional>

#include "sys.h"
#include "uv_abi.h"

namespace trapline {

/** All members are for the loop's thread. */
class LoopPoll {
 public:
  /** @param readable called whenever `fd` can be read; `fd` must stay open until `Close` */
  LoopPoll(uv_loop_t* loop, int fd, std::function<void()> readable);
  ~LoopPoll() { Close(); }
  LoopPoll(const LoopPoll&) = delete;
  LoopPoll& operator=(const LoopPoll&) = delete;

  /** Shall this keep the process alive? It does not at first. */
  void KeepAlive(bool alive);
  /**
   * No `readable` from here on, and the descriptor may be closed; `closed` is called once libuv has let go of the
   * handle. Idempotent.
   */
  void Close(std::function<void()> closed = nullptr);

 private:
  const std::function<void()> readable_;
  /** Owned by libuv once closing: it outlives us until its close callback. */
  trapline_uv_handle* handle_ = nullptr;
};

}  // namespace trapline
