// ClientStream: a client's socket, with or without TLS around it. Inside api/server only; everything on the hub's
// thread. A stream as Beast and Asio want them; its deadlines are those of the tcp_stream below.
#pragma once

#include <netinet/tcp.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <memory>
#include <optional>
#include <utility>

namespace creel::api {

class ClientStream {
 public:
  using Tcp = boost::beast::tcp_stream;
  using Tls = boost::beast::ssl_stream<Tcp>;
  using executor_type = Tcp::executor_type;

  // `tls`: what it is to begin with; null = none. Kept until the stream is gone.
  ClientStream(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls)
      : context_(std::move(tls)), plain_(std::in_place, std::move(socket)) {}
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  executor_type get_executor() { return tcp().get_executor(); }
  Tcp& tcp() { return tls_ ? tls_->next_layer() : *plain_; }
  // What a slow reader has not been sent yet waits with us, where it is counted, and not in the kernel's memory.
  void keep_unsent_below(int bytes) {
    setsockopt(tcp().socket().native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
  }
  // Null: none.
  Tls* tls() { return tls_ ? &*tls_ : nullptr; }
  bool is_to_begin_tls() const { return context_ && !tls_; }
  // Its buffers take some 60 KB, so nobody has them who has not begun to shake hands.
  Tls& begin_tls() {
    tls_.emplace(std::move(*plain_), *context_);
    plain_.reset();
    return *tls_;
  }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    if (tls()) return tls_->async_read_some(buffers, std::forward<Token>(token));
    return tcp().async_read_some(buffers, std::forward<Token>(token));
  }
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    if (tls()) return tls_->async_write_some(buffers, std::forward<Token>(token));
    return tcp().async_write_some(buffers, std::forward<Token>(token));
  }

 private:
  std::shared_ptr<boost::asio::ssl::context> context_;
  std::optional<Tcp> plain_;
  std::optional<Tls> tls_;
};

}  // namespace creel::api
