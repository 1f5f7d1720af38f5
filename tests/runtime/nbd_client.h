// An NBD client for tests that says what it is told to, sense or nonsense; and a device in memory to serve to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "libformat/base/bytes.h"
#include "libformat/base/unique_fd.h"
#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"
#include "runtime/nbd/connection.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

// Sectors in memory. Those that were never written are holes. Some can be made to stall (a read waits until release(),
// and memory alone does not have them) or to fail. Thread-safe.
class TestDevice final : public BlockReader, public BlockWriter {
 public:
  explicit TestDevice(std::size_t sectors) : content_(sectors * kSectorSize), kinds_(sectors, Extent::Kind::kHole) {}

  // Random content in [from, to).
  void fill(std::size_t from, std::size_t to) {
    std::mt19937 random(static_cast<unsigned>(from));
    for (std::size_t i = from * kSectorSize; i < to * kSectorSize; ++i) content_[i] = std::byte(random());
    std::fill(kinds_.begin() + static_cast<long>(from), kinds_.begin() + static_cast<long>(to), Extent::Kind::kData);
  }
  void stall(std::size_t sector) {
    const std::lock_guard lock(mutex_);
    stalled_.insert(sector);
  }
  void release() {
    const std::lock_guard lock(mutex_);
    stalled_.clear();
    changed_.notify_all();
  }
  void fail(std::size_t sector, ErrorCode code) {
    const std::lock_guard lock(mutex_);
    failing_ = {sector, code};
  }
  std::string content(std::size_t offset, std::size_t size) const {
    return std::string(as_text(std::span(content_).subspan(offset, size)));
  }

  Sectors size() const override { return {kinds_.size()}; }

  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override {
    ++reads;
    std::unique_lock lock(mutex_);
    const std::size_t end = at.value + out.size() / kSectorSize;
    if (end > kinds_.size()) return Error::io("past the end");
    const auto stalled = [&] {
      const auto found = stalled_.lower_bound(at.value);
      return found != stalled_.end() && *found < end;
    };
    if (stalled() && context.memory_only) return Error::would_block("not in memory");
    if (!changed_.wait(lock, context.stop, [&] { return !stalled(); })) return Error::cancelled("stopped");
    if (failing_ && failing_->first >= at.value && failing_->first < end)
      return Error(failing_->second, "made to fail");
    std::memcpy(out.data(), content_.data() + at.value * kSectorSize, out.size());
    return {};
  }

  Result<Extent> next_extent(Sectors at) const override {
    const std::lock_guard lock(mutex_);
    const auto begin = kinds_.begin() + static_cast<long>(at.value);
    const auto end = std::find_if(begin, kinds_.end(), [&](Extent::Kind kind) { return kind != *begin; });
    return Extent{*begin, {static_cast<std::uint64_t>(end - begin)}};
  }

  Result<void> write_at(Sectors at, std::span<const std::byte> data) override {
    return change(at, whole_sectors(data), Extent::Kind::kData, data);
  }
  Result<void> write_zeroes(Sectors at, Sectors length) override { return change(at, length, Extent::Kind::kZero, {}); }
  Result<void> discard(Sectors at, Sectors length) override { return change(at, length, Extent::Kind::kHole, {}); }
  Result<void> flush() override {
    std::unique_lock lock(mutex_);
    ++flushes;
    flusher = std::this_thread::get_id();
    changed_.wait(lock, [&] { return !flushes_stall_; });
    return {};
  }
  void stall_flushes(bool stall) {
    const std::lock_guard lock(mutex_);
    flushes_stall_ = stall;
    changed_.notify_all();
  }

  mutable std::atomic<int> reads = 0;
  std::atomic<int> flushes = 0;
  std::atomic<std::thread::id> flusher = {};  // of the last

