#include "controller/store/known_secrets.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "controller/store/agent_secrets.hpp"

namespace creel::store {
namespace {

using nlohmann::json;

constexpr const char* kFormer = "former";
constexpr std::size_t kMostFormer = 32;

bool secret_name(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"key", "token", "secret", "password"})
    if (name.find(word) != std::string::npos) return true;
  return false;
}

void collect(const json& value, bool secret, std::vector<std::string>& into) {
  if (value.is_string()) {
    if (secret) into.push_back(value.get<std::string>());
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.items()) collect(member, secret || secret_name(name), into);
  } else if (value.is_array()) {
    for (const auto& member : value) collect(member, secret, into);
  }
}

// What is secret in the value of that name.
std::vector<std::string> secrets_in(std::string_view name, std::string plain) {
  std::vector<std::string> found;
  if (name == "config" || name == kFormer)
    collect(json::parse(plain, nullptr, /*allow_exceptions=*/false), name == kFormer, found);
  else if (!name.ends_with("_id"))
    found.push_back(std::move(plain));
  return found;
}

}  // namespace

Result<void> keep_former(Tx& tx, const AgentId& agent, std::string_view name, const secrets::Sealer& sealer) {
  const auto values_of = [&](std::string_view of) -> Result<std::vector<std::string>> {
    CREEL_TRY(const auto sealed, get_secret(tx, agent, of));
    if (!sealed) return std::vector<std::string>{};
    CREEL_TRY(std::string plain, sealer.open(*sealed, secrets::secret_context(agent.str(), of)));
    return secrets_in(of, std::move(plain));
  };
  CREEL_TRY(const auto now, values_of(name));
  if (now.empty()) return {};
  CREEL_TRY(auto former, values_of(kFormer));
  for (const auto& value : now) {
    std::erase(former, value);
    former.push_back(value);
  }
  if (former.size() > kMostFormer)
    former.erase(former.begin(), former.end() - static_cast<std::ptrdiff_t>(kMostFormer));
  return put_secret(tx, agent, kFormer,
                    sealer.seal(json(former).dump(-1, ' ', false, json::error_handler_t::replace),
                                secrets::secret_context(agent.str(), kFormer)));
}

Result<std::vector<std::string>> known_secrets(Tx& tx, const AgentId& agent, const secrets::Sealer& sealer) {
  CREEL_TRY(const auto rows,
            tx.exec("SELECT name, key_id, nonce, ciphertext FROM agent_secrets "
                    "WHERE agent_id = $1 AND name NOT IN ('files', 'files_taken') AND name NOT LIKE '%\\_id'",
                    {agent}));
  std::vector<std::string> known;
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    const std::string name = row.text("name");
    const secrets::Sealed sealed{row.text("key_id"), row.bytes("nonce"), row.bytes("ciphertext")};
    CREEL_TRY(std::string plain, sealer.open(sealed, secrets::secret_context(agent.str(), name)));
    for (std::string& value : secrets_in(name, std::move(plain))) known.push_back(std::move(value));
  }
  return known;
}

}  // namespace creel::store
