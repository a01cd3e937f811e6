// Whether spinning can help: only where a thread that spins does not keep the one it waits for from running.
#pragma once

namespace trapline {

/** CPUs this process may run on, as its affinity mask was when the first machine was opened. */
unsigned UsableCpus();
/** vCPU threads of this process, of all its machines. */
unsigned VcpuThreads();
/** More usable CPUs than vCPU threads? */
bool SpinningHelps();

/** Counts the vCPU threads of one machine as long as it lives. */
class VcpuThreadCount {
 public:
  explicit VcpuThreadCount(unsigned threads);
  ~VcpuThreadCount();
  VcpuThreadCount(const VcpuThreadCount&) = delete;
  VcpuThreadCount& operator=(const VcpuThreadCount&) = delete;

 private:
  const unsigned threads_;
};

}  // namespace trapline
