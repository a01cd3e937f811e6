#include "kvm_binding.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <vector>

#include "js_errors.h"
#include "kvm_session.h"

namespace trapline {

namespace {

/**
 * What JavaScript holds of one session. Shared by the functions of its object, its ArrayBuffers and the environment's
 * clean-up hook: the last of them deletes it.
 */
class Binding : public std::enable_shared_from_this<Binding> {
 public:
  static Napi::Object Open(Napi::Env env, const SessionOptions& options, Napi::Function on_events);

  /** Bindings that exist, of all environments. */
  static inline std::atomic<int> alive{0};

  ~Binding() {
    alive--;
    if (session_ == nullptr) return;
    session_->Close();
    session_->ReleaseMemory();
  }

 private:
  explicit Binding(Napi::Env env) : env_(env) { alive++; }

  template <Napi::Value (Binding::*Method)(const Napi::CallbackInfo&)>
  void Add(Napi::Object target, const char* name);
  Napi::ArrayBuffer External(unsigned char* data, std::size_t size);
  void OnWoken(std::uint32_t events);
  void CloseSession();
  static void OnEnvironmentEnd(napi_async_cleanup_hook_handle handle, void* argument);

  Napi::Value Take(const Napi::CallbackInfo& info) {
    return Napi::Number::New(env_, static_cast<std::int32_t>(session_->channel().Take(Unsigned(info, 0))));
  }
  Napi::Value Generation(const Napi::CallbackInfo& info) {
    return Napi::Number::New(env_, session_->channel().generation(Unsigned(info, 0)));
  }
  Napi::Value Complete(const Napi::CallbackInfo& info) {
    const std::int32_t generation = info[1].As<Napi::Number>().Int32Value();
    return Napi::Boolean::New(env_, session_->channel().Complete(Unsigned(info, 0), generation));
  }
  Napi::Value Arm(const Napi::CallbackInfo&) { return Napi::Boolean::New(env_, session_->Arm()); }
  Napi::Value SetIrqLine(const Napi::CallbackInfo& info) {
    session_->SetIrqLine(Unsigned(info, 0), info[1].ToBoolean());
    return env_.Undefined();
  }
  Napi::Value SignalMsi(const Napi::CallbackInfo& info) {
    const std::uint64_t high = Unsigned(info, 1);
    session_->SignalMsi(high << 32 | Unsigned(info, 0), Unsigned(info, 2));
    return env_.Undefined();
  }
  Napi::Value Run(const Napi::CallbackInfo&) {
    session_->Run();
    return env_.Undefined();
  }
  Napi::Value Pause(const Napi::CallbackInfo&) { return Napi::Boolean::New(env_, session_->Pause()); }
  Napi::Value Resting(const Napi::CallbackInfo&) { return Napi::Boolean::New(env_, session_->resting()); }
  Napi::Value Reset(const Napi::CallbackInfo&) {
    session_->Reset();
    return env_.Undefined();
  }
  Napi::Value ResetError(const Napi::CallbackInfo&) { return Napi::String::New(env_, session_->reset_error()); }
  Napi::Value Stop(const Napi::CallbackInfo&);
  Napi::Value LetExit(const Napi::CallbackInfo&) {
    session_->LetExit();
    return env_.Undefined();
  }
  Napi::Value Close(const Napi::CallbackInfo&);

  static std::uint32_t Unsigned(const Napi::CallbackInfo& info, std::size_t index) {
    return info[index].As<Napi::Number>().Uint32Value();
  }

