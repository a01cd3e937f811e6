// The poller of one JavaScript environment: opened with its first machine, closed with its last, and the functions
// through which JavaScript uses it.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "poller.h"

namespace trapline {

class EnvPoller : public std::enable_shared_from_this<EnvPoller> {
 public:
  /** The one of this environment. */
  static std::shared_ptr<EnvPoller> Of(Napi::Env env);

  explicit EnvPoller(Napi::Env env) : env_(env) {}

  /** For a machine: opens the poller if it is the first. */
  Poller& Acquire();
  /** A machine is gone. @param closed called when the loop has let go of what the last one closes */
  void Release(std::function<void()> closed);
  /** Null while there is no machine. */
  Poller* poller() const { return poller_.get(); }

  /** `{ beginTurn, take, wait, arm, spin, fixSpin, onWoken }` */
  Napi::Object Functions();

 private:
  const Napi::Env env_;
  std::unique_ptr<Poller> poller_;
  unsigned users_ = 0;
  Napi::FunctionReference on_woken_;
  std::optional<unsigned> fixed_spin_;
  Napi::ObjectReference functions_;
};

}  // namespace trapline
