// Credentials by their form, and what the shipped templates make of them.
#include "api/handlers/channels.hpp"

#include <gmock/gmock.h>

#include "controller/config/config.hpp"
#include "controller/config/template_file.hpp"
#include "tests/support/support.hpp"

namespace creel {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kTelegram = "123456789:AAFakeFakeFakeFakeFakeFakeFakeFakeFak";
const std::string kDiscord = "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB";

TEST(Credential, OfTelegramHasDigitsAColonAndALongSecret) {
  EXPECT_TRUE(api::check_credential("telegram", "f", kTelegram));
  for (const std::string& bad :
       {std::string{"123456789"}, std::string{":"} + std::string(35, 'A'), "12a:" + std::string(35, 'A'),
        "12:" + std::string(34, 'A'), "12:" + std::string(34, 'A') + " ", "12:" + std::string(35, 'A') + "\n"}) {
    const auto checked = api::check_credential("telegram", "telegramToken", bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().field, "telegramToken");
    EXPECT_THAT(checked.error().message, Not(HasSubstr(bad)));
  }
}

TEST(Credential, OfDiscordHasThreeParts) {
  EXPECT_TRUE(api::check_credential("discord", "f", kDiscord));
  for (const char* bad : {"abc", "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE", "..", "a.b.c",
                          "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.abcdefghij klmnopqrstuvwxyz0123456789AB"})
    EXPECT_FALSE(api::check_credential("discord", "f", bad)) << bad;
}

TEST(Credential, OfAProviderIsPlainVisibleText) {
  EXPECT_TRUE(api::check_credential("openai", "f", "sk-proj-A_b.c~d+e/f=12"));
  for (const std::string& bad : {std::string{"short"}, std::string{"with blank 1234"}, std::string{"line\nbreak123"},
                                 std::string{"quote\"12345"}, std::string{"hash#12345"}, std::string{"${HOME}12345"},
                                 std::string(1025, 'x'), std::string{"ümlaut12345"}})
    EXPECT_FALSE(api::check_credential("openai", "f", bad)) << bad;
}

TEST(Credential, OfGeminiIsGoogles) {
  EXPECT_EQ(api::provider_credential("gemini"), "google");
  EXPECT_EQ(api::provider_credential("groq"), "groq");
  EXPECT_EQ(api::provider_credential("google"), "");
}

class ShippedTemplate : public testing::Test {
 protected:
  // Every rendered file, one after the other, as the golden files hold them.
  static std::string rendered(const std::string& name, const std::map<std::string, std::string>& secrets,
                              const std::string& provider = "openrouter") {
    auto tmpl = config::load_template(test::source_dir() + "/templates/" + name);
    EXPECT_TRUE(tmpl) << tmpl.error().message;
    RenderInput input;
    input.id = *AgentId::parse("0123456789abcdef");
    input.name = "demo";
    const auto model = tmpl->provider_models.find(provider);
    if (model != tmpl->provider_models.end()) input.model = model->second;
    input.resources.memory_bytes = 1LL << 30;
    input.secrets = secrets;
    input.secrets["gateway_token"] = std::string(64, '0');
    const auto done = render(*tmpl, input);
    EXPECT_TRUE(done) << done.error().message;
    std::string text;
    for (const auto& file : done->files) {
      EXPECT_EQ(file.mode, 0600);
      text += "--- " + file.path + (file.restart ? " (restart)" : "") + "\n" + file.content;
    }
    return text;
  }
};

TEST_F(ShippedTemplate, RendersEachChannelOfOpenClaw) {
  const std::map<std::string, std::map<std::string, std::string>> cases{
      {"no_channel", {}},
      {"telegram", {{"telegram", kTelegram}}},
      {"telegram_owner", {{"telegram", kTelegram}, {"telegram_user_id", "987654321"}}},
      {"discord", {{"discord", kDiscord}}},
      {"discord_guild", {{"discord", kDiscord}, {"discord_guild_id", "123456789012345678"}}},
      {"discord_channel",
       {{"discord", kDiscord},
        {"discord_guild_id", "123456789012345678"},
        {"discord_channel_id", "223456789012345678"}}},
      {"whatsapp",
       {{"whatsapp_token", "EAAGfake1234"},
        {"whatsapp_phone_number_id", "15550001"},
        {"whatsapp_verify_token", "f00d"}}},
  };
  for (const auto& [name, secrets] : cases) {
    const std::string text = rendered("openclaw", secrets);
    EXPECT_EQ(text.substr(0, text.find_last_not_of(" \n") + 1), test::golden("openclaw/" + name + ".txt", text))
        << name;
  }
}

TEST_F(ShippedTemplate, RendersEachProviderOfOpenClaw) {
  for (const std::string provider : {"openrouter", "gemini", "groq", "anthropic", "openai"}) {
    const std::string text =
        rendered("openclaw", {{std::string{api::provider_credential(provider)}, "key-of-" + provider}}, provider);
    EXPECT_EQ(text.substr(0, text.find_last_not_of(" \n") + 1), test::golden("openclaw/" + provider + ".txt", text))
        << provider;
  }
}

TEST_F(ShippedTemplate, LeavesNothingOfAChannelThatIsNotSetOrThatOpenClawCannotSpeak) {
  const std::string none = rendered("openclaw", {});
  EXPECT_THAT(none, Not(HasSubstr("channels")));
  EXPECT_EQ(none, rendered("openclaw", {{"telegram_user_id", "1"}, {"discord_guild_id", "123456789012345678"}}));
  EXPECT_EQ(none, rendered("openclaw", {{"whatsapp_token", "EAAGfake1234"}}));
}

TEST_F(ShippedTemplate, OfTheReferenceAgentTakesThemAndNeedsNone) {
  EXPECT_EQ(rendered("reference", {{"telegram", kTelegram}, {"discord", kDiscord}, {"openai", "key-of-openai"}}),
            rendered("reference", {}));
}

}  // namespace
}  // namespace creel
