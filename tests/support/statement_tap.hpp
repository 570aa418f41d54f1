// StatementTap: a socket in front of the real PostgreSQL that counts the SQL statements of those who come through it,
// and the changes that these make, and kills whoever makes the nth, once PostgreSQL has carried it out. Linux only.
// Tests only.
#pragma once

#include <signal.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  // The same with the nth change: a statement after which the database is lastingly another. After any other one it is
  // as it was after the one before.
  void kill_after_change(std::uint64_t nth) {
    const std::lock_guard lock{mutex_};
    last_change_ = nth;
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
  std::uint64_t changes() const {
    const std::lock_guard lock{mutex_};
    return changes_;
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

  // The messages of one direction: a letter, a length that counts itself, what is said (PostgreSQL's manual,
  // "Frontend/Backend Protocol"). The first one of a client has no letter, and is left out.
  struct Message {
    char type;
    std::string text;
  };
  class Messages {
   public:
    explicit Messages(bool starts) : starts_(starts) {}
    std::vector<Message> push(std::string_view bytes) {
      std::vector<Message> whole;
      text_ += bytes;
      for (;;) {
        const std::size_t head = starts_ ? 0 : 1;
        if (text_.size() < head + 4) return whole;
        std::size_t length = 0;
        for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(text_[head + i]);
        if (text_.size() < head + length) return whole;
        if (!std::exchange(starts_, false)) whole.push_back({text_[0], text_.substr(head + 4, length - 4)});
        text_.erase(0, head + length);
      }
    }

   private:
    bool starts_;
    std::string text_;
  };

  struct State {
    Messages up{true}, down{false};
    bool wrote = false;  // in the transaction that is open
    bool fatal = false;
  };

  // Whether a statement of that command tag ("INSERT 0 1", "UPDATE 0", "SELECT 3") has changed anything.
  static bool writes(std::string_view tag) {
    for (const std::string_view read : {"BEGIN", "COMMIT", "SELECT", "SET", "SHOW", "LISTEN", "UNLISTEN", "RESET"})
      if (tag.starts_with(read)) return false;
    return !tag.ends_with(" 0");
  }

  Relay::Watch watch(pid_t process) {
    auto state = std::make_shared<State>();
    Relay::Watch watch;
    watch.up = [this, state](std::string_view bytes) {
      const std::lock_guard lock{mutex_};
      for (const Message& message : state->up.push(bytes)) {
        if ((message.type != 'Q' && message.type != 'E') || paused_) continue;  // Query, Execute
        state->fatal |= ++statements_ == last_;
      }
      return true;
    };
    watch.down = [this, state, process](std::string_view bytes) {
      const std::lock_guard lock{mutex_};
      bool done = false;
      for (const Message& message : state->down.push(bytes)) {
        if (message.type == 'C') {  // CommandComplete
          const std::string_view tag{message.text.c_str()};
          state->wrote = !tag.starts_with("ROLLBACK") && (state->wrote || writes(tag));
        }
        if (message.type != 'Z') continue;  // ReadyForQuery, and whether a transaction is open
        done = true;
        if (message.text == "I" && std::exchange(state->wrote, false) && !paused_)
          state->fatal |= ++changes_ == last_change_;
      }
      if (!state->fatal) return true;
      if (done && !std::exchange(killed_, true)) kill(process, SIGKILL);
      return false;
    };
    return watch;
  }

  const std::string folder_;
  mutable std::mutex mutex_;  // guards what follows
  std::uint64_t statements_ = 0, last_ = 0, changes_ = 0, last_change_ = 0;
  bool paused_ = false, killed_ = false;
  Relay relay_;  // last: its threads use the others
};

}  // namespace creel::test
