#include "api/verify/webauthn.hpp"

#include <fido.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/verify/errors.hpp"
#include "controller/core/ids.hpp"

namespace creel::verify {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxPart = 64u << 10;
// In the order of preference.
constexpr std::array<int, 3> kAlgorithms{COSE_ES256, COSE_RS256, COSE_EDDSA};

// --- base64url ------------------------------------------------------------------------------------------------------

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(std::string_view bytes) {
  std::string text;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : bytes) {
    buffer = buffer << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) text += kDigits[buffer >> (bits - 6) & 63];
  }
  if (bits > 0) text += kDigits[buffer << (6 - bits) & 63];
  return text;
}

// Only what base64url() writes, so that a value has one text.
std::optional<std::string> bytes_of_base64url(std::string_view text) {
  std::string bytes;
  unsigned buffer = 0;
  int bits = 0;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    buffer = buffer << 6 | static_cast<unsigned>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>(buffer >> bits & 255);
    }
  }
  if (base64url(bytes) != text) return std::nullopt;
  return bytes;
}

// --- CBOR, as far as taking an attestation object apart needs it ----------------------------------------------------

class Cbor {
 public:
  explicit Cbor(std::string_view bytes) : rest_(bytes) {}

  bool at_end() const { return rest_.empty(); }
  std::optional<std::uint64_t> map() { return sized(5); }
  std::optional<std::string_view> text() { return string(3); }
  std::optional<std::string_view> bytes() { return string(2); }
  // Any one item, as it is encoded.
  std::optional<std::string_view> item() {
    const std::string_view from = rest_;
    if (!skip(0)) return std::nullopt;
    return from.substr(0, from.size() - rest_.size());
  }

 private:
  struct Head {
    int major;
    std::uint64_t value;
  };

  // CTAP2's canonical form has no indefinite lengths (31), and 28 to 30 mean nothing.
  std::optional<Head> head() {
    if (rest_.empty()) return std::nullopt;
    const auto first = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    const int low = first & 31;
    if (low < 24) return Head{first >> 5, static_cast<std::uint64_t>(low)};
    const std::size_t size = low <= 27 ? std::size_t{1} << (low - 24) : 9;
    if (size > 8 || rest_.size() < size) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : rest_.substr(0, size)) value = value << 8 | static_cast<unsigned char>(c);
    rest_.remove_prefix(size);
    return Head{first >> 5, value};
  }
  std::optional<std::uint64_t> sized(int major) {
    const auto found = head();
    return found && found->major == major ? std::optional{found->value} : std::nullopt;
  }
  std::optional<std::string_view> string(int major) {
    const auto size = sized(major);
    if (!size || *size > rest_.size()) return std::nullopt;
    const auto found = rest_.substr(0, *size);
    rest_.remove_prefix(*size);
    return found;
  }
  bool skip(int depth) {
    if (depth > 8) return false;
    const auto found = head();
    if (!found) return false;
    switch (found->major) {
      case 2:
      case 3:
        if (found->value > rest_.size()) return false;
        rest_.remove_prefix(found->value);
        return true;
      case 4:
      case 5:
        // Each element takes a byte at least, so a huge count ends with the bytes.
        for (std::uint64_t i = 0; i < found->value; ++i)
          if (!skip(depth + 1) || (found->major == 5 && !skip(depth + 1))) return false;
        return true;
      case 6:
        return skip(depth + 1);
      default:
        return true;
    }
  }

  std::string_view rest_;
};

struct AttestationObject {
  std::string format;
  std::string_view statement;  // encoded
  std::string_view auth_data;
};

std::optional<AttestationObject> parse_attestation_object(std::string_view bytes) {
  Cbor cbor{bytes};
  AttestationObject object;
  if (cbor.map() != 3) return std::nullopt;
  for (int i = 0; i < 3; ++i) {
    const auto key = cbor.text();
    if (!key) return std::nullopt;
    if (*key == "fmt" && object.format.empty()) {
      const auto format = cbor.text();
      if (!format) return std::nullopt;
      object.format = *format;
    } else if (*key == "attStmt" && object.statement.empty()) {
      const auto statement = cbor.item();
      if (!statement) return std::nullopt;
      object.statement = *statement;
    } else if (*key == "authData" && object.auth_data.empty()) {
      const auto data = cbor.bytes();
      if (!data) return std::nullopt;
      object.auth_data = *data;
    } else {
      return std::nullopt;
    }
  }
  if (!cbor.at_end() || object.format.empty()) return std::nullopt;
  return object;
}

