// Webhook signatures: whether a body was sent by the service that claims to have sent it. Pure; the raw body counts.
//
// Errors: invalid, code BAD_SIGNATURE, with a sentence that tells the operator what is wrong but not what would be
// right.
#pragma once

#include <string>
#include <string_view>

#include "controller/core/clock.hpp"
#include "controller/core/result.hpp"

namespace creel::api {

// How far the clock of the sender may be off, and how old a delivery may be.
inline constexpr std::chrono::seconds kSignatureTolerance{300};

// "Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…][,v0=…]": HMAC-SHA256 over "<t>.<body>"; while a secret is
// being changed there are several v1, of which one must fit. https://docs.stripe.com/webhooks#verify-manually
Result<void> check_stripe_signature(std::string_view header, std::string_view body, const std::string& secret,
                                    TimePoint now);

// "X-Hub-Signature-256: sha256=<hex>": HMAC-SHA256 over the body. Without a secret nothing fits.
// https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads
bool check_meta_signature(std::string_view header, std::string_view body, const std::string& secret);

}  // namespace creel::api
