// A real docker-registry on a port of 127.0.0.1, which engines take as trusted. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <tuple>

#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

class LocalRegistry {
 public:
  LocalRegistry() = default;
  LocalRegistry(const LocalRegistry&) = delete;
  LocalRegistry& operator=(const LocalRegistry&) = delete;
  ~LocalRegistry() {
    if (process_ > 0) {
      kill(process_, SIGTERM);
      waitpid(process_, nullptr, 0);
    }
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }

  // "127.0.0.1:PORT"
  const std::string& host() const { return host_; }

  // Fails the test when it does not answer.
  void start(http::Client& client) {
    host_ = "127.0.0.1:" + std::to_string(free_port());
    char name[] = "/tmp/creel-registry-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    std::ofstream{dir_ + "/config.yml"} << "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                                        << "storage: {filesystem: {rootdirectory: " << dir_ << "/data}}\n"
                                        << "http: {addr: " << host_ << "}\n";
    process_ = fork();
    if (process_ == 0) {
      const std::string config = dir_ + "/config.yml";
      std::ignore = freopen((dir_ + "/log").c_str(), "w", stderr);
      execlp("docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
      _exit(127);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    for (;;) {
      http::Request request;
      request.url = "http://" + host_ + "/v2/";
      const auto answer = client.send(request);
      if (answer && answer->status == 200) return;
      ASSERT_LT(std::chrono::steady_clock::now(), until)
          << "docker-registry does not start; it is in the list of packages";
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
  }

  // Makes an image of a container, with changes like a Dockerfile's, and keeps it here alone as "team/agent:<tag>".
  // Returns its reference by digest; fails the test when that cannot be done.
  std::string publish(EngineApi& engine, const std::string& container, const std::string& tag,
                      const nlohmann::json& changes) {
    const std::string repository = host_ + "/team/agent", name = repository + ":" + tag;
    std::string query = "/commit?container=" + container + "&repo=" + http::url_encode(repository) + "&tag=" + tag;
    for (const auto& change : changes) query += "&changes=" + http::url_encode(change.get<std::string>());
    const Answer committed = engine.call("POST", query, nlohmann::json::object());
    EXPECT_EQ(committed.status, 201) << committed.text;
    const Answer pushed =
        engine.call("POST", "/images/" + repository + "/push?tag=" + tag, nullptr, {{"X-Registry-Auth", "e30="}});
    EXPECT_EQ(pushed.status, 200) << pushed.text;
    const auto digests = engine.call("GET", "/images/" + name + "/json").json["RepoDigests"];
    EXPECT_EQ(digests.size(), 1u) << pushed.text;
    if (digests.empty()) return "";
    const std::string digest = digests[0];
    engine.call("DELETE", "/images/" + name);
    engine.call("DELETE", "/images/" + digest);
    EXPECT_EQ(engine.call("GET", "/images/" + digest + "/json").status, 404);
    return digest;
  }

 private:
  std::string host_;
  std::string dir_;
  pid_t process_ = -1;
};

}  // namespace creel::test
