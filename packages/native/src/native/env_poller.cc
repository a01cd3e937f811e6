#include "env_poller.h"

#include "js_errors.h"
#include "loop_call.h"

namespace trapline {

namespace {

/** `SetInstanceData` owns a pointer; machines share what it points to. */
struct InstanceData {
  std::shared_ptr<EnvPoller> poller;
};

EnvPoller& PollerOf(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  return *static_cast<EnvPoller*>(data);
}

napi_value Int32(napi_env env, std::uint32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, static_cast<std::int32_t>(value), &result);
  return result;
}

// The two functions of the fast path are plain Node-API: no argument, an integer back, nothing allocated.

napi_value Take(napi_env env, napi_callback_info info) {
  Poller* poller = PollerOf(env, info).poller();
  return Int32(env, poller == nullptr ? 0 : poller->Take());
}

napi_value Wait(napi_env env, napi_callback_info info) {
  Poller* poller = PollerOf(env, info).poller();
  return Int32(env, poller == nullptr ? 0 : poller->Wait());
}

void AddRaw(Napi::Object target, const char* name, napi_callback function, EnvPoller* self) {
  napi_value made = nullptr;
  if (napi_create_function(target.Env(), name, NAPI_AUTO_LENGTH, function, self, &made) != napi_ok) {
    throw Napi::Error::New(target.Env(), "a function cannot be made");
  }
  target.Set(name, made);
}

}  // namespace

std::shared_ptr<EnvPoller> EnvPoller::Of(Napi::Env env) {
  auto* data = env.GetInstanceData<InstanceData>();
  if (data == nullptr) {
    data = new InstanceData{std::make_shared<EnvPoller>(env)};
    env.SetInstanceData(data);
  }
  return data->poller;
}

Poller& EnvPoller::Acquire() {
  if (poller_ == nullptr) {
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env_, &loop) != napi_ok) {
      throw Napi::Error::New(env_, "this environment has no event loop");
    }
    poller_ = std::make_unique<Poller>(loop, [this] {
      if (!on_woken_.IsEmpty()) CallFromLoop(env_, on_woken_, 0);
    });
    poller_->FixSpin(fixed_spin_);
  }
  users_++;
  return *poller_;
}

void EnvPoller::Release(std::function<void()> closed) {
  if (users_ == 0 || --users_ > 0) {
    closed();
    return;
  }
  // The poller itself goes when libuv has let go: a wake-up that was under way may still be delivered.
  auto* closing = poller_.release();
  closing->Close([closing, closed = std::move(closed)] {
    delete closing;
    closed();
  });
}

Napi::Object EnvPoller::Functions() {
  if (!functions_.IsEmpty()) return functions_.Value();
  Napi::Object object = Napi::Object::New(env_);
  AddRaw(object, "take", Take, this);
  AddRaw(object, "wait", Wait, this);
  const auto add = [&](const char* name, auto body) {
    object.Set(name, Napi::Function::New(env_, [this, body](const Napi::CallbackInfo& info) -> Napi::Value {
                 return Guarded(info.Env(), [&] { return body(*this, info); });
               }, name));
  };
  add("beginTurn", [](EnvPoller& self, const Napi::CallbackInfo& info) -> Napi::Value {
    if (self.poller_) self.poller_->BeginTurn(info[0].As<Napi::Number>().Uint32Value());
    return self.env_.Undefined();
  });
  // With no machine there is nothing to be woken for, which is no reason to look again.
  add("arm", [](EnvPoller& self, const Napi::CallbackInfo&) -> Napi::Value {
    return Napi::Boolean::New(self.env_, self.poller_ == nullptr || self.poller_->Arm());
  });
  add("spin", [](EnvPoller& self, const Napi::CallbackInfo&) -> Napi::Value {
    return Napi::Number::New(self.env_, self.poller_ == nullptr ? 0 : self.poller_->spin_us());
  });
  add("fixSpin", [](EnvPoller& self, const Napi::CallbackInfo& info) -> Napi::Value {
    self.fixed_spin_.reset();
    if (info[0].IsNumber()) self.fixed_spin_ = info[0].As<Napi::Number>().Uint32Value();
    if (self.poller_) self.poller_->FixSpin(self.fixed_spin_);
    return self.env_.Undefined();
  });
  add("onWoken", [](EnvPoller& self, const Napi::CallbackInfo& info) -> Napi::Value {
    self.on_woken_ = Napi::Persistent(info[0].As<Napi::Function>());
    return self.env_.Undefined();
  });
  functions_ = Napi::Persistent(object);
  return object;
}

}  // namespace trapline
