// Runs the tests one after the other, each in a child process with a time limit.
//   test [--list] [PART OF A NAME]
//   TRAPLINE_TEST_SECONDS   the limit of each test; 60
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

// A sanitizer's report ends the test that caused it.
extern "C" const char* __asan_default_options() { return "abort_on_error=0:detect_stack_use_after_return=1"; }
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1"; }
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

namespace trapline::test {

namespace {

struct Test {
  const char* name;
  void (*body)();
};

std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

constexpr int kFailed = 1;
constexpr int kSkipped = 77;

/** In the child. Ends by `exit`, so that the sanitizers see the end. */
[[noreturn]] void Run(const Test& test) {
  int result = 0;
  // What was said before a crash or the time limit must not get lost.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    test.body();
  } catch (const Skip& skip) {
    std::printf("     %s\n", skip.what());
    result = kSkipped;
  } catch (const Failure&) {
    result = kFailed;
  } catch (const std::exception& failure) {
    std::printf("     %s\n", failure.what());
    result = kFailed;
  }
  std::fflush(stdout);
  std::exit(result);
}

/** @returns the child's wait status, or -1 after it was killed at the limit */
int WaitFor(pid_t child, int seconds) {
  int status = 0;
  // A pidfd becomes readable when the process ends; without one (before Linux 5.3) there is no limit.
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  pollfd ended{fd, POLLIN, 0};
  const bool late = fd >= 0 && ::poll(&ended, 1, seconds * 1000) == 0;
  if (late) ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  if (fd >= 0) ::close(fd);
  return late ? -1 : status;
}

}  // namespace

Registration::Registration(const char* name, void (*body)()) { Tests().push_back({name, body}); }

int Main(int count, char** arguments) {
  const char* limit = std::getenv("TRAPLINE_TEST_SECONDS");
  const int seconds = limit == nullptr ? 60 : std::atoi(limit);
  const char* filter = count > 1 ? arguments[1] : "";
  const bool list = std::strcmp(filter, "--list") == 0;
  int passed = 0, failed = 0, skipped = 0;
  for (const Test& test : Tests()) {
    if (list) {
      std::printf("%s\n", test.name);
      continue;
    }
    if (std::strstr(test.name, filter) == nullptr) continue;
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child < 0) {
      std::perror("fork");
      return 1;
    }
    if (child == 0) Run(test);
    const int status = WaitFor(child, seconds);
    if (status == 0) {
      passed++;
      std::printf("ok   %s\n", test.name);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
      skipped++;
      std::printf("skip %s\n", test.name);
    } else {
      failed++;
      std::string how;
      if (status < 0) {
        how = " (over " + std::to_string(seconds) + " s)";
      } else if (WIFSIGNALED(status)) {
        how = std::string(" (") + ::strsignal(WTERMSIG(status)) + ")";
      } else if (WEXITSTATUS(status) != kFailed) {
        how = " (status " + std::to_string(WEXITSTATUS(status)) + ")";
      }
      std::printf("FAIL %s%s\n", test.name, how.c_str());
    }
  }
  if (!list) std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  // A filter that names no test proves nothing.
  return failed > 0 || (!list && passed + failed + skipped == 0) ? 1 : 0;
}

}  // namespace trapline::test

int main(int count, char** arguments) { return trapline::test::Main(count, arguments); }
