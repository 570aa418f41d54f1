#include "reconciler/runtime/docker/engine.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "reconciler/runtime/docker/breaker.hpp"
#include "reconciler/runtime/docker/codec.hpp"
#include "reconciler/runtime/docker/image.hpp"

namespace creel::docker {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

using Steady = std::chrono::steady_clock;

constexpr milliseconds kProbeDeadline{2'000};
constexpr std::size_t kRefusalMax = 1u << 20;

std::string encode(const std::string& text) { return http::url_encode(text); }

std::string container_path(const std::string& id, const std::string& rest) {
  return "/containers/" + encode(id) + rest;
}

// "/containers/abc/json" -> "abc"; "" when it is about no container.
std::string_view container_of(std::string_view path) {
  constexpr std::string_view kContainers = "/containers/";
  if (!path.starts_with(kContainers)) return {};
  path.remove_prefix(kContainers.size());
  const auto slash = path.find_first_of("/?");
  return slash == std::string_view::npos || path[slash] == '?' ? std::string_view{} : path.substr(0, slash);
}

bool is_success(int status) { return (status >= 200 && status < 300) || status == 304; }

}  // namespace

struct Engine::Impl {
  http::Client& client;
  EngineOptions options;
  std::string base;         // "http://docker" or "https://host:port"
  std::string unix_socket;  // "" for tcp
  std::optional<http::Tls> tls;

  mutable std::mutex mutex;
  Breaker breaker;                  // under mutex
  std::string api;                  // negotiated, under mutex; "" = not yet
  std::optional<EngineInfo> about;  // under mutex

  struct Call {
    const char* verb = "";  // the name of Engine's method, for EngineOptions::called
    std::string method = "GET";
    std::string path;  // below the version, with its query
    std::string body = {};
    std::string content_type = {};
    milliseconds deadline{0};    // 0 with streams
    milliseconds inactivity{0};  // streams
    std::string what;            // "start the container"
    // A timeout tells nothing about the engine: it waits for a container or for a registry.
    bool may_time_out = false;
  };

  Impl(http::Client& c, EngineOptions o) : client(c), options(std::move(o)) {}

  Result<http::Request> request(const Call& call, const std::string& prefix) const {
    http::Request request;
    request.method = call.method;
    request.url = base + prefix + call.path;
    request.unix_socket = unix_socket;
    request.peer = "the Docker engine";  // owners of agents read these errors, and are not told where it is
    request.tls = tls;
    if (!call.content_type.empty()) request.headers.emplace_back("Content-Type", call.content_type);
    request.body = call.body;
    request.connect_timeout = options.connect_timeout;
    request.deadline = call.deadline;
    request.inactivity = call.inactivity;
    std::string user_agent = options.user_agent;
    if (options.term && call.method != "GET" && call.method != "HEAD") {
      const auto term = options.term();
      if (!term) return Error{ErrorKind::cancelled, "another controller leads, and may " + call.what};
      user_agent += " term/" + std::to_string(*term);
      request.still_allowed = [this, term] { return options.term() == term; };
    }
    request.headers.emplace_back("User-Agent", std::move(user_agent));
    return request;
  }

  // Counts an exchange with the breaker. A lost connection makes what was learned about the engine doubtful.
  void account(const Result<http::Response>& result, const Call& call) {
    std::lock_guard lock{mutex};
    if (result) return breaker.succeeded();
    const Error& error = result.error();
    if (error.kind == ErrorKind::unavailable) {
      api.clear();
      about.reset();
    } else if (error.kind != ErrorKind::timeout || call.may_time_out) {
      return;  // cancelled, or nothing that the engine is to blame for
    }
    const bool was_open = breaker.is_open();
    breaker.failed(std::chrono::steady_clock::now(), error.message,
                   error.kind == ErrorKind::timeout ? container_of(call.path) : std::string_view{});
    if (!was_open && breaker.is_open()) {
      spdlog::warn("the Docker engine at {} does not answer ({}); calls fail at once until it does",
                   options.docker_host, error.message);
    }
  }

