#include "controller/gateway/openclaw_link.hpp"

#include <nlohmann/json.hpp>

#include "controller/gateway/adapter.hpp"
#include "controller/gateway/json.hpp"
#include "controller/gateway/openclaw_codec.hpp"
#include "controller/secrets/device_key.hpp"

namespace creel::gateway {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kConnectId = "connect";
constexpr int kServiceRestart = 1012;

milliseconds left_until(Clock::time_point by) {
  return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(by - Clock::now()));
}

Error too_late() {
  return Error{ErrorKind::timeout, "The agent's gateway did not answer in time; it may still be at work", {}, {}};
}

}  // namespace

OpenclawLink::OpenclawLink(SocketLoop& loop, OperatorTarget target, const OperatorOptions& options)
    : loop_(loop),
      target_(std::move(target)),
      options_(options),
      hello_(std::make_shared<Json>()),
      last_used_(Clock::now()),
      last_received_(last_used_) {}

OpenclawLink::~OpenclawLink() = default;

bool OpenclawLink::serves(const OperatorTarget& target) const {
  return target.address == target_.address && target.token == target_.token && target.device_key == target_.device_key;
}

void OpenclawLink::start() {
  const std::weak_ptr<OpenclawLink> self = weak_from_this();
  WebSocket::Handlers handlers;
  handlers.open = [] {};  // the gateway speaks first
  handlers.message = [self](std::string_view text) {
    if (const auto link = self.lock()) link->received(text);
  };
  handlers.closed = [self](const Error& why, int code) {
    const auto link = self.lock();
    if (!link) return;
    Error error = why;
    if (code == kServiceRestart) {
      error = Error{ErrorKind::unavailable, "The agent's gateway is restarting; try again in a moment", {}, {}};
    } else if (why.code != "MESSAGE_TOO_LONG") {
      error.message = (why.kind == ErrorKind::failed ? "The agent's gateway cannot be talked to: "
                                                     : "The agent's gateway cannot be reached: ") +
                      why.message;
    }
    link->end(error);
  };
  sign_in_timer_ = loop_.after(options_.connect_deadline, [self] {
    if (const auto link = self.lock()) link->end(too_late());
  });
  socket_ = loop_.connect(target_.address, options_.connect_deadline, options_.max_message, std::move(handlers));
}

void OpenclawLink::ask(const std::string& method, const Json& params, Clock::time_point by, Answer answer) {
  if (ended_) return answer(&*ended_, Json{});
  last_used_ = Clock::now();
  const std::string id = std::to_string(next_id_++);
  Waiting& waiting = waiting_[id];
  waiting.answer = std::move(answer);
  waiting.asked = last_used_;
  waiting.timer = loop_.after(left_until(by), [self = weak_from_this(), id] {
    if (const auto link = self.lock()) link->timed_out(id);
  });
  std::string frame = request_frame(id, method, params);
  if (ready_)
    socket_->send(std::move(frame));
  else
    waiting.frame = std::move(frame);
}

void OpenclawLink::end(const Error& why) {
  if (ended_) return;
  const auto alive = shared_from_this();
  ended_ = why;
  ready_ = false;
  sign_in_timer_.reset();
  if (socket_) socket_->close();
  const auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& [id, each] : waiting) each.answer(&why, Json{});
}

void OpenclawLink::timed_out(const std::string& id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const auto alive = shared_from_this();
  const auto node = waiting_.extract(found);
  const Error late = too_late();
  // Nothing at all since then: the connection is dead, and nobody has told.
  if (ready_ && last_received_ <= node.mapped().asked) end(late);
  node.mapped().answer(&late, Json{});
}

void OpenclawLink::received(std::string_view text) {
  const auto alive = shared_from_this();
  last_received_ = Clock::now();
  // Most of what comes is events for people's screens.
  if (ready_ && text.starts_with(R"({"type":"event")")) return;
  const Json frame = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const std::string type = creel::gateway::text(member(frame, "type"));
  if (type == "event") {
    if (creel::gateway::text(member(frame, "event")) == "connect.challenge" && !ready_)
      challenged(creel::gateway::text(member(member(frame, "payload"), "nonce")));
    return;
  }
  if (type != "res")
    return end(Error{ErrorKind::failed, "The agent's gateway does not speak OpenClaw's protocol", {}, {}});
  const std::string id = creel::gateway::text(member(frame, "id"));
  if (id == kConnectId && !ready_) return signed_in(frame);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;  // it had its time
  last_used_ = last_received_;
  const auto node = waiting_.extract(found);
  if (truth(member(frame, "ok"))) return node.mapped().answer(nullptr, member(frame, "payload"));
  const Error error = openclaw_error(member(frame, "error"), target_.token, target_.agent);
  node.mapped().answer(&error, Json{});
}

void OpenclawLink::challenged(const std::string& nonce) {
  const auto device = secrets::DeviceKey::from_seed(target_.device_key);
  if (!device) return end(device.error());
  socket_->send(connect_frame(kConnectId, target_.token, *device, nonce, system_now()));
}

void OpenclawLink::signed_in(const Json& response) {
  if (!truth(member(response, "ok")))
    return end(openclaw_error(member(response, "error"), target_.token, target_.agent));
  const Json& hello = member(response, "payload");
  const auto protocol = whole_number(member(hello, "protocol"));
  if (!protocol || *protocol < kOldestProtocol || *protocol > kNewestProtocol)
    return end(
        openclaw_error(Json{{"details", {{"expectedProtocol", protocol.value_or(0)}}}}, target_.token, target_.agent));
  *hello_ = hello;
  hello_at_ = Clock::now();
  ready_ = true;
  sign_in_timer_.reset();
  for (auto& [id, waiting] : waiting_) {
    waiting.asked = hello_at_;
    socket_->send(std::move(waiting.frame));
  }
}

}  // namespace creel::gateway
