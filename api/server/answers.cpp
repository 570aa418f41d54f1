#include "api/server/answers.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "api/server/awaiting.hpp"
#include "api/server/patience.hpp"

namespace creel::api {

namespace http = boost::beast::http;

const std::string& date_header(Hub& hub) {
  const std::time_t now = std::time(nullptr);
  if (now != hub.date_second) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    // "C" locale names: the program never calls setlocale().
    hub.date.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    hub.date_second = now;
  }
  return hub.date;
}

std::string one_line(std::string value) {
  for (char& c : value)
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  return value;
}

asio::awaitable<bool> write_answer(Hub& hub, ClientStream& client, Response response, unsigned version, bool head_only,
                                   bool keep_alive) {
  http::response<http::string_body> message{static_cast<http::status>(response.status), version};
  for (const auto& [name, value] : response.headers) message.insert(name, one_line(value));
  message.set(http::field::date, date_header(hub));
  message.keep_alive(keep_alive);
  message.body() = std::move(response.body);
  if (response.status != 204 && response.status != 304) message.content_length(message.body().size());
  http::response_serializer<http::string_body> serializer{message};
  client.tcp().expires_after(hub.settings.write_timeout);
  Tuple written;
  if (head_only || response.status == 204 || response.status == 304)
    written = co_await http::async_write_header(client, serializer, kToken);
  else
    written = co_await http::async_write(client, serializer, kToken);
  if (std::get<0>(written)) co_return false;
  if (!keep_alive) {
    error_code ignored;
    if (client.tls() == nullptr) client.tcp().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  }
  co_return keep_alive;
}

asio::awaitable<bool> write_bytes(ClientStream& client, std::string_view bytes, bool chunked) {
  Tuple written;
  if (chunked) {
    const auto piece = http::make_chunk(asio::buffer(bytes));
    written = co_await asio::async_write(client, piece, kToken);
  } else {
    const auto piece = asio::buffer(bytes);
    written = co_await asio::async_write(client, piece, kToken);
  }
  co_return !std::get<0>(written);
}

asio::awaitable<bool> tell_to_go_on(Hub& hub, ClientStream& client) {
  static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  client.tcp().expires_after(hub.settings.write_timeout);
  const auto text = asio::buffer(go_on);
  const Tuple told = co_await asio::async_write(client, text, kToken);
  co_return !std::get<0>(told);
}

asio::awaitable<void> linger(Hub& hub, ClientStream& client, Share* share) {
  constexpr std::size_t kMost = 16 * 1024 * 1024, kAtOnce = 128 * 1024;
  // Reading what nobody wants must not take the thread from those whose requests count.
  constexpr std::chrono::milliseconds kPause{20};
  asio::steady_timer pause{hub.io};
  std::size_t dropped = 0;
  const Patience patience{client.tcp(), std::chrono::seconds{2}};
  while (dropped < kMost && !patience.over()) {
    const std::tuple<error_code> waited =
        co_await client.tcp().socket().async_wait(asio::ip::tcp::socket::wait_read, kToken);
    if (std::get<0>(waited)) break;
    // MSG_TRUNC: the kernel drops it without copying it to us. With TLS it is as little to be read.
    const auto got = recv(client.tcp().socket().native_handle(), nullptr, kAtOnce, MSG_TRUNC | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) break;
    const auto bytes = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    dropped += bytes;
    const auto now = std::chrono::steady_clock::now();
    auto next = now + kPause;
    if (share != nullptr) next = std::max(next, share->after_reading(bytes, now));
    pause.expires_at(next);
    co_await pause.async_wait(kToken);
  }
}

}  // namespace creel::api
