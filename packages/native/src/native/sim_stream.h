// Accesses as data, as packages/core/src/backend/stream.ts compiles them: the same streams give the same accesses here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ioreq_channel.h"

namespace trapline {

/** One access of the list. */
struct StreamAccess {
  Access access;
  /** Write what was read last instead of the value. */
  bool last = false;
};

struct Stream {
  /** 32-bit words of one access in `words` of `FromWords`: `STREAM_WORDS`. */
  static constexpr std::size_t kWords = 6;

  std::vector<StreamAccess> accesses;
  bool random = false;
  /** Not 0. */
  std::uint32_t seed = 1;
  std::uint64_t count = 0;
  /** Host time between two accesses. */
  std::uint32_t gap_us = 0;

  /** The accesses that `words` compiles to. @throws SysError EINVAL for what no compiler of streams gives */
  static std::vector<StreamAccess> FromWords(const std::int32_t* words, std::size_t size);
};

/** Which access of a list comes next: `StreamCursor` of stream.ts. */
class StreamCursor {
 public:
  StreamCursor(std::size_t length, bool random, std::uint32_t seed) : length_(length), random_(random), state_(seed) {}

  std::size_t Next() {
    if (!random_) {
      const std::size_t at = next_;
      next_ = at + 1 < length_ ? at + 1 : 0;
      return at;
    }
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_ % length_;
  }

 private:
  std::size_t length_;
  bool random_;
  std::uint32_t state_;
  std::size_t next_ = 0;
};

/** The value that an access of `size` bytes carries. */
inline std::uint64_t MaskToSize(std::uint64_t value, std::uint32_t size) {
  return size >= 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

/** The next checksum after a read of `value`: `mixRead` of stream.ts. */
inline std::uint32_t MixRead(std::uint32_t checksum, std::uint64_t value) {
  constexpr std::uint32_t kPrime = 0x01000193;
  checksum = (checksum ^ static_cast<std::uint32_t>(value)) * kPrime;
  return (checksum ^ static_cast<std::uint32_t>(value >> 32)) * kPrime;
}

}  // namespace trapline
