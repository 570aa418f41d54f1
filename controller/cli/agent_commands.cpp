#include "controller/cli/agent_commands.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "controller/cli/format.hpp"
#include "controller/cli/watch.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// A first pull of a large image; whoever does not want to wait so long presses Ctrl-C.
constexpr std::chrono::seconds kProvisionWait{600};
constexpr int kLongestApiWait = 60;

Result<std::string> read_whole(Io& io, const std::string& option, const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(io.in), {});
  std::ifstream in(path, std::ios::binary);
  if (!in) return invalid(option, option + ": the file " + path + " cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<Json> read_fragment(Io& io, const std::string& path) {
  using Fragment = Result<Json>;
  CREEL_TRY(const std::string content, read_whole(io, "--config-file", path));
  Json fragment = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!fragment.is_object())
    return invalid("--config-file", (path == "-" ? "standard input" : path) + " does not hold a JSON object");
  return Fragment{boost::system::in_place_value, std::move(fragment)};
}

// The first line, without what an editor or a clipboard put around it. No error holds the secret.
Result<std::string> read_secret(Io& io, const std::string& option, const std::string& source,
                                const config::Environment& environment) {
  std::string text;
  if (source.starts_with("env:")) {
    const auto found = environment.find(source.substr(4));
    if (found != environment.end()) text = found->second;
    if (text.empty()) return invalid(option, option + ": the variable " + source.substr(4) + " is not set");
  } else if (source == "-") {
    std::getline(io.in, text);
  } else {
    CREEL_TRY(text, read_whole(io, option, source));
  }
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return invalid(option, option + ": " + source + " holds nothing");
  text.erase(0, begin);
  text.erase(text.find_first_of("\r\n", 0) == std::string::npos ? text.size() : text.find_first_of("\r\n", 0));
  text.erase(text.find_last_not_of(" \t") + 1);
  return text;
}

void print_warnings(Io& io, const Json& answer) {
  for (const auto& warning : member(answer, "warnings"))
    if (warning.is_string()) io.err << printable(warning.get<std::string>()) << "\n";
}

void print_webhook(Io& io, const Json& answer) {
  const Json& whatsapp = member(answer, "whatsapp");
  if (!whatsapp.is_object()) return;
  io.out << pairs({{"webhook", shown(whatsapp, "webhookPath")}, {"verify token", shown(whatsapp, "verifyToken")}});
  io.err << "Give Meta the webhook's path, after this API's own address, and the verify token.\n";
}

// Ctrl-C ends the waiting, not what is waited for.
Error said_on_interrupt(Client client, const std::string& id, Error error) {
  if (error.kind == ErrorKind::cancelled)
    client.io.err << printable("It goes on; see `creel agents show " + id + "`.") << "\n";
  return error;
}

// The agent as GET answers, once it has come to its `end` or at `until`; meanwhile shows what becomes of it.
Result<Json> await_agent(Client client, const std::string& id, Clock::time_point until,
                         const std::function<bool(const Json& agent)>& end) {
  Progress progress{client.io};
  for (;;) {
    auto answer = client.api.call("GET", agent_path(id), nullptr, kReadDeadline);
    if (!answer && (!passes(answer.error()) || Clock::now() >= until)) {
      progress.clear();
      return said_on_interrupt(client, id, answer.error());
    }
    if (answer && (end(member(*answer, "agent")) || Clock::now() >= until)) return answer;
    if (!client.json) progress.show(answer ? progress_of(member(*answer, "agent")) : answer.error().message);
    if (!pause(client.stop, client.io.beat)) {
      progress.clear();
      return said_on_interrupt(client, id, Error{ErrorKind::cancelled, "interrupted", {}, {}});
    }
  }
}

// As the API judges it for those that let it wait.
bool settled(const Json& agent) {
  return member(agent, "observedGeneration") >= member(agent, "generation") && shown(agent, "status") != "provisioning";
}

}  // namespace

