package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"muster/cmd/muster/config"
	"muster/cmd/muster/qnetd"
	"muster/dhcpd"
	"muster/dhcpd/dhcp6"
	"muster/dhcpd/lease"
	"muster/dhcpd/radv"
	"muster/dhcpd/trace"
	"muster/httpboot"
	"muster/images"
	"muster/images/nfs"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/health"
	"muster/roles/power"
	"muster/roles/state"
	"muster/tftpd"
)

// Options are what `muster serve` has beside its configuration.
type Options struct {
	// Config is required.
	Config *config.Config
	// Agent is the path of muster-init, which is built into images; empty means that this server cannot
	// build any.
	Agent string
	// Version is shown by the API.
	Version string
	// Log; nil is silent.
	Log *slog.Logger
}

// server is one boot server: the parts, and what they share.
type server struct {
	Options
	log      *slog.Logger
	networks []network
	hosts    hosts
	leases   Leases
	trace    trace.Hub
	metrics  *prometheus.Registry

	store     *state.Store
	catalog   *images.Catalog
	library   library
	registry  *roles.Registry
	recorder  *roles.Recorder
	exports   nfs.Exports
	exportsBy string // why this NFS server was picked
	programs  layers // what firmware loads: iPXE's builds, and the operator's files

	making sync.Mutex // held while a persistent directory is made

	strangers strangers
	others    others
	firmware  firmware
	keys      keys
	packs     packer
	contents  contents
	copies    copies
	former    formerUsers
	vote      *qnetd.Server

	pairMetrics *pairMetrics

	dhcp  *dhcpd.Server
	watch *dhcpd.Lookout
	dhcp6 *dhcp6.Server
	radv  *radv.Server
	tftp  *tftpd.Server
	http  *httpboot.Server
	api   *api.Server
}