  const Napi::Env env_;
  std::unique_ptr<KvmSession> session_;
  Napi::FunctionReference on_events_;
  std::vector<Napi::Reference<Napi::ArrayBuffer>> buffers_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  /** As long as the hook is registered it may be called. */
  std::shared_ptr<Binding> kept_by_hook_;
  bool closing_ = false;
};

template <Napi::Value (Binding::*Method)(const Napi::CallbackInfo&)>
Napi::Value Call(const Napi::CallbackInfo& info) {
  auto& binding = *static_cast<std::shared_ptr<Binding>*>(info.Data());
  return Guarded(info.Env(), [&] { return ((*binding).*Method)(info); });
}

template <Napi::Value (Binding::*Method)(const Napi::CallbackInfo&)>
void Binding::Add(Napi::Object target, const char* name) {
  auto* share = new std::shared_ptr<Binding>(shared_from_this());
  Napi::Function function = Napi::Function::New<Call<Method>>(env_, name, share);
  // A function may be kept longer than the object it was found on.
  function.AddFinalizer([](Napi::Env, std::shared_ptr<Binding>* mine) { delete mine; }, share);
  target.Set(name, function);
}

Napi::ArrayBuffer Binding::External(unsigned char* data, std::size_t size) {
  auto* share = new std::shared_ptr<Binding>(shared_from_this());
  napi_value value = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env_, data, size, [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Binding>*>(hint); }, share,
      &value);
  if (status != napi_ok) {
    delete share;
    throw Napi::Error::New(env_, status == napi_no_external_buffers_allowed
                                     ? "this JavaScript engine allows no memory from outside in an ArrayBuffer"
                                     : "guest memory does not fit an ArrayBuffer");
  }
  Napi::ArrayBuffer buffer(env_, value);
  buffers_.push_back(Napi::Persistent(buffer));
  return buffer;
}

Napi::Object Binding::Open(Napi::Env env, const SessionOptions& options, Napi::Function on_events) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");
  std::shared_ptr<Binding> self(new Binding(env));
  Binding* raw = self.get();
  self->session_ = std::make_unique<KvmSession>(loop, options, [raw](std::uint32_t events) { raw->OnWoken(events); });
  self->on_events_ = Napi::Persistent(on_events);

  Napi::Object object = Napi::Object::New(env);
  object.Set("page", self->External(self->session_->channel().mapping().data(), kPageBytes));
  Napi::Array regions = Napi::Array::New(env);
  const GuestRam& ram = self->session_->ram();
  for (const RamRegion& region : ram.regions()) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("base", Napi::Number::New(env, static_cast<double>(region.guest)));
    one.Set("buffer", self->External(ram.data() + region.offset, region.size));
    regions.Set(regions.Length(), one);
  }
  object.Set("ram", regions);
  self->Add<&Binding::Take>(object, "take");
  self->Add<&Binding::Generation>(object, "generation");
  self->Add<&Binding::Complete>(object, "complete");
  self->Add<&Binding::Arm>(object, "arm");
  self->Add<&Binding::SetIrqLine>(object, "setIrqLine");
  self->Add<&Binding::SignalMsi>(object, "signalMsi");
  self->Add<&Binding::Run>(object, "run");
  self->Add<&Binding::Pause>(object, "pause");
  self->Add<&Binding::Resting>(object, "resting");
  self->Add<&Binding::Reset>(object, "reset");
  self->Add<&Binding::ResetError>(object, "resetError");
  self->Add<&Binding::Stop>(object, "stop");
  self->Add<&Binding::LetExit>(object, "letExit");
  self->Add<&Binding::Close>(object, "close");

  if (napi_add_async_cleanup_hook(env, OnEnvironmentEnd, raw, &self->cleanup_) != napi_ok) {
    throw Napi::Error::New(env, "the environment is ending");
  }
  self->kept_by_hook_ = self;
  return object;
}

void Binding::OnWoken(std::uint32_t events) {
  // Plain Node-API here: the environment may be ending, and then no call may throw.
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  napi_value callback = nullptr, receiver = nullptr, argument = nullptr, result = nullptr;
  if (napi_get_reference_value(env_, on_events_, &callback) == napi_ok && callback != nullptr &&
      napi_get_global(env_, &receiver) == napi_ok && napi_create_uint32(env_, events, &argument) == napi_ok &&
      napi_make_callback(env_, nullptr, receiver, callback, 1, &argument, &result) == napi_pending_exception) {
    // As from any other callback of the event loop: an uncaught exception, not one that gets lost.
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env_, &exception) == napi_ok) napi_fatal_exception(env_, exception);
  }
  napi_close_handle_scope(env_, scope);
}