 private:
  Result<void> change(Sectors at, Sectors length, Extent::Kind kind, std::span<const std::byte> data) {
    const std::lock_guard lock(mutex_);
    const auto from = static_cast<long>(at.value);
    const auto to = static_cast<long>((at + length).value);
    if (failing_ && static_cast<long>(failing_->first) >= from && static_cast<long>(failing_->first) < to)
      return Error(failing_->second, "made to fail");
    std::fill(kinds_.begin() + from, kinds_.begin() + to, kind);
    std::fill(content_.begin() + from * 512, content_.begin() + to * 512, std::byte{0});
    std::copy(data.begin(), data.end(), content_.begin() + from * 512);
    return {};
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::vector<std::byte> content_;
  std::vector<Extent::Kind> kinds_;
  std::set<std::size_t> stalled_;
  bool flushes_stall_ = false;
  std::optional<std::pair<std::size_t, ErrorCode>> failing_;
};

// A number in network byte order.
template <std::unsigned_integral T>
std::string be(T value) {
  std::string text(sizeof value, '\0');
  store_be(std::as_writable_bytes(std::span(text)), 0, value);
  return text;
}

struct Reply {
  Errno error = Errno::kNone;
  std::uint64_t cookie = 0;
  std::string data;                                              // of a read, its holes filled in
  std::size_t holes = 0;                                         // chunks that stood for zeros
  std::size_t chunks = 0;                                        // of data
  std::vector<std::pair<std::uint32_t, std::uint32_t>> extents;  // lengths and states
};

class Client {
 public:
  explicit Client(UniqueFd socket) : socket_(std::move(socket)) {
    const timeval patience{20, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  // Exactly `size` bytes; fewer at the end of the stream.
  std::string receive(std::size_t size) {
    std::string text(size, '\0');
    std::size_t got = 0;
    while (got < size) {
      const ssize_t count = ::recv(socket_.get(), text.data() + got, size - got, 0);
      if (count <= 0) break;
      got += static_cast<std::size_t>(count);
    }
    text.resize(got);
    return text;
  }
  bool disconnected() { return receive(1).empty(); }
  void hang_up() { socket_ = UniqueFd(); }
  int fd() const { return socket_.get(); }
  UniqueFd take() { return std::move(socket_); }

  void option(Option option, std::string_view data) {
    send(be(kOptionMagic) + be(static_cast<std::uint32_t>(option)) + be(static_cast<std::uint32_t>(data.size())));
    send(data);
  }
  // The kind of an option's next reply.
  OptionReply option_reply() {
    const std::string head = receive(20);
    if (head.size() < 20) return {};
    const auto bytes = as_bytes(head);
    receive(load_be<std::uint32_t>(bytes, 16));
    return static_cast<OptionReply>(load_be<std::uint32_t>(bytes, 12));
  }
  void greet(std::uint32_t flags = kFixedNewstyle | kNoZeroes) {
    ASSERT_EQ(receive(18).size(), 18U);
    send(be(flags));
  }
  // The usual handshake, up to the transmission phase.
  void begin(bool structured = true) {
    greet();
    if (structured) {
      option(Option::kStructuredReply, "");
      ASSERT_EQ(option_reply(), OptionReply::kAck);
      option(Option::kSetMetaContext, be(0U) + be(1U) + be(15U) + std::string(kAllocationContext));
      ASSERT_EQ(option_reply(), OptionReply::kMetaContext);
      ASSERT_EQ(option_reply(), OptionReply::kAck);
    }
    option(Option::kGo, be(0U) + be(std::uint16_t{0}));
    while (true) {
      const OptionReply reply = option_reply();
      if (reply == OptionReply::kAck) break;
      ASSERT_EQ(reply, OptionReply::kInfo);
    }
  }

  static std::string request_bytes(Command command, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
                                   std::uint16_t flags = 0) {
    return be(kRequestMagic) + be(flags) + be(static_cast<std::uint16_t>(command)) + be(cookie) + be(offset) +
           be(length);
  }
  void request(Command command, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
               std::uint16_t flags = 0) {
    lengths_[cookie % lengths_.size()] = {offset, command == Command::kRead ? length : 0};
    send(request_bytes(command, cookie, offset, length, flags));
  }
  void write(std::uint64_t cookie, std::uint64_t offset, std::string_view data, std::uint16_t flags = 0) {
    request(Command::kWrite, cookie, offset, static_cast<std::uint32_t>(data.size()), flags);
    send(data);
  }

  // The next reply that is complete, of either form.
  Reply reply() {
    while (true) {
      const std::string magic = receive(4);
      if (magic.size() < 4) {
        ADD_FAILURE() << "no reply";
        return {};
      }
      if (load_be<std::uint32_t>(as_bytes(magic), 0) == kSimpleReplyMagic) return simple();
      EXPECT_EQ(load_be<std::uint32_t>(as_bytes(magic), 0), kStructuredReplyMagic);
      if (auto whole = chunk()) return std::move(*whole);
    }
  }
  Reply ask(Command command, std::uint64_t offset, std::uint32_t length, std::uint16_t flags = 0) {
    request(command, ++cookie_, offset, length, flags);
    Reply answer = reply();
    EXPECT_EQ(answer.cookie, cookie_);
    return answer;
  }
  Reply ask_write(std::uint64_t offset, std::string_view data, std::uint16_t flags = 0) {
    write(++cookie_, offset, data, flags);
    Reply answer = reply();
    EXPECT_EQ(answer.cookie, cookie_);
    return answer;
  }

 private:
  struct Asked {
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };

  Reply simple() {
    Reply reply;
    const std::string head = receive(12);
    reply.error = static_cast<Errno>(load_be<std::uint32_t>(as_bytes(head), 0));
    reply.cookie = load_be<std::uint64_t>(as_bytes(head), 4);
    if (reply.error == Errno::kNone) reply.data = receive(lengths_[reply.cookie % lengths_.size()].length);
    return reply;
  }

  // The reply whose last chunk this was.
  std::optional<Reply> chunk() {
    const std::string head = receive(16);
    const auto flags = load_be<std::uint16_t>(as_bytes(head), 0);
    const auto kind = static_cast<Chunk>(load_be<std::uint16_t>(as_bytes(head), 2));
    const auto cookie = load_be<std::uint64_t>(as_bytes(head), 4);
    Reply& reply = begun_[cookie];
    reply.cookie = cookie;
    const std::string body = receive(load_be<std::uint32_t>(as_bytes(head), 12));
    const Asked& asked = lengths_[reply.cookie % lengths_.size()];
    const auto place = [&](std::string_view data) {
      reply.data.resize(asked.length);
      reply.data.replace(load_be<std::uint64_t>(as_bytes(body), 0) - asked.offset, data.size(), data);
    };
    if (kind == Chunk::kOffsetData) {
      ++reply.chunks;
      place(std::string_view(body).substr(8));
    } else if (kind == Chunk::kOffsetHole) {
      ++reply.holes;
      place(std::string(load_be<std::uint32_t>(as_bytes(body), 8), '\0'));
    } else if (kind == Chunk::kError) {
      reply.error = static_cast<Errno>(load_be<std::uint32_t>(as_bytes(body), 0));
    } else if (kind == Chunk::kBlockStatus) {
      for (std::size_t at = 4; at < body.size(); at += 8)
        reply.extents.emplace_back(load_be<std::uint32_t>(as_bytes(body), at),
                                   load_be<std::uint32_t>(as_bytes(body), at + 4));
    }
    if ((flags & kDone) == 0) return std::nullopt;
    Reply whole = std::move(reply);
    begun_.erase(cookie);
    return whole;
  }

  UniqueFd socket_;
  std::uint64_t cookie_ = 1000;
  std::array<Asked, 4096> lengths_;
  std::map<std::uint64_t, Reply> begun_;  // by cookie: replies of which more chunks are to come
};

// Pools, limits and a device, served to clients over socket pairs.
class NbdTest : public testing::Test {
 protected:
  // Connects a client; in the handshake, or in the transmission phase with simple replies.
  enum class From { kHandshake, kTransmission };
  Client& connect(From from = From::kHandshake) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    clients_.push_back(std::make_unique<Client>(UniqueFd(fds[0])));
    serve(UniqueFd(fds[1]), from, {});
    return *clients_.back();
  }
  void serve(UniqueFd socket, From from, std::span<const std::byte> unparsed) {
    exports_ = {Export{"", "a device in memory", device_, writable_ ? device_ : nullptr}};
    auto made = from == From::kHandshake
                    ? Connection::handshake(std::move(socket), "test", exports_, environment_)
                    : Connection::transmission(std::move(socket), "test", exports_[0], environment_, unparsed);
    ASSERT_TRUE(made);
    auto& served = *served_.emplace_back(std::make_unique<Served>());
    served.connection = std::move(*made);
    served.thread = std::jthread([&served] { served.handover = served.connection->serve(); });
  }
  // Waits for the end of the connection that was begun last.
  std::optional<Handover> end_of_last() {
    served_.back()->thread.join();
    return std::move(served_.back()->handover);
  }
  Connection& last() { return *served_.back()->connection; }

  ~NbdTest() override {
    device_->release();
    clients_.clear();
  }

  std::string told() {
    const std::lock_guard lock(mutex_);
    return told_;
  }

  static constexpr std::size_t kSectors = 16384;  // 8 MiB
  std::shared_ptr<TestDevice> device_ = std::make_shared<TestDevice>(kSectors);
  bool writable_ = false;
  Limits limits_;

 private:
  struct Served {
    std::unique_ptr<Connection> connection;
    std::optional<Handover> handover;
    std::jthread thread;
  };

  std::mutex mutex_;
  std::string told_;
  runtime::WorkerPool waiting_{"wait", 64};
  runtime::WorkerPool computing_{"compute", 2};
  const Observer observer_ = [this](const Error& error) {
    const std::lock_guard lock(mutex_);
    told_ += error.message() + "\n";
  };
  std::vector<Export> exports_;

 protected:
  Connection::Environment environment_{{computing_, waiting_}, limits_, observer_};

 private:
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Served>> served_;
};

}  // namespace dadi::nbd
