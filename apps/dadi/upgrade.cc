// dadi upgrade NAME
#include "runtime/attach/upgrade.h"

#include "apps/dadi/attached.h"
#include "apps/dadi/commands.h"

namespace dadi {
namespace {

struct UpgradeOptions {
  std::string name;
  std::string dadid;
};

Result<void> upgrade_attachment(Session& session, const UpgradeOptions& options) {
  DADI_CHECK(require_root("upgrading"));
  DADI_TRY(const auto program, find_dadid(options.dadid));
  DADI_TRY(const auto folder, attach::StateFolder::find());
  if (!folder) return Error::not_found("nothing is attached");
  DADI_TRY(const auto state,
           attach::upgrade(*folder, {.name = options.name, .program = program, .stop = session.stop()}));
  if (session.options.json) {
    session.answer(
        {{"name", options.name}, {"device", state.device}, {"pid", state.pid}, {"program", program.string()}});
  }
  return {};
}

}  // namespace

void add_upgrade(CommandLine& line, Session& session) {
  auto& options = session.keep<UpgradeOptions>();
  auto command = line.add("upgrade", "Have the installed dadid serve an attachment, in place of the one that does",
                          "sudo dadi upgrade web\n"
                          "sudo dadi upgrade --dadid /opt/dadi-new/dadid web");
  command.argument("NAME", options.name, "An attachment with the nbd backend; its reads wait for a moment, none fails")
      .option("--dadid", options.dadid, "FILE", "The program that is to serve it");
  command.run([&] { session.finish(upgrade_attachment(session, options).context("upgrade {}", options.name)); });
}

}  // namespace dadi
