// EngineAudit: a socket in front of the real engine that notes every call, who makes it and under which term. It passes
// on each byte as it is. Linux only (the caller's process is asked of the kernel). Tests only.
#pragma once

#include <signal.h>

#include <charconv>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/relay.hpp"

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

  EngineAudit(std::string engine, std::string socket)
      : relay_(std::move(engine), std::move(socket), [this](pid_t process) { return watch(process); }) {}

  // From now on calls whose path holds this are never answered; "": all are.
  void hang(std::string text) {
    const std::lock_guard lock{mutex_};
    hung_ = std::move(text);
  }
  std::string host() const { return "unix://" + relay_.path(); }
  // How many calls that change something were without an answer at once, at most.
  int most_changes_at_once() const {
    const std::lock_guard lock{mutex_};
    return most_;
  }
  // Who makes the nth call of all is killed (-9) when the engine has answered it, and does not get the answer.
  void kill_after(std::size_t nth) {
    const std::lock_guard lock{mutex_};
    last_ = nth;
  }
  bool killed() const {
    const std::lock_guard lock{mutex_};
    return killed_;
  }
  // In the order in which they came.
  std::vector<Call> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }

 private:
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

  // Of one connection; its two threads share it.
  struct State {
    Requests requests;
    bool hung = false;
    bool changing = false;  // a change was asked for and has no answer yet
    bool fatal = false;     // its caller is to be killed when the answer comes
  };

  Relay::Watch watch(pid_t process) {
    auto state = std::make_shared<State>(State{Requests{process}});
    Relay::Watch watch;
    watch.up = [this, state](std::string_view bytes) {
      const std::lock_guard lock{mutex_};
      for (Call& call : state->requests.push(bytes)) {
        state->hung |= !hung_.empty() && call.path.find(hung_) != std::string::npos;
        if (call.changes() && !std::exchange(state->changing, true)) most_ = std::max(most_, ++changing_);
        calls_.push_back(std::move(call));
        state->fatal |= calls_.size() == last_;
      }
      return !state->hung;
    };
    watch.down = [this, state, process](std::string_view) {
      const std::lock_guard lock{mutex_};
      if (std::exchange(state->changing, false)) --changing_;
      if (!std::exchange(state->fatal, false)) return true;
      kill(process, SIGKILL);
      killed_ = true;
      return false;
    };
    return watch;
  }

  mutable std::mutex mutex_;  // guards what follows
  std::vector<Call> calls_;
  int changing_ = 0, most_ = 0;
  std::string hung_;
  std::size_t last_ = 0;
  bool killed_ = false;
  Relay relay_;  // last: its threads use the others
};

}  // namespace creel::test
