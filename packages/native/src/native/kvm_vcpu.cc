#include "kvm_vcpu.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <pthread.h>
#include <signal.h>

#include "kvm_cpuid.h"
#include "quiet_thread.h"

namespace trapline {

namespace {

// Takes a vCPU out of KVM_RUN. A library installs no signal handler, and none is needed: the signal stays blocked
// in the thread and only KVM_RUN lets it in (KVM_SET_SIGNAL_MASK), which then returns EINTR; the signal itself is
// fetched by sigtimedwait. One sent just before KVM_RUN is still pending there, so no kick is lost. Of all
// signals this one is ignored by default, should it ever get out.
constexpr int kKick = SIGURG;

void LetKickInterruptRun(int vcpu) {
  sigset_t mask;
  sigfillset(&mask);
  sigdelset(&mask, kKick);
  KvmSignalMask argument;
  std::memcpy(argument.set, &mask, sizeof argument.set);
  Check(::ioctl(vcpu, kvm_ioctl::kSetSignalMask, &argument), "KVM_SET_SIGNAL_MASK");
}

void FetchKick() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kKick);
  const timespec now{};
  while (::sigtimedwait(&set, nullptr, &now) == kKick) {
  }
}

std::string Hex(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::uint64_t Mask(std::uint64_t value, std::uint32_t size) {
  return size >= 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

const char* InternalErrorName(std::uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION: return "an instruction it cannot emulate";
    case KVM_INTERNAL_ERROR_SIMUL_EX: return "an exception while delivering another";
    case KVM_INTERNAL_ERROR_DELIVERY_EV: return "an exit while delivering an event";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: return "an exit it does not know";
    default: return "an internal error";
  }
}

}  // namespace

KvmVcpu::KvmVcpu(KvmVm& vm, IoreqChannel& channel, unsigned index, std::uint16_t entry, Events events)
    : vm_(vm), channel_(channel), index_(index), events_(std::move(events)), gate_(events_.resting) {
  fd_ = UniqueFd(Check(::ioctl(vm.fd(), KVM_CREATE_VCPU, index), "KVM_CREATE_VCPU"));
  run_mapping_ = Mapping(fd_.get(), static_cast<std::size_t>(vm.vcpu_mmap_size()));
  run_ = reinterpret_cast<kvm_run*>(run_mapping_.data());
  SetGuestCpuid(fd_.get(), SupportedCpuid(vm.system_fd()));
  LetKickInterruptRun(fd_.get());
  initial_ = VcpuState::Save(vm.system_fd(), fd_.get());
  initial_.EnterRealMode(entry);
  initial_.Restore(fd_.get());

  thread_ = QuietThread("trapline-vcpu" + std::to_string(index_), [this] { ThreadMain(); });
}

bool KvmVcpu::Pause() {
  gate_.Give(Order::kPause);
  if (gate_.resting()) return true;
  Kick();
  return false;
}

void KvmVcpu::Hold(bool held) {
  gate_.Hold(held);
  if (held) Kick();
}

void KvmVcpu::Stop() {
  if (!thread_.joinable()) return;
  gate_.Give(Order::kStop);
  Kick();
  thread_.join();
  run_mapping_.Unmap();
  fd_.Reset();
}

void KvmVcpu::Kick() { ::pthread_kill(thread_.native_handle(), kKick); }

std::optional<VcpuStop> KvmVcpu::stop() {
  std::lock_guard lock(stop_mutex_);
  return stop_;
}

std::string KvmVcpu::reset_error() {
  std::lock_guard lock(stop_mutex_);
  return reset_error_;
}

void KvmVcpu::ThreadMain() {
  bool ended = false;
  for (;;) {
    switch (gate_.Wait(ended)) {
      case Order::kStop:
        return;
      case Order::kReset:
        DoReset();
        ended = false;
        gate_.ResetDone();
        events_.reset_done();
        break;
      default:
        if (!RunOnce()) {
          ended = true;
          events_.stopped();
        }
    }
  }
}

bool KvmVcpu::RunOnce() {
  unfinished_ = false;
  if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno == EINTR || errno == EAGAIN) {
      FetchKick();
      return true;
    }
    return Fail(std::string("KVM_RUN: ") + std::strerror(errno));
  }
  return HandleExit();
}

