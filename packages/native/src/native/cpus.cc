#include "cpus.h"

#include <atomic>

#include <sched.h>

namespace trapline {

namespace {

std::atomic<unsigned> vcpu_threads{0};

unsigned CountCpus() {
  cpu_set_t set;
  // More than 1024 CPUs do not fit the set: then there are certainly enough.
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return CPU_SETSIZE;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace

unsigned UsableCpus() {
  static const unsigned cpus = CountCpus();
  return cpus;
}

unsigned VcpuThreads() { return vcpu_threads.load(std::memory_order_relaxed); }

bool SpinningHelps() { return UsableCpus() > VcpuThreads(); }

VcpuThreadCount::VcpuThreadCount(unsigned threads) : threads_(threads) { vcpu_threads.fetch_add(threads); }

VcpuThreadCount::~VcpuThreadCount() { vcpu_threads.fetch_sub(threads_); }

}  // namespace trapline
