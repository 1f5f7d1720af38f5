// Blobs of a repository: streamed from it, mounted and uploaded into it.
#include <algorithm>

#include "libconvert/registry/range_headers.h"
#include "libconvert/registry/repository.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::registry {

namespace {

constexpr std::size_t kChunk = 8 << 20;  // of an upload
constexpr int kMostFailures = 8;         // of an upload or download, without a byte of progress

// A blob whose connection may break, as often as it likes as long as bytes come.
class Download final : public ByteSource {
 public:
  Download(Repository& repository, std::string path, Bytes size, Bytes begin)
      : repository_(repository), path_(std::move(path)), size_(size), position_(begin) {}

  Result<void> open() {
    HttpRequest request{.url = path_};
    if (position_.value > 0) request.headers.push_back(fmt::format("Range: bytes={}-", position_.value));
    DADI_TRY(transfer_, repository_.start(std::move(request)));
    const HttpHead& head = transfer_->head();
    skip_ = {0};
    if (head.status == 200) {
      skip_ = position_;  // a registry without ranges: from the start again
      return {};
    }
    const auto range = parse_content_range(head.header("content-range"));
    if (head.status == 206 && position_.value > 0 && range && range->first == position_.value) return {};
    if (head.status == 206)
      return Error::unsupported("{}: it answers with another range than was asked for", repository_.host());
    return repository_.refused({head, {}}, fmt::format("blob of {}", repository_.name()));
  }

  Result<std::span<const std::byte>> next() override {
    for (;;) {
      auto piece = take();
      const bool broken_off = piece && piece->empty() && position_ < size_;
      if (piece && !broken_off) return piece;
      if (!piece && piece.error().code() != ErrorCode::kUnavailable) return piece;
      if (++failures_ >= std::min(kMostFailures, repository_.access().most_tries + 2))
        return piece ? Error::unavailable("{}: the blob ends after {} of {} bytes, again and again", repository_.host(),
                                          position_.value, size_.value)
                     : std::move(piece).error();
      transfer_.reset();
      DADI_CHECK(repository_.pause(failures_ - 1, 0));
      DADI_CHECK(open());
    }
  }

 private:
  Result<std::span<const std::byte>> take() {
    for (;;) {
      DADI_TRY(auto piece, transfer_->next());
      const Bytes skipped{std::min<std::uint64_t>(skip_.value, piece.size())};
      skip_ -= skipped;
      piece = piece.subspan(skipped.value);
      if (piece.empty() && skipped.value > 0) continue;
      position_ += Bytes{piece.size()};
      if (!piece.empty()) failures_ = 0;
      return piece;
    }
  }

  Repository& repository_;
  std::string path_;
  Bytes size_;
  std::unique_ptr<HttpTransfer> transfer_;
  Bytes position_;
  Bytes skip_;  // of this answer: what was passed on already
  int failures_ = 0;
};

// One blob on its way into a repository.
class Upload {
 public:
  Upload(Repository& repository, const FileBlob& file, const Digest& digest, const std::function<void(Bytes)>& progress)
      : repository_(repository), file_(file), digest_(digest), progress_(progress) {}

  Result<void> run() {
    for (int failures = 0;;) {
      const Bytes before = position_;
      Result<void> sent = location_.empty() ? begin() : Result<void>();
      if (sent) sent = position_ < file_.size() && file_.size().value > kChunk ? send_chunk() : finish();
      if (sent && finished_) return {};
      if (sent) continue;
      if (sent.error().code() != ErrorCode::kUnavailable) return sent;
      failures = position_ > before ? 0 : failures + 1;
      if (failures == kMostFailures) return sent;
      DADI_CHECK(repository_.pause(failures, 0));
      if (!location_.empty()) DADI_CHECK(ask_position());
      if (finished_) return {};
    }
  }

 private:
  Error refused(const HttpAnswer& answer) const {
    return repository_.refused(answer, fmt::format("push {} into {}", digest_.brief(), repository_.name()));
  }

  Result<void> follow(const HttpAnswer& answer) {
    const std::string_view to = answer.head.header("location");
    if (to.empty()) return Error::unsupported("{}: an upload without a location", repository_.host());
    const std::string& from = answer.head.url;
    location_ = resolve_url(from, to);
    if (location_.empty()) return Error::unsupported("{}: an upload without an address", repository_.host());
    if (from.starts_with("https://") && !location_.starts_with("https://"))
      return Error::denied("{}: uploads go to {}, without TLS", repository_.host(), origin_of(location_));
    return {};
  }

  Result<void> begin() {
    DADI_TRY(const HttpAnswer answer,
             repository_.perform({.method = "POST", .url = "/v2/" + repository_.name() + "/blobs/uploads/"}));
    if (answer.head.status != 202) return refused(answer);
    position_ = {0};
    return follow(answer);
  }

  Result<std::vector<std::byte>> piece() const {
    return read_range(file_, position_, {std::min<std::uint64_t>(kChunk, (file_.size() - position_).value)});
  }

