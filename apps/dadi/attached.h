// How the commands around attachments show one.
#pragma once

#include <filesystem>

#include "apps/dadi/session.h"
#include "runtime/attach/attachments.h"

namespace dadi {

// With the names that `ps --json` promises: name, reference, device, mount, pid, socket, read_only, state, size …
// What there is not is null.
Json attachment_json(const attach::Listing& listing);

// The program that serves a device: `wanted`, or else the one beside this program, as in a build, or in
// ../libexec/dadi, where it is installed. Errors: not_found.
Result<std::filesystem::path> find_dadid(const std::string& wanted);

// Detaches what has been used until just now: mounts of processes that have just ended may hold it a moment longer.
// Errors: those of attach::detach().
Result<void> detach_when_free(const attach::StateFolder& folder, const std::string& name);

// Attaching is root's. Errors: denied.
Result<void> require_root(std::string_view what);

}  // namespace dadi
