// An event loop that is just enough of libuv for uv_abi.h: poll handles, and closing that takes effect a turn later.
#pragma once

#include <vector>

#include "uv_abi.h"

// libuv's own is opaque to the sources under test.
struct uv_loop_s {
  struct Handle;

  /** One turn: waits up to `milliseconds` (-1: as long as it takes) for a descriptor, then calls back. */
  void Turn(int milliseconds);
  /** Handles that keep the loop alive. */
  unsigned referenced() const;
  unsigned open() const { return static_cast<unsigned>(handles.size()); }

  std::vector<Handle*> handles;
  std::vector<Handle*> closing;
  /** What the next call returns in place of doing anything. */
  int fail_init = 0;
  int fail_start = 0;
};

namespace trapline::test {
using FakeLoop = uv_loop_s;
}
