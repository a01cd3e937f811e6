#include "service_table.h"

#include <atomic>
#include <limits>

#include "harness.h"

using namespace trapline;
using trapline::test::Threads;

namespace {

constexpr std::uint64_t kBase = 0xfee0'0000;

Service Of(ServiceKind kind, std::uint32_t size = 4, std::uint32_t value = 0) {
  Service service;
  service.kind = kind;
  service.space = RequestType::kMmio;
  service.base = kBase;
  service.size = size;
  service.value = value;
  return service;
}

/** A table, what it rang, and accesses to `kBase` and behind. */
struct Fixture {
  std::atomic<unsigned> rung{0};
  ServiceTable table{[this] { rung++; }};

  bool Write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    std::uint64_t untouched = 0xdead;
    const bool served = table.Serve({RequestType::kMmio, true, kBase + offset, size, value}, untouched);
    CHECK_EQ(untouched, 0xdeadu);
    return served;
  }
  std::optional<std::uint64_t> Read(std::uint64_t offset, std::uint32_t size) {
    std::uint64_t value = 0xdead;
    if (table.Serve({RequestType::kMmio, false, kBase + offset, size, 0}, value)) return value;
    CHECK_EQ(value, 0xdeadu);
    return std::nullopt;
  }
  const ServiceRecord& Record(unsigned number) {
    return reinterpret_cast<const ServiceRecord*>(table.mapping().data())[number];
  }
};

constexpr std::optional<std::uint32_t> kNoKick = std::nullopt;
constexpr std::optional<std::uint64_t> kNotServed = std::nullopt;

}  // namespace

