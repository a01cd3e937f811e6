// One open machine on the simulated hypervisor: RAM, tables, request page, vCPUs and the wake-ups of its event loop, in
// the order in which they may be taken down. Knows nothing of JavaScript.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guest_ram.h"
#include "loop_waker.h"
#include "native_server.h"
#include "pausables.h"
#include "session_binding.h"
#include "session_event.h"
#include "sim_vcpu.h"

namespace trapline {

struct SimOptions {
  unsigned vcpus = 1;
  std::uint64_t memory = 0;
  bool completion_polling = false;
  bool verify = false;
  unsigned wait_spin_us = 0;
  unsigned hold_us = 0;
  /** The n-th is vCPU n's; one without makes no access. */
  std::vector<Stream> streams;
};

/** All members are for the loop's thread. */
class SimSession final : public Session {
 public:
  /** Host-physical memory that the Service VM sees: this much, from 0. */
  static constexpr std::uint64_t kHostBytes = std::uint64_t{1} << 39;
  /** Where guest RAM is in it. */
  static constexpr std::uint64_t kRamAt = std::uint64_t{1} << 38;

  /** What ended the machine. */
  struct Stop {
    bool failed;
    std::string message;
  };

  SimSession(uv_loop_t* loop, SimOptions options, std::shared_ptr<SleepGate> gate,
             std::function<void(std::uint32_t events)> woken);
  ~SimSession() override { Close(nullptr); }

  MachineIo& io() override { return io_; }
  GuestRam& ram() { return ram_; }
  Translations& tables() { return tables_; }
  Violations& violations() { return violations_; }

  void Run();
  bool Pause();
  bool resting();
  /** Only while all vCPUs rest. */
  void Reset();
  /** Shall the machine keep the process alive? It does not at first. */
  void KeepAlive(bool alive) { waker_.KeepAlive(alive); }
  /** Once every stream has ended, or one vCPU cannot go on. */
  std::optional<Stop> stop();

  /** @returns 0 or minus an errno, as the hypercalls do */
  int AssignMmio(const MmioDev& dev) { return AssignMmioDev(tables_, state(), dev); }
  int DeassignMmio(const MmioDev& dev) { return DeassignMmioDev(tables_, state(), dev); }
  HostMemory& host_memory() { return memory_; }
  /** An access of the Service VM: all ones where nothing is mapped. */
  std::uint64_t ServiceRead(std::uint64_t address, std::uint32_t size);
  void ServiceWrite(std::uint64_t address, std::uint32_t size, std::uint64_t value);

  /** Also after `Close`. @returns nothing for a vCPU there is not */
  SimVcpu* vcpu(unsigned index) { return index < vcpus_.size() ? vcpus_[index].get() : nullptr; }
  void RecordLatency(bool on) { hypervisor_.record_latency.store(on); }
  const TickClock& clock() const { return clock_; }
  /** Serves requests on this thread: see `NativeServer`. */
  std::uint64_t Serve(NativeServer& server, std::uint64_t requests, const std::function<void()>& sleep);

  void Close(std::function<void()> closed) override;
  void ReleaseMemory() override;

 private:
  VmState state();

  // Destroyed from the bottom up.
  GuestRam ram_;
  MachineIo io_;
  Translations tables_;
  HostMemory memory_;
  Violations violations_;
  SimHypervisor hypervisor_;
  const TickClock clock_;
  bool open_ = true;
  VmState state_ = VmState::kCreated;
  bool pause_ordered_ = false;
  /** vCPUs that have not yet reported their reset. */
  std::atomic<unsigned> resetting_{0};
  LoopWaker waker_;
  std::vector<std::unique_ptr<SimVcpu>> vcpus_;
  std::optional<Pausable> pausable_;
};

}  // namespace trapline
