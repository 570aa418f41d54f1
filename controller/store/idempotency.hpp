// Idempotency keys: the same request twice gets the first answer twice. Kept 24 hours, per user.
//
// Use: begin_idempotent() first in the transaction that does the work; on `fresh`, finish_idempotent() before its
// commit, with the answer as it stands. A second request with the same key waits in begin_idempotent() until the first
// one's transaction ends. finish_idempotent() may be called again later, in another transaction, with a better answer.
#pragma once

#include <string>
#include <string_view>

#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

struct IdempotencyOutcome {
  enum class Kind {
    fresh,     // do it
    replay,    // answer `status` and `body`
    mismatch,  // the key was used with another body: 409 IDEMPOTENCY_MISMATCH
    pending,   // done before, but its answer was never stored (the caller committed without finish_idempotent)
  };
  Kind kind = Kind::fresh;
  int status = 0;
  std::string body;
};

Result<IdempotencyOutcome> begin_idempotent(Tx& tx, const UserId& user, std::string_view key,
                                            std::string_view body_digest);
Result<void> finish_idempotent(Tx& tx, const UserId& user, std::string_view key, int status, std::string_view body);

}  // namespace creel::store
