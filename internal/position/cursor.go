// Package position keeps, for every source, how far its entries have been taken
// care of: cursors, the tracker that moves them in order, and their store on disk.
//
// A cursor moves only when every sink that must have an entry has acknowledged it.
// Losing the store repeats entries; it never loses them.
package position

// Cursor says where reading goes on. It is a value: what it points to is never
// changed after it was handed out. The zero cursor means "never seen".
type Cursor struct {
	// File is the place in a log file or json-file.
	File *FilePos `json:"file,omitempty"`
	// Ahead is set while a line is still incomplete on one output and the other is
	// further on: records of Ahead.Output before Ahead.Pos are already delivered.
	Ahead *Ahead `json:"ahead,omitempty"`
	// Done has the last few files that were read to their end under this source, so
	// that they are not read again under the name that they were rotated to.
	Done []FilePos `json:"done,omitempty"`
	// API is the place in a log that is read through the Engine API.
	API *APIPos `json:"api,omitempty"`
	// Journal is the place in systemd's journal.
	Journal *JournalPos `json:"journal,omitempty"`
	// Ended is the time (ns since the epoch) of the last end of the container that was told.
	Ended int64 `json:"ended,omitempty"`
	// Last is, by record.Output, the timestamp (ns since the epoch) of the last entry,
	// so that entries that are read again get the timestamps that they had.
	Last [3]int64 `json:"last"`
}

// IsZero tells whether the source was never seen.
func (c Cursor) IsZero() bool { return c.File == nil && c.API == nil && c.Journal == nil }

// FileID names a file, whatever its path is now. Birth (ns since the epoch, 0 where
// the file system keeps none) is there because inode numbers are handed out again.
type FileID struct {
	Device uint64 `json:"dev"`
	Inode  uint64 `json:"ino"`
	Birth  int64  `json:"birth,omitempty"`
}

// FilePos is an offset in one file. The hash of its first bytes tells whether it is
// still the same where Birth does not.
type FilePos struct {
	FileID
	Fingerprint uint64 `json:"fp"`
	// FingerprintLen is how many of the first bytes were hashed; 0 = not known yet.
	FingerprintLen int `json:"fp_len"`
	// Offset in bytes of the first record that is not delivered.
	Offset int64 `json:"offset"`
	// Written is when the file had been written to last, in ns since the epoch; 0 = not known.
	Written int64 `json:"written,omitempty"`
	// Mark tells a file that was cut and written anew from one that was only written to.
	Mark Mark `json:"mark,omitzero"`
}

// Mark is the hash of some bytes that were read, at or around the offset. Zero = none.
type Mark struct {
	// End is the offset in bytes of what follows them.
	End int64 `json:"end"`
	// Len is how many they are.
	Len int    `json:"len"`
	Sum uint64 `json:"sum"`
}

// Ahead is the progress of one output beyond the cursor's file position.
type Ahead struct {
	Output uint8   `json:"output"`
	Pos    FilePos `json:"pos"`
}

// APIPos is a place in a container's log as the Engine API gives it.
type APIPos struct {
	// Since is the timestamp (ns since the epoch) to ask from.
	Since int64 `json:"since"`
	// Streams has one cursor per output stream: [0] stdout, [1] stderr.
	Streams [2]StreamPos `json:"streams"`
}

// StreamPos is the cursor of one output stream.
type StreamPos struct {
	// Time is the largest timestamp delivered (ns since the epoch).
	Time int64 `json:"time"`
	// Seen has the hashes of the records delivered since the first one with Time, in the
	// log's order: those that a reopened stream brings again and whose times do not tell.
	Seen []uint64 `json:"seen,omitempty"`
}

// JournalPos is a place in systemd's journal.
type JournalPos struct {
	// Cursor is the __CURSOR of the last entry that was delivered or passed over; empty before
	// the first one.
	Cursor string `json:"cursor,omitempty"`
	// Since is where reading began: entries before it, by their own time in µs since the
	// epoch, are not wanted. It holds while there is no Cursor.
	Since int64 `json:"since,omitempty"`
	// Choice is a hash of the settings that choose entries. By others the entry of the cursor
	// may be left out, so that it tells nothing that it is not found.
	Choice uint64 `json:"choice,omitempty"`
}
