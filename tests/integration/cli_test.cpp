// The commands that talk to PostgreSQL themselves, against a real one.
#include "controller/cli/cli.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/core/ids.hpp"
#include "controller/secrets/password.hpp"
#include "controller/store/credentials.hpp"
#include "tests/integration/pg_fixture.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::cli {
namespace {

class AccountCommands : public test::PgTest {
 protected:
  int creel(const std::vector<std::string>& arguments, const std::string& input = "") {
    std::istringstream in{input};
    out_.str("");
    err_.str("");
    const config::Environment environment = {
        {"DATABASE_URL", conninfo_}, {"CREEL_STATE_DIR", "/nonexistent"}, {"CREEL_SHARE_DIR", test::source_dir()}};
    return cli::run(arguments, environment, Io{in, out_, err_}, [](const Config&) { return 0; });
  }
  std::string line() {
    std::string text = out_.str();
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  std::ostringstream out_, err_;
};

TEST_F(AccountCommands, MakeAUserWhosePasswordAndKeyAreGood) {
  ASSERT_EQ(creel({"migrate"}), 0) << err_.str();
  ASSERT_EQ(creel({"user", "add", "--email", "Ada@example.com", "--plan", "pro", "--subscription", "active", "--admin",
                   "--password-stdin"},
                  "correct horse\nignored\n"),
            0)
      << err_.str();
  const std::string id = line();
  ASSERT_TRUE(UserId::parse(id)) << out_.str();
  ASSERT_EQ(creel({"key", "create", "--email", "ada@EXAMPLE.com", "--name", "laptop", "--expires", "90d"}), 0)
      << err_.str();
  const std::string key = line();
  ASSERT_EQ(key.size(), 67u) << out_.str();

  auto tx = begin();
  const auto user = store::user_of_api_key(tx, sha256_hex(key), system_now()).value();
  ASSERT_TRUE(user);
  EXPECT_EQ(user->id.str(), id);
  EXPECT_EQ(user->plan, "pro");
  EXPECT_EQ(user->subscription_status, "active");
  EXPECT_TRUE(user->admin);
  EXPECT_TRUE(secrets::verify_password("correct horse", user->password_hash));
  EXPECT_FALSE(store::user_of_api_key(tx, sha256_hex(key), system_now() + std::chrono::hours{24 * 91}).value());
}

TEST_F(AccountCommands, ChangeOnlyWhatTheyAreToldTo) {
  ASSERT_EQ(creel({"user", "add", "--email", "ada@example.com", "--plan", "pro", "--admin"}), 0) << err_.str();
  ASSERT_EQ(creel({"user", "set", "--email", "ada@example.com", "--subscription", "active"}), 0) << err_.str();
  ASSERT_EQ(creel({"user", "list", "--json"}), 0);
  auto users = nlohmann::json::parse(out_.str());
  ASSERT_EQ(users.size(), 1u);
  EXPECT_EQ(users[0]["plan"], "pro");
  EXPECT_EQ(users[0]["subscriptionStatus"], "active");
  EXPECT_EQ(users[0]["admin"], true);
  ASSERT_EQ(creel({"user", "set", "--email", "ada@example.com", "--no-admin"}), 0) << err_.str();
  ASSERT_EQ(creel({"user", "list"}), 0);
  EXPECT_NE(out_.str().find("ada@example.com  user"), std::string::npos) << out_.str();
}

TEST_F(AccountCommands, PrintWhatTheyMadeAsJson) {
  ASSERT_EQ(creel({"migrate", "--json"}), 0) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str()), (nlohmann::json{{"applied", 0}}));
  ASSERT_EQ(creel({"user", "add", "--email", "ada@example.com", "--plan", "pro", "--json"}), 0) << err_.str();
  const auto made = nlohmann::json::parse(out_.str());
  EXPECT_TRUE(UserId::parse(made["id"].get<std::string>()));
  EXPECT_EQ(made["plan"], "pro");
  EXPECT_EQ(made["admin"], false);
  ASSERT_EQ(creel({"user", "set", "--email", "ada@example.com", "--admin", "--json"}), 0) << err_.str();
  auto changed = made;
  changed["admin"] = true;
  EXPECT_EQ(nlohmann::json::parse(out_.str()), changed);
  ASSERT_EQ(creel({"user", "list", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str()), nlohmann::json::array({changed}));
  ASSERT_EQ(creel({"key", "create", "--email", "ada@example.com", "--name", "laptop", "--json"}), 0) << err_.str();
  const auto key = nlohmann::json::parse(out_.str());
  EXPECT_EQ(key["name"], "laptop");
  EXPECT_TRUE(key["expiresAt"].is_null());
  auto tx = begin();
  EXPECT_TRUE(store::user_of_api_key(tx, sha256_hex(key["key"].get<std::string>()), system_now()).value());
  ASSERT_EQ(creel({"user", "add", "--email", "ada@example.com", "--json"}), 1);
  EXPECT_EQ(nlohmann::json::parse(err_.str())["code"], "CONFLICT");
}

TEST_F(AccountCommands, SayWhoIsTakenOrUnknownAndWhatIsFull) {
  ASSERT_EQ(creel({"user", "add", "--email", "ada@example.com"}), 0) << err_.str();
  EXPECT_EQ(creel({"user", "add", "--email", "ADA@example.com"}), 1);
  EXPECT_NE(err_.str().find("already"), std::string::npos) << err_.str();
  EXPECT_EQ(creel({"user", "set", "--email", "bob@example.com", "--admin"}), 1);
  EXPECT_NE(err_.str().find("creel user list"), std::string::npos) << err_.str();
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(creel({"key", "create", "--email", "ada@example.com", "--name", "k"}), 0) << err_.str();
  EXPECT_EQ(creel({"key", "create", "--email", "ada@example.com", "--name", "k"}), 1);
  EXPECT_NE(err_.str().find("has 10 API keys"), std::string::npos) << err_.str();
  EXPECT_EQ(out_.str(), "");
}

TEST_F(AccountCommands, EndAUsersSessionsWithANewPassword) {
  ASSERT_EQ(creel({"user", "add", "--email", "ada@example.com"}), 0) << err_.str();
  const std::string digest(64, 'd');
  {
    auto tx = begin();
    ASSERT_TRUE(store::create_session(tx, *UserId::parse(line()), digest, system_now()));
    ASSERT_TRUE(tx.commit());
  }
  ASSERT_EQ(creel({"user", "set", "--email", "ada@example.com", "--password-stdin"}, "another horse\n"), 0)
      << err_.str();
  auto tx = begin();
  EXPECT_FALSE(store::user_of_session(tx, digest, system_now()).value());
}

TEST_F(AccountCommands, DoctorFindsTheDatabaseAndItsClock) {
  ASSERT_EQ(creel({"migrate"}), 0) << err_.str();
  creel({"doctor"});
  EXPECT_NE(out_.str().find("DATABASE_URL\n"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find("ok    clock"), std::string::npos) << out_.str();
  EXPECT_EQ(out_.str().find("FAIL  postgresql"), std::string::npos) << out_.str();
}

// What speaks to the API, to one with TLS.
class TrustOfTheCommandLine : public testing::Test {
 protected:
  TrustOfTheCommandLine() {
    creel_.speak_tls(made_.dir + "/server.pem", made_.dir + "/server.key", made_.dir + "/ca.pem");
    creel_.start();
    key_ = creel_.user("owner@example.com");
  }
  int list(const std::string& url, const std::string& ca) {
    std::istringstream in;
    out_.str("");
    err_.str("");
    config::Environment environment = {{"CREEL_URL", url},
                                       {"CREEL_API_KEY", key_},
                                       {"CREEL_STATE_DIR", "/nonexistent"},
                                       {"CREEL_SHARE_DIR", test::source_dir()}};
    if (!ca.empty()) environment["CREEL_CA_CERT"] = made_.dir + "/" + ca;
    return cli::run({"agents", "list"}, environment, Io{in, out_, err_}, [](const Config&) { return 0; });
  }

  const test::Certificates made_;
  test::CreelProcess creel_;
  std::string key_;
  std::ostringstream out_, err_;
};

TEST_F(TrustOfTheCommandLine, IsGivenToWhomACertificateWasNamedFor) {
  const std::string url = creel_.url();
  EXPECT_EQ(list(url, "ca.pem"), 0) << err_.str();
  for (const char* other : {"", "other.pem"}) {
    EXPECT_NE(list(url, other), 0);
    EXPECT_NE(err_.str().find("CREEL_CA_CERT or --ca-cert names a file"), std::string::npos) << err_.str();
  }
  EXPECT_NE(list("https://localhost" + url.substr(url.rfind(':')), "ca.pem"), 0);
  EXPECT_NE(err_.str().find("must name it as its certificate does"), std::string::npos) << err_.str();
  EXPECT_NE(list(url, "missing.pem"), 0);
  EXPECT_NE(err_.str().find("missing.pem"), std::string::npos) << err_.str();
}

}  // namespace
}  // namespace creel::cli
