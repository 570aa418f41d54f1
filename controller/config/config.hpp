// Config: everything that can be set from outside, read once at start. Flag beats environment beats YAML file beats
// default.
//
// One table (config.cpp) drives flag, variable, YAML key, default, check and description of every setting: for a
// variable CREEL_STATE_DIR the key is `state_dir` and the flag `--state-dir`; for DATABASE_URL `database_url` and
// `--database-url`. What holds a secret has no flag, because other users of the machine can read a command line.
//
// Units: seconds where a name says so, else as the type says. Paths are absolute. Errors: ErrorKind::invalid with the
// name of the variable, flag, or file:line, and what to write instead. Threads: a Config is not changed after load().
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/fence.hpp"
#include "controller/core/orphans.hpp"
#include "controller/core/result.hpp"

namespace creel {

// "127.0.0.1:8080", "[::1]:8080"; the host is an IP address or a name, never empty.
struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  std::string str() const;
  bool operator==(const HostPort&) const = default;
};

enum class LogFormat { automatic, text, json };
enum class LogLevel { debug, info, warn, error };

struct Config {
  // Process
  HostPort listen;           // CREEL_LISTEN: the REST API
  std::string tls_cert;      // CREEL_TLS_CERT: PEM file, "" = no TLS
  std::string tls_key;       // CREEL_TLS_KEY: PEM file; set if and only if the other is
  HostPort gateway_listen;   // CREEL_GATEWAY_LISTEN: agents' own gateways, proxied
  std::string gateway_url;   // CREEL_GATEWAY_URL: what clients are told, "ws://host:port"; without a trailing slash
  std::string database_url;  // DATABASE_URL: "" = the embedded cluster
  std::string
      postgres_user;  // CREEL_POSTGRES_USER: account the embedded cluster runs as when started by root; "" = postgres
  std::string state_dir;          // CREEL_STATE_DIR
  std::string share_dir;          // CREEL_SHARE_DIR: "" = compiled in, or the source checkout's
  std::string templates;          // CREEL_TEMPLATES: folder of own templates, "" = none
  std::string shipped_templates;  // derived: the folder that holds plans.yaml and the shipped templates; "" = not found
  std::string default_template;   // CREEL_DEFAULT_TEMPLATE
  std::string controller_id;      // CREEL_CONTROLLER_ID
  std::string master_key;         // CREEL_MASTER_KEY: base64 of 32 bytes, "" = from the file. Secret.
  std::string master_key_previous;  // CREEL_MASTER_KEY_PREVIOUS: keys that only open, with commas between them. Secret.
  std::string master_key_file;      // CREEL_MASTER_KEY_FILE: default <state_dir>/master.key, made on first start
  LogFormat log = LogFormat::automatic;                      // CREEL_LOG
  LogLevel log_level = LogLevel::info;                       // CREEL_LOG_LEVEL
  std::chrono::seconds resync{60};                           // CREEL_RESYNC_SECONDS
  std::chrono::seconds stats{10};                            // CREEL_STATS_SECONDS
  std::chrono::seconds volume_retention{7 * 24 * 3600};      // CREEL_VOLUME_RETENTION
  OrphanMode orphans = OrphanMode::deleted;                  // CREEL_ORPHANS: see reconciler/orphans.hpp
  std::chrono::seconds orphan_grace{3600};                   // CREEL_ORPHAN_GRACE
  std::chrono::seconds message_retention{90LL * 24 * 3600};  // CREEL_MESSAGE_RETENTION; 0 = for ever
  std::chrono::seconds event_retention{365LL * 24 * 3600};   // CREEL_EVENT_RETENTION; 0 = for ever
  bool metrics = true;                                       // CREEL_METRICS: serve /metrics
  int metrics_agents = 500;                                  // CREEL_METRICS_AGENTS: agents with series of their own

  // Engine
  std::string docker_host;         // DOCKER_HOST: "unix:///path" or "tcp://host:port"
  bool docker_tls_verify = false;  // DOCKER_TLS_VERIFY
  std::string docker_cert_path;    // DOCKER_CERT_PATH: folder with ca.pem, cert.pem, key.pem; "" = no TLS unless verify
  std::string publish_address;  // CREEL_PUBLISH_ADDRESS: of the engine's host; "" = agents are reached on their bridges
  std::string openclaw_image;   // OPENCLAW_IMAGE: "" = the template's
  bool fence = true;            // CREEL_FENCE: keep agents from the host and its private networks
  std::vector<FenceAllow> fence_allow;        // CREEL_FENCE_ALLOW: exceptions
  std::vector<std::string> egress_resolvers;  // CREEL_EGRESS_RESOLVERS: addresses; empty = the engine's
  std::string egress_image = kEgressImage;    // CREEL_EGRESS_IMAGE
  std::vector<std::string> image_allowlist;   // CREEL_IMAGE_ALLOWLIST: repositories; empty = the template's

