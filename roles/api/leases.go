package api

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"muster/roles"
)

const (
	importLeasesPath = "/v1/leases/import"
	// maxLeaseFile in bytes: 200,000 leases of ISC dhcpd, the wordiest, are 60 MB.
	maxLeaseFile = 128 << 20
)

// Leasing changes the leases of DHCP. Its errors wrap the io/fs errors and are sentences.
type Leasing interface {
	// ReleaseLease ends the lease of a MAC or of an address, and returns what it was.
	ReleaseLease(ctx context.Context, key string) (LeaseView, error)
	// ImportLeases takes over the leases of another server's file.
	ImportLeases(ctx context.Context, f LeaseFile) (LeaseReport, error)
}

// The states of a lease.
const (
	LeaseActive   = "active"   // the machine has the address
	LeaseExpired  = "expired"  // it had it, and gets it back while it is free
	LeaseDeclined = "declined" // somebody else uses the address: nobody gets it before it expires
)

// LeaseQuery selects leases.
type LeaseQuery struct {
	// Subnet has their addresses; zero means all.
	Subnet netip.Prefix
	// MAC holds them; zero means anybody.
	MAC roles.MAC
	// State is one of the states; "" means all.
	State string
}

func (q LeaseQuery) wants(l LeaseView) bool {
	return (!q.Subnet.IsValid() || q.Subnet.Contains(l.Address)) && (q.MAC.IsZero() || q.MAC == l.MAC) && (q.State == "" || q.State == l.State)
}

func (q LeaseQuery) values() url.Values {
	v := url.Values{}
	if q.Subnet.IsValid() {
		v.Set("subnet", q.Subnet.String())
	}
	if !q.MAC.IsZero() {
		v.Set("mac", q.MAC.String())
	}
	if q.State != "" {
		v.Set("state", q.State)
	}
	return v
}

func parseLeaseQuery(v url.Values) (q LeaseQuery, err error) {
	if t := v.Get("subnet"); t != "" {
		if q.Subnet, err = netip.ParsePrefix(t); err != nil {
			return q, fmt.Errorf("subnet=%q is not a network (want the form 10.77.0.0/24): %w", t, fs.ErrInvalid)
		}
	}
	if t := v.Get("mac"); t != "" {
		if q.MAC, err = roles.ParseMAC(t); err != nil {
			return q, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
		}
	}
	q.State = v.Get("state")
	if q.State != "" && !slices.Contains([]string{LeaseActive, LeaseExpired, LeaseDeclined}, q.State) {
		return q, fmt.Errorf("state=%q is not active, expired or declined: %w", q.State, fs.ErrInvalid)
	}
	return q, nil
}

// LeaseFile is a lease file of another DHCP server.
type LeaseFile struct {
	// Format is isc, dnsmasq, kea, csv or json (Muster's own exports); "" is found out.
	Format string
	// DryRun changes nothing. All tells of every lease, not only of those that are not simply taken over.
	DryRun, All bool
	// Text is the file.
	Text []byte
}

// LeaseReport says what became of a lease file. It was taken over as a whole, or not at all.
type LeaseReport struct {
	Format string `json:"format"`
	DryRun bool   `json:"dryRun,omitempty"`
	// Results counts the lines by result.
	Results map[string]int `json:"results"`
	// Lines are those that an operator should know of, in the order of the file.
	Lines []LeaseLine `json:"lines"`
}

// LeaseLine is what became of one lease of a file, or of a line that is none.
type LeaseLine struct {
	// Line is its number, from 1.
	Line     int        `json:"line"`
	Address  netip.Addr `json:"address,omitzero"`
	MAC      roles.MAC  `json:"mac,omitzero"`
	Hostname string     `json:"hostname,omitempty"`
	Expires  time.Time  `json:"expires,omitzero"`
	// Result is one of the constants below; Why a sentence, "" where there is nothing to say.
	Result string `json:"result"`
	Why    string `json:"why,omitempty"`
}

// What becomes of a lease in a file.
const (
	LeaseImported = "imported"
	// LeaseHeld: nobody gets the address until the lease ends, not even its machine, which gets another one and
	// may use this one until then.
	LeaseHeld     = "held"
	LeaseOld      = "expired"
	LeaseOutside  = "outside"  // not an address that this server gives
	LeaseConflict = "conflict" // the address is a slot's, a host's, or lent to another machine
	LeaseBad      = "bad"      // not understood
	LeaseV6       = "ipv6"     // passed over
)

func (s *Server) leasing() (Leasing, error) {
	if s.Leasing == nil {
		return nil, fmt.Errorf("this server has no leases to change: %w", fs.ErrNotExist)
	}
	return s.Leasing, nil
}

func (s *Server) listLeases(r *http.Request) (any, error) {
	q, err := parseLeaseQuery(r.URL.Query())
	if err != nil || s.Leases == nil {
		return list[LeaseView](nil, err)
	}
	all, err := s.Leases(r.Context())
	return list(slices.DeleteFunc(all, func(l LeaseView) bool { return !q.wants(l) }), err)
}

func (s *Server) releaseLease(r *http.Request) (any, error) {
	l, err := s.leasing()
	if err != nil {
		return nil, err
	}
	return l.ReleaseLease(r.Context(), r.PathValue("key"))
}

func (s *Server) importLeases(r *http.Request) (any, error) {
	l, err := s.leasing()
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f := LeaseFile{Format: q.Get("format")}
	if f.DryRun, err = flag(q, "dry-run"); err != nil {
		return nil, err
	}
	if f.All, err = flag(q, "all"); err != nil {
		return nil, err
	}
	if f.Text, err = io.ReadAll(r.Body); err != nil {
		return nil, badBody(err)
	}
	return l.ImportLeases(r.Context(), f)
}

// Leases lists the leases that q selects.
func (c *Client) Leases(ctx context.Context, q LeaseQuery) ([]LeaseView, error) {
	var v []LeaseView
	err := c.call(ctx, http.MethodGet, "/v1/leases", q.values(), nil, &v)
	return v, err
}

// ReleaseLease ends the lease of a MAC or of an address, and returns what it was.
func (c *Client) ReleaseLease(ctx context.Context, key string) (LeaseView, error) {
	return post[LeaseView](ctx, c, "/v1/leases/"+url.PathEscape(key)+"/release", nil)
}

// ImportLeases takes over the leases of another server's file.
func (c *Client) ImportLeases(ctx context.Context, f LeaseFile) (v LeaseReport, err error) {
	q := url.Values{}
	for name, on := range map[string]bool{"dry-run": f.DryRun, "all": f.All} {
		if on {
			q.Set(name, "1")
		}
	}
	if f.Format != "" {
		q.Set("format", f.Format)
	}
	err = c.call(ctx, http.MethodPost, importLeasesPath, q, f.Text, &v)
	return v, err
}
