// One open machine on KVM: RAM, VM, vCPUs, request page and the wake-ups of its event loop, in the order in which
// they may be taken down. Knows nothing of JavaScript.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "guest_ram.h"
#include "halt_check.h"
#include "kvm_eventfd.h"
#include "kvm_vcpu.h"
#include "kvm_vm.h"
#include "loop_waker.h"
#include "session_binding.h"
#include "session_event.h"

namespace trapline {

struct SessionOptions {
  std::string device;
  std::uint64_t memory = 0;
  unsigned vcpus = 1;
  std::uint16_t entry = 0;
  unsigned wait_spin_us = 0;
};

/** All public members are for the loop's thread. */
class KvmSession final : public Session, private KvmVcpu::Listener {
 public:
  KvmSession(uv_loop_t* loop, const SessionOptions& options, std::shared_ptr<SleepGate> gate,
             std::function<void(std::uint32_t events)> woken);
  ~KvmSession() override { Close(nullptr); }

  MachineIo& io() override { return io_; }
  std::optional<unsigned> AddService(const Service& service) override;
  void RemoveService(unsigned number) override;
  std::optional<std::uint32_t> TakeKick(unsigned number) override;
  GuestRam& ram() { return ram_; }
  bool open() const { return !vcpus_.empty(); }

  /** Nothing, while the machine is being reset, or has ended and was not reset since. */
  void Run();
  /** @returns true if no vCPU executes; otherwise `kResting` is announced whenever one has come to rest */
  bool Pause();
  bool resting();
  /** Only while resting. */
  void Reset();
  /**
   * Looks whether all vCPUs sleep for ever, if none of them has left the guest since the last call; `kStopped` is
   * announced if they do. Interrupts each of them once, for less than a wake-up costs.
   */
  void CheckHalted();
  /** Shall the machine keep the process alive? It does not at first. */
  void KeepAlive(bool alive) { waker_.KeepAlive(alive); }
  void SetIrqLine(unsigned gsi, bool level);
  void SignalMsi(std::uint64_t address, std::uint32_t data);
  /** @returns an eventfd that stays ours, and is valid until `CloseIrqfd` or `Close` */
  int OpenIrqfd(unsigned gsi);
  void CloseIrqfd(int fd) { irqfds_.erase(fd); }
  /** What ended the machine, if something did since the last reset: of several vCPUs the first. */
  std::optional<VcpuStop> stop();
  /** What went wrong at the last reset; empty if nothing did. */
  std::string reset_error();

  void Close(std::function<void()> closed) override;
  void ReleaseMemory() override;

 private:
  // On vCPU threads.
  void Resting() override { waker_.Raise(kResting); }
  void Finished(const std::string& error) override;
  void Restored(const std::string& error) override;
  void Ended(const VcpuStop& stop) override;

  /** The event loop found that the kernel has rung. */
  void OnRung(unsigned number);
  /** Takes what the kernel has counted into the table of services. */
  void TakeFromKernel(unsigned number);

  uv_loop_t* const loop_;
  // Destroyed from the bottom up. What is likeliest to fail comes before what the event loop has to let go of.
  GuestRam ram_;
  MachineIo io_;
  KvmVm vm_;
  LoopWaker waker_;
  std::array<std::unique_ptr<KernelDoorbell>, ServiceTable::kMaxServices> doorbells_;
  /** By their descriptors. */
  std::map<int, std::unique_ptr<Irqfd>> irqfds_;
  HaltCheck halts_;

  /** Guards what follows, and that no vCPU is let go of while another one stops it. */
  std::mutex mutex_;
  bool closing_ = false;
  std::optional<VcpuStop> stop_;
  std::string reset_error_;
  /** vCPUs that have not yet done the present step of a reset. */
  unsigned to_finish_ = 0;
  unsigned to_restore_ = 0;

  std::vector<std::unique_ptr<KvmVcpu>> vcpus_;
};

}  // namespace trapline
