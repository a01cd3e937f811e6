#include "kvm_session.h"

namespace trapline {

KvmSession::KvmSession(uv_loop_t* loop, const SessionOptions& options, std::function<void(std::uint32_t)> woken)
    : ram_(options.memory),
      channel_(1, options.wait_spin_us, [this] { waker_.Raise(kRequestPending); }),
      vm_(options.device, ram_),
      waker_(loop, std::move(woken)) {
  vcpu_ = std::make_unique<KvmVcpu>(vm_, channel_, 0, options.entry,
                                    KvmVcpu::Events{
                                        [this] { waker_.Raise(kResting); },
                                        [this] { waker_.Raise(kResetDone); },
                                        [this] { waker_.Raise(kStopped); },
                                    });
  pausable_.emplace(loop, [this](bool held) { vcpu_->Hold(held); });
}

void KvmSession::Run() {
  if (!open()) return;
  channel_.Resume();
  waker_.KeepAlive(true);
  vcpu_->Run();
}

bool KvmSession::Pause() { return !open() || vcpu_->Pause(); }

void KvmSession::Reset() {
  if (!open()) return;
  // The order first: then a vCPU whose request is aborted finds it and starts no further access.
  vcpu_->Reset();
  channel_.Abort();
}

bool KvmSession::Arm() {
  if (!open()) return true;
  waker_.KeepAlive(true);
  return channel_.Arm();
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
    pausable_.reset();
    // The thread may wait for a device: nobody will answer any more, so it gets all ones.
    channel_.Abort();
    vcpu_->Stop();
    vcpu_.reset();
    vm_.Close();
  }
  waker_.Close(std::move(closed));
}

void KvmSession::ReleaseMemory() {
  channel_.Unmap();
  ram_.Release();
}

}  // namespace trapline
