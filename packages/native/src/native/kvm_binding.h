// A KvmSession as a JavaScript object.
#pragma once

#include <napi.h>

namespace trapline {

/** `probeKvm(device)`: what a look at the device told. */
Napi::Value ProbeKvmBinding(const Napi::CallbackInfo& info);
/** `openKvm(options, onEvents)`: a machine at rest. */
Napi::Value OpenKvmBinding(const Napi::CallbackInfo& info);

}  // namespace trapline
