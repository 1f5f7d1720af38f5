// What commands that convert share of the cache of converted layers: its options, and opening it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "apps/dadi/command_line.h"
#include "apps/dadi/session.h"
#include "libconvert/layer_cache/conversion_cache.h"
#include "libconvert/oci/reference.h"
#include "libconvert/registry/access.h"

namespace dadi {

struct ConversionCacheOptions {
  std::string folder;
  std::string size = "10G";
  std::string from;
  std::string to;
  bool none = false;
};

void add_conversion_cache_options(Command& command, ConversionCacheOptions& options);

// A cache for one conversion.
struct OpenedConversionCache {
  std::unique_ptr<layer_cache::ConversionCache> cache;  // null: none is wanted, or to be had
  std::optional<oci::Reference> from;
  std::optional<oci::Reference> to;
};

// A cache that cannot be used is a note. Errors: invalid_argument (the options).
Result<OpenedConversionCache> open_conversion_cache(Session& session, const ConversionCacheOptions& options,
                                                    const registry::Access& access);

// After the image was committed to `destination`: brings the folder within its limit, and lists the layers where
// --cache-to says. What fails then makes the command's success a partial one.
void finish_conversion_cache(Session& session, const OpenedConversionCache& opened, const oci::Reference& destination,
                             const registry::Access& access);

// The folder of the layers, within that of the host's cache.
std::filesystem::path layer_store_folder(const std::string& cache_folder);

}  // namespace dadi