// --- the parts of the answer ----------------------------------------------------------------------------------------

Error malformed(const std::string& what) {
  return invalid("signature", "The field signature must be the JSON of a WebAuthn registration: " + what);
}

Error broken(const std::string& what) { return refused("response_malformed", what); }

const json* member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string text_of(const json& object, const char* name) {
  const json* found = member(object, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

struct Answer {
  std::string raw_id;
  std::string client_data;
  std::string attestation_object;
};

Result<Answer> parse_answer(std::string_view text) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return malformed("it is not a JSON object");
  if (text_of(parsed, "type") != "public-key") return malformed("its type is not \"public-key\"");
  const json* response = member(parsed, "response");
  Answer answer;
  const auto take = [](const json* from, const char* name, std::string& into) -> Result<void> {
    const std::string encoded = from == nullptr ? std::string{} : text_of(*from, name);
    if (encoded.empty()) return malformed(std::string{name} + " is missing");
    auto bytes = encoded.size() <= kMaxPart ? bytes_of_base64url(encoded) : std::nullopt;
    if (!bytes) return malformed(std::string{name} + " is not base64url without padding, or too long");
    into = std::move(*bytes);
    return {};
  };
  CREEL_CHECK(take(&parsed, "rawId", answer.raw_id));
  CREEL_CHECK(take(response, "clientDataJSON", answer.client_data));
  CREEL_CHECK(take(response, "attestationObject", answer.attestation_object));
  return answer;
}

// What the browser says it was asked for. The origin.
Result<std::string> check_client_data(const std::string& text, std::string_view challenge, const RelyingParty& party) {
  const json data = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!data.is_object()) return broken("The client data is not JSON");
  if (text_of(data, "type") != "webauthn.create")
    return refused("wrong_ceremony", "This is not the answer to a registration (navigator.credentials.create)");
  if (text_of(data, "challenge") != challenge)
    return refused("challenge_mismatch", "This answers another challenge than the newest one for this agent");
  const std::string origin = text_of(data, "origin");
  const json* crosses = member(data, "crossOrigin");
  if (std::find(party.origins.begin(), party.origins.end(), origin) == party.origins.end() ||
      (crosses != nullptr && *crosses != false))
    return refused("wrong_origin", "The registration was not made on a page of this service (CREEL_WEBAUTHN_ORIGINS)");
  return origin;
}

struct Flags {
  bool user_present, user_verified, backup_eligible, backed_up, has_credential;
};

Flags flags_of(unsigned char bits) {
  return {(bits & 0x01) != 0, (bits & 0x04) != 0, (bits & 0x08) != 0, (bits & 0x10) != 0, (bits & 0x40) != 0};
}

Result<Flags> check_auth_data(std::string_view data, const RelyingParty& party) {
  constexpr std::size_t kHash = 32, kShortest = 37;
  if (data.size() < kShortest) return broken("The authenticator data is too short");
  if (to_hex(data.substr(0, kHash)) != sha256_hex(party.id))
    return refused("wrong_rp_id", "The key was made for another site than " + party.id);
  const Flags flags = flags_of(static_cast<unsigned char>(data[kHash]));
  if (!flags.user_present) return refused("user_absent", "The authenticator says that nobody was present");
  if (!flags.has_credential) return broken("The authenticator data holds no key");
  if (flags.backed_up && !flags.backup_eligible) return broken("The flags of the authenticator contradict each other");
  return flags;
}

struct FreeCredential {
  void operator()(fido_cred_t* credential) const { fido_cred_free(&credential); }
};
using Credential = std::unique_ptr<fido_cred_t, FreeCredential>;

