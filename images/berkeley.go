package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"slices"
)

// berkeley.go makes tables of Berkeley DB, as Postfix' scripts make of /etc/aliases, the same in every build: each
// file has a random identity, and Postfix adds the time.

// tables are where they are.
var tables = []string{"etc/*.db", "etc/postfix/*.db", "etc/mail/*.db"}

const (
	berkeleyHash  = 0x061561
	berkeleyBtree = 0x053162
	// In a metadata page: db_page.h, DBMETA.
	berkeleyMagicAt = 12
	berkeleyIDAt    = 52
	berkeleyIDSize  = 20
)

var modifiedRE = regexp.MustCompile(`[0-9]{10}\x01YP_LAST_MODIFIED`)

// steadyTables makes the tables below tree independent of when they were made.
func steadyTables(tree string, epoch int64) error {
	for _, pattern := range tables {
		found, err := matches(tree, pattern)
		if err != nil {
			return err
		}
		for _, file := range found {
			info, err := os.Lstat(file)
			if err != nil || !info.Mode().IsRegular() {
				continue // a link: what it leads to has its own name
			}
			b, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("images: %w", err)
			}
			if steady := steadyTable(b, epoch); !slices.Equal(steady, b) {
				if err := os.WriteFile(file, steady, info.Mode()); err != nil {
					return fmt.Errorf("images: %w", err)
				}
			}
		}
	}
	return nil
}

// steadyTable gives the table without its identity, and with epoch for its time; what is no table comes back as
// it is.
func steadyTable(b []byte, epoch int64) []byte {
	if len(b) < berkeleyIDAt+berkeleyIDSize {
		return b
	}
	if magic := binary.LittleEndian.Uint32(b[berkeleyMagicAt:]); magic != berkeleyHash && magic != berkeleyBtree {
		return b
	}
	// It is in each metadata page, and in what was memory of one and is an unused part of another page.
	id := slices.Clone(b[berkeleyIDAt : berkeleyIDAt+berkeleyIDSize])
	b = bytes.ReplaceAll(b, id, make([]byte, berkeleyIDSize))
	return modifiedRE.ReplaceAll(b, fmt.Appendf(nil, "%010d\x01YP_LAST_MODIFIED", epoch))
}
