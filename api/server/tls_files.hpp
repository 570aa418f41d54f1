// TlsFiles: the certificate and key that clients are shown, read again when the files change. Inside api/server only;
// current() belongs to the hub's thread.
//
// Errors: invalid, naming the setting, the file and the remedy. Files that cannot be used any more (a renewal that went
// wrong) leave what was read before in force, with a line in the log.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "controller/core/result.hpp"

namespace creel::api {

class TlsFiles {
 public:
  // PEM: the certificate with those it was issued by, and its key.
  static Result<std::unique_ptr<TlsFiles>> open(std::string certificate, std::string key);
  // For a new connection. Looks at the files at most every ten seconds.
  std::shared_ptr<boost::asio::ssl::context> current();

 private:
  using Stamp = std::pair<std::filesystem::file_time_type, std::filesystem::file_time_type>;
  TlsFiles(std::string certificate, std::string key) : certificate_(std::move(certificate)), key_(std::move(key)) {}
  Result<std::shared_ptr<boost::asio::ssl::context>> read() const;
  Stamp stamp() const;

  const std::string certificate_, key_;
  std::shared_ptr<boost::asio::ssl::context> context_;
  Stamp stamp_;
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
};

}  // namespace creel::api