Result<void> provision(Client client, const ProvisionOptions& options, const config::Environment& environment) {
  const bool with_channels = !options.channels.empty() || !options.sources.empty();
  int from_input = options.config == "-";
  for (const auto& [field, source] : options.sources) from_input += source == "-";
  if (from_input > 1) return invalid("", "only one option can take its value from standard input (-)");
  Json body = Json::object();
  if (!options.name.empty()) body["name"] = options.name;
  if (!options.model.empty()) body["model"] = options.model;
  if (!options.tier.empty()) body[with_channels ? "plan" : "tier"] = options.tier;
  if (!options.template_name.empty()) body["template"] = options.template_name;
  if (!options.config.empty()) {
    CREEL_TRY(body["config"], read_fragment(client.io, options.config));
  }
  for (const auto& [field, value] : options.channels) body[field] = value;
  for (const auto& [field, source] : options.sources) {
    CREEL_TRY(body[field], read_secret(client.io, field, source, environment));
  }
  http::Headers headers;
  if (!options.idempotency_key.empty()) headers.emplace_back("idempotency-key", options.idempotency_key);
  std::string path = with_channels ? "/api/provision" : "/api/agents/provision";
  // For people the waiting is done here, so that they see what is being waited for. What is made with channels waits
  // for more than the agent tells.
  const bool waits_here = !client.json && !with_channels && options.wait_seconds != 0;
  if (waits_here)
    path += "?wait=0";
  else if (options.wait_seconds)
    path += query({{"wait", std::to_string(std::min(*options.wait_seconds, kLongestApiWait))}});
  CREEL_TRY(const Json answer, client.api.call("POST", path, body, kLifecycleDeadline, std::move(headers)));
  // The one way answers with an agent, the other with its fields.
  Json agent = with_channels ? answer : member(answer, "agent");
  const std::string id = shown(agent, with_channels ? "userId" : "id");
  if (client.json) {
    print_json(client.io, answer);
  } else {
    const std::chrono::seconds longest =
        options.wait_seconds ? std::chrono::seconds{*options.wait_seconds} : kProvisionWait;
    client.io.out << pairs({{"id", id},
                            {"name", shown(agent, "name")},
                            {"model", shown(agent, "model")},
                            {"websocket", shown(agent, "websocketUrl")},
                            {"live stream", shown(agent, "liveStreamId")},
                            {"stream key", shown(agent, "streamKey")},
                            {"status", waits_here ? "" : shown(agent, "status")}})
                  << std::flush;
    print_webhook(client.io, answer);
    print_warnings(client.io, answer);
    if (waits_here) {
      CREEL_TRY(const Json made, await_agent(client, id, Clock::now() + longest, settled));
      agent = member(made, "agent");
      // The one word that differs from what the other answers call it.
      if (shown(agent, "status") == "active") agent["status"] = "running";
      client.io.out << "status     " << printable(shown(agent, "status")) << "\n";
    }
    if (shown(agent, "status") == "provisioning")
      client.io.err << "It is being made; `creel agents show " << id << " --watch` follows it.\n";
  }
  if (shown(agent, "status") != "error") return {};
  const std::string why = shown(agent, "message");
  return Error{ErrorKind::failed,
               "the agent " + id + " was made, but does not run" + (why.empty() ? "" : ": " + why) +
                   "; `creel agents plan " + id + "` says what is done about it",
               {},
               "AGENT_FAILED"};
}

Result<void> set_credential(Client client, const std::string& id, const std::string& key, const std::string& source,
                            const config::Environment& environment) {
  Json body = {{"action", "set-credential"}, {"agentId", id}, {"key", key}, {"value", ""}};
  if (!source.empty()) {
    CREEL_TRY(body["value"], read_secret(client.io, "--from", source, environment));
  }
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/agent", body, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << printable(id + ": " + key) << (source.empty() ? " removed" : " set") << "\n";
  print_webhook(client.io, answer);
  return {};
}

