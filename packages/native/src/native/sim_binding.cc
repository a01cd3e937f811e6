#include "sim_binding.h"

#include <cstring>
#include <memory>

#include "session_binding.h"
#include "sim_session.h"

namespace trapline {

namespace {

/** How long a native server that sleeps stays asleep before it looks whether the guest has ended. */
constexpr int kSleepMs = 100;

class SimBinding final : public SessionBinding {
 public:
  static Napi::Object Open(Napi::Env env, SimOptions options, Napi::Function on_events);

  ~SimBinding() override {
    if (session_ == nullptr) return;
    session_->Close(nullptr);
    session_->ReleaseMemory();
  }

 private:
  explicit SimBinding(Napi::Env env) : SessionBinding(env) {}

  Session* session() override { return session_.get(); }

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
  /** A reset of tables and counters cannot fail. */
  Napi::Value ResetError(const Napi::CallbackInfo&) { return Napi::String::New(env_, ""); }
  Napi::Value Stop(const Napi::CallbackInfo&);
  Napi::Value KeepAlive(const Napi::CallbackInfo& info) {
    session_->KeepAlive(info[0].ToBoolean());
    return env_.Undefined();
  }

  Napi::Value Progress(const Napi::CallbackInfo& info);
  Napi::Value Violations(const Napi::CallbackInfo&);
  Napi::Value RecordLatency(const Napi::CallbackInfo& info) {
    session_->RecordLatency(info[0].ToBoolean());
    return env_.Undefined();
  }
  Napi::Value Latency(const Napi::CallbackInfo& info);
  Napi::Value ResetLatency(const Napi::CallbackInfo&);
  Napi::Value ServeNatively(const Napi::CallbackInfo& info);

  Napi::Value AssignMmio(const Napi::CallbackInfo& info) {
    return Napi::Number::New(env_, session_->AssignMmio(Device(info)));
  }
  Napi::Value DeassignMmio(const Napi::CallbackInfo& info) {
    return Napi::Number::New(env_, session_->DeassignMmio(Device(info)));
  }
  Napi::Value Translations(const Napi::CallbackInfo& info);
  Napi::Value ServiceRead(const Napi::CallbackInfo& info);
  Napi::Value ServiceWrite(const Napi::CallbackInfo& info);
  Napi::Value HostRead(const Napi::CallbackInfo& info);
  Napi::Value HostWrite(const Napi::CallbackInfo& info);

  Napi::Number Number(std::uint64_t value) { return Napi::Number::New(env_, static_cast<double>(value)); }
  MmioDev Device(const Napi::CallbackInfo& info) const {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    MmioDev dev;
    if (bytes.ByteLength() != sizeof dev) throw SysError("struct acrn_mmiodev", EFAULT);
    std::memcpy(&dev, bytes.Data(), sizeof dev);
    return dev;
  }
  /** An access size; @throws SysError EINVAL */
  static std::uint32_t Size(const Napi::CallbackInfo& info, std::size_t index) {
    const std::uint32_t size = Unsigned(info, index);
    if (size == 0 || size > 8) throw SysError("access", EINVAL);
    return size;
  }

