// Instances: an agent's state and the wishes that change it. A wish is stored, then the answer waits until what was
// wished for is observed; what is answered is always what was observed.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/body.hpp"
#include "api/error.hpp"
#include "api/handlers/handlers.hpp"
#include "api/handlers/live_stream.hpp"
#include "api/handlers/support.hpp"
#include "api/handlers/whatsapp.hpp"
#include "api/view.hpp"
#include "controller/core/image_reference.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/chats.hpp"

namespace creel::api {

using nlohmann::json;

namespace {

constexpr const char* kFailure = "Internal server error";
constexpr std::chrono::seconds kLongestWait{180};

enum class Verb { start, stop, restart, repair, reset_memory, update };

struct Wish {
  Verb verb;
  std::uint64_t generation = 0;         // of the wish
  std::optional<TimePoint> started_at;  // of the run before
  std::string runtime_id;               // of the container before
  std::uint64_t reset = 0;              // number of the wish to clear the memory
  std::uint64_t update = 0;             // number of the wish for another image
};

bool runs(const store::AgentRow& row) { return is_running(row) && row.status.phase != Phase::stopping; }

bool desired_reached(const store::AgentRow& row) {
  if (row.status.observed_generation < row.generation) return false;
  switch (row.desired) {
    case DesiredState::running:
      return runs(row);
    case DesiredState::stopped:
      return row.status.phase == Phase::stopped;
    case DesiredState::deleted:
      return row.status.phase == Phase::deleted;
  }
  return false;
}

bool reached(const Wish& wish, const std::optional<store::AgentRow>& row) {
  if (!row) return true;
  if (wish.verb == Verb::update && row->desired != DesiredState::deleted) {
    // A newer image that was asked for meanwhile is another wish, whose outcome then is this one's, too.
    if (row->status.update_done >= wish.update) return desired_reached(*row);
    return row->desired == DesiredState::stopped && row->status.update_step == "WaitingForStart" &&
           desired_reached(*row);
  }
  // A newer wish does not do away with this one, but for the end of the agent.
  if (wish.verb == Verb::reset_memory && row->desired != DesiredState::deleted && row->status.reset_done < wish.reset)
    return false;
  // A newer wish has replaced this one: its outcome is the answer.
  if (row->generation > wish.generation || !desired_reached(*row)) return desired_reached(*row);
  switch (wish.verb) {
    case Verb::start:
    case Verb::stop:
      return true;
    case Verb::restart:
      // Running is not enough: it must be another run than the one that was to end.
      return !wish.started_at || row->status.started_at != wish.started_at;
    case Verb::repair:
      return wish.runtime_id.empty() || row->status.runtime_id != wish.runtime_id;
    case Verb::reset_memory:
      return row->status.reset_done >= wish.reset;
    case Verb::update:
      return true;
  }
  return true;
}

json observed(const store::AgentRow& row) {
  json body{{"status", agent_status(row)}, {"agentId", row.id.str()}};
  add_state(body, row);
  return body;
}

// What the document answers where it has a sentence, and what is said as long as that is not so.
std::pair<const char*, const char*> sentences(Verb verb) {
  switch (verb) {
    case Verb::repair:
      return {"Agent repaired successfully", "Repair is under way"};
    case Verb::reset_memory:
      return {"Memory reset successfully", "The memory is being reset"};
    case Verb::start:
    case Verb::stop:
    case Verb::restart:
    case Verb::update:
      break;
  }
  return {};
}

Response success(const Wish& wish, const store::AgentRow& row, bool pending) {
  json body = observed(row);
  body["success"] = true;
  if (pending) body["pending"] = true;
  if (const auto [done, under_way] = sentences(wish.verb); done != nullptr) {
    // "message" is the document's sentence here; the reason of the state stays readable beside it.
    body["stateMessage"] = row.status.message;
    body["message"] = pending ? under_way : done;
  }
  return json_answer(200, body);
}

Response failure(const Request& request, const char* code, std::string message, const store::AgentRow& row) {
  json body = observed(row);
  body["observedStatus"] = body["status"];
  body["success"] = false;
  body["status"] = "error";
  body["pending"] = true;  // the wish is stored and will be carried out
  return error_answer(request, 502, code, std::move(message), body);
}

// What became of an update; nullopt: neither done nor given up yet.
std::optional<Response> update_end(const Request& request, const Wish& wish, const store::AgentRow& row,
                                   bool satisfied) {
  const AgentStatus& status = row.status;
  if (status.update_done < wish.update) {
    if (satisfied) return success(wish, row, true);  // of a stopped agent: at its next start
    return std::nullopt;
  }
  if (status.update_outcome == "Committed") {
    if (satisfied) return success(wish, row, false);
    return std::nullopt;
  }
  const bool rolled_back = status.update_outcome == "RolledBack";
  json body = observed(row);
  body["observedStatus"] = body["status"];
  body["success"] = false;
  body["status"] = "error";
  body["rolledBack"] = rolled_back;
  body["image"] = image_of(row);
  return error_answer(request, 502, rolled_back ? "UPDATE_ROLLED_BACK" : "UPDATE_FAILED",
                      (rolled_back ? "The update was rolled back: " : "The update was given up and changed nothing: ") +
                          status.update_reason,
                      body);
}

Response answer(const Request& request, const Wish& wish, const WaitOutcome& outcome) {
  if (outcome.error) {
    Response response =
        error_answer(request, 503, outcome.error->kind == ErrorKind::cancelled ? "STOPPING" : "STORE_UNAVAILABLE",
                     "The wish is stored and will be carried out, but its outcome cannot be told at the moment",
                     json{{"success", false}, {"status", "error"}, {"pending", true}});
    response.headers.emplace_back("Retry-After", "2");
    return response;
  }
  if (!outcome.row) return json_answer(200, json{{"success", true}, {"status", "stopped"}, {"deleted", true}});
  const store::AgentRow& row = *outcome.row;
  if (wish.verb == Verb::update) {
    if (const auto end = update_end(request, wish, row, outcome.satisfied)) return *end;
  } else if (outcome.satisfied) {
    return success(wish, row, false);
  }
  if (is_condition(row, "EngineReachable", "False"))
    return failure(request, "ENGINE_UNREACHABLE",
                   "The container engine cannot be reached; the wish is stored and will be carried out", row);
  if (row.status.observed_generation < wish.generation)
    return failure(request, "NOT_OBSERVED", "The wish is stored, but was not taken up in time; it will be carried out",
                   row);
  if (agent_status(row) == "error")
    return failure(request, "AGENT_FAILED", row.status.message.empty() ? "The agent does not run" : row.status.message,
                   row);
  return success(wish, row, true);
}

const char* event_reason(Verb verb) {
  switch (verb) {
    case Verb::start:
      return "StartRequested";
    case Verb::stop:
      return "StopRequested";
    case Verb::restart:
      return "RestartRequested";
    case Verb::repair:
      return "RepairRequested";
    case Verb::reset_memory:
      return "MemoryResetRequested";
    case Verb::update:
      return "UpdateRequested";
  }
  return "StartRequested";
}

// The image an update is to take: what was asked for, if it may be, else the template's. 0 rows are changed here.
Result<std::string> image_to_take(const store::AgentRow& row, const std::optional<std::string>& asked,
                                  const Deps& deps) {
  const Template* tmpl = deps.templates.find(row.template_name);
  if (tmpl == nullptr)
    return Error{ErrorKind::conflict,
                 "The template " + row.template_name + " of this agent is not installed any more",
                 {},
                 "TEMPLATE_MISSING"};
  if (!asked) return tmpl->image;
  const auto name = parse_fixed_image(*asked);
  if (!name) return invalid("image", "The field image " + name.error().message + "; write for example repository:tag");
  const auto& allowed = tmpl->image_allowlist;
  if (std::find(allowed.begin(), allowed.end(), name->repository) == allowed.end()) {
    std::string known;
    for (const auto& repository : allowed) known += (known.empty() ? "" : ", ") + repository;
    return invalid("image", "The field image must name an image of " + known);
  }
  return *asked;
}

Reply lifecycle(const Request& request, Deps& deps, Verb verb) {
  const auto usual = verb == Verb::update ? kLongestWait : deps.settings.lifecycle_wait;
  CREEL_API_TRY(const auto wait, request, "", wait_of(request, usual, kLongestWait));
  std::optional<std::string> asked;
  if (verb == Verb::update) {
    CREEL_API_TRY(const auto body, request, "", json_object(request));
    CREEL_API_TRY(asked, request, "", text_field(body, "image"));
  }
  CREEL_API_TRY(auto tx, request, kFailure, deps.db.begin());
  CREEL_API_TRY(auto row, request, kFailure, find_instance(tx, *request.caller, request.param("userId"), true));
  if (!row) return instance_forbidden(request);

  Wish wish{verb, row->generation, row->status.started_at, row->status.runtime_id};
  const DesiredState desired = verb == Verb::stop           ? DesiredState::stopped
                               : verb == Verb::reset_memory ? row->desired  // forgetting starts nothing
                               : verb == Verb::update       ? row->desired  // the next start takes it
                                                            : DesiredState::running;
  // Repeating is harmless: what is so already is answered without a new wish.
  if ((verb == Verb::start || verb == Verb::stop) && row->desired == desired && desired_reached(*row))
    return success(wish, *row, false);
  row->desired = desired;
  if (verb == Verb::restart) ++row->restart_wish;
  if (verb == Verb::repair) ++row->repair_wish;
  if (verb == Verb::update) {
    CREEL_API_TRY(row->update_image, request, kFailure, image_to_take(*row, asked, deps));
    wish.update = ++row->update_wish;
  }
  if (verb == Verb::reset_memory) {
    // What is memory is the template's to say; one that is gone has said it at an earlier time, or never.
    if (const Template* tmpl = deps.templates.find(row->template_name))
      row->memory_paths = tmpl->memory;
    else if (row->memory_paths.empty())
      return error_answer(request, 409, "TEMPLATE_MISSING",
                          "The template " + row->template_name + " of this agent is not installed any more");
    if (row->memory_paths.empty())
      return error_answer(request, 409, "NO_MEMORY",
                          "The template " + row->template_name + " names nothing that could be cleared (memory)");
    wish.reset = ++row->reset_wish;
    // What was said is kept as a record, but not as what the agent still knows.
    CREEL_API_CHECK(request, kFailure, store::end_sessions(tx, row->id, deps.clock()));
  }
  CREEL_API_CHECK(request, kFailure, store::save_wish(tx, *row));
  CREEL_API_CHECK(request, kFailure,
                  record_event(tx, row->id, "wish", event_reason(verb),
                               std::string{"Desired state is "} + to_string(desired), request));
  CREEL_API_CHECK(request, kFailure, tx.commit());
  wish.generation = row->generation;
  if (wait.count() == 0) return success(wish, *row, true);

  Later later;
  later.start = [&deps, brief = without_body(request), id = row->id, wait,
                 wish](std::function<void(Response)> complete) {
    deps.waiters.wait(
        id, wait, [wish](const auto& seen) { return reached(wish, seen); },
        [brief, wish, complete = std::move(complete)](WaitOutcome outcome) { complete(answer(brief, wish, outcome)); });
  };
  return later;
}

}  // namespace

Reply start_instance(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::start); }
Reply stop_instance(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::stop); }
Reply restart_instance(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::restart); }
Reply repair_instance(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::repair); }
Reply update_instance(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::update); }
Reply reset_memory(const Request& request, Deps& deps) { return lifecycle(request, deps, Verb::reset_memory); }

Reply get_instance(const Request& request, Deps& deps) {
  CREEL_API_TRY(auto tx, request, "Failed to fetch instance", deps.db.begin());
  CREEL_API_TRY(const auto row, request, "Failed to fetch instance",
                find_instance(tx, *request.caller, request.param("userId")));
  if (!row) return instance_forbidden(request);
  json instance = instance_detail(*row, deps.settings);
  CREEL_API_CHECK(request, "Failed to fetch instance", add_live_stream(instance, tx, *row, *request.caller, deps));
  CREEL_API_CHECK(request, "Failed to fetch instance", add_whatsapp(instance, tx, *row, *request.caller, deps));
  return json_answer(200, instance);
}

}  // namespace creel::api
