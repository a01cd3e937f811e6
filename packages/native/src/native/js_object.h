// What an object of the addon is made of: methods and memory that keep their owner alive, and calls from the event loop.
#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>

#include "js_errors.h"

namespace trapline {

template <typename T, Napi::Value (T::*Method)(const Napi::CallbackInfo&)>
Napi::Value CallMethod(const Napi::CallbackInfo& info) {
  T& self = **static_cast<std::shared_ptr<T>*>(info.Data());
  return Guarded(info.Env(), [&] { return (self.*Method)(info); });
}

/** Gives `target` a method of `owner`. */
template <typename T, Napi::Value (T::*Method)(const Napi::CallbackInfo&)>
void AddMethod(Napi::Env env, Napi::Object target, const char* name, std::shared_ptr<T> owner) {
  auto* share = new std::shared_ptr<T>(std::move(owner));
  Napi::Function function = Napi::Function::New<CallMethod<T, Method>>(env, name, share);
  // A function may be kept longer than the object it was found on.
  function.AddFinalizer([](Napi::Env, std::shared_ptr<T>* mine) { delete mine; }, share);
  target.Set(name, function);
}

/** Memory of `owner` as an ArrayBuffer. */
template <typename T>
Napi::ArrayBuffer ExternalBuffer(Napi::Env env, unsigned char* data, std::size_t size, std::shared_ptr<T> owner) {
  auto* share = new std::shared_ptr<T>(std::move(owner));
  napi_value value = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, data, size, [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<T>*>(hint); }, share,
      &value);
  if (status != napi_ok) {
    delete share;
    throw Napi::Error::New(env, status == napi_no_external_buffers_allowed
                                    ? "this JavaScript engine allows no memory from outside in an ArrayBuffer"
                                    : "an ArrayBuffer cannot be made");
  }
  return Napi::ArrayBuffer(env, value);
}

/** Calls a function of JavaScript from the event loop; what it throws is an uncaught exception like any other. */
inline void CallFromLoop(napi_env env, napi_ref function) {
  // Plain Node-API here: the environment may be ending, and then no call may throw.
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback = nullptr, receiver = nullptr, result = nullptr;
  if (napi_get_reference_value(env, function, &callback) == napi_ok && callback != nullptr &&
      napi_get_global(env, &receiver) == napi_ok &&
      napi_make_callback(env, nullptr, receiver, callback, 0, nullptr, &result) == napi_pending_exception) {
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace trapline
