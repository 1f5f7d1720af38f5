// dadi: container images as layered block devices. One command a file; this is the list of them.

#include <exception>
#include <new>

#include "apps/dadi/command_line.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/session.h"

namespace dadi {
namespace {

constexpr auto kExamples =
    "dadi convert oci:debian oci:debian-dadi\n"
    "dadi inspect oci:debian-dadi\n"
    "dadi check oci:debian-dadi\n"
    "dadi ls oci:debian-dadi /etc";

void add_commands(CommandLine& line, Session& session) {
  add_convert(line, session);
  add_build(line, session);
  add_copy(line, session);
  add_push(line, session);
  add_pull(line, session);
  add_login(line, session);
  add_logout(line, session);
  add_inspect(line, session);
  add_check(line, session);
  add_verify(line, session);
  add_export(line, session);
  add_import(line, session);
  add_flatten(line, session);
  add_serve(line, session);
  add_resize(line, session);
  add_commit(line, session);
  add_ls(line, session);
  add_cat(line, session);
  add_attach(line, session);
  add_detach(line, session);
  add_ps(line, session);
  add_upgrade(line, session);
  add_stats(line, session);
  add_doctor(line, session);
  add_cache(line, session);
  add_trace(line, session);
  add_optimize(line, session);
  add_record(line, session);
  add_zfile(line, session);
  add_version(line, session);
}

int run(int argc, const char* const* argv) {
  Session session;
  CommandLine line("Container images as layered block devices: convert them, look inside, check them.", kExamples,
                   session.options);
  add_commands(line, session);
  try {
    if (const auto parsed = line.run(argc, argv); !parsed) session.finish(parsed.error());
  } catch (const std::bad_alloc&) {
    session.finish(Error::exhausted("out of memory"));
  } catch (const std::exception& error) {
    session.finish(Error::internal("{}", error.what()));
  }
  return session.exit_status();
}

}  // namespace
}  // namespace dadi

int main(int argc, char** argv) {
  return dadi::run(argc, argv);
}
