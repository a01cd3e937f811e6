#include "kvm_vcpu.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <pthread.h>
#include <signal.h>

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

KvmVcpu::KvmVcpu(const Machine& machine, unsigned index, const Cpuid& cpuid, std::uint16_t entry)
    : machine_(machine), index_(index), gate_([this] { machine_.listener.Resting(); }) {
  KvmVm& vm = machine_.vm;
  fd_ = UniqueFd(Check(::ioctl(vm.fd(), KVM_CREATE_VCPU, index), "KVM_CREATE_VCPU"));
  run_mapping_ = Mapping(fd_.get(), static_cast<std::size_t>(vm.vcpu_mmap_size()));
  run_ = reinterpret_cast<kvm_run*>(run_mapping_.data());
  SetCpuid(fd_.get(), cpuid);
  LetKickInterruptRun(fd_.get());
  initial_ = VcpuState::Save(vm.system_fd(), fd_.get());
  // vCPU 0 is the bootstrap processor; KVM has put the others where a PC's are, waiting for INIT.
  if (index == 0) {
    initial_.EnterRealMode(entry);
    initial_.Restore(fd_.get());
  }

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

void KvmVcpu::BeginStop() {
  if (!thread_.joinable()) return;
  gate_.Give(Order::kStop);
  Kick();
}

void KvmVcpu::Join() {
  if (!thread_.joinable()) return;
  thread_.join();
  run_mapping_.Unmap();
  fd_.Reset();
}

void KvmVcpu::Kick() { ::pthread_kill(thread_.native_handle(), kKick); }

bool KvmVcpu::Quiet() {
  const std::uint32_t before = seen_exits_;
  seen_exits_ = exits_.load(std::memory_order_relaxed);
  return gate_.in_guest() && seen_exits_ == before;
}

void KvmVcpu::Look() {
  look_.store(true);
  Kick();
}

void KvmVcpu::ThreadMain() {
  bool ended = false;
  for (;;) {
    switch (const Order order = gate_.Wait(ended)) {
      case Order::kStop:
        return;
      case Order::kFinish: {
        const std::string error = DoFinish();
        gate_.Done(order);
        machine_.listener.Finished(error);
        break;
      }
      case Order::kReset: {
        const std::string error = DoRestore();
        ended = false;
        gate_.Done(order);
        machine_.listener.Restored(error);
        break;
      }
      default:
        if (!RunOnce()) ended = true;
    }
  }
}

bool KvmVcpu::RunOnce() {
  unfinished_ = false;
  if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno == EINTR || errno == EAGAIN) {
      FetchKick();
      return !look_.exchange(false) || LookForHalt();
    }
    return Fail(std::string("KVM_RUN: ") + std::strerror(errno));
  }
  exits_.store(exits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Whoever leaves the guest by itself is not asleep.
  if (look_.load(std::memory_order_relaxed) && look_.exchange(false)) machine_.halts.Cancel();
  return HandleExit();
}

bool KvmVcpu::LookForHalt() {
  for (int look = 0; look < 2; look++) {
    if (!machine_.halts.Report(Dead())) return true;
  }
  return End({VcpuStop::Reason::kHalted, {}, 0, 0, 0, 0});
}

bool KvmVcpu::Dead() {
  kvm_mp_state mp{};
  kvm_regs regs{};
  kvm_vcpu_events events{};
  // Takes in INITs and SIPIs that have arrived. Where one of these fails, KVM_RUN will say why.
  if (::ioctl(fd_.get(), KVM_GET_MP_STATE, &mp) < 0) return false;
  if (mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED) return true;
  if (mp.mp_state != KVM_MP_STATE_HALTED) return false;
  if (::ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0 || ::ioctl(fd_.get(), KVM_GET_VCPU_EVENTS, &events) < 0) return false;
  constexpr std::uint64_t kInterruptFlag = 1u << 9;
  return (regs.rflags & kInterruptFlag) == 0 && events.nmi.pending == 0 && events.nmi.injected == 0 &&
         events.smi.pending == 0;
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
      return End({VcpuStop::Reason::kHalted, {}, 0, 0, 0, 0});
    case KVM_EXIT_SHUTDOWN:
      return End({VcpuStop::Reason::kTripleFault, {}, 0, 0, 0, 0});
    case KVM_EXIT_SYSTEM_EVENT:
      if (run_->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) {
        return End({VcpuStop::Reason::kPowerOff, {}, 0, 0, 0, 0});
      }
      if (run_->system_event.type == KVM_SYSTEM_EVENT_RESET) return End({VcpuStop::Reason::kReset, {}, 0, 0, 0, 0});
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
  std::uint64_t value = 0;
  MachineIo& io = machine_.io;
  if (io.services().Serve(access, value)) return value;
  io.channel().Post(index_, access);
  gate_.EnterDevice();
  return Mask(io.channel().Await(index_), access.size);
}

std::string KvmVcpu::DoFinish() {
  // KVM would finish an old instruction upon new registers. Each round lets it take the value of one access, without
  // entering the guest; the instruction may have another one (a second page), which gets all ones. A few rounds at
  // most: KVM returns to us before it repeats a string instruction.
  std::string error;
  run_->immediate_exit = 1;
  while (unfinished_) {
    unfinished_ = false;
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
      if (errno != EINTR && errno != EAGAIN) error = SysError("KVM_RUN", errno).what();
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
  look_.store(false);
  return error;
}

std::string KvmVcpu::DoRestore() {
  try {
    initial_.Restore(fd_.get());
    return {};
  } catch (const SysError& failure) {
    return failure.what();
  }
}

bool KvmVcpu::End(VcpuStop stop) {
  kvm_regs regs{};
  if (::ioctl(fd_.get(), KVM_GET_REGS, &regs) == 0) stop.rip = regs.rip;
  stop.exit_reason = run_->exit_reason;
  stop.vcpu = index_;
  machine_.listener.Ended(stop);
  return false;
}

bool KvmVcpu::Fail(const std::string& message, std::uint32_t suberror) {
  VcpuStop stop;
  stop.message = message;
  stop.suberror = suberror;
  return End(std::move(stop));
}

}  // namespace trapline
