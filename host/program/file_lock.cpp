#include "host/program/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

#include "host/program/error.h"

namespace scalelab::host {

Lock lock_file(int descriptor) {
  int failed = 0;
  do {
    failed = ::flock(descriptor, LOCK_EX | LOCK_NB);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0) return Lock::taken;
  if (errno == EWOULDBLOCK) return Lock::another;
  struct flock whole {};  // from the first byte to the last there will be
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  do {
    failed = ::fcntl(descriptor, F_OFD_SETLK, &whole);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0) return Lock::taken;
  return errno == EAGAIN || errno == EACCES ? Lock::another : Lock::none;
}

namespace {

struct FolderLock {
  explicit FolderLock(int opened) : descriptor(opened) {
    // A folder cannot be opened for writing, and so there is flock or nothing.
    while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
      try {
        throw_if_interrupted();
      } catch (...) {
        ::close(descriptor);
        throw;
      }
    }
  }
  ~FolderLock() { ::close(descriptor); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  int descriptor;
};

}  // namespace

std::shared_ptr<const void> lock_folder(const std::filesystem::path& folder) {
  static std::mutex guard;
  static std::map<std::pair<dev_t, ino_t>, std::weak_ptr<const FolderLock>> held;  // by this process
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status {};
  if (descriptor < 0) return nullptr;
  if (::fstat(descriptor, &status) != 0) {
    ::close(descriptor);
    return nullptr;
  }
  const std::scoped_lock one(guard);
  auto& entry = held[{status.st_dev, status.st_ino}];
  if (auto lock = entry.lock()) {
    ::close(descriptor);
    return lock;
  }
  auto lock = std::make_shared<const FolderLock>(descriptor);
  entry = lock;
  return lock;
}

}  // namespace scalelab::host
