// dadi trace attach SRC TRACE [DST]
#include "apps/dadi/carry_trace.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/trace_file.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

struct TraceAttachCommand {
  ImageOptions image;
  std::string trace;
  std::string destination;
  bool referrer = false;
  std::string digest_file;
};

Result<void> attach_trace(Session& session, const TraceAttachCommand& command) {
  if (command.referrer && !command.destination.empty())
    return Error::invalid_argument("--referrer puts the trace beside SRC, and there is no DST then");
  if (!command.referrer && command.destination.empty())
    return Error::invalid_argument("where to? DST is missing")
        .with_hint("--referrer puts the trace beside the image, which stays as it is");
  DADI_TRY(const TraceFile file, TraceFile::load(command.trace, session.read_context()));
  DADI_TRY(const auto reads, file.reads_of(session, command.image));
  DADI_TRY(const CarriedTrace carried, command.referrer
                                           ? carry_beside(session, command.image, reads)
                                           : carry_on_top(session, command.image, reads, command.destination));
  const std::string digest = carried.digest.to_string();
  if (!command.digest_file.empty()) DADI_CHECK(replace_file(command.digest_file, as_bytes(digest + "\n")));
  if (session.options.json) {
    session.answer(carried.answer);
  } else {
    session.out().print("{}\n", digest);
  }
  return {};
}

}  // namespace

void add_trace_attach(Command& group, Session& session) {
  auto& options = session.keep<TraceAttachCommand>();
  auto command = group.add("attach", "Let a converted image carry a trace: starts of it fetch that beforehand",
                           "dadi trace attach oci:debian-dadi app.trace oci:debian-traced\n"
                           "dadi trace attach oci:debian-dadi files.txt oci:debian-listed\n"
                           "dadi trace attach docker://localhost:5000/debian:dadi app.trace "
                           "docker://localhost:5000/debian:traced\n"
                           "dadi trace attach --referrer docker://localhost:5000/debian:dadi app.trace");
  command.argument("SRC", options.image.reference, "Converted image, as in docker://HOST/REPO:TAG or oci:DIR:TAG")
      .argument("TRACE", options.trace,
                "File: a trace of it, or a list of files in it; in place of one that it carries")
      .optional_argument("DST", options.destination,
                         "Where a copy with the trace on top goes, as in docker://HOST/REPO:TAG or oci:DIR:TAG")
      .flag("--referrer", options.referrer, "The trace lies beside SRC, which stays as it is, and is found by its name")
      .option("--platform", options.image.platform, "OS/ARCH",
              "Which image of an index, as in linux/arm64; default: this machine's")
      .option("--digestfile", options.digest_file, "FILE", "Also write the digest of what was written to a file");
  add_registry_options(command, options.image.registry);
  command.run(
      [&] { session.finish(attach_trace(session, options).context("trace attach {}", options.image.reference)); });
}

}  // namespace dadi
