// DenialBook: what agents were refused to reach, until it is written down: all of it counted, and some of it told as
// events, never more than six an hour an agent, because an agent may try all day long.
//
// Pure but for its memory. Threads: total() any, the rest one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/clock.hpp"
#include "controller/core/ids.hpp"
#include "controller/core/ports.hpp"

namespace creel {

class DenialBook {
 public:
  static constexpr int kEventsAnHour = 6;

  // `how`: "dns", "tls", "http"; `name` may be "".
  void add(const AgentId& agent, const std::string& name, const std::string& how);
  // Since this object was made.
  std::uint64_t total(std::string_view how) const;

  struct Page {
    std::map<AgentId, std::uint64_t> counts;
    std::vector<Event> events;
  };
  // What is to be written now.
  Page page(TimePoint now) const;
  // It was.
  void written(const Page& page, TimePoint now);

 private:
  struct Agent {
    std::uint64_t uncounted = 0;
    std::map<std::string, std::uint64_t> untold;  // name -> times
    std::uint64_t untold_others = 0;              // of names beyond those
    std::vector<TimePoint> told;                  // events of the last hour
  };
  std::map<AgentId, Agent> agents_;
  std::array<std::atomic<std::uint64_t>, 3> totals_{};
};

}  // namespace creel