  std::unique_ptr<SimSession> session_;
};

Napi::Object SimBinding::Open(Napi::Env env, SimOptions options, Napi::Function on_events) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");
  std::shared_ptr<SimBinding> self(new SimBinding(env));
  SimBinding* raw = self.get();
  self->session_ = std::make_unique<SimSession>(loop, std::move(options), self->gate(),
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
  self->Add<SimBinding, &SimBinding::Run>(object, "run");
  self->Add<SimBinding, &SimBinding::Pause>(object, "pause");
  self->Add<SimBinding, &SimBinding::Resting>(object, "resting");
  self->Add<SimBinding, &SimBinding::Reset>(object, "reset");
  self->Add<SimBinding, &SimBinding::ResetError>(object, "resetError");
  self->Add<SimBinding, &SimBinding::Stop>(object, "stop");
  self->Add<SimBinding, &SimBinding::KeepAlive>(object, "keepAlive");
  self->Add<SimBinding, &SimBinding::Progress>(object, "progress");
  self->Add<SimBinding, &SimBinding::Violations>(object, "violations");
  self->Add<SimBinding, &SimBinding::RecordLatency>(object, "recordLatency");
  self->Add<SimBinding, &SimBinding::Latency>(object, "latency");
  self->Add<SimBinding, &SimBinding::ResetLatency>(object, "resetLatency");
  self->Add<SimBinding, &SimBinding::ServeNatively>(object, "serveNatively");
  self->Add<SimBinding, &SimBinding::AssignMmio>(object, "assignMmio");
  self->Add<SimBinding, &SimBinding::DeassignMmio>(object, "deassignMmio");
  self->Add<SimBinding, &SimBinding::Translations>(object, "translations");
  self->Add<SimBinding, &SimBinding::ServiceRead>(object, "serviceRead");
  self->Add<SimBinding, &SimBinding::ServiceWrite>(object, "serviceWrite");
  self->Add<SimBinding, &SimBinding::HostRead>(object, "hostRead");
  self->Add<SimBinding, &SimBinding::HostWrite>(object, "hostWrite");
  self->Finish(object, on_events);
  return object;
}

Napi::Value SimBinding::Stop(const Napi::CallbackInfo&) {
  const auto stop = session_->stop();
  if (!stop) return env_.Undefined();
  Napi::Object object = Napi::Object::New(env_);
  object.Set("reason", Napi::String::New(env_, stop->failed ? "failed" : "halted"));
  object.Set("message", Napi::String::New(env_, stop->message));
  return object;
}

Napi::Value SimBinding::Progress(const Napi::CallbackInfo& info) {
  SimVcpu* vcpu = session_->vcpu(Unsigned(info, 0));
  if (vcpu == nullptr) return env_.Undefined();
  const SimVcpu::Progress progress = vcpu->progress();
  Napi::Object object = Napi::Object::New(env_);
  object.Set("accesses", Number(progress.accesses));
  object.Set("checksum", Number(progress.checksum));
  object.Set("lastLow", Number(progress.last & 0xffffffff));
  object.Set("lastHigh", Number(progress.last >> 32));
  return object;
}

Napi::Value SimBinding::Violations(const Napi::CallbackInfo&) {
  Napi::Object object = Napi::Object::New(env_);
  Napi::Array lines = Napi::Array::New(env_);
  for (const std::string& line : session_->violations().lines()) {
    lines.Set(lines.Length(), Napi::String::New(env_, line));
  }
  object.Set("count", Number(session_->violations().count()));
  object.Set("lines", lines);
  return object;
}

Napi::Value SimBinding::Latency(const Napi::CallbackInfo& info) {
  SimVcpu* vcpu = session_->vcpu(Unsigned(info, 0));
  if (vcpu == nullptr) return env_.Undefined();
  const LatencyHistogram::Summary summary = vcpu->latency().Read();
  const double tick = session_->clock().NanosecondsPerTick();
  Napi::Object object = Napi::Object::New(env_);
  object.Set("count", Number(summary.count));
  object.Set("p50", Napi::Number::New(env_, summary.p50 * tick));
  object.Set("p90", Napi::Number::New(env_, summary.p90 * tick));
  object.Set("p99", Napi::Number::New(env_, summary.p99 * tick));
  object.Set("max", Napi::Number::New(env_, summary.max * tick));
  return object;
}

Napi::Value SimBinding::ResetLatency(const Napi::CallbackInfo&) {
  for (unsigned i = 0; SimVcpu* vcpu = session_->vcpu(i); i++) vcpu->latency().Reset();
  return env_.Undefined();
}

Napi::Value SimBinding::ServeNatively(const Napi::CallbackInfo& info) {
  const std::uint64_t requests = Address(info[0]);
  const auto given = info[2].As<Napi::Array>();
  std::vector<NativeServer::Range> ranges;
  for (std::uint32_t i = 0; i < given.Length(); i++) {
    const Napi::Object one = given.Get(i).As<Napi::Object>();
    const bool mmio = one.Get("mmio").ToBoolean();
    ranges.push_back({mmio ? RequestType::kMmio : RequestType::kPio, Address(one.Get("base")), Address(one.Get("size"))});
  }
  NativeServer server(ranges, Unsigned(info, 1));
  Napi::Object object = Napi::Object::New(env_);
  std::function<void()> sleep;
  if (info[3].ToBoolean()) sleep = [this] { poller()->SleepHere(kSleepMs); };
  object.Set("served", Number(session_->Serve(server, requests, sleep)));
  if (sleep) poller()->Rouse();
  Napi::Array counters = Napi::Array::New(env_);
  for (const NativeServer::Counters& one : server.counters()) {
    Napi::Object entry = Napi::Object::New(env_);
    entry.Set("reads", Number(one.reads));
    entry.Set("writes", Number(one.writes));
    entry.Set("bytesRead", Number(one.bytes_read));
    entry.Set("bytesWritten", Number(one.bytes_written));
    counters.Set(counters.Length(), entry);
  }
  object.Set("counters", counters);
  return object;
}

Napi::Value SimBinding::Translations(const Napi::CallbackInfo& info) {
  const Ept& table = info[0].ToBoolean() ? session_->tables().user : session_->tables().service;
  Napi::Array runs = Napi::Array::New(env_);
  for (const EptRun& run : table.Runs()) {
    Napi::Object one = Napi::Object::New(env_);
    one.Set("guest", Number(run.guest));
    one.Set("host", Number(run.host));
    one.Set("size", Number(run.size));
    one.Set("memoryType", Number(run.memory_type));
    runs.Set(runs.Length(), one);
  }
  return runs;
}

Napi::Value SimBinding::ServiceRead(const Napi::CallbackInfo& info) {
  return Number(session_->ServiceRead(Address(info[0]), Size(info, 1)));
}

Napi::Value SimBinding::ServiceWrite(const Napi::CallbackInfo& info) {
  session_->ServiceWrite(Address(info[0]), Size(info, 1), Unsigned(info, 2));
  return env_.Undefined();
}

Napi::Value SimBinding::HostRead(const Napi::CallbackInfo& info) {
  auto bytes = Napi::Uint8Array::New(env_, Unsigned(info, 1));
  session_->host_memory().Read(Address(info[0]), bytes.Data(), bytes.ByteLength());
  return bytes;
}

Napi::Value SimBinding::HostWrite(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  session_->host_memory().Write(Address(info[0]), bytes.Data(), bytes.ByteLength());
  return env_.Undefined();
}

}  // namespace

Napi::Value OpenSimBinding(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Object given = info[0].As<Napi::Object>();
    const auto number = [&](const Napi::Object& from, const char* name) {
      return static_cast<std::uint64_t>(from.Get(name).As<Napi::Number>().Int64Value());
    };
    SimOptions options;
    options.vcpus = static_cast<unsigned>(number(given, "cpus"));
    options.memory = number(given, "memory");
    options.completion_polling = given.Get("completionPolling").ToBoolean();
    options.verify = given.Get("verify").ToBoolean();
    options.wait_spin_us = static_cast<unsigned>(number(given, "waitSpinMicroseconds"));
    options.hold_us = static_cast<unsigned>(number(given, "holdMicroseconds"));
    const auto streams = given.Get("streams").As<Napi::Array>();
    for (std::uint32_t i = 0; i < streams.Length(); i++) {
      const Napi::Object one = streams.Get(i).As<Napi::Object>();
      const auto words = one.Get("words").As<Napi::Int32Array>();
      Stream stream;
      stream.accesses = Stream::FromWords(words.Data(), words.ElementLength());
      stream.random = one.Get("random").ToBoolean();
      stream.seed = static_cast<std::uint32_t>(number(one, "seed"));
      stream.count = number(one, "count");
      stream.gap_us = static_cast<std::uint32_t>(number(one, "gapMicroseconds"));
      // Nothing to choose from, nothing to do; and a state of 0 draws 0 for ever.
      if (stream.seed == 0 || (stream.accesses.empty() && stream.count > 0)) throw SysError("stream", EINVAL);
      options.streams.push_back(std::move(stream));
    }
    return SimBinding::Open(info.Env(), std::move(options), info[1].As<Napi::Function>());
  });
}

}  // namespace trapline
