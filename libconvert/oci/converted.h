// How a converted image is told from an ordinary one. Source: registry-image.md, section 2.
#pragma once

#include "libconvert/oci/manifest.h"

namespace dadi::oci {

inline constexpr char kBlobDigest[] = "containerd.io/snapshot/overlaybd/blob-digest";
inline constexpr char kBlobSize[] = "containerd.io/snapshot/overlaybd/blob-size";
inline constexpr char kBlobFsType[] = "containerd.io/snapshot/overlaybd/blob-fs-type";
inline constexpr char kVersion[] = "containerd.io/snapshot/overlaybd/version";
inline constexpr char kAccelerationLayer[] = "containerd.io/snapshot/overlaybd/acceleration-layer";
inline constexpr char kTurboTargetDigest[] = "containerd.io/snapshot/overlaybd/turbo-oci/target-digest";
inline constexpr char kTurboTargetMediaType[] = "containerd.io/snapshot/overlaybd/turbo-oci/target-media-type";
inline constexpr char kFastociTargetDigest[] = "containerd.io/snapshot/overlaybd/fastoci/target-digest";
inline constexpr char kNativeVersion[] = "0.1.0";
inline constexpr char kNativeArtifactType[] = "application/vnd.containerd.overlaybd.native.v1+json";
inline constexpr char kTurboArtifactType[] = "application/vnd.containerd.overlaybd.turbo.v1+json";

enum class LayerForm {
  kArchive,       // an ordinary layer: a tar archive of files
  kBlock,         // a block layer: ZFile or LSMT, in a tar envelope
  kTurbo,         // TurboOCI: metadata over an ordinary layer
  kAcceleration,  // a trace, not a part of the device
};

// What the annotations say. The content may still differ.
LayerForm form_of(const Descriptor& layer);

// Whether a manifest's layers form a device: there are some, and none is an archive.
bool is_converted(const Manifest& manifest);

// The descriptor of a block layer that was written: exactly the three annotations of the reference.
Descriptor block_layer_descriptor(const Digest& digest, Bytes size, Family family);

}  // namespace dadi::oci