  void tell(const char* verb, const std::string& code, Steady::time_point began) const {
    if (options.called)
      options.called(verb, code, std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - began));
  }
  void tell(const char* verb, const Result<http::Response>& answer, Steady::time_point began) const {
    tell(verb, answer ? std::to_string(answer->status) : to_string(answer.error().kind), began);
  }

  // Lets the call through, probes the engine, or fails at once.
  Result<void> admit(const char* verb, std::stop_token stop) {
    std::unique_lock lock{mutex};
    switch (breaker.admit(std::chrono::steady_clock::now())) {
      case Breaker::Verdict::go:
        return {};
      case Breaker::Verdict::refuse:
        tell(verb, "refused", Steady::now());
        return Error{ErrorKind::unavailable, breaker.reason()};
      case Breaker::Verdict::probe:
        break;
    }
    lock.unlock();
    const auto ping = request({.path = "/_ping", .deadline = kProbeDeadline, .what = "be reached"}, "");
    const auto began = Steady::now();
    const auto answer = client.send(*ping, stop);
    tell("ping", answer, began);
    lock.lock();
    if (answer) {
      breaker.probe_succeeded();
      spdlog::info("the Docker engine at {} answers again", options.docker_host);
      return {};
    }
    if (answer.error().kind == ErrorKind::cancelled) {
      breaker.probe_abandoned();
    } else {
      breaker.probe_failed(std::chrono::steady_clock::now(), answer.error().message);
    }
    return answer.error();
  }

  Result<http::Response> exchange(const Call& call, const std::string& prefix, std::stop_token stop) {
    CREEL_CHECK(admit(call.verb, stop));
    CREEL_TRY(auto http_request, request(call, prefix));
    const auto began = Steady::now();
    auto answer = client.send(std::move(http_request), stop);
    tell(call.verb, answer, began);
    account(answer, call);
    if (answer && !is_success(answer->status)) return engine_error(answer->status, answer->body, call.what);
    return answer;
  }

  Result<EngineVersion> ask_version(std::stop_token stop) {
    CREEL_TRY(
        const auto answer,
        exchange({.verb = "version", .path = "/version", .deadline = options.read_deadline, .what = "tell its version"},
                 "", stop));
    return read_version(answer.body);
  }

  // "/v1.41"
  Result<std::string> prefix(std::stop_token stop) {
    {
      std::lock_guard lock{mutex};
      if (!api.empty()) return "/v" + api;
    }
    CREEL_TRY(const EngineVersion version, ask_version(stop));
    CREEL_TRY(std::string chosen, negotiate_api(version));
    std::lock_guard lock{mutex};
    if (api.empty()) spdlog::info("Docker engine {} at {}, API {}", version.version, options.docker_host, chosen);
    api = chosen;
    return "/v" + chosen;
  }

  Result<http::Response> call(Call call, std::stop_token stop) {
    CREEL_TRY(const std::string version, prefix(stop));
    return exchange(call, version, stop);
  }

  // A quick question about one object.
  Result<http::Response> get(const char* verb, std::string path, std::string what, std::stop_token stop) {
    return call({.verb = verb, .path = std::move(path), .deadline = options.read_deadline, .what = std::move(what)},
                stop);
  }

  // A question whose answer grows with the number of objects.
  Result<http::Response> list(const char* verb, std::string path, const std::string& filters, std::string what,
                              std::stop_token stop) {
    if (!filters.empty()) path += (path.find('?') == std::string::npos ? "?filters=" : "&filters=") + encode(filters);
    return call({.verb = verb, .path = std::move(path), .deadline = options.write_deadline, .what = std::move(what)},
                stop);
  }

  Result<http::Response> post(const char* verb, std::string path, const nlohmann::json& body, std::string what,
                              std::stop_token stop) {
    return call({.verb = verb,
                 .method = "POST",
                 .path = std::move(path),
                 .body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                 .content_type = "application/json",
                 .deadline = options.write_deadline,
                 .what = std::move(what)},
                stop);
  }

