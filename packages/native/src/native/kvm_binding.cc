#include "kvm_binding.h"

#include <cstdio>
#include <memory>

#include "kvm_session.h"
#include "session_binding.h"

namespace trapline {

namespace {

class KvmBinding final : public SessionBinding {
 public:
  static Napi::Object Open(Napi::Env env, const SessionOptions& options, Napi::Function on_events);

  ~KvmBinding() override {
    if (session_ == nullptr) return;
    session_->Close(nullptr);
    session_->ReleaseMemory();
  }

 private:
  explicit KvmBinding(Napi::Env env) : SessionBinding(env) {}

  Session* session() override { return session_.get(); }

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
  Napi::Value CheckHalted(const Napi::CallbackInfo&) {
    session_->CheckHalted();
    return env_.Undefined();
  }
  Napi::Value OpenIrqfd(const Napi::CallbackInfo& info) {
    return Napi::Number::New(env_, session_->OpenIrqfd(Unsigned(info, 0)));
  }
  Napi::Value CloseIrqfd(const Napi::CallbackInfo& info) {
    session_->CloseIrqfd(info[0].As<Napi::Number>().Int32Value());
    return env_.Undefined();
  }
  Napi::Value Stop(const Napi::CallbackInfo&);
  Napi::Value KeepAlive(const Napi::CallbackInfo& info) {
    session_->KeepAlive(info[0].ToBoolean());
    return env_.Undefined();
  }

  std::unique_ptr<KvmSession> session_;
};

Napi::Object KvmBinding::Open(Napi::Env env, const SessionOptions& options, Napi::Function on_events) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");
  std::shared_ptr<KvmBinding> self(new KvmBinding(env));
  KvmBinding* raw = self.get();
  self->session_ = std::make_unique<KvmSession>(loop, options, self->gate(),
                                                [raw](std::uint32_t events) { raw->OnWoken(events); });

  Napi::Object object = Napi::Object::New(env);
  Napi::Array regions = Napi::Array::New(env);
  const GuestRam& ram = self->session_->ram();
  for (const RamRegion& region : ram.regions()) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("base", Napi::Number::New(env, static_cast<double>(region.guest)));
    one.Set("buffer", self->External(ram.data() + region.offset, region.size));
    regions.Set(regions.Length(), one);
  }
  object.Set("ram", regions);
  self->Add<KvmBinding, &KvmBinding::SetIrqLine>(object, "setIrqLine");
  self->Add<KvmBinding, &KvmBinding::SignalMsi>(object, "signalMsi");
  self->Add<KvmBinding, &KvmBinding::OpenIrqfd>(object, "openIrqfd");
  self->Add<KvmBinding, &KvmBinding::CloseIrqfd>(object, "closeIrqfd");
  self->Add<KvmBinding, &KvmBinding::CheckHalted>(object, "checkHalted");
  self->Add<KvmBinding, &KvmBinding::Run>(object, "run");
  self->Add<KvmBinding, &KvmBinding::Pause>(object, "pause");
  self->Add<KvmBinding, &KvmBinding::Resting>(object, "resting");
  self->Add<KvmBinding, &KvmBinding::Reset>(object, "reset");
  self->Add<KvmBinding, &KvmBinding::ResetError>(object, "resetError");
  self->Add<KvmBinding, &KvmBinding::Stop>(object, "stop");
  self->Add<KvmBinding, &KvmBinding::KeepAlive>(object, "keepAlive");
  self->Finish(object, on_events);
  return object;
}

Napi::Value KvmBinding::Stop(const Napi::CallbackInfo&) {
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
  object.Set("vcpu", Napi::Number::New(env_, stop->vcpu));
  object.Set("suberror", Napi::Number::New(env_, stop->suberror));
  return object;
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
    options.vcpus = given.Get("cpus").As<Napi::Number>().Uint32Value();
    options.entry = static_cast<std::uint16_t>(given.Get("entry").As<Napi::Number>().Uint32Value());
    options.wait_spin_us = given.Get("waitSpinMicroseconds").As<Napi::Number>().Uint32Value();
    return KvmBinding::Open(info.Env(), options, info[1].As<Napi::Function>());
  });
}

}  // namespace trapline
