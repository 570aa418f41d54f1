// WebAuthn registrations: what a browser answers when an authenticator has made a new key for this site. Pure.
// webauthn.cpp is the sole includer of libfido2.
//
// Checked: type, challenge, origin, RP id, that a person was present, that the key is of a kind asked for, and the
// attestation's signature where the format has one. Formats: "none", "packed" (signed by the new key itself, or by a
// certificate's), "fido-u2f"; the chain of a certificate is not judged. What else there is (tpm, android-key, apple, …)
// is refused: creation_options() asks for "none", so a browser does not send it by itself.
// Binary values are base64url without padding. Errors: invalid (field "signature") for what is no such answer; else
// VERIFICATION_FAILED with the reason. Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::verify {

struct RelyingParty {
  std::string id;                    // "example.com"
  std::vector<std::string> origins;  // "https://example.com"
};

struct Registration {
  std::string credential_id;
  std::string public_key;  // COSE_Key
  int algorithm = 0;       // COSE: -7 ES256, -257 RS256, -8 EdDSA
  std::string aaguid;      // model of the authenticator, hex; zeros when it does not say
  std::uint32_t sign_count = 0;
  bool user_verified = false;
  bool backup_eligible = false;
  std::string attestation;  // "none" | "self" | "certificate"
  std::string origin;
};

// PublicKeyCredentialCreationOptions as JSON: what parseCreationOptionsFromJSON() of a browser takes.
std::string creation_options(const RelyingParty& party, std::string_view challenge, std::string_view user_id,
                             std::string_view user_name, std::chrono::milliseconds timeout);

// `answer`: the credential's toJSON().
Result<Registration> check_registration(std::string_view answer, std::string_view challenge, const RelyingParty& party);

}  // namespace creel::verify
