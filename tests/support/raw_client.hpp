// RawClient: a client on a socket that says exactly what it is told to. Tests only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace creel::test {

class RawClient {
 public:
  explicit RawClient(const std::string& address) {
    const auto colon = address.rfind(':');
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  }
  ~RawClient() { leave(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  void leave() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void small_window() {
    const int bytes = 4096;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  // False when the other side does not take it any more.
  bool say(std::string_view text) {
    while (!text.empty()) {
      const auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
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
  std::string hear_to_the_end() {
    return hear([](const std::string&) { return false; });
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
  std::string answer() {
    std::size_t size = 0;
    hear([&](const std::string& text) {
      const auto head = text.find("\r\n\r\n");
      if (head == std::string::npos) return false;
      const auto at = text.find("Content-Length: ");
      size = head + 4 + (at < head ? std::stoul(text.substr(at + 16)) : 0);
      return text.size() >= size;
    });
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
