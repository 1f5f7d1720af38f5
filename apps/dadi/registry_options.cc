#include "apps/dadi/registry_options.h"

namespace dadi {

void add_registry_options(Command& command, RegistryOptions& options) {
  command.option("--authfile", options.authfile, "FILE", "Credentials, instead of auth.json and Docker's config.json")
      .option("--ca-file", options.ca_file, "FILE", "Authorities (PEM) to trust besides the system's")
      .option("--client-cert", options.client_certificate, "FILE", "Certificate (PEM) to show to registries")
      .option("--client-key", options.client_key, "FILE", "Its key, when that is in a file of its own")
      .option("--registries-conf", options.registries_conf, "FILE", "Mirrors, instead of the containers tools' files")
      .flag("--plain-http", options.plain_http, "Reach registries without TLS");
}

registry::Access registry_access(const Session& session, const RegistryOptions& options) {
  return registry_access(options, session.stop());
}

}  // namespace dadi
