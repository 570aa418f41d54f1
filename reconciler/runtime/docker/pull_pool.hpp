// PullPool: image pulls in the background, at most a few at a time, one an image however many ask.
//
// Threads: every method may be called from any thread and returns at once; the destructor cancels what is under way and
// joins the threads. A pull that ended is remembered, with its reason if it failed, until the image is asked for again.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::docker {

class PullPool {
 public:
  using Progress = std::function<void(const std::string&)>;
  // Pulls one image; blocks until it is there.
  using Pull = std::function<Result<void>(const std::string& image, const Progress&, std::stop_token)>;

  struct State {
    bool under_way = false;
    bool succeeded = false;  // else, when not under way, it failed
    std::string message;     // progress, or why
  };

  PullPool(Pull pull, std::size_t threads);
  ~PullPool();
  PullPool(const PullPool&) = delete;
  PullPool& operator=(const PullPool&) = delete;

  // Joins a pull under way, or begins one.
  void start(const std::string& image);
  // nullopt: none was asked for by this process.
  std::optional<State> state(const std::string& image) const;
  std::size_t under_way() const;
  // Waits until no pull of the image is under way; false when `stop` was asked for first. For tests and the CLI.
  bool wait(const std::string& image, std::stop_token stop);

 private:
  void run(std::stop_token stop);

  const Pull pull_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, State> states_;  // under mutex_
  std::deque<std::string> queue_;        // under mutex_
  std::vector<std::jthread> threads_;    // last: they use the rest
};

}  // namespace creel::docker
