// SPDX-License-Identifier: Apache-2.0
//
// What the benchmarks compare with: the smallest loop around KVM_RUN that runs guest.S, in C, with the devices inline
// where KVM returns. Nothing can serve an access that leaves the kernel faster than this.
//
//     bare IMAGE
//
// Prints what the guest prints, then, on standard error, how often each of the two registers was read.
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 16 << 20, LOADED_AT = 0x1000, MOST_CPUID = 256 };
enum { UART = 0x3f8, UART_END = 0x400, PRINT_PORT = 0xe9, EXIT_PORT = 0xf4 };
enum { SCRATCH = 7, LINE_STATUS = 5, HPET_CONFIG = 0x10, HPET_COUNTER = 0xf0, HPET_SIZE = 0x400 };
static const uint64_t HPET = 0xfed00000, TSS = 0xfffbd000, IDENTITY_MAP = 0xfffbc000;

static int check(int result, const char *what) {
  if (result < 0) err(1, "%s", what);
  return result;
}

static void load(const char *path, unsigned char *memory) {
  int image = check(open(path, O_RDONLY | O_CLOEXEC), path);
  check((int)read(image, memory + LOADED_AT, MEMORY - LOADED_AT), path);
  close(image);
}

int main(int argc, char **argv) {
  if (argc != 2) errx(2, "usage: bare IMAGE");
  // As Trapline sets its machines up: PICs, I/O APIC and local APIC in the kernel, and the CPUID KVM supports.
  int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  uint64_t identity = IDENTITY_MAP;
  check(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
  check(ioctl(vm, KVM_SET_TSS_ADDR, TSS), "KVM_SET_TSS_ADDR");
  check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
  unsigned char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) err(1, "guest memory");
  struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  load(argv[1], memory);

  int vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + MOST_CPUID * sizeof cpuid->entries[0]);
  if (!cpuid) err(1, "CPUID");
  cpuid->nent = MOST_CPUID;
  check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
  check(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.selector = 0;
  sregs.cs.base = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = LOADED_AT, .rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  size_t run_size = (size_t)check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) err(1, "struct kvm_run");

  unsigned long scratch_reads = 0, counter_reads = 0;
  uint8_t scratch = 0;
  uint32_t config = 0, counter = 0;
  for (;;) {
    check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    switch (run->exit_reason) {
      case KVM_EXIT_IO: {
        unsigned char *data = (unsigned char *)run + run->io.data_offset;
        int out = run->io.direction == KVM_EXIT_IO_OUT;
        if (run->io.port >= UART && run->io.port < UART_END) {
          int offset = run->io.port - UART;
          if (offset == SCRATCH) {
            if (out) {
              scratch = *data;
            } else {
              *data = scratch;
              scratch_reads++;
            }
          } else if (!out) {
            *data = offset == LINE_STATUS ? 0x60 : 0;
          }
        } else if (run->io.port == PRINT_PORT && out) {
          putchar(*data);
        } else if (run->io.port == EXIT_PORT && out) {
          fflush(stdout);
          fprintf(stderr, "%lu %lu\n", scratch_reads, counter_reads);
          return *data;
        } else {
          errx(1, "port 0x%x", run->io.port);
        }
        break;
      }
      case KVM_EXIT_MMIO: {
        uint64_t offset = run->mmio.phys_addr - HPET;
        if (offset >= HPET_SIZE || run->mmio.len != 4) errx(1, "address 0x%llx", run->mmio.phys_addr);
        uint32_t *reg = offset == HPET_COUNTER ? &counter : offset == HPET_CONFIG ? &config : NULL;
        if (!reg) errx(1, "HPET register 0x%x", (unsigned)offset);
        if (run->mmio.is_write) {
          memcpy(reg, run->mmio.data, 4);
        } else {
          memcpy(run->mmio.data, reg, 4);
          counter_reads += offset == HPET_COUNTER;
        }
        break;
      }
      default:
        errx(1, "KVM left the guest for reason %u", run->exit_reason);
    }
  }
}
