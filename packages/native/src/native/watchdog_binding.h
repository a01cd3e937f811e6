// A Watchdog as a JavaScript object.
#pragma once

#include <napi.h>

namespace trapline {

/** `openWatchdog(options, onExpired)`: watches this thread from now on. */
Napi::Value OpenWatchdogBinding(const Napi::CallbackInfo& info);

}  // namespace trapline
