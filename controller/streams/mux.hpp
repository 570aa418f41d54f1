// Mux: the three calls of its Video API that Creel needs. https://docs.mux.com/api-reference/video/live-streams
//
// `passthrough` is a text of ours that Mux keeps with a stream and shows in lists: by it a stream is found again whose
// creation was never answered. Mux has no idempotency keys and no filter for it, so lists are read page by page.
//
// Errors: unavailable (Mux cannot be reached, or answers 5xx), timeout, cancelled: the outcome is unknown; failed,
// invalid: Mux refused, nothing was made (a sentence for people, with the remedy where there is one). No error holds
// the credentials or a stream key. Threads: any; every call blocks, up to the deadlines in Options.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/core/result.hpp"
#include "controller/http/client.hpp"

namespace creel::streams {

struct MuxStream {
  std::string id;
  std::string key;         // whoever has it can broadcast
  std::string created_at;  // seconds since the epoch, as Mux writes it
};

class Mux {
 public:
  struct Options {
    std::string base_url = "https://api.mux.com";
    std::string token_id;
    std::string token_secret;
    std::chrono::milliseconds deadline{10'000};     // of one request
    std::chrono::milliseconds find_budget{30'000};  // of a list with all its pages
  };
  // `client` must outlive this object.
  Mux(http::Client& client, Options options);

  Result<MuxStream> create(const std::string& passthrough, std::stop_token stop) const;
  // Every stream with that text, the oldest first.
  Result<std::vector<MuxStream>> find(const std::string& passthrough, std::stop_token stop) const;
  // One that is gone already counts as deleted.
  Result<void> remove(const std::string& stream_id, std::stop_token stop) const;

 private:
  Result<http::Response> ask(const std::string& method, const std::string& path, std::string body,
                             std::stop_token stop) const;

  http::Client& client_;
  const Options options_;
  const std::string authorization_;
};

}  // namespace creel::streams
