package agent

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// ramDir is a tmpfs with the root of a machine that holds it in RAM.
const ramDir = "/ram"

// ramReserve is the memory that a machine must have beside its root: for the image's own programs.
const ramReserve = 64 << 20

// checkRAM says what is wrong with the part of a spec that is about a root in RAM.
func checkRAM(s *Spec) error {
	switch r := s.RAM; {
	case r == nil:
		return fmt.Errorf("a root of type squashfs without where to load it from")
	case !strings.HasPrefix(r.Squashfs, "/") || !strings.HasPrefix(r.Seal, "/"):
		return fmt.Errorf("squashfs %q and seal %q are not both paths on a boot server", r.Squashfs, r.Seal)
	case r.Size <= 0:
		return fmt.Errorf("a squashfs of %d bytes", r.Size)
	}
	return nil
}

// ramFile is the squashfs in ramDir.
const ramFile = ramDir + "/root.squashfs"

// mountRAM mounts the image that it has loaded into RAM on dir. From then on no boot server is needed for the root.
// When a later step fails, what is in RAM stays for the next try: a rack whose volumes are away must not load its
// images again every minute.
func (a *Agent) mountRAM(ctx context.Context, s *Spec, dir string) (done mounted, from string, err error) {
	seal, err := a.loadSeal(ctx, s)
	if err != nil {
		return nil, "", err
	}
	if !reflect.DeepEqual(a.ram, seal) {
		a.emptyRAM()
		if err := a.fillRAM(ctx, s, seal); err != nil {
			return nil, "", err
		}
	}
	if err := a.System.MountFile(a.path(ramFile), dir, "squashfs"); err != nil {
		return nil, "", fmt.Errorf("mount %s: %w", ramFile, err)
	}
	return mounted{dir}, a.loaded, nil
}

// fillRAM loads and verifies what seal seals. On failure nothing of it stays.
func (a *Agent) fillRAM(ctx context.Context, s *Spec, seal *Seal) (err error) {
	if err := a.enoughMemory(seal); err != nil {
		return fmt.Errorf("%s: %w", s.Image, err)
	}
	if err := os.MkdirAll(a.path(ramDir), 0o700); err != nil {
		return err
	}
	// Whole pages, and some more, as the file system counts its own.
	size := (seal.Size+4095)/4096*4096 + 1<<20
	if err := a.System.Mount("muster", a.path(ramDir), "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", size)); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", ramDir, err)
	}
	defer func() {
		if err != nil {
			a.System.Unmount(a.path(ramDir))
		}
	}()
	file, err := os.OpenFile(a.path(ramFile), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	start := time.Now()
	server, err := a.load(ctx, s, seal, file)
	if err != nil {
		return err
	}
	a.ram, a.loaded = seal, fmt.Sprintf("in RAM, %s from %s in %s", mebibytes(seal.Size), server, rounded(time.Since(start)))
	return nil
}

// emptyRAM gives the memory of an image back that no root needs.
func (a *Agent) emptyRAM() {
	if a.ram != nil {
		a.System.Unmount(a.path(ramDir))
		a.ram = nil
	}
}

// load downloads the squashfs, and says how far it is: never more than once in progressTime. It gives the server
// that had the last of it.
func (a *Agent) load(ctx context.Context, s *Spec, seal *Seal, file *os.File) (server string, err error) {
	const progressTime = 5 * time.Second
	said, tenths, faults := time.Now(), int64(0), 0
	d := &download{
		client: a.client.apart(), path: a.forMe(s.RAM.Squashfs), seal: seal, file: file,
		progress: func(n int64) {
			now := 10 * n / seal.Size
			if now == tenths || now == 10 || time.Since(said) < progressTime {
				return
			}
			said, tenths = time.Now(), now
			a.note("root", "%s: %d %% of %s", s.Image, 100*n/seal.Size, mebibytes(seal.Size))
		},
		fault: func(err error, again time.Duration) {
			next := "asked again at once"
			if again > 0 {
				next = "again in " + rounded(again).String()
			}
			a.Console.Fail("%s: %v; %s", s.Image, err, next)
			if faults++; faults&(faults-1) == 0 { // 1, 2, 4, 8, …
				a.events.add("root", fmt.Sprintf("fault %d while loading %s; asked again", faults, s.Image), err)
			}
		},
	}
	if err := d.run(ctx); err != nil {
		return "", fmt.Errorf("load %s: %w", s.Image, err)
	}
	return d.client.server(), nil
}

// forMe adds to a path on a boot server whose download it is.
func (a *Agent) forMe(path string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "mac=" + strings.ReplaceAll(a.params.MAC, ":", "-")
}

// enoughMemory says how much a root of this size needs, where the machine does not have it. The error wraps
// fs.ErrInvalid.
func (a *Agent) enoughMemory(s *Seal) error {
	free := int64(-1)
	eachLine(a.path("/proc/meminfo"), func(line string) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64); err == nil {
				free = kib << 10
			}
		}
	})
	need := s.Size + ramReserve
	if free < 0 || free >= need {
		return nil
	}
	return fmt.Errorf("its root in RAM needs %s of free memory (%s, and %s to work with), there are %s: "+
		"add memory or choose the root mode nfs: %w", mebibytes(need), mebibytes(s.Size), mebibytes(ramReserve), mebibytes(free), fs.ErrInvalid)
}

func mebibytes(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
