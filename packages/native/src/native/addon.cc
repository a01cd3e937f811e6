// The addon's one entry. Node-API 9, so one binary serves every Node from 20 on.
#include <napi.h>

#include "kvm_binding.h"
#include "session_binding.h"
#include "sim_binding.h"

namespace {

// Raised with every change of what the TypeScript side calls, so that a stale binary is told from a current one.
constexpr int kInterfaceVersion = 3;

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("interfaceVersion", Napi::Number::New(env, kInterfaceVersion));
  exports.Set("probeKvm", Napi::Function::New<trapline::ProbeKvmBinding>(env, "probeKvm"));
  exports.Set("openKvm", Napi::Function::New<trapline::OpenKvmBinding>(env, "openKvm"));
  exports.Set("openSim", Napi::Function::New<trapline::OpenSimBinding>(env, "openSim"));
  exports.Set("liveSessions", Napi::Function::New<trapline::LiveSessionsBinding>(env, "liveSessions"));
  exports.Set("poller", trapline::PollerFunctions(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(trapline_native, Init)
