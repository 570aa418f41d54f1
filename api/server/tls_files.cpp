#include "api/server/tls_files.hpp"

#include <spdlog/spdlog.h>

#include <utility>

namespace creel::api {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

constexpr std::chrono::seconds kLooksAgain{10};

Error unusable(const char* setting, const std::string& file, const std::string& why) {
  return Error{ErrorKind::invalid, std::string{setting} + ": " + file + " cannot be used (" + why + ")", setting, {}};
}

}  // namespace

Result<std::unique_ptr<TlsFiles>> TlsFiles::open(std::string certificate, std::string key) {
  std::unique_ptr<TlsFiles> files{new TlsFiles(std::move(certificate), std::move(key))};
  files->stamp_ = files->stamp();
  CREEL_TRY(files->context_, files->read());
  return files;
}

TlsFiles::Stamp TlsFiles::stamp() const {
  std::error_code gone;
  return {std::filesystem::last_write_time(certificate_, gone), std::filesystem::last_write_time(key_, gone)};
}

Result<std::shared_ptr<ssl::context>> TlsFiles::read() const {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                       error);
  context->use_certificate_chain_file(certificate_, error);
  if (error) return unusable("CREEL_TLS_CERT", certificate_, error.message() + "; it must be a certificate in PEM");
  context->use_private_key_file(key_, ssl::context::pem, error);
  if (error)
    return unusable("CREEL_TLS_KEY", key_,
                    error.message() + "; it must be the key of CREEL_TLS_CERT in PEM, without a password");
  // HTTP/1.1 is what is spoken here, whatever else a client offers.
  SSL_CTX_set_alpn_select_cb(
      context->native_handle(),
      [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered, unsigned int length,
         void*) {
        static constexpr unsigned char kHttp[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
        unsigned char* chosen = nullptr;
        if (SSL_select_next_proto(&chosen, size, kHttp, sizeof kHttp, offered, length) != OPENSSL_NPN_NEGOTIATED)
          return SSL_TLSEXT_ERR_NOACK;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  return context;
}

std::shared_ptr<ssl::context> TlsFiles::current() {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < kLooksAgain) return context_;
  looked_ = now;
  const Stamp seen = stamp();
  if (seen == stamp_) return context_;
  stamp_ = seen;
  if (auto context = read()) {
    context_ = std::move(*context);
    spdlog::info("the certificate was read again");
  } else {
    spdlog::warn("{}; the one read before stays in force", context.error().message);
  }
  return context_;
}

}  // namespace creel::api
