package unpack

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Limits bound what an archive may cost.
type Limits struct {
	// Entries is the number of entries; 0 means 4,000,000: ten times what a full desktop has.
	Entries int64
	// Bytes is the sum of the sizes of all files, holes included; 0 means 1 TiB.
	Bytes int64
	// Reserve is how many bytes must stay free on the disk; 0 means 256 MiB, negative none.
	Reserve int64
	// Ratio is how many bytes one compressed byte may become, once the stream is larger than Free; 0 means
	// 200: a root file system is compressed to a third, and gzip can do 1:1032. Free 0 means 16 GiB.
	Ratio int64
	Free  int64
}

func (l Limits) complete() Limits {
	set := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.Entries, 4_000_000)
	set(&l.Bytes, 1<<40)
	set(&l.Reserve, 256<<20)
	set(&l.Ratio, 200)
	set(&l.Free, 16<<30)
	return l
}

// meter counts what goes through it, and ends with ctx.
type meter struct {
	ctx context.Context
	r   io.Reader
	n   int64
}

// Read implements io.Reader.
func (m *meter) Read(b []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(b)
	m.n += int64(n)
	return n, err
}

// guard is the decompressed stream; it ends with an error when the compressed one blows up.
type guard struct {
	r      io.Reader
	packed *meter
	limits Limits
	n      int64
}

// Read implements io.Reader.
func (g *guard) Read(b []byte) (int, error) {
	n, err := g.r.Read(b)
	g.n += int64(n)
	if g.n > g.limits.Free && g.n/g.limits.Ratio > g.packed.n {
		return 0, fmt.Errorf("%d compressed bytes have become %d: this is a bomb: %w", g.packed.n, g.n, fs.ErrInvalid)
	}
	return n, err
}

// checkEvery is how many written bytes lie between two looks at the disk's free space.
const checkEvery = 64 << 20

// Space watches the disk that files are written to. Its zero value is ready.
type Space struct {
	// Reserve is how many bytes must stay free, as in Limits.
	Reserve int64
	since   int64
}

// Spend counts n bytes that are about to be written to the file system of fd, and fails with ENOSPC when too few
// would be left free. It looks at the disk once in a while only, so n counts as well when it comes in pieces.
func (s *Space) Spend(fd int, n int64) error {
	if s.since += n; s.since < checkEvery {
		return nil
	}
	n, s.since = s.since, 0
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	reserve := Limits{Reserve: s.Reserve}.complete().Reserve
	if free := int64(st.Bavail) * st.Bsize; free-n < reserve {
		return fmt.Errorf("only %d MB are left on the disk, and %d MB must stay free: %w", free>>20, reserve>>20, unix.ENOSPC)
	}
	return nil
}
