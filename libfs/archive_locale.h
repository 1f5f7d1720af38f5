// The locale under which libarchive runs: it converts names from and to "the current locale", and takes UTF-8 names
// for what they are only when that is a UTF-8 one. The process's own locale is never touched.
#pragma once

#include <locale.h>

#include <clocale>

#include "libformat/base/result.h"

namespace dadi::fs {

// A UTF-8 locale for this thread, while this object lives. Nests.
class ArchiveLocale {
 public:
  // Errors: host_lacks (none of the usual UTF-8 locales is installed). The answer is the same for a process's lifetime.
  static Result<void> check() {
    if (utf8() == nullptr)
      return Error::host_lacks("no UTF-8 locale").with_hint("Install C.UTF-8, which every libc of today has.");
    return {};
  }

  // REQUIRES: check() succeeded.
  ArchiveLocale() : before_(uselocale(utf8())) {}
  ~ArchiveLocale() { uselocale(before_); }
  ArchiveLocale(const ArchiveLocale&) = delete;
  ArchiveLocale& operator=(const ArchiveLocale&) = delete;

 private:
  static locale_t utf8() {
    static const locale_t found = [] {
      for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8", "en_US.utf8"}) {
        if (locale_t made = newlocale(LC_CTYPE_MASK, name, nullptr)) return made;
      }
      return locale_t{};
    }();
    return found;
  }

  locale_t before_;
};

}  // namespace dadi::fs
