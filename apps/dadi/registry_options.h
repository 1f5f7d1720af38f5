// The options of every command that may reach a registry.
#pragma once

#include "apps/dadi/command_line.h"
#include "apps/dadi/session.h"
#include "apps/image/registry_access.h"

namespace dadi {

void add_registry_options(Command& command, RegistryOptions& options);

// With the session's wish to stop.
registry::Access registry_access(const Session& session, const RegistryOptions& options);

}  // namespace dadi
