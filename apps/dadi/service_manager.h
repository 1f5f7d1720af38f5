// What a service manager, systemd for one, and a program that it starts say to each other. As sd_listen_fds(3) and
// sd_notify(3) have it.
#pragma once

#include <string_view>
#include <vector>

#include "libformat/base/unique_fd.h"

namespace dadi {

// The sockets that the manager listens on for this process; none without one. Call once, before other threads are made:
// the variables that say so are removed, since children are not meant.
std::vector<UniqueFd> inherited_sockets();

// Tells the manager, if there is one, of a change: "READY=1", "STOPPING=1". Best effort.
void notify_manager(std::string_view state);

}  // namespace dadi