bool KvmVcpu::HandleExit() {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      ServePio();
      return true;
    case KVM_EXIT_MMIO:
      ServeMmio();
      return true;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return true;
    case KVM_EXIT_HLT:
      return End({VcpuStop::Reason::kHalted, {}, 0, 0, 0});
    case KVM_EXIT_SHUTDOWN:
      return End({VcpuStop::Reason::kTripleFault, {}, 0, 0, 0});
    case KVM_EXIT_SYSTEM_EVENT:
      if (run_->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) return End({VcpuStop::Reason::kPowerOff, {}, 0, 0, 0});
      if (run_->system_event.type == KVM_SYSTEM_EVENT_RESET) return End({VcpuStop::Reason::kReset, {}, 0, 0, 0});
      return Fail("KVM reports system event " + std::to_string(run_->system_event.type));
    case KVM_EXIT_INTERNAL_ERROR:
      return Fail(std::string("KVM met ") + InternalErrorName(run_->internal.suberror) + " (suberror " +
                      std::to_string(run_->internal.suberror) + ")",
                  run_->internal.suberror);
    case KVM_EXIT_FAIL_ENTRY:
      return Fail("the CPU refused to enter the guest (hardware reason " +
                  Hex(run_->fail_entry.hardware_entry_failure_reason) + ")");
    default:
      return Fail("KVM left the guest for reason " + std::to_string(run_->exit_reason) + ", which is not handled");
  }
}

void KvmVcpu::ServePio() {
  const std::uint32_t size = run_->io.size;
  const bool write = run_->io.direction == KVM_EXIT_IO_OUT;
  auto* data = reinterpret_cast<unsigned char*>(run_) + run_->io.data_offset;
  // `rep ins` and `rep outs` arrive with many elements at once; a device sees one access each, as on ACRN.
  for (std::uint32_t i = 0; i < run_->io.count; i++, data += size) {
    std::uint64_t value = 0;
    if (write) std::memcpy(&value, data, size);
    value = Transact({RequestType::kPio, write, run_->io.port, size, value});
    if (!write) std::memcpy(data, &value, size);
  }
  unfinished_ = true;
}

void KvmVcpu::ServeMmio() {
  const bool write = run_->mmio.is_write != 0;
  const std::uint64_t address = run_->mmio.phys_addr;
  // An access across a page boundary arrives as two, of any length up to 7: hand on power-of-two pieces.
  for (std::uint32_t done = 0; done < run_->mmio.len;) {
    const std::uint32_t rest = run_->mmio.len - done;
    const std::uint32_t size = rest >= 8 ? 8 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
    std::uint64_t value = 0;
    if (write) std::memcpy(&value, run_->mmio.data + done, size);
    value = Transact({RequestType::kMmio, write, address + done, size, value});
    if (!write) std::memcpy(run_->mmio.data + done, &value, size);
    done += size;
  }
  unfinished_ = true;
}

std::uint64_t KvmVcpu::Transact(const Access& access) {
  // Between two parts of one access a pause takes effect as well; after a reset or a stop was ordered, the rest of
  // the access goes nowhere.
  if (gate_.Wait(false) != Order::kRun) return ~std::uint64_t{0};
  channel_.Post(index_, access);
  gate_.EnterDevice();
  return Mask(channel_.Await(index_), access.size);
}

void KvmVcpu::FinishInstruction() {
  // Each round lets KVM take the value of one access; the instruction may have another one (a second page), which
  // gets all ones. A few rounds at most: KVM returns to us before it repeats a string instruction.
  run_->immediate_exit = 1;
  while (unfinished_) {
    unfinished_ = false;
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
      if (errno != EINTR && errno != EAGAIN) throw SysError("KVM_RUN", errno);
    } else if (run_->exit_reason == KVM_EXIT_IO) {
      if (run_->io.direction == KVM_EXIT_IO_IN) {
        auto* data = reinterpret_cast<unsigned char*>(run_) + run_->io.data_offset;
        std::memset(data, 0xff, std::size_t{run_->io.size} * run_->io.count);
      }
      unfinished_ = true;
    } else if (run_->exit_reason == KVM_EXIT_MMIO) {
      if (!run_->mmio.is_write) std::memset(run_->mmio.data, 0xff, sizeof run_->mmio.data);
      unfinished_ = true;
    }
  }
  run_->immediate_exit = 0;
  FetchKick();
}

void KvmVcpu::DoReset() {
  std::string error;
  try {
    // KVM would finish an old instruction upon the new registers.
    FinishInstruction();
    vm_.ResetIrqChips();
    initial_.Restore(fd_.get());
  } catch (const SysError& failure) {
    run_->immediate_exit = 0;
    error = failure.what();
  }
  std::lock_guard lock(stop_mutex_);
  reset_error_ = error;
  stop_.reset();
}

bool KvmVcpu::End(VcpuStop stop) {
  kvm_regs regs{};
  if (::ioctl(fd_.get(), KVM_GET_REGS, &regs) == 0) stop.rip = regs.rip;
  stop.exit_reason = run_->exit_reason;
  std::lock_guard lock(stop_mutex_);
  stop_ = std::move(stop);
  return false;
}

bool KvmVcpu::Fail(const std::string& message, std::uint32_t suberror) {
  VcpuStop stop;
  stop.message = message;
  stop.suberror = suberror;
  return End(std::move(stop));
}

}  // namespace trapline
