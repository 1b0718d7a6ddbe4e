package serve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"muster/images"
)

// packer makes the squashfs of images that a node is to hold in RAM, or a storage pair is to have, and that have
// none yet: a role became one of RAM, or a pool's storage the pair, after its image was built. It makes one at a
// time.
type packer struct {
	catalog *images.Catalog
	log     *slog.Logger

	mu sync.Mutex
	// asked has what is to be packed, and how the last try of it failed. Guarded by mu, as is wake.
	asked map[images.Ref]failure
	wake  chan struct{}
}

// failure is a try that failed; zero while there was none.
type failure struct {
	err error
	at  time.Time
}

// packAgain is the pause after a try that failed: each reads the whole image, and nodes ask every second.
const packAgain = 20 * time.Second

// wait says what a node must wait for before it can load img: "" when there is nothing.
func (p *packer) wait(img images.Image) string {
	if img.Squashfs > 0 {
		return ""
	}
	return p.ask(img)
}

// waitPair is wait for a storage pair, which exports what it has loaded: what was packed before there were any, for
// nodes that hold it in RAM, may not do for that.
func (p *packer) waitPair(img images.Image) string {
	if img.Squashfs > 0 && !img.Unexportable() {
		return ""
	}
	return p.ask(img)
}

// ask asks for img to be packed, and says how that is.
func (p *packer) ask(img images.Image) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = map[images.Ref]failure{}
	}
	last, known := p.asked[img.Ref]
	if !known || last.err != nil && time.Since(last.at) >= packAgain {
		p.asked[img.Ref] = failure{}
		select {
		case p.channel() <- struct{}{}:
		default: // it is awake
		}
	}
	if last.err != nil {
		return fmt.Sprintf("%s could not be packed, and is tried again: %v", img.Ref, last.err)
	}
	return fmt.Sprintf("%s is being packed", img.Ref)
}

// channel is wake; the caller holds mu.
func (p *packer) channel() chan struct{} {
	if p.wake == nil {
		p.wake = make(chan struct{}, 1)
	}
	return p.wake
}

// run packs what is asked for, until ctx ends.
func (p *packer) run(ctx context.Context) error {
	p.mu.Lock()
	wake := p.channel()
	p.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
		for ref, ok := p.next(); ok && ctx.Err() == nil; ref, ok = p.next() {
			_, err := p.catalog.Pack(ctx, ref)
			if err != nil && ctx.Err() == nil {
				p.log.Error("image not packed", "image", ref.String(), "err", err)
			}
			p.done(ref, err)
		}
	}
}

// next gives something to pack.
func (p *packer) next() (images.Ref, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ref, last := range p.asked {
		if last.err == nil {
			return ref, true
		}
	}
	return images.Ref{}, false
}

// done keeps why ref failed, until somebody asks again.
func (p *packer) done(ref images.Ref, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, ref)
	if err != nil {
		p.asked[ref] = failure{err, time.Now()}
	}
}
