// Calling JavaScript from the event loop, where nothing may throw and the environment may be ending.
#pragma once

#include <napi.h>

namespace trapline {

/** Calls `function` with `argument`; what it throws is an uncaught exception, as from any callback of the loop. */
inline void CallFromLoop(napi_env env, const Napi::FunctionReference& function, std::uint32_t argument) {
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback = nullptr, receiver = nullptr, given = nullptr, result = nullptr;
  if (napi_get_reference_value(env, function, &callback) == napi_ok && callback != nullptr &&
      napi_get_global(env, &receiver) == napi_ok && napi_create_uint32(env, argument, &given) == napi_ok &&
      napi_make_callback(env, nullptr, receiver, callback, 1, &given, &result) == napi_pending_exception) {
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace trapline
