// RawClient: a client on a socket that says exactly what it is told to, from an address of its choice (all of 127/8
// are this machine's). Tests and benchmarks only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace creel::test {

// As many open files as the system lets this process have.
inline std::size_t raise_open_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

// "VmRSS" or "VmHWM" (the most it ever was) of a process, in MiB.
inline double memory_of(pid_t pid, const std::string& what) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(what + ":")) return std::stod(line.substr(what.size() + 1)) / 1024;
  return 0;
}

class RawClient {
 public:
  // `address`: "127.0.0.1:PORT", or a URL of it. `buffer`: of the receiving side, 0 = the system's.
  explicit RawClient(std::string address, const std::string& from = "127.0.0.1", int buffer = 0) {
    if (const auto scheme = address.find("://"); scheme != std::string::npos) address.erase(0, scheme + 3);
    const auto colon = address.rfind(':');
    sockaddr_in where{}, self{};
    where.sin_family = self.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr);
    inet_pton(AF_INET, from.c_str(), &self.sin_addr);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (buffer > 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    const int on = 1;
    setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    connected_ = bind(fd_, reinterpret_cast<const sockaddr*>(&self), sizeof self) == 0 &&
                 connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  }
  ~RawClient() { leave(); }
  RawClient(const RawClient&) = delete;
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        connected_(other.connected_),
        ended_(other.ended_),
        heard_(std::move(other.heard_)) {}
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  int socket() const { return fd_; }
  void leave() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void small_window() {
    const int bytes = 4096;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  // False when the other side does not take it any more, or has not taken all of it in for so long.
  bool say(std::string_view text, std::chrono::milliseconds longest = std::chrono::minutes{10}) {
    const auto end = std::chrono::steady_clock::now() + longest;
    while (!text.empty()) {
      const auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        text.remove_prefix(static_cast<std::size_t>(sent));
        continue;
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      pollfd waiting{fd_, POLLOUT, 0};
      if ((errno != EAGAIN && errno != EWOULDBLOCK) || left.count() <= 0 ||
          poll(&waiting, 1, static_cast<int>(left.count())) <= 0)
        return false;
    }
    return true;
  }
  // What comes until `enough` holds, the connection ends, or nothing came for so long.
  std::string hear(const std::function<bool(const std::string&)>& enough,
                   std::chrono::milliseconds longest = std::chrono::milliseconds{20'000}) {
    const auto end = std::chrono::steady_clock::now() + longest;
    while (!enough(heard_)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      pollfd waiting{fd_, POLLIN, 0};
      if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) break;
      char bytes[4096];
      const auto got = recv(fd_, bytes, sizeof bytes, 0);
      if (got <= 0) {
        ended_ = true;
        break;
      }
      heard_.append(bytes, static_cast<std::size_t>(got));
    }
    return heard_;
  }
  std::string hear_to_the_end(std::chrono::milliseconds longest = std::chrono::milliseconds{20'000}) {
    return hear([](const std::string&) { return false; }, longest);
  }
  // Whether the other side has closed by now; what it has said is dropped.
  bool gone() {
    char bytes[16384];
    for (;;) {
      const auto got = recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
      if (got > 0) continue;
      return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    }
  }
  // Says nothing any more, and goes on listening.
  void say_no_more() { shutdown(fd_, SHUT_WR); }
  bool ended() const { return ended_; }
  // Takes what was heard up to here.
  std::string take(std::size_t size) {
    std::string taken = heard_.substr(0, size);
    heard_.erase(0, size);
    return taken;
  }
  // One whole answer with Content-Length, taken from what was heard.
  std::string answer(std::chrono::milliseconds longest = std::chrono::milliseconds{20'000}) {
    std::size_t size = 0;
    const auto whole_answer = [&](const std::string& text) {
      const auto head = text.find("\r\n\r\n");
      if (head == std::string::npos) return false;
      const auto at = text.find("Content-Length: ");
      size = head + 4 + (at < head ? std::stoul(text.substr(at + 16)) : 0);
      return text.size() >= size;
    };
    hear(whole_answer, longest);
    std::string whole = heard_.substr(0, size);
    heard_.erase(0, size);
    return whole;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
  bool ended_ = false;
  std::string heard_;
};

}  // namespace creel::test