  // API
  std::string agents_domain;                        // AGENTS_DOMAIN
  std::string agents_url_scheme;                    // AGENTS_URL_SCHEME: "https" | "http"
  std::uint16_t agents_url_port = 0;                // AGENTS_URL_PORT: 0 = the scheme's own, not written
  std::vector<std::string> admin_emails;            // ADMIN_EMAILS: trimmed, lower-case
  bool signup = false;                              // CREEL_SIGNUP
  std::chrono::seconds chat_wait{60};               // CREEL_CHAT_WAIT
  std::vector<std::string> trusted_proxies;         // CREEL_TRUSTED_PROXIES: addresses or networks in CIDR form
  int http_max_connections = 16'384;                // CREEL_HTTP_MAX_CONNECTIONS
  int http_max_address_connections = 1'024;         // CREEL_HTTP_MAX_ADDRESS_CONNECTIONS: of them from one address
  int http_max_header_bytes = 16 * 1024;            // CREEL_HTTP_MAX_HEADER_BYTES
  std::int64_t http_max_memory = 32 * 1024 * 1024;  // CREEL_HTTP_MAX_MEMORY
  std::chrono::seconds http_header_timeout{10};     // CREEL_HTTP_*_TIMEOUT
  std::chrono::seconds http_body_timeout{30};
  std::chrono::seconds http_idle_timeout{75};
  std::chrono::seconds http_write_timeout{30};
  int rate_limit_provision = 5;  // CREEL_RATE_LIMIT_*: requests a minute and address, 0 = off
  int rate_limit_chat = 60;
  int rate_limit_instance = 30;
  int rate_limit_api = 300;

  // Others' services
  std::string mux_token_id, mux_token_secret, mux_base_url;  // MUX_*
  std::string whatsapp_graph_url, whatsapp_app_secret;       // WHATSAPP_*; the second is secret
  std::string stripe_webhook_secret;                         // STRIPE_WEBHOOK_SECRET
  std::string eth_rpc_url, base_rpc_url;                     // ETH_RPC_URL, BASE_RPC_URL

  // Verification: addresses are "0x" and 40 hex digits, uids "0x" and 64
  std::string eas_chain;                                // CREEL_EAS_CHAIN: "ethereum" | "base"
  std::string eas_contract;                             // CREEL_EAS_CONTRACT
  std::vector<std::string> eas_schemas, eas_attesters;  // CREEL_EAS_SCHEMAS, CREEL_EAS_ATTESTERS: those that count
  std::string coinbase_eas_contract, coinbase_indexer, coinbase_attester, coinbase_schema;  // CREEL_COINBASE_*
  std::string ens_registry;                                                                 // CREEL_ENS_REGISTRY
  std::string webauthn_rp_id;                 // CREEL_WEBAUTHN_RP_ID: a domain; "" = WebAuthn cannot be used
  std::vector<std::string> webauthn_origins;  // CREEL_WEBAUTHN_ORIGINS: "https://host[:port]" of that domain

  // The client commands
  std::string url;      // CREEL_URL: default http://<listen>
  std::string api_key;  // CREEL_API_KEY. Secret.
  std::string ca_cert;  // CREEL_CA_CERT: a file of whom an https url's certificate may be; "" = the system's
};

namespace config {

using Environment = std::map<std::string, std::string>;

// What load() is given instead of asking the process, so that tests can set it.
struct Sources {
  std::map<std::string, std::string> flags;  // by variable name, e.g. {"CREEL_LISTEN", "0.0.0.0:80"}
  Environment environment;
  std::string file;        // YAML, "" = none
  bool root = false;       // effective user id 0: decides the default state folder
  std::string executable;  // path of the running binary, to find a source checkout's templates; "" = unknown
};

// One setting, for help texts and for the CLI to make its flags of.
struct Setting {
  std::string variable;  // "CREEL_LISTEN"
  std::string key;       // "listen"
  std::string flag;      // "--listen", "" when it holds a secret
  std::string fallback;  // the default as text, for people
  std::string help;
  bool secret = false;
};
const std::vector<Setting>& settings();

// A value and where it came from.
struct Origin {
  std::string variable;
  std::string value;   // as given or as defaulted, secrets not masked
  std::string source;  // "flag --listen", "environment CREEL_LISTEN", "creel.yaml:3", "default"
};

struct Loaded {
  Config config;
  std::vector<Origin> origins;  // in the order of settings()
  // One line a setting: key, value (secrets as ********, passwords in URLs cut out) and source.
  std::string describe() const;
  // The same as a JSON object {key: {"value": …, "source": …}}.
  std::string describe_json() const;
};

Result<Loaded> load(const Sources& sources);
// The environment of this process.
Environment process_environment();
// Path of the running binary, "" when the system does not say.
std::string executable_path();

// "1h30m", "90s", "7d", "250ms", or bare seconds.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
// "512MiB", "1GiB", "2g", bare bytes. Binary units only: 1k = 1 KiB.
Result<std::int64_t> parse_bytes(std::string_view text);
Result<HostPort> parse_host_port(std::string_view text);
// A URL or key=value conninfo with any password replaced by ****.
std::string mask_database_url(std::string_view text);

}  // namespace config
}  // namespace creel
