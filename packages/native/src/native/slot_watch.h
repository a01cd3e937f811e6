// What a hypervisor may expect of the server of its request page, checked on the vCPU's side of every request.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "ioreq_channel.h"

namespace trapline {

/** Broken rules, of all vCPUs of a machine. On any thread. */
class Violations {
 public:
  /** Lines kept; all are counted. */
  static constexpr std::size_t kMostLines = 64;

  void Add(unsigned slot, const std::string& what);
  std::uint64_t count();
  std::vector<std::string> lines();
  void Clear();

 private:
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::vector<std::string> lines_;
};

/** One slot, on the thread of its vCPU. Says nothing while requests are aborted: then anything may be found. */
class SlotWatch {
 public:
  SlotWatch(IoreqChannel& channel, unsigned slot, Violations& violations);

  /** Between two requests: is the slot still FREE, and are the bytes that nobody writes untouched? */
  void Idle();
  /** Before `Post`. */
  void Begin(const Access& access);
  /** Every state seen while the request is in flight. */
  void See(std::uint32_t state);
  /** The slot was seen COMPLETE. @param woken as `AwaitLooking` returned */
  void Completed(bool woken);
  /** COMPLETE -> FREE; nobody else may have moved it meanwhile. */
  void Release();
  /** The slot was set free, whatever it was. */
  void Forget();

 private:
  void Report(const std::string& what) { violations_.Add(slot_, what); }
  void CompareBytes();
  void CompareRequest(const Slot& now);

  IoreqChannel& channel_;
  const unsigned slot_;
  Violations& violations_;
  /** The slot as it shall be. */
  Slot image_{};
  std::int32_t generation_ = 0;
  std::uint32_t seen_ = state::kFree;
  bool was_claimed_ = false;
  bool idle_reported_ = false;
};

}  // namespace trapline
