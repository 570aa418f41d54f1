// Redaction: takes secrets out of text that leaves Creel (agents' log lines, messages of other programs). Pure.
//
// Replaced by "[redacted]": each given secret of at least 6 characters wherever it stands, also as JSON or a URL writes
// it (\", \u0026, %22), and what has the shape of a well-known token: sk_…, sk-…, other vendors' prefixes (ghp_, xoxb-,
// AIza, …), Telegram bot tokens (123456:AA…), and whatever follows "Bearer ". Text that is not such a token is left as
// it is. Time is linear in the text for each secret.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace creel::secrets {

inline constexpr std::string_view kRedacted = "[redacted]";

std::string redact(std::string_view text, const std::vector<std::string>& secrets = {});

}  // namespace creel::secrets
