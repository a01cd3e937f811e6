#include "kvm_session.h"

namespace trapline {

KvmSession::KvmSession(uv_loop_t* loop, const SessionOptions& options, std::shared_ptr<SleepGate> gate,
                       std::function<void(std::uint32_t)> woken)
    : ram_(options.memory), io_(1, std::move(gate)), vm_(options.device, ram_), waker_(loop, std::move(woken)) {
  io_.channel().set_wait_spin(options.wait_spin_us);
  vcpu_ = std::make_unique<KvmVcpu>(vm_, io_, 0, options.entry,
                                    KvmVcpu::Events{
                                        [this] { waker_.Raise(kResting); },
                                        [this] { waker_.Raise(kResetDone); },
                                        [this] { waker_.Raise(kStopped); },
                                    });
}

void KvmSession::Run() {
  if (!open()) return;
  io_.channel().Resume();
  waker_.KeepAlive(true);
  vcpu_->Run();
}

bool KvmSession::Pause() { return !open() || vcpu_->Pause(); }

void KvmSession::Reset() {
  if (!open()) return;
  // The order first: then a vCPU whose request is aborted finds it and starts no further access.
  vcpu_->Reset();
  io_.channel().Abort();
}

void KvmSession::SetIrqLine(unsigned gsi, bool level) {
  if (open()) vm_.SetIrqLine(gsi, level);
}

void KvmSession::SignalMsi(std::uint64_t address, std::uint32_t data) {
  if (open()) vm_.SignalMsi(address, data);
}

std::optional<VcpuStop> KvmSession::stop() { return open() ? vcpu_->stop() : std::nullopt; }

std::string KvmSession::reset_error() { return open() ? vcpu_->reset_error() : "the machine is closed"; }

void KvmSession::Close(std::function<void()> closed) {
  if (open()) {
    // The thread may wait for a device: nobody will answer any more, so it gets all ones.
    io_.channel().Abort();
    vcpu_->Stop();
    vcpu_.reset();
    io_.ThreadsEnded();
    vm_.Close();
  }
  waker_.Close(std::move(closed));
}

void KvmSession::ReleaseMemory() {
  io_.Unmap();
  ram_.Release();
}

}  // namespace trapline