Result<void> egress(Client client, const std::string& id, const std::vector<std::string>& entries) {
  const std::string path = "/api/agents/" + http::url_encode(id) + "/egress";
  Json body = nullptr;
  if (entries.size() == 1 && (entries[0] == "open" || entries[0] == "none"))
    body = Json{{"egress", entries[0]}};
  else if (!entries.empty())
    body = Json{{"egress", entries}};
  CREEL_TRY(const Json answer, client.api.call(body.is_null() ? "GET" : "PUT", path, body, kReadDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  std::string names;
  for (const auto& name : member(answer, "names")) names += (names.empty() ? "" : " ") + name.get<std::string>();
  const Json& wish = member(answer, "egress");
  std::string written = wish.is_string() ? wish.get<std::string>() : "";
  if (wish.is_array())
    for (const auto& entry : wish) written += (written.empty() ? "" : " ") + entry.get<std::string>();
  client.io.out << pairs({{"egress", written}, {"names", names}, {"denied", shown(answer, "denied")}});
  return {};
}

Result<void> rotate_token(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/instance/" + http::url_encode(id) + "/token/rotate",
                                               Json::object(), kLifecycleDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << shown(answer, "token") << "\n";
  if (!shown(answer, "message").empty()) client.io.err << printable(shown(answer, "message")) << "\n";
  return {};
}

Result<void> open_agent(Client client, const std::string& id) {
  CREEL_TRY(const Json answer, client.api.call("POST", agent_path(id) + "/ticket", nullptr, kReadDeadline));
  if (client.json)
    print_json(client.io, answer);
  else
    client.io.out << shown(answer, "gatewayUrl") << "\n";
  return {};
}

Result<void> lifecycle(Client client, const std::string& id, const std::string& verb, std::optional<int> wait_seconds) {
  std::string path = "/api/instance/" + http::url_encode(id) + "/" + verb;
  if (wait_seconds) path += query({{"wait", std::to_string(*wait_seconds)}});
  std::optional<Follower> progress;
  if (!client.json && wait_seconds != 0) progress.emplace(client, id);
  const auto answer = client.api.call("POST", path, Json::object(), kLifecycleDeadline);
  progress.reset();
  if (!answer) return said_on_interrupt(client, id, answer.error());
  if (client.json) {
    print_json(client.io, *answer);
  } else {
    const std::string said = shown(*answer, "status").empty() ? shown(*answer, "message") : shown(*answer, "status");
    client.io.out << printable(id + ": " + said) << "\n";
    if (member(*answer, "pending") == true)
      client.io.err << "It is not done yet; `creel agents show " << printable(id) << " --watch` follows it.\n";
  }
  return {};
}

Result<void> update_agent(Client client, const std::string& id, const std::string& image,
                          std::optional<int> wait_seconds) {
  Json body = Json::object();
  if (!image.empty()) body["image"] = image;
  const auto until = Clock::now() + std::chrono::seconds{wait_seconds.value_or(180)};
  // The wish is stored at once; its steps are read from the agent until it has come to its end.
  const std::string path = "/api/instance/" + http::url_encode(id) + "/update";
  CREEL_TRY(const Json begun, client.api.call("POST", path + "?wait=0", body, kReadDeadline));
  const auto ended = [](const Json& agent) {
    const Json& update = member(agent, "update");
    return !shown(update, "outcome").empty() || shown(update, "step") == "WaitingForStart";
  };
  CREEL_TRY(const Json answer, await_agent(client, shown(begun, "agentId"), until, ended));
  const Json& update = member(member(answer, "agent"), "update");
  const std::string outcome = shown(update, "outcome");
  if (outcome == "RolledBack" || outcome == "GivenUp") {
    const bool back = outcome == "RolledBack";
    return Error{ErrorKind::failed,
                 (back ? "the update was rolled back: " : "the update was given up, nothing was changed: ") +
                     shown(update, "reason") + "; `creel agents events " + id + "` tells its steps",
                 {},
                 back ? "UPDATE_ROLLED_BACK" : "UPDATE_FAILED"};
  }
  if (client.json)
    print_json(client.io, answer);
  else if (outcome == "Committed")
    client.io.out << printable(id + ": runs " + shown(member(answer, "agent"), "image")) << "\n";
  else if (shown(update, "step") == "WaitingForStart")
    client.io.out << printable(id + ": the image is there, and is tried at the next start (`creel agents start " + id +
                               "`)")
                  << "\n";
  else
    client.io.out << printable(id + ": the update goes on; `creel agents show " + id + " --watch` follows it") << "\n";
  return {};
}

Result<void> delete_agent(Client client, const std::string& id, bool purge) {
  CREEL_TRY(const Json answer, client.api.call("DELETE", agent_path(id) + query({{"purge", purge ? "true" : ""}}),
                                               nullptr, kLifecycleDeadline));
  if (client.json) {
    print_json(client.io, answer);
  } else {
    client.io.out << printable(id) << ": deleted"
                  << (purge ? ", its data too" : "; its data is kept for the retention time") << "\n";
  }
  return {};
}

Result<void> chat(Client client, const std::string& id, const std::string& message, const std::string& topic) {
  Json body = {{"agentId", id}, {"message", message}};
  if (!topic.empty()) body["topic"] = topic;
  CREEL_TRY(const Json answer, client.api.call("POST", "/api/chat", body, kChatDeadline));
  if (client.json) {
    print_json(client.io, answer);
    return {};
  }
  client.io.out << printable_lines(shown(answer, "reply"));
  return {};
}

}  // namespace creel::cli
