// A SimSession as a JavaScript object.
#pragma once

#include <napi.h>

namespace trapline {

/** `openSim(options, onEvents)`: a machine at rest. */
Napi::Value OpenSimBinding(const Napi::CallbackInfo& info);

}  // namespace trapline
