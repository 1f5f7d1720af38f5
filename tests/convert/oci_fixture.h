// Images made by plain file writing, for the tests of libconvert/oci.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "libconvert/oci/image_store.h"
#include "libconvert/oci/manifest.h"
#include "libconvert/oci/media_types.h"
#include "libformat/base/bytes.h"

namespace dadi::oci::test {

namespace fs = std::filesystem;

// A folder that goes away with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string path = (fs::temp_directory_path() / "dadi-oci-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  ~TempFolder() { fs::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& path, std::string_view text) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.flush()) std::abort();
}

inline std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Every file below a folder, by name: what a failed operation must leave as it was.
inline std::map<std::string, std::string> tree_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[fs::relative(entry.path(), folder)] = entry.is_regular_file() ? read_text(entry.path()) : "";
  return files;
}

inline bool have_tool(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}
inline bool run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

inline std::string config_json(const std::vector<Digest>& diff_ids, const std::string& os = "linux",
                               const std::string& architecture = "amd64", const std::string& variant = "") {
  std::string ids;
  for (const Digest& id : diff_ids) ids += (ids.empty() ? "\"" : ",\"") + id.to_string() + "\"";
  return R"({"created":"2024-01-01T00:00:00Z","architecture":")" + architecture + R"(","os":")" + os + "\"" +
         (variant.empty() ? "" : R"(,"variant":")" + variant + "\"") +
         R"(,"config":{"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":[)" + ids + R"(]},"history":[]})";
}

// A layout folder in the making. What is added is written at once; finish() writes index.json.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(fs::path folder) : folder_(std::move(folder)) {
    write_text(folder_ / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    fs::create_directories(folder_ / "blobs/sha256");
  }

  Descriptor blob(std::string_view content, std::string_view media_type) const {
    const Digest digest = Digest::of(as_bytes(content));
    write_text(path_of(digest), content);
    return {.media_type = std::string(media_type), .digest = digest, .size = {content.size()}};
  }
  Descriptor layer(std::string_view content) const { return blob(content, kOciLayer); }
  Descriptor config(const std::vector<Digest>& diff_ids) const { return blob(config_json(diff_ids), kOciConfig); }

  Descriptor manifest(Descriptor config, std::vector<Descriptor> layers, Annotations annotations = {}) const {
    const Manifest manifest{.media_type = std::string(kOciManifest),
                            .artifact_type = {},
                            .config = std::move(config),
                            .layers = std::move(layers),
                            .subject = {},
                            .annotations = std::move(annotations)};
    return blob(manifest.to_json(), kOciManifest);
  }
  Descriptor index(std::vector<Descriptor> manifests) const {
    const Index index{.media_type = std::string(kOciIndex),
                      .artifact_type = {},
                      .manifests = std::move(manifests),
                      .subject = {},
                      .annotations = {}};
    return blob(index.to_json(), kOciIndex);
  }

  // An image of one plain layer with that content.
  Descriptor image(std::string_view content, const std::string& architecture = "amd64", const std::string& variant = "",
                   const std::string& os = "linux") const {
    const Descriptor only = layer(content);
    return manifest(blob(config_json({only.digest}, os, architecture, variant), kOciConfig), {only});
  }

  void tag(Descriptor root, const std::string& name) {
    if (!name.empty()) root.annotations[kRefName] = name;
    roots_.push_back(std::move(root));
  }
  void finish() const {
    const Index index{.media_type = std::string(kOciIndex),
                      .artifact_type = {},
                      .manifests = roots_,
                      .subject = {},
                      .annotations = {}};
    write_text(folder_ / "index.json", index.to_json());
  }

  fs::path path_of(const Digest& digest) const { return folder_ / "blobs/sha256" / digest.hex(); }
  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
  std::vector<Descriptor> roots_;
};

inline Descriptor for_platform(Descriptor descriptor, const std::string& platform) {
  descriptor.platform = *parse_platform(platform);
  return descriptor;
}

// One member of a tar archive: header and padded content.
inline std::string tar_member(const std::string& name, std::string_view content, char type = '0',
                              const std::string& link = "") {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) { header.replace(at, text.size(), text); };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  std::array<char, 16> size{};
  std::snprintf(size.data(), size.size(), "%011zo", content.size());
  put(124, size.data());
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  put(157, link);
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(size.data(), size.size(), "%06o", sum);
  put(148, std::string_view(size.data(), 7));
  std::string member = header + std::string(content);
  member.resize((member.size() + 511) / 512 * 512);
  return member;
}
inline std::string tar_of(const std::vector<std::string>& members) {
  std::string archive;
  for (const std::string& member : members) archive += member;
  return archive + std::string(1024, '\0');
}
inline std::string pax_record(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  std::size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return std::to_string(length) + rest;
}

inline Result<std::unique_ptr<ImageSource>> open_source(const std::string& reference) {
  auto parsed = parse_reference(reference);
  if (!parsed) return std::move(parsed).error();
  return oci::open_source(*parsed);
}
inline Result<std::unique_ptr<ImageDestination>> open_destination(const std::string& reference) {
  auto parsed = parse_reference(reference);
  if (!parsed) return std::move(parsed).error();
  return oci::open_destination(*parsed);
}

inline std::string blob_text(const ImageSource& source, const Descriptor& descriptor) {
  const auto bytes = read_document(source, descriptor, {64 << 20});
  return bytes ? std::string(as_text(*bytes)) : "error: " + bytes.error().message();
}

// "code message", or "ok".
template <typename T>
std::string outcome(const Result<T>& result) {
  return result ? "ok" : std::to_string(static_cast<int>(result.error().code())) + " " + result.error().message();
}

}  // namespace dadi::oci::test

// The result failed with that code, and its message contains that text.
#define EXPECT_FAILS(result, expected_code, text)                                                            \
  do {                                                                                                       \
    const auto& dadi_failed = (result);                                                                      \
    ASSERT_FALSE(dadi_failed) << "it succeeded";                                                             \
    EXPECT_EQ(dadi_failed.error().code(), ErrorCode::expected_code) << dadi_failed.error().message();        \
    EXPECT_NE(dadi_failed.error().message().find(text), std::string::npos) << dadi_failed.error().message(); \
  } while (false)
#define ASSERT_OK(...)                                     \
  do {                                                     \
    const auto& dadi_done = (__VA_ARGS__);                 \
    ASSERT_TRUE(dadi_done) << dadi_done.error().message(); \
  } while (false)
