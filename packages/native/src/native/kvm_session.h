// One open machine on KVM: RAM, VM, vCPU, request page and the wake-ups of its event loop, in the order in which
// they may be taken down. Knows nothing of JavaScript.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "guest_ram.h"
#include "kvm_vcpu.h"
#include "kvm_vm.h"
#include "loop_waker.h"
#include "session_binding.h"
#include "session_event.h"

namespace trapline {

struct SessionOptions {
  std::string device;
  std::uint64_t memory = 0;
  std::uint16_t entry = 0;
  unsigned wait_spin_us = 0;
};

/** All members are for the loop's thread. */
class KvmSession final : public Session {
 public:
  KvmSession(uv_loop_t* loop, const SessionOptions& options, std::shared_ptr<SleepGate> gate,
             std::function<void(std::uint32_t events)> woken);
  ~KvmSession() override { Close(nullptr); }

  MachineIo& io() override { return io_; }
  GuestRam& ram() { return ram_; }
  bool open() const { return vcpu_ != nullptr; }

  void Run();
  bool Pause();
  bool resting() { return vcpu_ == nullptr || vcpu_->resting(); }
  void Reset();
  /** Shall the machine keep the process alive? It does not at first. */
  void KeepAlive(bool alive) { waker_.KeepAlive(alive); }
  void SetIrqLine(unsigned gsi, bool level);
  void SignalMsi(std::uint64_t address, std::uint32_t data);
  std::optional<VcpuStop> stop();
  std::string reset_error();

  void Close(std::function<void()> closed) override;
  void ReleaseMemory() override;

 private:
  // Destroyed from the bottom up. What is likeliest to fail comes before what the event loop has to let go of.
  GuestRam ram_;
  MachineIo io_;
  KvmVm vm_;
  LoopWaker waker_;
  std::unique_ptr<KvmVcpu> vcpu_;
};

}  // namespace trapline
