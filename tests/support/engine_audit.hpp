// EngineAudit: a socket in front of the real engine that notes every call, who makes it and under which term. It passes
// on each byte as it is. Linux only (the caller's process is asked of the kernel). Tests only.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace creel::test {

class EngineAudit {
 public:
  struct Call {
    pid_t process = 0;
    std::string method;
    std::string path;
    std::optional<std::uint64_t> term;
    bool changes() const { return method != "GET" && method != "HEAD"; }
  };

  EngineAudit(std::string engine, std::string socket) : engine_(std::move(engine)), path_(std::move(socket)) {
    unlink(path_.c_str());
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = address_of(path_);
    EXPECT_EQ(0, bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address)) << path_;
    listen(listener_, 128);
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  ~EngineAudit() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (auto& connection : connections_) connection.close_both();
    for (auto& connection : connections_) {
      connection.up.join();
      connection.down.join();
      close(connection.client);
      close(connection.engine);
    }
    close(listener_);
    unlink(path_.c_str());
  }
  EngineAudit(const EngineAudit&) = delete;
  EngineAudit& operator=(const EngineAudit&) = delete;

  // From now on calls whose path holds this are never answered; "": all are.
  void hang(std::string text) {
    const std::lock_guard lock{mutex_};
    hung_ = std::move(text);
  }
  std::string host() const { return "unix://" + path_; }
  // How many calls that change something were without an answer at once, at most.
  int most_changes_at_once() const {
    const std::lock_guard lock{mutex_};
    return most_;
  }
  // In the order in which they came.
  std::vector<Call> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }

 private:
  struct Connection {
    int client = -1, engine = -1;
    bool changing = false;  // a change was asked for and has no answer yet; under mutex_
    std::thread up, down;
    void close_both() const {
      shutdown(client, SHUT_RDWR);
      shutdown(engine, SHUT_RDWR);
    }
  };

  // Finds the heads of requests between their bodies.
  class Requests {
   public:
    explicit Requests(pid_t process) : process_(process) {}
    std::vector<Call> push(std::string_view bytes) {
      std::vector<Call> found;
      text_ += bytes;
      while (step(found)) {
      }
      return found;
    }

   private:
    bool step(std::vector<Call>& found) {
      if (skip_ > 0) {
        const std::size_t gone = std::min(skip_, text_.size());
        text_.erase(0, gone);
        skip_ -= gone;
        return skip_ == 0 && !text_.empty();
      }
      if (chunked_) {
        const auto end = text_.find("\r\n");
        if (end == std::string::npos) return false;
        std::size_t size = 0;
        std::from_chars(text_.data(), text_.data() + end, size, 16);
        text_.erase(0, end + 2);
        skip_ = size + 2;  // its closing line break, too; after the last chunk that is the end of the trailer
        chunked_ = size > 0;
        return true;
      }
      const auto end = text_.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      const std::string head = text_.substr(0, end + 2);
      text_.erase(0, end + 4);
      Call call;
      call.process = process_;
      const auto space = head.find(' ');
      call.method = head.substr(0, space);
      call.path = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
      if (const auto at = head.find(" term/"); at != std::string::npos) call.term = std::stoull(head.substr(at + 6));
      if (const auto at = head.find("Content-Length: "); at != std::string::npos)
        skip_ = std::stoul(head.substr(at + 16));
      chunked_ = head.find("Transfer-Encoding: chunked") != std::string::npos;
      found.push_back(std::move(call));
      return !text_.empty();
    }
    pid_t process_;
    std::string text_;
    std::size_t skip_ = 0;
    bool chunked_ = false;
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
      const int engine = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_un address = address_of(engine_);
      if (connect(engine, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        close(client);
        close(engine);
        continue;
      }
      ucred peer{};
      socklen_t size = sizeof peer;
      getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size);
      Connection& connection = connections_.emplace_back();
      connection.client = client;
      connection.engine = engine;
      connection.up = std::thread{[this, &connection, client, engine, process = peer.pid] {
        Requests requests{process};
        bool hung = false;
        pump(client, engine, [&](std::string_view bytes) {
          auto found = requests.push(bytes);
          const std::lock_guard lock{mutex_};
          for (const Call& call : found) hung |= !hung_.empty() && call.path.find(hung_) != std::string::npos;
          for (const Call& call : found)
            if (call.changes() && !std::exchange(connection.changing, true)) most_ = std::max(most_, ++changing_);
          std::move(found.begin(), found.end(), std::back_inserter(calls_));
          return !hung;
        });
      }};
      connection.down = std::thread{[this, &connection, client, engine] {
        const auto answered = [&](std::string_view) {
          const std::lock_guard lock{mutex_};
          if (std::exchange(connection.changing, false)) --changing_;
          return true;
        };
        pump(engine, client, answered);
        answered({});  // or broken off
      }};
    }
  }

  template <typename Note>
  static void pump(int from, int to, Note note) {
    std::vector<char> buffer(256 * 1024);
    for (;;) {
      const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      if (!note(std::string_view{buffer.data(), static_cast<std::size_t>(got)})) continue;
      for (ssize_t sent = 0; sent < got;) {
        const ssize_t more = send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
        if (more <= 0) {
          shutdown(from, SHUT_RDWR);
          return;
        }
        sent += more;
      }
    }
    shutdown(to, SHUT_WR);
  }

  const std::string engine_, path_;
  int listener_ = -1;
  std::thread acceptor_;
  std::list<Connection> connections_;  // the acceptor's until it has ended
  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  int changing_ = 0, most_ = 0;  // under mutex_
  std::string hung_;
};

}  // namespace creel::test
