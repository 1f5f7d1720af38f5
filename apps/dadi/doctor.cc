// dadi doctor
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "apps/dadi/attached.h"
#include "apps/dadi/commands.h"
#include "runtime/attach/backend.h"
#include "runtime/attach/repair.h"

namespace dadi {
namespace {

namespace fs = std::filesystem;

enum class Health { kOk, kWarn, kFail };

// One thing that was looked at.
struct Finding {
  std::string subject;
  Health health;
  std::string detail;
  std::string remedy;  // "" where none is needed
};

std::string_view name_of(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kWarn:
      return "warn";
    case Health::kFail:
      break;
  }
  return "fail";
}

Finding privileges() {
  if (geteuid() == 0) return {"privileges", Health::kOk, "root", ""};
  return {"privileges", Health::kFail, "attaching takes root's rights", "sudo dadi doctor"};
}

// FUSE mounts without a folder since 5.2, loop devices set up at once since 5.8.
Finding kernel() {
  constexpr std::pair<int, int> kOldest{5, 8};
  utsname names{};
  ::uname(&names);
  std::pair<int, int> version;
  std::istringstream text(names.release);
  char dot = 0;
  text >> version.first >> dot >> version.second;
  const std::string detail = std::string("Linux ") + names.release;
  if (text && version < kOldest) return {"kernel", Health::kFail, detail, "Linux 5.8 or newer"};
  return {"kernel", Health::kOk, detail, ""};
}

// One that does not work is a failure only when no other does.
std::vector<Finding> backend_findings() {
  std::vector<Finding> findings;
  bool any = false;
  for (const attach::Backend& backend : attach::backends()) {
    const auto probed = backend.probe();
    any = any || probed;
    findings.push_back(
        {"backend " + std::string(backend.name), probed ? Health::kOk : Health::kWarn,
         probed ? (backend.survives ? "works; devices outlive their dadid" : "works") : probed.error().message(),
         probed ? "" : probed.error().hint()});
  }
  if (!any) {
    for (Finding& finding : findings) finding.health = Health::kFail;
  }
  return findings;
}

Finding ext4() {
  std::ifstream file("/proc/filesystems");
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with("\text4")) return {"ext4", Health::kOk, "the kernel mounts it", ""};
  }
  return {"ext4", Health::kWarn, "not in the kernel yet; mounting loads the module, if there is one", "modprobe ext4"};
}

Finding repairing() {
  const auto found = attach::find_e2fsck();
  if (found) return {"e2fsck", Health::kOk, *found, ""};
  return {"e2fsck", Health::kWarn, "a writable file system that was not unmounted cannot be repaired",
          "install e2fsprogs"};
}

Finding program() {
  const auto found = find_dadid("");
  if (found) return {"dadid", Health::kOk, found->string(), ""};
  return {"dadid", Health::kFail, found.error().message(), "install it beside dadi, or in ../libexec/dadi"};
}

// The folder itself, or the first above it that exists.
fs::path existing_part(fs::path path) {
  std::error_code ignored;
  while (!path.empty() && path != path.root_path() && !fs::exists(path, ignored)) path = path.parent_path();
  return path;
}

Finding folder(const std::string& subject, const fs::path& path) {
  const fs::path there = existing_part(path);
  std::error_code ignored;
  if (fs::is_directory(there, ignored) && ::access(there.c_str(), W_OK | X_OK) == 0) {
    return {subject, Health::kOk, path.string() + (there == path ? "" : " (is made when it is needed)"), ""};
  }
  return {subject, Health::kFail, fmt::format("{} cannot be written to", there.string()),
          "make it writable, or set another"};
}

Finding systemd() {
  std::error_code ignored;
  if (!fs::exists("/run/systemd/system", ignored)) {
    return {"systemd", Health::kOk, "does not run here: each dadid is moved to the topmost control group", ""};
  }
  if (!fs::exists("/usr/bin/busctl", ignored)) {
    return {"systemd", Health::kWarn, "busctl is missing: a dadid is in no scope of its own",
            "install systemd's busctl"};
  }
  return {"systemd", Health::kOk, "each dadid gets a scope of its own", ""};
}

std::vector<Finding> dead_attachments() {
  const auto state = attach::StateFolder::find();
  if (!state || !*state) return {};
  const auto listings = attach::list(**state);
  std::vector<Finding> findings;
  if (!listings) return findings;
  for (const attach::Listing& one : *listings) {
    if (one.state != attach::Listing::State::kDead) continue;
    findings.push_back({"attachment " + one.attachment.name, Health::kWarn, "its dadid is dead",
                        "dadi detach " + one.attachment.name});
  }
  return findings;
}

std::vector<Finding> examine() {
  std::vector<Finding> findings = {privileges(), kernel()};
  std::ranges::move(backend_findings(), std::back_inserter(findings));
  findings.insert(findings.end(),
                  {ext4(), repairing(), program(), folder("state folder", attach::StateFolder::location()), systemd()});
  std::ranges::move(dead_attachments(), std::back_inserter(findings));
  return findings;
}

Result<void> diagnose(Session& session) {
  const std::vector<Finding> findings = examine();
  if (session.options.json) {
    Json list = Json::array();
    for (const Finding& one : findings) {
      list.push_back({{"subject", one.subject}, {"status", name_of(one.health)}, {"detail", one.detail}});
      if (!one.remedy.empty()) list.back()["remedy"] = one.remedy;
    }
    session.answer(list);
  } else {
    for (const Finding& one : findings) {
      session.out().print("{:<4}  {}: {}{}\n", name_of(one.health), one.subject, one.detail,
                          one.remedy.empty() ? "" : "; " + one.remedy);
    }
  }
  std::vector<std::string> failed;
  for (const Finding& one : findings) {
    if (one.health == Health::kFail) failed.push_back(one.subject);
  }
  if (failed.empty()) return {};
  return Error::host_lacks("nothing can be attached here: {}", fmt::join(failed, ", "));
}

}  // namespace

void add_doctor(CommandLine& line, Session& session) {
  auto command = line.add("doctor", "What this host can do, and what to do about the rest",
                          "sudo dadi doctor\n"
                          "sudo dadi doctor --json | jq -r '.[] | select(.status != \"ok\") | .remedy'");
  command.run([&] { session.finish(diagnose(session).context("doctor")); });
}

}  // namespace dadi
