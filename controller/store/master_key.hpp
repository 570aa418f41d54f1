// Tells at start whether the master key is the one this database was sealed with, before anything is sealed or opened.
#pragma once

#include "controller/core/result.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/pg.hpp"

namespace creel::store {

// On the first start a check row is sealed; later it must open. corrupt: another key, with what to do about it.
Result<void> check_master_key(Tx& tx, const secrets::Sealer& sealer);

}  // namespace creel::store
