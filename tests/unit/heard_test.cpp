#include "controller/transcripts/heard.hpp"

#include <gtest/gtest.h>

namespace creel::transcripts {
namespace {

gateway::GatewayMessage said(bool from_agent, const std::string& text, int at, const char* error = nullptr) {
  gateway::GatewayMessage message{"t_" + std::to_string(at), from_agent, text, TimePoint{milliseconds{at}}, {}};
  if (error != nullptr) message.error = error;
  return message;
}

TEST(Heard, TellsAFailureWithTheMessageItWasAbout) {
  const auto messages = heard({said(false, "one", 10), said(true, "", 20, "401"), said(false, "two", 30)});
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].error, "401");
  EXPECT_FALSE(messages[1].error);
}

TEST(Heard, ATurnThatWasRepeatedAndSucceededHasNotFailed) {
  const auto messages = heard({said(false, "one", 10), said(true, "", 20, "500"), said(true, "", 30, "500"),
                               said(true, "reply", 45), said(true, "more", 60)});
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_FALSE(messages[0].error);
  EXPECT_EQ(messages[1].response_ms, 35);
  EXPECT_FALSE(messages[2].response_ms) << "only the first reply was waited for";
}

TEST(Heard, WhatTheAgentSaysByItselfAnswersNobody) {
  const auto messages = heard({said(true, "good morning", 10), said(true, "", 20, "500")});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_FALSE(messages[0].response_ms);
}

TEST(Heard, LeavesSessionsOfTheAgentsOwnTasksOut) {
  for (const char* key : {"cron:daily", "subagent:1", "agent:work:cron:x", "hook:mail"})
    EXPECT_TRUE(is_machinery(key)) << key;
  for (const char* key : {"main", "topic:cron", "telegram:direct:1", "topic:general"})
    EXPECT_FALSE(is_machinery(key)) << key;
}

}  // namespace
}  // namespace creel::transcripts
