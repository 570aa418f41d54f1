// What was said, kept in <state>/agents/main/sessions: a file a session, a line a message:
//   {"role":"user"|"assistant","content":"…","timestamp":"2026-01-02T03:04:05.678Z"}
// A question and its answer are appended together and are on the disk before the answer is given, so that nothing
// answered is ever lost; a line cut short by a crash was never answered, and is cut off when the file is next used.
//
// The file name is the session's key with every byte outside [A-Za-z0-9_.-], and a leading dot, written as %XX. Keys
// whose name would be longer than a file name can be are refused.
//
// The files may be deleted under a running agent (that is how its memory is cleared): each use looks at the file's
// size again.
#pragma once

#include <sys/types.h>

#include "text.hpp"

namespace agent {

class Sessions {
 public:
  explicit Sessions(Slice state_folder);
  ~Sessions() { forget(); }

  // Makes the folder if it is missing. 0 or an errno: then no session can be kept.
  int prepare();

  static bool valid_key(Slice key);

  // The number of user messages in the session, 0 for a new one. Negative: an errno, negated.
  long long user_messages(Slice key);
  // Adds a question and its answer. 0 or an errno; then the file is as it was.
  int append(Slice key, Slice question, Slice answer);
  // {"sessions":[{"key","messages","updatedAt"}…],"total":n}: the newest 1,000, newest first, updatedAt in ms since
  // 1970.
  void list(Text& out);
  // {"messages":[…]}: the last `limit` lines of the session, the oldest first; none for a session there is not. 0 or an
  // errno.
  int messages(Slice key, size_t limit, Text& out);

 private:
  struct Entry {
    uint64_t hash;
    char* file;  // its name, owned
    off_t size;
    long long users, lines;
  };
  Entry& entry(Slice file);
  // Counts again if the file's size is not what it was.
  static int refresh(Entry& entry, int fd, off_t size);
  void forget();

  Text folder_;
  Array<Entry> entries_;
};

}  // namespace agent
