#include "controller/gateway/operator.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <nlohmann/json.hpp>

#include "controller/gateway/adapter.hpp"
#include "controller/gateway/openclaw_codec.hpp"
#include "controller/gateway/openclaw_link.hpp"
#include "controller/gateway/reference_codec.hpp"
#include "controller/gateway/websocket.hpp"
#include "controller/http/client.hpp"

namespace creel::gateway {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using Link = std::shared_ptr<OpenclawLink>;

enum class Kind { openclaw, reference };

Error cancelled() { return Error{ErrorKind::cancelled, "The controller is stopping", {}, {}}; }

Error no_skill(const std::string& id) {
  return Error{ErrorKind::not_found, "The agent has no skill \"" + for_people(id, {}) + "\"", {}, "SKILL_NOT_FOUND"};
}

}  // namespace

// Everything but `stopping` is touched on the loop's thread only.
struct Operator::Impl : std::enable_shared_from_this<Operator::Impl> {
  http::Client& client;
  const OperatorOptions options;
  Locator* const locator;
  std::atomic<bool> stopping{false};
  std::map<AgentId, Link> links;
  std::shared_ptr<SocketLoop::Timer> sweep;
  SocketLoop loop;

  Impl(http::Client& http_client, OperatorOptions given, Locator* where)
      : client(http_client), options(given), locator(where) {}

  // Sets the address to where the agent is now. nullopt: the call cannot be made, and `done` has been told why not. On
  // the caller's thread.
  template <class T>
  std::optional<Kind> reach(OperatorTarget& target, const Done<T>& done) {
    std::optional<Kind> kind;
    if (target.kind == kOpenclaw.kind) kind = Kind::openclaw;
    if (target.kind == kReference.kind) kind = Kind::reference;
    if (!kind) {
      done(invalid("gateway", "There is no gateway of the kind \"" + target.kind + "\""));
      return kind;
    }
    const std::string observed = target.address;
    if (locator != nullptr) target.address = locator->locate(target.agent, observed);
    if (!target.address.empty()) return kind;
    done(nobody_there(observed));
    return std::nullopt;
  }

  // --- OpenClaw ---

  // On the loop, with a link that may still be signing in.
  template <class T>
  void with_link(const OperatorTarget& target, Done<T> done,
                 std::function<void(Link, Clock::time_point by, Done<T>)> use) {
    if (target.device_key.empty()) {
      return done(Error{ErrorKind::conflict,
                        "This agent was made before Creel paired itself with agents; store its configuration once more "
                        "(GET, then PUT /api/agents/" +
                            target.agent.str() + "/config), which delivers the pairing",
                        {},
                        "GATEWAY_NOT_PAIRED"});
    }
    if (stopping) return done(cancelled());
    const auto by = Clock::now() + options.request_deadline;
    loop.post([self = shared_from_this(), target, by, done = std::move(done), use = std::move(use)] {
      if (self->stopping) return done(cancelled());
      Link link = self->link_to(target);
      if (!link)
        return done(Error{ErrorKind::unavailable, "Too many agents are being asked at once; try again", {}, {}});
      use(std::move(link), by, done);
    });
  }

  Link link_to(const OperatorTarget& target) {
    if (const auto found = links.find(target.agent); found != links.end()) {
      if (!found->second->ended() && found->second->serves(target)) return found->second;
      const Link old = std::move(found->second);
      links.erase(found);
      old->end(Error{ErrorKind::unavailable, "The agent's gateway has moved or has a new token; try again", {}, {}});
    }
    if (links.size() >= options.max_connections && !make_room()) return nullptr;
    auto link = std::make_shared<OpenclawLink>(loop, target, options);
    links.emplace(target.agent, link);
    link->start();
    if (!sweep) sweep_later();
    return link;
  }

  bool make_room() {
    auto idlest = links.end();
    for (auto at = links.begin(); at != links.end(); ++at) {
      if (at->second->busy()) continue;
      if (idlest == links.end() || at->second->last_used() < idlest->second->last_used()) idlest = at;
    }
    if (idlest == links.end()) return false;
    close(idlest);
    return true;
  }

