// What an image's config says about how its containers run.
#pragma once

#include <string_view>

#include "apps/dadi/contained_command.h"

namespace dadi {

// Takes from an image's config the environment, the folder where the command starts and, if there is none yet, the
// command. What it does not say, or not well, is as usual; its user is not looked at.
void take_config(std::string_view json, Containment& containment);

}  // namespace dadi
