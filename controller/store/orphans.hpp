// What belongs to no agent: which agents there are and were, and what the search for orphans found last.
//
// Threads and errors: as pg.hpp says; conflict: an outdated term.
#pragma once

#include <optional>
#include <string>

#include "controller/core/orphans.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

class PgOrphanStore : public OrphanStore {
 public:
  // `database` must outlive it.
  PgOrphanStore(Database& database, std::string controller_id)
      : database_(database), controller_id_(std::move(controller_id)) {}

  Result<std::map<AgentId, Fate>> fates(const std::vector<AgentId>& ids) override;
  Result<void> note(const std::optional<OrphanReport>& report, const std::vector<Event>& events,
                    std::uint64_t term) override;

 private:
  Database& database_;
  const std::string controller_id_;
};

// nullopt: no controller of this id has looked yet.
Result<std::optional<OrphanReport>> orphan_report(Tx& tx, const std::string& controller_id);

}  // namespace creel::store
