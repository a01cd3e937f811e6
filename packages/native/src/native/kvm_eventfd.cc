#include "kvm_eventfd.h"

#include <sys/eventfd.h>

namespace trapline {

bool KernelDoorbell::Fits(const Service& service) {
  return service.kind == ServiceKind::kDoorbell && service.match && (service.widths & service.size) != 0;
}

KernelDoorbell::KernelDoorbell(int vm, uv_loop_t* loop, const Service& service, std::function<void()> rung)
    : vm_(vm),
      event_(Check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      poll_(loop, event_.get(), std::move(rung)) {
  request_.addr = service.base;
  request_.len = service.size;
  request_.datamatch = *service.match;
  request_.fd = event_.get();
  request_.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  if (service.space == RequestType::kPio) request_.flags |= KVM_IOEVENTFD_FLAG_PIO;
  Check(::ioctl(vm_, KVM_IOEVENTFD, &request_), "KVM_IOEVENTFD");
  bound_ = true;
}

std::uint64_t KernelDoorbell::Take() {
  std::uint64_t count = 0;
  // EAGAIN: it was not rung.
  if (::read(event_.get(), &count, sizeof count) == sizeof count) return count;
  if (errno != EAGAIN) throw SysError("read(eventfd)", errno);
  return 0;
}

void KernelDoorbell::Unbind() {
  if (!bound_) return;
  bound_ = false;
  request_.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
  // Refused only if there is no such binding, which is what we want.
  (void)::ioctl(vm_, KVM_IOEVENTFD, &request_);
}

Irqfd::Irqfd(int vm, unsigned gsi) : vm_(vm), event_(Check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {
  request_.fd = static_cast<std::uint32_t>(event_.get());
  request_.gsi = gsi;
  Check(::ioctl(vm_, KVM_IRQFD, &request_), "KVM_IRQFD");
}

Irqfd::~Irqfd() {
  request_.flags = KVM_IRQFD_FLAG_DEASSIGN;
  // Closing the last copy of the descriptor would do, but somebody may have duplicated it.
  (void)::ioctl(vm_, KVM_IRQFD, &request_);
}

}  // namespace trapline
