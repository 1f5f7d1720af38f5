// The NBD server: handshake and transmission with a client that says anything.
// Input: a byte of bits, two of sizes, then what the client says; or, with a bit, drafts of requests.
// Holds: what the server says is well-formed whatever it was told, and does not depend on how the bytes were cut up;
// each request gets one reply; what is read is what the device holds.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "runtime/nbd/connection.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

using namespace nbd;

// Bits of the first byte.
constexpr unsigned kTransmission = 1;  // begins there; otherwise with the handshake
constexpr unsigned kWritable = 2;
constexpr unsigned kStructured = 4;  // with kTransmission
constexpr unsigned kDrafts = 8;      // with kTransmission: requests with their magic, and places on the device
constexpr unsigned kTls = 16;        // is required

constexpr std::uint64_t kSectors = 4096;       // 2 MiB
constexpr std::size_t kMostReplies = 4 << 20;  // bytes, after which an input is given up

// Sectors of data, zeros and holes in turns of eight; some are not in memory, and one cannot be read. What is written
// is forgotten.
class Device final : public BlockReader, public BlockWriter {
 public:
  static Extent::Kind kind_of(std::uint64_t sector) {
    constexpr Extent::Kind kKinds[] = {Extent::Kind::kData, Extent::Kind::kZero, Extent::Kind::kData,
                                       Extent::Kind::kHole};
    return kKinds[sector / 8 % 4];
  }
  static std::byte content(std::uint64_t offset) {
    const bool data = kind_of(offset / kSectorSize) == Extent::Kind::kData;
    return data ? std::byte(offset / kSectorSize * 31 + offset % 251 + 1) : std::byte{0};
  }
  static constexpr std::uint64_t kBroken = 3000;

