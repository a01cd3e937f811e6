// Owners of what the kernel hands out, and the check every system call goes through.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace trapline {

/** A system call that failed: which one, and its errno. */
class SysError : public std::runtime_error {
 public:
  SysError(const char* call, int error)
      : std::runtime_error(std::string(call) + ": " + std::strerror(error)), call_(call), error_(error) {}
  const char* call() const { return call_; }
  int error() const { return error_; }

 private:
  const char* call_;
  int error_;
};

/** Passes a result on, or throws what errno says if it is negative. */
inline int Check(int result, const char* call) {
  if (result < 0) throw SysError(call, errno);
  return result;
}

/** Owns one file descriptor. */
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // close() releases the number even where it reports an error, so there is nothing to retry.
  void Reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

/** Owns one shared mapping. */
class Mapping {
 public:
  Mapping() = default;
  /** Maps `size` bytes of `fd`, or anonymous memory where `fd` is -1. */
  Mapping(int fd, std::size_t size) : size_(size) {
    const int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) throw SysError("mmap", errno);
    data_ = static_cast<unsigned char*>(at);
  }
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      Unmap();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~Mapping() { Unmap(); }

  unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }
  /** Idempotent. Nobody may hold a pointer into the mapping any more. */
  void Unmap() {
    if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
  }

 private:
  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace trapline
