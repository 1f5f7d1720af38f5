#include "runtime/attach/backend.h"

#include <array>
#include <optional>

#include "runtime/attach/fuse_loop.h"
#include "runtime/attach/kernel_nbd.h"

namespace dadi::attach {
namespace {

constexpr std::array kBackends = {
    Backend{.name = "nbd",
            .survives = true,
            .probe = probe_kernel_nbd,
            .create = create_kernel_nbd,
            .give_up = give_up_kernel_nbd,
            .clean_up = clean_up_kernel_nbd},
    Backend{.name = "loop",
            .survives = false,
            .probe = probe_fuse_loop,
            .create = create_fuse_loop,
            .give_up = nullptr,
            .clean_up = clean_up_fuse_loop},
};

}  // namespace

std::span<const Backend> backends() {
  return kBackends;
}

Result<const Backend*> find_backend(std::string_view name) {
  for (const Backend& backend : kBackends) {
    if (backend.name == name) return &backend;
  }
  return Error::invalid_argument("no backend is called \"{}\"", name);
}

Result<const Backend*> choose_backend(std::string_view name) {
  if (name != "auto") {
    DADI_TRY(const Backend* const backend, find_backend(name));
    DADI_CHECK(backend->probe().context("backend {}", name));
    return backend;
  }
  std::optional<Error> last;
  for (const Backend& backend : kBackends) {
    auto probed = backend.probe();
    if (probed) return &backend;
    last = std::move(probed.error()).context("backend {}", backend.name);
  }
  return *last;
}

}  // namespace dadi::attach