TEST("ServiceTable: a constant reads as itself at every width and ignores writes") {
  Fixture f;
  CHECK_EQ(f.table.Add(Of(ServiceKind::kConstant, 4, 0x8765'4321)), 0u);
  CHECK_EQ(f.Read(0, 4), 0x8765'4321u);
  CHECK_EQ(f.Read(0, 2), 0x4321u);
  CHECK_EQ(f.Read(2, 2), 0x8765u);
  CHECK_EQ(f.Read(1, 1), 0x43u);
  CHECK_EQ(f.Read(3, 1), 0x87u);
  CHECK(f.Write(0, 4, 0));
  CHECK_EQ(f.Read(0, 4), 0x8765'4321u);
  CHECK_EQ(f.rung.load(), 0u);
}

TEST("ServiceTable: a latch takes partial writes and leaves the other bytes") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kLatch, 4, 0x1122'3344));
  CHECK_EQ(f.Read(0, 4), 0x1122'3344u);
  CHECK(f.Write(1, 1, 0xaabb));
  CHECK_EQ(f.Read(0, 4), 0x1122'bb44u);
  CHECK(f.Write(2, 2, 0xccdd));
  CHECK_EQ(f.Read(0, 4), 0xccdd'bb44u);
  CHECK(f.Write(0, 4, 0xffff'ffff'0000'0001));
  CHECK_EQ(f.Read(0, 4), 1u);
  CHECK_EQ(f.Record(0).cell, 1u);
  CHECK_EQ(f.rung.load(), 0u);
}

TEST("ServiceTable: two vCPUs that write different bytes of a latch lose neither") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kLatch));
  Threads threads;
  for (unsigned byte = 0; byte < 4; byte++) {
    threads.Start([&, byte] {
      for (unsigned i = 0; i < 20'000; i++) {
        CHECK(f.Write(byte, 1, i));
        CHECK_EQ(f.Read(byte, 1), std::optional<std::uint64_t>(i & 0xff));
      }
    });
  }
  threads.Join();
}

TEST("ServiceTable: a doorbell rings with the value, reads 0, and keeps the order") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  CHECK(f.Write(0, 4, 0x1'0000'0003));
  CHECK(f.Write(0, 2, 0x1'0002));
  CHECK_EQ(f.rung.load(), 2u);
  CHECK_EQ(f.Read(0, 4), 0u);
  CHECK_EQ(f.table.TakeKick(bell), 3u);
  CHECK_EQ(f.table.TakeKick(bell), 2u);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
}

TEST("ServiceTable: equal kicks that were not heard are one, but each rings") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  for (int i = 0; i < 3; i++) CHECK(f.Write(0, 4, 7));
  CHECK_EQ(f.rung.load(), 3u);
  CHECK_EQ(f.table.TakeKick(bell), 7u);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
  CHECK(f.Write(0, 4, 7));
  CHECK_EQ(f.table.TakeKick(bell), 7u);
}

TEST("ServiceTable: a doorbell with a match rings for that value only; others are served in silence") {
  Fixture f;
  Service service = Of(ServiceKind::kDoorbell);
  service.match = 0;
  const unsigned bell = *f.table.Add(service);
  CHECK(f.Write(0, 4, 5));
  CHECK_EQ(f.rung.load(), 0u);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
  CHECK(f.Write(0, 4, 0));
  CHECK_EQ(f.rung.load(), 1u);
  CHECK_EQ(f.table.TakeKick(bell), 0u);
}

TEST("ServiceTable: a write into the middle of a doorbell is served and no kick") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  CHECK(f.Write(2, 2, 5));
  CHECK_EQ(f.rung.load(), 0u);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
  CHECK_EQ(f.Record(bell).writes, 1u);
}

TEST("ServiceTable: a doorbell that is full takes equal kicks still and sends others through the page") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  for (unsigned i = 0; i < ServiceTable::kMaxKicks; i++) CHECK(f.Write(0, 4, i));
  CHECK(f.Write(0, 4, 3));
  const unsigned rung = f.rung;
  const std::uint64_t writes = f.Record(bell).writes;
  CHECK(!f.Write(0, 4, 1000));
  CHECK_EQ(f.rung.load(), rung);
  CHECK_EQ(f.Record(bell).writes, writes);
  CHECK_EQ(f.table.TakeKick(bell), 0u);
  CHECK(f.Write(0, 4, 1000));
}

TEST("ServiceTable: a kick that came by an ioeventfd is in the same queue") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  f.table.Ring(bell, 9, 3);
  CHECK(f.Write(0, 4, 9));
  CHECK_EQ(f.Record(bell).writes, 4u);
  CHECK_EQ(f.Record(bell).bytes_written, 16u);
  CHECK_EQ(f.table.TakeKick(bell), 9u);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
  f.table.Remove(bell);
  f.table.Ring(bell, 9, 1);
  f.table.Ring(ServiceTable::kMaxServices, 9, 1);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
  CHECK_EQ(f.table.TakeKick(ServiceTable::kMaxServices), kNoKick);
}

TEST("ServiceTable: an access is served only where all of it lies in the range") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kConstant, 2, 0x1234));
  CHECK_EQ(f.Read(0, 4), kNotServed);
  CHECK_EQ(f.Read(2, 1), kNotServed);
  CHECK_EQ(f.Read(std::numeric_limits<std::uint64_t>::max(), 1), kNotServed);
  CHECK_EQ(f.Read(std::numeric_limits<std::uint64_t>::max(), 2), kNotServed);
  CHECK_EQ(f.Read(1, 1), 0x12u);
}

TEST("ServiceTable: accesses that are not aligned to their size are not served") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kConstant, 4, 0x1234));
  CHECK_EQ(f.Read(1, 2), kNotServed);
  CHECK_EQ(f.Read(2, 2), 0u);
  CHECK_EQ(f.Read(3, 1), 0u);
}

TEST("ServiceTable: only the widths that the range decodes are served") {
  Fixture f;
  Service service = Of(ServiceKind::kConstant, 4, 0x1234);
  service.widths = 2;
  f.table.Add(service);
  CHECK_EQ(f.Read(0, 1), kNotServed);
  CHECK_EQ(f.Read(0, 2), 0x1234u);
  CHECK_EQ(f.Read(0, 4), kNotServed);
  CHECK_EQ(f.Read(0, 8), kNotServed);
}

TEST("ServiceTable: ports and memory are different spaces") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kConstant));
  std::uint64_t value = 0;
  CHECK(!f.table.Serve({RequestType::kPio, false, kBase, 4, 0}, value));
  CHECK(f.table.Serve({RequestType::kMmio, false, kBase, 4, 0}, value));
}

TEST("ServiceTable: counts accesses and bytes, each direction apart") {
  Fixture f;
  const unsigned number = *f.table.Add(Of(ServiceKind::kLatch));
  f.Read(0, 4);
  f.Read(0, 1);
  f.Write(0, 2, 1);
  const ServiceRecord& record = f.Record(number);
  CHECK_EQ(record.reads, 2u);
  CHECK_EQ(record.bytes_read, 5u);
  CHECK_EQ(record.writes, 1u);
  CHECK_EQ(record.bytes_written, 2u);
}

