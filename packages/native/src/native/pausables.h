// Every machine of this process whose vCPUs another thread than its own may have to stop.
#pragma once

#include <functional>

namespace trapline {

/** Registers one machine for as long as it exists. */
class Pausable {
 public:
  /**
   * @param loop the event loop the machine belongs to
   * @param hold keeps the vCPUs out of their guest, or lets them go on, whatever their own thread orders meanwhile;
   *   called on any thread, and not after the destructor has returned
   */
  Pausable(const void* loop, std::function<void(bool held)> hold);
  ~Pausable();
  Pausable(const Pausable&) = delete;
  Pausable& operator=(const Pausable&) = delete;

  /** Holds the machines of one loop, or all where `loop` is null. On any thread. */
  static void Hold(const void* loop);
  /** Takes one `Hold` back: a machine that was held several times needs as many. */
  static void Release(const void* loop);

 private:
  const void* const loop_;
  const std::function<void(bool)> hold_;
  int holds_ = 0;
};

}  // namespace trapline
