// dadi ps
#include "apps/dadi/attached.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"

namespace dadi {
namespace {

std::string listing_table(const Session& session, const std::vector<attach::Listing>& listings) {
  using enum Table::Align;
  Table table({{"NAME"}, {"STATE"}, {"DEVICE"}, {"SIZE", kRight}, {"PID", kRight}, {"MOUNT"}, {"REFERENCE"}});
  for (const attach::Listing& listing : listings) {
    const auto& device = listing.device;
    const bool running = listing.state == attach::Listing::State::kRunning;
    table.add({listing.attachment.name, std::string(attach::name_of(listing.state)), device ? device->device : "-",
               device ? format_size(device->size) : "-", running ? std::to_string(device->pid) : "-",
               listing.attachment.mount.empty() ? "-" : session.shown(listing.attachment.mount),
               session.shown(listing.attachment.reference)});
  }
  return table.render();
}

Result<void> list_attachments(Session& session) {
  std::vector<attach::Listing> listings;
  DADI_TRY(const auto folder, attach::StateFolder::find());
  if (folder) {
    DADI_TRY(listings, attach::list(*folder));
  }
  if (session.options.json) {
    Json all = Json::array();
    for (const attach::Listing& listing : listings) all.push_back(attachment_json(listing));
    session.answer(all);
  } else {
    session.out().text(listing_table(session, listings));
  }
  return {};
}

}  // namespace

void add_ps(CommandLine& line, Session& session) {
  auto command = line.add("ps", "List the attached images",
                          "dadi ps\n"
                          "dadi ps --json | jq -r '.[] | select(.state == \"dead\") | .name'");
  command.run([&] { session.finish(list_attachments(session).context("ps")); });
}

}  // namespace dadi