  Sectors size() const override { return {kSectors}; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override {
    require(at.value <= kSectors && out.size() % kSectorSize == 0 && out.size() / kSectorSize <= kSectors - at.value,
            "reads are whole sectors of the device");
    const std::uint64_t end = at.value + out.size() / kSectorSize;
    for (std::uint64_t sector = at.value; sector < end; ++sector) {
      if (sector == kBroken) return Error::corruption("broken");
      if (sector % 128 == 5 && context.memory_only) return Error::would_block("not in memory");
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = content(at.value * kSectorSize + i);
    return {};
  }
  Result<Extent> next_extent(Sectors at) const override {
    require(at.value < kSectors, "extents are asked for within the device");
    return Extent{kind_of(at.value), {8 - at.value % 8}};
  }
  Result<void> write_at(Sectors at, std::span<const std::byte> data) override {
    return change(at, whole_sectors(data), data.size());
  }
  Result<void> write_zeroes(Sectors at, Sectors length) override { return change(at, length, 0); }
  Result<void> discard(Sectors at, Sectors length) override { return change(at, length, 0); }
  Result<void> flush() override { return {}; }

 private:
  static Result<void> change(Sectors at, Sectors length, std::size_t bytes) {
    require(at.value <= kSectors && length.value <= kSectors - at.value && bytes % kSectorSize == 0,
            "writes are whole sectors of the device");
    return {};
  }
};

// Reads what the server says, as a client would that remembers what it has asked for.
class Listener {
 public:
  explicit Listener(bool structured) : structured_(structured) {}

  void asked(const Request& request) {
    if (request.command != Command::kDisconnect) open_.emplace(request.cookie, Asked{request, 0});
  }
  std::size_t open() const { return open_.size(); }

  void hear(std::span<const std::byte> said) {
    while (!said.empty()) {
      require(said.size() >= 4, "a reply has its magic");
      const auto magic = load_be<std::uint32_t>(said, 0);
      require(magic == kSimpleReplyMagic || (structured_ && magic == kStructuredReplyMagic), "a reply has its magic");
      said = said.subspan(magic == kSimpleReplyMagic ? simple(said) : chunk(said));
    }
  }

 private:
  struct Asked {
    Request request;
    std::size_t covered;  // by the chunks that have come
  };
  using Open = std::map<std::uint64_t, Asked>;

  Open::iterator find(std::uint64_t cookie) {
    const auto found = open_.find(cookie);
    require(found != open_.end(), "a reply is to a request");
    return found;
  }

  static void check_content(std::span<const std::byte> data, std::uint64_t offset) {
    for (std::size_t i = 0; i < data.size(); ++i)
      require(data[i] == Device::content(offset + i), "what is read is what the device holds");
  }

  std::size_t simple(std::span<const std::byte> said) {
    require(said.size() >= kSimpleReplySize, "a simple reply is whole");
    const auto error = load_be<std::uint32_t>(said, 4);
    const auto found = find(load_be<std::uint64_t>(said, 8));
    const Request& request = found->second.request;
    std::size_t size = kSimpleReplySize;
    if (error == 0 && request.command == Command::kRead) {
      require(!structured_, "reads are answered in structured replies");
      require(said.size() - size >= request.length, "the data of a read is whole");
      check_content(said.subspan(size, request.length), request.offset);
      size += request.length;
    }
    open_.erase(found);
    return size;
  }

  std::size_t chunk(std::span<const std::byte> said) {
    require(said.size() >= kChunkSize, "a chunk has its head");
    const auto flags = load_be<std::uint16_t>(said, 4);
    const auto kind = static_cast<Chunk>(load_be<std::uint16_t>(said, 6));
    const auto size = load_be<std::uint32_t>(said, 16);
    require(said.size() - kChunkSize >= size, "a chunk is whole");
    const auto body = said.subspan(kChunkSize, size);
    const auto found = find(load_be<std::uint64_t>(said, 8));
    auto& [request, covered] = found->second;
    if (kind == Chunk::kOffsetData || kind == Chunk::kOffsetHole) {
      require(size >= 9, "a chunk of content has some");
      const auto offset = load_be<std::uint64_t>(body, 0);
      const std::size_t length = kind == Chunk::kOffsetData ? size - 8 : load_be<std::uint32_t>(body, 8);
      require(offset >= request.offset && offset + length <= request.offset + request.length, "content was asked for");
      covered += length;
      if (kind == Chunk::kOffsetData) check_content(body.subspan(8), offset);
      for (std::size_t i = 0; kind == Chunk::kOffsetHole && i < length; ++i)
        require(Device::content(offset + i) == std::byte{0}, "holes read as zeros");
    } else if (kind == Chunk::kBlockStatus) {
      check_extents(request, body);
    }
    if ((flags & kDone) != 0) {
      const bool read = request.command == Command::kRead && kind != Chunk::kError;
      require(!read || covered == request.length, "all that was asked for is answered");
      open_.erase(found);
    }
    return kChunkSize + size;
  }

  static void check_extents(const Request& request, std::span<const std::byte> body) {
    require(body.size() >= 12 && body.size() % 8 == 4, "there is an extent");
    std::uint64_t at = request.offset;
    for (std::size_t i = 4; i < body.size(); i += 8) {
      const auto length = load_be<std::uint32_t>(body, i);
      const bool zero = (load_be<std::uint32_t>(body, i + 4) & kStateZero) != 0;
      require(length > 0 && at + length <= request.offset + request.length, "extents lie within what was asked for");
      require(zero == (Device::kind_of(at / kSectorSize) != Extent::Kind::kData), "extents are the device's");
      at += length;
    }
  }

  bool structured_;
  Open open_;
};

void take(Output& out, std::vector<std::byte>& said) {
  while (out.pending() > 0) {
    std::size_t size = 0;
    for (const iovec& piece : out.next()) {
      const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
      said.insert(said.end(), bytes, bytes + piece.iov_len);
      size += piece.iov_len;
    }
    out.sent(size);
  }
}

// The threads live as long as the process.
const Workers& workers() {
  static runtime::WorkerPool waiting("wait", 2);
  static runtime::WorkerPool computing("compute", 1);
  static const Workers both{computing, waiting};
  return both;
}

std::vector<std::byte> negotiate(std::span<const Export> exports, bool tls, std::span<const std::byte> input,
                                 std::size_t cut) {
  SpareBuffers spare;
  Output out(spare);
  Negotiation negotiation(exports, tls, out);
  std::vector<std::byte> said;
  std::vector<std::byte> waiting;
  while (!input.empty() && negotiation.state() == Negotiation::State::kOpen) {
    const auto piece = input.first(std::min(cut, input.size()));
    input = input.subspan(piece.size());
    waiting.insert(waiting.end(), piece.begin(), piece.end());
    const auto taken = negotiation.consume(waiting, out);
    take(out, said);
    if (!taken) {
      said.push_back(std::byte{'!'});  // cut off
      break;
    }
    require(*taken <= waiting.size(), "no more is taken than there is");
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(*taken));
    require(waiting.size() < (64 << 10), "an option that is not complete is no longer than the input's buffer");
  }
  if (negotiation.state() == Negotiation::State::kAgreed) require(negotiation.agreement().served != nullptr, "agreed");
  return said;
}

// The requests of a client that keeps to the protocol as far as these bytes go.
std::vector<std::byte> draft(Input& input, std::vector<Request>& requests) {
  std::vector<std::byte> text;
  for (int i = 0; i < 64 && !input.empty(); ++i) {
    Request request;
    const unsigned bits = input.byte();
    request.command = static_cast<Command>(bits % 9);
    request.flags = (bits & 128) != 0 ? static_cast<std::uint16_t>(1U << (input.byte() % 6)) : std::uint16_t{0};
    request.offset = input.number<std::uint32_t>() % ((bits & 64) != 0 ? 1 << 25 : kSectors * kSectorSize);
    request.length = input.number<std::uint16_t>() * ((bits & 32) != 0 ? 16U : 1U);
    if ((bits & 16) != 0) request.offset &= ~511ULL, request.length &= ~511U;
    request.cookie = static_cast<std::uint64_t>(i);
    std::byte head[kRequestSize];
    store_be(std::span(head), 0, kRequestMagic);
    store_be(std::span(head), 4, request.flags);
    store_be(std::span(head), 6, static_cast<std::uint16_t>(request.command));
    store_be(std::span(head), 8, request.cookie);
    store_be(std::span(head), 16, request.offset);
    store_be(std::span(head), 24, request.length);
    text.insert(text.end(), head, head + kRequestSize);
    requests.push_back(request);
    if (request.command == Command::kWrite) text.resize(text.size() + request.length, std::byte{0x33});
    if (request.command == Command::kDisconnect) break;
  }
  return text;
}

void transmit(const Export& served, bool structured, std::span<const std::byte> input, std::size_t cut,
              const std::vector<Request>& drafted) {
  const Limits limits{.connections = 1, .requests = 8, .memory = 1 << 20};
  const Observer observer;
  SpareBuffers spare;
  Output out(spare);
  const auto mailbox = must(Mailbox::create(), "a mailbox is made");
  Transmission transmission(
      {.served = &served, .structured = structured, .allocation = structured},
      {.workers = workers(), .limits = limits, .observer = observer, .mailbox = mailbox, .spare = spare});
  std::vector<std::byte> said;
  std::vector<std::byte> waiting;
  bool cut_off = false;
  const auto settle = [&] {
    while (transmission.work(out)) take(out, said);
    pollfd event{mailbox->fd(), POLLIN, 0};
    int ready = 0;
    // libFuzzer's timer interrupts; its own -timeout bounds the wait as a whole.
    while ((ready = ::poll(&event, 1, 60'000)) < 0 && errno == EINTR) {
    }
    require(ready == 1, "work ends");
    mailbox->quiet();
    transmission.collect(out);
    take(out, said);
  };
  while (!cut_off && !transmission.ending() && said.size() < kMostReplies) {
    const auto piece = input.first(std::min(cut, input.size()));
    input = input.subspan(piece.size());
    waiting.insert(waiting.end(), piece.begin(), piece.end());
    const auto taken = transmission.consume(waiting, out);
    take(out, said);
    cut_off = !taken;
    if (cut_off) break;
    require(*taken <= waiting.size(), "no more is taken than there is");
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(*taken));
    if (*taken == 0 && transmission.full()) settle();
    if (*taken == 0 && !transmission.full() && input.empty()) break;
  }
  while (transmission.working()) settle();
  if (drafted.empty()) return;
  require(!cut_off, "a client that keeps to the protocol is not cut off");
  Listener listener(structured);
  for (const Request& request : drafted) listener.asked(request);
  listener.hear(said);
  if (said.size() < kMostReplies) require(listener.open() == 0, "each request has its reply");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const unsigned bits = input.byte();
  const std::size_t cut = 1 + input.number<std::uint16_t>();
  const auto device = std::make_shared<Device>();
  const std::vector<dadi::nbd::Export> exports = {
      {"disk", "described", device, (bits & kWritable) != 0 ? device : nullptr}, {"other", "", device, nullptr}};
  if ((bits & kTransmission) == 0) {
    const auto rest = input.rest();
    const bool tls = (bits & kTls) != 0;
    require(negotiate(exports, tls, rest, cut) == negotiate(exports, tls, rest, 1 << 20),
            "what is said does not depend on how the bytes come");
    return 0;
  }
  std::vector<dadi::nbd::Request> requests;
  std::vector<std::byte> text;
  if ((bits & kDrafts) != 0) {
    text = draft(input, requests);
  } else {
    const auto rest = input.rest();
    text.assign(rest.begin(), rest.end());
  }
  transmit(exports[0], (bits & kStructured) != 0, text, cut, requests);
  return 0;
}