TEST("ServiceTable: has room for 64 and says when it is full") {
  Fixture f;
  for (unsigned i = 0; i < ServiceTable::kMaxServices; i++) {
    Service service = Of(ServiceKind::kConstant, 4, i);
    service.base = kBase + 4 * i;
    CHECK_EQ(f.table.Add(service), i);
  }
  CHECK_EQ(f.table.Add(Of(ServiceKind::kConstant)), std::optional<unsigned>());
  for (unsigned i = 0; i < ServiceTable::kMaxServices; i++) CHECK_EQ(f.Read(4 * i, 4), std::optional<std::uint64_t>(i));
  f.table.Remove(20);
  CHECK_EQ(f.Read(80, 4), kNotServed);
  CHECK_EQ(f.Read(84, 4), 21u);
  CHECK_EQ(f.table.Add(Of(ServiceKind::kConstant)), 20u);
}

TEST("ServiceTable: a number used again has a fresh record and no old kicks") {
  Fixture f;
  const unsigned bell = *f.table.Add(Of(ServiceKind::kDoorbell));
  f.Write(0, 4, 5);
  f.table.Remove(bell);
  CHECK(!f.Write(0, 4, 6));
  // What was rung before stays until the number is used again.
  CHECK_EQ(f.Record(bell).writes, 1u);
  CHECK_EQ(f.table.TakeKick(bell), 5u);
  f.table.Ring(bell, 5, 1);
  CHECK_EQ(*f.table.Add(Of(ServiceKind::kDoorbell)), bell);
  CHECK_EQ(f.Record(bell).writes, 0u);
  f.Write(0, 4, 8);
  f.table.Remove(bell);
  CHECK_EQ(*f.table.Add(Of(ServiceKind::kDoorbell)), bell);
  CHECK_EQ(f.table.TakeKick(bell), kNoKick);
}

TEST("ServiceTable: after Remove no vCPU thread is inside") {
  for (int round = 0; round < 200; round++) {
    std::atomic<bool> removed{false};
    std::atomic<unsigned> served{0};
    std::atomic<bool> after{false};
    ServiceTable table([&] {
      served++;
      std::this_thread::yield();
      // Still counted in: Remove may not have returned.
      if (removed) after = true;
    });
    const unsigned bell = *table.Add(Of(ServiceKind::kDoorbell));
    Threads threads;
    for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
      threads.Start([&] {
        std::uint64_t value = 0;
        while (table.Serve({RequestType::kMmio, true, kBase, 4, 1}, value)) {
        }
      });
    }
    while (served < 1 + static_cast<unsigned>(round) % 8) std::this_thread::yield();
    table.Remove(bell);
    removed = true;
    threads.Join();
    CHECK(!after);
  }
}

TEST("ServiceTable: under stress a number that changes hands never mixes two services") {
  // One number, by turns a constant here and a latch there. A vCPU that saw the old one must not serve it from the new.
  ServiceTable table([] {});
  std::atomic<bool> stop{false};
  Threads threads;
  for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
    threads.Start([&, vcpu] {
      std::uint64_t value = 0;
      while (!stop) {
        const std::uint64_t address = kBase + (vcpu == 0 ? 0 : 0x1000);
        if (table.Serve({RequestType::kMmio, false, address, 4, 0}, value)) {
          CHECK_EQ(value, vcpu == 0 ? 0x1111'1111u : 0x2222'2222u);
        }
      }
    });
  }
  for (int round = 0; round < 5000; round++) {
    Service service = Of(round % 2 == 0 ? ServiceKind::kConstant : ServiceKind::kLatch);
    service.base += round % 2 == 0 ? 0 : 0x1000;
    service.value = round % 2 == 0 ? 0x1111'1111 : 0x2222'2222;
    const unsigned number = *table.Add(service);
    std::this_thread::yield();
    table.Remove(number);
  }
  stop = true;
  threads.Join();
}

TEST("ServiceTable: without its memory it serves nothing") {
  Fixture f;
  f.table.Add(Of(ServiceKind::kConstant));
  f.table.Unmap();
  CHECK_EQ(f.Read(0, 4), kNotServed);
  CHECK(f.table.mapping().data() == nullptr);
}