  std::map<AgentId, Link>::iterator close(std::map<AgentId, Link>::iterator at) {
    const Link link = std::move(at->second);
    const auto next = links.erase(at);
    link->end(cancelled());
    return next;
  }

  void sweep_later() {
    sweep = loop.after(options.idle / 2, [this] {
      const auto old = Clock::now() - options.idle;
      for (auto at = links.begin(); at != links.end();) {
        const OpenclawLink& link = *at->second;
        at = link.ended() || (!link.busy() && link.last_used() < old) ? close(at) : std::next(at);
      }
      sweep.reset();
      if (!links.empty()) sweep_later();
    });
  }

  void stop() {
    stopping = true;
    loop.post([this] {
      sweep.reset();
      while (!links.empty()) close(links.begin());
    });
    loop.join();
  }

  // --- the reference agent ---

  // `read` makes the value of a body that came with 200.
  template <class T>
  void fetch(const OperatorTarget& target, const std::string& path, http::Headers headers, Done<T> done,
             std::function<T(const std::string& body)> read) {
    http::Request request;
    request.url = "http://" + target.address + path;
    request.headers = std::move(headers);
    request.headers.emplace_back("authorization", "Bearer " + target.token);
    request.connect_timeout = options.connect_deadline;
    request.deadline = options.request_deadline;
    request.max_body = options.max_message;
    client.send_async(std::move(request), [token = target.token, done = std::move(done),
                                           read = std::move(read)](Result<http::Response> response) {
      if (!response) {
        Error error = response.error();
        if (error.kind == ErrorKind::timeout) error.message = "The agent's gateway did not answer in time";
        if (error.kind == ErrorKind::unavailable)
          error.message = "The agent's gateway cannot be reached: " + error.message;
        return done(error);
      }
      if (response->status == 200) return done(read(response->body));
      if (response->status == 401)
        return done(
            Error{ErrorKind::failed, "The agent's gateway refused the controller's token", {}, "TOKEN_REFUSED"});
      const std::string reason = for_people(reason_in(response->body), token);
      done(Error{
          ErrorKind::failed,
          "The agent's gateway answered " + std::to_string(response->status) + (reason.empty() ? "" : ": " + reason),
          {},
          {}});
    });
  }
};

Operator::Operator(http::Client& client, OperatorOptions options, Locator* locator)
    : impl_(std::make_shared<Impl>(client, options, locator)) {}
Operator::~Operator() { impl_->stop(); }

void Operator::health(OperatorTarget target, Done<GatewayHealth> done) {
  const auto kind = impl_->reach(target, done);
  if (!kind) return;
  if (*kind == Kind::reference)
    return impl_->fetch<GatewayHealth>(target, "/v1/status", {}, std::move(done), reference_health);
  impl_->with_link<GatewayHealth>(target, std::move(done), [](auto link, auto by, auto told) {
    link->ask(
        "channels.status", Json{{"probe", false}}, by, [link, by, told](const Error* error, const Json& channels) {
          if (error != nullptr) return told(*error);
          // For the default model, which nothing else names with its provider.
          link->ask("sessions.list", Json{{"limit", 1}}, by,
                    [link, channels, told](const Error* failed, const Json& list) {
                      if (failed != nullptr) return told(*failed);
                      const auto since = std::chrono::duration_cast<milliseconds>(Clock::now() - link->hello_at());
                      told(openclaw_health(link->hello(), channels, list, since));
                    });
        });
  });
}

void Operator::sessions(OperatorTarget target, Done<std::vector<GatewaySession>> done) {
  using Sessions = std::vector<GatewaySession>;
  const auto kind = impl_->reach(target, done);
  if (!kind) return;
  if (*kind == Kind::reference)
    return impl_->fetch<Sessions>(target, "/v1/sessions", {}, std::move(done), reference_sessions);
  impl_->with_link<Sessions>(target, std::move(done), [](auto link, auto by, auto told) {
    link->ask("sessions.list", Json::object(), by, [told](const Error* error, const Json& list) {
      error != nullptr ? told(*error) : told(openclaw_sessions(list));
    });
  });
}

