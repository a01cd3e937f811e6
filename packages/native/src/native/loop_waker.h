// From any thread to one event loop: event bits collected in a word, announced by an eventfd that the loop polls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "loop_poll.h"
#include "sys.h"

namespace trapline {

class LoopWaker {
 public:
  /** @param woken called on the loop's thread with the bits raised since the last call */
  LoopWaker(uv_loop_t* loop, std::function<void(std::uint32_t bits)> woken);
  ~LoopWaker() { Close(); }
  LoopWaker(const LoopWaker&) = delete;
  LoopWaker& operator=(const LoopWaker&) = delete;

  /** On any thread, also after `Close`. Several calls before the loop gets its turn are one `woken`. */
  void Raise(std::uint32_t bits);

  // --- on the loop's thread ---------------------------------------------------------------------

  /** Blocks the loop's thread until something is raised, or for `ms`; what was raised is forgotten. */
  void Await(int ms);
  /** Shall this keep the process alive? It does not at first. */
  void KeepAlive(bool alive) { poll_.KeepAlive(alive); }
  /** No `woken` from here on; `closed` is called once libuv has let go of the handle. Idempotent. */
  void Close(std::function<void()> closed = nullptr);

 private:
  void OnReadable();

  const std::function<void(std::uint32_t)> woken_;
  /** Held while the descriptor is written to and while it goes: its number may be somebody else's right afterwards. */
  std::mutex event_mutex_;
  std::atomic<std::uint32_t> bits_{0};
  UniqueFd event_;
  LoopPoll poll_;
};

}  // namespace trapline