// Run is the boot server until ctx ends; then it returns nil. Errors at the start name what is wrong and
// what to do; nothing is left half-started.
func Run(ctx context.Context, o Options) (err error) {
	s := &server{Options: o, log: o.Log, metrics: prometheus.NewRegistry()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.prepare(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if err := s.assemble(); err != nil {
		return err
	}
	return s.run(ctx)
}

// prepare checks what cannot be served without, and opens the store.
func (s *server) prepare() error {
	if os.Getuid() != 0 {
		return errors.New("muster serve needs root: it answers DHCP, mounts and exports; use sudo, or the systemd unit")
	}
	for _, f := range []string{"undionly.kpxe", "snponly.efi"} {
		if _, err := os.Stat(filepath.Join(s.Config.TFTPD.IPXE, f)); err != nil {
			return fmt.Errorf("iPXE is missing (%w); install Debian's package ipxe, or set tftpd.ipxe", err)
		}
	}
	var err error
	if s.networks, err = networks(s.Config); err != nil {
		return err
	}
	s.hosts = hostsOf(s.Config.DHCPD.Subnets)
	if s.library, err = loadLibrary(s.Config.Library); err != nil {
		return err
	}
	if err := makeData(s.Config.Data); err != nil {
		return err
	}
	if s.keys, err = loadKeys(s.Config.Data); err != nil {
		return err
	}
	s.catalog = &images.Catalog{Dir: s.path("images"), Key: s.keys.images, Logger: s.log}
	s.packs.catalog, s.packs.log = s.catalog, s.log.With("service", "images")
	s.store, err = state.Open(s.path("muster.db"), state.Options{Metrics: s.metrics, Log: s.log.With("service", "state")})
	return err
}

// makeData makes the data directory.
func makeData(data string) error {
	for _, dir := range []string{"", "images", "volumes", "state", "files", "cache", "run"} {
		if err := os.MkdirAll(filepath.Join(data, dir), 0o755); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	// The set-uid programs of an image are none of this machine's.
	if err := os.Chmod(filepath.Join(data, "images"), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.Config.Data}, elem...)...)
}

// assemble makes the parts. Nothing listens yet.
func (s *server) assemble() error {
	if err := s.checkHosts(); err != nil {
		return err
	}
	// Only now is it sure that no other server works with this data.
	if err := s.catalog.Clean(); err != nil { // what lies around hurts nobody; a rack without its server does
		s.log.Warn("cannot remove what a build left", "err", err)
	}
	s.registry = &roles.Registry{
		Store: s.store, Images: s.catalog, Library: s.library.roles, Power: map[string]roles.Driver{}, Log: s.log,
		Network: s.networkFor,
	}
	for _, n := range s.networks {
		s.registry.Subnets = append(s.registry.Subnets, n.Prefix)
		if n.Range.First.IsValid() {
			s.registry.Ranges = append(s.registry.Ranges, roles.AddressRange(n.Range))
		}
	}
	s.registry.Power["wol"] = &power.WOL{Broadcast: s.broadcasts()}
	if lab := s.Config.Power.Lab; lab != nil {
		s.registry.Power["lab"] = &power.Lab{Socket: lab.Socket}
		s.registry.DefaultPower = "lab"
	}
	s.former.file = s.path("pairs.json")
	s.contents.revision, s.contents.users, s.contents.packs, s.contents.log = s.registry.Revision, s.pairUsers, &s.packs, s.log
	s.vote = s.newVote()
	s.pairMetrics = newPairMetrics(s.metrics, s.registry.Pairs, s.vote.Up)
	s.vote.Ended = s.pairMetrics.voteEnded.Inc
	s.recorder = &roles.Recorder{Registry: s.registry}
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "muster_serve_sightings_dropped_total", Help: "Sightings of machines that found the queue full.",
	}, func() float64 { return float64(s.recorder.Dropped()) }))

	files, err := os.OpenRoot(cmp.Or(s.Config.HTTPBoot.Files, s.path("files")))
	if err != nil {
		return fmt.Errorf("operator's files: %w", err)
	}
	s.programs = layers{os.DirFS(s.Config.TFTPD.IPXE), files.FS()}
	if s.exports, s.exportsBy, err = s.pickExports(); err != nil {
		return err
	}
	s.dhcp = &dhcpd.Server{
		Proxy: s.Config.DHCPD.Mode == config.ModeProxy, BootFiles: s.bootFiles(),
		Policy: policy{s.registry, s.hosts, new(poolCache), new(slotCache)}, Newcomers: dhcpd.Newcomers(s.Config.DHCPD.Newcomers), Leases: s.store.Leases(),
		SubnetSelection: s.Config.DHCPD.SubnetSelection, Probe: s.Config.DHCPD.Probe,
		FileURL:   func(r *dhcpd.Request, file string) string { return s.url(r.Server) + "/nbp/" + file },
		ScriptURL: func(r *dhcpd.Request) string { return s.url(r.Server) + "/ipxe" },
		Observe:   s.sawDHCP, Log: s.log.With("service", "dhcpd"), Metrics: s.metrics,
	}
	s.watch = s.newLookout()
	for _, n := range s.networks {
		if !s.Config.DHCPD.Addresses() {
			n.Range = dhcpd.Range{} // it is another server's
		}
		s.dhcp.Subnets = append(s.dhcp.Subnets, n.Subnet)
	}
	if s.dhcp6, err = s.newDHCP6(); err != nil {
		return err
	}
	s.radv = &radv.Server{
		Off:    s.Config.DHCPD.Mode == config.ModeOff, // it would know nobody to answer
		Answer: func(mac lease.MAC) bool { return s.firmware.runs(mac, time.Now()) }, Links: advertised(s.Config),
		Log: s.log.With("service", "radv"), Metrics: s.metrics,
	}
	s.tftp = &tftpd.Server{
		FS: s.programs, For: s.tftpFiles(), MaxBlksize: s.Config.TFTPD.Blksize, Quirks: s.quirks,
		Observe: s.sawTFTP, Log: s.log.With("service", "tftpd"), Metrics: s.metrics,
	}
	s.http = &httpboot.Server{
		Director: &director{server: s}, Images: bootFiles{s.catalog}, NBP: s.programs, Files: files.FS(),
		Observe: s.sawHTTP, Log: s.log.With("service", "httpboot"), Metrics: s.metrics,
	}
	if dir := s.Config.HTTPBoot.Templates; dir != "" {
		s.http.Templates = os.DirFS(dir)
	}
	token, err := apiToken(s.path(TokenFile))
	if err != nil {
		return err
	}
	s.api = &api.Server{
		Rack: rack{s.registry, s.hosts}, Images: Images{s.catalog}, Build: s.build, Import: s.importImage, Doctor: s.examine, Copies: s,
		Token: token, Gatherer: s.metrics, Version: s.Version, Started: time.Now(), Log: s.log.With("service", "api"), Metrics: s.metrics,
	}
	s.operators()
	return nil
}