const unsigned char* data_of(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

// libfido2 wants to be told the key's algorithm before it reads the key.
Credential read_credential(const std::string& format, const std::string& client_data, std::string_view auth_data,
                           const RelyingParty& party) {
  for (const int algorithm : kAlgorithms) {
    Credential credential{fido_cred_new()};
    if (credential && fido_cred_set_type(credential.get(), algorithm) == FIDO_OK &&
        fido_cred_set_fmt(credential.get(), format.c_str()) == FIDO_OK &&
        fido_cred_set_rp(credential.get(), party.id.c_str(), nullptr) == FIDO_OK &&
        fido_cred_set_clientdata(credential.get(), data_of(client_data), client_data.size()) == FIDO_OK &&
        fido_cred_set_authdata_raw(credential.get(), data_of(auth_data), auth_data.size()) == FIDO_OK)
      return credential;
  }
  return nullptr;
}

// "none", "self" or "certificate".
Result<std::string> check_attestation_statement(fido_cred_t* credential, const AttestationObject& object) {
  if (object.format == "none") {
    constexpr std::string_view kEmptyMap{"\xa0"};
    if (object.statement != kEmptyMap) return broken("An attestation of the format none must be empty");
    return std::string{"none"};
  }
  const Error unsigned_error = refused("attestation_signature", "The signature of the attestation is not valid");
  if (fido_cred_set_attstmt(credential, data_of(object.statement), object.statement.size()) != FIDO_OK)
    return unsigned_error;
  const bool certificate = fido_cred_x5c_ptr(credential) != nullptr;
  const int verdict = certificate ? fido_cred_verify(credential) : fido_cred_verify_self(credential);
  if (verdict != FIDO_OK) return unsigned_error;
  return std::string{certificate ? "certificate" : "self"};
}

std::string blob(const unsigned char* bytes, std::size_t size) {
  return bytes == nullptr ? std::string{} : std::string{reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

std::string creation_options(const RelyingParty& party, std::string_view challenge, std::string_view user_id,
                             std::string_view user_name, std::chrono::milliseconds timeout) {
  json parameters = json::array();
  for (const int algorithm : kAlgorithms) parameters.push_back({{"type", "public-key"}, {"alg", algorithm}});
  const json options{{"rp", {{"id", party.id}, {"name", "Creel"}}},
                     {"user", {{"id", base64url(user_id)}, {"name", user_name}, {"displayName", user_name}}},
                     {"challenge", challenge},
                     {"pubKeyCredParams", parameters},
                     {"timeout", timeout.count()},
                     {"excludeCredentials", json::array()},
                     {"authenticatorSelection", {{"residentKey", "discouraged"}, {"userVerification", "preferred"}}},
                     {"attestation", "none"}};
  return options.dump();
}

Result<Registration> check_registration(std::string_view answer, std::string_view challenge,
                                        const RelyingParty& party) {
  CREEL_TRY(const Answer parts, parse_answer(answer));
  Registration registration;
  CREEL_TRY(registration.origin, check_client_data(parts.client_data, challenge, party));
  const auto object = parse_attestation_object(parts.attestation_object);
  if (!object) return broken("The attestation object cannot be read");
  CREEL_TRY(const Flags flags, check_auth_data(object->auth_data, party));
  if (object->format != "none" && object->format != "packed" && object->format != "fido-u2f")
    return refused("attestation_format", "Attestations of this format are not checked here; ask the browser for none");

  static const bool ready = (fido_init(0), true);
  static_cast<void>(ready);
  // "none" is not a format that libfido2 knows for statements, and reading the key does not depend on it.
  const Credential credential = read_credential(object->format == "none" ? "packed" : object->format, parts.client_data,
                                                object->auth_data, party);
  if (!credential) return broken("The key is none of those that were asked for (ES256, RS256, EdDSA)");
  CREEL_TRY(registration.attestation, check_attestation_statement(credential.get(), *object));
  const std::string id = blob(fido_cred_id_ptr(credential.get()), fido_cred_id_len(credential.get()));
  if (id != parts.raw_id) return broken("rawId is not the id of the key in the attestation object");

  registration.credential_id = base64url(id);
  registration.algorithm = fido_cred_type(credential.get());
  registration.aaguid = to_hex(blob(fido_cred_aaguid_ptr(credential.get()), fido_cred_aaguid_len(credential.get())));
  registration.sign_count = fido_cred_sigcount(credential.get());
  registration.user_verified = flags.user_verified;
  registration.backup_eligible = flags.backup_eligible;
  // After hash, flags, counter, aaguid and the length of the id comes the id, and then the key.
  const auto key = Cbor{object->auth_data.substr(32 + 1 + 4 + 16 + 2 + id.size())}.item();
  if (!key) return broken("The key cannot be read");
  registration.public_key = base64url(*key);
  return registration;
}

}  // namespace creel::verify
