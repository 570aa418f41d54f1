// WhatsApp: deliveries read, texts cut, and the one call of the Cloud API.
#include "controller/channels/whatsapp.hpp"

#include <gmock/gmock.h>

#include <future>
#include <nlohmann/json.hpp>

#include "api/whatsapp_delivery.hpp"
#include "tests/support/fake_graph.hpp"

namespace creel {
namespace {

using api::read_whatsapp;
using channels::split_text;
using channels::Whatsapp;
using nlohmann::json;
using test::FakeGraph;
using test::whatsapp_delivery;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const TimePoint kNow{std::chrono::seconds{1'764'000'100}};

// Whose number it is may be anything.
json numbered(const json& messages, const json& phone_number_id) {
  json whole = whatsapp_delivery({{"messages", messages}});
  whole["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = phone_number_id;
  return whole;
}

json message(const std::string& type, const json& part) {
  return {{"from", "491701234567"}, {"id", "wamid.1"}, {"timestamp", "1764000000"}, {"type", type}, {type, part}};
}

store::WhatsappMessage only(const std::string& type, const json& part) {
  const auto read = read_whatsapp(whatsapp_delivery({{"messages", json::array({message(type, part)})}}), "", kNow);
  EXPECT_EQ(read.messages.size(), 1u) << type;
  return read.messages.empty() ? store::WhatsappMessage{} : read.messages[0];
}

TEST(WhatsappDelivery, HoldsTextWithWhoAndWhen) {
  const auto text = only("text", {{"body", " Grüße \n 👋 "}});
  EXPECT_EQ(text.wamid, "wamid.1");
  EXPECT_EQ(text.number, "491701234567");
  EXPECT_EQ(text.phone_number_id, "111");
  EXPECT_EQ(text.content, " Grüße \n 👋 ") << "as it was written";
  EXPECT_EQ(text.at, TimePoint{std::chrono::seconds{1'764'000'000}});
  EXPECT_TRUE(text.for_agent);
}

TEST(WhatsappDelivery, NamesOtherKindsInBrackets) {
  EXPECT_EQ(only("image", {{"id", "9"}, {"caption", "my cat"}}).content, "[image] my cat");
  EXPECT_EQ(only("image", {{"id", "9"}}).content, "[image]");
  EXPECT_EQ(only("audio", {{"voice", true}}).content, "[audio]");
  EXPECT_EQ(only("document", {{"filename", "a.pdf"}, {"caption", "the bill"}}).content, "[document] the bill");
  EXPECT_EQ(only("location", {{"latitude", 52.5}, {"longitude", -13.25}, {"name", "Home"}}).content,
            "[location] 52.5, -13.25, Home");
  EXPECT_EQ(only("button", {{"text", "Yes"}, {"payload", "p"}}).content, "Yes");
  EXPECT_EQ(only("interactive", {{"type", "list_reply"}, {"list_reply", {{"id", "1"}, {"title", "Tomorrow"}}}}).content,
            "Tomorrow");
  EXPECT_TRUE(only("image", {{"id", "9"}}).for_agent);
}

TEST(WhatsappDelivery, OnlyKeepsWhatAsksForNoAnswer) {
  for (const auto& [type, part, content] :
       std::vector<std::tuple<std::string, json, std::string>>{{"reaction", {{"emoji", "👍"}}, "[reaction] 👍"},
                                                               {"unsupported", nullptr, "[unsupported] unsupported"},
                                                               {"hologram", {{"x", 1}}, "[unsupported] hologram"},
                                                               {"text", {{"body", "  "}}, "[text]"},
                                                               {"interactive", json::array(), "[interactive]"}}) {
    const auto kept = only(type, part);
    EXPECT_EQ(kept.content, content);
    EXPECT_FALSE(kept.for_agent) << type;
  }
}

TEST(WhatsappDelivery, HoldsStatusesWithTheReasonOfAFailure) {
  const json statuses = json::parse(R"([
    {"id": "wamid.9", "status": "delivered", "timestamp": "1764000001", "biz_opaque_callback_data": "creel-42"},
    {"id": "wamid.8", "status": "failed", "errors": [{"code": 131047, "title": "Re-engagement message",
      "error_data": {"details": "more than 24 hours"}}], "biz_opaque_callback_data": "somebody's"},
    {"id": "wamid.7", "status": "failed"}, {"id": "wamid.6", "status": "warning"}])");
  const auto read = read_whatsapp(whatsapp_delivery({{"statuses", statuses}}), "111", kNow);
  ASSERT_EQ(read.statuses.size(), 3u);
  EXPECT_EQ(read.statuses[0].delivery, store::WhatsappDelivery::delivered);
  EXPECT_EQ(read.statuses[0].outbox_id, 42);
  EXPECT_EQ(read.statuses[1].error, "Re-engagement message: more than 24 hours");
  EXPECT_FALSE(read.statuses[1].outbox_id);
  EXPECT_EQ(read.statuses[1].at, kNow);
  EXPECT_FALSE(read.statuses[2].error.empty());
  EXPECT_EQ(read.malformed, 0u) << "a word to come is no mistake";
}

TEST(WhatsappDelivery, LeavesMessagesToOtherNumbersAlone) {
  const json one = whatsapp_delivery({{"messages", json::array({message("text", {{"body", "x"}})})}}, "222");
  EXPECT_THAT(read_whatsapp(one, "111", kNow).messages, IsEmpty());
  EXPECT_EQ(read_whatsapp(one, "222", kNow).messages.size(), 1u);
  EXPECT_EQ(read_whatsapp(one, "", kNow).messages.size(), 1u);
}

TEST(WhatsappDelivery, SurvivesEveryWrongTypeAtEveryPlace) {
  const json whole =
      whatsapp_delivery({{"messages", json::array({message("text", {{"body", "x"}})})},
                         {"statuses", json::array({{{"id", "w"}, {"status", "sent"}, {"errors", json::array()}}})}});
  int places = 0;
  // Replaces one value after the other, whatever it is, by something of another type.
  const std::function<void(const json::json_pointer&)> walk = [&](const json::json_pointer& at) {
    for (const json& odd : {json(nullptr), json(7), json(-1.5), json(true), json("☃"), json::array(), json::object(),
                            json::array({json::array({1})})}) {
      json bent = whole;
      bent[at] = odd;
      read_whatsapp(bent, "", kNow);
      ++places;
    }
    const json& value = whole.at(at);
    if (value.is_object())
      for (const auto& [name, unused] : value.items()) walk(at / name);
    else if (value.is_array())
      for (std::size_t i = 0; i < value.size(); ++i) walk(at / i);
  };
  walk(json::json_pointer{});
  EXPECT_GT(places, 150);
}

TEST(WhatsappDelivery, CountsWhatItLeavesOutAndKeepsTheRest) {
  json messages = json::array({message("text", {{"body", "good"}})});
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"from", "+4917"},
                                                                              {"from", ""},
                                                                              {"from", std::string(21, '1')},
                                                                              {"from", 49170},
                                                                              {"id", ""},
                                                                              {"id", std::string(600, 'w')},
                                                                              {"id", "a\nb"}}) {
    json bad = message("text", {{"body", "bad"}});
    bad[field] = value;
    messages.push_back(bad);
  }
  const auto read = read_whatsapp(whatsapp_delivery({{"messages", messages}}), "", kNow);
  ASSERT_EQ(read.messages.size(), 1u);
  EXPECT_EQ(read.messages[0].content, "good");
  EXPECT_EQ(read.malformed, 7u);
  for (const json& id : {json("12a"), json(12), json(nullptr), json(std::string(33, '1'))}) {
    const auto none = read_whatsapp(numbered(messages, id), "", kNow);
    EXPECT_THAT(none.messages, IsEmpty()) << id;
    EXPECT_EQ(none.malformed, 1u);
  }
}

TEST(WhatsappDelivery, KnowsItsOwnPartsAgain) {
  EXPECT_EQ(store::outbox_id_in(store::whatsapp_callback(1234)), 1234);
  for (const char* other : {"", "creel-", "creel-x", "creel-1x", "1234", "creel-99999999999999999999"})
    EXPECT_FALSE(store::outbox_id_in(other)) << other;
}

TEST(SplitText, LeavesAShortTextWhole) {
  EXPECT_THAT(split_text("Hello!"), ElementsAre("Hello!"));
  EXPECT_THAT(split_text(" \n Hello!\n"), ElementsAre("Hello!"));
  EXPECT_THAT(split_text(std::string(4096, 'a')), ElementsAre(std::string(4096, 'a')));
  EXPECT_THAT(split_text(" \n\t "), IsEmpty());
  EXPECT_THAT(split_text(""), IsEmpty());
}

TEST(SplitText, CutsAtLinesThenAtBlanksThenAnywhere) {
  EXPECT_THAT(split_text("first line\nsecond line", 15), ElementsAre("first line", "second line"));
  EXPECT_THAT(split_text("one two three four", 10), ElementsAre("one two", "three four"));
  EXPECT_THAT(split_text("abcdefghij", 4), ElementsAre("abcd", "efgh", "ij"));
  EXPECT_THAT(split_text("ab cdefghijkl", 10), ElementsAre("ab cdefghi", "jkl")) << "not at a break near the front";
  EXPECT_THAT(split_text("abcdefghij klm", 10), ElementsAre("abcdefghij", "klm")) << "a blank right behind the end";
}

TEST(SplitText, CutsNoCharacterAndCountsAsWhatsappDoes) {
  EXPECT_THAT(split_text("ääää", 3), ElementsAre("äää", "ä"));
  EXPECT_THAT(split_text("👋👋👋", 4), ElementsAre("👋👋", "👋")) << "a pair of units each";
  EXPECT_THAT(split_text("a👋👋", 4), ElementsAre("a👋", "👋"));
  std::string text, joined;
  for (int i = 0; i < 4000; ++i) text += i % 7 == 0 ? "👋" : i % 3 == 0 ? "ö" : "x";
  const auto parts = split_text(text, 100);
  for (const auto& part : parts) {
    EXPECT_NO_THROW(json(part).dump()) << "valid UTF-8";
    joined += part;
  }
  EXPECT_EQ(joined, text) << "nothing is lost";
}

TEST(SplitText, EndsWithTextThatIsNotUtf8) {
  for (const std::string& bad :
       {std::string(50, '\xff'), std::string(50, '\x80'), std::string("\xf0"), std::string(9, 'a') + "\xf0\x9f"}) {
    std::string joined;
    for (const auto& part : split_text(bad, 4)) joined += part;
    EXPECT_EQ(joined, bad);
  }
}

class WhatsappTest : public testing::Test {
 protected:
  Result<std::string> send(const std::string& token = "EAAGfakeWhatsappToken",
                           std::chrono::milliseconds deadline = std::chrono::seconds{20}) {
    const Whatsapp whatsapp{client_, {fake_.url(), deadline}};
    std::promise<Result<std::string>> promise;
    auto future = promise.get_future();
    whatsapp.send_async({"111", token, "491701234567", "Hello!", "creel-1"},
                        [&promise](Result<std::string> done) { promise.set_value(std::move(done)); });
    return future.get();
  }

  FakeGraph fake_;
  http::Client client_;
};

TEST_F(WhatsappTest, SendsAsTheCloudApiWantsIt) {
  const auto sent = send();
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(*sent, "wamid.out1");
  EXPECT_EQ(fake_.last_body(), json::parse(R"({"messaging_product": "whatsapp", "recipient_type": "individual",
    "to": "491701234567", "type": "text", "text": {"body": "Hello!"}, "biz_opaque_callback_data": "creel-1"})"));
  EXPECT_EQ(fake_.sent()[0].phone_number_id, "111");
}

TEST_F(WhatsappTest, TellsWhatMayBeTriedAgainFromWhatMayNot) {
  using Fault = FakeGraph::Fault;
  for (const auto& [fault, kind] : std::vector<std::pair<Fault, ErrorKind>>{{Fault::error, ErrorKind::limit},
                                                                            {Fault::busy, ErrorKind::limit},
                                                                            {Fault::limited, ErrorKind::limit},
                                                                            {Fault::lost, ErrorKind::unavailable},
                                                                            {Fault::refused, ErrorKind::failed}}) {
    fake_.next({fault});
    const auto sent = send();
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().kind, kind) << sent.error().message;
  }
  EXPECT_EQ(fake_.sent().size(), 1u) << "the lost one was not sent again by itself";
  fake_.next({Fault::late});
  EXPECT_EQ(send("EAAGfakeWhatsappToken", std::chrono::milliseconds{300}).error().kind, ErrorKind::timeout);
}

TEST_F(WhatsappTest, SaysWhatIsWrongWithoutTheToken) {
  fake_.next({FakeGraph::Fault::refused});
  EXPECT_EQ(send().error().message, "WhatsApp answered 400: Message undeliverable: not a WhatsApp number");
  fake_.token = "another-token-of-whatsapp";
  const auto refused = send("EAAGfakeWhatsappToken");
  EXPECT_EQ(refused.error().kind, ErrorKind::unauthorized);
  EXPECT_THAT(refused.error().message, HasSubstr("set-credential"));
  EXPECT_THAT(refused.error().message, Not(HasSubstr("EAAGfake")));
}

}  // namespace
}  // namespace creel
