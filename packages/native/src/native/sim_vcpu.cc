#include "sim_vcpu.h"

#include <chrono>
#include <cstdio>
#include <cstring>

#include "quiet_thread.h"
#include "spin.h"

namespace trapline {

namespace {

using Clock = std::chrono::steady_clock;

/** A thread that sleeps wakes some 50 µs late: shorter gaps are spun through. */
constexpr unsigned kShortestSleepUs = 200;

/** EPT memory types that are none: 2, 3 and 7. */
bool IsReservedType(std::uint64_t memory_type) {
  return memory_type == 0x10 || memory_type == 0x18 || memory_type == 0x38;
}

}  // namespace

SimVcpu::SimVcpu(SimHypervisor& hypervisor, unsigned index, Stream stream, Events events)
    : hypervisor_(hypervisor),
      index_(index),
      stream_(std::move(stream)),
      events_(std::move(events)),
      gate_(events_.resting),
      cursor_(stream_.accesses.size(), stream_.random, stream_.seed),
      watch_(hypervisor.io.channel(), index, hypervisor.violations) {
  thread_ = QuietThread("trapline-vcpu" + std::to_string(index_), [this] { ThreadMain(); });
}

bool SimVcpu::Pause() {
  gate_.Give(Order::kPause);
  return gate_.resting();
}

void SimVcpu::Stop() {
  if (!thread_.joinable()) return;
  OrderStop();
  thread_.join();
}

std::optional<std::string> SimVcpu::failure() {
  std::lock_guard lock(failure_mutex_);
  return failure_;
}

SimVcpu::Progress SimVcpu::progress() const {
  // The count is written last.
  const std::uint64_t accesses = accesses_.load(std::memory_order_acquire);
  return {accesses, checksum_.load(std::memory_order_relaxed), last_.load(std::memory_order_relaxed)};
}

void SimVcpu::ThreadMain() {
  for (;;) {
    switch (gate_.Wait(ended_.load(std::memory_order_relaxed))) {
      case Order::kStop:
        return;
      case Order::kReset:
        DoReset();
        gate_.Done(Order::kReset);
        events_.reset_done();
        break;
      default:
        if (!Step()) {
          ended_.store(true);
          events_.stopped();
        }
    }
  }
}

bool SimVcpu::Step() {
  const std::uint64_t made = accesses_.load(std::memory_order_relaxed);
  if (made >= stream_.count) return false;
  const StreamAccess& next = stream_.accesses[cursor_.Next()];
  Access access = next.access;
  if (next.last) access.value = MaskToSize(last_.load(std::memory_order_relaxed), access.size);

  const bool timed = hypervisor_.record_latency.load(std::memory_order_relaxed);
  const std::uint64_t start = timed ? TickClock::Ticks() : 0;
  const std::optional<std::uint64_t> value = Perform(access);
  if (!value) return false;
  if (timed) latency_.Record(TickClock::Ticks() - start);

  if (!access.write) {
    last_.store(*value, std::memory_order_relaxed);
    checksum_.store(MixRead(checksum_.load(std::memory_order_relaxed), *value), std::memory_order_relaxed);
  }
  accesses_.store(made + 1, std::memory_order_release);
  if (made + 1 >= stream_.count) return false;
  if (stream_.gap_us > 0) Gap();
  return true;
}

std::optional<std::uint64_t> SimVcpu::Perform(const Access& access) {
  if (access.type == RequestType::kMmio) {
    if (const EptRun* run = hypervisor_.tables.user.Find(access.address, access.size)) return Translated(*run, access);
  }
  IoreqChannel& channel = hypervisor_.io.channel();
  if (hypervisor_.verify) watch_.Idle();
  // acrn_insert_request gives -EINVAL, and the guest #GP(0).
  if (const std::uint32_t state = channel.State(index_).load(std::memory_order_acquire); state != state::kFree) {
    if (hypervisor_.verify && !channel.aborting()) {
      hypervisor_.violations.Add(index_, "is not FREE before a request: state " + std::to_string(state));
    }
    return Fail("vCPU " + std::to_string(index_) + " got #GP(0): its request slot is in state " +
                std::to_string(state) + ", not FREE");
  }
  std::uint64_t value = 0;
  if (hypervisor_.io.services().Serve(access, value)) {
    channel.ServeInKernel(index_, access, value);
  } else {
    value = hypervisor_.verify ? WatchedRequest(access) : Request(access);
  }
  return MaskToSize(value, access.size);
}

std::optional<std::uint64_t> SimVcpu::Translated(const EptRun& run, const Access& access) {
  if (IsReservedType(run.memory_type)) {
    char text[96];
    std::snprintf(text, sizeof text, "vCPU %u met an EPT misconfiguration at 0x%llx: memory type 0x%llx", index_,
                  static_cast<unsigned long long>(access.address), static_cast<unsigned long long>(run.memory_type));
    return Fail(text);
  }
  unsigned char bytes[8] = {};
  const std::uint64_t host = run.host + (access.address - run.guest);
  std::uint64_t value = 0;
  if (access.write) {
    std::memcpy(bytes, &access.value, sizeof bytes);
    hypervisor_.memory.Write(host, bytes, access.size);
  } else {
    hypervisor_.memory.Read(host, bytes, access.size);
    std::memcpy(&value, bytes, sizeof bytes);
  }
  return value;
}

std::uint64_t SimVcpu::Request(const Access& access) {
  IoreqChannel& channel = hypervisor_.io.channel();
  channel.Post(index_, access);
  gate_.EnterDevice();
  return channel.Await(index_);
}

std::uint64_t SimVcpu::WatchedRequest(const Access& access) {
  IoreqChannel& channel = hypervisor_.io.channel();
  watch_.Begin(access);
  channel.Post(index_, access);
  gate_.EnterDevice();
  const bool woken = channel.AwaitLooking(index_, [this](std::uint32_t state) { watch_.See(state); });
  watch_.Completed(woken);
  const std::uint64_t value = channel.Value(channel.At(index_)).load(std::memory_order_relaxed);
  if (hypervisor_.hold_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(hypervisor_.hold_us));
  watch_.Release();
  return value;
}

void SimVcpu::Gap() {
  if (stream_.gap_us >= kShortestSleepUs) {
    gate_.Rest(Clock::now() + std::chrono::microseconds(stream_.gap_us));
    if (hypervisor_.verify) watch_.Idle();
    return;
  }
  SpinUntil(stream_.gap_us, [this] {
    if (hypervisor_.verify) watch_.Idle();
    return false;
  });
}

void SimVcpu::DoReset() {
  // RESET_VM sets every slot FREE, whatever it was.
  watch_.Forget();
  cursor_ = StreamCursor(stream_.accesses.size(), stream_.random, stream_.seed);
  checksum_.store(0);
  last_.store(0);
  accesses_.store(0);
  ended_.store(false);
  std::lock_guard lock(failure_mutex_);
  failure_.reset();
}

std::nullopt_t SimVcpu::Fail(std::string message) {
  std::lock_guard lock(failure_mutex_);
  failure_ = std::move(message);
  return std::nullopt;
}

}  // namespace trapline
