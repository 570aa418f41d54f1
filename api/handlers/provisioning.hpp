// Provisioning: what both ways of making an agent share. The wish is read by the route's own file; limits, idempotency,
// the one transaction and the wait are here.
//
// Errors of read_wish: invalid, naming the field. Threads: any; blocks on PostgreSQL.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/deps.hpp"
#include "api/http.hpp"
#include "controller/store/agents.hpp"

namespace creel::api {

struct AgentWish {
  std::string name;
  std::string model;   // as asked for, "" = the template's
  std::string tier;    // "" = the caller's plan
  std::string config;  // JSON text, "" = none
  const Template* tmpl = nullptr;
  std::map<std::string, std::string> secrets;  // by name, beside the gateway's token
  bool live_stream = false;
  std::optional<EgressWish> egress;  // nullopt: the template's
};

// name ("" when absent), template, model, config, egress.
Result<AgentWish> read_wish(const nlohmann::json& body, const Deps& deps);
// A plan's name that may lower what the caller has; `field` is what the body calls it.
Result<std::string> read_tier(const nlohmann::json& body, const char* field, const Deps& deps);

// What a route answers with. The functions are called on pool threads, with the transaction they may read in.
struct ProvisionAnswer {
  const char* failure;  // the document's sentence for a 500
  // The body of the 201: what is known of the agent now. It is kept with an Idempotency-Key, so it holds no secret.
  std::function<Result<nlohmann::json>(store::Tx&, const store::AgentRow&)> body;
  // Nothing more is gained by waiting. Called without a transaction.
  std::function<bool(const store::AgentRow&)> settled;
  // Adds the secrets that the caller is to see, to a repeated answer too. May be empty.
  std::function<Result<void>(store::Tx&, nlohmann::json& body)> reveal;
};

// The container runs, or it is known that it does not.
bool container_settled(const store::AgentRow& row);

// Checks the plan, makes the agent, and waits for it as the request wishes. `body` is what the request said, for
// Idempotency-Key.
Reply make_agent(const Request& request, Deps& deps, AgentWish wish, const nlohmann::json& body,
                 ProvisionAnswer answer);

}  // namespace creel::api
