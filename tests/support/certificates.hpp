// Certificates for a test's TLS, made by the openssl command in a folder that goes with this object. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace creel::test {

// A CA, a certificate of the server for 127.0.0.1, one of the client, and a CA that nobody trusts.
class Certificates {
 public:
  Certificates() {
    char name[] = "/tmp/creel-tls-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    dir = name;
    std::ofstream{dir + "/ext"} << "subjectAltName=IP:127.0.0.1\n";
    const std::string commands =
        "cd " + dir +
        " && exec 2>/dev/null && "
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && "
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -subj /CN=other -days 2 && "
        "for who in server client; do "
        "openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who && "
        "openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.pem || "
        "exit 1; "
        "done";
    EXPECT_EQ(0, std::system(commands.c_str())) << "the openssl command made no certificates";
  }
  ~Certificates() { std::filesystem::remove_all(dir); }
  std::string dir;
};

}  // namespace creel::test
