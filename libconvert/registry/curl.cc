#include "libconvert/registry/curl.h"

#include <dlfcn.h>

namespace dadi::registry {

namespace {

constexpr const char* kLibrary = "libcurl.so.4";
constexpr unsigned kOldest = 0x075500;  // 7.85, which has CURLOPT_PROTOCOLS_STR

Error unusable(std::string_view what) {
  return Error::host_lacks("registries need libcurl 7.85: {}", what).with_hint("install it: {}", kLibrary);
}

// Finds the functions of a library by their names.
class Symbols {
 public:
  explicit Symbols(void* library) : library_(library) {}

  template <typename Function>
  Symbols& find(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(::dlsym(library_, name));
    if (function == nullptr && missing_ == nullptr) missing_ = name;
    return *this;
  }

  const char* missing() const { return missing_; }  // the first, or null

 private:
  void* library_;
  const char* missing_ = nullptr;
};

// Null, or the name of a function that is not there.
const char* find_functions(void* library, Curl& curl) {
  return Symbols(library)
      .find(curl.global_init, "curl_global_init")
      .find(curl.version_info, "curl_version_info")
      .find(curl.free, "curl_free")
      .find(curl.slist_append, "curl_slist_append")
      .find(curl.slist_free_all, "curl_slist_free_all")
      .find(curl.url, "curl_url")
      .find(curl.url_set, "curl_url_set")
      .find(curl.url_get, "curl_url_get")
      .find(curl.url_cleanup, "curl_url_cleanup")
      .find(curl.easy_init, "curl_easy_init")
      .find(curl.easy_setopt, "curl_easy_setopt")
      .find(curl.easy_getinfo, "curl_easy_getinfo")
      .find(curl.easy_pause, "curl_easy_pause")
      .find(curl.easy_perform, "curl_easy_perform")
      .find(curl.easy_recv, "curl_easy_recv")
      .find(curl.easy_reset, "curl_easy_reset")
      .find(curl.easy_strerror, "curl_easy_strerror")
      .find(curl.easy_cleanup, "curl_easy_cleanup")
      .find(curl.multi_init, "curl_multi_init")
      .find(curl.multi_setopt, "curl_multi_setopt")
      .find(curl.multi_add_handle, "curl_multi_add_handle")
      .find(curl.multi_remove_handle, "curl_multi_remove_handle")
      .find(curl.multi_perform, "curl_multi_perform")
      .find(curl.multi_info_read, "curl_multi_info_read")
      .find(curl.multi_poll, "curl_multi_poll")
      .find(curl.multi_wakeup, "curl_multi_wakeup")
      .find(curl.multi_cleanup, "curl_multi_cleanup")
      .missing();
}

Result<const Curl*> load() {
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return unusable(::dlerror());
  static Curl curl;
  if (const char* missing = find_functions(library, curl)) return unusable(fmt::format("it has no {}", missing));
  if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return unusable("it does not start");
  const curl_version_info_data* info = curl.version_info(CURLVERSION_NOW);
  if (info->version_num < kOldest) return unusable(fmt::format("here is {}", info->version));
  return &curl;
}

}  // namespace

const Result<const Curl*>& load_curl() {
  static const Result<const Curl*> curl = load();
  return curl;
}

}  // namespace dadi::registry
