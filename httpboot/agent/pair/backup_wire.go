package pair

import (
	"fmt"
	"io/fs"
	"strings"
)

// OpCopy is an operation of agent.PairCall: CopyPiece → CopyPiece. 404 when there is no such copy (any more), 409 when
// the piece cannot be taken or given yet: the half tries again.
const OpCopy = "copy"

// CopyPieceSize is the most bytes of an archive in one CopyPiece: as JSON it has to fit into a request.
const CopyPieceSize = 512 << 10

// Kinds of a Copy.
const (
	CopyBackup  = "backup"
	CopyRestore = "restore"
)

// Copy is an order to make an archive of the volume, or to take something from one. It is told to the half that is to
// do it as long as somebody waits for it; without the order the half stops.
type Copy struct {
	// ID is a secret, and another one each time.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Room is the memory for what is overwritten while a backup lasts, in bytes; 0 means a third of what is free.
	Room int64 `json:"room,omitempty"`
	// Paths are what is restored.
	Paths []CopyPath `json:"paths,omitempty"`
	// Replace lets what is in the place of a restored directory go.
	Replace bool `json:"replace,omitempty"`
}

// CopyPath is a directory in an archive and on the volume: volumes/www, state/web-01.
type CopyPath struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// CopyPiece goes both ways. Backup: the half sends Data at Offset, the answer is empty. Restore: it asks for what is at
// Offset, the answer has Data. The half ends both with Done, and with Why when it failed.
type CopyPiece struct {
	ID     string `json:"id,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Data   []byte `json:"data,omitempty"`
	// End says, in an answer, that the archive ends behind Data.
	End  bool   `json:"end,omitempty"`
	Done bool   `json:"done,omitempty"`
	Why  string `json:"why,omitempty"`
	// Note is what the half has to say of a copy that succeeded.
	Note string `json:"note,omitempty"`
}

// CheckCopyPath says whether p is a directory that is copied as a whole: volumes/NAME or state/SLOT.
func CheckCopyPath(p string) error {
	kind, name, ok := strings.Cut(p, "/")
	if !ok || kind != "volumes" && kind != "state" || !safeName(name) || strings.Contains(name, "/") {
		return fmt.Errorf("%q is neither volumes/NAME nor state/SLOT: %w", p, fs.ErrInvalid)
	}
	return nil
}
