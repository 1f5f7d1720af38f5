// libcurl, loaded by the first request. With it come some forty libraries, and loading those takes longer than making a
// device of a local image, which has no use for them.
#pragma once

#include <curl/curl.h>

#include "libformat/base/result.h"

namespace dadi::registry {

// Each is the function that libcurl calls curl_NAME.
struct Curl {
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_version_info) version_info;
  decltype(&::curl_free) free;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
  decltype(&::curl_url) url;
  decltype(&::curl_url_set) url_set;
  decltype(&::curl_url_get) url_get;
  decltype(&::curl_url_cleanup) url_cleanup;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_pause) easy_pause;
  decltype(&::curl_easy_perform) easy_perform;
  decltype(&::curl_easy_recv) easy_recv;
  decltype(&::curl_easy_reset) easy_reset;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_setopt) multi_setopt;
  decltype(&::curl_multi_add_handle) multi_add_handle;
  decltype(&::curl_multi_remove_handle) multi_remove_handle;
  decltype(&::curl_multi_perform) multi_perform;
  decltype(&::curl_multi_info_read) multi_info_read;
  decltype(&::curl_multi_poll) multi_poll;
  decltype(&::curl_multi_wakeup) multi_wakeup;
  decltype(&::curl_multi_cleanup) multi_cleanup;
};

// Loaded and initialized once, and kept. Any thread. Errors: host_lacks (none is installed, or one that is too old).
const Result<const Curl*>& load_curl();

// REQUIRES: load_curl() has succeeded.
inline const Curl& curl() {
  return **load_curl();
}

}  // namespace dadi::registry
