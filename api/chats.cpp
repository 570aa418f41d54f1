#include "api/chats.hpp"

#include <spdlog/spdlog.h>

#include <mutex>
#include <set>
#include <vector>

#include "controller/store/chats.hpp"

namespace creel::api {
namespace {

constexpr const char* kLost = "The controller was stopped before the agent's reply came; send the message again";

}  // namespace

struct Chats::UnderWay {
  std::mutex mutex;
  std::multiset<std::int64_t> messages;
};

Chats::Chats(store::Database& db, std::chrono::milliseconds hold)
    : db_(db), hold_(hold), under_way_(std::make_shared<UnderWay>()) {}

Chats::Hold Chats::keep(std::int64_t message) {
  {
    const std::lock_guard lock{under_way_->mutex};
    under_way_->messages.insert(message);
  }
  return Hold{nullptr, [under_way = under_way_, message](void*) {
                const std::lock_guard lock{under_way->mutex};
                under_way->messages.erase(under_way->messages.find(message));
              }};
}

void Chats::pass() {
  std::vector<std::int64_t> held;
  {
    const std::lock_guard lock{under_way_->mutex};
    held.assign(under_way_->messages.begin(), under_way_->messages.end());
  }
  const auto passed = [&]() -> Result<std::int64_t> {
    if (!held.empty()) {
      CREEL_TRY(auto tx, db_.begin());
      CREEL_CHECK(store::hold_messages(tx, held, hold_));
      CREEL_CHECK(tx.commit());
    }
    CREEL_TRY(auto tx, db_.begin());
    CREEL_TRY(const auto lost, store::fail_lost_messages(tx, kLost));
    CREEL_CHECK(tx.commit());
    return lost;
  }();
  if (!passed) return spdlog::warn("chats: {}", passed.error().message);
  if (*passed > 0) spdlog::warn("chats: {} messages were left behind by a controller that ended", *passed);
}

}  // namespace creel::api
