// A real Caddy in front of Creel, which gets a certificate for a name of its own authority when somebody first asks for
// that name, and asks Creel whether it may. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>

#include "controller/http/client.hpp"

namespace creel::test {

class Caddy {
 public:
  Caddy() = default;
  Caddy(const Caddy&) = delete;
  Caddy& operator=(const Caddy&) = delete;
  ~Caddy() {
    if (process_ > 0) {
      kill(process_, SIGTERM);
      waitpid(process_, nullptr, 0);
    }
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }

  // `port`: a free one of 127.0.0.1; `creel`: "127.0.0.1:8080". Fails the test when it does not answer.
  void start(http::Client& client, const std::string& port, const std::string& creel) {
    char name[] = "/tmp/creel-caddy-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    port_ = port;
    std::ofstream{dir_ + "/Caddyfile"} << "{\n  admin off\n  auto_https disable_redirects\n  skip_install_trust\n"
                                       << "  storage file_system " << dir_ << "/data\n"
                                       << "  on_demand_tls {\n    ask http://" << creel
                                       << "/integrations/caddy/ask\n  }\n}\n"
                                       << "https://:" << port << " {\n  bind 127.0.0.1\n"
                                       << "  tls internal {\n    on_demand\n  }\n  reverse_proxy " << creel << "\n}\n";
    process_ = fork();
    if (process_ == 0) {
      const std::string config = dir_ + "/Caddyfile";
      std::ignore = freopen((dir_ + "/log").c_str(), "w", stderr);
      for (const char* home : {"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"}) setenv(home, dir_.c_str(), 1);
      execlp("caddy", "caddy", "run", "--config", config.c_str(), "--adapter", "caddyfile", nullptr);
      _exit(127);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!std::filesystem::exists(authority()) || !answers(client)) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "caddy does not start; it is in the list of packages\n"
                                                         << log();
      std::this_thread::sleep_for(std::chrono::milliseconds{20});  // polls another process
    }
  }

  // The certificate of its own authority, which clients are to trust.
  std::string authority() const { return dir_ + "/data/pki/authorities/local/root.crt"; }
  std::string log() const {
    std::ifstream file{dir_ + "/log"};
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  // Whether it takes connections; what it says to a name that is none of Creel's does not matter.
  bool answers(http::Client& client) const {
    http::Request request;
    request.url = "http://127.0.0.1:" + port_;
    return client.send(request).has_value();
  }

  std::string dir_, port_;
  pid_t process_ = -1;
};

}  // namespace creel::test
