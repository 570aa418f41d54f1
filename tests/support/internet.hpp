// Internet: a network namespace that plays what lies beyond this machine, so that nothing leaves it: web servers, a DNS
// server, a cloud's metadata service, a private network. Needs root, as an engine does. Tests only.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "controller/core/ids.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {

class Internet {
 public:
  // Addresses of servers in it: HTTP on 80, HTTPS on 443, something on 8443, an echo on UDP 9999, DNS on 53.
  static constexpr const char* kServer = "203.0.113.10";  // allowed.test and all below it
  static constexpr const char* kOther = "203.0.113.20";   // every other name
  static constexpr const char* kMetadata = "169.254.169.254";
  static constexpr const char* kPrivate = "10.255.99.10";
  static constexpr const char* kHost = "198.51.100.1";  // this machine, as seen from there
  static constexpr const char* kDns = "203.0.113.53";

  Internet() {
    // The addresses are this machine's: one at a time, whoever runs tests on it.
    lock_ = open("/tmp/creel-internet.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    EXPECT_EQ(flock(lock_, LOCK_EX), 0);
    const std::string id = random_hex(3);
    name_ = "creel-internet-" + id;
    folder_ = required_env("CREEL_TEST_WORK") + "/" + name_;
    std::filesystem::create_directories(folder_);
    const std::string inside = "ip netns exec " + name_ + " ";
    // An interrupted run may have left one with the same addresses.
    run("ip netns list | sed -n 's/^\\(creel-internet-[0-9a-f]*\\).*/\\1/p' | while read -r n; do ip netns del $n; "
        "done");
    run("ip netns add " + name_);
    run("ip link add ci" + id + " type veth peer name cj" + id + " netns " + name_);
    run("ip addr add " + std::string{kHost} + "/30 dev ci" + id + " && ip -6 addr add 2001:db8:1::1/64 dev ci" + id +
        " nodad && ip link set ci" + id + " up");
    run(inside + "ip link set lo up && " + inside + "ip link set cj" + id + " up && " + inside +
        "ip addr add 198.51.100.2/30 dev cj" + id + " && " + inside + "ip -6 addr add 2001:db8:1::2/64 dev cj" + id +
        " nodad && " + inside + "ip route add default via " + kHost);
    for (const char* address : {kServer, kOther, kMetadata, kPrivate, kDns}) {
      run(inside + "ip addr add " + address + "/32 dev lo");
      run("ip route add " + std::string{address} + "/32 via 198.51.100.2");
    }
    run("cd " + folder_ +
        " && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=allowed.test -days 2 "
        "-addext subjectAltName=DNS:allowed.test,DNS:*.allowed.test,DNS:denied.test 2>openssl.log");
    servers_ = std::make_unique<ServerProcess>(std::vector<std::string>{
        "ip", "netns", "exec", name_, "python3", test::source_dir() + "/tests/support/internet.py", folder_});
  }
  ~Internet() {
    servers_.reset();
    run("ip netns del " + name_);  // and with it the pair of interfaces, and the routes over it
    std::filesystem::remove_all(folder_);
    close(lock_);
  }
  Internet(const Internet&) = delete;
  Internet& operator=(const Internet&) = delete;

  // PEM file of who signed the servers' certificate.
  std::string ca() const { return folder_ + "/cert.pem"; }
  // The names its DNS server was asked for, one a line.
  std::string names_asked() const { return folder_ + "/names"; }

 private:
  static void run(const std::string& command) {
    EXPECT_EQ(0, std::system(("PATH=$PATH:/usr/sbin:/sbin; " + command).c_str())) << command;
  }
  int lock_ = -1;
  std::string name_, folder_;
  std::unique_ptr<ServerProcess> servers_;
};

}  // namespace creel::test
