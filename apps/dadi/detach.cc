// dadi detach NAME|DEVICE|DIR
#include "apps/dadi/attached.h"
#include "apps/dadi/commands.h"

namespace dadi {
namespace {

struct DetachOptions {
  std::string target;
  bool lazy = false;
};

Result<void> detach_target(Session& session, const DetachOptions& options) {
  DADI_TRY(const auto folder, attach::StateFolder::find());
  if (!folder) {
    return Error::not_found("nothing is attached")
        .with_hint("state is kept in {}", attach::StateFolder::location().string());
  }
  DADI_TRY(const attach::Attachment attachment,
           attach::detach(*folder, {.target = options.target, .lazy = options.lazy, .stop = session.stop()}));
  if (session.options.json) session.answer({{"name", attachment.name}});
  return {};
}

}  // namespace

void add_detach(CommandLine& line, Session& session) {
  auto& options = session.keep<DetachOptions>();
  auto command = line.add("detach", "Unmount what attach mounted, and take the device away",
                          "sudo dadi detach web\n"
                          "sudo dadi detach /dev/loop3\n"
                          "sudo dadi detach --lazy /mnt");
  command.argument("TARGET", options.target, "Name, device or mount point of an attachment")
      .flag("--lazy", options.lazy, "In use or not: its users keep it until they are done");
  command.run([&] { session.finish(detach_target(session, options).context("detach {}", options.target)); });
}

}  // namespace dadi
