// Happenings: what the parts do, counted as it happens. Handed to them as the observers they know.
//
// Threads: any. Nothing blocks.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "controller/gateway/gateway.hpp"
#include "controller/metrics/metrics.hpp"
#include "reconciler/reconciler.hpp"

namespace creel {

class Happenings : public PassObserver {
 public:
  explicit Happenings(Metrics& metrics) : metrics_(metrics) {}

  // This process leads from now on: series that only a leader has begin at 0, so that their first increment is seen.
  void lead();

  void passed(const PassReport& report, std::chrono::microseconds took) override;
  void acted(const Action& action, bool succeeded, std::chrono::microseconds took) override;
  void called_engine(const char* verb, const std::string& code, std::chrono::microseconds took);
  void pulled(bool succeeded, std::chrono::milliseconds took);
  void collected(const std::string& platform, std::size_t messages);

  using ChatDone = std::function<void(Result<gateway::ChatReply>)>;
  // `done`, which also counts what came of a chat that is sent now. `channel`: "api", "whatsapp".
  ChatDone counting(const char* channel, ChatDone done);

 private:
  Metrics& metrics_;
};

}  // namespace creel
