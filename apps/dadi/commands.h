// The commands of dadi. Each lives in the file of its name, and nothing else knows it but a line in main's list.
#pragma once

#include "apps/dadi/command_line.h"
#include "apps/dadi/session.h"

namespace dadi {

void add_convert(CommandLine& line, Session& session);
void add_build(CommandLine& line, Session& session);
void add_inspect(CommandLine& line, Session& session);
void add_check(CommandLine& line, Session& session);
void add_verify(CommandLine& line, Session& session);
void add_export(CommandLine& line, Session& session);
void add_import(CommandLine& line, Session& session);
void add_flatten(CommandLine& line, Session& session);
void add_resize(CommandLine& line, Session& session);
void add_commit(CommandLine& line, Session& session);
void add_serve(CommandLine& line, Session& session);
void add_ls(CommandLine& line, Session& session);
void add_cat(CommandLine& line, Session& session);
void add_attach(CommandLine& line, Session& session);
void add_detach(CommandLine& line, Session& session);
void add_ps(CommandLine& line, Session& session);
void add_stats(CommandLine& line, Session& session);
void add_doctor(CommandLine& line, Session& session);
void add_upgrade(CommandLine& line, Session& session);
void add_cache(CommandLine& line, Session& session);
void add_trace(CommandLine& line, Session& session);
void add_trace_attach(Command& group, Session& session);  // of trace
void add_optimize(CommandLine& line, Session& session);
void add_record(CommandLine& line, Session& session);
void add_zfile(CommandLine& line, Session& session);
void add_copy(CommandLine& line, Session& session);
void add_push(CommandLine& line, Session& session);
void add_pull(CommandLine& line, Session& session);
void add_login(CommandLine& line, Session& session);
void add_logout(CommandLine& line, Session& session);
void add_version(CommandLine& line, Session& session);

}  // namespace dadi
