// What is on the engine though no agent is there for it: the leader's last report, for administrators.
#include "controller/store/orphans.hpp"

#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/support.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }
json time_or_null(const std::optional<TimePoint>& time) { return time ? json(to_rfc3339(*time)) : json(nullptr); }

json view(const Orphan& orphan) {
  return json{{"kind", orphan.kind},
              {"name", orphan.name},
              {"id", orphan.id},
              {"agentId", text_or_null(orphan.agent)},
              {"cause", orphan.cause},
              {"message", orphan.message},
              {"problem", text_or_null(orphan.problem)},
              {"firstSeen", to_rfc3339(orphan.first_seen)},
              {"lastSeen", to_rfc3339(orphan.last_seen)},
              {"removeAt", time_or_null(orphan.remove_at)}};
}

}  // namespace

Reply list_orphans(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, "Failed to list orphans", deps.db.begin());
  CREEL_API_TRY(const auto report, request, "Failed to list orphans", store::orphan_report(tx, deps.controller_id));
  json answer{{"orphans", json::array()},      {"mode", nullptr},     {"graceSeconds", nullptr},
              {"volumeGraceSeconds", nullptr}, {"lookedAt", nullptr}, {"problem", nullptr}};
  if (report) {
    for (const Orphan& orphan : report->orphans) answer["orphans"].push_back(view(orphan));
    answer["mode"] = to_string(report->mode);
    answer["graceSeconds"] = report->grace.count() / 1000;
    answer["volumeGraceSeconds"] = report->volume_grace.count() / 1000;
    answer["lookedAt"] = time_or_null(report->looked_at);
    answer["problem"] = text_or_null(report->problem);
  }
  answer["count"] = answer["orphans"].size();
  return json_answer(200, answer);
}

}  // namespace creel::api
