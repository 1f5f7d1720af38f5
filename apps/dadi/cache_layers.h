// The converted layers among what `dadi cache` shows, removes and verifies.
#pragma once

#include <string>

#include "apps/dadi/session.h"
#include "libconvert/layer_cache/layer_store.h"

namespace dadi {

// Null where none are kept yet. `folder`: as --cache-dir has it. Errors: denied, io.
Result<std::unique_ptr<layer_cache::LayerStore>> open_layers(const std::string& folder);

// As JSON, appended to the array `all`.
void list_layers(const layer_cache::LayerStore& store, Json& all);
// For people.
void print_layers(Session& session, const layer_cache::LayerStore& store);

// Reads all; returns how many were damaged and are gone. Errors: cancelled.
Result<std::uint64_t> verify_layers(Session& session, const layer_cache::LayerStore& store, Json& all);

// "2026-01-31 12:00", or "-" for 0.
std::string local_time(std::uint32_t seconds);

}  // namespace dadi
