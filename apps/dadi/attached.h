// What the commands around attachments share: how one is asked for, shown and ended.
#pragma once

#include <filesystem>
#include <string>

#include "apps/dadi/session.h"
#include "apps/image/block_image.h"
#include "libconvert/oci/reference.h"
#include "runtime/attach/attachments.h"

namespace dadi {

// With the names that `ps --json` promises: name, reference, device, mount, pid, socket, read_only, state, size …
// What there is not is null.
Json attachment_json(const attach::Listing& listing);

// The program that serves a device: `wanted`, or else the one beside this program, as in a build, or in
// ../libexec/dadi, where it is installed. Errors: not_found.
Result<std::filesystem::path> find_dadid(const std::string& wanted);

struct ImageRequest {
  attach::AttachRequest attach;  // read-only, by whatever backend there is, not mounted
  std::string name;              // what people call the image, of letters, digits and ._-
  ImageReach reach;              // with its documents, so that nobody asks the registry for them again
};

// Asks for a device of the image that the reference means now. Errors: those of find_dadid() and identify_image().
Result<ImageRequest> request_image(const Session& session, const oci::Reference& reference, const std::string& platform,
                                   ImageReach reach, const std::string& dadid, const Notes& notes);

// Detaches what has been used until just now: mounts of processes that have just ended may hold it a moment longer.
// Errors: those of attach::detach().
Result<void> detach_when_free(const attach::StateFolder& folder, const std::string& name);

// Attaching is root's. Errors: denied.
Result<void> require_root(std::string_view what);

}  // namespace dadi
