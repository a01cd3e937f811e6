#include "sim_session.h"

#include <algorithm>
#include <cstring>

namespace trapline {

SimSession::SimSession(uv_loop_t* loop, SimOptions options, std::shared_ptr<SleepGate> gate,
                       std::function<void(std::uint32_t)> woken)
    : ram_(options.memory),
      io_(options.vcpus, std::move(gate)),
      hypervisor_{io_, tables_, memory_, violations_, options.verify, options.hold_us},
      waker_(loop, std::move(woken)) {
  io_.channel().set_wait_spin(options.wait_spin_us);
  io_.channel().set_completion_polling(options.completion_polling);
  tables_.service.Add(0, 0, kHostBytes, 0x30);
  for (const RamRegion& region : ram_.regions()) {
    tables_.user.Add(region.guest, kRamAt + region.offset, region.size, 0x30);
    memory_.Back(kRamAt + region.offset, ram_.data() + region.offset, region.size);
  }
  options.streams.resize(options.vcpus);
  for (unsigned i = 0; i < options.vcpus; i++) {
    vcpus_.push_back(std::make_unique<SimVcpu>(hypervisor_, i, std::move(options.streams[i]),
                                               SimVcpu::Events{
                                                   [this] { waker_.Raise(kResting); },
                                                   [this] {
                                                     if (resetting_.fetch_sub(1) == 1) waker_.Raise(kResetDone);
                                                   },
                                                   [this] { waker_.Raise(kStopped); },
                                               }));
  }
  pausable_.emplace(loop, [this](bool held) {
    for (const auto& vcpu : vcpus_) vcpu->Hold(held);
  });
}

void SimSession::Run() {
  if (!open_) return;
  state_ = VmState::kRunning;
  pause_ordered_ = false;
  io_.channel().Resume();
  waker_.KeepAlive(true);
  for (auto& vcpu : vcpus_) vcpu->Run();
}

bool SimSession::Pause() {
  if (!open_) return true;
  pause_ordered_ = true;
  for (auto& vcpu : vcpus_) vcpu->Pause();
  return resting();
}

bool SimSession::resting() {
  return !open_ || std::all_of(vcpus_.begin(), vcpus_.end(), [](auto& vcpu) { return vcpu->resting(); });
}

void SimSession::Reset() {
  if (!open_) return;
  state_ = VmState::kCreated;
  pause_ordered_ = false;
  resetting_.store(static_cast<unsigned>(vcpus_.size()));
  // They rest, so none starts another access between its old request's end and its reset.
  io_.channel().Abort();
  for (unsigned i = 0; i < vcpus_.size(); i++) io_.channel().ReleaseVcpu(i);
  for (auto& vcpu : vcpus_) vcpu->Reset();
}

std::optional<SimSession::Stop> SimSession::stop() {
  if (!open_) return std::nullopt;
  for (auto& vcpu : vcpus_) {
    if (auto failure = vcpu->failure()) return Stop{true, *failure};
  }
  const bool all = std::all_of(vcpus_.begin(), vcpus_.end(), [](auto& vcpu) { return vcpu->ended(); });
  return all ? std::optional<Stop>({false, {}}) : std::nullopt;
}

VmState SimSession::state() { return pause_ordered_ && resting() ? VmState::kPaused : state_; }

std::uint64_t SimSession::ServiceRead(std::uint64_t address, std::uint32_t size) {
  std::uint64_t value = ~std::uint64_t{0};
  if (const EptRun* run = tables_.service.Find(address, size); run != nullptr && open_) {
    unsigned char bytes[8] = {};
    memory_.Read(run->host + (address - run->guest), bytes, size);
    std::memcpy(&value, bytes, sizeof bytes);
  }
  return MaskToSize(value, size);
}

void SimSession::ServiceWrite(std::uint64_t address, std::uint32_t size, std::uint64_t value) {
  const EptRun* run = tables_.service.Find(address, size);
  if (run == nullptr || !open_) return;
  unsigned char bytes[8];
  std::memcpy(bytes, &value, sizeof bytes);
  memory_.Write(run->host + (address - run->guest), bytes, size);
}

std::uint64_t SimSession::Serve(NativeServer& server, std::uint64_t requests, const std::function<void()>& sleep) {
  if (!open_) return 0;
  return server.Serve(io_.channel(), requests, [this] { return stop().has_value(); }, sleep);
}

void SimSession::Close(std::function<void()> closed) {
  pausable_.reset();
  if (open_) {
    open_ = false;
    // The order first: a thread whose request is aborted starts no other. It may wait for a device, and nobody will
    // answer any more, so it gets all ones.
    for (auto& vcpu : vcpus_) vcpu->OrderStop();
    io_.channel().Abort();
    for (unsigned i = 0; i < vcpus_.size(); i++) io_.channel().ReleaseVcpu(i);
    for (auto& vcpu : vcpus_) vcpu->Stop();
    io_.ThreadsEnded();
    memory_.Clear();
  }
  waker_.Close(std::move(closed));
}

void SimSession::ReleaseMemory() {
  io_.Unmap();
  ram_.Release();
}

}  // namespace trapline