  Result<void> send_chunk() {
    DADI_TRY(const auto data, piece());
    HttpRequest request{.method = "PATCH", .url = location_, .body = data};
    request.headers.push_back(fmt::format("Content-Range: {}-{}", position_.value, position_.value + data.size() - 1));
    request.headers.emplace_back("Content-Type: application/octet-stream");
    DADI_TRY(const HttpAnswer answer, repository_.perform(std::move(request), 1));
    if (answer.head.status == 404 || answer.head.status == 416) {
      return Error::unavailable("{}: the upload was lost (status {})", repository_.host(), answer.head.status);
    }
    if (answer.head.status / 100 != 2) return refused(answer);
    advance(position_ + Bytes{data.size()});
    return follow(answer);
  }

  Result<void> finish() {
    DADI_TRY(const auto data, piece());  // of a small blob all, else nothing
    HttpRequest request{.method = "PUT", .url = location_, .body = data};
    request.url +=
        (location_.find('?') == std::string::npos ? "?digest=" : "&digest=") + url_encode(digest_.to_string());
    request.headers.emplace_back("Content-Type: application/octet-stream");
    DADI_TRY(const HttpAnswer answer, repository_.perform(std::move(request), 1));
    if (answer.head.status == 404 || answer.head.status == 416)
      return Error::unavailable("{}: the upload was lost (status {})", repository_.host(), answer.head.status);
    if (answer.head.status != 201 && answer.head.status != 204) return refused(answer);
    advance(file_.size());
    finished_ = true;
    return {};
  }

  // After a failure: where the registry is. An upload that it has forgotten begins again.
  Result<void> ask_position() {
    DADI_TRY(const bool there, repository_.has_blob(digest_, file_.size()));
    if (there) {  // only the answer was lost
      advance(file_.size());
      finished_ = true;
      return {};
    }
    auto answer = repository_.perform({.url = location_});
    const bool known = answer && answer->head.status / 100 == 2;
    const auto last = known ? upload_range_end(answer->head.header("range")) : std::nullopt;
    if (!known || !last || *last >= file_.size().value) {
      location_.clear();
      return {};
    }
    // "0-0" is what registries say of an upload that has nothing; of one with a byte, too.
    position_ = {*last == 0 ? 0 : *last + 1};
    if (answer->head.header("location").empty()) return {};
    return follow(*answer);
  }

  void advance(Bytes to) {
    if (progress_ && to > reported_) progress_(to - reported_);
    reported_ = std::max(reported_, to);
    position_ = to;
  }

  Repository& repository_;
  const FileBlob& file_;
  const Digest& digest_;
  const std::function<void(Bytes)>& progress_;
  std::string location_;  // empty: none begun
  Bytes position_;        // what the registry has
  Bytes reported_;
  bool finished_ = false;
};

}  // namespace

Result<bool> Repository::has_blob(const Digest& digest, Bytes size) {
  DADI_TRY(const HttpAnswer answer,
           perform({.method = "HEAD", .url = "/v2/" + name_ + "/blobs/" + digest.to_string()}));
  if (answer.head.status == 404) return false;
  if (answer.head.status != 200) return refused(answer, fmt::format("blob {} of {}", digest.brief(), name_));
  const std::string_view length = answer.head.header("content-length");
  return length.empty() || header_number(length) == size.value;
}

Result<std::vector<std::byte>> Repository::document(const Digest& digest, const std::stop_token& stop) {
  DADI_TRY(HttpAnswer answer, perform({.url = blob_path(digest), .stop = stop}));
  if (answer.head.status != 200) return refused(answer, fmt::format("blob {} of {}", digest.brief(), name_));
  return std::move(answer.body);
}

Result<std::unique_ptr<ByteSource>> Repository::stream_blob(const Digest& digest, Bytes size, Bytes begin) {
  auto download = std::make_unique<Download>(*this, "/v2/" + name_ + "/blobs/" + digest.to_string(), size, begin);
  DADI_CHECK(download->open());
  return std::unique_ptr<ByteSource>(std::move(download));
}

Result<bool> Repository::mount_blob(const Digest& digest, const std::string& from) {
  const auto answer = perform(
      {.method = "POST",
       .url = "/v2/" + name_ + "/blobs/uploads/?mount=" + url_encode(digest.to_string()) + "&from=" + url_encode(from)},
      3);
  // Whatever it is that does not work, an upload may; if not, that tells.
  if (!answer) return answer.error().code() == ErrorCode::kCancelled ? Result<bool>(answer.error()) : false;
  if (answer->head.status == 201) return true;
  // An upload was begun in its stead: not wanted, and gone by itself if this fails.
  const std::string begun = resolve_url(answer->head.url, answer->head.header("location"));
  if (answer->head.status != 202 || origin_of(begun) != origin_of(answer->head.url)) return false;
  const auto ended = perform({.method = "DELETE", .url = begun}, 1);
  return !ended && ended.error().code() == ErrorCode::kCancelled ? Result<bool>(ended.error()) : false;
}

Result<void> Repository::put_blob(const std::filesystem::path& path, const Digest& digest, Bytes size,
                                  const std::function<void(Bytes)>& progress) {
  DADI_TRY(const bool there, has_blob(digest, size));
  if (there) return {};
  DADI_TRY(const auto file, FileBlob::open(path));
  return Upload(*this, *file, digest, progress).run();
}

}  // namespace dadi::registry
