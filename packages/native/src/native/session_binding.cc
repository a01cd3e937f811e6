#include "session_binding.h"

#include "loop_call.h"

namespace trapline {

SessionBinding::SessionBinding(Napi::Env env) : env_(env), poller_(EnvPoller::Of(env)) { alive++; }

SessionBinding::~SessionBinding() {
  alive--;
  // One that never got as far as its clean-up hook leaves the poller here.
  if (acquired_) poller_->Release([] {});
}

std::shared_ptr<SleepGate> SessionBinding::gate() {
  Poller& poller = acquired_ ? *poller_->poller() : poller_->Acquire();
  acquired_ = true;
  return poller.gate();
}

void SessionBinding::Finish(Napi::Object object, Napi::Function on_events) {
  on_events_ = Napi::Persistent(on_events);
  MachineIo& io = session()->io();
  object.Set("page", External(io.channel().mapping().data(), kChannelBytes));
  object.Set("services", External(io.services().mapping().data(), io.services().mapping().size()));
  Add<SessionBinding, &SessionBinding::Take>(object, "take");
  Add<SessionBinding, &SessionBinding::Wake>(object, "wake");
  Add<SessionBinding, &SessionBinding::AddService>(object, "addService");
  Add<SessionBinding, &SessionBinding::RemoveService>(object, "removeService");
  Add<SessionBinding, &SessionBinding::TakeKick>(object, "takeKick");
  Add<SessionBinding, &SessionBinding::Close>(object, "close");
  if (napi_add_async_cleanup_hook(env_, OnEnvironmentEnd, this, &cleanup_) != napi_ok) {
    throw Napi::Error::New(env_, "the environment is ending");
  }
  kept_by_hook_ = shared_from_this();
  number_ = poller_->poller()->Add(io.polled());
  object.Set("number", Napi::Number::New(env_, *number_));
}

Napi::ArrayBuffer SessionBinding::External(unsigned char* data, std::size_t size) {
  auto* share = new std::shared_ptr<SessionBinding>(shared_from_this());
  napi_value value = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env_, data, size,
      [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<SessionBinding>*>(hint); }, share, &value);
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

void SessionBinding::OnWoken(std::uint32_t events) {
  if (!on_events_.IsEmpty()) CallFromLoop(env_, on_events_, events);
}

Napi::Value SessionBinding::Take(const Napi::CallbackInfo&) {
  return Napi::Number::New(env_, session()->io().channel().Take());
}

Napi::Value SessionBinding::Wake(const Napi::CallbackInfo& info) {
  session()->io().channel().WakeVcpu(Unsigned(info, 0));
  return env_.Undefined();
}

Napi::Value SessionBinding::AddService(const Napi::CallbackInfo& info) {
  if (closing_) return Napi::Number::New(env_, -1);
  const auto given = info[0].As<Napi::Object>();
  const auto number = [&](const char* name) { return given.Get(name).As<Napi::Number>().Uint32Value(); };
  Service service;
  service.kind = static_cast<ServiceKind>(number("kind"));
  service.space = given.Get("mmio").ToBoolean() ? RequestType::kMmio : RequestType::kPio;
  service.base = Address(given.Get("base"));
  service.size = number("size");
  service.widths = number("widths");
  service.value = number("value");
  if (given.Get("match").IsNumber()) service.match = number("match");
  const auto added = session()->AddService(service);
  return Napi::Number::New(env_, added ? static_cast<int>(*added) : -1);
}

Napi::Value SessionBinding::RemoveService(const Napi::CallbackInfo& info) {
  if (!closing_) session()->RemoveService(Unsigned(info, 0));
  return env_.Undefined();
}

Napi::Value SessionBinding::TakeKick(const Napi::CallbackInfo& info) {
  const auto kick = closing_ ? std::nullopt : session()->TakeKick(Unsigned(info, 0));
  return Napi::Number::New(env_, kick ? static_cast<double>(*kick) : -1);
}

void SessionBinding::CloseSession() {
  if (closing_) return;
  closing_ = true;
  // The hook stays until libuv has let go of both: an environment must not end with a handle that is still closing.
  auto both = std::make_shared<int>(2);
  const auto closed = [self = shared_from_this(), both] {
    if (--*both > 0 || self->cleanup_ == nullptr) return;
    napi_remove_async_cleanup_hook(std::exchange(self->cleanup_, nullptr));
    self->kept_by_hook_.reset();
  };
  // The threads first: until they have ended they post.
  session()->Close(closed);
  if (number_) poller_->poller()->Remove(*std::exchange(number_, std::nullopt));
  acquired_ = false;
  poller_->Release(closed);
}

Napi::Value SessionBinding::Close(const Napi::CallbackInfo&) {
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
  if (!moved) session()->ReleaseMemory();
  return env_.Undefined();
}

void SessionBinding::OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* argument) {
  // `close()` was not called. Threads and descriptors go now; the memory with the last ArrayBuffer.
  static_cast<SessionBinding*>(argument)->CloseSession();
}

Napi::Value LiveSessionsBinding(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), SessionBinding::alive.load());
}

Napi::Object PollerFunctions(Napi::Env env) { return EnvPoller::Of(env)->Functions(); }

}  // namespace trapline
