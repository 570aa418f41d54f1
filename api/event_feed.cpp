#include "api/event_feed.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "api/view.hpp"
#include "controller/store/events.hpp"

namespace creel::api {
namespace {

constexpr std::size_t kPage = 200;
// How soon a reader without room is looked at again.
constexpr std::chrono::milliseconds kRoomCheck{50};

// An event, and how every reader is told of it.
struct Told {
  store::StoredEvent event;
  std::string text;
};

std::vector<Told> told(std::vector<store::StoredEvent> events) {
  std::vector<Told> all;
  all.reserve(events.size());
  for (auto& event : events) {
    std::string text = "id: " + std::to_string(event.id) +
                       "\ndata: " + event_view(event).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                       "\n\n";
    all.push_back({std::move(event), std::move(text)});
  }
  return all;
}

}  // namespace

struct EventFeed::Impl {
  struct Reader {
    std::shared_ptr<StreamSink> sink;
    Scope scope;
    std::optional<std::int64_t> place;  // nullopt: has just come, and wants what comes from now on
    bool greeted = false;
    bool caught_up = false;  // has everything up to `end`

    bool sees(const store::StoredEvent& event) const {
      if (event.id <= *place) return false;
      if (scope.agent && event.event.agent != *scope.agent) return false;
      return !scope.owner || event.owner == scope.owner;
    }
  };

  store::Database& database;
  const std::size_t max_readers;
  const std::chrono::milliseconds poll;

  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<std::shared_ptr<Reader>> coming;  // under mutex
  std::size_t count = 0;                        // under mutex
  bool woken = false;                           // under mutex
  bool stopped = false;                         // under mutex

  // Of the thread alone.
  std::vector<std::shared_ptr<Reader>> present;
  std::int64_t end = 0;  // how far those who have caught up have read
  bool complained = false;
  std::jthread thread;  // last: it uses the rest

  Impl(store::Database& db, std::size_t max, std::chrono::milliseconds period)
      : database(db), max_readers(max), poll(period), thread([this](std::stop_token stop) { run(stop); }) {}

  // Sends `events` as far as they are the reader's. False: there was no room, and its place is as before.
  static bool send(Reader& reader, const std::vector<Told>& events) {
    std::string text;
    for (const auto& one : events)
      if (reader.sees(one.event)) text += one.text;
    if (!text.empty() && reader.sink->offer(text) != StreamSink::Offer::taken) return false;
    if (!events.empty()) reader.place = std::max(*reader.place, events.back().event.id);
    return true;
  }

  // The id in front lets a reader that has got nothing yet come back to where it began.
  static bool greet(Reader& reader) {
    const std::string text = "retry: 2000\nid: " + std::to_string(*reader.place) + "\n\n";
    reader.greeted = reader.sink->offer(text) == StreamSink::Offer::taken;
    return reader.greeted;
  }

  // What is new goes to all who have caught up.
  Result<void> advance() {
    for (;;) {
      CREEL_TRY(auto tx, database.begin());
      CREEL_TRY(auto listed, store::list_events(tx, std::nullopt, end, kPage));
      const std::vector<Told> events = told(std::move(listed));
      for (auto& reader : present)
        if (reader->caught_up) reader->caught_up = send(*reader, events);
      if (!events.empty()) end = events.back().event.id;
      if (events.size() < kPage) return {};
    }
  }

  // One page for each who has not. True: somebody has more to get at once.
  Result<bool> catch_up() {
    bool more = false;
    for (auto& reader : present) {
      // Not asked for before there is room: one that takes nothing costs nothing.
      if (reader->caught_up || reader->sink->closed() || !reader->sink->drained()) continue;
      CREEL_TRY(auto tx, database.begin());
      if (!reader->place) {
        CREEL_TRY(reader->place, store::newest_event(tx));
      }
      if (!reader->greeted && !greet(*reader)) continue;
      const Scope& scope = reader->scope;
      CREEL_TRY(auto listed, scope.owner ? store::list_events_of(tx, *scope.owner, *reader->place, kPage)
                                         : store::list_events(tx, scope.agent, *reader->place, kPage));
      const std::vector<Told> events = told(std::move(listed));
      if (!send(*reader, events)) continue;
      // Nothing was left: what is to come, or came since `end`, comes with advance().
      if (events.empty())
        reader->caught_up = true;
      else
        more = true;
    }
    return more;
  }

  Result<bool> pass() {
    if (std::none_of(present.begin(), present.end(), [](const auto& reader) { return reader->caught_up; })) {
      CREEL_TRY(auto tx, database.begin());
      CREEL_TRY(end, store::newest_event(tx));
    } else {
      CREEL_CHECK(advance());
    }
    return catch_up();
  }

  void run(std::stop_token stop) {
    auto wait = poll;
    while (!stop.stop_requested()) {
      {
        std::unique_lock lock{mutex};
        if (present.empty() && coming.empty())
          changed.wait(lock, stop, [this] { return !coming.empty(); });
        else
          changed.wait_for(lock, stop, wait, [this] { return woken; });
        woken = false;
        present.insert(present.end(), coming.begin(), coming.end());
        coming.clear();
        std::erase_if(present, [](const auto& reader) { return reader->sink->closed(); });
        count = present.size();
      }
      if (stop.stop_requested() || present.empty()) continue;
      const auto more = pass();
      if (!more && !complained) spdlog::warn("event streams: {}", more.error().message);
      complained = !more;
      const bool behind =
          std::any_of(present.begin(), present.end(), [](const auto& reader) { return !reader->caught_up; });
      wait = !more ? poll : *more ? std::chrono::milliseconds{0} : behind ? std::min(kRoomCheck, poll) : poll;
    }
    for (const auto& reader : present) reader->sink->close();
  }
};

EventFeed::EventFeed(store::Database& database, std::size_t max_readers, std::chrono::milliseconds poll)
    : impl_(std::make_unique<Impl>(database, max_readers, poll)) {}

EventFeed::~EventFeed() { stop(); }

bool EventFeed::follow(std::shared_ptr<StreamSink> sink, Scope scope, std::optional<std::int64_t> after) {
  const std::lock_guard lock{impl_->mutex};
  if (impl_->stopped || impl_->count >= impl_->max_readers) return false;
  auto reader = std::make_shared<Impl::Reader>();
  reader->sink = std::move(sink);
  reader->scope = std::move(scope);
  reader->place = after;
  impl_->coming.push_back(std::move(reader));
  ++impl_->count;
  impl_->woken = true;
  impl_->changed.notify_all();
  return true;
}

bool EventFeed::full() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->stopped || impl_->count >= impl_->max_readers;
}

std::size_t EventFeed::readers() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->count;
}

void EventFeed::notify() {
  const std::lock_guard lock{impl_->mutex};
  impl_->woken = true;
  impl_->changed.notify_all();
}

void EventFeed::stop() {
  std::vector<std::shared_ptr<Impl::Reader>> late;
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopped = true;
  }
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  {
    const std::lock_guard lock{impl_->mutex};
    late.swap(impl_->coming);
  }
  for (const auto& reader : late) reader->sink->close();
}

}  // namespace creel::api
