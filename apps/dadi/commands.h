// The commands of dadi. Each lives in the file of its name, and nothing else knows it but a line in main's list.
#pragma once

#include <CLI/CLI.hpp>

#include "apps/dadi/session.h"

namespace dadi {

void add_convert(CLI::App& app, Session& session);
void add_inspect(CLI::App& app, Session& session);
void add_check(CLI::App& app, Session& session);
void add_verify(CLI::App& app, Session& session);
void add_export(CLI::App& app, Session& session);
void add_ls(CLI::App& app, Session& session);
void add_cat(CLI::App& app, Session& session);
void add_zfile(CLI::App& app, Session& session);
void add_version(CLI::App& app, Session& session);

}  // namespace dadi
