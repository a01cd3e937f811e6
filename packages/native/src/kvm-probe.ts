// What a look at /dev/kvm means, in words.
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { type BackendCapabilities, SLOT_COUNT } from '@trapline/core';
import type { KvmFacts } from './addon.js';

const KVM_API_VERSION = 12;
const GIB = 2 ** 30;
const HOLE_START = 3 * GIB;
const HOLE_END = 4 * GIB;

/** Most guest RAM: 3 GiB below the hole and as much as one ArrayBuffer holds on every supported Node above it. */
export const MAX_MEMORY = 6 * GIB;

/** One slot of the page for each. */
export const MAX_VCPUS = SLOT_COUNT;

/** Inputs of the in-kernel PIC and I/O APIC. */
export const IRQ_LINES = 24;

/** Why KVM cannot be used and what to do, or undefined if it can. */
export function explainKvm(device: string, facts: KvmFacts): { reason: string; fix: string } | undefined {
  const { ENOENT, EACCES, EPERM } = constants.errno;
  switch (facts.openError) {
    case 0:
      break;
    case ENOENT:
      return {
        reason: `there is no ${device}`,
        fix: 'load kvm_intel or kvm_amd; inside a VM enable nested virtualization, inside a container pass the device in',
      };
    case EACCES:
    case EPERM:
      return {
        reason: `no permission to open ${device}`,
        fix: `sudo usermod -aG kvm $USER and log in again, or sudo setfacl -m u:$USER:rw ${device}`,
      };
    default:
      return {
        reason: `${device} cannot be opened: ${getSystemErrorName(-facts.openError)}`,
        fix: 'check that virtualization is enabled in the firmware and that no other hypervisor owns the CPU',
      };
  }
  if (facts.apiVersion < 0) {
    return {
      reason: `${device} is not KVM: ${getSystemErrorName(facts.apiVersion)}`,
      fix: 'give the path of the KVM device',
    };
  }
  if (facts.apiVersion !== KVM_API_VERSION) {
    return {
      reason: `${device} has KVM API version ${facts.apiVersion}, not ${KVM_API_VERSION}`,
      fix: 'use a kernel whose KVM has the stable API',
    };
  }
  if (facts.missing !== undefined) {
    return {
      reason: `${device} lacks ${facts.missing}`,
      fix: 'use a newer kernel, built with full KVM support for x86',
    };
  }
  return undefined;
}

/**
 * What KVM can do here.
 * @param memory guest RAM in bytes; the most there can be if it is not known yet
 */
export function kvmCapabilities(physicalBits: number, memory = MAX_MEMORY): BackendCapabilities {
  return {
    architecture: 'x86_64',
    maxVcpus: MAX_VCPUS,
    maxMemory: MAX_MEMORY,
    irqLines: IRQ_LINES,
    msi: true,
    deferral: true,
    ioeventfd: true,
    irqfd: true,
    snapshot: false,
    deterministicClock: false,
    mmioWindows: mmioWindows(physicalBits, memory),
    guests: ['flat'],
    splitsMmioReads: false,
  };
}

/** Everything that is neither RAM nor served inside the kernel. */
function mmioWindows(physicalBits: number, memory: number): [first: number, last: number][] {
  const low = Math.min(memory, HOLE_START);
  const top = HOLE_END + memory - low;
  return [
    [low, 0xfebf_ffff],
    // I/O APIC, local APIC, and the pages KVM itself needs for real mode on older Intel CPUs.
    [0xfec0_1000, 0xfedf_ffff],
    [0xfee0_1000, 0xfffb_bfff],
    [0xfffc_0000, 0xffff_ffff],
    [top, Math.min(2 ** physicalBits, Number.MAX_SAFE_INTEGER + 1) - 1],
  ];
}
