#include "kvm_session.h"

#include <algorithm>

namespace trapline {

KvmSession::KvmSession(uv_loop_t* loop, const SessionOptions& options, std::shared_ptr<SleepGate> gate,
                       std::function<void(std::uint32_t)> woken)
    : loop_(loop),
      ram_(options.memory),
      io_(options.vcpus, std::move(gate)),
      vm_(options.device, ram_),
      waker_(loop, std::move(woken)),
      halts_(options.vcpus) {
  io_.channel().set_wait_spin(options.wait_spin_us);
  const Cpuid supported = SupportedCpuid(vm_.system_fd());
  const KvmVcpu::Machine machine{vm_, io_, halts_, *this};
  for (unsigned index = 0; index < options.vcpus; index++) {
    const Cpuid cpuid = GuestCpuid(supported, index, options.vcpus);
    vcpus_.push_back(std::make_unique<KvmVcpu>(machine, index, cpuid, options.entry));
  }
}

std::optional<unsigned> KvmSession::AddService(const Service& service) {
  const auto number = Session::AddService(service);
  if (!number || !open() || !KernelDoorbell::Fits(service)) return number;
  try {
    doorbells_[*number] = std::make_unique<KernelDoorbell>(vm_.fd(), loop_, service,
                                                           [this, number = *number] { OnRung(number); });
  } catch (const SysError&) {
    // No descriptor left, or KVM has too many of them: the vCPU thread serves it, which means the same.
  }
  return number;
}

void KvmSession::OnRung(unsigned number) {
  if (const std::uint64_t times = doorbells_[number]->Take()) io_.Ring(number, doorbells_[number]->value(), times);
}

void KvmSession::TakeFromKernel(unsigned number) {
  if (number >= doorbells_.size() || doorbells_[number] == nullptr) return;
  KernelDoorbell& doorbell = *doorbells_[number];
  // Who asks for kicks gets this one next: nobody has to be told of it.
  if (const std::uint64_t times = doorbell.Take()) io_.services().Ring(number, doorbell.value(), times);
}

void KvmSession::RemoveService(unsigned number) {
  if (number < doorbells_.size() && doorbells_[number] != nullptr) {
    doorbells_[number]->Unbind();
    TakeFromKernel(number);
    doorbells_[number].reset();
  }
  Session::RemoveService(number);
}

std::optional<std::uint32_t> KvmSession::TakeKick(unsigned number) {
  TakeFromKernel(number);
  return Session::TakeKick(number);
}

void KvmSession::Run() {
  if (!open()) return;
  std::lock_guard lock(mutex_);
  if (stop_ || to_finish_ != 0 || to_restore_ != 0) return;
  io_.channel().Resume();
  waker_.KeepAlive(true);
  for (const auto& vcpu : vcpus_) vcpu->Run();
}

bool KvmSession::Pause() {
  halts_.Cancel();
  bool rest = true;
  for (const auto& vcpu : vcpus_) rest = vcpu->Pause() && rest;
  return rest;
}

bool KvmSession::resting() {
  return std::all_of(vcpus_.begin(), vcpus_.end(), [](const auto& vcpu) { return vcpu->resting(); });
}

// Every vCPU ends its old instruction; when the last one has, the interrupt controllers are as new; then every vCPU is.
// An interrupt of the old life thus finds no vCPU of the new one.
void KvmSession::Reset() {
  if (!open()) return;
  {
    std::lock_guard lock(mutex_);
    reset_error_.clear();
    to_finish_ = to_restore_ = static_cast<unsigned>(vcpus_.size());
  }
  // The order first: then a vCPU whose request is aborted finds it and starts no further access.
  for (const auto& vcpu : vcpus_) vcpu->FinishInstruction();
  io_.channel().Abort();
}

void KvmSession::Finished(const std::string& error) {
  std::lock_guard lock(mutex_);
  if (reset_error_.empty()) reset_error_ = error;
  if (--to_finish_ != 0) return;
  try {
    vm_.ResetIrqChips();
  } catch (const SysError& failure) {
    if (reset_error_.empty()) reset_error_ = failure.what();
  }
  for (const auto& vcpu : vcpus_) vcpu->Restore();
}

void KvmSession::Restored(const std::string& error) {
  std::lock_guard lock(mutex_);
  if (reset_error_.empty()) reset_error_ = error;
  if (--to_restore_ != 0) return;
  stop_.reset();
  waker_.Raise(kResetDone);
}

void KvmSession::Ended(const VcpuStop& stop) {
  std::lock_guard lock(mutex_);
  if (closing_ || stop_) return;
  stop_ = stop;
  halts_.Cancel();
  for (const auto& vcpu : vcpus_) {
    if (vcpu->index() != stop.vcpu) vcpu->Pause();
  }
  waker_.Raise(kStopped);
}

void KvmSession::CheckHalted() {
  // A round that is not over by now has been overtaken by something.
  halts_.Cancel();
  bool quiet = open();
  for (const auto& vcpu : vcpus_) quiet = vcpu->Quiet() && quiet;
  if (!quiet) return;
  halts_.Begin();
  for (const auto& vcpu : vcpus_) vcpu->Look();
}

void KvmSession::SetIrqLine(unsigned gsi, bool level) {
  if (open()) vm_.SetIrqLine(gsi, level);
}

void KvmSession::SignalMsi(std::uint64_t address, std::uint32_t data) {
  if (open()) vm_.SignalMsi(address, data);
}

int KvmSession::OpenIrqfd(unsigned gsi) {
  if (!open()) throw SysError("KVM_IRQFD", EBADF);
  if (gsi >= KvmVm::kIrqLines) throw SysError("KVM_IRQFD", EINVAL);
  auto irqfd = std::make_unique<Irqfd>(vm_.fd(), gsi);
  const int fd = irqfd->fd();
  irqfds_[fd] = std::move(irqfd);
  return fd;
}

std::optional<VcpuStop> KvmSession::stop() {
  std::lock_guard lock(mutex_);
  return open() ? stop_ : std::nullopt;
}

std::string KvmSession::reset_error() {
  if (!open()) return "the machine is closed";
  std::lock_guard lock(mutex_);
  return reset_error_;
}

void KvmSession::Close(std::function<void()> closed) {
  if (open()) {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    // A thread may wait for a device: nobody will answer any more, so it gets all ones.
    io_.channel().Abort();
    for (const auto& vcpu : vcpus_) vcpu->BeginStop();
    halts_.Cancel();
    for (const auto& vcpu : vcpus_) vcpu->Join();
    vcpus_.clear();
    io_.ThreadsEnded();
    for (auto& doorbell : doorbells_) doorbell.reset();
    irqfds_.clear();
    vm_.Close();
  }
  waker_.Close(std::move(closed));
}

void KvmSession::ReleaseMemory() {
  io_.Unmap();
  ram_.Release();
}

}  // namespace trapline