  // A change without a body and without an answer worth reading.
  Result<void> change(const char* verb, std::string method, std::string path, std::string what, std::stop_token stop,
                      milliseconds longer = milliseconds{0}) {
    CREEL_CHECK(call({.verb = verb,
                      .method = std::move(method),
                      .path = std::move(path),
                      .deadline = options.write_deadline + longer,
                      .what = std::move(what)},
                     stop));
    return {};
  }

  Result<void> stream(const Call& call, std::function<bool(std::string_view)> sink, std::stop_token stop,
                      std::function<void()> on_open = {}) {
    CREEL_TRY(const std::string version, prefix(stop));
    CREEL_CHECK(admit(call.verb, stop));
    CREEL_TRY(auto http_request, request(call, version));
    http_request.max_body = kRefusalMax;
    const auto began = Steady::now();
    bool opened = false;
    const auto answer = client.stream(std::move(http_request), std::move(sink), stop, [&] {
      opened = true;
      tell(call.verb, "200", began);
      {
        std::lock_guard lock{mutex};
        breaker.succeeded();
      }
      if (on_open) on_open();
    });
    if (!opened) tell(call.verb, answer, began);
    account(answer, call);
    if (!answer) return answer.error();
    if (!is_success(answer->status)) return engine_error(answer->status, answer->body, call.what);
    return {};
  }
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::make(http::Client& client, EngineOptions options) {
  auto impl = std::make_unique<Impl>(client, std::move(options));
  const std::string& host = impl->options.docker_host;
  if (host.starts_with("unix://") && host.size() > 8 && host[7] == '/') {
    impl->unix_socket = host.substr(7);
    impl->base = "http://docker";
  } else if (host.starts_with("tcp://") && host.rfind(':') > 5 && host.find('/', 6) == std::string::npos) {
    const std::string& dir = impl->options.tls_dir;
    impl->base = (dir.empty() ? "http://" : "https://") + host.substr(6);
    if (!dir.empty()) {
      impl->tls = http::Tls{dir + "/ca.pem", dir + "/cert.pem", dir + "/key.pem", impl->options.tls_verify};
    }
  } else {
    return invalid("docker_host", "\"" + host + "\" is neither unix:///path nor tcp://host:port");
  }
  return std::unique_ptr<Engine>{new Engine{std::move(impl)}};
}

const std::string& Engine::address() const { return impl_->options.docker_host; }
bool Engine::may_change() const { return !impl_->options.term || impl_->options.term(); }
bool Engine::is_unix_socket() const { return !impl_->unix_socket.empty(); }

bool Engine::reachable() const {
  std::lock_guard lock{impl_->mutex};
  return !impl_->breaker.is_open();
}

Result<void> Engine::ping(std::stop_token stop) {
  CREEL_CHECK(impl_->exchange(
      {.verb = "ping", .path = "/_ping", .deadline = impl_->options.read_deadline, .what = "be reached"}, "", stop));
  return {};
}

Result<EngineVersion> Engine::version(std::stop_token stop) { return impl_->ask_version(stop); }

Result<EngineInfo> Engine::info(std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->get("info", "/info", "describe itself", stop));
  return read_info(answer.body);
}

Result<EngineInfo> Engine::cached_info(std::stop_token stop) {
  {
    std::lock_guard lock{impl_->mutex};
    if (impl_->about) return *impl_->about;
  }
  CREEL_TRY(EngineInfo about, info(stop));
  std::lock_guard lock{impl_->mutex};
  impl_->about = about;
  return about;
}

// --- containers ---

Result<std::string> Engine::container_create(const std::string& name, const nlohmann::json& body,
                                             std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->post("container_create", "/containers/create?name=" + encode(name), body,
                                           "create the container " + name, stop));
  return read_created_id(answer.body);
}

Result<void> Engine::container_start(const std::string& id, std::stop_token stop) {
  return impl_->change("container_start", "POST", container_path(id, "/start"), "start the container", stop);
}

