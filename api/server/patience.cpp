#include "api/server/patience.hpp"

namespace creel::api {

struct Patience::State {
  boost::beast::tcp_stream* stream;  // null: nobody waits any more
  bool over = false;
};

Patience::Patience(boost::beast::tcp_stream& stream, std::chrono::milliseconds longest)
    : timer_(stream.get_executor(), longest), state_(std::make_shared<State>(State{&stream})) {
  stream.expires_never();
  timer_.async_wait([state = state_](boost::system::error_code cancelled) {
    if (cancelled || state->stream == nullptr) return;
    state->over = true;
    state->stream->cancel();
  });
}

Patience::~Patience() { state_->stream = nullptr; }

bool Patience::over() const { return state_->over; }

}  // namespace creel::api
