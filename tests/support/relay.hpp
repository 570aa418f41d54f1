// Relay: a Unix socket in front of a real server's, for tests that look at what is said, or end who says it. Each
// connection has two threads; bytes are passed on as they are. Linux only (the caller's process is asked of the
// kernel). Tests only.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace creel::test {

class Relay {
 public:
  // What looks at one connection, each side on a thread of its own: called with the bytes that have come, before they
  // are passed on; with none when that side has ended. False: they are not passed on.
  struct Watch {
    std::function<bool(std::string_view)> up, down;
  };

  // `watch` is asked for each connection, with the process that made it.
  Relay(std::string server, std::string socket, std::function<Watch(pid_t)> watch)
      : server_(std::move(server)), path_(std::move(socket)), watch_(std::move(watch)) {
    unlink(path_.c_str());
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = address_of(path_);
    EXPECT_EQ(0, bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address)) << path_;
    listen(listener_, 128);
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  ~Relay() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const auto& connection : connections_) {
      shutdown(connection.client, SHUT_RDWR);
      shutdown(connection.server, SHUT_RDWR);
    }
    for (auto& connection : connections_) {
      connection.up.join();
      connection.down.join();
      close(connection.client);
      close(connection.server);
    }
    close(listener_);
    unlink(path_.c_str());
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  const std::string& path() const { return path_; }

 private:
  struct Connection {
    int client = -1, server = -1;
    Watch watch;
    std::thread up, down;
  };

  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
  }

  void accept_all() {
    for (;;) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_un address = address_of(server_);
      if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        close(client);
        close(server);
        continue;
      }
      ucred peer{};
      socklen_t size = sizeof peer;
      getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size);
      Connection& connection = connections_.emplace_back();
      connection.client = client;
      connection.server = server;
      connection.watch = watch_(peer.pid);
      connection.up = std::thread{[&connection] { pump(connection.client, connection.server, connection.watch.up); }};
      connection.down =
          std::thread{[&connection] { pump(connection.server, connection.client, connection.watch.down); }};
    }
  }

  static void pump(int from, int to, const std::function<bool(std::string_view)>& watch) {
    std::vector<char> buffer(256 * 1024);
    for (;;) {
      const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      if (!watch(std::string_view{buffer.data(), static_cast<std::size_t>(got)})) continue;
      for (ssize_t sent = 0; sent < got;) {
        const ssize_t more = send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
        if (more <= 0) {
          shutdown(from, SHUT_RDWR);
          watch({});
          return;
        }
        sent += more;
      }
    }
    watch({});
    shutdown(to, SHUT_WR);
  }

  const std::string server_, path_;
  const std::function<Watch(pid_t)> watch_;
  int listener_ = -1;
  std::thread acceptor_;
  std::list<Connection> connections_;  // the acceptor's until it has ended
};

}  // namespace creel::test