Result<void> Engine::container_stop(const std::string& id, seconds grace, std::stop_token stop) {
  return impl_->change("container_stop", "POST", container_path(id, "/stop?t=" + std::to_string(grace.count())),
                       "stop the container", stop, grace);
}

Result<void> Engine::container_restart(const std::string& id, seconds grace, std::stop_token stop) {
  return impl_->change("container_restart", "POST", container_path(id, "/restart?t=" + std::to_string(grace.count())),
                       "restart the container", stop, grace);
}

Result<void> Engine::container_kill(const std::string& id, const std::string& signal, std::stop_token stop) {
  return impl_->change("container_kill", "POST", container_path(id, "/kill?signal=" + encode(signal)),
                       "kill the container", stop);
}

Result<void> Engine::container_unpause(const std::string& id, std::stop_token stop) {
  return impl_->change("container_unpause", "POST", container_path(id, "/unpause"), "unpause the container", stop);
}

Result<void> Engine::container_remove(const std::string& id, bool force, std::stop_token stop) {
  return impl_->change("container_remove", "DELETE",
                       container_path(id, std::string{"?v=true&force="} + (force ? "true" : "false")),
                       "remove the container", stop);
}

Result<ContainerInfo> Engine::container_inspect(const std::string& id_or_name, std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->get("container_inspect", container_path(id_or_name, "/json"),
                                          "inspect the container " + id_or_name, stop));
  // Without knowing what the engine can limit the fingerprint is left out; that is asked once a connection.
  const auto about = cached_info(stop);
  return read_container(answer.body, about ? std::optional{*about} : std::nullopt);
}

Result<std::vector<ContainerSummary>> Engine::container_list(const std::string& filters, std::stop_token stop) {
  CREEL_TRY(const auto answer,
            impl_->list("container_list", "/containers/json?all=true", filters, "list its containers", stop));
  return read_container_list(answer.body);
}

Result<int> Engine::container_wait(const std::string& id, const std::string& condition, milliseconds deadline,
                                   std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->call({.verb = "container_wait",
                                            .method = "POST",
                                            .path = container_path(id, "/wait?condition=" + encode(condition)),
                                            .deadline = deadline,
                                            .what = "wait for the container",
                                            .may_time_out = true},
                                           stop));
  return read_wait(answer.body);
}

