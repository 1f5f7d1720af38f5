// A slow link between this network namespace and another, where the kernel's own netem is not at hand:
//   bench_slow_link NETNS MILLISECONDS [MBIT]
// 10.77.0.1 is here, 10.77.0.2 there. Two TUN devices, whose packets wait here for their time: each way takes half of
// MILLISECONDS and has MBIT a second for itself. Says "ready", and ends on SIGTERM; the devices go with it.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLargestPacket = 64 << 10;
constexpr std::size_t kMostQueued = 4 << 20;  // bytes each way; what is more is dropped, as a router would
constexpr int kMostAtOnce = 64;

[[noreturn]] void give_up(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

int open_tun(const char* name) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) give_up("/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(fd, TUNSETIFF, &request) != 0) give_up(name);
  return fd;
}

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) give_up(command);
}

// Packets on their way in one direction.
class Direction {
 public:
  Direction(int from, int to, Clock::duration delay, double bytes_a_second)
      : from_(from), to_(to), delay_(delay), rate_(bytes_a_second) {}

  void take() {
    std::array<char, kLargestPacket> packet;
    for (int i = 0; i < kMostAtOnce; ++i) {
      const ssize_t size = ::read(from_, packet.data(), packet.size());
      if (size <= 0) return;
      const auto length = static_cast<std::size_t>(size);
      if (queued_ + length > kMostQueued) continue;
      const auto now = Clock::now();
      free_ = std::max(free_, now);
      if (rate_ > 0)
        free_ += std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(static_cast<double>(length) / rate_));
      waiting_.push_back({free_ + delay_, {packet.begin(), packet.begin() + size}});
      queued_ += length;
    }
  }

  void deliver() {
    while (!waiting_.empty() && waiting_.front().due <= Clock::now()) {
      const std::vector<char>& bytes = waiting_.front().bytes;
      if (::write(to_, bytes.data(), bytes.size()) < 0 && errno == EIO) give_up("the other end");
      queued_ -= bytes.size();
      waiting_.pop_front();
    }
  }

  Clock::time_point next() const { return waiting_.empty() ? Clock::time_point::max() : waiting_.front().due; }
  int from() const { return from_; }

 private:
  struct Packet {
    Clock::time_point due;
    std::vector<char> bytes;
  };

  int from_, to_;
  Clock::duration delay_;
  double rate_;
  Clock::time_point free_;  // when the link has sent what it took
  std::size_t queued_ = 0;
  std::deque<Packet> waiting_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "bench_slow_link NETNS MILLISECONDS [MBIT]\n");
    return 2;
  }
  const std::string there = argv[1];
  const auto delay = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double, std::milli>(std::strtod(argv[2], nullptr) / 2));
  const double rate = argc > 3 ? std::strtod(argv[3], nullptr) * 1e6 / 8 : 0;
  const int here = open_tun("slow0"), far = open_tun("slow1");
  run("ip link set slow1 netns " + there);
  run("ip addr add 10.77.0.1/24 dev slow0 && ip link set slow0 mtu 1500 txqueuelen 1000 up");
  run("ip -n " + there + " addr add 10.77.0.2/24 dev slow1 && ip -n " + there + " link set slow1 mtu 1500 up");
  run("ip -n " + there + " link set lo up");
  std::array<Direction, 2> ways = {Direction(here, far, delay, rate), Direction(far, here, delay, rate)};
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    const auto next = std::min({ways[0].next(), ways[1].next(), Clock::now() + std::chrono::milliseconds(100)});
    const auto wait = std::max(Clock::duration::zero(), next - Clock::now());
    const timespec timeout{0, std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count()};
    std::array<pollfd, 2> readable = {pollfd{here, POLLIN, 0}, pollfd{far, POLLIN, 0}};
    ::ppoll(readable.data(), readable.size(), &timeout, nullptr);
    for (Direction& way : ways) {
      way.take();
      way.deliver();
    }
  }
}
