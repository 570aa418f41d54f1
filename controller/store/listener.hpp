// Listener: turns PostgreSQL's notifications (kAgentChannel, kStatusChannel, kEventChannel, kWhatsappChannel) into
// calls. They are hints: after each connecting, the first one too, every subscriber is called with "" = anything may
// have changed.
//
// One thread and one connection of its own; lost connections are made again with backoff (100 ms doubling to 5 s).
// Callbacks run on that thread one after the other and must be quick. Subscribe from any thread at any time; one that
// subscribes while the connection stands is called with "" at once (on the listener's thread).
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace creel::store {

class Listener {
 public:
  using Callback = std::function<void(const std::string& payload)>;

  explicit Listener(std::string conninfo);
  ~Listener();  // stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // `channel`: one of those four. The callback lives as long as the Listener.
  void subscribe(const std::string& channel, Callback callback);
  void start();
  // No callback runs after it returned. Not from a callback.
  void stop();
  // The connection stands.
  bool connected() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace creel::store
