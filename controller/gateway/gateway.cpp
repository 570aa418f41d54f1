#include "controller/gateway/gateway.hpp"

#include <algorithm>
#include <utility>

#include "controller/gateway/adapter.hpp"
#include "controller/http/client.hpp"

namespace creel::gateway {
namespace {

constexpr milliseconds kConnectTimeout{5'000};

const Adapter* find_adapter(std::string_view kind) {
  for (const Adapter* adapter : {&kOpenclaw, &kReference}) {
    if (adapter->kind == kind) return adapter;
  }
  return nullptr;
}

// What went wrong on the way, in terms of the agent. The client's own message names the address and no header.
Error chat_error(const Error& error) {
  switch (error.kind) {
    case ErrorKind::timeout:
      return Error{ErrorKind::timeout, "The agent did not answer in time; it may still be at work", {}, {}};
    case ErrorKind::unavailable:
      return Error{ErrorKind::unavailable, "The agent's gateway cannot be reached: " + error.message, {}, {}};
    default:
      return error;
  }
}

}  // namespace

ProbeAnswer Gateways::probe(const std::string& address, const Readiness& readiness, std::stop_token stop) {
  if (address.empty()) return {std::nullopt, "the gateway has no address yet"};
  http::Request request;
  request.url = "http://" + address + readiness.path;
  request.connect_timeout = probe_deadline_;
  request.deadline = probe_deadline_;
  request.max_body = 64u << 10;
  const auto response = client_.send(std::move(request), stop);
  if (!response) {
    switch (response.error().kind) {
      case ErrorKind::unavailable:
        return {false, "the gateway is not listening yet"};
      case ErrorKind::timeout:
        return {std::nullopt, "the gateway did not answer within " + std::to_string(probe_deadline_.count()) + " ms"};
      case ErrorKind::cancelled:
        return {std::nullopt, "the question was cancelled"};
      default:
        return {false, for_people(response.error().message, {})};
    }
  }
  if (response->status == 200) return {true, {}};
  const std::string reason = for_people(reason_in(response->body), {});
  return {false, "the gateway answered " + std::to_string(response->status) + (reason.empty() ? "" : ": " + reason)};
}

void Gateways::chat_async(const std::string& kind, ChatRequest request, std::function<void(Result<ChatReply>)> done,
                          std::stop_token stop) {
  const Adapter* adapter = find_adapter(kind);
  if (adapter == nullptr) return done(invalid("gateway", "There is no gateway of the kind \"" + kind + "\""));
  const std::string address = locate(request.agent, request.address);
  if (address.empty()) return done(nobody_there(request.address));
  request.address = address;
  http::Request exchange = adapter->chat_request(request);
  exchange.connect_timeout = std::min(kConnectTimeout, request.deadline);
  client_.send_async(
      std::move(exchange),
      [adapter, token = std::move(request.token), done = std::move(done)](Result<http::Response> response) {
        response ? done(adapter->chat_reply(*response, token)) : done(chat_error(response.error()));
      },
      stop);
}

void Gateways::accepts_async(const AgentId& agent, const std::string& observed_address, const std::string& token,
                             std::function<void(Result<bool>)> done) {
  const std::string address = locate(agent, observed_address);
  if (address.empty()) return done(nobody_there(observed_address));
  http::Request request;
  request.method = "POST";
  request.url = "http://" + address + "/v1/chat/completions";
  request.headers = {{"authorization", "Bearer " + token}, {"content-type", "application/json"}};
  request.body = "{}";
  request.connect_timeout = probe_deadline_;
  request.deadline = probe_deadline_;
  request.max_body = 64u << 10;
  client_.send_async(std::move(request), [done = std::move(done)](Result<http::Response> response) {
    if (!response) return done(chat_error(response.error()));
    done(response->status != 401 && response->status != 403);
  });
}

std::vector<std::string_view> Gateways::kinds() { return {kOpenclaw.kind, kReference.kind}; }

}  // namespace creel::gateway
