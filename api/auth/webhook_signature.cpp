#include "api/auth/webhook_signature.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "api/body.hpp"
#include "controller/secrets/hmac.hpp"

namespace creel::api {
namespace {

Error bad_signature(const std::string& header, std::string message) {
  return Error{ErrorKind::invalid, std::move(message), header, "BAD_SIGNATURE"};
}

}  // namespace

Result<void> check_stripe_signature(std::string_view header, std::string_view body, const std::string& secret,
                                    TimePoint now) {
  constexpr const char* kHeader = "Stripe-Signature";
  std::string time;
  std::vector<std::string> signatures;
  for (std::string_view rest = header; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const std::string part = trimmed(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (part.starts_with("t=")) time = part.substr(2);
    if (part.starts_with("v1=")) signatures.push_back(part.substr(3));
  }
  std::int64_t seconds = 0;
  const auto [end, problem] = std::from_chars(time.data(), time.data() + time.size(), seconds);
  if (time.empty() || problem != std::errc{} || end != time.data() + time.size() || signatures.empty())
    return bad_signature(kHeader, "The header Stripe-Signature is missing or not of the form t=<time>,v1=<signature>");
  bool fits = false;
  for (const auto& signature : signatures)
    fits = secrets::is_hmac_sha256(signature, secret, time + "." + std::string{body}) || fits;
  if (!fits)
    return bad_signature(kHeader,
                         "The signature does not fit the body; STRIPE_WEBHOOK_SECRET must be the signing secret of "
                         "this very endpoint");
  // Compared as seconds since 1970, which cannot overflow as time points of another unit could.
  const std::int64_t ours = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (seconds < ours - kSignatureTolerance.count() || seconds > ours + kSignatureTolerance.count())
    return bad_signature(kHeader,
                         "The signature was made more than 5 minutes before or after now; check this machine's clock");
  return {};
}

bool check_meta_signature(std::string_view header, std::string_view body, const std::string& secret) {
  constexpr std::string_view kScheme = "sha256=";
  // Taken the same time without a secret: whether an address has one does not show.
  const bool fits = secrets::is_hmac_sha256(header.substr(std::min(kScheme.size(), header.size())), secret, body);
  return header.starts_with(kScheme) && !secret.empty() && fits;
}

}  // namespace creel::api
