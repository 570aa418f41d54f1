// WebSocketRelay: the bytes of a WebSocket between a client and an agent's gateway, on their way through a proxy, from
// after the handshake on. It puts in what the gateway wants to know of its caller and the client need not: OpenClaw
// takes its token, and the signature of a paired device, in the first request ("connect") instead of the handshake.
// That one request is written anew, as Creel's own device; the token for that device is struck out of the answer. All
// else is passed on as it is, byte for byte.
//
// Pure. What is returned stays valid until the next call of the same function. Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "controller/core/clock.hpp"
#include "controller/gateway/frames.hpp"

namespace creel::gateway {

// OpenClaw lets only pages of the origins it knows sign in. This is one that its template names; whether a page may
// reach the agent is Creel's to say, which knows the addresses that browsers see.
inline constexpr const char* kOpenclawOrigin = "http://localhost:18789";

// How a gateway is told who calls.
struct Credentials {
  std::string kind;        // Template::gateway
  std::string token;       // the secret "gateway_token"
  std::string device_key;  // the secret "device_key"; "" = the agent knows of none
};

class WebSocketRelay {
 public:
  explicit WebSocketRelay(Credentials credentials);
  ~WebSocketRelay();

  // What to pass on of what has come from the client.
  std::string_view from_client(std::string_view bytes, TimePoint now);
  // The same of what has come from the agent.
  std::string_view from_agent(std::string_view bytes);
  // The client's first request has come before the agent's challenge, which it must answer. Once this is false again,
  // from_client() is to be called, with no bytes if there are none.
  bool waits_for_agent() const;
  // Whether a frame of the proxy's own may be sent to the client now.
  bool at_boundary() const { return to_client_.at_boundary() && !to_client_.closed(); }

 private:
  struct SignIn;
  FrameTracker to_client_;
  std::unique_ptr<SignIn> sign_in_;  // null: done, or there is none
  std::string out_up_, out_down_;
};

}  // namespace creel::gateway
