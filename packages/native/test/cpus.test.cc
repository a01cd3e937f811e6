#include "cpus.h"

#include "harness.h"

using namespace trapline;

TEST("cpus: vCPU threads count as long as they live, and spinning helps while there is a CPU more") {
  CHECK(UsableCpus() >= 1);
  CHECK_EQ(VcpuThreads(), 0u);
  CHECK(SpinningHelps());
  {
    VcpuThreadCount most(UsableCpus() - 1);
    CHECK(SpinningHelps());
    VcpuThreadCount one(1);
    CHECK_EQ(VcpuThreads(), UsableCpus());
    CHECK(!SpinningHelps());
  }
  CHECK_EQ(VcpuThreads(), 0u);
  CHECK(SpinningHelps());
}
