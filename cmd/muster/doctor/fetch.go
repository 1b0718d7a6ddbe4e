package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pin/tftp/v3"
)

// checkPrograms looks whether the boot programs are on the disk.
func checkPrograms(_ context.Context, e *Env) []Finding {
	const check = "ipxe"
	if e.IPXE == "" {
		return nil
	}
	var out []Finding
	for _, name := range e.Programs {
		path := filepath.Join(e.IPXE, name)
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			out = append(out, fail(check, "apt-get install ipxe, or set tftpd.ipxe to where it is", "%s is missing", path))
		case err != nil:
			out = append(out, fail(check, "", "%v", err))
		case !st.Mode().IsRegular() || st.Size() == 0:
			out = append(out, fail(check, "apt-get install --reinstall ipxe", "%s is not a file with something in it", path))
		}
	}
	if len(out) == 0 {
		out = append(out, ok(check, "%d boot programs in %s", len(e.Programs), e.IPXE))
	}
	return out
}

// checkTFTP fetches every boot program from every address, and compares it with the file.
func checkTFTP(ctx context.Context, e *Env) []Finding {
	const check = "tftp"
	if e.TFTP == "" {
		return nil
	}
	var out []Finding
	for _, target := range e.targets(e.TFTP) {
		fetched := 0
		for _, name := range e.Programs {
			got, err := fetchTFTP(ctx, target, name)
			if err != nil {
				out = append(out, fail(check, "is muster serve running, and does the firewall let UDP port 69 and the answers through? see: ss -lunp; nft list ruleset",
					"%s does not come from %s: %v", name, target, err))
				continue
			}
			want, err := os.ReadFile(filepath.Join(e.IPXE, name))
			if e.IPXE != "" && err == nil && !bytes.Equal(got, want) {
				out = append(out, fail(check, "is another TFTP server on that address? see: ss -lunp",
					"%s from %s is not the file in %s (%d bytes, not %d)", name, target, e.IPXE, len(got), len(want)))
				continue
			}
			fetched++
		}
		if fetched == len(e.Programs) {
			out = append(out, ok(check, "%d boot programs fetched from %s", fetched, target))
		}
	}
	return out
}

// fetchTFTP reads a whole file. The library knows no context: the transfer ends by its own time-outs, some
// seconds after the peer fell silent, and is no longer waited for when ctx ends.
func fetchTFTP(ctx context.Context, target, name string) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := receive(target, name)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.b, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func receive(target, name string) ([]byte, error) {
	c, err := tftp.NewClient(target)
	if err != nil {
		return nil, err
	}
	c.SetTimeout(time.Second)
	c.SetRetries(3)
	c.SetBlockSize(1428) // what firmware asks for on Ethernet
	w, err := c.Receive(name, "octet")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}

// checkHTTP fetches the first script.
func checkHTTP(ctx context.Context, e *Env) []Finding {
	const check = "http"
	if e.HTTP == "" {
		return nil
	}
	var out []Finding
	for _, target := range e.targets(e.HTTP) {
		url := "http://" + target + "/ipxe"
		var b bytes.Buffer
		err := get(ctx, url, &b)
		switch {
		case err != nil:
			out = append(out, fail(check, "is muster serve running, and does the firewall let the TCP port through? see: ss -ltnp; nft list ruleset", "%s: %v", url, err))
		case !bytes.HasPrefix(b.Bytes(), []byte("#!ipxe")):
			out = append(out, fail(check, "is another web server on that port? see: ss -ltnp", "%s is not an iPXE script", url))
		default:
			out = append(out, ok(check, "the iPXE script comes from %s", url))
		}
	}
	return out
}

// checkImages fetches the kernel of every image, from the first address that machines use.
func checkImages(ctx context.Context, e *Env) []Finding {
	const check = "image"
	targets := e.targets(e.HTTP)
	if len(targets) == 0 {
		return nil
	}
	if len(e.Images) == 0 {
		return []Finding{warn(check, "muster image build ROLE (see: muster role list)", "no image is built: machines have nothing to boot")}
	}
	var out []Finding
	for _, i := range e.Images {
		var n counter
		err := get(ctx, "http://"+targets[0]+i.Path, &n)
		switch {
		case err != nil:
			out = append(out, fail(check, "muster image list; build it again where its kernel is missing", "kernel of %s: %v", i.Name, err))
		case i.Size > 0 && int64(n) != i.Size:
			out = append(out, fail(check, "build the image again", "kernel of %s: %d bytes came, it has %d", i.Name, n, i.Size))
		default:
			out = append(out, ok(check, "kernel of %s: %d bytes", i.Name, n))
		}
	}
	return out
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func get(ctx context.Context, url string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Machines know no proxies either.
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
