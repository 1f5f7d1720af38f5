// Layers of commands, in the cache of converted layers: a command is not run again on what it ran on before.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string_view>

#include "apps/dadi/run_step.h"
#include "libconvert/layer_cache/conversion_cache.h"
#include "libformat/lsmt/header.h"

namespace dadi {

// Everything that decides what a command is given: what lies below (see pipeline::chain_of()), the command, and of
// `config` environment and folder.
Digest key_of_command(std::string_view chain, const RunStep& step, const oci::ImageConfig& config, Bytes virtual_size,
                      const zfile::Options& compression);

// What the cache has under the key, if it is a layer on top of `below`, in `destination` now. What it has and cannot be
// used is noted, and gone. Errors: those of the destination; cancelled.
Result<std::optional<layer_cache::KeptLayer>> reuse_command(layer_cache::ConversionCache& cache, const Digest& key,
                                                            std::size_t number, const lsmt::LayerInfo& below,
                                                            oci::ImageDestination& destination,
                                                            const std::stop_token& stop,
                                                            const std::function<void(std::string_view)>& note);

// Keeps what was written while the cache took hold of the destination's files. That it cannot be is noted.
void keep_command(layer_cache::ConversionCache& cache, const Digest& key, std::size_t number,
                  const pipeline::DeviceLayer& layer, const std::function<void(std::string_view)>& note);

}  // namespace dadi