Result<void> Engine::container_logs(const std::string& id, const LogQuery& query, BytesSink sink,
                                    std::stop_token stop) {
  std::string path = container_path(id, "/logs?stdout=true&stderr=true&timestamps=true");
  path += "&tail=" + (query.tail ? std::to_string(*query.tail) : "all");
  if (query.follow) path += "&follow=true";
  if (query.since_nanoseconds != 0) {
    std::string fraction = std::to_string(query.since_nanoseconds % 1'000'000'000);
    fraction.insert(0, 9 - fraction.size(), '0');
    path += "&since=" + std::to_string(query.since_nanoseconds / 1'000'000'000) + "." + fraction;
  }
  // Followed for as long as the reader likes; else it is a read that must get on.
  return impl_->stream({.verb = "container_logs",
                        .path = path,
                        .inactivity = query.follow ? milliseconds{0} : impl_->options.read_deadline,
                        .what = "read the container's log"},
                       std::move(sink), stop);
}

Result<stats::Usage> Engine::container_stats(const std::string& id, std::stop_token stop) {
  // The engine waits for its own collector, which comes by once a second.
  CREEL_TRY(const auto answer, impl_->get("container_stats", container_path(id, "/stats?stream=false&one-shot=true"),
                                          "tell the container's usage", stop));
  return read_stats(answer.body);
}

Result<void> Engine::archive_put(const std::string& id, const std::string& path, std::string tar,
                                 std::stop_token stop) {
  CREEL_CHECK(impl_->call({.verb = "archive_put",
                           .method = "PUT",
                           .path = container_path(id, "/archive?path=" + encode(path)),
                           .body = std::move(tar),
                           .content_type = "application/x-tar",
                           .deadline = impl_->options.write_deadline,
                           .what = "put files into the container"},
                          stop));
  return {};
}

Result<void> Engine::archive_put(const std::string& id, const std::string& path,
                                 const std::function<Result<void>(const http::Client::Write&)>& produce,
                                 std::stop_token stop) {
  const Impl::Call call{.verb = "archive_put",
                        .method = "PUT",
                        .path = container_path(id, "/archive?path=" + encode(path)),
                        .content_type = "application/x-tar",
                        .inactivity = impl_->options.write_deadline,
                        .what = "put files into the container"};
  CREEL_TRY(const std::string version, impl_->prefix(stop));
  CREEL_CHECK(impl_->admit(call.verb, stop));
  CREEL_TRY(auto http_request, impl_->request(call, version));
  const auto began = Steady::now();
  bool made = true;
  const auto answer = impl_->client.upload(
      std::move(http_request),
      [&](const http::Client::Write& write) {
        auto produced = produce(write);
        made = static_cast<bool>(produced);
        return produced;
      },
      stop);
  if (made) impl_->tell(call.verb, answer, began);
  if (made) impl_->account(answer, call);
  if (!answer) return answer.error();
  if (!is_success(answer->status)) return engine_error(answer->status, answer->body, call.what);
  return {};
}

Result<void> Engine::archive_get(const std::string& id, const std::string& path, BytesSink sink, std::stop_token stop) {
  return impl_->stream({.verb = "archive_get",
                        .path = container_path(id, "/archive?path=" + encode(path)),
                        .inactivity = impl_->options.write_deadline,
                        .what = "get files from the container"},
                       std::move(sink), stop);
}

Result<PathStat> Engine::archive_stat(const std::string& id, const std::string& path, std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->call({.verb = "archive_stat",
                                            .method = "HEAD",
                                            .path = container_path(id, "/archive?path=" + encode(path)),
                                            .deadline = impl_->options.write_deadline,
                                            .what = "look at a file in the container"},
                                           stop));
  return read_path_stat(answer.header("x-docker-container-path-stat"));
}

// --- volumes, networks, images ---

Result<VolumeInfo> Engine::volume_create(const std::string& name, const Labels& labels, std::stop_token stop) {
  const nlohmann::json body{{"Name", name}, {"Driver", "local"}, {"Labels", labels}};
  CREEL_TRY(const auto answer,
            impl_->post("volume_create", "/volumes/create", body, "create the volume " + name, stop));
  return read_volume(answer.body);
}

Result<VolumeInfo> Engine::volume_inspect(const std::string& name, std::stop_token stop) {
  CREEL_TRY(const auto answer,
            impl_->get("volume_inspect", "/volumes/" + encode(name), "inspect the volume " + name, stop));
  return read_volume(answer.body);
}

Result<void> Engine::volume_remove(const std::string& name, std::stop_token stop) {
  return impl_->change("volume_remove", "DELETE", "/volumes/" + encode(name), "remove the volume " + name, stop);
}

Result<std::vector<VolumeInfo>> Engine::volume_list(const std::string& filters, std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->list("volume_list", "/volumes", filters, "list its volumes", stop));
  return read_volume_list(answer.body);
}

Result<std::string> Engine::network_create(const NetworkSpec& spec, std::stop_token stop) {
  const auto yes = [](bool value) { return value ? "true" : "false"; };
  nlohmann::json body{{"Name", spec.name},
                      {"CheckDuplicate", true},  // the default since API 1.44
                      {"Driver", "bridge"},
                      {"Internal", spec.internal},
                      {"Labels", spec.labels},
                      {"Options",
                       {{"com.docker.network.bridge.name", spec.bridge},
                        {"com.docker.network.bridge.enable_icc", yes(spec.between_containers)},
                        {"com.docker.network.bridge.enable_ip_masquerade", yes(!spec.internal)}}}};
  if (!spec.subnet.empty()) {
    nlohmann::json range{{"Subnet", spec.subnet}, {"Gateway", spec.gateway}};
    if (!spec.ip_range.empty()) range["IPRange"] = spec.ip_range;
    body["IPAM"] = {{"Driver", "default"}, {"Config", nlohmann::json::array({range})}};
  }
  CREEL_TRY(const auto answer,
            impl_->post("network_create", "/networks/create", body, "create the network " + spec.name, stop));
  return read_created_id(answer.body);
}

