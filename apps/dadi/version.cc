// dadi version
#include <archive.h>
#include <ext2fs/ext2fs.h>
#include <isa-l.h>
#include <lz4.h>
#include <openssl/crypto.h>
#include <zstd.h>

#include "apps/dadi/commands.h"
#include "libconvert/oci/converted.h"

namespace dadi {
namespace {

struct Component {
  std::string_view name;
  std::string version;
};

// Those whose version can show in what we write or read, first the ones that are linked statically.
std::vector<Component> components() {
  const char* ext2fs_version = nullptr;
  ext2fs_get_library_version(&ext2fs_version, nullptr);
  return {
      {"lz4", LZ4_versionString()},
      {"zstd", ZSTD_versionString()},
      {"libext2fs", ext2fs_version},
      {"libarchive", ARCHIVE_VERSION_ONLY_STRING},
      {"isa-l", fmt::format("{}.{}.{}", ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION)},
      {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
  };
}

Result<void> print_version(Session& session) {
  if (session.options.json) {
    Json libraries = Json::object();
    for (const Component& c : components()) libraries[c.name] = c.version;
    session.answer({{"version", DADI_VERSION}, {"image_format", oci::kNativeVersion}, {"libraries", libraries}});
    return {};
  }
  session.out().print("dadi {}\nimage format {}\n", DADI_VERSION, oci::kNativeVersion);
  for (const Component& c : components()) session.out().print("{} {}\n", c.name, c.version);
  return {};
}

}  // namespace

void add_version(CommandLine& line, Session& session) {
  auto command = line.add("version", "The versions of dadi, its image format and the libraries in it",
                          "dadi version\n"
                          "dadi version --json | jq -r .libraries.zstd");
  command.run([&session] { session.finish(print_version(session)); });
}

}  // namespace dadi
