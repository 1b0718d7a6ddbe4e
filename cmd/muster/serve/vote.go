package serve

import (
	"context"

	"golang.org/x/sync/errgroup"

	"muster/cmd/muster/qnetd"
	"muster/httpboot/agent/pair"
)

// runVote keeps the third vote running while there is a storage pair. It ends with ctx.
func (s *server) runVote(ctx context.Context) error {
	for ctx.Err() == nil {
		if s.untilPairs(ctx, true) != nil {
			return nil
		}
		g, run := errgroup.WithContext(ctx)
		run, stop := context.WithCancel(run)
		g.Go(func() error { return s.vote.Serve(run) })
		g.Go(func() error { s.makeBundles(run); return nil })
		g.Go(func() error { // ends with the last pair, or run
			defer stop()
			_ = s.untilPairs(run, false)
			return nil
		})
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// untilPairs waits until there is a storage pair, or none, as wanted. It fails when ctx ends.
func (s *server) untilPairs(ctx context.Context, wanted bool) error {
	for {
		rev := s.registry.Revision()
		if names, err := s.pairs(); err == nil && len(names) > 0 == wanted {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.registry.Watch(rev):
		}
	}
}

// pairs are the pools that are storage pairs.
func (s *server) pairs() (names []string, err error) {
	pools, err := s.registry.Pools()
	for _, p := range pools {
		if p.Pair != nil {
			names = append(names, p.Name)
		}
	}
	return names, err
}

// makeBundles makes what the pairs will ask for, before they do.
func (s *server) makeBundles(ctx context.Context) {
	names, _ := s.pairs() // those that are not known now ask for themselves
	for _, pool := range names {
		if _, err := s.vote.Bundle(ctx, pool); err != nil && ctx.Err() == nil {
			s.log.Warn("no key for the third vote yet; it is made when the pair asks", "pool", pool, "err", err)
		}
	}
}

// bundle gives what a pair needs to talk to the third vote. What is made is kept, though who asked may have lost
// patience by then: on a busy machine it would never be ready.
func (s *server) bundle(ctx context.Context, pool string) (pair.Vote, error) {
	b, err := s.vote.Bundle(context.WithoutCancel(ctx), pool)
	return pair.Vote{Bundle: b.PKCS12, Password: b.Password}, err
}

// newVote makes the third vote; nothing runs yet.
func (s *server) newVote() *qnetd.Server {
	return &qnetd.Server{Dir: s.path("qnetd"), Log: s.log.With("service", "qnetd")}
}
