#include "watchdog_binding.h"

#include <memory>
#include <utility>

#include "js_object.h"
#include "loop_waker.h"
#include "watchdog.h"

namespace trapline {

namespace {

/** What JavaScript holds of one watchdog. Shared by its functions, its words and the environment's clean-up hook. */
class Binding : public std::enable_shared_from_this<Binding> {
 public:
  static Napi::Object Open(Napi::Env env, WatchdogOptions options, Napi::Function on_expired);
  ~Binding() { StopThread(); }

 private:
  explicit Binding(Napi::Env env) : env_(env) {}

  Napi::Value Name(const Napi::CallbackInfo& info) {
    watchdog_->Name(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::String>().Utf8Value());
    return env_.Undefined();
  }
  Napi::Value TakeExpired(const Napi::CallbackInfo&);
  Napi::Value Close(const Napi::CallbackInfo&);
  void OnWoken();
  void StopThread() {
    if (watchdog_ != nullptr) watchdog_->Close();
  }
  void LetGo();

  const Napi::Env env_;
  /** Destroyed after the thread that raises it. */
  std::unique_ptr<LoopWaker> waker_;
  std::unique_ptr<Watchdog> watchdog_;
  Napi::FunctionReference on_expired_;
  Napi::Reference<Napi::ArrayBuffer> words_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  /** As long as the hook is registered it may be called. */
  std::shared_ptr<Binding> kept_by_hook_;
  bool closing_ = false;
};

Napi::Object Binding::Open(Napi::Env env, WatchdogOptions options, Napi::Function on_expired) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");
  std::shared_ptr<Binding> self(new Binding(env));
  Binding* raw = self.get();
  self->waker_ = std::make_unique<LoopWaker>(loop, [raw](std::uint32_t) { raw->OnWoken(); });
  self->watchdog_ = std::make_unique<Watchdog>(loop, std::move(options), [raw] { raw->waker_->Raise(1); });
  self->on_expired_ = Napi::Persistent(on_expired);

  Napi::Object object = Napi::Object::New(env);
  auto* words = reinterpret_cast<unsigned char*>(self->watchdog_->words());
  const Napi::ArrayBuffer buffer = ExternalBuffer(env, words, Watchdog::kBytes, self);
  self->words_ = Napi::Persistent(buffer);
  object.Set("words", buffer);
  AddMethod<Binding, &Binding::Name>(env, object, "name", self);
  AddMethod<Binding, &Binding::TakeExpired>(env, object, "takeExpired", self);
  AddMethod<Binding, &Binding::Close>(env, object, "close", self);

  const auto on_end = [](napi_async_cleanup_hook_handle, void* argument) { static_cast<Binding*>(argument)->LetGo(); };
  if (napi_add_async_cleanup_hook(env, on_end, raw, &self->cleanup_) != napi_ok) {
    throw Napi::Error::New(env, "the environment is ending");
  }
  self->kept_by_hook_ = self;
  return object;
}

void Binding::OnWoken() {
  // What hears of it ends its machine; the others go on then.
  CallFromLoop(env_, on_expired_);
  watchdog_->Release();
}

Napi::Value Binding::TakeExpired(const Napi::CallbackInfo&) {
  const std::optional<Overdue> overdue = watchdog_->TakeExpired();
  if (!overdue) return env_.Undefined();
  Napi::Object object = Napi::Object::New(env_);
  object.Set("who", Napi::String::New(env_, overdue->who));
  object.Set("what", Napi::String::New(env_, overdue->what));
  return object;
}

void Binding::LetGo() {
  if (std::exchange(closing_, true)) return;
  StopThread();
  // The hook stays until libuv has let go: an environment must not end with a handle that is still closing.
  waker_->Close([self = shared_from_this()] {
    if (self->cleanup_ == nullptr) return;
    napi_remove_async_cleanup_hook(std::exchange(self->cleanup_, nullptr));
    self->kept_by_hook_.reset();
  });
}

Napi::Value Binding::Close(const Napi::CallbackInfo&) {
  if (closing_) return env_.Undefined();
  LetGo();
  // On the thread that owns it: the words read as length 0 from here on.
  Napi::ArrayBuffer words = words_.Value();
  if (!words.IsDetached()) words.Detach();
  words_.Reset();
  on_expired_.Reset();
  return env_.Undefined();
}

unsigned Milliseconds(const Napi::Object& options, const char* name) {
  return options.Get(name).As<Napi::Number>().Uint32Value();
}

}  // namespace

Napi::Value OpenWatchdogBinding(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Object given = info[0].As<Napi::Object>();
    WatchdogOptions options;
    options.warn_after_ms = Milliseconds(given, "warnAfterMs");
    options.timeout_ms = Milliseconds(given, "timeoutMs");
    options.fd = given.Get("fd").As<Napi::Number>().Int32Value();
    if (const Napi::Value code = given.Get("exitCode"); code.IsNumber()) {
      options.exit_code = code.As<Napi::Number>().Int32Value();
    }
    options.fix = given.Get("fix").As<Napi::String>().Utf8Value();
    return Binding::Open(info.Env(), std::move(options), info[1].As<Napi::Function>());
  });
}

}  // namespace trapline
