// PgAgentRepository: how the reconciler meets the row. See core/ports.hpp for what each method promises.
//
// record() writes nothing and notifies nobody when only AgentStatus::observed_at differs from what is stored and there
// are no events: a status write in every pass would wake the writers again. load() opens the sealed files: an agent
// whose files were sealed with another master key is ErrorKind::corrupt, not an agent without files.
//
// Threads: any. Each call is one transaction. Database and Sealer must outlive it.
#pragma once

#include <string>

#include "controller/core/ports.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

class PgAgentRepository : public AgentRepository {
 public:
  PgAgentRepository(Database& database, const secrets::Sealer& sealer, std::string controller_id)
      : database_(database), sealer_(sealer), controller_id_(std::move(controller_id)) {}

  // Agents of another controller are not seen: nullopt.
  Result<std::optional<AgentRecord>> load(const AgentId& id) override;
  Result<std::vector<std::string>> secrets(const AgentId& id) override;
  Result<std::vector<AgentId>> list() override;
  // not_found: the row is gone.
  Result<void> record(const AgentId& id, const AgentStatus& status, const History& history,
                      const std::vector<Event>& events, std::uint64_t term) override;
  // conflict: the agent is not deleted (a wish to keep it came in between). Already gone: success.
  Result<void> forget(const AgentId& id, std::uint64_t term) override;

 private:
  Result<void> keep_taken(Tx& tx, const AgentId& id, const std::string& taken);

  Database& database_;
  const secrets::Sealer& sealer_;
  std::string controller_id_;
};

}  // namespace creel::store
