package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errDenied is why an ordinary user gets no reserved port.
var errDenied = syscall.EACCES

func isBusy(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// checkExports asks for every export what a node asks for.
func checkExports(ctx context.Context, e *Env) []Finding {
	const check = "nfs"
	var out []Finding
	for _, x := range e.Exports {
		servers := []netip.Addr{x.Server}
		if !x.Server.IsValid() {
			servers = nil
			for _, i := range e.Interfaces {
				servers = append(servers, addresses(i)...)
			}
		}
		for _, s := range servers {
			if fix, err := tryMount(ctx, s, x); err != nil {
				out = append(out, fail(check, fix, "%s:%s cannot be mounted: %v", s, x.Path, err))
			} else {
				out = append(out, ok(check, "%s:%s can be mounted", s, x.Path))
			}
		}
	}
	return out
}

// tryMount asks mountd for the export's file handle, and the NFS server what that is. The text is what to do
// when it fails.
func tryMount(ctx context.Context, server netip.Addr, x Export) (fix string, err error) {
	const down = "is the NFS server running, and does the firewall let its TCP ports through? see: ss -ltnp; the log of muster serve"
	handle, status, err := mountHandle(ctx, server, x)
	if err != nil {
		return down, fmt.Errorf("mountd: %w", err)
	}
	switch status {
	case 0:
	case 13, 1: // MNT3ERR_ACCES, MNT3ERR_PERM
		return "is it exported, and the nodes' network among its clients? see: showmount -e", errors.New("permission denied")
	case 2: // MNT3ERR_NOENT
		return "is the directory there, and exported? see: showmount -e", errors.New("no such export")
	default:
		return "see the NFS server's log", fmt.Errorf("mountd answers %d", status)
	}
	nfs, err := dialRPC(ctx, server, cmp.Or(x.Port, 2049))
	if err != nil {
		return down, err
	}
	defer nfs.conn.Close()
	b, err := nfs.call(nfsProgram, procGetattr, opaque(handle))
	if err != nil {
		return down, err
	}
	d := decoder{b: b}
	if status, kind := d.uint32(), d.uint32(); status != 0 || kind != 2 || d.short {
		return "restart the NFS server", fmt.Errorf("its root is not a directory (NFS status %d)", status)
	}
	return "", nil
}

// mountHandle makes the MNT call and takes it back, so that the server lists no client that never was.
func mountHandle(ctx context.Context, server netip.Addr, x Export) (handle []byte, status uint32, err error) {
	mountd, err := dialRPC(ctx, server, cmp.Or(x.MountPort, 20048))
	if err != nil {
		return nil, 0, err
	}
	defer mountd.conn.Close()
	b, err := mountd.call(mountProgram, procMount, opaque([]byte(x.Path)))
	if err != nil {
		return nil, 0, err
	}
	d := decoder{b: b}
	if status = d.uint32(); status == 0 {
		handle = d.opaque()
		_, err = mountd.call(mountProgram, procUnmount, opaque([]byte(x.Path)))
	}
	if d.short {
		err = errAnswer
	}
	return handle, status, err
}
