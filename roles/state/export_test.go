package state

import "log/slog"

// OpenKilled opens the store in a file whose Close is the end of the process: nothing is done for the next start.
func OpenKilled(path string) (*Store, error) {
	f, err := openFile(path, smallSegment, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return New(killed{f}, Options{})
}

type killed struct{ *file }

// Close implements Backend.
func (k killed) Close() error {
	if k.journal != nil {
		close(k.stop)
		k.folders.Wait()
		k.journal.close()
	}
	return k.db.Close()
}
