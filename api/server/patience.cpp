#include "api/server/patience.hpp"

namespace creel::api {

struct Patience::State {
  ClientStream* client;  // null: nobody waits any more
  bool over = false;
};

Patience::Patience(ClientStream& client, std::chrono::milliseconds longest)
    : timer_(client.get_executor(), longest), state_(std::make_shared<State>(State{&client})) {
  client.tcp().expires_never();
  timer_.async_wait([state = state_](boost::system::error_code cancelled) {
    if (cancelled || state->client == nullptr) return;
    state->over = true;
    state->client->tcp().cancel();
  });
}

Patience::~Patience() { state_->client = nullptr; }

bool Patience::over() const { return state_->over; }

}  // namespace creel::api
