#include "runtime/attach/records.h"

#include <fmt/chrono.h>

#include <chrono>
#include <fstream>

#include "libformat/base/error_name.h"

namespace dadi::attach {
namespace {

// Reads fields with their types checked; what is missing or odd is corruption.
template <typename Read>
auto checked(const char* what, Read&& read) -> Result<decltype(read())> {
  try {
    return read();
  } catch (const Json::exception& error) {
    return Error::corruption("{}: {}", what, error.what());
  }
}

Json to_json(const std::optional<WritableSpec>& writable) {
  if (!writable) return {};
  return {{"folder", writable->folder},
          {"limit", writable->limit.value},
          {"form", writable->form},
          {"temporary", writable->temporary},
          {"journal", writable->journal}};
}

std::optional<WritableSpec> writable_spec_of(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return WritableSpec{.folder = json.at("folder"),
                      .limit = {json.at("limit").get<std::uint64_t>()},
                      .form = json.at("form"),
                      .temporary = json.at("temporary"),
                      .journal = json.value("journal", false)};
}

}  // namespace

Json to_json(const DeviceSpec& spec) {
  return {{"image", spec.image},
          {"reference", spec.reference},
          {"directory", spec.directory},
          {"platform", spec.platform},
          {"backend", spec.backend},
          {"memory", spec.memory.value},
          {"metrics_address", spec.metrics_address},
          {"record", spec.record},
          {"record_exactly", spec.record_exactly},
          {"writable", to_json(spec.writable)},
          {"timeout", spec.timeout},
          {"successor_timeout", spec.successor_timeout},
          {"reach", spec.reach}};
}

Result<DeviceSpec> device_spec_of(const Json& json) {
  return checked("device.json", [&] {
    return DeviceSpec{.image = json.at("image"),
                      .reference = json.at("reference"),
                      .directory = json.at("directory"),
                      .platform = json.at("platform"),
                      .backend = json.at("backend"),
                      .memory = {json.at("memory").get<std::uint64_t>()},
                      .metrics_address = json.at("metrics_address"),
                      .record = json.value("record", ""),
                      .record_exactly = json.value("record_exactly", false),
                      .writable = writable_spec_of(json.value("writable", Json())),
                      .timeout = json.at("timeout"),
                      .successor_timeout = json.at("successor_timeout"),
                      .reach = json.value("reach", Json())};
  });
}

Json to_json(const DeviceState& state) {
  return {{"pid", state.pid},
          {"started", state.started},
          {"boot", state.boot},
          {"backend", state.backend},
          {"device", state.device},
          {"size", state.size.value},
          {"metrics_address", state.metrics_address},
          {"generation", state.generation},
          {"backend_state", state.backend_state},
          {"opening", state.opening},
          {"notes", state.notes}};
}

Result<DeviceState> device_state_of(const Json& json) {
  return checked("state.json", [&] {
    return DeviceState{.pid = json.at("pid"),
                       .started = json.at("started"),
                       .boot = json.at("boot"),
                       .backend = json.at("backend"),
                       .device = json.at("device"),
                       .size = {json.at("size").get<std::uint64_t>()},
                       .metrics_address = json.at("metrics_address"),
                       .generation = json.at("generation"),
                       .backend_state = json.at("backend_state"),
                       .opening = json.value("opening", Json()),
                       .notes = json.value("notes", std::vector<std::string>())};
  });
}

Json to_json(const Attachment& attachment) {
  return {{"name", attachment.name},        {"device_id", attachment.device_id},   {"reference", attachment.reference},
          {"mount", attachment.mount},      {"made_mount", attachment.made_mount}, {"named", attachment.named},
          {"attached", attachment.attached}};
}

Result<Attachment> attachment_of(const Json& json) {
  return checked("attachment", [&] {
    return Attachment{.name = json.at("name"),
                      .device_id = json.at("device_id"),
                      .reference = json.at("reference"),
                      .mount = json.at("mount"),
                      .made_mount = json.at("made_mount"),
                      .named = json.at("named"),
                      .attached = json.at("attached")};
  });
}

Json to_json(const Error& error) {
  return {{"code", name_of(error.code())}, {"message", error.message()}, {"hint", error.hint()}};
}

Error error_of(const Json& json) {
  const auto parsed = checked("error", [&] {
    Error error(error_code_named(json.at("code").get<std::string>()), json.at("message").get<std::string>());
    const auto hint = json.at("hint").get<std::string>();
    return hint.empty() ? error : std::move(error).with_hint("{}", hint);
  });
  return parsed ? *parsed : parsed.error();
}

std::string time_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

}  // namespace dadi::attach
