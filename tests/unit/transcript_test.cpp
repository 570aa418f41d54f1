#include "api/transcript.hpp"

#include <gmock/gmock.h>

namespace creel::api {
namespace {

using testing::ElementsAre;

constexpr TimePoint kNow{milliseconds{1'710'806'400'000}};

store::Message stored(std::int64_t id, bool from_agent, const std::string& text, int second,
                      std::optional<std::string> external = {}) {
  store::Message message;
  message.id = id;
  message.from_agent = from_agent;
  message.content = text;
  message.at = kNow + std::chrono::seconds{second};
  message.external_id = std::move(external);
  return message;
}

gateway::GatewayMessage shown(const std::string& id, bool from_agent, const std::string& text, int second) {
  return {id, from_agent, text, kNow + std::chrono::seconds{second}, std::nullopt};
}

std::vector<std::string> ids(const std::vector<Line>& lines) {
  std::vector<std::string> out;
  for (const auto& line : lines) out.push_back(line.id);
  return out;
}

TEST(Transcript, ShowsEachMessageOnceAsStored) {
  EXPECT_THAT(ids(transcript({stored(1, false, "hi", 0), stored(2, true, "ho", 1)},
                             {shown("a", false, "hi", 3), shown("b", true, "ho", 4)})),
              ElementsAre("msg-1", "msg-2"));
}

TEST(Transcript, AddsWhatWasSaidSinceAndNothingEarlier) {
  EXPECT_THAT(
      ids(transcript({stored(1, false, "hi", 0), stored(2, true, "ho", 10)},
                     {shown("a", true, "earlier", -5), shown("b", true, "between", 5), shown("c", true, "since", 11)})),
      ElementsAre("msg-1", "msg-2", "c"));
  EXPECT_THAT(ids(transcript({}, {shown("a", false, "hi", 0), shown("b", true, "ho", 1)})), ElementsAre("a", "b"));
}

TEST(Transcript, OverlooksBlanksAroundWhatWasSaid) {
  EXPECT_THAT(ids(transcript({stored(1, false, " hi\n", 0)}, {shown("a", false, "hi", 3)})), ElementsAre("msg-1"));
}

TEST(Transcript, CountsTheSameWordsSaidTwiceTwice) {
  EXPECT_THAT(ids(transcript({stored(1, false, "hi", 0)}, {shown("a", false, "hi", 0), shown("b", false, "hi", 2)})),
              ElementsAre("msg-1", "b"));
}

TEST(Transcript, BelievesIdsMoreThanWords) {
  EXPECT_THAT(ids(transcript({stored(1, false, "hi", 0, "a")}, {shown("b", false, "hi", 1)})),
              ElementsAre("msg-1", "b"));
  EXPECT_THAT(ids(transcript({stored(1, false, "hi", 0, "a")}, {shown("a", false, "HI", 9)})), ElementsAre("msg-1"));
}

TEST(Transcript, DoesNotTakeTheSameWordsOfAnotherDayForTheSame) {
  EXPECT_THAT(ids(transcript({stored(1, false, "hi", 0)}, {shown("a", false, "hi", 86'400)})),
              ElementsAre("msg-1", "a"));
}

}  // namespace
}  // namespace creel::api
