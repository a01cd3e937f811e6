#include "sim_stream.h"

namespace trapline {

namespace {

// STREAM_WORD and STREAM_FLAG of stream.ts.
enum Word { kFlags, kSize, kAddressLow, kAddressHigh, kValueLow, kValueHigh };
enum Flag : std::uint32_t { kWrite = 1, kMmio = 2, kLast = 4 };

}  // namespace

std::vector<StreamAccess> Stream::FromWords(const std::int32_t* words, std::size_t size) {
  if (size % kWords != 0) throw SysError("stream", EINVAL);
  std::vector<StreamAccess> accesses;
  accesses.reserve(size / kWords);
  for (std::size_t at = 0; at < size; at += kWords) {
    const auto word = [&](Word which) { return static_cast<std::uint32_t>(words[at + which]); };
    const auto pair = [&](Word low, Word high) { return std::uint64_t{word(high)} << 32 | word(low); };
    const std::uint32_t flags = word(kFlags), bytes = word(kSize);
    const RequestType type = flags & kMmio ? RequestType::kMmio : RequestType::kPio;
    const std::uint32_t most = type == RequestType::kMmio ? 8 : 4;
    if (bytes == 0 || bytes > most || (bytes & (bytes - 1)) != 0) throw SysError("stream", EINVAL);
    const std::uint64_t value = MaskToSize(pair(kValueLow, kValueHigh), bytes);
    accesses.push_back(
        {{type, (flags & kWrite) != 0, pair(kAddressLow, kAddressHigh), bytes, value}, (flags & kLast) != 0});
  }
  return accesses;
}

}  // namespace trapline
