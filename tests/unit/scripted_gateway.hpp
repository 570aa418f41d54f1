// A gateway that speaks WebSocket by a script, for faults that the real one does not show on demand.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/http_scripted_server.hpp"

namespace creel::test {

// One connection of it, after the handshake. After the client has gone hear() says null.
class GatewayPeer {
 public:
  explicit GatewayPeer(int fd) : socket_(io_, boost::asio::ip::tcp::v4(), dup(fd)), stream_(std::move(socket_)) {
    stream_.accept(failed_);
    stream_.auto_fragment(false);
  }
  void say(const nlohmann::json& frame) { say_text(frame.dump()); }
  void say_text(const std::string& text) { stream_.write(boost::asio::buffer(text), failed_); }
  nlohmann::json hear() {
    boost::beast::flat_buffer buffer;
    stream_.read(buffer, failed_);
    if (failed_) return nullptr;
    const auto data = buffer.cdata();
    return nlohmann::json::parse(std::string_view{static_cast<const char*>(data.data()), data.size()}, nullptr, false);
  }
  void close(int code) {
    stream_.close(boost::beast::websocket::close_reason{static_cast<boost::beast::websocket::close_code>(code)},
                  failed_);
  }
  void answer(const nlohmann::json& request, const nlohmann::json& payload) {
    say({{"type", "res"}, {"id", request.value("id", "")}, {"ok", true}, {"payload", payload}});
  }
  void refuse(const nlohmann::json& request, const nlohmann::json& error) {
    say({{"type", "res"}, {"id", request.value("id", "")}, {"ok", false}, {"error", error}});
  }
  // Challenge, connect, hello; what the client sent to connect.
  nlohmann::json sign_in(int protocol = 3) {
    say({{"type", "event"}, {"event", "connect.challenge"}, {"payload", {{"nonce", "n0nce"}, {"ts", 1}}}});
    const nlohmann::json connect = hear();
    if (connect.is_object())
      answer(connect, {{"type", "hello-ok"},
                       {"protocol", protocol},
                       {"server", {{"version", "2026.3.13"}}},
                       {"snapshot", {{"uptimeMs", 5000}}}});
    return connect;
  }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  boost::beast::websocket::stream<boost::asio::ip::tcp::socket> stream_;
  boost::system::error_code failed_;
};

class ScriptedGateway {
 public:
  // `script` serves each connection, on a thread of its own; `connection` counts from 1.
  explicit ScriptedGateway(std::function<void(GatewayPeer&, int connection)> script)
      : server_([this, script = std::move(script)](Peer& peer) {
          GatewayPeer gateway{peer.fd()};
          script(gateway, ++served_);
        }) {}
  std::string address() const {
    const std::string url = server_.url("");
    return url.substr(url.rfind('/') + 1);
  }
  int connections() const { return server_.connections(); }

 private:
  std::atomic<int> served_{0};
  Server server_;
};

}  // namespace creel::test
