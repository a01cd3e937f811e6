// How the vCPU threads of one machine reach whatever serves their accesses: the ranges served natively, and behind
// them the request page.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "cpus.h"
#include "ioreq_channel.h"
#include "poller.h"
#include "service_table.h"

namespace trapline {

class MachineIo {
 public:
  /** @param gate of the poller that this machine is added to */
  MachineIo(unsigned vcpus, std::shared_ptr<SleepGate> gate)
      : gate_(std::move(gate)),
        threads_(std::in_place, vcpus),
        channel_(vcpus, [this] { gate_->Announce(); }),
        services_([this] {
          kicks_.store(true);
          gate_->Announce();
        }) {}

  IoreqChannel& channel() { return channel_; }
  ServiceTable& services() { return services_; }
  PolledMachine polled() { return {&channel_, &kicks_}; }
  /** On the controlling thread: a doorbell was rung another way, so many times. */
  void Ring(unsigned number, std::uint32_t value, std::uint64_t times) {
    services_.Ring(number, value, times);
    kicks_.store(true);
    gate_->Announce();
  }
  /** The vCPU threads have ended: they no longer count where it is decided whether to spin. */
  void ThreadsEnded() { threads_.reset(); }
  /** After `ThreadsEnded`. */
  void Unmap() {
    channel_.Unmap();
    services_.Unmap();
  }

 private:
  std::atomic<bool> kicks_{false};
  const std::shared_ptr<SleepGate> gate_;
  std::optional<VcpuThreadCount> threads_;
  IoreqChannel channel_;
  ServiceTable services_;
};

}  // namespace trapline
