#include "controller/gateway/relay.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <random>

#include "controller/gateway/json.hpp"
#include "controller/gateway/openclaw_codec.hpp"

namespace creel::gateway {
namespace {

using Json = nlohmann::json;

// A client that says more before it has signed in, or a gateway that answers with more, is passed on as it is.
constexpr std::size_t kMostBeforeSignIn = 64 * 1024;
constexpr std::size_t kMostOfHello = 4 * 1024 * 1024;

// Takes whole messages off a stream of frames.
class Messages {
 public:
  enum class What { none, control, message };
  struct Taken {
    What what = What::none;
    std::string raw;   // all its frames, as they came
    std::string text;  // the payload; nothing of a control frame, or of what an extension has changed
  };

  explicit Messages(std::size_t most) : most_(most) {}
  void push(std::string_view bytes) { bytes_ += bytes; }
  // More has come than is looked at.
  bool too_much() const { return bytes_.size() + taken_.raw.size() > most_; }
  Taken next() {
    for (;;) {
      const auto head = frame_head(bytes_);
      if (!head || head->length > most_ || bytes_.size() < head->size + head->length) return {};
      const std::size_t size = head->size + static_cast<std::size_t>(head->length);
      const std::string raw = bytes_.substr(0, size);
      const std::string_view payload = std::string_view{raw}.substr(head->size);
      const bool control = head->is_control(), last = head->last;
      if (control) {
        bytes_.erase(0, size);
        return {What::control, raw, {}};
      }
      taken_.raw += raw;
      if (head->plain) taken_.text += head->mask ? unmasked(payload, *head->mask) : std::string{payload};
      bytes_.erase(0, size);
      if (!last) continue;
      taken_.what = What::message;
      return std::exchange(taken_, {});
    }
  }
  // What is left, begun messages included.
  std::string rest() { return std::exchange(taken_, {}).raw + std::exchange(bytes_, {}); }

 private:
  const std::size_t most_;
  std::string bytes_;
  Taken taken_;
};

std::string new_mask() {
  static thread_local std::random_device random;
  const std::uint32_t bits = random();
  std::string mask;
  for (int i = 0; i < 4; ++i) mask += static_cast<char>(bits >> (8 * i) & 0xff);
  return mask;
}

}  // namespace

struct WebSocketRelay::SignIn {
  explicit SignIn(Credentials all) : credentials(std::move(all)) {}

  const Credentials credentials;
  Messages up{kMostBeforeSignIn}, down{kMostOfHello};
  std::string nonce;                // of the challenge
  std::optional<std::string> held;  // the client's request, as long as there is none
  std::string request_id;           // of the request that was written anew
  bool client_done = false;

  // The client's first message, or what takes its place.
  std::string first(const Messages::Taken& message, TimePoint now) {
    const auto id = operator_connect_id(message.text);
    if (id && nonce.empty()) {
      held = message.text;
      return {};
    }
    client_done = true;
    if (!id) return message.raw;
    request_id = *id;
    const std::string ours = connect_as_device(message.text, credentials.token, credentials.device_key, nonce, now);
    return make_frame(Opcode::text, ours, new_mask());
  }
  std::string release(TimePoint now) {
    Messages::Taken message;
    message.text = *std::exchange(held, std::nullopt);
    return first(message, now);
  }
};

WebSocketRelay::WebSocketRelay(Credentials credentials) {
  if (credentials.kind == "openclaw") sign_in_ = std::make_unique<SignIn>(std::move(credentials));
}

WebSocketRelay::~WebSocketRelay() = default;

bool WebSocketRelay::waits_for_agent() const { return sign_in_ && sign_in_->held && sign_in_->nonce.empty(); }

std::string_view WebSocketRelay::from_client(std::string_view bytes, TimePoint now) {
  if (!sign_in_ || sign_in_->client_done) return bytes;
  out_up_.clear();
  SignIn& state = *sign_in_;
  state.up.push(bytes);
  if (waits_for_agent()) return {};
  if (state.held) out_up_ += state.release(now);
  while (!state.client_done && !state.held) {
    if (state.up.too_much()) state.client_done = true;
    const Messages::Taken taken = state.up.next();
    if (taken.what == Messages::What::none) break;
    out_up_ += taken.what == Messages::What::control ? taken.raw : state.first(taken, now);
  }
  if (state.client_done) out_up_ += state.up.rest();
  return out_up_;
}

std::string_view WebSocketRelay::from_agent(std::string_view bytes) {
  if (!sign_in_) {
    to_client_.push(bytes);
    return bytes;
  }
  out_down_.clear();
  SignIn& state = *sign_in_;
  state.down.push(bytes);
  // One that did not sign in as an operator goes on by itself.
  bool done = state.down.too_much() || (state.client_done && state.request_id.empty());
  while (!done) {
    const Messages::Taken taken = state.down.next();
    if (taken.what == Messages::What::none) break;
    std::string pass = taken.raw;
    if (taken.what == Messages::What::message) {
      if (const std::string nonce = challenge_nonce(taken.text); !nonce.empty()) {
        state.nonce = nonce;
      } else if (auto answer = answer_without_token(taken.text, state.request_id)) {
        pass = make_frame(Opcode::text, *answer);
        done = true;
      }
    }
    out_down_ += pass;
  }
  if (done) {
    out_down_ += state.down.rest();
    if (state.client_done) sign_in_.reset();
  }
  to_client_.push(out_down_);
  return out_down_;
}

}  // namespace creel::gateway
