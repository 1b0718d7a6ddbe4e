package nfs

import (
	"fmt"
	"os"
)

// logMax bounds a child's log; the one before is kept as well.
const logMax = 10 << 20

// logFile is a child's log, turned over when it is large. One goroutine uses it.
type logFile struct {
	path string
	f    *os.File
	size int64
}

func openLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("nfs: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("nfs: %w", err)
	}
	return &logFile{path, f, info.Size()}, nil
}

// line writes one. A full disk loses lines, not exports.
func (l *logFile) line(s string) {
	n, _ := fmt.Fprintln(l.f, s)
	if l.size += int64(n); l.size < logMax {
		return
	}
	if os.Rename(l.path, l.path+".1") != nil {
		return
	}
	if fresh, err := openLog(l.path); err == nil {
		l.f.Close()
		*l = *fresh
	}
}

// Close closes the file.
func (l *logFile) Close() error { return l.f.Close() }
