#include "controller/streams/mux.hpp"

#include <gmock/gmock.h>

#include "tests/support/fake_mux.hpp"

namespace creel::streams {
namespace {

using test::FakeMux;
using testing::HasSubstr;
using testing::Not;

class MuxTest : public testing::Test {
 protected:
  Mux mux(const std::string& secret = "secret", std::chrono::milliseconds deadline = std::chrono::seconds{20}) {
    Mux::Options options;
    options.base_url = fake_.url();
    options.token_id = "id";
    options.token_secret = secret;
    options.deadline = deadline;
    return Mux{client_, options};
  }

  FakeMux fake_;
  http::Client client_;
};

TEST_F(MuxTest, CreatesALowLatencyPublicStreamUnderOurName) {
  const auto made = mux().create("creel/a/b", {});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->id, "stream_1");
  EXPECT_EQ(made->key, "live_key_1");
  EXPECT_EQ(fake_.last_body(), nlohmann::json::parse(R"({"playback_policy": ["public"], "latency_mode": "low",
      "new_asset_settings": {"playback_policy": ["public"]}, "passthrough": "creel/a/b"})"));
}

TEST_F(MuxTest, FindsStreamsOfThatNameOnEveryPageTheOldestFirst) {
  fake_.add("mine");
  for (int i = 0; i < 130; ++i) fake_.add("other");
  fake_.add("mine");
  const auto found = mux().find("mine", {});
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].id, "stream_1");
  EXPECT_EQ((*found)[1].id, "stream_132");
  EXPECT_TRUE(mux().find("nobody's", {})->empty());
}

TEST_F(MuxTest, TakesAStreamThatIsGoneForDeleted) {
  fake_.add("mine");
  EXPECT_TRUE(mux().remove("stream_1", {}));
  EXPECT_TRUE(fake_.streams().empty());
  EXPECT_TRUE(mux().remove("stream_1", {}));
}

TEST_F(MuxTest, SaysWhatToDoAboutRefusedCredentialsWithoutShowingThem) {
  const auto refused = mux("wrong-secret").create("x", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::failed);
  EXPECT_THAT(refused.error().message, HasSubstr("401"));
  EXPECT_THAT(refused.error().message, HasSubstr("MUX_TOKEN_SECRET"));
  EXPECT_THAT(refused.error().message, Not(HasSubstr("wrong-secret")));
}

TEST_F(MuxTest, PassesTheReasonOfARefusalOn) {
  fake_.next({FakeMux::Fault::invalid});
  const auto refused = mux().create("x", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "Mux answered 400: plan does not allow it");
}

TEST_F(MuxTest, TellsAnUnknownOutcomeFromARefusal) {
  fake_.next({FakeMux::Fault::error, FakeMux::Fault::lost, FakeMux::Fault::late});
  EXPECT_EQ(mux().create("x", {}).error().kind, ErrorKind::unavailable);
  EXPECT_NE(mux().create("x", {}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(mux("secret", std::chrono::milliseconds{200}).create("x", {}).error().kind, ErrorKind::timeout);
}

TEST(Mux, CannotBeReachedWhereNothingListens) {
  http::Client client;
  const auto answer =
      Mux{client, {.base_url = "http://127.0.0.1:1", .token_id = "", .token_secret = ""}}.create("x", {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
}

}  // namespace
}  // namespace creel::streams
