// What JavaScript holds of one machine, whatever runs its vCPUs: its memory as ArrayBuffers, the way to its poller,
// and the order in which all of it ends.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "env_poller.h"
#include "js_errors.h"
#include "machine_io.h"

namespace trapline {

/** A machine as its binding needs it. All members are for the loop's thread. */
class Session {
 public:
  virtual ~Session() = default;
  virtual MachineIo& io() = 0;
  /** Ranges that are served without JavaScript; here by the vCPU threads alone. See `ServiceTable`. */
  virtual std::optional<unsigned> AddService(const Service& service) { return io().services().Add(service); }
  virtual void RemoveService(unsigned number) { io().services().Remove(number); }
  virtual std::optional<std::uint32_t> TakeKick(unsigned number) { return io().services().TakeKick(number); }
  /**
   * Completes requests in flight, ends the threads, closes every descriptor; memory stays. Idempotent.
   * @param closed called when the event loop has let go
   */
  virtual void Close(std::function<void()> closed) = 0;
  /** No pointer into the machine's memory may be left. Idempotent; after `Close`. */
  virtual void ReleaseMemory() = 0;
};

/**
 * Shared by the functions of its object, its ArrayBuffers and the environment's clean-up hook: the last of them
 * deletes it.
 */
class SessionBinding : public std::enable_shared_from_this<SessionBinding> {
 public:
  /** Bindings that exist, of all environments. */
  static inline std::atomic<int> alive{0};

  virtual ~SessionBinding();
  SessionBinding(const SessionBinding&) = delete;
  SessionBinding& operator=(const SessionBinding&) = delete;

 protected:
  explicit SessionBinding(Napi::Env env);

  virtual Session* session() = 0;

  /** The poller's gate, for the session's `MachineIo`. */
  std::shared_ptr<SleepGate> gate();
  /** The thread's poller; null once the machine has left it. */
  Poller* poller() const { return poller_->poller(); }
  /** For a session's `woken`: calls the listener given to `Finish`. */
  void OnWoken(std::uint32_t events);

  /** Once `session()` exists: adds what every machine has, and starts to watch for the environment's end. */
  void Finish(Napi::Object object, Napi::Function on_events);
  Napi::ArrayBuffer External(unsigned char* data, std::size_t size);

  /** Adds a method of the derived class; its object keeps us alive. */
  template <typename Derived, Napi::Value (Derived::*Method)(const Napi::CallbackInfo&)>
  void Add(Napi::Object target, const char* name) {
    auto* share = new std::shared_ptr<SessionBinding>(shared_from_this());
    Napi::Function function = Napi::Function::New<Call<Derived, Method>>(env_, name, share);
    // A function may be kept longer than the object it was found on.
    function.AddFinalizer([](Napi::Env, std::shared_ptr<SessionBinding>* mine) { delete mine; }, share);
    target.Set(name, function);
  }

  static std::uint32_t Unsigned(const Napi::CallbackInfo& info, std::size_t index) {
    return info[index].As<Napi::Number>().Uint32Value();
  }
  /** A guest-physical address: an integer below 2^53. */
  static std::uint64_t Address(const Napi::Value& value) {
    return static_cast<std::uint64_t>(value.As<Napi::Number>().Int64Value());
  }

  const Napi::Env env_;

 private:
  template <typename Derived, Napi::Value (Derived::*Method)(const Napi::CallbackInfo&)>
  static Napi::Value Call(const Napi::CallbackInfo& info) {
    auto& binding = *static_cast<std::shared_ptr<SessionBinding>*>(info.Data());
    return Guarded(info.Env(), [&] { return (static_cast<Derived&>(*binding).*Method)(info); });
  }

  Napi::Value Take(const Napi::CallbackInfo& info);
  Napi::Value Wake(const Napi::CallbackInfo& info);
  Napi::Value AddService(const Napi::CallbackInfo& info);
  Napi::Value RemoveService(const Napi::CallbackInfo& info);
  Napi::Value TakeKick(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  void CloseSession();
  static void OnEnvironmentEnd(napi_async_cleanup_hook_handle handle, void* argument);

  const std::shared_ptr<EnvPoller> poller_;
  /** In `Take`; nothing once the machine has left the poller. */
  std::optional<unsigned> number_;
  Napi::FunctionReference on_events_;
  std::vector<Napi::Reference<Napi::ArrayBuffer>> buffers_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  /** As long as the hook is registered it may be called. */
  std::shared_ptr<SessionBinding> kept_by_hook_;
  bool acquired_ = false;
  bool closing_ = false;
};

/** `liveSessions()`: machines whose memory JavaScript has not yet let go of. */
Napi::Value LiveSessionsBinding(const Napi::CallbackInfo& info);
/** `poller`: see `EnvPoller::Functions`. */
Napi::Object PollerFunctions(Napi::Env env);

}  // namespace trapline
