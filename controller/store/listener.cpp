#include "controller/store/listener.hpp"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "controller/store/agents.hpp"
#include "controller/store/events.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/whatsapp.hpp"

namespace creel::store {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kLongestBackoff{5'000};
// A connection on which nothing came for so long is asked for a sign of life: a server that vanished says nothing.
constexpr milliseconds kQuiet{20'000};

}  // namespace

struct Listener::Impl {
  struct Subscriber {
    std::string channel;
    Callback callback;
    bool greeted = false;  // has been called with "" since the connection stands
  };

  std::string conninfo;
  int wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::atomic<bool> connected{false};

  std::mutex mutex;
  std::condition_variable_any woken;
  std::vector<std::shared_ptr<Subscriber>> subscribers;
  std::jthread thread;

  Impl() {
    if (wake_fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  ~Impl() { ::close(wake_fd); }

  void wake() const {
    const std::uint64_t one = 1;
    // Fails only when it is awake already (the counter is full).
    [[maybe_unused]] const auto written = ::write(wake_fd, &one, sizeof one);
  }
  void drain_wake() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(wake_fd, &count, sizeof count);
  }

  // Callbacks run without the lock, so that one may subscribe another.
  void greet(bool everybody) {
    std::vector<std::shared_ptr<Subscriber>> due;
    {
      const std::lock_guard lock{mutex};
      for (const auto& subscriber : subscribers) {
        if (!everybody && subscriber->greeted) continue;
        subscriber->greeted = true;
        due.push_back(subscriber);
      }
    }
    for (const auto& subscriber : due) subscriber->callback({});
  }

  void deliver(const Notification& notification) {
    std::vector<std::shared_ptr<Subscriber>> due;
    {
      const std::lock_guard lock{mutex};
      for (const auto& subscriber : subscribers) {
        if (subscriber->channel == notification.channel) due.push_back(subscriber);
      }
    }
    for (const auto& subscriber : due) subscriber->callback(notification.payload);
  }

  Error listen(ListenConnection& connection, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      greet(false);
      auto found = connection.wait(kQuiet, wake_fd);
      if (!found) return found.error();
      drain_wake();
      for (const auto& notification : *found) {
        if (stop.stop_requested()) break;
        deliver(notification);
      }
      if (found->empty()) {
        if (auto alive = connection.check(); !alive) return alive.error();
      }
    }
    return Error{ErrorKind::cancelled, "stopped"};
  }

  void run(const std::stop_token& stop) {
    const std::stop_callback on_stop{stop, [this] { wake(); }};
    auto backoff = kFirstBackoff;
    bool complained = false;
    while (!stop.stop_requested()) {
      const std::vector<std::string> channels{kAgentChannel, kStatusChannel, kEventChannel, kWhatsappChannel};
      auto connection = ListenConnection::open(conninfo, channels);
      Error error;
      if (connection) {
        complained = false;
        backoff = kFirstBackoff;
        connected = true;
        greet(true);
        error = listen(*connection, stop);
        connected = false;
      } else {
        error = connection.error();
      }
      if (stop.stop_requested()) return;
      if (!complained) spdlog::warn("listening to PostgreSQL: {}", error.message);
      complained = true;
      std::unique_lock lock{mutex};
      woken.wait_for(lock, stop, backoff, [&] { return stop.stop_requested(); });
      backoff = std::min(backoff * 2, kLongestBackoff);
    }
  }
};

Listener::Listener(std::string conninfo) : impl_(std::make_unique<Impl>()) { impl_->conninfo = std::move(conninfo); }

Listener::~Listener() { stop(); }

void Listener::subscribe(const std::string& channel, Callback callback) {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->subscribers.push_back(std::make_shared<Impl::Subscriber>(Impl::Subscriber{channel, std::move(callback)}));
  }
  impl_->wake();
}

void Listener::start() {
  if (impl_->thread.joinable()) return;
  impl_->thread = std::jthread{[impl = impl_.get()](const std::stop_token& stop) { impl->run(stop); }};
}

void Listener::stop() {
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

bool Listener::connected() const { return impl_->connected; }

}  // namespace creel::store
