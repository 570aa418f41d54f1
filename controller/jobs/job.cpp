#include "controller/jobs/job.hpp"

#include <spdlog/spdlog.h>

#include <exception>

namespace creel {

Job::Job(Options options, std::function<void(std::stop_token)> pass)
    : options_(std::move(options)), pass_(std::move(pass)), thread_([this](std::stop_token stop) { run(stop); }) {}

Job::~Job() {
  thread_.request_stop();
  changed_.notify_all();
}

void Job::wake() {
  {
    const std::lock_guard lock{mutex_};
    woken_ = true;
  }
  changed_.notify_all();
}

void Job::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock{mutex_};
      changed_.wait_for(lock, stop, options_.period, [this] { return woken_; });
      woken_ = false;
    }
    if (stop.stop_requested()) return;
    if (options_.may_run && !options_.may_run()) continue;
    try {
      pass_(stop);
    } catch (const std::exception& thrown) {
      // One bad pass must not end the job for good.
      spdlog::error("{}: {}", options_.name, thrown.what());
    }
  }
}

}  // namespace creel
