// file_lock: which of several processes may write, where the file system can tell them apart.
#pragma once

#include <filesystem>
#include <memory>

namespace scalelab::host {

enum class Lock {
  taken,    // until the descriptor is closed
  another,  // process, or another descriptor of this one, holds it
  none,     // this file system has no locks
};
// Locks a file that is open for writing; does not wait. By flock, and where that is missing (Lustre, some NFS) by a lock
// of the open file description.
Lock lock_file(int descriptor);

// Holds a folder for whoever publishes in it: what is read, worked out and written under it is never older than what
// another process has published there. Waits for other processes; shared within one. A file system without locks of
// folders is no error: then nobody waits. Throws Interrupted when a signal ends the waiting.
std::shared_ptr<const void> lock_folder(const std::filesystem::path& folder);

}  // namespace scalelab::host
