// Threads that leave the process's signals to the threads that want them.
#pragma once

#include <string>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

namespace trapline {

/** Starts a thread with every signal blocked. @param name at most 15 characters, for debuggers and `top` */
template <typename Main>
std::thread QuietThread(std::string name, Main main) {
  // A thread inherits its creator's mask.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  struct Restore {
    const sigset_t& mask;
    ~Restore() { ::pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } restore{before};
  return std::thread([name = std::move(name), main = std::move(main)]() mutable {
    ::pthread_setname_np(::pthread_self(), name.c_str());
    main();
  });
}

}  // namespace trapline