void Operator::history(OperatorTarget target, const std::string& session_key, std::size_t limit,
                       Done<std::vector<GatewayMessage>> done) {
  using Messages = std::vector<GatewayMessage>;
  const auto kind = impl_->reach(target, done);
  if (!kind) return;
  limit = std::clamp<std::size_t>(limit, 1, 1000);
  if (*kind == Kind::reference) {
    return impl_->fetch<Messages>(
        target, "/v1/messages?limit=" + std::to_string(limit),
        {{"x-openclaw-session-key", session_header(session_key)}}, std::move(done),
        [session_key](const std::string& body) { return reference_history(session_key, body); });
  }
  const std::weak_ptr<Impl> impl = impl_;
  impl_->with_link<Messages>(
      target, std::move(done), [impl, target, session_key, limit](auto link, auto by, auto told) {
        const std::string key = openclaw_key(session_key);
        const auto shortened = [session_key, key, limit, by, told](const Link& through) {
          const Json params{{"sessionKey", key}, {"limit", limit}};
          through->ask("chat.history", params, by, [session_key, told](const Error* error, const Json& history) {
            error != nullptr ? told(*error) : told(openclaw_history(session_key, history));
          });
        };
        // Whole messages. chat.history cuts long ones, but every gateway has it and it bounds its answer.
        const Json params{{"key", key}, {"limit", limit}};
        link->ask("sessions.get", params, by,
                  [impl, target, link, session_key, told, shortened](const Error* error, const Json& history) {
                    if (error == nullptr) return told(openclaw_history(session_key, history));
                    if (error->code == "UNKNOWN_METHOD") return shortened(link);
                    const auto self = impl.lock();
                    if (error->code != "MESSAGE_TOO_LONG" || !self || self->stopping) return told(*error);
                    const Link again = self->link_to(target);
                    again ? shortened(again) : told(*error);
                  });
      });
}

void Operator::skills(OperatorTarget target, Done<std::vector<GatewaySkill>> done) {
  using Skills = std::vector<GatewaySkill>;
  const auto kind = impl_->reach(target, done);
  if (!kind) return;
  if (*kind == Kind::reference) return done(Skills{});
  impl_->with_link<Skills>(target, std::move(done), [](auto link, auto by, auto told) {
    link->ask("skills.status", Json::object(), by, [told](const Error* error, const Json& list) {
      error != nullptr ? told(*error) : told(openclaw_skills(list));
    });
  });
}

void Operator::set_skill(OperatorTarget target, const std::string& skill_id, bool enabled, Done<GatewaySkill> done) {
  const auto kind = impl_->reach(target, done);
  if (!kind) return;
  if (*kind == Kind::reference) return done(no_skill(skill_id));
  const auto find = [skill_id](const Json& list) -> Result<GatewaySkill> {
    for (auto& skill : openclaw_skills(list))
      if (skill.id == skill_id) return skill;
    return no_skill(skill_id);
  };
  impl_->with_link<GatewaySkill>(target, std::move(done), [skill_id, enabled, find](auto link, auto by, auto told) {
    // The gateway takes any name for a skill's.
    link->ask("skills.status", Json::object(), by, [=](const Error* error, const Json& before) {
      if (error != nullptr) return told(*error);
      if (auto found = find(before); !found) return told(std::move(found));
      const Json change{{"skillKey", skill_id}, {"enabled", enabled}};
      link->ask("skills.update", change, by, [=](const Error* refused, const Json&) {
        if (refused != nullptr) return told(*refused);
        link->ask("skills.status", Json::object(), by, [=](const Error* failed, const Json& after) {
          failed != nullptr ? told(*failed) : told(find(after));
        });
      });
    });
  });
}

}  // namespace creel::gateway
