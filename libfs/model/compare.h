// Holds a file system against the model of what it should be.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "libfs/ext4/volume.h"
#include "libfs/model/tree_model.h"

namespace dadi::fs {

// Called now and then with the bytes of content read so far.
using CompareProgress = std::function<void(Bytes)>;

// The first thing in which `volume` is not what `model` says, as a sentence that begins with the path:
// "/etc/passwd": permissions 0600, should be 0644. None if there is nothing. Directories are visited in the order of a
// walk, and the names in each by their bytes, before those in the directories below.
// Compared are names, types, permissions, owners, times to the nanosecond (those outside of what ext4 can hold are the
// nearest that it can), sizes, content, symlink targets, device
// numbers, link counts, hardlinks, and all extended attributes. A /lost+found that the model lacks is overlooked.
// Time goes with the data (holes are not read), memory with the number of hardlinked files and the largest directory.
// Errors: those of the volume, with the path as context.
Result<std::optional<std::string>> first_difference(const TreeModel& model, const Volume& volume,
                                                    const CompareProgress& progress = {});

}  // namespace dadi::fs
