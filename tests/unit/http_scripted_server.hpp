// A small HTTP server for tests: each connection is served by a script, on a thread of its own.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace creel::test {

// A connection of the scripted server.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  // One request, head and body; "" at the end of the connection.
  std::string read_request() {
    std::string& text = buffer_;
    for (;;) {
      if (const auto head = text.find("\r\n\r\n"); head != std::string::npos) {
        std::size_t length = 0;
        if (const auto at = text.find("Content-Length: "); at < head) length = std::stoul(text.substr(at + 16));
        if (text.size() >= head + 4 + length) {
          std::string request = text.substr(0, head + 4 + length);
          text.erase(0, request.size());
          return request;
        }
      }
      char piece[4096];
      const ssize_t got = recv(fd_, piece, sizeof piece, 0);
      if (got <= 0) return "";
      text.append(piece, static_cast<std::size_t>(got));
    }
  }
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void answer(std::string_view body, std::string_view status = "200 OK") {
    write("HTTP/1.1 " + std::string{status} + "\r\nX-Test: Yes\r\nContent-Length: " + std::to_string(body.size()) +
          "\r\n\r\n" + std::string{body});
  }
  // Blocks until the other side closes.
  void wait_closed() {
    char piece[256];
    while (recv(fd_, piece, sizeof piece, 0) > 0) {
    }
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  std::string buffer_;
};

// Serves every connection on a thread of its own with the given script.
class Server {
 public:
  explicit Server(std::function<void(Peer&)> script, const std::string& unix_path = "") : script_(std::move(script)) {
    if (unix_path.empty()) {
      listener_ = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof address;
      EXPECT_EQ(0, bind(listener_, reinterpret_cast<sockaddr*>(&address), size));
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
      port_ = ntohs(address.sin_port);
    } else {
      listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
      EXPECT_EQ(0, bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address));
    }
    listen(listener_, 16);
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  ~Server() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const int fd : fds_) shutdown(fd, SHUT_RDWR);
    for (auto& thread : threads_) thread.join();
    for (const int fd : fds_) close(fd);
    close(listener_);
  }
  std::string url(std::string_view path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string{path};
  }
  int connections() const { return connections_; }

 private:
  void accept_all() {
    for (;;) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      ++connections_;
      fds_.push_back(fd);
      threads_.emplace_back([this, fd] {
        Peer peer{fd};
        script_(peer);
        shutdown(fd, SHUT_RDWR);
      });
    }
  }

  std::function<void(Peer&)> script_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::vector<int> fds_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace creel::test
