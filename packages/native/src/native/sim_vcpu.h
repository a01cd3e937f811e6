// One vCPU of the simulated hypervisor, on a thread of its own: a stream where the program would be, the hypervisor's
// part of the request protocol where the CPU's exits would lead.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "latency_histogram.h"
#include "machine_io.h"
#include "mmio_assign.h"
#include "run_gate.h"
#include "sim_stream.h"
#include "slot_watch.h"

namespace trapline {

/** What the vCPUs of one machine share. It must outlive them. */
struct SimHypervisor {
  MachineIo& io;
  /** Changed only while no vCPU executes. */
  Translations& tables;
  HostMemory& memory;
  Violations& violations;
  /** Is every request checked? */
  bool verify = false;
  /** How long a completed request is left in its slot before its value is taken, in µs: a vCPU that is scheduled late. */
  unsigned hold_us = 0;
  /** Are the times of accesses recorded? */
  std::atomic<bool> record_latency{false};
};

class SimVcpu {
 public:
  /** Called on the vCPU's thread. */
  struct Events {
    std::function<void()> resting;
    std::function<void()> reset_done;
    std::function<void()> stopped;
  };

  /** What a vCPU has done since its last reset. */
  struct Progress {
    std::uint64_t accesses;
    /** See `MixRead`. */
    std::uint32_t checksum;
    std::uint64_t last;
  };

  /** At rest. */
  SimVcpu(SimHypervisor& hypervisor, unsigned index, Stream stream, Events events);
  ~SimVcpu() { Stop(); }

  void Run() { gate_.Give(Order::kRun); }
  /** @returns true if the vCPU is at rest already; otherwise `resting` is called once it is */
  bool Pause();
  bool resting() { return gate_.resting(); }
  /** Keeps it from its next access whatever is ordered, or no longer. On any thread, until `Stop`. */
  void Hold(bool held) { gate_.Hold(held); }
  /** To the first access; only while paused, with no request in flight. Calls `reset_done`. */
  void Reset() { gate_.Give(Order::kReset); }
  /** Tells the thread to end; `Stop` waits for it. */
  void OrderStop() { gate_.Give(Order::kStop); }
  /** Ends the thread; the caller has aborted the requests in flight. Idempotent. */
  void Stop();

  /** Has it made its last access? */
  bool ended() const { return ended_.load(); }
  /** Why it will make no more, if that was not the end of its stream. */
  std::optional<std::string> failure();
  Progress progress() const;
  LatencyHistogram& latency() { return latency_; }

 private:
  void ThreadMain();
  /** One access and the gap behind it. @returns false when the vCPU has ended */
  bool Step();
  /** @returns the value of a read; nothing if the vCPU cannot go on */
  std::optional<std::uint64_t> Perform(const Access& access);
  std::optional<std::uint64_t> Translated(const EptRun& run, const Access& access);
  std::uint64_t Request(const Access& access);
  std::uint64_t WatchedRequest(const Access& access);
  void Gap();
  void DoReset();
  std::nullopt_t Fail(std::string message);

  SimHypervisor& hypervisor_;
  const unsigned index_;
  const Stream stream_;
  const Events events_;
  RunGate gate_;
  StreamCursor cursor_;
  SlotWatch watch_;
  LatencyHistogram latency_;
  // Written by the thread only.
  std::atomic<std::uint64_t> accesses_{0};
  std::atomic<std::uint32_t> checksum_{0};
  std::atomic<std::uint64_t> last_{0};
  std::atomic<bool> ended_{false};
  std::mutex failure_mutex_;
  std::optional<std::string> failure_;
  std::thread thread_;
};

}  // namespace trapline
