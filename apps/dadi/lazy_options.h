// The options of commands that read images on registries as they need them.
#pragma once

#include "apps/dadi/command_line.h"
#include "apps/image/image_reach.h"

namespace dadi {

struct LazyWords {
  std::string cache_folder;
  std::string cache_size = "4G";
  std::string chunk = "256K";
  std::string tier;
  bool uncached = false;
  bool unreplayed = false;
  unsigned read_time = 30;
  std::string rate;
  bool download = false;
  unsigned download_delay = 0;
  std::string download_rate;
};

void add_lazy_options(Command& command, LazyWords& words);
// Of commands that stay.
void add_download_options(Command& command, LazyWords& words);

// Errors: invalid_argument.
Result<LazyOptions> parse_lazy_options(const LazyWords& words);

}  // namespace dadi