Napi::Value Binding::Stop(const Napi::CallbackInfo&) {
  const std::optional<VcpuStop> stop = session_->stop();
  if (!stop) return env_.Undefined();
  static constexpr const char* kReasons[] = {"halted", "triple-fault", "power-off", "reset", "failed"};
  char rip[24];
  std::snprintf(rip, sizeof rip, "0x%llx", static_cast<unsigned long long>(stop->rip));
  Napi::Object object = Napi::Object::New(env_);
  object.Set("reason", Napi::String::New(env_, kReasons[static_cast<int>(stop->reason)]));
  object.Set("message", Napi::String::New(env_, stop->message));
  object.Set("rip", Napi::String::New(env_, rip));
  object.Set("exitReason", Napi::Number::New(env_, stop->exit_reason));
  object.Set("suberror", Napi::Number::New(env_, stop->suberror));
  return object;
}

void Binding::CloseSession() {
  if (closing_) return;
  closing_ = true;
  // The hook stays until libuv has let go: an environment must not end with a handle that is still closing.
  session_->Close([self = shared_from_this()] {
    if (self->cleanup_ == nullptr) return;
    napi_remove_async_cleanup_hook(std::exchange(self->cleanup_, nullptr));
    self->kept_by_hook_.reset();
  });
}

Napi::Value Binding::Close(const Napi::CallbackInfo&) {
  if (closing_) return env_.Undefined();
  CloseSession();
  // On the thread that owns them, and before the memory goes: views read as length 0 from here on.
  bool moved = false;
  for (auto& reference : buffers_) {
    Napi::ArrayBuffer buffer = reference.Value();
    if (buffer.IsDetached()) {
      moved = true;
    } else {
      buffer.Detach();
    }
  }
  buffers_.clear();
  on_events_.Reset();
  // `ArrayBuffer.prototype.transfer` made another one, which we cannot detach: the memory goes with that.
  if (!moved) session_->ReleaseMemory();
  return env_.Undefined();
}

void Binding::OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* argument) {
  // `close()` was not called. Threads and descriptors go now; the memory with the last ArrayBuffer.
  static_cast<Binding*>(argument)->CloseSession();
}

}  // namespace

Napi::Value ProbeKvmBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guarded(env, [&]() -> Napi::Value {
    const KvmFacts facts = ProbeKvm(info[0].As<Napi::String>().Utf8Value());
    Napi::Object object = Napi::Object::New(env);
    object.Set("openError", Napi::Number::New(env, facts.open_error));
    object.Set("apiVersion", Napi::Number::New(env, facts.api_version));
    object.Set("missing", facts.missing == nullptr ? env.Undefined() : Napi::String::New(env, facts.missing));
    object.Set("physicalBits", Napi::Number::New(env, facts.physical_bits));
    return object;
  });
}

Napi::Value OpenKvmBinding(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Object given = info[0].As<Napi::Object>();
    SessionOptions options;
    options.device = given.Get("device").As<Napi::String>().Utf8Value();
    options.memory = static_cast<std::uint64_t>(given.Get("memory").As<Napi::Number>().Int64Value());
    options.entry = static_cast<std::uint16_t>(given.Get("entry").As<Napi::Number>().Uint32Value());
    options.wait_spin_us = given.Get("waitSpinMicroseconds").As<Napi::Number>().Uint32Value();
    return Binding::Open(info.Env(), options, info[1].As<Napi::Function>());
  });
}

Napi::Value LiveSessionsBinding(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Binding::alive.load());
}

}  // namespace trapline
