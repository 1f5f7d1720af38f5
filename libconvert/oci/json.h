// JSON from strangers: bounded in depth and in the work it makes, read with every type checked. Internal to this
// folder.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "libconvert/oci/descriptor.h"
#include "libformat/base/result.h"

namespace dadi::oci {

// Keeps the order of an object's members, so that a document which is passed on stays as it was.
using Json = nlohmann::ordered_json;

// REQUIRES: the caller has bounded the size. Of duplicate members the last one counts, as in Go.
// Errors: corruption (not JSON, nested deeper than 64, objects of absurdly many members).
Result<Json> parse_json(std::span<const std::byte> text);

// Compact; text that is not UTF-8 is replaced.
std::string dump_json(const Json& json);

// An object, read member by member. A member that is null counts as absent, as in Go. Borrows the JSON.
// All errors: corruption, naming the member.
class JsonObject {
 public:
  static Result<JsonObject> of(const Json& json, std::string_view what);

  const Json* find(const char* name) const;          // nullptr when absent
  Result<std::string> text(const char* name) const;  // "" when absent
  Result<std::string> required_text(const char* name) const;
  Result<std::uint64_t> required_number(const char* name) const;  // a whole one, not negative, below 2^63
  Result<JsonObject> required_object(const char* name) const;
  Result<const Json*> array(const char* name) const;               // nullptr when absent
  Result<std::vector<std::string>> texts(const char* name) const;  // none when absent
  Result<Annotations> annotations(const char* name) const;         // none when absent

 private:
  JsonObject(const Json* json, std::string what) : json_(json), what_(std::move(what)) {}

  const Json* json_;
  std::string what_;
};

// Digest::parse for a digest that stands in a document: a malformed one is corruption.
Result<Digest> parse_digest(std::string_view text);

Result<Descriptor> parse_descriptor(const Json& json, std::string_view what);
// Members in the order of Go's struct, those without a value left out.
Json to_json(const Descriptor& descriptor);

// os, architecture, variant, "os.version" and "os.features", as indexes and configs both name them.
Result<Platform> parse_platform(const JsonObject& object);

}  // namespace dadi::oci
