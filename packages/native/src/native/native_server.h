// The server of a request page as one would write it in C++: what a benchmark compares the plugins in TypeScript with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ioreq_channel.h"

namespace trapline {

/** An emulated device; its handlers are reached as those of a device model are, by a virtual call. */
class NativeDevice {
 public:
  virtual ~NativeDevice() = default;
  virtual std::uint64_t Read(std::uint64_t offset, std::uint32_t size) = 0;
  virtual void Write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) = 0;
};

/** All members are for one thread. */
class NativeServer {
 public:
  static constexpr unsigned kMostClasses = 16;

  struct Range {
    RequestType space;
    std::uint64_t base;
    std::uint64_t size;
  };
  /** What one range has served, as the dispatcher in TypeScript counts it. */
  struct Counters {
    std::uint64_t reads = 0;
    std::uint64_t writes = 0;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
  };

  /**
   * @param classes how many different classes the devices behind the ranges have, in turn; 1 to `kMostClasses`
   * @throws SysError EINVAL for ranges that overlap or leave their space
   */
  NativeServer(const std::vector<Range>& ranges, unsigned classes);
  ~NativeServer();

  /**
   * Serves that many requests.
   * @param over asked now and then while there is nothing to do
   * @param sleep called when there is nothing to do: sleeps until there is, or for a while; nothing: it spins
   * @returns how many it served: fewer once `over`, or when nothing came for a second
   */
  std::uint64_t Serve(IoreqChannel& channel, std::uint64_t requests, const std::function<bool()>& over,
                      const std::function<void()>& sleep);

  /** In the order the ranges were given. */
  const std::vector<Counters>& counters() const { return counters_; }

 private:
  struct Entry {
    std::uint64_t base;
    std::uint64_t last;
    NativeDevice* device;
    Counters* counters;
  };

  const Entry* Find(const Slot& slot);
  void ServeSlot(Slot& slot);

  std::vector<std::unique_ptr<NativeDevice>> devices_;
  std::vector<Counters> counters_;
  /** By base. */
  std::vector<Entry> mmio_;
  std::vector<Entry> pio_;
  /** For each port: its entry plus 1. */
  std::vector<std::uint16_t> ports_;
  /** The MMIO range found last: the next access mostly goes there. */
  const Entry* recent_ = nullptr;
};

}  // namespace trapline