Result<NetworkInfo> Engine::network_inspect(const std::string& id_or_name, std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->get("network_inspect", "/networks/" + encode(id_or_name),
                                          "inspect the network " + id_or_name, stop));
  return read_network(answer.body);
}

Result<std::vector<NetworkInfo>> Engine::network_list(const std::string& filters, std::stop_token stop) {
  CREEL_TRY(const auto answer, impl_->list("network_list", "/networks", filters, "list its networks", stop));
  return read_network_list(answer.body);
}

Result<void> Engine::network_connect(const std::string& network, const std::string& container, std::stop_token stop) {
  CREEL_CHECK(impl_->post("network_connect", "/networks/" + encode(network) + "/connect", {{"Container", container}},
                          "attach the container to the network " + network, stop));
  return {};
}

Result<void> Engine::network_remove(const std::string& id, std::stop_token stop) {
  return impl_->change("network_remove", "DELETE", "/networks/" + encode(id), "remove the network", stop);
}

// The reference is part of the path: its slashes and colons stay as they are, the rest was checked by the parser.
Result<ImageInfo> Engine::image_inspect(const std::string& reference, std::stop_token stop) {
  // An image id is no reference, but a good name of an image.
  if (!reference.starts_with("sha256:")) CREEL_CHECK(pullable(reference));
  CREEL_TRY(const auto answer,
            impl_->get("image_inspect", "/images/" + reference + "/json", "inspect the image " + reference, stop));
  return read_image(answer.body);
}

Result<void> Engine::image_pull(const std::string& reference, std::function<void(const std::string&)> progress,
                                std::stop_token stop) {
  CREEL_TRY(const ImageReference image, pullable(reference));
  PullProgress state;
  LineSplitter lines;
  std::string shown;
  std::optional<Error> refused;
  const auto take = [&](std::string_view line) -> Result<bool> {
    CREEL_CHECK(state.take_line(line));
    if (std::string now = state.message(); now != shown) progress(shown = std::move(now));
    return true;
  };
  CREEL_CHECK(impl_->stream(
      {.verb = "image_pull",
       .method = "POST",
       .path = "/images/create?fromImage=" + encode(image.repository) + "&tag=" + encode(image.version()),
       .inactivity = impl_->options.pull_inactivity,
       .what = "pull the image " + reference,
       .may_time_out = true},
      [&](std::string_view bytes) {
        auto more = lines.push(bytes, take);
        if (!more) refused = std::move(more).error();
        return !refused && *more;
      },
      stop));
  // The engine answers 200 before it has asked the registry: an error comes as a line of the stream.
  if (refused) refused->message = "the image " + reference + " cannot be pulled: " + refused->message;
  if (refused) return *refused;
  return {};
}

Result<void> Engine::image_remove(const std::string& reference, std::stop_token stop) {
  if (!reference.starts_with("sha256:")) CREEL_CHECK(pullable(reference));
  return impl_->change("image_remove", "DELETE", "/images/" + reference, "remove the image " + reference, stop);
}

Result<void> Engine::events(const std::string& filters, std::function<void()> on_open, LineSink on_line,
                            std::stop_token stop) {
  LineSplitter lines;
  std::optional<Error> failed;
  bool enough = false;
  CREEL_CHECK(impl_->stream(
      {.verb = "events",
       .path = "/events" + (filters.empty() ? "" : "?filters=" + encode(filters)),
       .what = "report events"},
      [&](std::string_view bytes) {
        auto more = lines.push(bytes, on_line);
        if (!more) failed = std::move(more).error();
        enough = more && !*more;
        return !failed && !enough;
      },
      stop, std::move(on_open)));
  if (failed) return *failed;
  if (enough) return {};
  return Error{ErrorKind::unavailable, "the Docker engine ended its stream of events"};
}

}  // namespace creel::docker
