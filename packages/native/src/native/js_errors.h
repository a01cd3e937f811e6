// Failures on their way to JavaScript: one place where C++ exceptions become JS errors.
#pragma once

#include <napi.h>

#include <exception>

#include "sys.h"

namespace trapline {

/** An `Error` with `errno` and `syscall`, as Node's own errors have them. */
inline Napi::Error ToJs(Napi::Env env, const SysError& failure) {
  Napi::Error error = Napi::Error::New(env, failure.what());
  error.Set("errno", Napi::Number::New(env, failure.error()));
  error.Set("syscall", Napi::String::New(env, failure.call()));
  return error;
}

/** Runs `body`; whatever it throws arrives in JavaScript as an `Error`. */
template <typename Body>
auto Guarded(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const SysError& failure) {
    throw ToJs(env, failure);
  } catch (const std::exception& failure) {
    throw Napi::Error::New(env, failure.what());
  }
}

}  // namespace trapline
