// dadi: container images as layered block devices. One command a file; this is the list of them.

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
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

void add_commands(CLI::App& app, Session& session) {
  add_convert(app, session);
  add_inspect(app, session);
  add_check(app, session);
  add_verify(app, session);
  add_export(app, session);
  add_ls(app, session);
  add_cat(app, session);
  add_zfile(app, session);
  add_version(app, session);
}

int run(int argc, char** argv) {
  Session session;
  CLI::App app("Container images as layered block devices: convert them, look inside, check them.", "dadi");
  app.footer(kExamples);
  add_common_options(app, session.options);
  app.set_version_flag("--version", "dadi " DADI_VERSION);
  add_commands(app, session);
  bind_environment(app);
  try {
    app.parse(argc, argv);  // runs the command
  } catch (const CLI::Success& help) {
    return app.exit(help, std::cout, std::cerr);
  } catch (const CLI::ParseError& error) {
    if (argc == 1) std::cerr << app.help();
    session.usage_error(explain(app, error));
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
