// StatementTap: a socket in front of the real PostgreSQL that counts the SQL statements of those who come through it
// and kills whoever sends the nth, once PostgreSQL has carried it out. Linux only. Tests only.
#pragma once

#include <signal.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/relay.hpp"

namespace creel::test {

class StatementTap {
 public:
  // `conninfo` names the server by the folder of its socket; `folder` gets a socket of the same name.
  StatementTap(const std::string& conninfo, const std::string& folder)
      : folder_(folder),
        relay_(host_of(conninfo) + kName, make(folder) + kName, [this](pid_t process) { return watch(process); }) {}

  // To be added to a conninfo: of two hosts the last one counts.
  std::string host() const { return " host=" + folder_; }
  // Who sends the nth statement of all is killed (-9) when it has been carried out, and does not get the answer.
  void kill_after(std::uint64_t nth) {
    const std::lock_guard lock{mutex_};
    last_ = nth;
  }
  // What is sent in between is not counted: that of a one-off command, say.
  void pause(bool paused) {
    const std::lock_guard lock{mutex_};
    paused_ = paused;
  }
  std::uint64_t statements() const {
    const std::lock_guard lock{mutex_};
    return statements_;
  }
  bool killed() const {
    const std::lock_guard lock{mutex_};
    return killed_;
  }

 private:
  static constexpr const char* kName = "/.s.PGSQL.5432";

  static std::string host_of(const std::string& conninfo) {
    const auto at = conninfo.find("host=/");
    EXPECT_NE(at, std::string::npos) << conninfo << " names no folder with a socket";
    return conninfo.substr(at + 5, conninfo.find(' ', at) - at - 5);
  }
  static std::string make(const std::string& folder) {
    std::filesystem::create_directories(folder);
    return folder;
  }

  // The types of the messages of one direction: a letter and a length that counts itself (PostgreSQL's manual,
  // "Frontend /Backend Protocol"). The first one of a client has no letter.
  class Messages {
   public:
    explicit Messages(bool starts) : starts_(starts) {}
    std::string push(std::string_view bytes) {
      std::string types;
      text_ += bytes;
      for (;;) {
        const std::size_t head = starts_ ? 0 : 1;
        if (text_.size() < head + 4) return types;
        std::size_t length = 0;
        for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(text_[head + i]);
        if (text_.size() < head + length) return types;
        if (!std::exchange(starts_, false)) types += text_[0];
        text_.erase(0, head + length);
      }
    }

   private:
    bool starts_;
    std::string text_;
  };

  struct State {
    Messages up{true}, down{false};
    bool fatal = false;
  };

  Relay::Watch watch(pid_t process) {
    auto state = std::make_shared<State>();
    Relay::Watch watch;
    watch.up = [this, state](std::string_view bytes) {
      const std::lock_guard lock{mutex_};
      for (const char type : state->up.push(bytes)) {
        if ((type != 'Q' && type != 'E') || paused_) continue;  // Query, Execute
        state->fatal |= ++statements_ == last_;
      }
      return true;
    };
    watch.down = [this, state, process](std::string_view bytes) {
      const std::lock_guard lock{mutex_};
      const bool done = state->down.push(bytes).find('Z') != std::string::npos;  // ReadyForQuery
      if (!state->fatal) return true;
      if (done && !std::exchange(killed_, true)) kill(process, SIGKILL);
      return false;
    };
    return watch;
  }

  const std::string folder_;
  mutable std::mutex mutex_;  // guards what follows
  std::uint64_t statements_ = 0, last_ = 0;
  bool paused_ = false, killed_ = false;
  Relay relay_;  // last: its threads use the others
};

}  // namespace creel::test
