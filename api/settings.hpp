// Settings: what the API takes from the configuration. controller/app.cpp fills it; plain data, read only while
// serving.
//
// Units: times in milliseconds, sizes in bytes, rates in requests a minute and address (0 = off).
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace creel::api {

struct RateLimits {
  int provision = 5;  // /api/provision
  int chat = 60;      // /api/chat, POST /api/agent
  int instance = 30;  // /api/instance/*
  int api = 300;      // all of /api/*
};

struct Settings {
  // Sockets (api/server).
  std::string listen = "127.0.0.1:8080";        // host:port, [v6]:port; port 0 = any free one
  std::size_t pool_threads = 8;                 // handler threads: as many as there are database connections
  std::size_t max_connections = 16'384;         // further ones get a 503
  std::size_t max_address_connections = 1'024;  // of them from one address (IPv6: one /64), trusted proxies excepted
  std::size_t max_header_bytes = 16 * 1024;
  // Request bodies, and answers that clients are slow to read, in memory at a time; beyond it a request gets a 503.
  std::size_t max_body_bytes = 32 * 1024 * 1024;
  std::size_t max_answer_bytes = 32 * 1024 * 1024;
  std::chrono::milliseconds header_timeout{10'000};  // whole request head
  std::chrono::milliseconds body_timeout{30'000};    // whole request body
  std::chrono::milliseconds idle_timeout{75'000};    // kept-alive connection without a request
  std::chrono::milliseconds write_timeout{30'000};   // one answer to a slow reader
  std::chrono::milliseconds drain_timeout{10'000};   // at stop: time for requests under way
  std::chrono::milliseconds heartbeat{15'000};       // comment line in an idle event stream
  // Passages to agents.
  std::string gateway_listen = "";                   // host:port; "": only agents' names lead to them
  std::chrono::milliseconds agent_timeout{600'000};  // until an agent begins, or goes on, to answer
  std::chrono::milliseconds agent_idle{600'000};     // a tunnel in which nobody says anything
  std::chrono::milliseconds agent_ping{30'000};      // a client that has said nothing is asked whether it is there
  std::chrono::milliseconds agent_check{30'000};     // a tunnel's caller is looked at again
  std::string tls_certificate, tls_key;              // PEM files of both listeners; "": no TLS

  std::size_t stream_buffer_bytes = 256 * 1024;  // for each event stream
  std::size_t max_streams = 64;                  // followed logs at a time; each takes a thread
  std::size_t max_event_readers = 1'000;         // streams of /api/events at a time; all on one thread

  // What addresses look like.
  std::string agents_domain = "agents.localhost";
  std::string agents_url_scheme = "https";
  std::uint16_t agents_url_port = 0;                 // 0: the scheme's own
  std::string gateway_url = "ws://127.0.0.1:10000";  // websocketUrl = <this>/agent/<id>
  std::string default_template = "openclaw";
  std::string public_url = "http://127.0.0.1:8080";  // where clients reach this API

  // Who may do what.
  bool signup = false;
  std::set<std::string> admin_emails;        // trimmed, lower case
  std::vector<std::string> trusted_proxies;  // addresses or CIDR blocks whose X-Forwarded-For is believed
  RateLimits rate;
  int login_attempts = 5;  // failed ones for each address + e-mail in login_window
  std::chrono::milliseconds login_window{15 * 60'000};

  // How long a request waits for what it asked for.
  std::chrono::milliseconds provision_wait{10'000};
  std::chrono::milliseconds lifecycle_wait{30'000};
  std::chrono::milliseconds chat_wait{60'000};
  std::chrono::milliseconds chat_deadline{300'000};  // how long a reply nobody waits for any more may still come in

  std::chrono::seconds stats_period{10};  // between two samples of an agent

  bool metrics = true;                // GET /metrics
  bool live_streams = false;          // Mux is configured
  std::string whatsapp_app_secret;    // for agents that have none of their own; "" = none
  std::string stripe_webhook_secret;  // "" = no billing
};

}  // namespace creel::api
