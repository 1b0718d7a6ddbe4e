package httpboot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of an image's boot files.
const (
	kernelFile = "vmlinuz"
	initrdFile = "initrd.img"
	rootFile   = "root.squashfs"
	sealFile   = "root.seal"
)

var imageFiles = []string{kernelFile, initrdFile, rootFile, sealFile}

// image serves what a machine loads of a published image.
func (s *Server) image(w http.ResponseWriter, r *http.Request) {
	name, file := r.PathValue("name"), r.PathValue("file")
	version, err := strconv.Atoi(r.PathValue("version"))
	if err != nil || version < 1 || !slices.Contains(imageFiles, file) {
		s.fail(w, r, "images", &kindError{"images have /images/NAME/VERSION/FILE, where FILE is one of " +
			strings.Join(imageFiles, ", "), fs.ErrNotExist})
		return
	}
	f, err := s.Images.Open(name, version, file)
	if err != nil {
		s.fail(w, r, "images", err)
		return
	}
	q := r.URL.Query()
	mac, _ := parseMAC(q.Get("mac"))
	s.send(w, r, f, Fetch{Area: "images", File: fmt.Sprintf("%s/%d/%s", name, version, file), MAC: mac, Boot: q.Get("boot")})
}

// nbp serves a network boot program.
func (s *Server) nbp(w http.ResponseWriter, r *http.Request) { s.sendFS(w, r, "nbp", s.NBP) }

// file serves one of the operator's own files.
func (s *Server) file(w http.ResponseWriter, r *http.Request) { s.sendFS(w, r, "files", s.Files) }

func (s *Server) sendFS(w http.ResponseWriter, r *http.Request, area string, from fs.FS) {
	name := r.PathValue("file")
	if from == nil || !fs.ValidPath(name) || name == "." {
		s.fail(w, r, area, &kindError{"no such file", fs.ErrNotExist})
		return
	}
	f, err := from.Open(name)
	for _, no := range []error{syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.EINVAL} { // no name of a file
		if errors.Is(err, no) {
			err = &kindError{"no such file", fs.ErrNotExist}
		}
	}
	if err != nil {
		s.fail(w, r, area, err)
		return
	}
	s.send(w, r, f, Fetch{Area: area, File: name})
}

// send sends f, which it closes, and tells Observe when that is over. w is net/http's own: nothing may
// come between it and the file, or the kernel cannot move the bytes by itself (sendfile(2)).
func (s *Server) send(w http.ResponseWriter, r *http.Request, f fs.File, fetch Fetch) {
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &kindError{"no such file", fs.ErrNotExist}
	}
	content, done := sending(f)
	if err == nil && content == nil {
		err = errors.New("httpboot: the file system has files that cannot seek")
	}
	if err != nil {
		s.fail(w, r, fetch.Area, err)
		return
	}
	setDeadlines(w, r, downloadTimeout)
	h := w.Header()
	h.Set("Content-Type", contentType(fetch.File))
	h.Set("Etag", fmt.Sprintf(`"%x-%x"`, st.ModTime().UnixNano(), st.Size()))
	start := time.Now()
	http.ServeContent(w, r, "", st.ModTime(), content)
	fetch.Remote, fetch.Size, fetch.Took = remote(r), st.Size(), time.Since(start)
	pos, sent, copied := done()
	fetch.Bytes = sent
	fetch.Complete = sent > 0 && pos == st.Size() && r.Context().Err() == nil
	s.metrics.sent(fetch, copied)
	if r.Method == http.MethodHead || sent == 0 { // HEAD, 304, 416: nothing was fetched
		return
	}
	s.Log.Debug("file sent", "area", fetch.Area, "file", fetch.File, "mac", fetch.MAC,
		"remote", fetch.Remote, "bytes", fetch.Bytes, "complete", fetch.Complete)
	if s.Observe != nil {
		s.Observe(r.Context(), fetch)
	}
}

// contentType is fixed by name, not sniffed: sniffing reads the file in user space.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".efi":
		return "application/efi" // UEFI 2.10 §24.7.3.2
	case ".iso":
		return "application/vnd.efi-iso"
	case ".img":
		return "application/octet-stream" // UEFI would take vnd.efi-img for a disk
	case ".txt", ".ipxe", ".cfg", ".yaml":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// sending prepares f for http.ServeContent. done then tells the position that was reached, how many bytes
// went out, and how many of them were copied through user space: for a file of the operating system only
// the first 512 of a response, which net/http reads itself.
func sending(f fs.File) (content io.ReadSeeker, done func() (pos, sent, copied int64)) {
	if osf, ok := f.(*os.File); ok {
		c := &sentFile{File: osf}
		return c, func() (pos, sent, copied int64) {
			// sendfile(2) moves the file's position, so the kernel itself tells how far it came.
			pos, err := osf.Seek(0, io.SeekCurrent)
			if err != nil {
				return 0, 0, c.copied
			}
			if !c.read {
				return pos, 0, 0
			}
			return pos, pos - c.start, c.copied
		}
	}
	if rs, ok := f.(io.ReadSeeker); ok {
		c := &countedFile{ReadSeeker: rs}
		return c, func() (pos, sent, copied int64) { return c.pos, c.copied, c.copied }
	}
	return nil, nil
}

// sentFile is an *os.File that knows where the last read began. It keeps SyscallConn, by which the net
// package recognises what it can hand to sendfile(2).
type sentFile struct {
	*os.File
	start, copied int64
	read          bool
}

func (f *sentFile) Seek(offset int64, whence int) (int64, error) {
	pos, err := f.File.Seek(offset, whence)
	f.start = pos
	return pos, err
}

func (f *sentFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.read = true
	f.copied += int64(n)
	return n, err
}

// countedFile is any other file, an embedded one for instance.
type countedFile struct {
	io.ReadSeeker
	pos, copied int64
}

func (f *countedFile) Seek(offset int64, whence int) (int64, error) {
	pos, err := f.ReadSeeker.Seek(offset, whence)
	f.pos = pos
	return pos, err
}

func (f *countedFile) Read(p []byte) (int, error) {
	n, err := f.ReadSeeker.Read(p)
	f.pos += int64(n)
	f.copied += int64(n)
	return n, err
}