// run opens every socket, so that a conflict stops everything at once, and then serves.
func (s *server) run(ctx context.Context) error {
	dhcp, err := s.listenDHCP()
	if err != nil {
		return err
	}
	defer dhcp.Close()
	six, err := s.listenDHCP6()
	if err != nil {
		return err
	}
	defer six.Close()
	routers, err := s.radv.Listen(s.Config.DHCPD.Interfaces...)
	if err != nil {
		return err
	}
	defer routers.Close()
	tftp, err := tftpd.Listen(s.Config.TFTPD.Listen)
	if err != nil {
		return err
	}
	defer tftp.Close()
	tftp.SinglePort = s.Config.TFTPD.SinglePort
	web, err := s.http.Listen(s.Config.HTTPBoot.Listen)
	if err != nil {
		return err
	}
	defer web.Close()
	secure, err := s.http.ListenSecure(s.Config.HTTPBoot.Secure, s.keys.tls)
	if err != nil {
		return err
	}
	defer secure.Close()
	socks, err := s.api.Listen(s.Config.API.Socket, s.Config.API.Listen, nil)
	if err != nil {
		return err
	}
	defer socks.Close()
	if err := s.listenOperators(socks); err != nil {
		return err
	}

	// Set before Serve: the NFS server starts with all of them.
	exported := s.wantedExports()
	if err := s.exports.Set(ctx, exported); err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.exports.Serve(ctx) })
	g.Go(func() error { return s.keepExports(ctx, exported) })
	g.Go(func() error { return s.recorder.Run(ctx) })
	g.Go(func() error { return s.tidyLeases(ctx) })
	g.Go(func() error { return s.dhcp.Serve(ctx, dhcp) })
	g.Go(func() error { return s.lookOut(ctx) })
	g.Go(func() error { return s.dhcp6.Serve(ctx, six) })
	g.Go(func() error { return s.radv.Serve(ctx, routers) })
	g.Go(func() error { return s.tftp.Serve(ctx, tftp) })
	g.Go(func() error { return s.http.Serve(ctx, web) })
	g.Go(func() error { return s.http.Serve(ctx, secure) })
	g.Go(func() error { return s.packs.run(ctx) })
	g.Go(func() error { return s.runVote(ctx) })
	g.Go(func() error { return s.countFailovers(ctx) })
	g.Go(func() error { return s.api.Serve(ctx, socks) })
	g.Go(func() error {
		return (&roles.Reconciler{Registry: s.registry, Checker: health.Checker{}}).Run(ctx)
	})
	if !s.Config.DHCPD.Addresses() {
		s.log.Info("this server gives no addresses: " + s.Config.DHCPD.Why())
	}
	s.log.Info("muster serves", "interfaces", s.Config.DHCPD.Interfaces, "socket", s.Config.API.Socket, "nfs", s.exportsBy)
	return g.Wait()
}

// url is the base URL of HTTP boot at this address of ours.
func (s *server) url(a netip.Addr) string {
	return "http://" + netip.AddrPortFrom(a, s.httpPort()).String()
}
