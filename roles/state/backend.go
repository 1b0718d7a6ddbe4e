package state

// Backend makes records durable. It knows nothing of what they mean. Store calls Commit for one batch at
// a time, and nothing after Close.
type Backend interface {
	// Load calls fn for every record, in the order of bucket and key, and returns the revision of the
	// last commit, 0 when there was none. The records may be kept.
	Load(fn func(Record) error) (revision uint64, err error)
	// Commit makes the batch durable together with its revision, all of it or nothing. The revision is
	// the last one plus one; a backend whose own last revision is another one refuses. After an error
	// nothing of the batch may ever be seen, unless every later Commit is refused, too.
	Commit(revision uint64, batch []Record) error
	// Close releases what the backend holds.
	Close() error
}

// Record is one value of one bucket by its key. In a batch a nil Value deletes the key, which need not
// exist.
type Record struct {
	Bucket     string
	Key, Value []byte
}
